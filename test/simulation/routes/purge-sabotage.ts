// Mistakes planted into the purge of deleted rows, to prove that the checker would see them.

import { TICKS_PER_MS } from "../../../src/replication/hybrid-clock.ts";
import type { PurgeState } from "../../../src/replication/purge-round.ts";
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

export const PURGE_PLANTED: Readonly<Record<string, PurgeSabotage>> = {
  "early purge: the grace period has not passed": { graceMs: -10_000 },
  "early purge: no repair was made": { skipsRepair: true },
  "a repair that began before the delete counts": { ended: (state, nowMs) => roundUpTo(state, nowMs, nowMs - 9000) },
  "rows are dropped before the others were told": { dropsAtOnce: true },
  "a hint does not veto": { ignoresHints: true },
  "a released replica keeps its strays": { keepsStrays: true },
};
