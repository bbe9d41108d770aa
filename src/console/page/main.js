// The frame: who is signed in, which page is shown, light or dark.

import { ask, explain, refused } from './api.js';
import { fill, h, say } from './dom.js';
import { field, input } from './form.js';
import { tick } from './format.js';
import { begin, end, session } from './session.js';
import * as catalogue from './catalogue.js';
import * as editor from './editor.js';
import * as engine from './engine.js';
import * as money from './money.js';
import * as user from './user.js';
import * as workspace from './workspace.js';
import * as workspaces from './workspaces.js';

/** Each address with its page; the parts in brackets are given to it. */
const PAGES = [
  [/^\/workspaces$/, workspaces],
  [/^\/workspaces\/(\d+)(?:\/(limits|plan|user)(?:\/(.+))?)?$/, workspace],
  [/^\/catalogue(?:\/(definitions|plans|products))?$/, catalogue],
  [/^\/catalogue\/(definitions|plans|products)\/(\d+|new)$/, editor],
  [/^\/money(?:\/(purchases|inbox|changes))?$/, money],
  [/^\/engine$/, engine],
];

const SECTIONS = [
  ['Workspaces', '#/workspaces'],
  ['Catalogue', '#/catalogue'],
  ['Money', '#/money'],
  ['Engine room', '#/engine'],
];

const THEME = 'consumable.theme';
const main = document.getElementById('main');
const top = document.getElementById('top');

/** The page that is shown: which, for what, and what ends it. */
let shown = { page: null, about: null, update: null, leave: new AbortController() };

function theme(wanted) {
  const schemes = ['light dark', 'light', 'dark'];
  document.documentElement.style.colorScheme = schemes.includes(wanted) ? wanted : schemes[0];
}

function themeButton() {
  const label = () => {
    const isDark = getComputedStyle(document.documentElement).colorScheme === 'dark' || isSystemDark();
    return isDark ? 'Light' : 'Dark';
  };
  const isSystemDark = () => document.documentElement.style.colorScheme === 'light dark' && matchMedia('(prefers-color-scheme: dark)').matches;
  const button = h('button', { type: 'button', class: 'plain tight' }, label());
  button.addEventListener('click', () => {
    // It does what it says.
    const next = button.textContent.toLowerCase();
    localStorage.setItem(THEME, next);
    theme(next);
    button.textContent = label();
    dispatchEvent(new Event('themechange'));
  });
  return button;
}

function drawTop() {
  const brand = h('a', { class: 'brand', href: '#/' }, h('img', { src: '/console/page/icon.svg', alt: '' }), 'Consumable');
  if (session() === null) {
    fill(top, h('div', { class: 'top-inner' }, brand, h('div', { class: 'top-end' }, themeButton())));
    return;
  }
  const here = `#${location.hash.slice(1)}`;
  const sections = session().kind === 'admin' ? SECTIONS : [];
  const links = sections.map(([name, href]) =>
    h('li', {}, h('a', { href, 'aria-current': here.startsWith(href) ? 'page' : null }, name)));
  const nav = links.length === 0 ? null : h('nav', { 'aria-label': 'Sections' }, h('ul', {}, links));
  const out = h('button', { type: 'button', class: 'tight', onclick: () => leave() }, 'Sign out');
  fill(top, h('div', { class: 'top-inner' }, brand, nav, h('div', { class: 'top-end' }, themeButton(), out)));
}

function leave(why = null) {
  end();
  shown.leave.abort();
  shown = { page: null, about: null, update: null, leave: new AbortController() };
  signIn(why);
}

function signIn(why = null) {
  drawTop();
  isArriving = false;
  document.title = 'Sign in · Consumable';
  const secret = input({ type: 'password', required: true });
  const box = h('div', {}, why === null ? null : h('div', { class: 'notice warn', role: 'alert' }, why));
  const submit = h('button', { type: 'submit', class: 'primary' }, 'Sign in');
  const hint = 'An admin key (ck_…) for operators, or a workspace token for one workspace. It stays in this tab and is forgotten with it.';
  const form = h('form', { class: 'stack', novalidate: true }, field('secret', 'Key or token', secret, hint), box, h('div', {}, submit));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const token = secret.value.trim();
    if (token === '') {
      secret.focus();
      return;
    }
    submit.disabled = true;
    try {
      begin(token, await kindOf(token));
      go();
    } catch (error) {
      fill(box, h('div', { class: 'notice bad', role: 'alert' }, error.status === 401 ? 'This is no valid key or token. Keys are made with consumable keys create --role admin.' : explain(error)));
      secret.focus();
    } finally {
      submit.disabled = false;
    }
  });
  const heading = h('h1', { tabindex: '-1' }, 'Sign in');
  fill(main, h('div', { class: 'sign-in stack' }, heading, h('section', { class: 'card' }, h('div', { class: 'card-body' }, form))));
  secret.focus();
}

/** Whose a secret is, found by what it may read. */
async function kindOf(token) {
  if (token.startsWith('ck_')) {
    await ask('GET', '/api/console/billing/plans', { query: { limit: 1 }, token });
    return 'admin';
  }
  await ask('GET', '/api/billing/limitations', { query: { held: 'true' }, token });
  return 'workspace';
}

/** Whether the browser has just come: then it begins at the top, as ever, and not at the heading. */
let isArriving = true;

/** Shows the page of the address. */
async function go() {
  if (session() === null) {
    signIn();
    return;
  }
  const path = decodeURI(location.hash.slice(1)) || '/';
  if (session().kind === 'workspace') {
    open(user, []);
    return;
  }
  const found = PAGES.map(([pattern, page]) => [page, pattern.exec(path)]).find(([, match]) => match !== null);
  if (found === undefined) {
    location.replace('#/workspaces');
    return;
  }
  open(found[0], found[1].slice(1));
}

async function open(page, parameters) {
  drawTop();
  const about = page.about?.(parameters) ?? parameters.join('/');
  // Another part of the same thing: the page keeps what it has, its stream of events above all.
  if (shown.page === page && shown.about === about && shown.update !== null) {
    shown.update(parameters);
    return;
  }
  shown.leave.abort();
  const leaving = new AbortController();
  shown = { page, about, update: null, leave: leaving };
  const outlet = h('div', { class: 'page' });
  fill(main, outlet);
  scrollTo(0, 0);
  const update = await page.show(outlet, parameters, leaving.signal);
  if (leaving.signal.aborted) return;
  shown.update = update ?? null;
  const heading = outlet.querySelector('h1');
  document.title = `${heading?.textContent ?? ''} · Consumable`;
  if (heading !== null && !isArriving && (document.activeElement === document.body || document.activeElement === main)) {
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }
  isArriving = false;
  say(heading?.textContent ?? '');
}

theme(localStorage.getItem(THEME));
// The address names pages, so that it cannot name a place in one.
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener('hashchange', go);
refused.addEventListener('refused', () => {
  if (session() !== null) leave('The key or token is not valid any more. Sign in again; what you had entered was not saved.');
});
tick(new AbortController().signal);
go();
