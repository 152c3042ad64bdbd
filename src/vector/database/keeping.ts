// Snapshots of a database whose rows are placed (by ranges, centroids, or a hash among another number of shards than at creation), and its way back to
// one: in phases, each of which every shard must have reached before the next begins. Pure.
// Snapshot. Holding: no vector leaves its shard. Taking: each shard takes it. So each vector is in the snapshot of one shard.
// Restore. Holding: nothing is written, and what was begun is over. Rewinding: each shard goes back to its rows of the snapshot, and forgets where the rows
// of its ids are. Placing: the shards tell the homes of their rows where they are. Settling, where rows were not where they belong when the snapshot
// was taken: they are moved there. Then writes go on.
import type { ShardLifecycle } from "../shard/shard-config.ts";
import type { KeptSnapshot, Lifecycle, RestoreOfAll, UnderWay } from "./lifecycle.ts";
import type { Sharding } from "./resharding.ts";

/** Rows may be in other shards than their ids say. */
export function isPlaced({ strategy, topology }: Sharding): boolean {
  return strategy !== "hash" || topology !== undefined;
}

/** Each phase has a number of its own: a shard that hears of one late does not go back to it. */
function inPhase(held: Lifecycle, underWay: UnderWay | undefined): Lifecycle {
  return { ...held, underWay, step: (held.step ?? 0) + 1 };
}

export function begunSnapshot(held: Lifecycle, snapshot: KeptSnapshot): Lifecycle {
  return inPhase(held, { kind: "snapshot", phase: "holding", snapshot });
}

/** Calls between shards that began before it are refused from here on, however late they come: the era. */
export function begunRestore(held: Lifecycle, restore: RestoreOfAll): Lifecycle {
  const begun = inPhase({ ...held, restore }, { kind: "restore", phase: "holding" });
  return { ...begun, era: begun.step };
}

/** Every shard is where the phase says. `isSettled`: all rows are where they belong, and none moves. */
export function nextKeeping(held: Lifecycle, underWay: UnderWay, isSettled: boolean): Lifecycle {
  if (underWay.kind === "snapshot") {
    const { phase, snapshot } = underWay;
    if (phase === "taking") return inPhase(held, undefined);
    const taken = { ...snapshot, isSettled };
    return inPhase({ ...held, snapshots: [...held.snapshots, taken] }, { ...underWay, phase: "taking" });
  }
  const { phase } = underWay;
  switch (phase) {
    case "holding":
      return inPhase(held, { ...underWay, phase: "rewinding" });
    case "rewinding":
      return inPhase(held, { ...underWay, phase: "placing" });
    case "placing":
      return inPhase(held, isUnsettled(held) ? { ...underWay, phase: "settling" } : undefined);
    case "settling":
      return inPhase(held, undefined);
    default:
      return phase satisfies never;
  }
}

/** The snapshot is of a time when rows were not where they belong yet. */
function isUnsettled({ snapshots, restore }: Lifecycle): boolean {
  return snapshots.some(({ snapshotId, isSettled }) => snapshotId === restore?.snapshotId && isSettled === false);
}

/** What shards are told of it. */
export function toldOf(held: Lifecycle): Pick<ShardLifecycle, "holds" | "places" | "step" | "era" | "isUnsettled"> {
  const { underWay, step, era, restore } = held;
  if (step === undefined) return {};
  const common = { step, ...(era !== undefined && { era }) };
  if (!underWay) return common;
  if (underWay.kind === "snapshot") return { ...common, holds: "moves" };
  const { phase } = underWay;
  if (phase === "settling") return { ...common, holds: "writes" };
  const places = phase === "placing" ? restore?.token : undefined;
  return {
    ...common,
    holds: "all",
    ...(places && { places }),
    ...(isUnsettled(held) && { isUnsettled: true as const }),
  };
}

/** In this phase shards do not go back yet. */
export function isStillHolding({ underWay }: Lifecycle): boolean {
  return underWay?.kind === "restore" && underWay.phase === "holding";
}
