// What a user of a workspace sees: the limits in words, the plan, and what another one would change.

import { createClient } from '../client/consumable.js';
import { explain } from './api.js';
import { card, empty, fill, h, pill, table, waiting } from './dom.js';
import { choice, load } from './form.js';
import { amount, countdown, day, quantity, windowWords } from './format.js';
import { limitList } from './limits.js';
import { connection } from './live.js';
import { session } from './session.js';

/** The page of who signed in with a workspace token. */
export async function show(outlet, _, signal) {
  fill(outlet, h('h1', {}, 'Your limits'), waiting('limits'));
  const problem = h('div');
  const client = createClient({
    token: session().token,
    onError: (error) => fill(problem, h('div', { class: 'notice bad', role: 'alert' }, explain(error))),
  });
  signal.addEventListener('abort', () => client.close());
  let first;
  try {
    first = await client.limitations();
  } catch (error) {
    if (!signal.aborted) fill(outlet, h('h1', {}, 'Your limits'), h('section', { class: 'card' }, empty('Nothing can be shown', explain(error))));
    return;
  }
  const { workspaceName, workspaceSlug } = first.billableEntity;
  const head = h('div', { class: 'page-head' }, h('div', {}, h('h1', {}, 'Your limits'), h('p', { class: 'lead row' }, workspaceName ?? workspaceSlug, connection(client, signal))));
  fill(outlet, head, problem, userPanel(client, signal).element);
}

/** Limits and plan of a client's workspace. */
export function userPanel(client, signal) {
  const list = limitList({ inWords: true });
  const nothing = h('section', { class: 'card', hidden: true }, empty('No limits yet', 'Nothing was granted to this workspace.'));
  const plan = h('div');
  const reload = () => load(plan, 'The plan', waiting('the plan'), async () => planWords(await client.planState()));
  const leave = client.subscribe(({ limitations }, { keys, changedCodes }) => {
    // What was never granted nor used is of no interest to a user.
    const shown = limitations.filter(({ grantedAmount, consumedAmount, lastRecomputedAt }) => grantedAmount > 0 || consumedAmount > 0 || lastRecomputedAt !== null);
    list.update(shown, changedCodes);
    nothing.hidden = shown.length > 0;
    list.element.hidden = shown.length === 0;
    if (keys.includes('planState')) reload();
  });
  signal.addEventListener('abort', leave);
  reload();
  return { element: h('div', { class: 'stack' }, list.element, nothing, card('Plan', plan)) };
}

function planWords({ currentPlan, nextPlanChange, availablePlans }) {
  const now = currentPlan === null
    ? h('p', {}, 'You are on no plan.')
    : h('p', {}, 'You are on ', h('strong', {}, currentPlan.planName), currentPlan.quantity > 1 ? `, ${currentPlan.quantity} times` : '', currentPlan.periodEndAt === null ? '.' : `; this period ends on ${day(currentPlan.periodEndAt)}.`);
  const next = nextPlanChange === null
    ? null
    : h('p', {}, `From ${day(nextPlanChange.effectiveAt)} (in `, countdown(nextPlanChange.effectiveAt), ') you are on ', h('strong', {}, nextPlanChange.planName), '.');
  const others = availablePlans.filter(({ isCurrent }) => !isCurrent);
  if (others.length === 0) return h('div', { class: 'card-body stack' }, now, next, h('p', { class: 'quiet' }, 'There is no other plan to change to.'));
  const change = h('div');
  const wanted = choice(others.map(({ planCode, planName }) => [planCode, planName]), others[0].planCode);
  wanted.setAttribute('aria-label', 'Another plan');
  const compare = () => {
    const current = availablePlans.find(({ isCurrent }) => isCurrent);
    const other = others.find(({ planCode }) => planCode === wanted.value);
    fill(change, comparison(current?.entitlements ?? [], other, currentPlan?.quantity ?? 1));
  };
  wanted.addEventListener('change', compare);
  compare();
  const question = h('div', { class: 'row' }, h('span', {}, 'If you changed to'), h('span', {}, wanted));
  return [h('div', { class: 'card-body stack' }, now, next, question), change];
}

/** Both plans, limit by limit: what each grants, `times` times. */
function comparison(before, plan, times) {
  const rows = new Map();
  const add = (entitlements, side) => {
    for (const entitlement of entitlements) {
      const { code } = entitlement;
      if (!rows.has(code)) rows.set(code, { entitlement, before: 0, after: 0 });
      rows.get(code)[side] += entitlement.amount * times;
    }
  };
  add(before, 'before');
  add(plan.entitlements, 'after');
  if (rows.size === 0) return empty('Neither grants anything', 'These plans have no limits of their own.');
  const sorted = [...rows.values()].toSorted((one, other) => one.entitlement.name.localeCompare(other.entitlement.name));
  return table(`What ${plan.planName} would change`, [
    { title: 'Limit', cell: ({ entitlement }) => h('strong', {}, entitlement.name) },
    { title: 'Now', class: 'number', cell: (row) => amount(row.before, row.entitlement.scale) },
    { title: `With ${plan.planName}`, class: 'number', cell: (row) => quantity(row.after, row.entitlement) },
    { title: 'That is', cell: (row) => difference(row) },
    { title: 'Counted', cell: ({ entitlement }) => windowWords({ entitlementType: '', windowAnchor: null, ...entitlement }) },
  ], sorted).element;
}

function difference({ before, after, entitlement }) {
  if (after === before) return pill('the same');
  const by = amount(Math.abs(after - before), entitlement.scale);
  return after > before ? pill(`${by} more`, 'good') : pill(`${by} fewer`, 'warn');
}
