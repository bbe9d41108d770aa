// @ts-check
// Server-Sent Events over fetch: the parser of the standard, and one stream that comes back by itself. EventSource would not
// do: it cannot send a header, so tokens would have to stand in addresses, and Node has none.

/** Characters of one event. Ours have some hundred; a server that sends more without an end is none of ours. */
const EVENT_CHARACTERS = 1 << 20;

/** A stream that lasted this long was a good one: the next pause is the shortest again. */
const LIVED_MS = 5_000;

/** @typedef {{type: string, data: string, id: string}} Message `id`: the newest one of the stream, `''` when there was none. */

/** Takes bytes as they arrive, and gives the events that they end. */
export class EventParser {
  /** The newest id of the stream, `''` when there was none. */
  lastEventId = '';
  /** What `retry:` asked for, in milliseconds. @type {number | null} */
  retryMs = null;
  // Takes off a BOM at the very beginning, and keeps what a chunk cuts in two.
  #decoder = new TextDecoder('utf-8');
  #line = '';
  #endedWithCr = false;
  #id;
  #type = '';
  /** @type {string[]} */
  #data = [];
  #characters = 0;

  /** @param {string} [lastEventId] where the stream goes on */
  constructor(lastEventId = '') {
    this.lastEventId = lastEventId;
    this.#id = lastEventId;
  }

  /**
   * @param {Uint8Array} bytes
   * @returns {Message[]}
   * @throws {RangeError} when an event does not end
   */
  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text !== '') {
      // CRLF is one end of a line, also when it is cut in two.
      if (this.#endedWithCr && text.startsWith('\n')) text = text.slice(1);
      this.#endedWithCr = text.endsWith('\r');
    }
    /** @type {Message[]} */
    const messages = [];
    const lines = text.split(/\r\n|\n|\r/);
    const rest = lines.pop() ?? '';
    for (const line of lines) {
      this.#take(this.#line + line, messages);
      this.#line = '';
    }
    this.#line += rest;
    if (this.#characters + this.#line.length > EVENT_CHARACTERS) throw new RangeError('an event does not end');
    return messages;
  }

  /**
   * @param {string} line
   * @param {Message[]} messages
   */
  #take(line, messages) {
    if (line === '') {
      this.#end(messages);
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') {
      this.#data.push(value);
      this.#characters += value.length + 1;
    } else if (field === 'event') {
      this.#type = value;
    } else if (field === 'id' && !value.includes('\0')) {
      this.#id = value;
    } else if (field === 'retry' && /^[0-9]+$/.test(value)) {
      this.retryMs = Number(value);
    }
  }

  /** @param {Message[]} messages */
  #end(messages) {
    // Only now: half an event, cut off after its id, was not heard.
    this.lastEventId = this.#id;
    if (this.#data.length > 0) {
      messages.push({ type: this.#type || 'message', data: this.#data.join('\n'), id: this.#id });
    }
    this.#type = '';
    this.#data = [];
    this.#characters = 0;
  }
}

/**
 * The pause before the next attempt: a random one, so that the readers of a server that restarts do not all come at once.
 *
 * @param {number} failures attempts that failed one after the other, from 0
 * @param {number} minMs
 * @param {number} maxMs
 * @param {number} [random] 0 to 1
 */
export function pauseMs(failures, minMs, maxMs, random = Math.random()) {
  const ceiling = Math.min(maxMs, minMs * 2 ** Math.min(failures + 1, 30));
  return minMs + random * Math.max(0, ceiling - minMs);
}

/**
 * @typedef {object} StreamOptions
 * @property {(headers: Record<string, string>, signal: AbortSignal) => Promise<Response>} open
 *   Asks for the stream. It throws what must not be tried again as `Refused`.
 * @property {(isResumed: boolean) => void} onOpen It listens; `isResumed`: and is told what it missed.
 * @property {(message: Message) => void} onMessage
 * @property {() => void} onDown It does not listen any more, or could not begin to.
 * @property {(error: unknown) => void} onRefused It does not try again.
 * @property {number} minMs The shortest pause between two attempts.
 * @property {number} maxMs The longest.
 * @property {number} silenceMs Silence after which a stream counts as dead.
 */

/** Wraps the error after which a stream must not try again. */
export class Refused {
  /** @param {unknown} error */
  constructor(error) {
    this.error = error;
  }
}

/** One stream, which resumes where it was. */
export class EventStream {
  /** @type {'idle' | 'connecting' | 'open' | 'down' | 'refused'} */
  state = 'idle';
  /** @type {StreamOptions} */
  #options;
  #lastEventId = '';
  /** @type {number | null} */
  #retryMs = null;
  /** The run under way; aborting it ends its request, its timers and its loop. @type {AbortController | null} */
  #run = null;
  /** Ends the pause. @type {(() => void) | null} */
  #wake = null;

  /** @param {StreamOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** Begins, where it was, unless it has begun. */
  start() {
    if (this.#run !== null) return;
    this.#run = new AbortController();
    void this.#loop(this.#run.signal);
  }

  /** Ends. It can start again. */
  stop() {
    this.#run?.abort();
    this.#run = null;
    if (this.state !== 'refused') this.state = 'idle';
  }

  /** Tries now, if it pauses. */
  wake() {
    this.#wake?.();
  }

  /** @param {AbortSignal} ended */
  async #loop(ended) {
    let failures = 0;
    while (!ended.aborted) {
      this.state = 'connecting';
      const begun = Date.now();
      try {
        await this.#listen(ended);
      } catch (error) {
        if (ended.aborted) return;
        if (error instanceof Refused) {
          this.state = 'refused';
          this.#run = null;
          this.#options.onRefused(error.error);
          return;
        }
      }
      if (ended.aborted) return;
      this.state = 'down';
      if (Date.now() - begun >= LIVED_MS) failures = 0;
      this.#options.onDown();
      const { minMs, maxMs } = this.#options;
      const shortest = Math.min(maxMs, Math.max(minMs, this.#retryMs ?? 0));
      await this.#pause(pauseMs(failures, shortest, maxMs), ended);
      failures += 1;
    }
  }

  /**
   * Listens until the stream ends, breaks or falls silent.
   *
   * @param {AbortSignal} ended
   */
  async #listen(ended) {
    const request = new AbortController();
    const abort = () => request.abort();
    ended.addEventListener('abort', abort);
    let silence = setTimeout(abort, this.#options.silenceMs);
    try {
      const resumes = this.#lastEventId !== '';
      /** @type {Record<string, string>} */
      const headers = resumes ? { 'Last-Event-ID': this.#lastEventId } : {};
      const response = await this.#options.open(headers, request.signal);
      if (response.body === null) return;
      const reader = response.body.getReader();
      // A body that is read while it is aborted fails in some browsers and ends in others.
      if (request.signal.aborted) return;
      this.state = 'open';
      this.#options.onOpen(resumes);
      const parser = new EventParser(this.#lastEventId);
      for (;;) {
        const { done, value } = await reader.read();
        if (done || request.signal.aborted) return;
        clearTimeout(silence);
        silence = setTimeout(abort, this.#options.silenceMs);
        const messages = parser.push(value);
        this.#lastEventId = parser.lastEventId;
        this.#retryMs = parser.retryMs ?? this.#retryMs;
        messages.forEach(this.#options.onMessage);
      }
    } finally {
      clearTimeout(silence);
      ended.removeEventListener('abort', abort);
      // What is left of it goes, too, when the parser gave up.
      request.abort();
    }
  }

  /**
   * @param {number} ms
   * @param {AbortSignal} ended
   */
  async #pause(ms, ended) {
    await new Promise((resolve) => {
      const timer = setTimeout(() => wake(), ms);
      const wake = () => {
        clearTimeout(timer);
        ended.removeEventListener('abort', wake);
        this.#wake = null;
        resolve(undefined);
      };
      ended.addEventListener('abort', wake);
      this.#wake = wake;
    });
  }
}
