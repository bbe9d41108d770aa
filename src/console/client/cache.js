// @ts-check
// One thing that the server knows, and how fresh what we hold of it is.

/**
 * @template T
 */
export class Entry {
  /** What was told last; `undefined` before the first answer. @type {T | undefined} */
  value = undefined;
  /** Whether anybody asked for it. */
  isWanted = false;
  /** How often it was said that the server knows better. */
  #version = 0;
  /** The version that `value` answers. */
  #held = -1;
  #heldSince = 0;
  /** Answers of versions before this one are passed over. */
  #shownFrom = 0;
  #wasPassedOver = false;
  /** @type {{version: number, promise: Promise<T>} | null} */
  #flight = null;
  /** What readers of one version share. @type {{version: number, promise: Promise<T>} | null} */
  #asked = null;
  /** @type {() => Promise<T>} */
  #read;
  /** @type {(value: T, before: T | undefined) => void} */
  #onValue;

  /**
   * @param {() => Promise<T>} read asks the server
   * @param {(value: T, before: T | undefined) => void} onValue hears of every answer that became the value
   */
  constructor(read, onValue) {
    this.#read = read;
    this.#onValue = onValue;
  }

  /** Whether the server may know better. */
  get isStale() {
    return this.#held !== this.#version;
  }

  /**
   * Says that the server may know better. Answers to what was asked before do not count as fresh.
   *
   * @param {boolean} [isOwn] it is by the page's own doing, which it may show by now: answers from before are not shown, either
   */
  invalidate(isOwn = false) {
    this.#version += 1;
    if (isOwn) this.#shownFrom = this.#version;
  }

  /** @param {number} ms */
  invalidateIfOlderThan(ms) {
    if (!this.isStale && Date.now() - this.#heldSince > ms) this.invalidate();
  }

  /**
   * An answer that was asked for after the last invalidation. Readers share one request.
   *
   * @returns {Promise<T>} the same promise for as long as it is fresh
   */
  get() {
    this.isWanted = true;
    if (this.#asked?.version !== this.#version) {
      const asked = { version: this.#version, promise: this.#atLeast(this.#version) };
      this.#asked = asked;
      // Who reads after a failure asks again.
      asked.promise.catch(() => {
        if (this.#asked === asked) this.#asked = null;
      });
    }
    return /** @type {{promise: Promise<T>}} */ (this.#asked).promise;
  }

  /**
   * Never more than one request under way, and one more after it: answers come in the order in which they were asked for.
   *
   * @param {number} version
   */
  async #atLeast(version) {
    for (;;) {
      const flight = this.#flight ?? this.#start();
      try {
        const value = await flight.promise;
        if (flight.version >= version) return value;
      } catch (error) {
        if (flight.version >= version) throw error;
      }
    }
  }

  #start() {
    const version = this.#version;
    const begun = Date.now();
    const flight = {
      version,
      promise: this.#read().then(
        (value) => {
          this.#flight = null;
          this.#arrived(value, version, begun);
          return value;
        },
        (error) => {
          this.#flight = null;
          throw error;
        },
      ),
    };
    this.#flight = flight;
    return flight;
  }

  /**
   * @param {T} value
   * @param {number} version
   * @param {number} begun
   */
  #arrived(value, version, begun) {
    // But while the page writes without a pause, every answer is of before a write, and nothing would be shown at all: so
    // never two in a row.
    if (version < this.#shownFrom && !this.#wasPassedOver) {
      this.#wasPassedOver = true;
      return;
    }
    this.#wasPassedOver = false;
    const before = this.value;
    this.value = value;
    this.#held = version;
    this.#heldSince = begun;
    this.#onValue(value, before);
  }
}
