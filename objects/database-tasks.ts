// What a task makes of a database's snapshots and archive. Pure; the shards are brought to it by the tenant's object.
import { MAX_SNAPSHOTS } from "../src/vector/database/limits.ts";
import type { Lifecycle } from "../src/vector/database/record.ts";
import type { DatabaseTask } from "./database-rpc.ts";
import { failure, type RpcResult } from "./tenancy-rpc.ts";

export function afterTask(held: Lifecycle, task: DatabaseTask, nowMs: number): RpcResult<Lifecycle> {
  const done = (value: Partial<Lifecycle>): RpcResult<Lifecycle> => ({ ok: true, value: { ...held, ...value } });
  if (held.isArchived && task.kind !== "unarchive")
    return failure("conflict", "the database is archived; restore it first", { state: "archived" });
  switch (task.kind) {
    case "archive":
    case "unarchive":
      return done({ isArchived: task.kind === "archive" });
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
      const { snapshotId, token } = task;
      return has(held, snapshotId) ? done({ restore: { snapshotId, token } }) : noSnapshot(snapshotId);
    }
    default:
      return task satisfies never;
  }
}

function has({ snapshots }: Lifecycle, id: string): boolean {
  return snapshots.some(({ snapshotId }) => snapshotId === id);
}

function noSnapshot(id: string): RpcResult<never> {
  return failure("notFound", `there is no snapshot "${id}"`);
}
