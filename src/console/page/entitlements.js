// The editor of what a plan or product grants: JSON, with a preview of each entry, and what is wrong with it beside it.

import { fill, h, pill, table } from './dom.js';
import { amount, count, quantity, words } from './format.js';

let made = 0;

const EXAMPLES = {
  plans: [{ code: 'ai.credits', schemaVersion: 1, valueJson: { amount: 100, grantKind: 'plan_base' } }],
  products: [{ code: 'ai.credits', amount: 500, grantKind: 'one_off_topup' }],
};

export function entitlementsEditor(kind, entitlements, definitions) {
  const id = `entitlements-${(made += 1)}`;
  const text = entitlements.length === 0 ? '[]' : JSON.stringify(entitlements, null, 2);
  const area = h('textarea', { id, class: 'mono', spellcheck: 'false', autocomplete: 'off', 'aria-describedby': `${id}-hint ${id}-error`, value: text });
  const lines = h('div', { class: 'lines', 'aria-hidden': 'true' });
  const syntax = h('p', { class: 'error', id: `${id}-error`, role: 'status' });
  const preview = h('div');
  /** What the server said, by path; of the text that it was said of. */
  let said = { text: null, errors: {} };

  const draw = () => {
    const errors = said.text === area.value ? said.errors : {};
    const wrong = new Set();
    let entries = null;
    area.removeAttribute('aria-invalid');
    syntax.textContent = '';
    try {
      entries = JSON.parse(area.value);
      if (!Array.isArray(entries)) throw new SyntaxError('It must be an array: [ … ]');
    } catch (error) {
      entries = null;
      area.setAttribute('aria-invalid', 'true');
      syntax.textContent = `This is not JSON yet. ${error.message}`;
      const line = lineOf(error.message, area.value);
      if (line !== null) wrong.add(line);
    }
    const starts = entries === null ? [] : entryLines(area.value);
    for (const path of Object.keys(errors)) {
      const entry = /^entitlements\[(\d+)\]/.exec(path);
      if (entry !== null && starts[Number(entry[1])] !== undefined) wrong.add(starts[Number(entry[1])]);
    }
    if (wrong.size > 0) area.setAttribute('aria-invalid', 'true');
    const number = area.value.split('\n').length;
    fill(lines, Array.from({ length: number }, (_, index) => h('span', { class: wrong.has(index + 1) ? 'wrong' : null }, String(index + 1))));
    area.rows = number;
    if (entries === null) return;
    fill(preview, previewOf(kind, entries, definitions, errors, (place) => choose(area, starts[place])));
  };
  area.addEventListener('input', draw);
  draw();

  const example = h('button', { type: 'button', class: 'tight', hidden: entitlements.length > 0 }, 'Begin with an example');
  example.addEventListener('click', () => {
    const known = definitions.find(({ isActive }) => isActive)?.code;
    const [entry] = structuredClone(EXAMPLES[kind]);
    if (known !== undefined && !definitions.some(({ code }) => code === entry.code)) entry.code = known;
    area.value = JSON.stringify([entry], null, 2);
    example.hidden = true;
    draw();
    area.focus();
  });
  const element = h('div', { class: 'stack' },
    h('div', { class: 'field' },
      h('div', { class: 'row spread' }, h('label', { for: id }, 'Entitlements'), example),
      h('div', { class: 'editor' }, lines, area),
      h('p', { class: 'hint', id: `${id}-hint` }, 'What it grants, as JSON. The preview below is what would be saved.'),
      syntax),
    h('div', { class: 'card' }, h('div', { class: 'card-head' }, h('h3', {}, 'Preview')), preview));

  return {
    element,
    /** The entries; `null` while they are not JSON. */
    read: () => {
      draw();
      if (syntax.textContent !== '') {
        area.focus();
        return null;
      }
      return JSON.parse(area.value);
    },
    /** Keeps what is said of entitlements; gives the rest. */
    showErrors: (fieldErrors) => {
      const mine = Object.entries(fieldErrors).filter(([path]) => path.startsWith('entitlements'));
      said = { text: area.value, errors: Object.fromEntries(mine) };
      draw();
      if (mine.length > 0) area.focus();
      return Object.fromEntries(Object.entries(fieldErrors).filter(([path]) => !path.startsWith('entitlements')));
    },
  };
}

function previewOf(kind, entries, definitions, errors, onChoose) {
  const whole = errors.entitlements === undefined ? null : h('div', { class: 'card-body' }, h('p', { class: 'error' }, errors.entitlements));
  if (entries.length === 0) return [whole, h('p', { class: 'card-body quiet' }, 'It grants nothing.')];
  const rows = entries.map((entry, place) => ({ entry: typeof entry === 'object' && entry !== null ? entry : {}, place }));
  return [whole, table('Preview', [
    { title: 'Entry', cell: ({ place }) => h('button', { type: 'button', class: 'plain tight', 'aria-label': `Go to entry ${place + 1}`, onclick: () => onChoose(place) }, String(place + 1)) },
    { title: 'Limit', cell: ({ entry, place }) => limit(entry, place, definitions, errors) },
    { title: 'Amount', cell: ({ entry }) => amountOf(kind, entry, definitions) },
    { title: 'Kind', cell: ({ entry }) => kindOf(kind, entry) },
    { title: 'Lasts', cell: ({ entry }) => lasts(kind, entry) },
  ], rows, ({ place }) => ({ 'data-entry': place })).element];
}

function limit(entry, place, definitions, errors) {
  const definition = definitions.find(({ code }) => code === entry.code);
  const wrong = Object.entries(errors).filter(([path]) => path.startsWith(`entitlements[${place}]`));
  const name = definition === undefined ? h('span', { class: 'quiet' }, entry.code === undefined ? 'no code' : `${entry.code}: no such definition`) : [definition.name, ' ', h('code', { class: 'quiet' }, definition.code)];
  const texts = wrong.map(([path, text]) => {
    const part = path.replace(`entitlements[${place}]`, '').replace(/^\./, '');
    return h('p', { class: 'error', 'data-error': path }, part === '' ? text : [h('code', {}, part), ` ${text}`]);
  });
  return [name, definition?.isActive === false ? [' ', pill('Inactive', 'warn')] : null, texts];
}

/** Whichever of a plan's three words for it is the first positive whole number. */
function numberOf(kind, entry) {
  if (kind === 'products') return entry.amount;
  const value = entry.valueJson ?? {};
  return ['amount', 'limit', 'max'].map((name) => value[name]).find((number) => Number.isInteger(number) && number > 0);
}

function amountOf(kind, entry, definitions) {
  const number = numberOf(kind, entry);
  if (!Number.isInteger(number)) return h('span', { class: 'quiet' }, 'none');
  const definition = definitions.find(({ code }) => code === entry.code);
  return definition === undefined ? amount(number) : quantity(number, definition);
}

function kindOf(kind, entry) {
  const found = kind === 'products' ? entry.grantKind : (entry.valueJson?.grantKind ?? 'plan_base');
  return typeof found === 'string' ? words(found) : h('span', { class: 'quiet' }, 'none');
}

function lasts(kind, entry) {
  const days = (number) => (Number.isInteger(number) ? count(number, 'day') : 'no days said');
  if (kind === 'products') return entry.grantKind === 'timeboxed_addon' ? days(entry.durationDays) : 'For good';
  const { durationPolicy = 'while_current', effectivePolicy = 'on_assignment_current', durationDays } = entry.valueJson ?? {};
  const how = { while_current: 'While on the plan', period_window: 'The paid period', fixed_duration: days(durationDays) }[durationPolicy];
  const from = effectivePolicy === 'on_period_paid' ? ', from each payment' : '';
  return how === undefined ? h('span', { class: 'quiet' }, String(durationPolicy)) : `${how}${from}`;
}

/** The line of a mistake in JSON, where the browser says a position. */
function lineOf(message, text) {
  const line = /line (\d+)/.exec(message);
  if (line !== null) return Number(line[1]);
  const position = /position (\d+)/.exec(message);
  return position === null ? null : text.slice(0, Number(position[1])).split('\n').length;
}

/** The line on which each entry of an array begins. */
function entryLines(text) {
  const found = [];
  let [depth, line, isText, isEntry] = [0, 1, false, false];
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (letter === '\n') line += 1;
    if (isText) {
      if (letter === '\\') at += 1;
      else if (letter === '"') isText = false;
      continue;
    }
    if (depth === 1 && !isEntry && !/[\s,\]]/.test(letter)) {
      found.push(line);
      isEntry = true;
    }
    if (letter === '"') isText = true;
    else if ('[{'.includes(letter)) depth += 1;
    else if (']}'.includes(letter)) depth -= 1;
    else if (letter === ',' && depth === 1) isEntry = false;
  }
  return found;
}

/** Puts the cursor at a line. */
function choose(area, line) {
  if (line === undefined) return;
  const before = area.value.split('\n').slice(0, line - 1).join('\n');
  const at = before.length + (line > 1 ? 1 : 0);
  area.focus();
  area.setSelectionRange(at, at);
}
