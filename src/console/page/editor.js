// One definition, plan or product: its fields, and the refusal of what somebody else has changed meanwhile.

import { explain, once, read, readAll, write } from './api.js';
import { KINDS } from './catalogue.js';
import { card, empty, fill, h, pill, toast, waiting } from './dom.js';
import { entitlementsEditor } from './entitlements.js';
import { check, choice, dialog, field, input, showProblem } from './form.js';
import { when, words } from './format.js';

export async function show(outlet, [kind, id], signal) {
  const { path, one } = KINDS[kind];
  fill(outlet, h('h1', {}, words(one)), waiting(one));
  let thing = null;
  let definitions;
  try {
    definitions = await readAll('entitlement-definitions', signal);
    if (id !== 'new') thing = (await read(`${path}/${id}`, {}, signal))[one];
  } catch (error) {
    if (signal.aborted) return;
    const back = h('a', { class: 'button', href: `#/catalogue/${kind}` }, 'Back to the list');
    fill(outlet, h('h1', {}, words(one)), h('section', { class: 'card' }, empty(`This ${one} cannot be shown`, explain(error), back)));
    return;
  }
  draw(outlet, { kind, thing, definitions, signal });
}

function draw(outlet, { kind, thing, definitions, signal }) {
  const { path, one, title } = KINDS[kind];
  const isNew = thing === null;
  const key = once();
  const box = h('div');
  const parts = kind === 'definitions' ? definitionFields(thing) : itemFields(kind, thing, definitions);
  const save = h('button', { type: 'submit', class: 'primary' }, isNew ? `Make the ${one}` : 'Save');
  const form = h('form', { class: 'card-body stack', novalidate: true }, parts.elements, box, h('div', { class: 'row' }, save, h('a', { class: 'button', href: `#/catalogue/${kind}` }, 'Back to the list')));
  // The version that is edited; whoever saved another one meanwhile is asked about, and never overwritten.
  let version = thing?.version;

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    showProblem(form, box, null);
    const body = parts.read();
    if (body === null) return;
    save.disabled = true;
    try {
      const options = { body, key: key({ body, version }), version };
      const answer = await write(isNew ? 'POST' : 'PATCH', isNew ? path : `${path}/${thing.id}`, options);
      toast(isNew ? `Made: ${answer[one].name}.` : 'Saved.');
      if (isNew) location.replace(`#/catalogue/${kind}/${answer[one].id}`);
      else draw(outlet, { kind, thing: answer[one], definitions, signal });
    } catch (error) {
      if (error.status === 412) await conflict(error);
      else {
        // What is wrong with entitlements is said beside them, the rest at the other fields.
        if (error.fieldErrors !== undefined) error.fieldErrors = parts.showErrors?.(error.fieldErrors) ?? error.fieldErrors;
        showProblem(form, box, error);
      }
    } finally {
      save.disabled = false;
    }
  });

  const conflict = async (error) => {
    const theirs = (await read(`${path}/${thing.id}`, {}, signal))[one];
    const mine = parts.read() ?? {};
    const others = Object.keys(mine).filter((name) => JSON.stringify(mine[name] ?? null) !== JSON.stringify(theirs[name] ?? null));
    const take = h('button', { type: 'button' }, 'Take theirs, drop mine');
    take.addEventListener('click', () => draw(outlet, { kind, thing: theirs, definitions, signal }));
    const keep = h('button', { type: 'button' }, `Keep mine, on top of version ${theirs.version}`);
    keep.addEventListener('click', () => {
      version = theirs.version;
      fill(box, h('div', { class: 'notice', role: 'status' }, `Look once more, then save: what you see replaces version ${theirs.version}.`));
      save.focus();
    });
    const text = (value) => (typeof value === 'string' ? value : JSON.stringify(value ?? null, null, 1));
    fill(box, h('div', { class: 'notice warn', role: 'alert' },
      h('strong', {}, `Somebody saved version ${error.details.currentVersion ?? theirs.version} while you edited version ${version}`),
      h('p', {}, `Nothing was overwritten. ${others.length === 0 ? 'It says what yours says.' : 'It differs from yours in:'}`),
      others.map((name) => h('div', {}, h('strong', {}, name), h('pre', {}, `theirs: ${text(theirs[name])}\nyours:  ${text(mine[name])}`))),
      h('div', { class: 'row' }, take, keep)));
    box.scrollIntoView({ block: 'nearest' });
  };

  const state = isNew ? null : [pill(`Version ${thing.version}`), h('span', {}, 'changed ', when(thing.updatedAt))];
  const head = h('div', { class: 'page-head' },
    h('div', {}, h('h1', {}, isNew ? `New ${one}` : thing.name), isNew ? null : h('p', { class: 'lead row' }, h('code', {}, thing.code), state)),
    kind === 'plans' && !isNew && thing.archivedAt === null ? archiveButton(outlet, { kind, thing, definitions, signal }) : null);
  fill(outlet, head, card(isNew ? `What the ${one} is` : title.slice(0, -1), form));
  document.title = `${isNew ? `New ${one}` : thing.name} · Consumable`;
}

function archiveButton(outlet, { kind, thing, definitions, signal }) {
  const button = h('button', { type: 'button', class: 'danger' }, 'Archive');
  button.addEventListener('click', async () => {
    const done = await dialog({
      title: `Archive ${thing.name}?`,
      lead: 'Nobody can be put on it any more. Who is on it stays on it.',
      fields: [],
      action: 'Archive',
      danger: true,
      send: (_, key) => write('POST', `plans/${thing.id}/archive`, { key: key({}) }),
    });
    if (done !== undefined) draw(outlet, { kind, thing: done.plan, definitions, signal });
  });
  return button;
}

const TYPES = ['capacity', 'metered_quota', 'balance', 'state'];
const NONE = ['', 'None'];
const spoken = (names) => names.map((name) => [name, words(name)]);

/** The fields of a definition. Those that are fixed once it is made are shown, and not sent. */
function definitionFields(thing) {
  const isNew = thing === null;
  const of = (name, otherwise = '') => thing?.[name] ?? otherwise;
  const fixed = (control) => {
    control.disabled = !isNew;
    return control;
  };
  const metadata = h('textarea', { class: 'mono', spellcheck: 'false', value: thing?.metadata ? JSON.stringify(thing.metadata, null, 2) : '' });
  const elements = [
    h('div', { class: 'fields' },
      field('code', 'Code', fixed(input({ value: of('code') })), isNew ? 'Cannot be changed later: ai.credits, projects.max.' : 'Fixed.'),
      field('name', 'Name', input({ value: of('name') })),
      field('entitlementType', 'Type', fixed(choice(spoken(TYPES), of('entitlementType', 'metered_quota'))), 'Capacity: so many at once. Quota: so many in a window. Balance: used up. State: on or off.'),
      field('unit', 'Unit', input({ value: of('unit') }), 'One of what is counted: credit, project.'),
      field('scale', 'Decimal places', input({ inputmode: 'numeric', value: String(of('scale', 0)) }), '2: an amount of 150 is 1.50.'),
      field('windowInterval', 'Window', fixed(choice([NONE, ...spoken(['day', 'week', 'month', 'year'])], of('windowInterval'))), 'For quotas.'),
      field('windowAnchor', 'The window begins', fixed(choice([['', 'What is usual'], ...spoken(['calendar_utc', 'billing_period', 'rolling'])], of('windowAnchor'))), 'For quotas.'),
      field('aggregationMode', 'Grants add up by', fixed(choice([['', 'What is usual'], ...spoken(['sum', 'max', 'boolean_any_true'])], of('aggregationMode')))),
      field('enforcementMode', 'When it is used up', choice(spoken(['hard_deny', 'hard_lock_resource', 'soft_warn']), of('enforcementMode', 'hard_deny'))),
      field('lockLabel', 'Lock label', input({ value: of('lockLabel') }), 'What lockState says while over the limit.'),
      field('resourceCode', 'Resource', fixed(input({ value: of('resourceCode') })), 'For capacities: what is counted, such as projects.')),
    field('description', 'Description', h('textarea', { value: of('description') })),
    field('metadata', 'Metadata', metadata, 'Empty, or a JSON object of your own.'),
    check('isActive', 'Active', thing?.isActive ?? true),
  ];
  const control = (name) => elements.flat().map((element) => element.querySelector?.(`[name="${name}"]`)).find(Boolean);
  const read = () => {
    const text = (name) => control(name).value.trim();
    const given = { name: text('name'), description: text('description'), unit: text('unit'), enforcementMode: text('enforcementMode'), lockLabel: text('lockLabel'), isActive: control('isActive').checked };
    given.scale = /^[0-9]{1,3}$/.test(text('scale')) ? Number(text('scale')) : text('scale');
    try {
      given.metadata = text('metadata') === '' ? null : JSON.parse(text('metadata'));
    } catch {
      // The server says that it is no object, at the field.
      given.metadata = text('metadata');
    }
    if (!isNew) return given;
    for (const name of ['code', 'entitlementType']) given[name] = text(name);
    // What is left open has its default.
    for (const name of ['windowInterval', 'windowAnchor', 'resourceCode', 'aggregationMode']) {
      if (text(name) !== '') given[name] = text(name);
    }
    return given;
  };
  return { elements, read };
}

/** The fields of a plan or a product. */
function itemFields(kind, thing, definitions) {
  const isNew = thing === null;
  const code = input({ value: thing?.code ?? '' });
  code.disabled = !isNew;
  const name = input({ value: thing?.name ?? '' });
  const prices = h('textarea', { class: 'mono', spellcheck: 'false', value: (thing?.providerPriceIds ?? []).join('\n') });
  const editor = entitlementsEditor(kind, thing?.entitlements ?? [], definitions);
  const archived = isNew || kind === 'plans' ? null : check('archived', 'Archived: nobody can buy it any more', thing.archivedAt !== null);
  const elements = [
    h('div', { class: 'fields' }, field('code', 'Code', code, isNew ? 'Cannot be changed later.' : 'Fixed.'), field('name', 'Name', name)),
    field('providerPriceIds', 'Prices at the payment provider', prices, 'One id a line, such as price_starter.'),
    archived,
    editor.element,
  ];
  const read = () => {
    const entitlements = editor.read();
    if (entitlements === null) return null;
    const given = { name: name.value.trim(), providerPriceIds: prices.value.split('\n').map((line) => line.trim()).filter(Boolean), entitlements };
    if (isNew) given.code = code.value.trim();
    if (archived !== null) given.archived = archived.querySelector('input').checked;
    return given;
  };
  return { elements, read, showErrors: editor.showErrors };
}
