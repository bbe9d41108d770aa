// Forms and dialogs: fields with their errors beside them, and one place for what is of no field.

import { explain, once } from './api.js';
import { fill, h, say } from './dom.js';

let made = 0;

/**
 * A field. `control` is an input, a select or a textarea; `path` is what the server calls the field.
 */
export function field(path, label, control, hint = null) {
  const id = `field-${(made += 1)}`;
  control.id = id;
  control.name = path;
  const error = h('p', { class: 'error', id: `${id}-error`, hidden: true });
  const tip = hint === null ? null : h('p', { class: 'hint', id: `${id}-hint` }, hint);
  control.setAttribute('aria-describedby', tip === null ? error.id : `${tip.id} ${error.id}`);
  return h('div', { class: 'field', 'data-path': path }, h('label', { for: id }, label), control, tip, error);
}

/** A field that is on or off. */
export function check(path, label, isOn) {
  const id = `field-${(made += 1)}`;
  const control = h('input', { type: 'checkbox', id, name: path });
  control.checked = isOn;
  return h('div', { class: 'field', 'data-path': path }, h('div', { class: 'check' }, control, h('label', { for: id }, label)), h('p', { class: 'error', hidden: true }));
}

export const input = (properties = {}) => h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', ...properties });

/** A choice of `[value, label]`. */
export function choice(options, value) {
  const select = h('select', {}, options.map(([option, label]) => h('option', { value: option, selected: option === value }, label)));
  return select;
}

/** Shows errors at their fields; gives those that have none in this form. */
export function showErrors(form, fieldErrors) {
  const left = { ...fieldErrors };
  for (const element of form.querySelectorAll('[data-path]')) {
    const { path } = element.dataset;
    // What is said of a part is said at the whole: `providerPriceIds[1]` at `providerPriceIds`.
    const said = Object.keys(left).filter((key) => key === path || key.startsWith(`${path}[`) || key.startsWith(`${path}.`));
    const control = element.querySelector('input, select, textarea');
    const error = element.querySelector('.error');
    error.textContent = said.map((key) => (key === path ? left[key] : `${key} ${left[key]}`)).join('; ');
    error.hidden = said.length === 0;
    if (said.length > 0) control.setAttribute('aria-invalid', 'true');
    else control.removeAttribute('aria-invalid');
    said.forEach((key) => delete left[key]);
  }
  return left;
}

/** Shows what went wrong in a form: at its fields, and the rest in `box`. */
export function showProblem(form, box, error) {
  const left = Object.entries(showErrors(form, error?.fieldErrors ?? {}));
  const invalid = form.querySelector('[aria-invalid="true"]');
  if (error === null) {
    fill(box);
    return;
  }
  const lines = left.map(([path, text]) => h('p', {}, `${path} ${text}`));
  const isAllSaid = left.length === 0 && invalid !== null;
  const text = isAllSaid ? 'Something is wrong with what was entered; see the fields.' : explain(error);
  fill(box, h('div', { class: 'notice bad', role: 'alert' }, h('p', {}, text), lines));
  if (invalid !== null) invalid.focus();
}

/**
 * A dialog with a form. `send(values, key)` does it: when it is done, the dialog closes; when it fails, it says why and stays.
 * Gives a promise of what `send` gave; `undefined` when it was closed.
 */
export function dialog({ title, lead = null, fields, action, danger = false, send }) {
  const key = once();
  const box = h('div');
  const submit = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, action);
  const cancel = h('button', { type: 'button' }, 'Cancel');
  const heading = h('h2', { id: `dialog-${(made += 1)}` }, title);
  const form = h('form', { class: 'stack', novalidate: true }, heading, lead === null ? null : h('p', { class: 'quiet' }, lead), fields, box, h('div', { class: 'row foot' }, cancel, submit));
  const element = h('dialog', { 'aria-labelledby': heading.id }, form);
  document.body.append(element);
  return new Promise((resolve) => {
    let answer;
    cancel.addEventListener('click', () => element.close());
    element.addEventListener('close', () => {
      element.remove();
      resolve(answer);
    });
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      submit.disabled = true;
      try {
        answer = await send(new FormData(form), key);
        element.close();
      } catch (error) {
        showProblem(form, box, error);
      } finally {
        submit.disabled = false;
      }
    });
    element.showModal();
  });
}

/** Shows something to read. */
export function show(title, content) {
  const heading = h('h2', { id: `dialog-${(made += 1)}` }, title);
  const close = h('button', { type: 'button' }, 'Close');
  const element = h('dialog', { class: 'wide', 'aria-labelledby': heading.id }, h('div', { class: 'stack' }, heading, content, h('div', { class: 'row foot' }, close)));
  close.addEventListener('click', () => element.close());
  element.addEventListener('close', () => element.remove());
  document.body.append(element);
  element.showModal();
}

/** A part of a page that is asked for: waiting, then what came, or why it did not, with another try. */
export async function load(place, what, waitingFor, make) {
  if (place.childElementCount === 0) fill(place, waitingFor);
  try {
    fill(place, await make());
  } catch (error) {
    if (error.name === 'AbortError') return;
    const again = h('button', { type: 'button' }, 'Try again');
    again.addEventListener('click', () => {
      fill(place);
      load(place, what, waitingFor, make);
    });
    fill(place, h('div', { class: 'card-body' }, h('div', { class: 'notice bad', role: 'alert' }, h('strong', {}, `${what} could not be read`), h('p', {}, explain(error)), h('div', {}, again))));
    say(`${what} could not be read`);
  }
}
