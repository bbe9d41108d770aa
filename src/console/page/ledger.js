// The ledger of one limit, newest first, a page at a time.

import { ask } from './api.js';
import { empty, h, pill, table, waiting } from './dom.js';
import { load } from './form.js';
import { amount, when, words } from './format.js';

const PAGE = 25;

export function ledgerList(subject, limitation, signal) {
  const element = h('div');
  let asking = new AbortController();
  /** Whether older entries are shown, too: then they are not taken away from who reads them. */
  let isRead = false;

  const page = (cursor, asked) => {
    const path = `/api/billing/limitations/${encodeURIComponent(limitation().code)}/ledger`;
    return ask('GET', path, { query: { ...subject, cursor, limit: PAGE }, signal: asked });
  };
  const reload = () => {
    if (isRead) {
      newer();
      return undefined;
    }
    asking.abort();
    asking = new AbortController();
    const asked = AbortSignal.any([signal, asking.signal]);
    return load(element, 'The ledger', waiting('the ledger'), async () => {
      const first = await page(undefined, asked);
      if (first.entries.length === 0) return empty('Nothing was recorded yet', 'Grants, uses, holds and what they left are kept here for good.');
      const { element: rows, add } = table(`Ledger of ${limitation().name}`, columns(limitation().scale), first.entries, ({ kind }) => ({ 'data-kind': kind }));
      const more = h('button', { type: 'button' }, 'Show older entries');
      let cursor = first.nextCursor;
      const foot = h('div', { class: 'card-body', hidden: cursor === null }, more);
      more.addEventListener('click', async () => {
        more.disabled = true;
        try {
          const next = await page(cursor, asked);
          add(next.entries);
          isRead = true;
          cursor = next.nextCursor;
          foot.hidden = cursor === null;
        } finally {
          more.disabled = false;
        }
      });
      return [rows, foot];
    });
  };
  const newer = () => {
    if (element.querySelector('[data-newer]') !== null) return;
    const button = h('button', { type: 'button', class: 'tight', 'data-newer': true }, 'There are newer entries: show them');
    button.addEventListener('click', () => {
      isRead = false;
      reload();
    });
    element.prepend(h('div', { class: 'card-body' }, button));
  };
  return { element, reload };
}

function columns(scale) {
  const number = (value) => amount(value, scale);
  return [
    { title: 'When', cell: ({ at }) => when(at, { precise: true }) },
    { title: 'What', cell: (entry) => what(entry) },
    { title: 'Amount', class: 'number', cell: (entry) => moved(entry, number) },
    { title: 'Left', class: 'number', cell: ({ availableAmount }) => (availableAmount === undefined ? '–' : number(availableAmount)) },
    { title: 'Details', cell: (entry) => details(entry, number) },
  ];
}

function what(entry) {
  switch (entry.kind) {
    case 'grant':
      return pill(`Grant · ${words(entry.grantKind).toLowerCase()}`, 'good');
    case 'revocation':
      return pill('Revoked', 'bad');
    case 'consumption':
      return pill('Used');
    case 'hold':
      return pill('Held', 'warn');
    case 'hold_resolution':
      return pill(`Hold ${entry.resolution}`, 'warn');
    case 'count_change':
      return pill(`Count · ${words(entry.changeKind).toLowerCase()}`);
    default:
      return pill(`Settled · ${words(entry.cause).toLowerCase()}`);
  }
}

function moved(entry, number) {
  if (entry.kind === 'grant') return `+${number(entry.amount)}`;
  if (entry.kind === 'settlement') return entry.closedAmount === 0 ? '–' : number(entry.closedAmount);
  if (entry.amount === undefined) return '–';
  return entry.kind === 'consumption' ? `-${number(entry.amount)}` : number(entry.amount);
}

function details(entry, number) {
  const parts = [];
  const say = (label, value) => {
    if (value !== null && value !== undefined) parts.push(h('span', {}, h('span', { class: 'quiet' }, `${label} `), value));
  };
  const key = (value) => (value === undefined || value === null ? null : h('code', {}, value));
  if (entry.grantId !== undefined) say('grant', String(entry.grantId));
  if (entry.holdId !== undefined) say('hold', String(entry.holdId));
  say('because', entry.reason);
  say('key', key(entry.usageEventKey));
  say('reason', key(entry.reasonCode));
  say('by', entry.createdBy);
  if (entry.kind === 'grant' && entry.expiresAt !== null) say('until', when(entry.expiresAt));
  if (entry.kind === 'hold') say('until', when(entry.expiresAt));
  if (entry.kind === 'settlement') {
    say('segment', String(entry.segmentNo));
    say('granted', number(entry.grantedAmount));
    entry.gave.forEach((gift) => say(`grant ${gift.grantId} gave`, number(gift.amount)));
  }
  return h('span', { class: 'row small' }, parts);
}
