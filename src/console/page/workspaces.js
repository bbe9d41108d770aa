// Who there is: the list from which an operator chooses.

import { read } from './api.js';
import { card, empty, fill, h, pill, table, waiting } from './dom.js';
import { load } from './form.js';
import { when } from './format.js';

/** Time after the last letter before the list is asked for. */
const TYPING_MS = 200;

export async function show(outlet, _, signal) {
  const search = h('input', { type: 'search', placeholder: 'Reference or workspace, its beginning', 'aria-label': 'Search workspaces', spellcheck: 'false', autocomplete: 'off' });
  const list = h('div');
  const head = h('div', { class: 'page-head' }, h('div', {}, h('h1', {}, 'Workspaces'), h('p', { class: 'lead' }, 'Whoever holds entitlements. Choose one to see and change its limits.')));
  fill(outlet, head, card('Billable entities', list, h('div', { class: 'search' }, search)));
  let timer;
  let asking = new AbortController();
  const find = () => {
    asking.abort();
    asking = new AbortController();
    const asked = AbortSignal.any([signal, asking.signal]);
    return load(list, 'The list', waiting('workspaces'), () => page(search.value.trim(), asked));
  };
  search.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(find, TYPING_MS);
  });
  signal.addEventListener('abort', () => clearTimeout(timer));
  await find();
}

async function page(q, signal) {
  // Names are visible ASCII: nothing else is worth asking for.
  const first = /^[!-~]{0,128}$/.test(q) ? await read('entities', { q }, signal) : { entries: [] };
  if (first.entries.length === 0) {
    return q === ''
      ? empty('Nobody is here yet', 'Your application makes a billable entity with PUT /api/billing/entities/workspace/{reference}.')
      : empty(`Nothing begins with “${q}”`, 'References and workspaces are searched by how they begin, upper and lower case apart.');
  }
  const { element, add } = table('Billable entities', COLUMNS, first.entries);
  const more = h('button', { type: 'button' }, 'Show more');
  let cursor = first.nextCursor;
  more.hidden = cursor === null;
  more.addEventListener('click', async () => {
    more.disabled = true;
    const next = await read('entities', { q, cursor }, signal);
    add(next.entries);
    cursor = next.nextCursor;
    more.hidden = cursor === null;
    more.disabled = false;
  });
  return [element, h('div', { class: 'card-body', hidden: cursor === null }, more)];
}

const COLUMNS = [
  { title: 'Name', cell: (entity) => h('a', { href: `#/workspaces/${entity.id}` }, entity.workspaceName ?? entity.workspaceSlug ?? entity.entityRef) },
  { title: 'Workspace', cell: ({ workspaceSlug }) => (workspaceSlug === null ? '–' : h('code', {}, workspaceSlug)) },
  { title: 'Reference', cell: ({ entityType, entityRef }) => h('code', {}, `${entityType}/${entityRef}`) },
  { title: 'Id', class: 'number', cell: ({ id }) => String(id) },
  { title: 'Status', cell: ({ status }) => pill(status, status === 'active' ? 'good' : 'warn') },
  { title: 'Since', cell: ({ createdAt }) => when(createdAt) },
];
