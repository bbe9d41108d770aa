// @ts-check
// What changed, by whom, what that makes stale, and who is told.

/** @typedef {import('./consumable.d.ts').Key} Key */
/** @typedef {import('./consumable.d.ts').Listener} Listener */
/** @typedef {import('./consumable.d.ts').Limitations} Limitations */
/** @typedef {import('./consumable.d.ts').ChangeSource} ChangeSource */
/** @typedef {{listener: Listener, wasTold: boolean}} Subscriber */

/** @type {Key[]} */
export const KEYS = ['limitations', 'planState', 'purchases'];

/** What a change by each source makes stale. @type {Record<ChangeSource, Key[]>} */
export const STALE_BY = {
  purchase_grant: ['limitations', 'planState', 'purchases'],
  plan_grant: ['limitations', 'planState'],
  consumption: ['limitations'],
  boundary_recompute: ['limitations'],
  manual_refresh: ['limitations'],
};

/**
 * @param {string} data of an update
 * @returns {ChangeSource | null} `null`: none that this module knows
 */
export function changeSource(data) {
  try {
    const source = JSON.parse(data).changeSource;
    return Object.hasOwn(STALE_BY, source) ? source : null;
  } catch {
    return null;
  }
}

/**
 * The codes whose figures differ. All of them, when the answer is of another entity or the first.
 *
 * @param {Limitations} value
 * @param {Limitations | undefined} before
 */
export function changedCodes(value, before) {
  const isSame = before?.billableEntity.id === value.billableEntity.id;
  const old = new Map((isSame ? before : undefined)?.limitations.map((row) => [row.code, JSON.stringify(row)]));
  const changed = value.limitations.filter((row) => old.get(row.code) !== JSON.stringify(row)).map((row) => row.code);
  const here = new Set(value.limitations.map((row) => row.code));
  return [...changed, ...[...old.keys()].filter((code) => !here.has(code))].sort();
}

/** Those who want to be told, and what they were not told yet. */
export class Listeners {
  /** @type {Set<Subscriber>} */
  #subscribers = new Set();
  /** @type {Limitations | undefined} */
  #limitations = undefined;
  /** What was read at least once. @type {Set<Key>} */
  #known = new Set();
  /** Who made the changes that the next answer will show. @type {Record<Key, Set<ChangeSource>>} */
  #sources = { limitations: new Set(), planState: new Set(), purchases: new Set() };
  /** What changed before there were limitations to tell with it. @type {Set<Key>} */
  #untold = new Set();
  /** @type {Set<ChangeSource>} */
  #untoldSources = new Set();
  /** @type {(error: unknown) => void} */
  #onError;

  /** @param {(error: unknown) => void} onError hears what a listener throws */
  constructor(onError) {
    this.#onError = onError;
  }

  get size() {
    return this.#subscribers.size;
  }

  /**
   * @param {Listener} listener told of what is known at once, though not before this returns
   * @returns {() => boolean} takes it out
   */
  add(listener) {
    const subscriber = { listener, wasTold: false };
    this.#subscribers.add(subscriber);
    queueMicrotask(() => this.#tellFirst(subscriber));
    return () => this.#subscribers.delete(subscriber);
  }

  clear() {
    this.#subscribers.clear();
  }

  /**
   * A change was heard of; what it made stale will be read.
   *
   * @param {ChangeSource} source
   */
  expect(source) {
    for (const key of STALE_BY[source]) this.#sources[key].add(source);
  }

  /**
   * An answer came. Listeners are told when it says something else than the one before.
   *
   * @param {Key} key
   * @param {any} value
   * @param {any} before
   * @param {boolean} isLatest whether it shows all changes that were heard of
   */
  onValue(key, value, before, isLatest) {
    this.#known.add(key);
    const codes = key === 'limitations' ? changedCodes(value, before) : [];
    const differs = key === 'limitations' ? codes.length > 0 : JSON.stringify(value) !== JSON.stringify(before);
    if (key === 'limitations') this.#limitations = value;
    if (differs) {
      this.#untold.add(key);
      this.#sources[key].forEach((source) => this.#untoldSources.add(source));
    }
    if (isLatest) this.#sources[key].clear();
    if (this.#limitations === undefined || this.#untold.size === 0) return;
    const change = { keys: [...this.#untold], changedCodes: codes, changeSources: [...this.#untoldSources] };
    this.#untold.clear();
    this.#untoldSources.clear();
    for (const subscriber of [...this.#subscribers]) {
      if (subscriber.wasTold) this.#tell(subscriber, change);
      else this.#tellFirst(subscriber);
    }
  }

  /** @param {Subscriber} subscriber */
  #tellFirst(subscriber) {
    if (subscriber.wasTold || this.#limitations === undefined) return;
    subscriber.wasTold = true;
    const keys = KEYS.filter((key) => this.#known.has(key));
    this.#tell(subscriber, { keys, changedCodes: changedCodes(this.#limitations, undefined), changeSources: [] });
  }

  /**
   * @param {Subscriber} subscriber
   * @param {import('./consumable.d.ts').Change} change
   */
  #tell(subscriber, change) {
    // Another listener may have taken it out just now.
    if (!this.#subscribers.has(subscriber) || this.#limitations === undefined) return;
    try {
      subscriber.listener(this.#limitations, change);
    } catch (error) {
      this.#onError(error);
    }
  }
}
