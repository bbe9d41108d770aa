// The client against the running gateway.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { ConsumableError, createClient } from '../consumable.js';
import { Gateway, ROOT } from './support/gateway.js';
import { Proxy } from './support/proxy.js';
import { Recorder } from './support/recorder.js';
import { until } from './support/until.js';

const LIMITATIONS = '/api/billing/limitations';
const gateway = new Gateway();

before(() => gateway.start());
after(() => gateway.remove());

/** A client of a workspace of its own, whose listener keeps what it was told; closed at the test's end. */
async function follow(t, options = {}) {
  const workspace = options.workspace ?? (await gateway.workspace());
  const recorder = new Recorder();
  const errors = [];
  const client = createClient({
    baseUrl: gateway.url,
    token: gateway.serviceKey,
    workspaceSlug: workspace.slug,
    fetch: recorder.fetch,
    retryMinSeconds: 0.02,
    retryMaxSeconds: 0.2,
    // What is heard, is heard by the stream, unless the test says otherwise.
    pollSeconds: 3_600,
    onError: (error) => errors.push(error),
    ...options.client,
  });
  t.after(() => client.close());
  const told = [];
  const available = () => told.at(-1)?.credits;
  const subscribe = async () => {
    client.subscribe(({ limitations }, change) => {
      const credits = limitations.find(({ code }) => code === 'ai.credits').availableAmount;
      told.push({ ...change, credits });
    });
    await until('the stream and the first figures', () => client.streamState === 'open' && told.length > 0);
    // The first answer may have been asked for before the stream was open.
    await client.limitations();
  };
  return { client, workspace, recorder, errors, told, available, subscribe };
}

describe('reading', () => {
  test('one request for all who read while the answer is fresh', async (t) => {
    const { client, recorder } = await follow(t);
    const [first, second] = [client.limitations(), client.limitations()];
    assert.equal(first, second);
    await first;
    assert.equal(client.limitations(), first);
    assert.equal(client.snapshot(), await first);
    assert.equal((await client.limitation('ai.credits')).availableAmount, 1_000);
    assert.equal(await client.limitation('no.such'), undefined);
    assert.equal(recorder.count(LIMITATIONS), 1);
    assert.equal(client.streamState, 'idle');
  });

  test('an error is told with all that the server said, and is asked again', async (t) => {
    const { client } = await follow(t, { workspace: { slug: 'nobody-is-here' } });
    const said = { name: 'ConsumableError', status: 404, code: 'SUBJECT_NOT_FOUND', retryAfterSeconds: null };
    await assert.rejects(client.limitations(), said);
    await gateway.ask('PUT', '/api/billing/entities/workspace/nobody', { workspaceSlug: 'nobody-is-here' });
    assert.equal((await client.limitations()).billableEntity.workspaceSlug, 'nobody-is-here');
  });
});

describe('writing', () => {
  test('a use is shown at once, and its key makes it one use', async (t) => {
    const { client, told, available, subscribe } = await follow(t);
    await subscribe();
    const use = { limitationCode: 'ai.credits', amount: 20 };
    const answer = await client.consume(use, { idempotencyKey: 'order-81' });
    assert.equal(answer.replayed, false);
    assert.equal((await client.limitation('ai.credits')).availableAmount, 980);
    assert.equal(available(), 980);
    assert.deepEqual(told.at(-1).changedCodes, ['ai.credits']);
    assert.equal((await client.consume(use, { idempotencyKey: 'order-81' })).replayed, true);
    assert.equal((await client.consume({ ...use, usageEventKey: 'order-81' })).replayed, true);
    // Without a key, each is another use.
    await client.consume(use);
    await client.consume(use);
    assert.equal((await client.limitation('ai.credits')).availableAmount, 940);
  });

  test('what is set aside is used or comes back', async (t) => {
    const { client } = await follow(t);
    const left = async () => (await client.limitation('ai.credits')).availableAmount;
    const first = await client.hold({ limitationCode: 'ai.credits', amount: 100, ttlSeconds: 600 });
    assert.equal(await left(), 900);
    assert.equal((await client.commit(first.hold.id, { amount: 30 })).hold.committedAmount, 30);
    assert.equal(await left(), 970);
    const second = await client.hold({ limitationCode: 'ai.credits', amount: 100 });
    assert.equal((await client.commit(second.hold.id)).hold.committedAmount, 100);
    const third = await client.hold({ limitationCode: 'ai.credits', amount: 100 });
    assert.equal((await client.release(third.hold.id)).hold.status, 'released');
    assert.equal(await left(), 870);
  });

  test('a refusal has the figures, a mistake its field, and neither is tried again', async (t) => {
    const { client, workspace, recorder } = await follow(t);
    const refused = await client.consume({ limitationCode: 'ai.credits', amount: 1_001 }).catch((error) => error);
    assert.ok(refused instanceof ConsumableError);
    assert.deepEqual([refused.status, refused.code], [429, 'BILLING_LIMIT_EXCEEDED']);
    assert.equal(refused.details.remaining, 1_000);
    assert.equal(refused.details.billableEntityId, workspace.id);
    assert.match(refused.idempotencyKey, /^[0-9a-f]{32}$/);
    const mistaken = await client.consume({ limitationCode: 'ai.credits', amount: -1 }).catch((error) => error);
    assert.deepEqual([mistaken.status, mistaken.code], [400, 'VALIDATION_FAILED']);
    assert.deepEqual(Object.keys(mistaken.fieldErrors), ['amount']);
    assert.equal(recorder.count('/api/billing/consume'), 2);
    const check = await client.check({ limitationCode: 'ai.credits', amount: 1_001 });
    assert.deepEqual([check.allowed, check.refusedBy], [false, 'ai.credits']);
  });
});

describe('hearing', () => {
  test('what another process uses is told, with its cause', async (t) => {
    const { workspace, told, available, subscribe } = await follow(t);
    await subscribe();
    assert.ok(told[0].changedCodes.length > 1, 'the first time all of them');
    const before = told.length;
    await gateway.consume(workspace.slug, 7);
    await until('993', () => available() === 993);
    assert.equal(told.length, before + 1);
    const { keys, changedCodes, changeSources } = told.at(-1);
    assert.deepEqual([keys, changedCodes], [['limitations'], ['ai.credits']]);
    // The grant that made the workspace may be heard of together with it.
    assert.ok(changeSources.includes('consumption'), String(changeSources));
  });

  test('a plan that begins is told with what it grants', async (t) => {
    const { client, workspace, recorder, told, subscribe } = await follow(t);
    await subscribe();
    assert.equal((await client.planState()).currentPlan, null);
    const plan = { billableEntityId: workspace.id, planCode: 'starter' };
    await gateway.ask('POST', '/api/console/billing/plan-assignments', plan, { key: gateway.adminKey });
    await until('the grant', () => told.some(({ changeSources }) => changeSources.includes('plan_grant')));
    await until('the plan', () => client.snapshot('planState').currentPlan?.planCode === 'starter');
    assert.ok((await client.limitation('projects.max')).availableAmount > 0);
    assert.equal(recorder.count('/api/console/billing/purchases'), 0, 'nobody asked for them');
  });

  test('a line that is cut: nothing is missed, and nothing is read that did not change', async (t) => {
    const proxy = await new Proxy(gateway.url).start();
    t.after(() => proxy.close());
    const { client, workspace, recorder, available, subscribe } = await follow(t, { client: { baseUrl: proxy.url } });
    await subscribe();
    await gateway.consume(workspace.slug, 1);
    await until('its event, and 999', () => recorder.uses() === 1 && available() === 999);
    await client.limitations();
    const resumedAfter = await gateway.lastChange();
    const [reads, opened] = [recorder.count(LIMITATIONS), recorder.streams().length];

    proxy.cut();
    await until('the cut', () => client.streamState !== 'open');
    await until('an attempt in vain', () => recorder.streams().length > opened);
    proxy.mend();
    await until('the stream', () => client.streamState === 'open');
    assert.equal(recorder.streams().at(-1).headers['Last-Event-ID'], String(resumedAfter));
    assert.equal(recorder.count(LIMITATIONS), reads, 'nothing changed meanwhile');

    proxy.cut();
    await until('the cut', () => client.streamState !== 'open');
    await gateway.consume(workspace.slug, 1);
    await gateway.consume(workspace.slug, 1);
    proxy.mend();
    // The figure is read at the first of the two events.
    await until('997, and the last event', () => available() === 997 && recorder.uses() >= 3);
    assert.equal(recorder.uses(), 3, 'each change once');
    assert.ok(!recorder.heard.includes('resync'));
  });

  test('a gateway that starts again is found, and goes on where it was', async (t) => {
    const proxy = await new Proxy(gateway.url).start();
    t.after(() => proxy.close());
    const { client, workspace, recorder, available, subscribe } = await follow(t, { client: { baseUrl: proxy.url } });
    await subscribe();
    await gateway.stop();
    await until('its end', () => client.streamState !== 'open');
    await gateway.start();
    await gateway.consume(workspace.slug, 5);
    proxy.gatewayUrl = gateway.url;
    await until('995', () => available() === 995);
    assert.notEqual(recorder.streams().at(-1).headers['Last-Event-ID'], undefined);
  });

  test('what is not kept any more is read anew', async (t) => {
    const proxy = await new Proxy(gateway.url).start();
    t.after(() => proxy.close());
    const { client, workspace, recorder, available, subscribe } = await follow(t, { client: { baseUrl: proxy.url } });
    await subscribe();
    proxy.cut();
    await until('the cut', () => client.streamState !== 'open');
    for (const amount of [1, 2, 3]) await gateway.consume(workspace.slug, amount);
    const last = await gateway.lastChange();
    await gateway.sql('SET timestamp = UNIX_TIMESTAMP() + 86400; CALL entitlement_prune_changes_v1(3600, 10000);');
    assert.equal(await gateway.sql('SELECT MIN(sequence_no) FROM billing_limit_changes;'), String(last));
    proxy.mend();
    // The figure alone may come of a read that the cut broke and that is made again.
    await until('a resync, and 994', () => recorder.heard.includes('event: resync') && available() === 994);
    // And goes on from there.
    await gateway.consume(workspace.slug, 4);
    await until('990', () => available() === 990);
  });

  test('while the stream is down, polls tell', async (t) => {
    const workspace = await gateway.workspace();
    const { client, recorder, told, available } = await follow(t, { workspace, client: { pollSeconds: 0.05 } });
    recorder.isDeaf = true;
    client.subscribe(({ limitations }) => {
      told.push({ credits: limitations.find(({ code }) => code === 'ai.credits').availableAmount });
    });
    await until('the first figures', () => available() === 1_000);
    await gateway.consume(workspace.slug, 9);
    await until('991', () => available() === 991);
    assert.notEqual(client.streamState, 'open');
    recorder.isDeaf = false;
    await until('the stream', () => client.streamState === 'open');
  });

  test('a write in one page is told in the other, also while its stream is down', async (t) => {
    const workspace = await gateway.workspace();
    const one = await follow(t, { workspace });
    const other = await follow(t, { workspace });
    other.recorder.isDeaf = true;
    other.client.subscribe(({ limitations }) => {
      other.told.push({ credits: limitations.find(({ code }) => code === 'ai.credits').availableAmount });
    });
    await until('the first figures', () => other.available() === 1_000);
    await one.client.consume({ limitationCode: 'ai.credits', amount: 11 });
    await until('989', () => other.available() === 989);
    assert.notEqual(other.client.streamState, 'open');

    // What a backend wrote for the page, the page says.
    await gateway.consume(workspace.slug, 9);
    one.client.invalidate(['limitations']);
    await until('980', () => other.available() === 980);
  });

  test('who leaves is not told, and the last one closes the stream', async (t) => {
    const { client, workspace, subscribe, available } = await follow(t);
    let others = 0;
    const leave = client.subscribe(() => (others += 1));
    await subscribe();
    leave();
    const before = others;
    await gateway.consume(workspace.slug, 1);
    await until('999', () => available() === 999);
    assert.equal(others, before);
    leave();
    assert.equal(client.streamState, 'open');
  });
});

describe('the token', () => {
  test('one that is refused is replaced once, for all who wait', async (t) => {
    let asked = 0;
    const getToken = async () => ((asked += 1) === 1 ? 'an old one' : gateway.serviceKey);
    const { client, errors, subscribe } = await follow(t, { client: { token: undefined, getToken } });
    await Promise.all([client.limitations(), client.check({ limitationCode: 'ai.credits' }), subscribe()]);
    assert.equal(asked, 2);
    assert.deepEqual(errors, []);
  });

  test('two that are refused end it, until a request succeeds', async (t) => {
    let token = 'wrong';
    let asked = 0;
    const getToken = () => {
      asked += 1;
      return token;
    };
    const { client, errors, told } = await follow(t, { client: { token: undefined, getToken, pollSeconds: 0.02 } });
    client.subscribe(() => told.push({ credits: 0 }));
    await until('the error', () => errors.length > 0);
    assert.deepEqual([errors[0].status, errors[0].code], [401, 'UNAUTHENTICATED']);
    await until('the end', () => client.streamState !== 'connecting');
    await assert.rejects(client.limitations(), { status: 401 });
    assert.equal(errors.length, 1, 'it is said once');
    assert.equal(told.length, 0);
    token = gateway.serviceKey;
    await client.limitations();
    await until('the stream', () => client.streamState === 'open' && told.length > 0);
  });
});

describe('the end', () => {
  test('close ends every timer and request, and the process', async () => {
    const { slug } = await gateway.workspace();
    const program = `
      import { createClient } from ${JSON.stringify(new URL('../consumable.js', import.meta.url).href)};
      const options = ${JSON.stringify({ baseUrl: gateway.url, token: gateway.serviceKey, workspaceSlug: slug })};
      const client = createClient(options);
      client.subscribe(async () => {
        const late = client.consume({ limitationCode: 'ai.credits', amount: 1 }).catch((error) => error.code);
        client.close();
        console.log(await late, await client.limitations().catch((error) => error.code));
      });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (chunk) => (said += chunk));
    const [code] = await once(child, 'close');
    assert.deepEqual([code, said.trim()], [0, 'CLOSED CLOSED']);
  });

  test('the example of the README works when pasted', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'consumable-readme-'));
    t.after(() => rmSync(folder, { recursive: true }));
    symlinkSync(join(ROOT, 'src'), join(folder, 'src'));
    symlinkSync(gateway.data, join(folder, '.consumable'));
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    const [, example] = /^## From a browser or Node\n[^]*?\n\n((?: {4}.*\n)+)/m.exec(readme);
    const command = example.replace(/^ {4}/gm, '');
    assert.match(command, /^node /);
    const child = spawn('bash', ['-c', `exec ${command}`], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (chunk) => (said += chunk));
    await until('what is left', () => /^ai\.credits 980$/m.test(said));
    const ended = once(child, 'close');
    child.kill('SIGINT');
    await ended;
  });
});
