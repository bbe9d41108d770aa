// The console in a real browser, against the running gateway.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Gateway } from '../client/test/support/gateway.js';
import { Proxy } from '../client/test/support/proxy.js';
import { Browser, findings, goTo, overflow, picture, settled, signIn } from './support/browser.js';
import { buy } from './support/provider.js';

const gateway = new Gateway();
const browser = new Browser();

before(async () => {
  await Promise.all([gateway.start(), browser.start()]);
});
after(async () => {
  await browser.stop();
  await gateway.remove();
});

/** A page whose operator is signed in. */
async function operator(t, options = {}) {
  const page = await browser.visit(t, { url: gateway.url, ...options });
  await signIn(page, gateway.adminKey);
  await settled(page);
  return page;
}

/** A figure of a limit, as the page shows it. */
const figure = (page, code, name) => page.locator(`[data-code="${code}"] [data-figure="${name}"]`);

const isText = (locator, text) => locator.filter({ hasText: new RegExp(`^${text}$`) }).waitFor();

/** Grants and uses of the last weeks, so that there is something to see: in one transaction, as what is due in the past is settled at once. */
async function story(entity) {
  const steps = ['SET TRANSACTION ISOLATION LEVEL READ COMMITTED;', 'START TRANSACTION;'];
  const grant = (key, amount, end, priority, reason) =>
    `CALL entitlement_grant_in_tx_v1(${entity}, 'ai.credits', ${amount}, 'promo', NULL, ${end}, ${priority}, 'operator', NULL, NULL, 'operator:${key}', '${reason}', 'story', @grant, @replayed);`;
  for (let day = 27; day >= 1; day -= 1) {
    steps.push(`SET timestamp = UNIX_TIMESTAMP() - ${day} * 86400 + ${(day * 7_919) % 40_000};`);
    if (day === 27) steps.push(grant('story-1', 600, 'UTC_TIMESTAMP(3) + INTERVAL 12 DAY', 10, 'Welcome'), grant('story-2', 2_000, 'NULL', 100, 'Yearly contract'));
    if (day === 10) steps.push(grant('story-3', 500, 'UTC_TIMESTAMP(3) + INTERVAL 60 DAY', 20, 'Spring campaign'));
    const use = { subjectId: entity, usageEventKey: `story-${day}`, items: [{ limitationCode: 'ai.credits', amount: 20 + ((day * 37) % 70) }] };
    steps.push(`CALL entitlement_consume_in_tx_v1('${JSON.stringify([use])}', @not_accepted);`, 'SET timestamp = DEFAULT;');
  }
  await gateway.sql([...steps, 'COMMIT;'].join('\n'));
}

describe('signing in', () => {
  test('a key that is none is refused, and an operator’s stays in its tab', async (t) => {
    const page = await browser.visit(t, { url: gateway.url, refusals: true });
    await page.goto('/');
    assert.equal(await page.title(), 'Sign in · Consumable');
    await picture(page, 'sign-in');
    await page.getByLabel('Key or token').fill('ck_nothing');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'no valid key' }).waitFor();
    await page.getByLabel('Key or token').fill(gateway.serviceKey);
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'a key of the role admin' }).waitFor();
    await page.getByLabel('Key or token').fill(gateway.adminKey);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Workspaces' }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Workspaces' }).waitFor();
    // Another tab knows nothing of it.
    const other = await page.context().newPage();
    await other.goto('/');
    await other.getByLabel('Key or token').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Key or token').waitFor();
    await page.reload();
    await page.getByLabel('Key or token').waitFor();
  });

  test('a workspace is found by how it begins', async (t) => {
    const { slug } = await gateway.workspace();
    const page = await operator(t);
    await page.getByRole('searchbox', { name: 'Search workspaces' }).fill(slug.slice(0, -1));
    await page.getByRole('link', { name: slug, exact: true }).click();
    await page.getByRole('heading', { name: slug }).waitFor();
    await page.goBack();
    await page.getByRole('searchbox', { name: 'Search workspaces' }).fill('nobody is here');
    await page.getByText('Nothing begins with “nobody is here”').waitFor();
  });
});

describe('limits', () => {
  test('a bar moves when another process uses, in two tabs at once', async (t) => {
    const { slug, id } = await gateway.workspace();
    const pages = [await operator(t), await operator(t)];
    for (const page of pages) {
      await goTo(page, `/workspaces/${id}`);
      await page.locator('[data-stream="open"]').waitFor();
      await isText(figure(page, 'ai.credits', 'left'), '1,000');
      await page.evaluate(() => {
        window.isTheSamePage = true;
      });
    }
    await gateway.consume(slug, 250);
    for (const page of pages) {
      await isText(figure(page, 'ai.credits', 'left'), '750');
      await isText(figure(page, 'ai.credits', 'used'), '250');
      const meter = page.locator('[data-code="ai.credits"]').getByRole('meter');
      assert.equal(await meter.getAttribute('aria-valuenow'), '250');
      assert.equal(await meter.locator('.used').evaluate((bar) => bar.style.getPropertyValue('--part')), '25%');
      // And what is beneath is read anew.
      await page.locator('tr[data-kind="consumption"]').filter({ hasText: '-250' }).waitFor();
      assert.equal(await page.evaluate(() => window.isTheSamePage), true);
    }
  });

  test('a line that is cut is told, and what was missed is shown when it is back', async (t) => {
    const proxy = await new Proxy(gateway.url).start();
    t.after(() => proxy.close());
    const { slug, id } = await gateway.workspace();
    const page = await browser.visit(t, { url: proxy.url, refusals: true });
    await signIn(page, gateway.adminKey);
    await goTo(page, `/workspaces/${id}`);
    await page.locator('[data-stream="open"]').waitFor();
    await isText(figure(page, 'ai.credits', 'left'), '1,000');
    proxy.cut();
    await page.locator('[data-stream="down"]').waitFor();
    await gateway.consume(slug, 40);
    assert.equal(await figure(page, 'ai.credits', 'left').textContent(), '1,000');
    proxy.mend();
    await isText(figure(page, 'ai.credits', 'left'), '960');
    await page.locator('[data-stream="open"]').waitFor();
  });

  test('a grant is made and revoked, each with its reason', async (t) => {
    const { id } = await gateway.workspace();
    const page = await operator(t, { refusals: true });
    await goTo(page, `/workspaces/${id}/limits/ai.credits`);
    await page.getByRole('button', { name: 'Make a grant' }).click();
    const dialog = page.getByRole('dialog');
    assert.equal(await dialog.getByLabel('Amount').evaluate((field) => field === document.activeElement), true);
    await dialog.getByLabel('Amount').fill('-5');
    await dialog.getByRole('button', { name: 'Make the grant' }).click();
    await dialog.locator('[data-path="amount"] .error').filter({ hasText: /./ }).waitFor();
    await dialog.getByLabel('Amount').fill('500');
    await dialog.getByLabel('Reason').fill('A present');
    await dialog.getByRole('button', { name: 'Make the grant' }).click();
    await isText(figure(page, 'ai.credits', 'left'), '1,500');
    await page.locator('tr[data-kind="grant"]').filter({ hasText: 'A present' }).waitFor();

    await page.getByRole('button', { name: 'Revoke the grant of 500 credits' }).click();
    await dialog.getByLabel('Reason').fill('Was a mistake');
    await page.keyboard.press('Enter');
    await isText(figure(page, 'ai.credits', 'left'), '1,000');
    await page.locator('tr[data-kind="revocation"]').filter({ hasText: 'Was a mistake' }).waitFor();
  });

  test('who is over a limit is seen at once', async (t) => {
    const { slug, id } = await gateway.workspace();
    await gateway.ask('PUT', `/api/billing/resources/projects?workspaceSlug=${slug}`, { count: 3 });
    const page = await operator(t);
    await goTo(page, `/workspaces/${id}`);
    const row = page.locator('[data-code="projects.max"]');
    await row.getByText('Over by 3 projects').waitFor();
    await row.getByText('Projects locked over cap').waitFor();
    await goTo(page, '/engine');
    await page.getByRole('region', { name: 'Over a limit' }).getByRole('link', { name: slug }).click();
    await page.getByRole('heading', { name: slug }).waitFor();
  });
});

describe('the catalogue', () => {
  test('a product is authored, with errors at their entries and then without', async (t) => {
    const page = await operator(t, { refusals: true });
    await goTo(page, '/catalogue/products/new');
    await page.getByLabel('Code').fill('credits.pack');
    await page.getByLabel('Name').fill('Credits, a pack');
    const editor = page.getByLabel('Entitlements');
    await editor.fill('[{"code": "ai.credits"');
    await page.getByText('This is not JSON yet').waitFor();
    await editor.fill(`[
  {"code": "ai.credits", "amount": 500, "grantKind": "one_off_topup"},
  {"code": "no.such", "amount": 0, "grantKind": "timeboxed_addon"}
]`);
    const preview = page.getByRole('region', { name: 'Preview' });
    await preview.getByText('500 credits').waitFor();
    await page.getByRole('button', { name: 'Make the product' }).click();
    const [right, wrong] = [page.locator('[data-entry="0"]'), page.locator('[data-entry="1"]')];
    await wrong.locator('[data-error="entitlements[1].code"]').waitFor();
    await wrong.locator('[data-error="entitlements[1].amount"]').waitFor();
    assert.equal(await right.locator('.error').count(), 0);
    assert.equal(await page.locator('.lines .wrong').textContent(), '3');
    assert.equal(await editor.getAttribute('aria-invalid'), 'true');
    await picture(page, 'product');
    assert.deepEqual(await findings(page), []);

    await editor.fill('[{"code": "ai.credits", "amount": 500, "grantKind": "timeboxed_addon", "durationDays": 30}]');
    await preview.getByText('30 days').waitFor();
    await page.getByRole('button', { name: 'Make the product' }).click();
    await page.getByRole('heading', { name: 'Credits, a pack' }).waitFor();
    await page.getByText('Version 1').waitFor();
    const { entries } = await gateway.ask('GET', '/api/console/billing/products', undefined, { key: gateway.adminKey });
    const made = entries.find(({ code }) => code === 'credits.pack');
    assert.deepEqual(made.entitlements, [{ amount: 500, code: 'ai.credits', durationDays: 30, grantKind: 'timeboxed_addon' }]);
  });

  test('what somebody else saved meanwhile is shown, and not overwritten', async (t) => {
    const plan = { code: 'conflict', name: 'First', entitlements: [] };
    const { plan: made } = await gateway.ask('POST', '/api/console/billing/plans', plan, { key: gateway.adminKey });
    const [one, other] = [await operator(t, { refusals: true }), await operator(t)];
    for (const page of [one, other]) await goTo(page, `/catalogue/plans/${made.id}`);
    await other.getByLabel('Name').fill('Theirs');
    await other.getByRole('button', { name: 'Save' }).click();
    await other.getByText('Version 2').waitFor();

    await one.getByLabel('Name').fill('Mine');
    await one.getByRole('button', { name: 'Save' }).click();
    await one.getByRole('alert').filter({ hasText: 'Somebody saved version 2 while you edited version 1' }).waitFor();
    await one.getByText('theirs: Theirs').waitFor();
    await picture(one, 'conflict');
    const name = async () => (await gateway.ask('GET', `/api/console/billing/plans/${made.id}`, undefined, { key: gateway.adminKey })).plan.name;
    assert.equal(await name(), 'Theirs');
    await one.getByRole('button', { name: 'Keep mine, on top of version 2' }).click();
    await one.getByRole('button', { name: 'Save' }).click();
    await one.getByText('Version 3').waitFor();
    assert.equal(await name(), 'Mine');
  });

  test('a definition is made with its usual fields', async (t) => {
    const page = await operator(t);
    await goTo(page, '/catalogue/definitions/new');
    await page.getByLabel('Code').fill('exports.daily');
    await page.getByLabel('Name').fill('Exports');
    await page.getByLabel('Unit').fill('export');
    await page.getByLabel('Window', { exact: true }).selectOption('day');
    await page.getByRole('button', { name: 'Make the definition' }).click();
    await page.getByRole('heading', { name: 'Exports' }).waitFor();
    assert.equal(await page.getByLabel('Code').isDisabled(), true);
    await goTo(page, '/catalogue/definitions');
    await page.getByRole('row').filter({ hasText: 'exports.daily' }).getByText('Each day').waitFor();
  });
});

describe('money', () => {
  test('an event that failed says why, and is replayed when the cause is gone', async (t) => {
    const customer = `cus_${process.pid}`;
    const { status } = await buy(gateway, { customer, price: 'price_extra_projects_pack_2m', id: 'replay', quantity: 2 });
    assert.notEqual(status, 200);
    const page = await operator(t);
    await goTo(page, '/money/inbox');
    await page.getByLabel('Which').selectOption('failed');
    const row = page.getByRole('row').filter({ hasText: 'evt_replay' });
    await row.getByText('Failed').waitFor();
    await settled(page);
    await picture(page, 'inbox');
    await row.getByRole('button', { name: 'Show event' }).click();
    await page.getByRole('dialog').getByText('"evt_replay"').waitFor();
    await page.keyboard.press('Escape');

    await gateway.ask('PUT', '/api/billing/entities/workspace/buyer', { workspaceSlug: 'buyer', workspaceName: 'Buyer', providerCustomerId: customer });
    await row.getByRole('button', { name: 'Replay event' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Replay' }).click();
    await page.getByText('It was applied.').waitFor();
    await goTo(page, '/money/purchases');
    await page.getByRole('row').filter({ hasText: 'extra_projects_pack_2m' }).getByText('Paid').waitFor();
    await picture(page, 'purchases');
  });

  test('a plan is assigned, and a change of it is planned and given up', async (t) => {
    const { id } = await gateway.workspace();
    const page = await operator(t);
    await goTo(page, `/workspaces/${id}/plan`);
    const dialog = page.getByRole('dialog');
    await page.getByRole('button', { name: 'Assign a plan' }).click();
    await dialog.getByLabel('Plan', { exact: true }).selectOption('starter');
    await dialog.getByRole('button', { name: 'Assign' }).click();
    await page.locator('[data-status="current"]').getByText('Starter').waitFor();
    await page.getByRole('button', { name: 'Assign a plan' }).click();
    await dialog.getByLabel('Times').fill('3');
    await dialog.getByLabel('From', { exact: true }).fill('2199-01-01T00:00');
    await dialog.getByRole('button', { name: 'Assign' }).click();
    await page.locator('[data-status="scheduled"]').waitFor();
    await goTo(page, '/money/changes');
    await page.getByRole('row').filter({ hasText: 'in ' }).filter({ hasText: 'starter' }).waitFor();
    await goTo(page, `/workspaces/${id}/plan`);
    await page.getByRole('button', { name: 'Cancel the change to Starter' }).click();
    await dialog.getByRole('button', { name: 'Give up the change' }).click();
    await page.locator('[data-status="cancelled"]').waitFor();
  });
});

describe('the engine room', () => {
  test('the numbers are verified on demand', async (t) => {
    const page = await operator(t);
    await goTo(page, '/engine');
    await page.getByRole('button', { name: 'Verify now' }).click();
    await page.getByText('Every number is right.').waitFor();
    await page.getByText('All are as this program wants them.').waitFor();
    // A rate is of two readings.
    await page.locator('dt', { hasText: 'Uses a second' }).locator('+ dd').filter({ hasText: /[0-9]/ }).waitFor();
    await picture(page, 'engine');
  });
});

describe('a user of a workspace', () => {
  test('sees limits in words that move, and what another plan would change', async (t) => {
    const { slug } = await gateway.workspace();
    await gateway.ask('POST', '/api/console/billing/plans', { code: 'pro', name: 'Pro', entitlements: [{ code: 'projects.max', valueJson: { amount: 20 } }] }, { key: gateway.adminKey });
    const asked = { workspaceSlug: slug, userId: 'u-1', permissions: [], surface: 'app', ttlSeconds: 600 };
    const { token } = await gateway.ask('POST', '/api/billing/workspace-tokens', asked);
    const page = await browser.visit(t, { url: gateway.url });
    await signIn(page, token);
    await page.getByRole('heading', { name: 'Your limits' }).waitFor();
    assert.equal(await page.getByRole('navigation', { name: 'Sections' }).count(), 0);
    await page.locator('[data-stream="open"]').waitFor();
    await page.getByText('0 of 1,000 credits used. 1,000 left.').waitFor();
    await gateway.consume(slug, 120);
    await page.locator('[data-code="ai.credits"]').getByText('120 of 1,000 credits used. 880 left.').waitFor();
    await page.getByLabel('Another plan').selectOption('pro');
    await page.getByRole('row').filter({ hasText: 'Projects' }).getByText('20 more').waitFor();
    await picture(page, 'user');
    assert.deepEqual(await findings(page), []);
  });
});

describe('every page', () => {
  const ADDRESSES = ['/workspaces', '/workspaces/ID', '/workspaces/ID/plan', '/workspaces/ID/user', '/catalogue/definitions', '/catalogue/plans', '/catalogue/plans/1', '/catalogue/definitions/1', '/catalogue/products/new', '/money/purchases', '/money/inbox', '/money/changes', '/engine'];
  let id;
  before(async () => {
    const { billableEntity } = await gateway.ask('PUT', '/api/billing/entities/workspace/globex', { workspaceSlug: 'globex', workspaceName: 'Globex' });
    id = billableEntity.id;
    await story(id);
    await gateway.ask('POST', '/api/console/billing/plan-assignments', { billableEntityId: id, planCode: 'starter' }, { key: gateway.adminKey });
    await gateway.ask('POST', '/api/billing/holds?workspaceSlug=globex', { limitationCode: 'ai.credits', amount: 180, ttlSeconds: 7_200 });
    await gateway.ask('PUT', '/api/billing/resources/projects?workspaceSlug=globex', { count: 6 });
  });

  for (const [scheme, width] of [['light', 1_280], ['dark', 1_280], ['light', 360]]) {
    test(`${scheme}, ${width} pixels wide: nothing serious by axe, nothing beyond the edge`, async (t) => {
      const page = await operator(t, { scheme, width });
      for (const address of ADDRESSES) {
        await goTo(page, address.replace('ID', id));
        assert.equal(await overflow(page), 0, address);
        assert.deepEqual(await findings(page), [], address);
      }
      await goTo(page, `/workspaces/${id}`);
      await page.locator('[data-stream="open"]').waitFor();
      await page.locator('.chart canvas').waitFor();
      await picture(page, `workspace-${scheme}-${width}`);
      if (width === 1_280 && scheme === 'light') {
        await goTo(page, '/workspaces');
        await picture(page, 'workspaces');
        await goTo(page, '/catalogue/plans');
        await picture(page, 'catalogue');
      }
    });
  }

  test('is dark where the system is, and where one asks for it', async (t) => {
    const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const [light, dark] = [await operator(t), await operator(t, { scheme: 'dark' })];
    assert.notEqual(await background(light), await background(dark));
    await light.getByRole('button', { name: 'Dark' }).click();
    await light.getByRole('button', { name: 'Light' }).waitFor();
    assert.equal(await background(light), await background(dark));
    await light.reload();
    await settled(light);
    assert.equal(await background(light), await background(dark));
  });

  test('is walked by keyboard alone', async (t) => {
    const page = await operator(t);
    await page.reload();
    await settled(page);
    const focused = () => page.evaluate(() => document.activeElement.textContent);
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('Tab');
    assert.equal(await focused(), 'Skip to the content');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
    await goTo(page, `/workspaces/${id}/limits/ai.credits`);
    await page.getByRole('button', { name: 'Make a grant' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    assert.deepEqual(await findings(page), []);
    await page.keyboard.press('Escape');
    assert.equal(await focused(), 'Make a grant');
  });
});
