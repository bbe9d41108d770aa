// The plan of a workspace: which it is on, which it will be on, and a change of it.

import { read, readAll, write } from './api.js';
import { card, empty, h, pill, table, toast, waiting } from './dom.js';
import { choice, dialog, field, input, load } from './form.js';
import { countdown, instant, when } from './format.js';

export function planPanel(client, entity, signal) {
  const place = h('div');
  const assign = h('button', { type: 'button', class: 'primary' }, 'Assign a plan');
  const reload = () => load(place, 'The plan', waiting('the plan'), async () => {
    const { entries } = await read('plan-assignments', { billableEntityId: entity.id, limit: 100 }, signal);
    if (entries.length === 0) return empty('On no plan', 'Assign one here, or let a subscription name it by its price.');
    return table('Plans of this workspace', columns(reload), entries, ({ status }) => ({ 'data-status': status })).element;
  });
  assign.addEventListener('click', async () => {
    if (await assignPlan(entity, signal)) reload();
  });
  const leave = client.subscribe((_, { keys, changeSources }) => {
    if (keys.includes('planState') || changeSources.includes('plan_grant')) reload();
  });
  signal.addEventListener('abort', leave);
  reload();
  return { element: card('Plan', place, assign) };
}

const TONES = { current: 'good', scheduled: 'warn' };

function columns(reload) {
  return [
    { title: 'Plan', cell: (one) => [one.planName, ' ', h('code', { class: 'quiet' }, one.planCode)] },
    { title: 'Times', class: 'number', cell: ({ quantity }) => String(quantity) },
    { title: 'Status', cell: ({ status }) => pill(status, TONES[status] ?? '') },
    { title: 'From', cell: ({ effectiveAt, status }) => (status === 'scheduled' ? [when(effectiveAt), ' (in ', countdown(effectiveAt), ')'] : when(effectiveAt)) },
    { title: 'To', cell: ({ endedAt }) => when(endedAt) },
    { title: 'Period', cell: (one) => (one.periodEndAt === null ? '–' : [when(one.periodStartAt), ' to ', when(one.periodEndAt)]) },
    { title: 'By', cell: (one) => [one.createdBy, one.lastFailure === null ? null : h('p', { class: 'error' }, `Failed ${one.failureCount} times: ${one.lastFailure}`)] },
    { title: '', class: 'end', cell: (one) => (one.status === 'scheduled' ? cancelButton(one, reload) : null) },
  ];
}

function cancelButton(assignment, reload) {
  const button = h('button', { type: 'button', class: 'danger tight', 'aria-label': `Cancel the change to ${assignment.planName}` }, 'Cancel');
  button.addEventListener('click', async () => {
    const done = await dialog({
      title: `Give up the change to ${assignment.planName}?`,
      lead: 'The workspace stays on the plan that it has. Nothing was granted for the change yet.',
      fields: [],
      action: 'Give up the change',
      danger: true,
      send: (_, key) => write('POST', `plan-assignments/${assignment.id}/cancel`, { key: key({}) }),
    });
    if (done === undefined) return;
    toast('The change was given up.');
    reload();
  });
  return button;
}

async function assignPlan(entity, signal) {
  const plans = (await readAll('plans', signal)).filter(({ archivedAt }) => archivedAt === null);
  if (plans.length === 0) {
    toast('There is no plan yet: make one in the catalogue.');
    return false;
  }
  const done = await dialog({
    title: 'Assign a plan',
    lead: 'What the plan grants comes with it, and what the plan before it granted ends.',
    fields: h('div', { class: 'fields' },
      field('planCode', 'Plan', choice(plans.map(({ code, name }) => [code, `${name} (${code})`]), plans[0].code)),
      field('quantity', 'Times', input({ inputmode: 'numeric', value: '1' }), 'Seats, for instance: everything it grants, so many times.'),
      field('effectiveAt', 'From', input({ type: 'datetime-local' }), 'Empty: now. Your own time.'),
      field('periodStartAt', 'Period from', input({ type: 'datetime-local' }), 'If a period was paid for.'),
      field('periodEndAt', 'Period to', input({ type: 'datetime-local' }))),
    action: 'Assign',
    send: (values, key) => {
      const times = values.get('quantity').trim();
      const body = {
        billableEntityId: entity.id,
        planCode: values.get('planCode'),
        quantity: /^[0-9]{1,9}$/.test(times) ? Number(times) : times,
        effectiveAt: instant(values.get('effectiveAt')),
        periodStartAt: instant(values.get('periodStartAt')),
        periodEndAt: instant(values.get('periodEndAt')),
      };
      return write('POST', 'plan-assignments', { body, key: key(body) });
    },
  });
  if (done === undefined) return false;
  toast(done.assignment.status === 'scheduled' ? 'The change is planned.' : `On ${done.assignment.planName} now.`);
  return true;
}
