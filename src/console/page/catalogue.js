// What there is: limits, plans, products.

import { readAll } from './api.js';
import { card, empty, fill, h, pill, table, waiting } from './dom.js';
import { load } from './form.js';
import { windowWords, words } from './format.js';

/** Each kind: its path, its words, and how an entry of its list looks. */
export const KINDS = {
  definitions: { path: 'entitlement-definitions', one: 'definition', title: 'Definitions', about: 'What can be granted and used.' },
  plans: { path: 'plans', one: 'plan', title: 'Plans', about: 'What a workspace is on, and gets for as long as it is.' },
  products: { path: 'products', one: 'product', title: 'Products', about: 'What is bought once, and gives for a while or for good.' },
};

export async function show(outlet, [kind = 'definitions'], signal) {
  const { path, one, title, about } = KINDS[kind];
  const list = h('div');
  const tabs = h('nav', { class: 'tabs', 'aria-label': 'Of the catalogue' }, Object.entries(KINDS).map(([name, { title: text }]) =>
    h('a', { href: `#/catalogue/${name}`, 'aria-current': name === kind ? 'page' : null }, text)));
  const make = h('a', { class: 'button primary', href: `#/catalogue/${kind}/new` }, `New ${one}`);
  const head = h('div', { class: 'page-head' }, h('div', {}, h('h1', {}, 'Catalogue'), h('p', { class: 'lead' }, about)), make);
  fill(outlet, head, tabs, card(title, list));
  await load(list, `The ${title.toLowerCase()}`, waiting(title.toLowerCase()), async () => {
    const entries = await readAll(path, signal);
    if (entries.length === 0) return empty(`No ${one} yet`, about, h('a', { class: 'button', href: `#/catalogue/${kind}/new` }, `Make the first ${one}`));
    return table(title, kind === 'definitions' ? DEFINITION : item(kind), entries).element;
  });
}

const DEFINITION = [
  { title: 'Name', cell: ({ id, name }) => h('a', { href: `#/catalogue/definitions/${id}` }, name) },
  { title: 'Code', cell: ({ code }) => h('code', {}, code) },
  { title: 'Type', cell: ({ entitlementType }) => words(entitlementType) },
  { title: 'Window', cell: (definition) => windowWords(definition) },
  { title: 'When used up', cell: ({ enforcementMode }) => words(enforcementMode) },
  { title: 'State', cell: ({ isActive }) => (isActive ? pill('Active', 'good') : pill('Inactive')) },
];

function item(kind) {
  return [
    { title: 'Name', cell: ({ id, name }) => h('a', { href: `#/catalogue/${kind}/${id}` }, name) },
    { title: 'Code', cell: ({ code }) => h('code', {}, code) },
    { title: 'Grants', cell: ({ entitlements }) => h('span', { class: 'row' }, entitlements.map(({ code }) => h('code', {}, code))) },
    { title: 'Prices at the provider', cell: ({ providerPriceIds }) => h('span', { class: 'row' }, providerPriceIds.map((price) => h('code', {}, price))) },
    { title: 'State', cell: ({ archivedAt }) => (archivedAt === null ? pill('Sold', 'good') : pill('Archived')) },
  ];
}
