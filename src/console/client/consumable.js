// @ts-check
// What a workspace may use, how much is left, and every change of it, for a page or a Node process. See docs/client.md;
// consumable.d.ts has the types and what each call does.

import { Entry } from './cache.js';
import { changeSource, KEYS, Listeners, STALE_BY } from './changes.js';
import { EventStream, Refused } from './events.js';
import { closed, ConsumableError, newKey, problem, Transport } from './transport.js';

export { ConsumableError };

/** @typedef {import('./consumable.d.ts').ClientOptions} ClientOptions */
/** @typedef {import('./consumable.d.ts').Client} ClientType */
/** @typedef {import('./consumable.d.ts').Key} Key */

/** Refused before anything was looked at: such a write changed nothing, and says nothing about the limits. */
const CHANGED_NOTHING = [400, 401, 403, 404, 405, 413, 415, 422];

/** @type {typeof import('./consumable.d.ts').createClient} */
export function createClient(options = {}) {
  return new Client(options);
}

/** @implements {ClientType} */
class Client {
  /** @type {Transport} */
  #transport;
  /** @type {EventStream} */
  #stream;
  /** @type {Record<Key, Entry<any>>} */
  #entries;
  /** @type {Listeners} */
  #listeners;
  /** Other pages of this workspace in this browser. @type {BroadcastChannel | null} */
  #channel = null;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #poll = null;
  /** Our token is refused: nothing happens in the background until a request of the page succeeds. */
  #isLockedOut = false;
  #isClosed = false;
  #pollMs;
  #surface;
  #billableEntityId;
  #onError;
  #removeListeners = () => {};

  /** @param {ClientOptions} options */
  constructor(options) {
    const { baseUrl = '', token, getToken, workspaceSlug, billableEntityId, surface = 'app' } = options;
    if (token !== undefined && getToken !== undefined) throw new TypeError('give token or getToken, not both');
    if (baseUrl === '' && typeof location === 'undefined') throw new TypeError('baseUrl is missing');
    /** @type {Record<string, string>} */
    const subject = {};
    if (billableEntityId !== undefined) subject.billableEntityId = String(billableEntityId);
    else if (workspaceSlug !== undefined) subject.workspaceSlug = workspaceSlug;
    this.#billableEntityId = billableEntityId;
    this.#surface = surface;
    this.#pollMs = milliseconds('pollSeconds', options.pollSeconds, 30);
    this.#onError = options.onError ?? console.error;
    this.#listeners = new Listeners(this.#onError);
    this.#transport = new Transport({
      baseUrl: baseUrl.replace(/\/+$/, ''),
      subject,
      token,
      getToken,
      fetch: options.fetch ?? ((input, init) => fetch(input, init)),
      timeoutMs: milliseconds('requestTimeoutSeconds', options.requestTimeoutSeconds, 30),
      retries: options.retries ?? 3,
    });
    this.#entries = {
      limitations: this.#entry('limitations', () => this.#ask('GET', '/api/billing/limitations')),
      planState: this.#entry('planState', () => this.#ask('GET', '/api/billing/plan-state')),
      purchases: this.#entry('purchases', () => this.#readPurchases()),
    };
    this.#stream = new EventStream({
      open: (headers, signal) => this.#openStream(headers, signal),
      onOpen: (isResumed) => {
        // What changed between the last answer and now was told to nobody.
        if (!isResumed) this.#invalidate(KEYS);
        this.#schedulePoll();
      },
      onMessage: (message) => this.#onMessage(message),
      onDown: () => this.#schedulePoll(),
      onRefused: (error) => this.#onBackgroundError(error),
      minMs: milliseconds('retryMinSeconds', options.retryMinSeconds, 1),
      maxMs: milliseconds('retryMaxSeconds', options.retryMaxSeconds, 30),
      silenceMs: milliseconds('silenceSeconds', options.silenceSeconds, 40),
    });
    this.#joinOthers(`consumable ${baseUrl} ${JSON.stringify(subject)}`);
    this.#watchPage();
  }

  get streamState() {
    return this.#stream.state;
  }

  /** @returns {Promise<import('./consumable.d.ts').Limitations>} */
  limitations() {
    return this.#get('limitations');
  }

  /** @param {string} code */
  async limitation(code) {
    const { limitations } = await this.limitations();
    return limitations.find((limitation) => limitation.code === code);
  }

  planState() {
    return this.#get('planState');
  }

  purchases() {
    return this.#get('purchases');
  }

  /** @param {Key} [key] */
  snapshot(key = 'limitations') {
    return this.#entries[key].value;
  }

  /** @type {ClientType['check']} */
  check(request, { signal } = {}) {
    return this.#ask('POST', '/api/billing/check', { body: request, signal });
  }

  /** @type {ClientType['consume']} */
  consume(request, options) {
    return this.#writeWithKey('/api/billing/consume', request, options);
  }

  /** @type {ClientType['hold']} */
  hold(request, options) {
    return this.#writeWithKey('/api/billing/holds', request, options);
  }

  /** @type {ClientType['commit']} */
  commit(holdId, { amount, signal } = {}) {
    return this.#write(`/api/billing/holds/${holdId}/commit`, { amount }, signal);
  }

  /** @type {ClientType['release']} */
  release(holdId, { signal } = {}) {
    return this.#write(`/api/billing/holds/${holdId}/release`, undefined, signal);
  }

  /** @type {ClientType['subscribe']} */
  subscribe(listener) {
    if (this.#isClosed) throw closed();
    const remove = this.#listeners.add(listener);
    this.#entries.limitations.isWanted = true;
    this.#isLockedOut = false;
    this.#follow();
    return () => {
      if (remove()) this.#follow();
    };
  }

  /** @param {Key[]} [keys] */
  invalidate(keys = KEYS) {
    const unknown = keys.find((key) => !KEYS.includes(key));
    if (unknown !== undefined) throw new TypeError(`there is no key ${unknown}: give ${KEYS.join(', ')}`);
    this.#didChange(keys);
  }

  close() {
    this.#isClosed = true;
    this.#listeners.clear();
    this.#follow();
    this.#channel?.close();
    this.#channel = null;
    this.#removeListeners();
    this.#transport.close();
  }

  /**
   * @param {Key} key
   * @param {() => Promise<any>} read
   */
  #entry(key, read) {
    return new Entry(read, (value, before) => {
      this.#schedulePoll();
      this.#listeners.onValue(key, value, before, !this.#entries[key].isStale);
    });
  }

  /**
   * @param {Key} key
   * @returns {Promise<any>}
   */
  #get(key) {
    if (this.#isClosed) return Promise.reject(closed());
    const entry = this.#entries[key];
    // Without the stream nobody says when an answer has become old.
    if (this.#stream.state !== 'open') entry.invalidateIfOlderThan(this.#pollMs);
    return entry.get();
  }

  async #readPurchases() {
    const id = this.#billableEntityId ?? (await this.limitations()).billableEntity.id;
    return this.#ask('GET', '/api/console/billing/purchases', { query: { billableEntityId: String(id) } });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {import('./transport.js').RequestOptions} [options]
   */
  async #ask(method, path, options) {
    const answer = await this.#transport.json(method, path, options);
    if (this.#isLockedOut) {
      this.#isLockedOut = false;
      this.#follow();
    }
    return answer;
  }

  /**
   * @param {string} path
   * @param {{usageEventKey?: string}} request
   * @param {import('./consumable.d.ts').WriteOptions} [options]
   */
  async #writeWithKey(path, request, { idempotencyKey, signal } = {}) {
    const usageEventKey = request.usageEventKey ?? idempotencyKey ?? newKey();
    try {
      return await this.#write(path, { ...request, usageEventKey }, signal);
    } catch (error) {
      if (error instanceof ConsumableError) error.idempotencyKey = usageEventKey;
      throw error;
    }
  }

  /**
   * @param {string} path
   * @param {unknown} body
   * @param {AbortSignal} [signal]
   */
  async #write(path, body, signal) {
    let mayHaveChanged = true;
    try {
      return await this.#ask('POST', path, { body, signal });
    } catch (error) {
      // A refusal says that the page's figures were old; a request without an answer may have been carried out.
      mayHaveChanged = !(error instanceof ConsumableError && CHANGED_NOTHING.includes(error.status));
      throw error;
    } finally {
      if (mayHaveChanged && !this.#isClosed) this.#didChange(['limitations']);
    }
  }

  /**
   * @param {Record<string, string>} headers
   * @param {AbortSignal} signal
   */
  async #openStream(headers, signal) {
    const query = { topic: 'workspace_billing_limits', surface: this.#surface };
    const sent = { ...headers, Accept: 'text/event-stream' };
    const response = await this.#transport.open('/api/realtime/events', { query, headers: sent, signal });
    if (response.ok) {
      const type = response.headers.get('Content-Type') ?? '';
      if (type.startsWith('text/event-stream')) return response;
      throw new TypeError(`the stream of events is ${type}`);
    }
    const error = await problem(response);
    // What is not of the gateway itself may be better in a minute.
    const isTheGateways = !error.code.startsWith('HTTP_') && error.status < 500 && error.status !== 429;
    throw error.status === 401 || isTheGateways ? new Refused(error) : error;
  }

  /** @param {import('./events.js').Message} message */
  #onMessage({ type, data }) {
    if (type === 'resync') this.#invalidate(KEYS);
    if (type !== 'workspace.billing.limits.updated') return;
    const source = changeSource(data);
    if (source !== null) this.#listeners.expect(source);
    // One that is not known is of a server that knows more than this module.
    this.#invalidate(source === null ? KEYS : STALE_BY[source]);
  }

  /** Whether somebody wants to be told now. */
  get #isFollowed() {
    const isHidden = typeof document !== 'undefined' && document.visibilityState === 'hidden';
    return this.#listeners.size > 0 && !isHidden && !this.#isLockedOut && !this.#isClosed;
  }

  /** Begins or ends what happens in the background. */
  #follow() {
    if (this.#isFollowed) {
      this.#stream.start();
      this.#refresh();
    } else {
      this.#stream.stop();
    }
    this.#schedulePoll();
  }

  /**
   * @param {Key[]} keys
   * @param {boolean} [isOwn] by this page's doing
   */
  #invalidate(keys, isOwn) {
    for (const key of keys) this.#entries[key].invalidate(isOwn);
    this.#refresh();
  }

  /**
   * This page changed something. The other pages of this workspace in this browser hear of it, too.
   *
   * @param {Key[]} keys
   */
  #didChange(keys) {
    this.#channel?.postMessage({ staleKeys: keys });
    this.#invalidate(keys, true);
  }

  /** Reads anew what is stale and was asked for. */
  #refresh() {
    if (!this.#isFollowed) return;
    for (const key of KEYS) {
      const entry = this.#entries[key];
      if (entry.isWanted && entry.isStale) entry.get().catch((error) => this.#onBackgroundError(error));
    }
  }

  /** Polls while nobody tells us, and while what we were told of could not be read. */
  #schedulePoll() {
    const isDown = this.#stream.state !== 'open';
    const isStale = KEYS.some((key) => this.#entries[key].isWanted && this.#entries[key].isStale);
    const isNeeded = this.#isFollowed && (isDown || isStale);
    if (!isNeeded && this.#poll !== null) {
      clearTimeout(this.#poll);
      this.#poll = null;
    }
    if (!isNeeded || this.#poll !== null) return;
    this.#poll = setTimeout(() => {
      this.#poll = null;
      if (this.#stream.state === 'open') this.#refresh();
      else this.#invalidate(KEYS);
      this.#schedulePoll();
    }, this.#pollMs);
  }

  /** @param {unknown} error */
  #onBackgroundError(error) {
    if (this.#isClosed) return;
    const isKnown = error instanceof ConsumableError;
    if (isKnown && error.status === 401 && !this.#isLockedOut) {
      this.#isLockedOut = true;
      this.#follow();
      this.#onError(error);
      return;
    }
    // A network that fails is no news: the stream and the polls try on.
    const isPassing = isKnown && (error.status === 0 || error.status === 401 || error.status >= 500);
    if (!isPassing) this.#onError(error);
    this.#schedulePoll();
  }

  /** @param {string} name */
  #joinOthers(name) {
    if (typeof BroadcastChannel === 'undefined') return;
    this.#channel = new BroadcastChannel(name);
    // In Node it would keep the process alive.
    if ('unref' in this.#channel) /** @type {{unref(): void}} */ (/** @type {unknown} */ (this.#channel)).unref();
    this.#channel.onmessage = ({ data }) => {
      const keys = data?.staleKeys;
      if (Array.isArray(keys)) this.#invalidate(KEYS.filter((key) => keys.includes(key)));
    };
  }

  #watchPage() {
    if (typeof document === 'undefined') return;
    const page = document;
    const onVisibility = () => {
      // Nobody told a hidden page anything.
      if (page.visibilityState !== 'hidden') this.#invalidate(KEYS);
      this.#follow();
    };
    const onOnline = () => this.#stream.wake();
    page.addEventListener('visibilitychange', onVisibility);
    globalThis.addEventListener?.('online', onOnline);
    this.#removeListeners = () => {
      page.removeEventListener('visibilitychange', onVisibility);
      globalThis.removeEventListener?.('online', onOnline);
    };
  }
}

/**
 * @param {string} name
 * @param {number | undefined} seconds
 * @param {number} otherwise
 */
function milliseconds(name, seconds, otherwise) {
  const chosen = seconds ?? otherwise;
  // Beyond it, timers fire at once.
  if (!(chosen > 0 && chosen <= 86_400)) throw new TypeError(`${name} must be more than 0 and at most 86400`);
  return chosen * 1_000;
}
