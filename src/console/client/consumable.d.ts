// Types of consumable.js. docs/client.md explains them by examples.

/** Makes a client of one workspace. It opens nothing until it is asked or subscribed to. */
export function createClient(options?: ClientOptions): Client;

export interface ClientOptions {
  /** Where the gateway is, such as `http://127.0.0.1:8080`. In a page that the same host serves: nothing. */
  baseUrl?: string;
  /** A workspace token, or a key of a backend. Sent as `Authorization: Bearer`. Never put a key into a page. */
  token?: string;
  /** Instead of `token`: asked for one at first, and once more whenever the one in use is refused. */
  getToken?: () => string | Promise<string>;
  /** Whom to ask about. With a workspace token: nothing, it is in the token. */
  workspaceSlug?: string;
  /** Instead of `workspaceSlug`. */
  billableEntityId?: number;
  /** Which events: `admin` wants a permission. Default `app`. */
  surface?: 'app' | 'admin';
  /** Hears of what fails in the background and does not pass by itself, and of what a listener throws. Default `console.error`. */
  onError?: (error: unknown) => void;
  /** Default the global one. */
  fetch?: typeof fetch;
  /** Between two reads while the stream of events is down; the age to which an answer is kept without it. Default 30. */
  pollSeconds?: number;
  /** After which one attempt of a request is given up. Default 30. */
  requestTimeoutSeconds?: number;
  /** Attempts after the first, when the network fails or the server is away for a moment. Default 3. */
  retries?: number;
  /** Shortest pause before the stream is opened again. Default 1. */
  retryMinSeconds?: number;
  /** Longest pause before the stream is opened again. Default 30. */
  retryMaxSeconds?: number;
  /** Silence after which the stream counts as dead; the server says something every 15. Default 40. */
  silenceSeconds?: number;
}

export interface Client {
  /** What the workspace may use. The same promise for as long as the answer is fresh. */
  limitations(): Promise<Limitations>;
  /** One of them; `undefined`: there is no such code. */
  limitation(code: string): Promise<Limitation | undefined>;
  /** Its plan, and what comes next. */
  planState(): Promise<PlanState>;
  /** The newest page of what it bought. The token must be one that may see it. */
  purchases(): Promise<Purchases>;
  /** What a `consume` of the same would be answered now. Nothing is written. */
  check(request: CheckRequest, options?: { signal?: AbortSignal }): Promise<CheckAnswer>;
  /**
   * Uses something. Done once for each key, so it is tried again by itself when no answer comes. When that fails, too, the
   * error has the key: give it with the next attempt.
   */
  consume(request: ConsumeRequest, options?: WriteOptions): Promise<ConsumeAnswer>;
  /** Sets something aside for a while. */
  hold(request: HoldRequest, options?: WriteOptions): Promise<HoldAnswer>;
  /** Uses what was set aside, all of it or `amount`. */
  commit(holdId: number, options?: { amount?: number; signal?: AbortSignal }): Promise<HoldAnswer>;
  /** Gives back what was set aside. */
  release(holdId: number, options?: { signal?: AbortSignal }): Promise<HoldAnswer>;
  /**
   * Tells `listener` of what is known, as soon as it is, and of every change from then on. The stream of events is open while
   * there are subscribers.
   */
  subscribe(listener: Listener): () => void;
  /** What listeners were told last; it is another object after each answer only. `undefined`: nothing yet. */
  snapshot(key?: 'limitations'): Limitations | undefined;
  snapshot(key: 'planState'): PlanState | undefined;
  snapshot(key: 'purchases'): Purchases | undefined;
  /** Says that something changed of which no event tells, here and to the other pages. Default: everything. */
  invalidate(keys?: Key[]): void;
  /** Ends every request and timer. What is under way fails with `CLOSED`. */
  close(): void;
  /** `idle`: nobody subscribed, or the page is hidden. `refused`: the server does not let us listen, and `onError` knows why. */
  readonly streamState: 'idle' | 'connecting' | 'open' | 'down' | 'refused';
}

export type Key = 'limitations' | 'planState' | 'purchases';

export type ChangeSource = 'purchase_grant' | 'plan_grant' | 'consumption' | 'boundary_recompute' | 'manual_refresh';

export type Listener = (limitations: Limitations, change: Change) => void;

export interface Change {
  /** What was read anew and is another. */
  keys: Key[];
  /** The limitations whose figures are others than those told before; the first time all of them. */
  changedCodes: string[];
  /** What events said of the cause. Empty when it was found without one: the first time, by a poll, after this page's own write. */
  changeSources: ChangeSource[];
}

/** An answer that is an error, or the want of an answer. */
export class ConsumableError extends Error {
  /** The HTTP status; 0: no answer came. */
  readonly status: number;
  /**
   * The code of docs/errors.md. Without an answer `NETWORK`, `TIMEOUT` or `CLOSED`; `HTTP_502` and the like when something
   * between here and the server answered.
   */
  readonly code: string;
  readonly detail: string;
  /** What belongs to the code, such as `remaining` of `BILLING_LIMIT_EXCEEDED`. */
  readonly details: Record<string, unknown>;
  /** By path, what is wrong with the request. */
  readonly fieldErrors: Record<string, string>;
  /** After which it may be otherwise; `null`: time does not help, or nobody knows. */
  readonly retryAfterSeconds: number | null;
  /** The key of a `consume` or `hold`: given again, it is done once. */
  readonly idempotencyKey: string | undefined;
}

export interface WriteOptions {
  /** Default: a new one. */
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/** Instants are RFC 3339 in UTC, amounts whole numbers of the definition's unit. */
export interface Limitation {
  code: string;
  name: string;
  entitlementType: string;
  enforcementMode: string;
  unit: string;
  scale: number;
  windowInterval: string | null;
  windowAnchor: string | null;
  grantedAmount: number;
  consumedAmount: number;
  heldAmount: number;
  effectiveAmount: number;
  availableAmount: number;
  hardLimitAmount: number | null;
  overLimit: boolean;
  /** `none` when there is none. */
  lockState: string;
  nextChangeAt: string | null;
  windowStartAt: string | null;
  windowEndAt: string | null;
  lastRecomputedAt: string | null;
}

export interface BillableEntity {
  id: number;
  entityType: string;
  entityRef: string;
  workspaceId: number | null;
  workspaceSlug: string | null;
  workspaceName: string | null;
  ownerUserId: string | null;
  status: string;
  createdAt: string;
  updatedAt: string;
}

export interface Limitations {
  billableEntity: BillableEntity;
  generatedAt: string;
  stale: boolean;
  /** Sorted by code. */
  limitations: Limitation[];
}

export interface PlanState {
  currentPlan: Plan | null;
  nextPlanChange: Plan | null;
  availablePlans: AvailablePlan[];
  history: Plan[];
}

/** A plan, as the workspace has it, had it or will have it. */
export interface Plan {
  assignmentId: number;
  planCode: string;
  planName: string;
  quantity: number;
  status: string;
  effectiveAt: string;
  endedAt: string | null;
  periodStartAt: string | null;
  periodEndAt: string | null;
}

export interface AvailablePlan {
  planCode: string;
  planName: string;
  isCurrent: boolean;
  entitlements: PlanEntitlement[];
}

export interface PlanEntitlement {
  code: string;
  name: string;
  unit: string;
  scale: number;
  windowInterval: string | null;
  grantKind: string;
  amount: number;
  effectivePolicy: string;
  durationPolicy: string;
  durationDays: number | null;
}

export interface Purchases {
  entries: Record<string, unknown>[];
  nextCursor: string | null;
}

/** By the name of what the application does, or of the limitation. */
export type Use =
  | { capability: string; limitationCode?: undefined }
  | { limitationCode: string; capability?: undefined };

export type CheckItem = Use & { amount?: number; currentCount?: number };

export type CheckRequest = CheckItem | { items: CheckItem[] };

export interface CheckAnswer {
  allowed: boolean;
  refusedBy: string | null;
  reason: string | null;
  limitations: Limitation[];
}

export type ConsumeItem = Use & {
  amount?: number;
  reasonCode?: string;
  occurredAt?: string;
  metadata?: Record<string, unknown>;
};

/** All items are accepted, or none is. */
export type ConsumeRequest = (ConsumeItem | { items: ConsumeItem[] }) & { usageEventKey?: string };

export interface Consumption {
  limitationCode: string;
  amount: number;
  usageEventKey: string;
  reasonCode: string | null;
  sequenceNo: number | null;
  occurredAt: string;
  postedAt: string;
}

export interface ConsumeAnswer {
  outcome: 'accepted';
  /** Whether it was done before, under the same key. */
  replayed: boolean;
  warning: string | null;
  consumptions: Consumption[];
  limitations: Limitation[];
}

export type HoldRequest = Use & {
  amount: number;
  ttlSeconds?: number;
  usageEventKey?: string;
  reasonCode?: string;
  metadata?: Record<string, unknown>;
};

export interface Hold {
  id: number;
  billableEntityId: number;
  limitationCode: string;
  amount: number;
  status: string;
  usageEventKey: string;
  reasonCode: string | null;
  createdAt: string;
  expiresAt: string;
  committedAmount: number | null;
  resolvedAt: string | null;
}

export interface HoldAnswer {
  hold: Hold;
  limitation: Limitation;
}
