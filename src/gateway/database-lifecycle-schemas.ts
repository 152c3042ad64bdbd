// The zod schemas of /v1/databases/…/snapshots and …/restore.
import { z } from "@hono/zod-openapi";
import { databaseId, databaseParams } from "./database-schemas.ts";

export const snapshotId = databaseId.openapi({ example: "snap_1" });
export const snapshotParams = z.strictObject({ ...databaseParams.shape, snapshot: snapshotId });
export const newSnapshotBody = z.strictObject({
  snapshotId: snapshotId.optional().openapi({ description: "Default: one is made." }),
});
export const restoreBody = z.strictObject({
  snapshotId: snapshotId.optional().openapi({ description: "Default: the database is brought back from its archive." }),
});

const listed = { snapshotId: z.string(), createdAt: z.iso.datetime() };
export const snapshotsShape = z.object({ items: z.array(z.object(listed)) });
export const snapshotShape = z.object({
  ...listed,
  rows: z.number(),
  shards: z.array(z.object({ shard: z.number(), revision: z.number(), rows: z.number(), bytes: z.number() })),
});
export const droppedShape = z.object({ snapshotId: z.string() });
export const restoredShape = z.object({ databaseId: z.string(), rows: z.number() });
