// Requests of the console. An answer that is an error is thrown as the client's ConsumableError.

import { ConsumableError, newKey, problem } from '../client/transport.js';
import { session } from './session.js';

export { ConsumableError, newKey };

const CONSOLE = '/api/console/billing/';

/** Hears that the key or token of this session is not taken any more. */
export const refused = new EventTarget();

/**
 * A request with a JSON answer.
 *
 * @param {string} method
 * @param {string} path
 * @param {{query?: object, body?: unknown, key?: string, version?: number, token?: string, signal?: AbortSignal}} [options]
 *   `key` makes it be done once, `version` is the one that is edited
 */
export async function ask(method, path, { query = {}, body, key, version, token, signal } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const parameters = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  const headers = { Accept: 'application/json', Authorization: `Bearer ${token ?? session()?.token}` };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (key !== undefined) headers['Idempotency-Key'] = key;
  if (version !== undefined) headers['If-Match'] = `"${version}"`;
  const request = { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal, cache: 'no-store' };
  let response;
  try {
    response = await fetch(`${path}${parameters === '' ? '' : `?${parameters}`}`, request);
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ConsumableError({ status: 0, code: 'NETWORK', detail: 'No answer came', cause });
  }
  if (response.ok) return response.json();
  const error = await problem(response);
  if (error.status === 401 && token === undefined) refused.dispatchEvent(new Event('refused'));
  throw error;
}

export const read = (path, query, signal) => ask('GET', CONSOLE + path, { query, signal });

export const write = (method, path, options) => ask(method, CONSOLE + path, options);

/** All entries of a list that has an end. */
export async function readAll(path, signal) {
  const entries = [];
  let cursor;
  do {
    const page = await read(path, { limit: 200, cursor }, signal);
    entries.push(...page.entries);
    cursor = page.nextCursor;
  } while (cursor !== null);
  return entries;
}

/** The key for what is sent: the same for the same again, so that a second attempt is not a second deed. */
export function once() {
  let last = null;
  let key = null;
  return (body) => {
    const text = JSON.stringify(body);
    if (text !== last) [last, key] = [text, newKey()];
    return key;
  };
}

/** What went wrong, and what to do about it. */
export function explain(error) {
  if (!(error instanceof ConsumableError)) return `The page met a fault: ${error.message}. Reload it; if that does not help, tell whoever runs the gateway.`;
  if (error.code === 'NETWORK') return 'No answer came. Look whether you are online and the gateway runs, then try again: nothing is done twice.';
  if (error.status === 401) return 'This key or token is not valid, or not any more. Sign in again.';
  if (error.status === 403) return `${error.detail}. Sign in with a key of the role admin.`;
  if (error.status === 503) return `${error.detail}. It may pass: try again in a moment.`;
  return error.detail;
}
