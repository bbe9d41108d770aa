// One limit over time: what was granted, what was used, and where grants began and ended.

import { ask } from './api.js';
import { h, table } from './dom.js';
import { amount, when } from './format.js';

export const RANGES = {
  day: { label: '24 hours', step: 'hour', milliseconds: 86_400_000 },
  week: { label: '7 days', step: 'hour', milliseconds: 7 * 86_400_000 },
  month: { label: '30 days', step: 'day', milliseconds: 30 * 86_400_000 },
  quarter: { label: '90 days', step: 'day', milliseconds: 90 * 86_400_000 },
};

const HEIGHT = 240;

/**
 * What a chart is made of, and what draws it once it stands on the page, as it is as wide as its place.
 *
 * @param {{subject: object, limitation: object, range: string, grants: {effectiveAt: string, amount: number}[]}} options
 */
export async function makeChart({ subject, limitation, range, grants }, signal) {
  const { step, milliseconds, label } = RANGES[range];
  const from = new Date(Date.now() - milliseconds).toISOString();
  const path = `/api/billing/limitations/${encodeURIComponent(limitation.code)}/history`;
  const { points } = await ask('GET', path, { query: { ...subject, from, step }, signal });
  // The last point is now: hours and midnights are behind it.
  const now = { at: new Date().toISOString(), granted: limitation.grantedAmount, consumed: limitation.consumedAmount };
  const shown = [...points, now];
  const [start, end] = [Date.parse(from), Date.now()];
  const marks = marksOf(shown, grants, limitation.scale).filter(({ at }) => at >= start && at <= end);
  const most = Math.max(...shown.map(({ consumed }) => consumed));
  const summary = `${limitation.name}, last ${label}: at most ${amount(most, limitation.scale)} used, now ${amount(now.consumed, limitation.scale)} of ${amount(now.granted, limitation.scale)}.`;
  const canvas = h('div', { class: 'chart', role: 'img', 'aria-label': summary });
  const text = table(`${limitation.name} over time`, [
    { title: 'At', cell: ({ at }) => when(at) },
    { title: 'Granted', class: 'number', cell: ({ granted }) => amount(granted, limitation.scale) },
    { title: 'Used', class: 'number', cell: ({ consumed }) => amount(consumed, limitation.scale) },
  ], shown.toReversed());
  const elements = [canvas, h('details', {}, h('summary', {}, 'As a table'), text.element)];

  const data = [shown.map(({ at }) => Date.parse(at) / 1_000), shown.map(({ granted }) => granted), shown.map(({ consumed }) => consumed)];
  return { elements, draw: (leaving) => draw(canvas, (place) => new uPlot(options(place, limitation, marks), data, place), leaving) };
}

/** Draws a chart, anew when the colours or the width of the page are others, until `leaving`. */
function draw(canvas, make, leaving) {
  let chart = make(canvas);
  const again = () => {
    chart.destroy();
    chart = make(canvas);
  };
  const resized = new ResizeObserver(() => {
    if (canvas.clientWidth > 0) chart.setSize({ width: canvas.clientWidth, height: HEIGHT });
  });
  resized.observe(canvas);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again, { signal: leaving });
  addEventListener('themechange', again, { signal: leaving });
  leaving.addEventListener('abort', () => {
    resized.disconnect();
    chart.destroy();
  });
}

/**
 * Where what is granted changed: to the instant where the grant lasts still, else between two points of the history, of which the later one is
 * marked.
 */
function marksOf(points, grants, scale) {
  const mark = (at, number, isEnd) => ({ at, text: `${amount(Math.abs(number), scale)} ${isEnd ? 'end' : 'begin'}`, isEnd });
  const marks = grants.map((grant) => mark(Date.parse(grant.effectiveAt), grant.amount, false));
  const known = marks.map(({ at }) => at);
  points.slice(1).forEach((point, index) => {
    const [before, at] = [Date.parse(points[index].at), Date.parse(point.at)];
    const difference = point.granted - points[index].granted;
    const isKnown = difference > 0 && known.some((instant) => instant > before && instant <= at);
    if (difference !== 0 && !isKnown) marks.push(mark(at, difference, difference < 0));
  });
  return marks;
}

/** A colour of the page, as a canvas knows it. */
function colour(element, name) {
  const probe = h('span');
  probe.style.color = `var(${name})`;
  element.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function options(canvas, limitation, marks) {
  const [text, line, used, granted, good, bad] = ['--quiet', '--line', '--used', '--line-strong', '--good', '--bad'].map((name) => colour(canvas, name));
  const value = (_, number) => (number === null ? '–' : amount(number, limitation.scale));
  const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: '12px system-ui' };
  const days = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
  const hours = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
  const instants = (_, ticks, __, ___, step) => ticks.map((seconds) => (step >= 86_400 ? days : hours).format(seconds * 1_000));
  const stepped = uPlot.paths.stepped({ align: 1 });
  return {
    width: canvas.clientWidth,
    height: HEIGHT,
    cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (_, least, most) => [Math.min(0, least), Math.max(1, most * 1.08)] } },
    axes: [{ ...axis, values: instants }, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? amount(tick, limitation.scale) : '')) }],
    series: [
      { value: (_, seconds) => (seconds === null ? '–' : new Date(seconds * 1_000).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' })), label: 'At' },
      { label: 'Granted', stroke: granted, width: 1.5, dash: [5, 4], paths: stepped, points: { show: false }, value },
      { label: 'Used', stroke: used, width: 2, fill: `color-mix(in srgb, ${used}, transparent 82%)`, paths: stepped, points: { show: false }, value },
    ],
    hooks: { draw: [(chart) => drawMarks(chart, marks, { text, good, bad })] },
  };
}

/** A line where a grant begins or ends, with a word. */
function drawMarks(chart, marks, { text, good, bad }) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.font = `${11 * devicePixelRatio}px system-ui`;
  marks.forEach(({ at, text: word, isEnd }, index) => {
    const x = Math.round(chart.valToPos(at / 1_000, 'x', true));
    ctx.strokeStyle = isEnd ? bad : good;
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillStyle = text;
    const isRight = x + ctx.measureText(word).width + 6 > bbox.left + bbox.width;
    ctx.textAlign = isRight ? 'right' : 'left';
    ctx.fillText(word, x + (isRight ? -4 : 4) * devicePixelRatio, bbox.top + (12 + 13 * (index % 4)) * devicePixelRatio);
  });
  ctx.restore();
}
