// Elements, made without markup: what the server says is only ever set as text.

/**
 * An element. Properties that begin with `on` are listeners; `class`, `aria-…`, `data-…` and the like are attributes, of which `null` and
 * `false` are left out. Children may be elements, texts, nothing, and lists of these.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value') element.value = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Puts children in the place of those that are there. */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/** Says it to who does not see the page. */
export function say(text) {
  document.getElementById('said').textContent = text;
}

/** Says it to everybody, for some seconds. */
export function toast(text) {
  const element = h('p', { class: 'toast' }, text);
  document.getElementById('toasts').append(element);
  setTimeout(() => element.remove(), 6_000);
}

export function pill(text, tone = '', properties = {}) {
  return h('span', { ...properties, class: `pill ${tone}`.trim() }, text);
}

/** While something is asked for. */
export function waiting(what) {
  return h('div', { class: 'waiting', role: 'status' }, h('span', { class: 'hidden' }, `Loading ${what}`), h('i'), h('i'), h('i'));
}

/** Where there is nothing: what that means, and what to do. */
export function empty(title, text, action = null) {
  return h('div', { class: 'empty' }, h('strong', {}, title), h('p', {}, text), action);
}

/**
 * A table with a name. A column: `{title, cell, class}`. On a narrow page each row is a small list of its own, and the roles say that it still
 * is a table.
 */
export function table(name, columns, rows, rowProperties = () => ({})) {
  const title = (column) => column.title || h('span', { class: 'hidden' }, 'Actions');
  const head = h('tr', { role: 'row' }, columns.map((column) => h('th', { scope: 'col', role: 'columnheader', class: column.class ?? null }, title(column))));
  const body = h('tbody', { role: 'rowgroup' });
  const cell = (column, row) => h('td', { role: 'cell', class: column.class ?? null, 'data-title': column.title || null }, h('div', {}, column.cell(row)));
  const add = (more) => body.append(...more.map((row) => h('tr', { role: 'row', ...rowProperties(row) }, columns.map((column) => cell(column, row)))));
  add(rows);
  const whole = h('table', { role: 'table', 'aria-label': name }, h('thead', { role: 'rowgroup' }, head), body);
  const element = h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': name }, whole);
  return { element, add };
}

/** A card with a heading. */
export function card(title, body, end = null) {
  const heading = h('h2', {}, title);
  const element = h('section', { class: 'card' }, h('div', { class: 'card-head' }, heading, end), body);
  return element;
}
