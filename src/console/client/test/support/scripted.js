// A fetch that answers as the test says, for what a real gateway cannot be made to do on demand: to be away for exactly so
// long, to be silent, to answer late. Time is the test's, too.

const EVENTS = '/api/realtime/events';
const encoder = new TextEncoder();

/** Lets everything run that does not wait for time. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

export class Script {
  requests = [];
  /** The stream that is open. @type {ReadableStreamDefaultController | null} */
  stream = null;
  /** Whether streams can be opened. */
  isAway = false;
  /** What GETs of a path answer; by default empty ones. @type {(path: string) => unknown} */
  answer = () => ({ billableEntity: { id: 1 }, limitations: [] });
  /** Answers to the next requests that are none for events: each a function of fetch's options. */
  next = [];
  /** Answers that wait for the test. @type {{path: string, resolve: () => void}[]} */
  late = [];
  isLate = false;

  fetch = async (address, init) => {
    const path = address.replace(/^http:\/\/127\.0\.0\.1/, '').replace(/\?.*$/, '');
    this.requests.push({ path, at: Date.now(), headers: init.headers, body: init.body });
    if (path === EVENTS) return this.#open(init.signal);
    const next = this.next.shift();
    if (next !== undefined) return next(init);
    // As it is when it is asked: what a late answer says may be old when it arrives.
    const response = Response.json(this.answer(path));
    if (this.isLate) await new Promise((resolve) => this.late.push({ path, resolve: () => resolve(undefined) }));
    return response;
  };

  #open(signal) {
    if (this.isAway) throw new TypeError('fetch failed');
    const body = new ReadableStream({
      start: (controller) => {
        this.stream = controller;
        signal.addEventListener('abort', () => {
          if (this.stream === controller) this.stream = null;
          controller.error(signal.reason);
        });
      },
    });
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
  }

  say(text) {
    this.stream.enqueue(encoder.encode(text));
  }

  update(id, changeSource) {
    this.say(`id: ${id}\nevent: workspace.billing.limits.updated\ndata: ${JSON.stringify({ changeSource })}\n\n`);
  }

  /** Breaks the stream. */
  cut() {
    this.stream.close();
    this.stream = null;
  }

  count(path) {
    return this.requests.filter((request) => request.path === path).length;
  }

  /** When streams were asked for. */
  attempts() {
    return this.requests.filter(({ path }) => path === EVENTS).map(({ at }) => at);
  }
}

/** A problem as the gateway writes it. */
export function refusal(status, code, headers = {}) {
  return () => Response.json({ status, code, detail: code, details: {} }, { status, headers });
}
