// When the client asks, to the second: with time, and a server, that the test moves.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import { createClient } from '../consumable.js';
import { pauseMs } from '../events.js';
import { refusal, Script, settle } from './support/scripted.js';

const LIMITATIONS = '/api/billing/limitations';
const PLAN_STATE = '/api/billing/plan-state';
const PURCHASES = '/api/console/billing/purchases';

/** A client and its server, at the beginning of time. */
function begin(t, options = {}) {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const script = new Script();
  const errors = [];
  const client = createClient({
    baseUrl: 'http://127.0.0.1',
    token: 'token',
    workspaceSlug: 'acme',
    fetch: script.fetch,
    onError: (error) => errors.push(error),
    ...options,
  });
  t.after(() => {
    client.close();
    mock.timers.reset();
  });
  const pass = async (seconds) => {
    for (let ms = 0; ms < seconds * 1_000; ms += 100) {
      mock.timers.tick(100);
      await settle();
    }
  };
  const follow = async () => {
    client.subscribe(() => undefined);
    await settle();
    script.say(': listening\n\nid: 7\n\n');
    await settle();
    assert.equal(client.streamState, 'open');
  };
  return { script, client, errors, pass, follow };
}

test('pauses double from the shortest to the longest, each anywhere in its room', () => {
  const rooms = [0, 1, 2, 3, 4, 5, 60].map((failures) => [pauseMs(failures, 1e3, 3e4, 0), pauseMs(failures, 1e3, 3e4, 1)]);
  assert.deepEqual(rooms, [[1e3, 2e3], [1e3, 4e3], [1e3, 8e3], [1e3, 16e3], [1e3, 3e4], [1e3, 3e4], [1e3, 3e4]]);
});

test('a server that is away is asked less and less often, polled every 30 s, and resumed when it is back', async (t) => {
  const { script, client, errors, pass, follow } = begin(t);
  await follow();
  const reads = script.count(LIMITATIONS);
  await pass(10);
  assert.equal(script.count(LIMITATIONS), reads, 'no polls while the stream is open');

  script.isAway = true;
  script.cut();
  await settle();
  const cutAt = Date.now();
  await pass(29);
  assert.equal(script.count(LIMITATIONS), reads);
  await pass(1);
  assert.equal(script.count(LIMITATIONS), reads + 1);
  await pass(270);
  assert.equal(script.count(LIMITATIONS), reads + 10);
  const attempts = script.attempts().filter((at) => at >= cutAt);
  const pauses = attempts.slice(1).map((at, index) => at - attempts[index]);
  assert.ok(pauses.every((pause) => pause >= 1_000 && pause <= 30_100), String(pauses));
  assert.ok(attempts.length >= 9 && attempts.length < 60, String(pauses));
  assert.deepEqual(errors, [], 'a network that fails is no news');

  script.isAway = false;
  for (let second = 0; second < 31 && client.streamState !== 'open'; second += 1) await pass(1);
  assert.equal(client.streamState, 'open');
  assert.equal(script.requests.findLast(({ path }) => path.endsWith('events')).headers['Last-Event-ID'], '7');
  const then = script.count(LIMITATIONS);
  // It lives, so the next pause is a short one; and it is not silent.
  for (let comment = 0; comment < 4; comment += 1) {
    await pass(15);
    script.say(': here\n\n');
  }
  await settle();
  assert.equal(script.count(LIMITATIONS), then, 'no polls any more');
  script.cut();
  await pass(2.1);
  assert.equal(client.streamState, 'open');
});

test('a server that hangs up at once is not asked without a pause', async (t) => {
  const { script, pass, follow } = begin(t);
  await follow();
  for (let second = 0; second < 120; second += 1) {
    if (script.stream !== null) script.cut();
    await pass(1);
  }
  const attempts = script.attempts().length;
  assert.ok(attempts < 40, `${attempts} attempts in two minutes`);
});

test('a stream that is silent for 40 s is dead', async (t) => {
  const { script, client, pass, follow } = begin(t);
  await follow();
  await pass(35);
  script.say(': here\n\n');
  await pass(39);
  assert.equal(script.attempts().length, 1);
  await pass(1.2);
  assert.equal(client.streamState, 'down');
  await pass(2);
  assert.equal(script.attempts().length, 2);
});

test('each source makes stale what it can change, of what somebody asked for', async (t) => {
  const { script, client, follow } = begin(t);
  await follow();
  const read = async (what) => {
    const paths = [LIMITATIONS, PLAN_STATE, PURCHASES];
    const before = paths.map((path) => script.count(path));
    await what();
    await settle();
    return paths.map((path, index) => script.count(path) - before[index]);
  };
  assert.deepEqual(await read(() => script.update(8, 'purchase_grant')), [1, 0, 0], 'nobody asked for the others');
  assert.deepEqual(await read(() => Promise.all([client.planState(), client.purchases()])), [0, 1, 1]);
  for (const [source, expected] of [
    ['purchase_grant', [1, 1, 1]],
    ['plan_grant', [1, 1, 0]],
    ['consumption', [1, 0, 0]],
    ['boundary_recompute', [1, 0, 0]],
    ['manual_refresh', [1, 0, 0]],
    ['one that is not known yet', [1, 1, 1]],
    ['constructor', [1, 1, 1]],
  ]) {
    assert.deepEqual(await read(() => script.update(9, source)), expected, source);
  }
  assert.deepEqual(await read(() => script.say('event: resync\ndata: {}\n\n')), [1, 1, 1]);
  assert.deepEqual(await read(() => script.say('event: another\ndata: {}\n\n')), [0, 0, 0]);
  assert.deepEqual(await read(() => client.invalidate(['purchases'])), [0, 0, 1]);
  assert.throws(() => client.invalidate(['limits']), TypeError);
});

test('a burst is one read under way, and one more', async (t) => {
  const { script, follow } = begin(t);
  await follow();
  const reads = script.count(LIMITATIONS);
  script.isLate = true;
  for (let id = 8; id < 100; id += 1) script.update(id, 'consumption');
  await settle();
  assert.equal(script.count(LIMITATIONS), reads + 1);
  script.isLate = false;
  script.late.shift().resolve();
  await settle();
  assert.equal(script.count(LIMITATIONS), reads + 2);
});

test('an answer from before the own write is not shown after it', async (t) => {
  const { script, client, follow } = begin(t);
  let left = 1_000;
  const answer = () => ({ billableEntity: { id: 1 }, limitations: [{ code: 'ai.credits', availableAmount: left }] });
  script.answer = (path) => (path === LIMITATIONS ? answer() : {});
  await follow();
  const shown = [];
  client.subscribe(({ limitations }) => shown.push(limitations[0].availableAmount));
  await settle();
  script.isLate = true;
  // Another's use; the answer to it is late.
  left = 900;
  script.update(8, 'consumption');
  await settle();
  left = 880;
  const written = client.consume({ limitationCode: 'ai.credits', amount: 20 });
  await settle();
  script.late.find(({ path }) => path.endsWith('consume')).resolve();
  await written;
  script.late.find(({ path }) => path === LIMITATIONS).resolve();
  await settle();
  assert.deepEqual(shown, [1_000]);
  script.late.at(-1).resolve();
  await settle();
  assert.deepEqual(shown, [1_000, 880]);
});

test('figures that change without a pause are shown all the same', async (t) => {
  const { script, client, follow } = begin(t);
  let left = 1_000;
  const answer = () => ({ billableEntity: { id: 1 }, limitations: [{ code: 'ai.credits', availableAmount: left }] });
  script.answer = (path) => (path === LIMITATIONS ? answer() : {});
  await follow();
  const shown = [];
  client.subscribe(({ limitations }) => shown.push(limitations[0].availableAmount));
  await settle();
  script.isLate = true;
  client.invalidate();
  // By others: each answer is newer than what is shown. By the page itself: every other one, as the first may be of before.
  for (const [change, expected] of [
    [() => script.update(8, 'consumption'), [1_000, 999, 998, 997]],
    [() => client.invalidate(), [1_000, 999, 998, 997, 995, 993]],
  ]) {
    for (let time = 0; time < 4; time += 1) {
      await settle();
      left -= 1;
      change();
      script.late.shift().resolve();
    }
    await settle();
    assert.deepEqual(shown, expected);
  }
});

test('what changed between the first answer and the stream is not missed', async (t) => {
  const { script, client } = begin(t);
  const read = client.limitations();
  await read;
  client.subscribe(() => undefined);
  await settle();
  assert.equal(client.streamState, 'open');
  assert.equal(script.count(LIMITATIONS), 2);
  assert.notEqual(client.limitations(), read);
});

test('with the stream an answer is good until an event says otherwise', async (t) => {
  const { script, client, pass, follow } = begin(t);
  await follow();
  const reads = script.count(LIMITATIONS);
  for (let comment = 0; comment < 8; comment += 1) {
    await pass(15);
    script.say(': here\n\n');
    await client.limitations();
  }
  assert.equal(script.count(LIMITATIONS), reads);
});

test('a listener hears of the causes of what differs, and of nothing that does not', async (t) => {
  const { script, client, follow } = begin(t);
  const rows = { 'ai.credits': 1_000, 'projects.max': 5 };
  const limitations = () => Object.entries(rows).map(([code, availableAmount]) => ({ code, availableAmount }));
  script.answer = (path) => (path === LIMITATIONS ? { billableEntity: { id: 1 }, limitations: limitations() } : { ...rows });
  const told = [];
  client.subscribe((_, change) => told.push(change));
  await follow();
  await client.planState();
  assert.deepEqual(told.splice(0), [
    { keys: ['limitations'], changedCodes: ['ai.credits', 'projects.max'], changeSources: [] },
    { keys: ['planState'], changedCodes: [], changeSources: [] },
  ]);
  script.update(8, 'consumption');
  await settle();
  assert.deepEqual(told, [], 'no figure differs');
  rows['projects.max'] = 8;
  script.update(9, 'plan_grant');
  await settle();
  assert.deepEqual(told.splice(0), [
    { keys: ['limitations'], changedCodes: ['projects.max'], changeSources: ['plan_grant'] },
    { keys: ['planState'], changedCodes: [], changeSources: ['plan_grant'] },
  ]);
  delete rows['ai.credits'];
  client.invalidate(['limitations']);
  await settle();
  assert.deepEqual(told.splice(0), [{ keys: ['limitations'], changedCodes: ['ai.credits'], changeSources: [] }]);
});

test('without the stream an answer is good for 30 s', async (t) => {
  const { script, client, pass } = begin(t);
  await client.limitations();
  await pass(29);
  await client.limitations();
  assert.equal(script.count(LIMITATIONS), 1);
  await pass(2);
  await client.limitations();
  assert.equal(script.count(LIMITATIONS), 2);
  assert.equal(script.attempts().length, 0, 'nobody subscribed');
});

test('what could not be read though the stream is open is read again', async (t) => {
  const { script, errors, pass, follow } = begin(t, { retries: 0 });
  await follow();
  const reads = script.count(LIMITATIONS);
  script.next = [refusal(500, 'INTERNAL'), refusal(403, 'FORBIDDEN')];
  script.update(8, 'consumption');
  await pass(29);
  assert.equal(script.count(LIMITATIONS), reads + 1);
  await pass(2);
  assert.equal(script.count(LIMITATIONS), reads + 2);
  await pass(120);
  assert.equal(script.count(LIMITATIONS), reads + 3, 'and then it is known');
  assert.deepEqual(errors.map(({ code }) => code), ['FORBIDDEN'], 'what passes by itself is no news');
});

test('a write without an answer is sent again with the same key', async (t) => {
  const { script, client, pass } = begin(t);
  const fails = () => {
    throw new TypeError('fetch failed');
  };
  script.next = [fails, refusal(502, 'x'), refusal(503, 'OVERLOADED', { 'Retry-After': '7' })];
  const written = client.consume({ limitationCode: 'ai.credits', amount: 1 });
  await pass(6);
  assert.equal(script.requests.length, 3);
  await pass(3);
  await written;
  const keys = script.requests.map(({ body }) => JSON.parse(body).usageEventKey);
  assert.equal(keys.length, 4);
  assert.equal(new Set(keys).size, 1);
});

test('it is not sent for ever, and the error has the key', async (t) => {
  const { script, client, pass } = begin(t);
  script.next = Array(9).fill(refusal(503, 'DATABASE_UNAVAILABLE', { 'Retry-After': '1' }));
  const failed = client.consume({ limitationCode: 'ai.credits', amount: 1, usageEventKey: 'order-1' }).catch((error) => error);
  await pass(60);
  const error = await failed;
  assert.deepEqual([error.code, error.retryAfterSeconds, error.idempotencyKey], ['DATABASE_UNAVAILABLE', 1, 'order-1']);
  assert.equal(script.requests.length, 4);
});

test('what came too soon to be looked at is sent again, and what a limit refuses is not', async (t) => {
  const { script, client, pass } = begin(t);
  script.next = [refusal(429, 'KEY_RATE_EXCEEDED', { 'Retry-After': '1' })];
  const written = client.consume({ limitationCode: 'ai.credits', amount: 1 });
  await pass(3);
  await written;
  assert.equal(script.requests.length, 2);
  script.next = [refusal(429, 'BILLING_LIMIT_EXCEEDED', { 'Retry-After': '1' })];
  await assert.rejects(client.consume({ limitationCode: 'ai.credits', amount: 1 }), { status: 429 });
});

test('who asks to wait for longer is not waited for', async (t) => {
  const { script, client } = begin(t);
  script.next = [refusal(503, 'OVERLOADED', { 'Retry-After': 'Thu, 01 Jan 1970 00:01:00 GMT' })];
  await assert.rejects(client.consume({ limitationCode: 'ai.credits', amount: 1 }), { retryAfterSeconds: 60 });
});

test('an attempt that gets no answer is given up', async (t) => {
  const { script, client, pass } = begin(t, { retries: 1 });
  const hang = ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  script.next = [hang, hang];
  const failed = client.limitations().catch((error) => error);
  await pass(29);
  assert.equal(script.requests.length, 1);
  await pass(40);
  assert.equal(script.requests.length, 2);
  assert.equal((await failed).code, 'TIMEOUT');
});

test('a caller can give up, also during a pause', async (t) => {
  const { script, client } = begin(t);
  const caller = new AbortController();
  script.next = [refusal(503, 'OVERLOADED', { 'Retry-After': '5' })];
  const use = { limitationCode: 'ai.credits', amount: 1 };
  const written = client.consume(use, { signal: caller.signal });
  await settle();
  caller.abort(new Error('the page went on'));
  await assert.rejects(written, { message: 'the page went on' });
  await assert.rejects(client.consume(use, { signal: caller.signal }), { message: 'the page went on' });
  assert.equal(script.requests.length, 1);
});

test('a proxy that answers for the gateway is not the last word; the gateway is', async (t) => {
  const answers = [
    () => new Response('<h1>Bad gateway</h1>', { status: 502 }),
    () => new Response('<h1>Not found</h1>', { status: 404 }),
    () => new Response('<html>', { headers: { 'Content-Type': 'text/html' } }),
    refusal(503, 'OVERLOADED'),
    refusal(403, 'FORBIDDEN'),
  ];
  const { script, client, errors, pass } = begin(t, {
    fetch: (address, init) => (address.includes('/events?') ? answers.shift()() : script.fetch(address, init)),
  });
  client.subscribe(() => undefined);
  await pass(35);
  assert.equal(client.streamState, 'refused');
  assert.deepEqual(errors.map(({ code }) => code), ['FORBIDDEN']);
  const reads = script.count(LIMITATIONS);
  await pass(30);
  assert.equal(script.count(LIMITATIONS), reads + 1, 'polls go on');
});

test('a hidden page is quiet, and reads anew when it is seen', async (t) => {
  const page = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  globalThis.document = page;
  t.after(() => delete globalThis.document);
  const { script, client, pass, follow } = begin(t);
  await follow();
  const show = async (visibilityState) => {
    page.visibilityState = visibilityState;
    page.dispatchEvent(new Event('visibilitychange'));
    await settle();
  };
  await show('hidden');
  assert.deepEqual([client.streamState, script.stream], ['idle', null]);
  const before = script.requests.length;
  client.invalidate();
  await pass(300);
  assert.equal(script.requests.length, before);
  await show('visible');
  assert.equal(client.streamState, 'open');
  assert.equal(script.requests.slice(before).filter(({ path }) => path === LIMITATIONS).length, 1);
  assert.equal(script.requests.findLast(({ path }) => path.endsWith('events')).headers['Last-Event-ID'], '7');
});

test('a listener that throws does not keep the others from hearing', async (t) => {
  const { script, client, errors, follow } = begin(t);
  await follow();
  client.subscribe(() => {
    throw new Error('of the page');
  });
  let heard = 0;
  client.subscribe(() => (heard += 1));
  await settle();
  assert.equal(heard, 1);
  assert.deepEqual(errors.map(({ message }) => message), ['of the page']);
  assert.notEqual(script.stream, null);
});

test('options that cannot be meant are refused', () => {
  const baseUrl = 'http://127.0.0.1';
  assert.throws(() => createClient(), /baseUrl is missing/);
  assert.throws(() => createClient({ baseUrl, token: 'a', getToken: () => 'b' }), /not both/);
  assert.throws(() => createClient({ baseUrl, pollSeconds: 0 }), /pollSeconds/);
  assert.throws(() => createClient({ baseUrl, silenceSeconds: Number.NaN }), /silenceSeconds/);
  assert.throws(() => createClient({ baseUrl, retries: 1_000 }), /retries/);
});
