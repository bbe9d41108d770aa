// One limit of one subject: over time, its grants, and its ledger; grants are made and revoked here.

import { read, write } from './api.js';
import { makeChart, RANGES } from './chart.js';
import { card, empty, fill, h, pill, table, toast, waiting } from './dom.js';
import { choice, dialog, field, input, load } from './form.js';
import { amount, instant, isEver, plural, quantity, when, words } from './format.js';
import { ledgerList } from './ledger.js';

/** A burst of changes is one reading. */
const CALM_MS = 400;

/** What an operator may grant. */
const KINDS = [
  ['promo', 'A present (promo)'],
  ['manual_adjustment', 'An adjustment by hand'],
  ['correction', 'A correction'],
];

export function limitDetail(subject, entity, first, signal) {
  let limitation = first;
  let range = 'month';
  let asking = new AbortController();
  let leaveChart = new AbortController();
  let timer = null;
  const chart = h('div', { class: 'card-body' });
  const grants = h('div');
  const ledger = ledgerList(subject, () => limitation, signal);
  const ranges = choice(Object.entries(RANGES).map(([name, { label }]) => [name, label]), range);
  ranges.setAttribute('aria-label', 'How far back');
  ranges.addEventListener('change', () => {
    range = ranges.value;
    readAgain({ isLedger: false });
  });
  const make = h('button', { type: 'button', class: 'primary' }, 'Make a grant');
  make.addEventListener('click', () => makeGrant(entity, limitation));

  const readAgain = async ({ isLedger = true } = {}) => {
    asking.abort();
    asking = new AbortController();
    const asked = AbortSignal.any([signal, asking.signal]);
    let rows = [];
    await load(grants, 'The grants', waiting('grants'), async () => {
      const { entries } = await read('grants', subject, asked);
      rows = entries.filter(({ code }) => code === limitation.code);
      return grantTable(rows, limitation);
    });
    if (asked.aborted) return;
    if (isLedger) ledger.reload();
    let made = null;
    await load(chart, 'The chart', waiting('the chart'), async () => {
      made = await makeChart({ subject, limitation, range, grants: rows }, asked);
      // The one before stands until this one is there.
      leaveChart.abort();
      return made.elements;
    });
    if (made === null) return;
    leaveChart = new AbortController();
    made.draw(AbortSignal.any([signal, leaveChart.signal]));
  };
  readAgain();
  signal.addEventListener('abort', () => clearTimeout(timer));
  const element = h(
    'div',
    { class: 'stack' },
    card(`${limitation.name} over time`, chart, h('div', { class: 'row' }, ranges)),
    card('Grants', grants, make),
    card('Ledger', ledger.element),
  );
  const update = (now) => {
    limitation = now;
    clearTimeout(timer);
    timer = setTimeout(readAgain, CALM_MS);
  };
  return { element, update };
}

function grantTable(rows, limitation) {
  if (rows.length === 0) return empty('No grant that lasts', `Nothing gives ${plural(2, limitation.unit)} now or later. Grants come from plans, purchases, and from you.`);
  const { element } = table(`Grants of ${limitation.name}`, [
    { title: 'Kind', cell: ({ kind, state }) => [words(kind), ' ', state === 'pending' ? pill('Not begun', 'warn') : null] },
    { title: 'Amount', class: 'number', cell: (grant) => amount(grant.amount, limitation.scale) },
    { title: 'Left', class: 'number', cell: (grant) => (grant.remainingAmount === null ? h('span', { class: 'quiet' }, 'renews') : amount(grant.remainingAmount, limitation.scale)) },
    { title: 'From', cell: ({ effectiveAt }) => when(effectiveAt) },
    { title: 'Until', cell: ({ endsAt }) => (isEver(endsAt) ? when(endsAt) : 'for good') },
    { title: 'Priority', class: 'number', cell: ({ priority }) => String(priority) },
    { title: '', class: 'end', cell: (grant) => revokeButton(grant, limitation) },
  ], rows, ({ id }) => ({ 'data-grant': id }));
  return [element, h('p', { class: 'card-body quiet small' }, 'Used up in this order. What is left is as of the last settlement: use since then is shared out by the next one.')];
}

function revokeButton(grant, limitation) {
  const button = h('button', { type: 'button', class: 'danger tight', 'aria-label': `Revoke the grant of ${quantity(grant.amount, limitation)}` }, 'Revoke');
  button.addEventListener('click', async () => {
    const reason = input({ maxlength: '255', required: true });
    const done = await dialog({
      title: `Revoke ${quantity(grant.amount, limitation)}?`,
      lead: 'The grant ends now. What was used of it stays used; what is left of it goes. The ledger keeps both, and your reason.',
      fields: [field('reason', 'Reason', reason, 'For whoever reads the ledger later.')],
      action: 'Revoke',
      danger: true,
      send: (values, key) => {
        const body = { reason: values.get('reason') };
        return write('POST', `grants/${grant.id}/revoke`, { body, key: key(body) });
      },
    });
    if (done !== undefined) toast('Revoked.');
  });
  return button;
}

async function makeGrant(entity, limitation) {
  const isState = limitation.entitlementType === 'state';
  const scale = limitation.scale === 0 ? '' : ` In the smallest unit: ${10 ** limitation.scale} is 1.`;
  const number = input({ inputmode: 'numeric', value: isState ? '1' : '', required: true });
  const done = await dialog({
    title: `Grant ${limitation.name}`,
    lead: `To ${entity.workspaceName ?? entity.entityRef}. It counts at once, unless it begins later.`,
    fields: [
      h('div', { class: 'fields' },
        field('amount', `Amount, ${plural(2, limitation.unit)}`, number, isState ? 'A state is granted once: 1.' : `A whole number.${scale}`),
        field('kind', 'Kind', choice(KINDS, 'promo')),
        field('effectiveAt', 'From', input({ type: 'datetime-local' }), 'Empty: now. Your own time.'),
        field('expiresAt', 'Until', input({ type: 'datetime-local' }), 'Empty: for good.')),
      field('reason', 'Reason', input({ maxlength: '255' }), 'For whoever reads the ledger later.'),
    ],
    action: 'Make the grant',
    send: (values, key) => {
      const text = values.get('amount').trim();
      const body = {
        billableEntityId: entity.id,
        code: limitation.code,
        // What is no whole number is refused by the server, who says so at the field.
        amount: /^[0-9]{1,16}$/.test(text) ? Number(text) : text,
        kind: values.get('kind'),
        effectiveAt: instant(values.get('effectiveAt')),
        expiresAt: instant(values.get('expiresAt')),
        reason: values.get('reason'),
      };
      return write('POST', 'grants', { body, key: key(body) });
    },
  });
  if (done !== undefined) toast(`Granted. ${quantity(done.limitation.availableAmount, limitation)} left now.`);
}
