// How the engine does: what is due, late, set aside or over; which procedures there are; and the proof that all numbers are right.

import { explain, read, write } from './api.js';
import { card, empty, fill, h, pill, say, table, waiting } from './dom.js';
import { load } from './form.js';
import { amount, count, countdown, when, words } from './format.js';
import { ratesPanel } from './rates.js';

const LIMIT = 50;
/** Subjects of one step: fewer would not show more often how far it is. */
const STEP = 200;

export async function show(outlet, _, signal) {
  const again = h('button', { type: 'button' }, 'Look again');
  const head = h('div', { class: 'page-head' }, h('div', {}, h('h1', {}, 'Engine room'), h('p', { class: 'lead' }, 'Whether everything is settled, told and right.')), again);
  const parts = PARTS.map((part) => ({ ...part, place: h('div') }));
  const procedures = h('div');
  fill(outlet, head, ratesPanel(signal), verifyPanel(signal), parts.map(({ title, place }) => card(title, place)), card('Procedures', procedures));
  const look = () => Promise.all([
    ...parts.map(({ path, title, place, none, columns }) => load(place, title, waiting(title), async () => {
      const { entries } = await read(path, { limit: LIMIT }, signal);
      return entries.length === 0 ? empty(...none) : table(title, columns, entries).element;
    })),
    load(procedures, 'The procedures', waiting('procedures'), () => procedureList(signal)),
  ]);
  again.addEventListener('click', async () => {
    again.disabled = true;
    await look();
    again.disabled = false;
    say('Looked again');
  });
  await look();
}

const who = { title: 'Whose', cell: (row) => h('a', { href: `#/workspaces/${row.billableEntityId}/limits/${encodeURIComponent(row.code)}` }, row.entityRef) };
const code = { title: 'Limit', cell: (row) => h('code', {}, row.code) };
const failure = { title: 'What it said', cell: ({ lastFailure }) => lastFailure ?? '–' };
const number = (title, name) => ({ title, class: 'number', cell: (row) => amount(row[name]) });

const PARTS = [
  {
    title: 'Set aside',
    path: 'failing',
    none: ['Nothing is set aside', 'Every balance could be settled.'],
    columns: [who, code, number('Failures', 'failureCount'), failure, { title: 'Tried again', cell: ({ retryAt }) => (retryAt === null ? '–' : ['in ', countdown(retryAt)]) }],
  },
  {
    title: 'Due next',
    path: 'due',
    none: ['Nothing will change by the clock', 'No grant ends, no window turns, no hold expires.'],
    columns: [who, code, { title: 'When', cell: (row) => [when(row.dueAt), row.isDue ? [' ', pill('due', 'warn')] : [' (in ', countdown(row.dueAt), ')']] }, number('Failures', 'failureCount')],
  },
  {
    title: 'Over a limit',
    path: 'over-limit',
    none: ['Nobody is over a limit', 'As of each balance’s last settlement.'],
    columns: [who, code, number('Granted', 'grantedAmount'), number('Used', 'consumedAmount'), number('Held', 'heldAmount'), { title: 'Over by', class: 'number', cell: ({ effectiveAmount }) => pill(amount(-effectiveAmount), 'bad') }],
  },
  {
    title: 'Settled late, last 24 hours',
    path: 'late',
    none: ['Nothing was due in the last 24 hours', 'The clock has brought no boundary.'],
    columns: [who, code, { title: 'Boundary', cell: ({ settledAt }) => when(settledAt, { precise: true }) }, { title: 'Cause', cell: ({ cause }) => words(cause) }, { title: 'Late by', class: 'number', cell: ({ lateMilliseconds }) => `${amount(lateMilliseconds)} ms` }],
  },
];

async function procedureList(signal) {
  const { release, differences, entries } = await read('procedures', {}, signal);
  const releases = new Map();
  entries.forEach(({ releaseVersion }) => releases.set(releaseVersion, (releases.get(releaseVersion) ?? 0) + 1));
  const versions = [...releases].map(([version, many]) => `${count(many, 'procedure')} of ${version}`).join(', ');
  const found = differences.length === 0
    ? h('div', { class: 'notice good' }, 'All are as this program wants them.')
    : h('div', { class: 'notice warn' }, h('strong', {}, `${count(differences.length, 'difference')} to this program`), differences.map((line) => h('p', {}, h('code', {}, line))));
  const list = table('Procedures', [
    { title: 'Procedure', cell: ({ procedure }) => h('code', {}, procedure) },
    { title: 'Release', cell: ({ releaseVersion }) => releaseVersion },
    { title: 'Installed', cell: ({ installedAt }) => when(installedAt) },
    { title: 'By', cell: ({ installedBy }) => installedBy },
    { title: 'Content', cell: ({ contentSha256 }) => h('code', { title: contentSha256 }, contentSha256.slice(0, 12)) },
  ], entries).element;
  return [h('div', { class: 'card-body stack' }, h('p', {}, `This gateway is of release ${release}. Installed: ${versions}.`), found), h('details', { class: 'card-body' }, h('summary', {}, 'All procedures'), list)];
}

/** The numbers against the ledger, a step at a time, so that one sees how far it is and may stop. */
function verifyPanel(signal) {
  const start = h('button', { type: 'button', class: 'primary' }, 'Verify now');
  const stop = h('button', { type: 'button', hidden: true }, 'Stop');
  const place = h('div', { class: 'card-body stack' }, h('p', { class: 'quiet' }, 'Compares every number that is answered with the ledger that it follows from. It reads only, and nobody waits for it.'));
  let running = null;
  stop.addEventListener('click', () => running?.abort());
  signal.addEventListener('abort', () => running?.abort());
  start.addEventListener('click', async () => {
    running = new AbortController();
    [start.hidden, stop.hidden] = [true, false];
    stop.focus();
    const bar = h('progress', { max: '1', value: '0', 'aria-label': 'Verified so far' });
    const text = h('p', {}, 'Beginning …');
    fill(place, bar, text);
    try {
      const { checked, found } = await verify(running.signal, (part, checkedSoFar) => {
        bar.value = part;
        text.textContent = `${count(checkedSoFar, 'entity')} compared`;
      });
      fill(place, found.length === 0
        ? h('div', { class: 'notice good', role: 'status', 'data-verified': String(checked) }, h('strong', {}, 'Every number is right.'), h('p', {}, `${count(checked, 'entity')} compared with the ledger, no difference.`))
        : differenceList(checked, found));
    } catch (error) {
      fill(place, error.name === 'AbortError'
        ? h('p', { role: 'status' }, `Stopped. ${text.textContent}; no difference was looked for beyond.`)
        : h('div', { class: 'notice bad', role: 'alert' }, explain(error)));
    } finally {
      [start.hidden, stop.hidden] = [false, true];
      start.focus();
    }
  });
  return card('Do the balances equal the ledger?', place, h('div', { class: 'row' }, start, stop));
}

async function verify(signal, tell) {
  const found = [];
  let [afterId, checked] = [null, 0];
  for (;;) {
    const step = await write('POST', 'verify', { body: { afterId, limit: STEP }, signal });
    if (step.lastId === null) return { checked, found };
    checked += step.checkedSubjects;
    found.push(...step.differences);
    afterId = step.lastId;
    tell(step.lastId / step.highestId, checked);
  }
}

function differenceList(checked, found) {
  const text = h('div', { class: 'notice bad', role: 'alert' }, h('strong', {}, count(found.length, 'difference')), h('p', {}, `In ${count(checked, 'entity')}. Keep this list, then rebuild each workspace that it names: its page has a button for it.`));
  return [text, table('Differences', [
    { title: 'Whose', cell: ({ billableEntityId }) => h('a', { href: `#/workspaces/${billableEntityId}` }, `entity ${billableEntityId}`) },
    code,
    { title: 'What', cell: ({ what, number: of }) => `${what}${of === null ? '' : ` ${of}`}` },
    number('Answered', 'projected'),
    number('Ledger', 'ledger'),
  ], found).element];
}
