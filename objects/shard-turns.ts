// The writes of a shard of vectors: those that came since the last turn share one, and one commit for those that ask for it.
// Guarantees: in the order they came; a turn takes a bounded part of them, so that searches go between; small turns wait for nothing but
// those before them. Must not: decide anything about rows.
import type { Logger } from "../src/telemetry/logger.ts";
import { AwayBlocks } from "../src/vector/segment/away.ts";
import type { BehindSearches } from "../src/vector/shard/behind-searches.ts";
import { LOG_DELAY_MS, MAX_UNLOGGED_BYTES, SMALL_TURN_BYTES, TURN_BYTES } from "../src/vector/shard/limits.ts";
import { bytesOf } from "../src/vector/shard/request-fields.ts";
import type { Ran, ShardDesk } from "../src/vector/shard/shard-desk.ts";
import type { VectorCall, VectorFailure } from "../src/wire/vector.ts";
import { HELD, MAX_WAITING_WRITES, QUEUE_FULL } from "./shard-refusals.ts";

export interface ShardTurnsOptions {
  readonly log: Logger;
  readonly behind: BehindSearches;
  /** Undefined = there is no shard; then `absent` says why. */
  readonly desk: () => ShardDesk | undefined;
  readonly absent: () => VectorFailure;
  readonly isAlwaysSync: () => boolean;
  /** All are refused, as not done. */
  readonly holdsWrites: () => boolean;
  readonly onTurn: () => void;
  /** Half a turn may be in memory: what is stored is the truth. */
  readonly onFailed: (error: unknown) => void;
}

interface Waiting {
  readonly call: VectorCall;
  readonly bytes: number;
  readonly done: (ran: Ran) => void;
  readonly fail: (error: unknown) => void;
}

export class ShardTurns {
  readonly #options: ShardTurnsOptions;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #isDue = false;
  #logTimer: ReturnType<typeof setTimeout> | undefined;
  #logDueMs = 0;

  constructor(options: ShardTurnsOptions) {
    this.#options = options;
  }

  /** @throws AwayBlocks: nothing was done; others do not wait for it */
  async run(call: VectorCall): Promise<Ran> {
    if (this.#waiting.length >= MAX_WAITING_WRITES) return { answer: QUEUE_FULL, durability: "sync" };
    const { promise, resolve, reject } = Promise.withResolvers<Ran>();
    const bytes = bytesOf(call.request);
    this.#waiting.push({ call, bytes, done: resolve, fail: reject });
    this.#waitingBytes += bytes;
    this.#soon();
    return await promise;
  }

  #soon(): void {
    if (this.#isDue || this.#waiting.length === 0) return;
    this.#isDue = true;
    if (this.#waitingBytes <= SMALL_TURN_BYTES) setTimeout(() => this.#turn(), 0);
    else this.#options.behind.add("write", () => this.#turn());
  }

  /** The first of those that wait, as many as a turn may take. */
  #take(): readonly Waiting[] {
    let bytes = 0;
    const beyond = this.#waiting.findIndex((waiting, at) => {
      bytes += waiting.bytes;
      return at > 0 && bytes > TURN_BYTES;
    });
    const taken = this.#waiting.splice(0, beyond < 0 ? this.#waiting.length : beyond);
    for (const waiting of taken) this.#waitingBytes -= waiting.bytes;
    return taken;
  }

  #turn(): void {
    this.#isDue = false;
    const { desk: deskNow, absent, isAlwaysSync, onTurn, onFailed } = this.#options;
    const taken = this.#take();
    this.#soon();
    const desk = deskNow();
    if (!desk) {
      for (const { done } of taken) done({ answer: absent(), durability: "sync" });
      return;
    }
    try {
      const held: Ran | undefined = this.#options.holdsWrites() ? { answer: HELD, durability: "eventual" } : undefined;
      const ran = taken.map(({ call }) => held ?? unlessAway(() => desk.run(call)));
      const did = ran.filter((each): each is Ran => !(each instanceof AwayBlocks));
      const isSync = isAlwaysSync() || did.some(({ durability }) => durability === "sync");
      if (isSync || desk.store.unloggedBytes >= MAX_UNLOGGED_BYTES) desk.store.endTurn();
      else this.#logLater(did);
      for (const [at, { done, fail }] of taken.entries()) {
        const one = ran[at]!;
        if (one instanceof AwayBlocks) fail(one);
        else done(one);
      }
    } catch (error) {
      for (const { fail } of [...taken, ...this.#waiting]) fail(error);
      onFailed(error);
    }
    onTurn();
  }

  /** All that waits, at once. */
  flush(): void {
    while (this.#waiting.length > 0) this.#turn();
  }

  /** The earliest promise counts: an eventual write that waits must not hold up a periodic one. */
  #logLater(ran: readonly Ran[]): void {
    const isPeriodic = ran.some(({ durability }) => durability === "periodic");
    const delayMs = LOG_DELAY_MS[isPeriodic ? "periodic" : "eventual"];
    const dueMs = Date.now() + delayMs;
    if (this.#logTimer !== undefined && this.#logDueMs <= dueMs) return;
    if (this.#logTimer !== undefined) clearTimeout(this.#logTimer);
    this.#logDueMs = dueMs;
    this.#logTimer = setTimeout(() => this.#logNow(), delayMs);
  }

  #logNow(): void {
    this.#logTimer = undefined;
    try {
      this.#options.desk()?.store.endTurn();
    } catch (error) {
      // What was acknowledged is still in memory: it is tried again, and told.
      this.#options.log.error("writes of a vector shard could not be logged; tried again", {}, error);
      this.#logLater([]);
    }
  }

  /** There is no shard any more, or not in memory. */
  closed(): void {
    if (this.#logTimer !== undefined) clearTimeout(this.#logTimer);
    this.#logTimer = undefined;
  }
}

function unlessAway(run: () => Ran): Ran | AwayBlocks {
  try {
    return run();
  } catch (error) {
    if (error instanceof AwayBlocks) return error;
    throw error;
  }
}
