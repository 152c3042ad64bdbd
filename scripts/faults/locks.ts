// One lock that clients at all instances take in turn, and the judge of who held it when.
// Guarantees: a hold lasts from the answer that gave the lock to the moment that its holder lets go or knows that it is lost.
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../../src/client/index.ts";

const NAME = "faults";
export const LEASE_TTL_SECONDS = 5;
const WAIT_SECONDS = 20;
const HOLD_MS = 100;
const PAUSE_MS = 100;

export interface Hold {
  readonly client: number;
  readonly fencingToken: number;
  readonly calledMs: number;
  readonly fromMs: number;
  readonly untilMs: number;
}

/** A time in which leases may have ended early: a clock was stepped. */
export interface Unsure {
  readonly fromMs: number;
  readonly untilMs: number;
}

/**
 * What is wrong with these holds: a token given twice, one that is not above those of who held the lock before, two who held it at once. Two
 * at once are none in `unsure` times: leases go by the owner's clock, and what protects then is the token.
 */
export function lockProblems(holds: readonly Hold[], unsure: readonly Unsure[] = []): string[] {
  const problems: string[] = [];
  const [first, ...others] = [...holds].sort((a, b) => a.fencingToken - b.fencingToken);
  if (!first) return problems;
  let [before, lastCalled, lastHeld] = [first, first, first];
  for (const hold of others) {
    const named = (other: Hold): string =>
      `the holds of the tokens ${other.fencingToken} (client ${other.client}) and ${hold.fencingToken} (client ${hold.client})`;
    const isUnsure = unsure.some(({ fromMs, untilMs }) => fromMs < lastHeld.untilMs && hold.fromMs < untilMs);
    if (hold.fencingToken === before.fencingToken) problems.push(`${named(before)}: given twice`);
    else if (hold.fromMs < lastCalled.calledMs)
      problems.push(`${named(lastCalled)}: the higher was held before the lower was asked for`);
    else if (hold.fromMs < lastHeld.untilMs && !isUnsure) problems.push(`${named(lastHeld)}: held by two at once`);
    before = hold;
    if (hold.calledMs > lastCalled.calledMs) lastCalled = hold;
    if (hold.untilMs > lastHeld.untilMs) lastHeld = hold;
  }
  return problems;
}

export class LockClients {
  readonly holds: Hold[] = [];
  readonly unsure: Unsure[] = [];
  failures = 0;

  /** Takes it again and again until `isStopped`. */
  async run(config: Config, { client, isStopped }: { readonly client: number; readonly isStopped: () => boolean }) {
    while (!isStopped()) {
      const calledMs = performance.now();
      try {
        const lock = await config.lock(NAME, { leaseTtlSeconds: LEASE_TTL_SECONDS, waitSeconds: WAIT_SECONDS });
        const fromMs = performance.now();
        let lostMs = Number.POSITIVE_INFINITY;
        lock.lost.addEventListener("abort", () => (lostMs = performance.now()));
        if (lock.lost.aborted) lostMs = fromMs;
        await sleep(HOLD_MS);
        const untilMs = Math.min(performance.now(), lostMs);
        this.holds.push({ client, fencingToken: lock.fencingToken, calledMs, fromMs, untilMs });
        await lock.release();
      } catch {
        this.failures++; // away, or lost before it was held: what was held is noted
      }
      await sleep(PAUSE_MS);
    }
  }

  /** Leases may end early by so much, from then to now and their time on. */
  clockSteppedSince(fromMs: number): void {
    this.unsure.push({ fromMs, untilMs: performance.now() + LEASE_TTL_SECONDS * 1000 });
  }

  problems(): string[] {
    return lockProblems(this.holds, this.unsure).map((problem) => `lock: ${problem}`);
  }
}
