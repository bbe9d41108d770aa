// One workspace: its limits as they move, its plan, and what its users see.

import { createClient } from '../client/consumable.js';
import { ask, explain } from './api.js';
import { empty, fill, h, pill, toast, waiting } from './dom.js';
import { limitList } from './limits.js';
import { limitDetail } from './limit.js';
import { connection } from './live.js';
import { planPanel } from './plan.js';
import { session } from './session.js';
import { userPanel } from './user.js';

/** Each tab by its part of the address. */
const TABS = { limits: 'Limits', plan: 'Plan', user: 'As its users see it' };

/** The page stays for as long as it is about the same workspace. */
export const about = ([id]) => id;

export async function show(outlet, parameters, signal) {
  const [id] = parameters;
  const subject = { billableEntityId: id };
  fill(outlet, h('h1', {}, 'Workspace'), waiting('limits'));
  const problem = h('div');
  const client = createClient({
    token: session().token,
    billableEntityId: Number(id),
    onError: (error) => fill(problem, h('div', { class: 'notice bad', role: 'alert' }, explain(error))),
  });
  signal.addEventListener('abort', () => client.close());
  let first;
  try {
    first = await client.limitations();
  } catch (error) {
    if (signal.aborted) return undefined;
    const back = h('a', { class: 'button', href: '#/workspaces' }, 'All workspaces');
    fill(outlet, h('h1', {}, 'Workspace'), h('section', { class: 'card' }, empty('This workspace cannot be shown', explain(error), back)));
    return undefined;
  }
  const { billableEntity } = first;
  const tabs = h('nav', { class: 'tabs', 'aria-label': 'Of this workspace' });
  const body = h('div', { class: 'stack' });
  fill(outlet, head(billableEntity, client, subject, signal), problem, tabs, body);

  const list = limitList({ href: (code) => `#/workspaces/${id}/limits/${encodeURIComponent(code)}` });
  const panels = { limits: limitsPanel(subject, billableEntity, list, signal), plan: null, user: null };
  const show = ([, tab = 'limits', code]) => {
    fill(tabs, Object.entries(TABS).map(([name, title]) =>
      h('a', { href: `#/workspaces/${id}/${name}`, 'aria-current': name === tab ? 'page' : null }, title)));
    if (tab === 'plan') panels.plan ??= planPanel(client, billableEntity, signal);
    if (tab === 'user') panels.user ??= userPanel(client, signal);
    if (body.firstChild !== panels[tab].element) fill(body, panels[tab].element);
    if (tab === 'limits') panels.limits.choose(code === undefined ? null : decodeURIComponent(code));
  };
  client.subscribe(({ limitations }, { changedCodes }) => {
    fill(problem);
    list.update(limitations, changedCodes);
    panels.limits.update(limitations, changedCodes);
  });
  show(parameters);
  return show;
}

function head(entity, client, subject, signal) {
  const name = entity.workspaceName ?? entity.workspaceSlug ?? entity.entityRef;
  const recompute = h('button', { type: 'button' }, 'Rebuild from the ledger');
  recompute.title = 'Makes every balance of this workspace again from the ledger';
  recompute.addEventListener('click', async () => {
    recompute.disabled = true;
    try {
      await ask('POST', '/api/billing/limits/refresh', { query: subject });
      toast('Rebuilt. What differed is right now.');
    } catch (error) {
      toast(explain(error));
    } finally {
      recompute.disabled = false;
    }
  });
  const lead = h('p', { class: 'lead row' }, h('code', {}, `${entity.entityType}/${entity.entityRef}`), h('span', {}, `id ${entity.id}`), entity.status === 'active' ? null : pill(entity.status, 'warn'), connection(client, signal));
  return h('div', { class: 'page-head' }, h('div', {}, h('h1', {}, name), lead), recompute);
}

/** The list, and beneath it the limit that is looked at. */
function limitsPanel(subject, entity, list, signal) {
  const place = h('div', { class: 'stack' });
  const element = h('div', { class: 'stack' }, list.element, place);
  let known = [];
  let detail = null;
  let wanted = null;

  const settle = () => {
    const code = wanted ?? known.find(({ grantedAmount, consumedAmount }) => grantedAmount > 0 || consumedAmount > 0)?.code ?? known[0]?.code;
    const limitation = known.find((one) => one.code === code);
    list.choose(code);
    if (limitation === undefined) {
      fill(place, known.length === 0 ? null : h('section', { class: 'card' }, empty('There is no such limit', 'It may be inactive: see the catalogue.')));
      return;
    }
    if (detail?.code === code) return;
    detail?.leave.abort();
    const leave = new AbortController();
    signal.addEventListener('abort', () => leave.abort(), { signal: leave.signal });
    const shown = limitDetail(subject, entity, limitation, leave.signal);
    detail = { code, leave, shown };
    fill(place, shown.element);
    if (wanted !== null) shown.element.scrollIntoView({ block: 'nearest' });
  };
  return {
    element,
    choose: (code) => {
      wanted = code;
      if (known.length > 0) settle();
    },
    update: (limitations, changedCodes) => {
      known = limitations;
      settle();
      const limitation = limitations.find(({ code }) => code === detail?.code);
      if (limitation !== undefined && changedCodes.includes(detail.code)) detail.shown.update(limitation);
    },
  };
}
