// What a gateway counts, as rates: from /metrics, which needs no key.

import { card, fill, h } from './dom.js';
import { amount } from './format.js';

const EVERY_MS = 2_000;

/** What is shown: a title, and how it comes from two readings and the seconds between them. */
const TILES = [
  ['Uses a second', (now, before, seconds) => rate(now, before, seconds, 'entitlement_consumption_insert_total')],
  ['Requests a second', (now, before, seconds) => rate(now, before, seconds, 'consumable_requests_total')],
  ['Settled a second', (now, before, seconds) => rate(now, before, seconds, 'consumable_settlements_settled_total')],
  ['Readers', (now) => amount(sum(now, 'consumable_readers'))],
  ['Due', (now) => amount(sum(now, 'consumable_balances_due'))],
  ['Set aside', (now) => amount(sum(now, 'consumable_balances_aside'))],
  ['Untold changes', (now) => amount(sum(now, 'consumable_outbox_lag_changes'))],
  ['Database', (now) => (sum(now, 'consumable_database_up') === 1 ? 'up' : 'away')],
];

export function ratesPanel(signal) {
  const values = TILES.map(() => h('dd', {}, '–'));
  const note = h('p', { class: 'quiet small' }, 'Of this gateway, every two seconds.');
  const tiles = h('dl', { class: 'tiles' }, TILES.map(([title], index) => h('div', {}, h('dt', {}, title), values[index])));
  let before = null;
  const look = async () => {
    try {
      const response = await fetch('/metrics', { signal, cache: 'no-store' });
      const now = { at: performance.now(), values: parse(await response.text()) };
      const seconds = before === null ? 0 : (now.at - before.at) / 1_000;
      TILES.forEach(([, value], index) => {
        values[index].textContent = value(now.values, before?.values, seconds);
      });
      before = now;
      fill(note, 'Of this gateway, every two seconds.');
    } catch {
      if (!signal.aborted) fill(note, 'The figures cannot be read now; the next attempt is on its way.');
    }
  };
  look();
  const timer = setInterval(look, EVERY_MS);
  signal.addEventListener('abort', () => clearInterval(timer));
  return card('Now', [tiles, h('div', { class: 'card-body' }, note)]);
}

/** Each line of the text format: the metric without its labels, and its value. */
function parse(text) {
  const found = [];
  for (const line of text.split('\n')) {
    const parts = /^([a-z_]+)(?:\{.*\})? ([0-9.e+-]+)$/.exec(line);
    if (parts !== null) found.push([parts[1], Number(parts[2])]);
  }
  return found;
}

const sum = (values, metric) => values.filter(([name]) => name === metric).reduce((total, [, value]) => total + value, 0);

function rate(now, before, seconds, metric) {
  if (before === undefined) return '–';
  const perSecond = (sum(now, metric) - sum(before, metric)) / seconds;
  return perSecond >= 10 ? amount(Math.round(perSecond)) : String(Math.round(perSecond * 10) / 10);
}
