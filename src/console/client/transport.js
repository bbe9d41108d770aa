// @ts-check
// Requests: who asks, how long, and how often again.

import { pauseMs } from './events.js';

/** How long a server may ask us to wait before we try again. What asks for more is told to the caller. */
const LONGEST_WAIT_MS = 10_000;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 4_000;

/** What a proxy says when the gateway is away for a moment, and the gateway when the database is. */
const TRY_AGAIN = [502, 503, 504];

/** An answer that is none, or the want of one. See `consumable.d.ts`. */
export class ConsumableError extends Error {
  name = 'ConsumableError';
  /** The key of the write: sent again with it, it is done once. @type {string | undefined} */
  idempotencyKey = undefined;

  /**
   * @param {{status: number, code: string, detail: string, details?: Record<string, unknown>,
   *   fieldErrors?: Record<string, string>, retryAfterSeconds?: number | null, cause?: unknown}} fields
   */
  constructor({ status, code, detail, details = {}, fieldErrors = {}, retryAfterSeconds = null, cause }) {
    super(detail === '' ? code : `${code}: ${detail}`, cause === undefined ? undefined : { cause });
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.details = details;
    this.fieldErrors = fieldErrors;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** What a client that was closed answers. */
export function closed() {
  return new ConsumableError({ status: 0, code: 'CLOSED', detail: 'The client was closed' });
}

/**
 * What an answer that is not 2xx says.
 *
 * @param {Response} response
 */
export async function problem(response) {
  const body = await response.json().catch(() => null);
  const said = typeof body === 'object' && body !== null ? body : {};
  const header = response.headers.get('Retry-After');
  return new ConsumableError({
    status: response.status,
    // Without a code it is of something between us and the gateway.
    code: typeof said.code === 'string' ? said.code : `HTTP_${response.status}`,
    detail: typeof said.detail === 'string' ? said.detail : response.statusText,
    details: said.details,
    fieldErrors: said.fieldErrors,
    retryAfterSeconds: retryAfter(header) ?? said.details?.retryAfterSeconds ?? null,
  });
}

/** @param {string | null} header seconds, or an instant */
function retryAfter(header) {
  if (header === null) return null;
  if (/^[0-9]+$/.test(header)) return Number(header);
  const seconds = (Date.parse(header) - Date.now()) / 1_000;
  return Number.isNaN(seconds) ? null : Math.max(0, Math.ceil(seconds));
}

/**
 * @typedef {object} TransportOptions
 * @property {string} baseUrl
 * @property {Record<string, string>} subject query parameters that every request bears
 * @property {() => string | Promise<string>} [getToken]
 * @property {string} [token]
 * @property {typeof fetch} fetch
 * @property {number} timeoutMs for one attempt
 * @property {number} retries attempts after the first, 0 to 10
 */

/** @typedef {{query?: Record<string, string>, body?: unknown, signal?: AbortSignal}} RequestOptions */

/** Sends requests, and knows the token. */
export class Transport {
  /** @type {TransportOptions} */
  #options;
  /** The token in use, or the asking for one. @type {Promise<string> | null} */
  #token = null;
  #closed = new AbortController();

  /** @param {TransportOptions} options */
  constructor(options) {
    const { retries } = options;
    if (!(Number.isInteger(retries) && retries >= 0 && retries <= 10)) throw new TypeError('retries must be 0 to 10');
    this.#options = options;
  }

  /** Ends every request, and refuses others. */
  close() {
    this.#closed.abort(closed());
  }

  /**
   * A request with a JSON answer. A network that fails, and a server that is away for a moment, are tried again, so a write
   * needs a key or must be one that can be repeated.
   *
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions} [options]
   * @returns {Promise<any>}
   */
  async json(method, path, options = {}) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#once(method, path, options);
      } catch (error) {
        const wait = attempt < this.#options.retries ? waitMs(error, attempt) : null;
        if (wait === null) throw error;
        await this.#bounded(options.signal, null, (signal) => sleep(wait, signal));
      }
    }
  }

  /**
   * A request whose answer is read by the caller, who aborts it, too. Not tried again, but for a token.
   *
   * @param {string} path
   * @param {{query: Record<string, string>, headers: Record<string, string>, signal: AbortSignal}} options
   */
  async open(path, { query, headers, signal }) {
    return this.#authorised('GET', path, { query }, headers, signal);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions} options
   */
  async #once(method, path, options) {
    return this.#bounded(options.signal, this.#options.timeoutMs, async (signal) => {
      try {
        const response = await this.#authorised(method, path, options, { Accept: 'application/json' }, signal);
        if (!response.ok) throw await problem(response);
        return await response.json();
      } catch (cause) {
        if (signal.aborted) throw signal.reason;
        if (cause instanceof ConsumableError || cause instanceof TokenError) throw cause;
        throw new ConsumableError({ status: 0, code: 'NETWORK', detail: 'No answer came', cause });
      }
    });
  }

  /**
   * Runs `work` with a signal that the caller, `close` and the time can abort.
   *
   * @template T
   * @param {AbortSignal | undefined} callers
   * @param {number | null} timeoutMs
   * @param {(signal: AbortSignal) => Promise<T>} work
   */
  async #bounded(callers, timeoutMs, work) {
    const either = new AbortController();
    const sources = [this.#closed.signal, ...(callers === undefined ? [] : [callers])];
    const abort = () => either.abort(sources.find((source) => source.aborted)?.reason);
    sources.forEach((source) => source.addEventListener('abort', abort));
    if (sources.some((source) => source.aborted)) abort();
    const late = () =>
      either.abort(new ConsumableError({ status: 0, code: 'TIMEOUT', detail: `No answer in ${timeoutMs} ms` }));
    const timer = timeoutMs === null ? undefined : setTimeout(late, timeoutMs);
    try {
      if (either.signal.aborted) throw either.signal.reason;
      return await work(either.signal);
    } finally {
      clearTimeout(timer);
      sources.forEach((source) => source.removeEventListener('abort', abort));
    }
  }

  /**
   * Sends with the token; if it is refused, once more with another.
   *
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions} options
   * @param {Record<string, string>} headers
   * @param {AbortSignal} signal
   */
  async #authorised(method, path, options, headers, signal) {
    const token = await orAborted(this.#tokenInstead(undefined), signal);
    const response = await this.#send(method, path, options, headers, token, signal);
    if (response.status !== 401 || this.#options.getToken === undefined) return response;
    await response.body?.cancel();
    const another = await orAborted(this.#tokenInstead(token), signal);
    return this.#send(method, path, options, headers, another, signal);
  }

  /**
   * @param {string | undefined} refused the token that was refused; whoever finds another one in use takes that
   * @returns {Promise<string | undefined>}
   */
  async #tokenInstead(refused) {
    const { token, getToken } = this.#options;
    if (getToken === undefined) return token;
    const inUse = this.#token;
    if (inUse !== null && (refused === undefined || (await inUse.catch(() => undefined)) !== refused)) return inUse;
    if (this.#token === inUse || this.#token === null) {
      const asked = Promise.resolve()
        .then(getToken)
        .catch((cause) => {
          throw new TokenError('getToken failed', { cause });
        });
      this.#token = asked;
      asked.catch(() => {
        if (this.#token === asked) this.#token = null;
      });
      return asked;
    }
    return this.#token;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions} options
   * @param {Record<string, string>} headers
   * @param {string | undefined} token
   * @param {AbortSignal} signal
   */
  #send(method, path, { query = {}, body }, headers, token, signal) {
    const { baseUrl, subject, fetch } = this.#options;
    const parameters = new URLSearchParams({ ...subject, ...query }).toString();
    const address = `${baseUrl}${path}${parameters === '' ? '' : `?${parameters}`}`;
    /** @type {Record<string, string>} */
    const sent = { ...headers };
    if (token !== undefined) sent.Authorization = `Bearer ${token}`;
    if (body !== undefined) sent['Content-Type'] = 'application/json';
    const text = body === undefined ? undefined : JSON.stringify(body);
    return fetch(address, { method, headers: sent, body: text, signal, cache: 'no-store' });
  }
}

/** A key that nobody else makes. `randomUUID` is not there on pages without TLS. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** `getToken` failed: no fault of the network, and not to be tried again at once. */
export class TokenError extends Error {
  name = 'TokenError';
}

/**
 * How long to wait before the same request again; `null`: it is not worth it.
 *
 * @param {unknown} error
 * @param {number} attempt
 */
function waitMs(error, attempt) {
  if (!(error instanceof ConsumableError)) return null;
  const isAway = error.code === 'NETWORK' || error.code === 'TIMEOUT' || TRY_AGAIN.includes(error.status);
  // Nobody has looked at it: it is not the refusal of a limit.
  const isTooSoon = error.code === 'KEY_RATE_EXCEEDED';
  if (!isAway && !isTooSoon) return null;
  const asked = (error.retryAfterSeconds ?? 0) * 1_000;
  if (asked > LONGEST_WAIT_MS) return null;
  return Math.max(asked, pauseMs(attempt, FIRST_PAUSE_MS, LONGEST_PAUSE_MS));
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 */
function sleep(ms, signal) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const slept = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return orAborted(slept, signal).finally(() => clearTimeout(timer));
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
function orAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
