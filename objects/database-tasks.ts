// What a task makes of a database's snapshots and archive. Pure; the shards are brought to it by the tenant's object.
import { changedIndexes, DEFAULT_INDEX, type IndexChange, type IndexFields } from "../src/vector/database/indexes.ts";
import { begunRestore, begunSnapshot, isPlaced } from "../src/vector/database/keeping.ts";
import { type Lifecycle, NO_LIFECYCLE, type UnderWay } from "../src/vector/database/lifecycle.ts";
import { MAX_SNAPSHOTS } from "../src/vector/database/limits.ts";
import type { DatabaseRecord } from "../src/vector/database/record.ts";
import { isOpen } from "../src/vector/database/reembedding.ts";
import { begunReshard, type Resharding, type Sharding } from "../src/vector/database/resharding.ts";
import type { DatabaseChanges, DatabaseTask } from "./database-rpc.ts";
import { failure, type RpcResult } from "./tenancy-rpc.ts";

export function afterTask(record: DatabaseRecord, task: DatabaseTask, nowMs: number): RpcResult<Lifecycle> {
  const { lifecycle: held = NO_LIFECYCLE, sharding } = record;
  const done = (value: Partial<Lifecycle>): RpcResult<Lifecycle> => ({ ok: true, value: { ...held, ...value } });
  if (held.isArchived && task.kind !== "unarchive")
    return failure("conflict", "the database is archived; restore it first", { state: "archived" });
  switch (task.kind) {
    case "archive":
    case "unarchive":
      return done({ isArchived: task.kind === "archive", damage: undefined });
    case "takeSnapshot": {
      const { snapshotId } = task;
      if (has(held, snapshotId)) return failure("alreadyExists", `there is a snapshot "${snapshotId}"`);
      const used = held.snapshots.length;
      if (used >= MAX_SNAPSHOTS) {
        const details = { quota: "snapshots", used, limit: MAX_SNAPSHOTS };
        return failure("quotaExceeded", `the database has ${used} snapshots, which is the limit`, details);
      }
      const snapshot = { snapshotId, createdAtMs: nowMs };
      if (isPlaced(sharding)) return { ok: true, value: begunSnapshot(held, snapshot) };
      return done({ snapshots: [...held.snapshots, snapshot] });
    }
    case "dropSnapshot": {
      const { snapshotId } = task;
      if (!has(held, snapshotId)) return noSnapshot(snapshotId);
      const restore = held.restore?.snapshotId === snapshotId ? undefined : held.restore;
      return done({ snapshots: held.snapshots.filter((each) => each.snapshotId !== snapshotId), restore });
    }
    case "restoreSnapshot": {
      const { kind: _, ...restore } = task;
      const snapshot = held.snapshots.find(({ snapshotId }) => snapshotId === restore.snapshotId);
      if (!snapshot) return noSnapshot(restore.snapshotId);
      if (!isPlaced(sharding)) return done({ restore });
      if (snapshot.isSettled !== undefined) return { ok: true, value: begunRestore(held, restore) };
      const message =
        "the snapshot was taken by an earlier version, while vectors may have moved: restore it into a new database, from its data";
      return failure("conflict", message, { snapshotId: restore.snapshotId });
    }
    default:
      return task satisfies never;
  }
}

/** A restore from the archive that met damage. Undefined = it did not. */
export function damageOf({ lifecycle }: DatabaseRecord): RpcResult<never> | undefined {
  const { damage = [] } = lifecycle ?? {};
  if (damage.length === 0) return undefined;
  const named = damage.map(({ shard, message }) => `shard ${shard}: ${message}`).join("; ");
  const message = `the archive is damaged, and the database stays archived as it was. Put back what is named (from a backup of vectors.archiveStore or of the shard), and restore again. ${named}`;
  return failure("dataCorrupt", message, { state: "archived", damage });
}

function has({ snapshots }: Lifecycle, id: string): boolean {
  return snapshots.some(({ snapshotId }) => snapshotId === id);
}

function noSnapshot(id: string): RpcResult<never> {
  return failure("notFound", `there is no snapshot "${id}"`);
}

const EXPIRE_FIELD = "retentionPolicy.archiveOnExpire";
/** Shards that go would take with them what they archived. */
export const KEEPS_EXPIRED = `expired vectors are archived in the database's shards: set ${EXPIRE_FIELD} to false for it`;

/** What may not be changed while shards come and go. */
export function refusedChange(
  { sharding, reembedding }: DatabaseRecord,
  { retentionPolicy }: DatabaseChanges,
): RpcResult<never> | undefined {
  if (!retentionPolicy?.archiveOnExpire) return undefined;
  if (sharding.reshard) return refusedNow(sharding.reshard);
  if (!isOpen(reembedding)) return undefined;
  return failure("conflict", "the database's vectors are being made anew; cancel that, or wait for its end", {
    field: EXPIRE_FIELD,
  });
}

/** What cannot be done meanwhile. A snapshot of a database whose rows are placed takes some calls of its shards. */
export function refusedMeanwhile({ kind }: UnderWay): RpcResult<never> {
  if (kind === "snapshot")
    return failure("unavailable", "a snapshot of the database is being taken; try again in a moment");
  return failure("conflict", "the database is being restored; try again when that is done", { state: "restoring" });
}

/** What cannot be done while the number of shards changes. */
export function refusedNow({ from, to }: Resharding): RpcResult<never> {
  return failure("conflict", `the database goes from ${from} to ${to} shards; try again when that is done`, {
    from,
    to,
  });
}

/** `anew`: as many shards, where rows belong is learned again; `back`: the change under way is cancelled. */
export function reshardOf(record: DatabaseRecord, asked: number | "anew" | "back"): RpcResult<Sharding> {
  const { sharding, lifecycle, reembedding } = record;
  const { reshard } = sharding;
  if (asked === "back") {
    if (!reshard || reshard.phase === "ending")
      return failure("conflict", "no change of the number of shards is under way");
    // Cancelled again: it is on its way back.
    return { ok: true, value: reshard.isCancelled ? sharding : begunReshard(sharding, reshard.from, true) };
  }
  const isLearned = sharding.strategy !== "hash";
  if (asked === "anew" && !isLearned) {
    const message = "is needed: by a hash vectors are spread evenly among as many";
    return failure("invalidRequest", `shards ${message}`, { issues: [{ path: "shards", message }] });
  }
  const shards = asked === "anew" ? (reshard?.to ?? sharding.numShards) : asked;
  if (reshard) return reshard.to === shards ? { ok: true, value: sharding } : refusedNow(reshard);
  const refuse = (message: string, details: object): RpcResult<never> => failure("conflict", message, { ...details });
  if (record.retentionPolicy?.archiveOnExpire) return refuse(KEEPS_EXPIRED, { field: EXPIRE_FIELD });
  if (isOpen(reembedding))
    return refuse("the database's vectors are being made anew; cancel that, or wait for its end", {});
  if (lifecycle?.isArchived) return refuse("the database is archived; restore it first", { state: "archived" });
  if (lifecycle?.underWay) return refusedMeanwhile(lifecycle.underWay);
  if (lifecycle && lifecycle.snapshots.length > 0)
    return refuse("snapshots are of the shards that there are: delete them first", {
      snapshots: lifecycle.snapshots.map(({ snapshotId }) => snapshotId),
    });
  const isSame = !isLearned && sharding.numShards === shards;
  return { ok: true, value: isSame ? sharding : begunReshard(sharding, shards) };
}

/** What is done to a database's shards does not allow it. */
export function refusedTask(
  { sharding: { reshard }, lifecycle, reembedding }: DatabaseRecord,
  { kind }: DatabaseTask,
): RpcResult<never> | undefined {
  if (isOpen(reembedding))
    return failure("conflict", "the database's vectors are being made anew; cancel that, or wait for its end");
  const { underWay } = lifecycle ?? {};
  // Another restore takes the place of one that meets damage.
  if (underWay && !(underWay.kind === "restore" && kind === "restoreSnapshot")) return refusedMeanwhile(underWay);
  return reshard && kind !== "dropSnapshot" ? refusedNow(reshard) : undefined;
}

/** Of a database's first index. */
export const DEFAULT_CHANGE = { kind: "update", indexId: DEFAULT_INDEX, rebuild: false } as const;

export function indexed(record: DatabaseRecord, change: IndexChange, nowMs: number): RpcResult<IndexFields> {
  const fields = changedIndexes(record, change, nowMs);
  return "refused" in fields ? failure(fields.refused, fields.message) : { ok: true, value: fields };
}
