// `client.config.lock`, `elect`, `leader`, `observe`: holding a name under a lease that is kept alive.
// Guarantees: a wait of any length keeps its place in line; who gives up, or is aborted, leaves the line. Must not: decide whose turn it is.
import { jsonText } from "./config-codec.ts";
import type { ConfigLeases, KeptLease } from "./config-leases.ts";
import type { ConfigWriteOptions } from "./config-types.ts";
import { isJadeError, JadeError } from "./errors.ts";
import type { HttpClient } from "./http.ts";
import type { CallOptions } from "./types.ts";

export const DEFAULT_LOCK_TTL_SECONDS = 30;
/** One wait over HTTP, so that its answer comes well before an attempt's time is over. The server allows 50 s. */
const MAX_STEP_SECONDS = 30;
/** Before a wait that failed is asked for again. */
const RETRY_MS = 200;

type Kind = "locks" | "elections";

export interface LockOptions extends CallOptions {
  /** Of the lease that is granted for it and kept alive. Default 30. */
  readonly leaseTtlSeconds?: number | undefined;
  /** A lease of `leases.keep` instead; it stays when the lock is released. It can hold one name once. */
  readonly lease?: KeptLease | undefined;
  /** How long to stand in line. 0: not at all. Default: until it is acquired. */
  readonly waitSeconds?: number | undefined;
}

export interface ElectOptions extends LockOptions {
  /** What observers see of the leader. Any JSON. */
  readonly value?: unknown;
}

/** Who leads. */
export interface Leader<T = unknown> {
  readonly key: string;
  readonly leaseId: string;
  readonly fencingToken: number;
  readonly value: T;
}

/** A place that owns its name. */
interface Owned {
  readonly key: string;
  readonly fencingToken: number;
}

interface Place {
  readonly kind: Kind;
  readonly name: string;
  readonly lease: KeptLease;
  /** The lease was granted for this place, and ends with it. */
  readonly ownsLease: boolean;
}

/** A lock that is held: give `fencingToken` along to what it protects, and stop when `lost` is aborted. */
export class HeldLock {
  readonly name: string;
  readonly key: string;
  /** Higher than that of every holder before. */
  readonly fencingToken: number;
  readonly #locks: ConfigLocks;
  readonly #place: Place;
  #isReleased = false;

  constructor(locks: ConfigLocks, place: Place, { key, fencingToken }: Owned) {
    this.#locks = locks;
    this.#place = place;
    this.name = place.name;
    this.key = key;
    this.fencingToken = fencingToken;
  }

  get leaseId(): string {
    return this.#place.lease.leaseId;
  }

  /** Aborted, with the reason, when the lease ended and another may hold the lock. Not by `release`. */
  get lost(): AbortSignal {
    return this.#place.lease.signal;
  }

  /** Gives it to the next in line. Nothing happens where it is lost already. */
  async release(options: ConfigWriteOptions = {}): Promise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    await this.#locks.release(this.#place, this.fencingToken, options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}

/** An election that was won. */
export class Leadership extends HeldLock {
  readonly #proclaim: (value: unknown, options: ConfigWriteOptions) => Promise<void>;

  constructor(locks: ConfigLocks, place: Place, owned: Owned) {
    super(locks, place, owned);
    this.#proclaim = (value, options) => locks.proclaim(place.name, { ...options, value, ...owned });
  }

  /** Changes what observers see. Throws `notOwner` when another leads. */
  proclaim(value: unknown, options: ConfigWriteOptions = {}): Promise<void> {
    return this.#proclaim(value, options);
  }

  /** Lets the next one lead. */
  resign(options: ConfigWriteOptions = {}): Promise<void> {
    return this.release(options);
  }
}

export interface ConfigLocksOptions {
  readonly http: HttpClient;
  readonly namespace: string | undefined;
  readonly leases: ConfigLeases;
  readonly deleteKey: (key: string) => Promise<unknown>;
}

export class ConfigLocks {
  readonly #options: ConfigLocksOptions;

  constructor(options: ConfigLocksOptions) {
    this.#options = options;
  }

  async lock(name: string, options: LockOptions): Promise<HeldLock> {
    const { place, owned } = await this.#enter("locks", name, options);
    return new HeldLock(this, place, owned);
  }

  async elect(name: string, options: ElectOptions): Promise<Leadership> {
    const { place, owned } = await this.#enter("elections", name, options);
    return new Leadership(this, place, owned);
  }

  async leader<T>(name: string, options: CallOptions): Promise<Leader<T> | undefined> {
    const path = pathOf("elections", name);
    const answer = await this.#options.http.call({
      ...{ ...options, method: "GET", path, accept: ["notFound"] },
      query: this.#query,
    });
    if (answer.code !== undefined) return undefined;
    const { key, leaseId, fencingToken, value } = answer.data as Leader<T>;
    return { key, leaseId, fencingToken, value };
  }

  async proclaim(name: string, said: ConfigWriteOptions & Owned & { readonly value: unknown }): Promise<void> {
    const { value, fencingToken, key: _, ...call } = said;
    const body = `{"fencingToken":${fencingToken},"value":${jsonText(value)}}`;
    const path = pathOf("elections", name);
    await this.#options.http.call({ ...call, method: "PUT", path, body, query: this.#query });
  }

  async release(place: Place, fencingToken: number, options: ConfigWriteOptions): Promise<void> {
    const { kind, name, lease, ownsLease } = place;
    if (ownsLease) return lease.close(options);
    if (lease.isLost) return;
    const path = pathOf(kind, name);
    const body = JSON.stringify({ fencingToken });
    // Its repetition finds it released by the first attempt.
    const accept = ["notOwner"];
    await this.#options.http.call({ ...options, method: "DELETE", path, body, query: this.#query, accept });
  }

  get #query(): { namespace: string | undefined } {
    return { namespace: this.#options.namespace };
  }

  async #enter(kind: Kind, name: string, options: ElectOptions): Promise<{ place: Place; owned: Owned }> {
    const { leaseTtlSeconds = DEFAULT_LOCK_TTL_SECONDS, waitSeconds = Number.POSITIVE_INFINITY, signal } = options;
    pathOf(kind, name);
    if (typeof waitSeconds !== "number" || !(waitSeconds >= 0))
      throw new TypeError(`waitSeconds must be a number from 0 on, got ${String(waitSeconds)}`);
    const value = options.value === undefined ? undefined : jsonText(options.value);
    signal?.throwIfAborted();
    const lease = options.lease ?? (await this.#options.leases.keep(leaseTtlSeconds, { signal }));
    const place: Place = { kind, name, lease, ownsLease: options.lease === undefined };
    let step: Promise<unknown> = Promise.resolve();
    const ask = (seconds: number) => {
      const asked = this.#step(place, seconds, value);
      step = asked;
      return asked;
    };
    try {
      return { place, owned: await this.#wait(place, { waitSeconds, signal, ask }) };
    } catch (error) {
      // Not waited for: who aborts wants to go on. A lease that cannot be revoked ends by its time.
      void this.#leave(place, step).catch(() => undefined);
      throw error;
    }
  }

  /** Asks for the place again and again until it owns the name. */
  async #wait(
    { name, lease }: Place,
    how: {
      readonly waitSeconds: number;
      readonly signal: AbortSignal | undefined;
      readonly ask: (seconds: number) => Promise<Owned | { readonly refusal: JadeError }>;
    },
  ): Promise<Owned> {
    const { runtime, attemptTimeoutMs } = this.#options.http.options;
    const endMs = runtime.now() + how.waitSeconds * 1000;
    const mostSeconds = Math.min(MAX_STEP_SECONDS, attemptTimeoutMs / 2000);
    const stop = new AbortController();
    const ends = [lease.signal, ...(how.signal ? [how.signal] : [])];
    const stopped = new Promise<never>((_, reject) => {
      for (const end of ends) {
        const onEnd = () => reject(end.reason);
        if (end.aborted) onEnd();
        else end.addEventListener("abort", onEnd, { once: true, signal: stop.signal });
      }
    });
    stopped.catch(() => undefined);
    try {
      for (;;) {
        const leftSeconds = Math.max(0, (endMs - runtime.now()) / 1000);
        const answer = await Promise.race([how.ask(Math.min(mostSeconds, leftSeconds)), stopped]);
        if (!("refusal" in answer)) return answer;
        if (runtime.now() >= endMs) throw answer.refusal;
        if (answer.refusal.code === "lockNotAcquired") continue;
        await Promise.race([new Promise<void>((resolve) => runtime.after(RETRY_MS, resolve)), stopped]);
      }
    } catch (error) {
      if (!isJadeError(error) || error.code !== "lockNotAcquired") throw error;
      throw new JadeError("lockNotAcquired", `${JSON.stringify(name)} was not acquired within ${how.waitSeconds} s`, {
        status: error.status,
        details: error.details,
        cause: error,
      });
    } finally {
      stop.abort();
    }
  }

  /** One wait. What it is refused with, where asking again may help. */
  async #step(
    { kind, name, lease }: Place,
    waitSeconds: number,
    value: string | undefined,
  ): Promise<Owned | { readonly refusal: JadeError }> {
    const fields = JSON.stringify({ leaseId: lease.leaseId, waitSeconds, keepPlace: true }).slice(0, -1);
    const body = value === undefined ? `${fields}}` : `${fields},"value":${value}}`;
    try {
      const path = pathOf(kind, name);
      const { data } = await this.#options.http.call({ method: "POST", path, body, query: this.#query });
      const { key, fencingToken } = data as Owned;
      return { key, fencingToken };
    } catch (error) {
      if (!isJadeError(error) || error.code === "clientClosed") throw error;
      const mayHelp = error.retryable || error.code === "lockNotAcquired" || error.code === "unknownOutcome";
      if (mayHelp) return { refusal: error };
      throw error;
    }
  }

  /** Leaves the line; also the place that a request under way makes yet. */
  async #leave({ name, lease, ownsLease }: Place, step: Promise<unknown>): Promise<void> {
    if (ownsLease) return lease.close();
    const key = `${name}/${BigInt(lease.leaseId).toString(16)}`;
    await this.#options.deleteKey(key);
    await step.catch(() => undefined);
    await this.#options.deleteKey(key);
  }
}

function pathOf(kind: Kind, name: string): string {
  // A URL loses these two, however they are encoded.
  if (typeof name !== "string" || name === "" || name === "." || name === "..")
    throw new TypeError(`a name must be text other than "." and "..", got ${JSON.stringify(name)}`);
  return `/v1/config/${kind}/${encodeURIComponent(name)}`;
}
