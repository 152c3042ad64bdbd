// Waiting in line for a lock or an election.
// Guarantees: a deletion wakes only who stands directly behind the deleted key, and the place whose own key it was; a wait ends by its time;
// who gives up leaves the line, unless the place is to be kept. Must not: decide whose turn it is.
import type { AcquireRequest, BinaryKey } from "../wire/config.ts";
import { ConfigRefusal } from "./failure.ts";
import type { Change } from "./keyspace.ts";
import { leaseNotFound } from "./keyspace.ts";
import { MAX_LOCK_WAITS } from "./limits.ts";
import { type Locks, type Place, tokenOf } from "./locks.ts";

export interface LockWaitsOptions {
  readonly locks: Locks;
  /** Runs a job in a turn of the keyspace; resolves when what it wrote is durable. */
  readonly inTurn: <T>(job: () => T) => Promise<T>;
  /** Calls back once after `ms`; the result cancels it. */
  readonly after: (ms: number, run: () => void) => () => void;
  readonly now: () => number;
}

export class LockWaits {
  readonly #options: LockWaitsOptions;
  /** Key → who must look again when it is deleted. */
  readonly #waiting = new Map<BinaryKey, Set<() => void>>();
  #count = 0;
  wakesTotal = 0;

  constructor(options: LockWaitsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#count;
  }

  /** Every change of the keyspace passes here, in the turn that made it. */
  onChange(changes: readonly Change[]): void {
    for (const { record } of changes) {
      if (record.type !== "delete") continue;
      const waiting = this.#waiting.get(record.key);
      if (!waiting) continue;
      this.#waiting.delete(record.key);
      for (const wake of waiting) wake();
    }
  }

  /** Resolves with the place once it owns the name. Throws `lockNotAcquired` when the time is over, and what ended the place. */
  async acquire(request: AcquireRequest): Promise<Place> {
    const { locks, inTurn, now } = this.#options;
    const endMs = now() + request.waitMs;
    if (request.waitMs > 0 && this.#count >= MAX_LOCK_WAITS) {
      throw new ConfigRefusal("overloaded", `${MAX_LOCK_WAITS} callers wait for locks, which is the limit`, {
        limit: MAX_LOCK_WAITS,
      });
    }
    this.#count++;
    try {
      const place = await inTurn(() => locks.enter(request));
      if (!place) throw this.#notAcquired(request);
      for (;;) {
        const turn = locks.turnOf(place);
        if (turn.kind === "owner") return place;
        if (turn.kind === "lost") throw leaseNotFound(request.lease);
        const leftMs = endMs - now();
        if (leftMs <= 0) {
          if (!request.keepPlace) await inTurn(() => locks.leave(place));
          throw this.#notAcquired(request);
        }
        await this.#woken([turn.key, place.key], leftMs);
      }
    } finally {
      this.#count--;
    }
  }

  #notAcquired({ name, waitMs }: AcquireRequest): ConfigRefusal {
    const owner = this.#options.locks.owner(name);
    const message = waitMs > 0 ? `not acquired within ${waitMs / 1000} s` : "another holds it";
    return new ConfigRefusal("lockNotAcquired", message, tokenOf(owner));
  }

  /** Resolves when one of the keys is deleted, or the time is over. */
  #woken(keys: readonly BinaryKey[], ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        for (const key of keys) this.#forget(key, wake);
        resolve();
      };
      const wake = (): void => {
        this.wakesTotal++;
        end();
      };
      const cancel = this.#options.after(ms, end);
      for (const key of keys) {
        const held = this.#waiting.get(key);
        if (held) held.add(wake);
        else this.#waiting.set(key, new Set([wake]));
      }
    });
  }

  #forget(key: BinaryKey, wake: () => void): void {
    const held = this.#waiting.get(key);
    if (!held) return;
    held.delete(wake);
    if (held.size === 0) this.#waiting.delete(key);
  }
}
