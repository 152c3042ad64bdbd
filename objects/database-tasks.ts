// What a task makes of a database's snapshots and archive. Pure; the shards are brought to it by the tenant's object.
import { MAX_SNAPSHOTS } from "../src/vector/database/limits.ts";
import type { DatabaseRecord, Lifecycle } from "../src/vector/database/record.ts";
import { isOpen } from "../src/vector/database/reembedding.ts";
import { begunReshard, type Resharding, type Sharding } from "../src/vector/database/resharding.ts";
import type { DatabaseChanges, DatabaseTask } from "./database-rpc.ts";
import { failure, type RpcResult } from "./tenancy-rpc.ts";

export function afterTask(held: Lifecycle, task: DatabaseTask, nowMs: number): RpcResult<Lifecycle> {
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
      return done({ snapshots: [...held.snapshots, { snapshotId, createdAtMs: nowMs }] });
    }
    case "dropSnapshot": {
      const { snapshotId } = task;
      if (!has(held, snapshotId)) return noSnapshot(snapshotId);
      const restore = held.restore?.snapshotId === snapshotId ? undefined : held.restore;
      return done({ snapshots: held.snapshots.filter((each) => each.snapshotId !== snapshotId), restore });
    }
    case "restoreSnapshot": {
      const { kind: _, ...restore } = task;
      return has(held, restore.snapshotId) ? done({ restore }) : noSnapshot(restore.snapshotId);
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
  if (lifecycle && lifecycle.snapshots.length > 0)
    return refuse("snapshots are of the shards that there are: delete them first", {
      snapshots: lifecycle.snapshots.map(({ snapshotId }) => snapshotId),
    });
  const isSame = !isLearned && sharding.numShards === shards;
  return { ok: true, value: isSame ? sharding : begunReshard(sharding, shards) };
}

/** What a database's shards, or what is done to them, do not allow. */
export function refusedTask(
  { sharding, replication }: DatabaseRecord,
  { kind }: DatabaseTask,
): RpcResult<never> | undefined {
  const { strategy, topology, reshard } = sharding;
  if (reshard && kind !== "dropSnapshot") return refusedNow(reshard);
  if (kind !== "restoreSnapshot") return undefined;
  if (topology !== undefined) {
    const message = "a database whose number of shards was changed is restored into a new one, from a snapshot's data";
    return failure("conflict", message, { topology });
  }
  if (strategy !== "hash") {
    // Its shards' snapshots are not of one moment: of a vector that moved there may be two, or none.
    const message = `a database that is sharded by ${strategy} is restored into a new one, from a snapshot's data`;
    return failure("conflict", message, { strategy });
  }
  if (replication.factor === 1) return undefined;
  const message = `a database with copies is not restored in place: set replication.factor to 1 for it, or restore into a new one`;
  return failure("conflict", message, { "replication.factor": replication.factor });
}
