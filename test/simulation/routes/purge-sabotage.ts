// Mistakes planted into the purge of deleted rows, to prove that the checker would see them.

import { TICKS_PER_MS } from "../../../src/replication/hybrid-clock.ts";
import type { PurgeState } from "../../../src/replication/purge-round.ts";
import { RangeComparison } from "../../../src/replication/range-comparison.ts";
import { RangeDigests } from "../../../src/replication/range-digests.ts";
import type { PurgeSabotage } from "./purge-run.ts";

/** A round for deletes up to this time, whatever floors were promised. */
function roundUpTo(state: PurgeState, nowMs: number, upToMs: number): PurgeState {
  const horizon = upToMs * TICKS_PER_MS;
  if (state.round || horizon <= state.horizon) return state;
  const round = {
    repairId: Number.MAX_SAFE_INTEGER,
    horizon,
    step: "settling",
    notBeforeMs: nowMs + 3000,
    marks: {},
    waitingFor: "",
  } as const;
  return { ...state, round };
}

/** Shipped methods in place of which others stand for a run. */
function inPlaceOf<T extends object, K extends keyof T>(
  prototype: T,
  name: K,
  make: (shipped: T[K]) => T[K],
): () => () => void {
  return () => {
    const shipped = prototype[name];
    prototype[name] = make(shipped);
    return () => {
      prototype[name] = shipped;
    };
  };
}

const nothing = (): void => undefined;

export const PURGE_PLANTED: Readonly<Record<string, PurgeSabotage>> = {
  "early purge: the grace period has not passed": { graceMs: -10_000 },
  "early purge: no repair was made": { skipsRepair: true },
  "a repair that began before the delete counts": { ended: (state, nowMs) => roundUpTo(state, nowMs, nowMs - 9000) },
  "rows are dropped before the others were told": { dropsAtOnce: true },
  "a hint does not veto": { ignoresHints: true },
  "a released replica keeps its strays": { keepsStrays: true },
  "a wrong digest: it says which rows there are, not what they hold": {
    patch: inPlaceOf(
      RangeDigests.prototype,
      "ofRow",
      () =>
        ({ token }) =>
          token,
    ),
  },
  "a stale digest after a purge": { patch: inPlaceOf(RangeDigests.prototype, "clear", () => nothing) },
  "a stale digest after a write": { patch: inPlaceOf(RangeDigests.prototype, "touch", () => nothing) },
  "a skipped subtree: half of the hashes are taken for equal": {
    patch: inPlaceOf(
      RangeComparison.prototype,
      "differs",
      (shipped) =>
        async function (this: RangeComparison, answers) {
          return answers.range.fromHi >= 0x8000_0000 ? false : shipped.call(this, answers);
        },
    ),
  },
};
