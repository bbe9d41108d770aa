// What was paid, what the payment provider said, and which plans are to change.

import { read, write } from './api.js';
import { card, empty, fill, h, pill, table, toast, waiting } from './dom.js';
import { choice, dialog, field, input, load, show as showDialog } from './form.js';
import { amount, count, countdown, money, when, words } from './format.js';

const TABS = { purchases: 'Purchases', inbox: 'Inbox', changes: 'Planned changes' };

const LEADS = {
  purchases: 'What was bought, what it granted, and what was paid back.',
  inbox: 'What the payment provider said, what became of it, and why.',
  changes: 'Changes of plans that are to come, the next one first.',
};

export async function show(outlet, [tab = 'purchases'], signal) {
  const tabs = h('nav', { class: 'tabs', 'aria-label': 'Of the money side' }, Object.entries(TABS).map(([name, title]) =>
    h('a', { href: `#/money/${name}`, 'aria-current': name === tab ? 'page' : null }, title)));
  const place = h('div');
  const end = h('div', { class: 'row' });
  const head = h('div', { class: 'page-head' }, h('div', {}, h('h1', {}, 'Money'), h('p', { class: 'lead' }, LEADS[tab])));
  fill(outlet, head, tabs, card(TABS[tab], place, end));
  await { purchases, inbox, changes }[tab](place, end, signal);
}

/** A list that is read a page at a time. */
function paged(place, what, path, query, make, none, signal) {
  return load(place, what, waiting(what.toLowerCase()), async () => {
    const first = await read(path, query, signal);
    if (first.entries.length === 0) return none();
    const { element, add } = make(first.entries);
    const more = h('button', { type: 'button' }, 'Show older ones');
    let cursor = first.nextCursor;
    const foot = h('div', { class: 'card-body', hidden: cursor === null }, more);
    more.addEventListener('click', async () => {
      more.disabled = true;
      try {
        const next = await read(path, { ...query, cursor }, signal);
        add(next.entries);
        cursor = next.nextCursor;
        foot.hidden = cursor === null;
      } finally {
        more.disabled = false;
      }
    });
    return [element, foot];
  });
}

const who = (id) => (id === null ? h('span', { class: 'quiet' }, 'nobody known') : h('a', { href: `#/workspaces/${id}` }, `entity ${id}`));

/* Purchases. */

const PURCHASE_TONES = { paid: 'good', partially_refunded: 'warn', refunded: 'bad', voided: 'bad' };

function purchases(place, _, signal) {
  const reload = () => {
    fill(place);
    return paged(place, 'The purchases', 'purchases', {}, (entries) => table('Purchases', purchaseColumns(reload), entries, ({ id }) => ({ 'data-purchase': id })),
      () => empty('Nothing was bought yet', 'A purchase comes with a signed event of the payment provider, and in no other way.'), signal);
  };
  return reload();
}

function purchaseColumns(reload) {
  return [
    { title: 'When', cell: ({ purchasedAt }) => when(purchasedAt) },
    { title: 'Whose', cell: ({ billableEntityId }) => who(billableEntityId) },
    { title: 'Paid', class: 'number', cell: (one) => [money(one.paidMinorUnits, one.currency), one.refundedMinorUnits > 0 ? h('p', { class: 'quiet small' }, `${money(one.refundedMinorUnits, one.currency)} back`) : null] },
    { title: 'Status', cell: ({ status }) => pill(words(status), PURCHASE_TONES[status] ?? '') },
    { title: 'Bought', cell: (one) => one.lines.map((line) => h('p', {}, `${line.quantity} × `, h('code', {}, line.productCode ?? line.planCode ?? line.providerPriceId), line.productCode === null && line.planCode === null ? [' ', pill('unknown price', 'bad')] : null)) },
    { title: 'Granted', cell: ({ grants }) => grants.filter(({ state }) => state !== 'ended').map((grant) => h('p', {}, `${amount(grant.amount)} `, h('code', {}, grant.code))) },
    { title: '', class: 'end', cell: (one) => h('span', { class: 'row' }, h('button', { type: 'button', class: 'tight', 'aria-label': `Details of purchase ${one.id}`, onclick: () => purchaseDetails(one) }, 'Details'), one.status === 'voided' ? null : voidButton(one, reload)) },
  ];
}

function purchaseDetails(one) {
  const pair = (label, value) => h('div', {}, h('dt', {}, label), h('dd', {}, value));
  const facts = h('dl', { class: 'figures' }, pair('Payment', one.providerPaymentId), pair('Event', one.eventId === null ? '–' : String(one.eventId)), pair('Period', one.periodEndAt === null ? '–' : [when(one.periodStartAt), ' to ', when(one.periodEndAt)]), one.voidedAt === null ? null : pair('Voided', `${one.voidReason} (${one.voidedBy})`));
  const grants = table('Grants of this purchase', [
    { title: 'Limit', cell: ({ code }) => h('code', {}, code) },
    { title: 'Bought', class: 'number', cell: ({ boughtAmount }) => amount(boughtAmount) },
    { title: 'Granted', class: 'number', cell: (grant) => amount(grant.amount) },
    { title: 'State', cell: ({ state }) => pill(state, state === 'active' ? 'good' : '') },
    { title: 'Until', cell: ({ expiresAt }) => (expiresAt === null ? 'for good' : when(expiresAt)) },
  ], one.grants).element;
  const refunds = one.refunds.length === 0 ? null : table('Refunds', [
    { title: 'Charge', cell: ({ providerChargeId }) => h('code', {}, providerChargeId) },
    { title: 'Paid back', class: 'number', cell: (refund) => money(refund.refundedMinorUnits, refund.currency) },
    { title: 'When', cell: ({ updatedAt }) => when(updatedAt) },
  ], one.refunds).element;
  showDialog(`Purchase ${one.id}`, [facts, grants, refunds]);
}

function voidButton(one, reload) {
  const button = h('button', { type: 'button', class: 'danger tight', 'aria-label': `Make purchase ${one.id} void` }, 'Void');
  button.addEventListener('click', async () => {
    const done = await dialog({
      title: `Make purchase ${one.id} void?`,
      lead: 'All that it granted ends now; no money is paid back by this. It stays in the list, with your reason.',
      fields: [field('reason', 'Reason', input({ maxlength: '255' }))],
      action: 'Make it void',
      danger: true,
      send: (values, key) => {
        const body = { reason: values.get('reason') };
        return write('POST', `purchases/${one.id}/void`, { body, key: key(body) });
      },
    });
    if (done === undefined) return;
    toast('The purchase is void.');
    reload();
  });
  return button;
}

/* The inbox. */

const OUTCOMES = [['', 'All'], ['failed', 'Failed'], ['ignored', 'Ignored'], ['applied', 'Applied']];
const OUTCOME_TONES = { applied: 'good', failed: 'bad', ignored: '' };

function inbox(place, end, signal) {
  const outcome = choice(OUTCOMES, '');
  outcome.setAttribute('aria-label', 'Which');
  fill(end, outcome);
  const reload = () => {
    fill(place);
    const none = () => (outcome.value === ''
      ? empty('The inbox is empty', 'Point an endpoint of the payment provider to /api/billing/webhooks/stripe.')
      : empty(`Nothing ${outcome.value}`, 'No event has come to this outcome.'));
    return paged(place, 'The inbox', 'events', { outcome: outcome.value }, (entries) => table('Inbox', eventColumns(reload, signal), entries, ({ id }) => ({ 'data-event': id })), none, signal);
  };
  outcome.addEventListener('change', reload);
  return reload();
}

function eventColumns(reload, signal) {
  return [
    { title: 'Received', cell: ({ receivedAt }) => when(receivedAt) },
    { title: 'What', cell: (event) => [h('code', {}, event.eventType), h('p', { class: 'quiet small' }, event.providerEventId)] },
    { title: 'Whose', cell: ({ billableEntityId }) => who(billableEntityId) },
    { title: 'Outcome', cell: ({ outcome }) => pill(words(outcome), OUTCOME_TONES[outcome]) },
    { title: 'Why', cell: (event) => [event.failure ?? event.ignoredBecause ?? '–', event.attempts > 1 ? h('p', { class: 'quiet small' }, count(event.attempts, 'attempt')) : null] },
    { title: '', class: 'end', cell: (event) => h('span', { class: 'row' }, bodyButton(event, signal), event.outcome === 'failed' ? replayButton(event, reload) : null) },
  ];
}

function bodyButton(event, signal) {
  const button = h('button', { type: 'button', class: 'tight', 'aria-label': `Show event ${event.id}` }, 'Show');
  button.addEventListener('click', async () => {
    const { event: whole } = await read(`events/${event.id}`, {}, signal);
    let text = whole.payload;
    try {
      text = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // Shown as it came.
    }
    showDialog(`${event.eventType}, as it was sent`, h('pre', { tabindex: '0' }, text));
  });
  return button;
}

function replayButton(event, reload) {
  const button = h('button', { type: 'button', class: 'tight primary', 'aria-label': `Replay event ${event.id}` }, 'Replay');
  button.addEventListener('click', async () => {
    const done = await dialog({
      title: `Replay ${event.eventType}?`,
      lead: `It failed: ${event.failure}. Do it when the cause is gone, such as a price that the catalogue did not know. What it was to do is done once.`,
      fields: [],
      action: 'Replay',
      send: (_, key) => write('POST', `events/${event.id}/replay`, { key: key({}) }),
    });
    if (done === undefined) return;
    const { outcome, failure } = done.event;
    toast(outcome === 'failed' ? `It failed again: ${failure}` : `It was ${outcome}.`);
    reload();
  });
  return button;
}

/* Planned changes. */

function changes(place, _, signal) {
  return load(place, 'The changes', waiting('planned changes'), async () => {
    const { entries } = await read('plan-changes', { limit: 200 }, signal);
    if (entries.length === 0) return empty('No change is planned', 'A workspace’s page plans one: Plan, Assign a plan, From.');
    return table('Planned changes', [
      { title: 'When', cell: (one) => [when(one.effectiveAt), one.isDue ? [' ', pill('due', 'warn')] : [' (in ', countdown(one.effectiveAt), ')']] },
      { title: 'Whose', cell: (one) => h('a', { href: `#/workspaces/${one.billableEntityId}/plan` }, one.entityRef) },
      { title: 'Plan', cell: ({ planCode }) => h('code', {}, planCode) },
      { title: 'Times', class: 'number', cell: ({ quantity }) => String(quantity) },
      { title: 'Failures', cell: (one) => (one.failureCount === 0 ? '–' : h('p', { class: 'error' }, `${count(one.failureCount, 'time')}: ${one.lastFailure}`)) },
    ], entries).element;
  });
}
