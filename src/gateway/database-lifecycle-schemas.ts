// The zod schemas of /v1/databases/…/snapshots and …/restore.
import { z } from "@hono/zod-openapi";
import { databaseId, databaseParams, databaseShape } from "./database-schemas.ts";

export const snapshotId = databaseId.openapi({ example: "snap_1" });
export const snapshotParams = z.strictObject({ ...databaseParams.shape, snapshot: snapshotId });
export const newSnapshotBody = z.strictObject({
  snapshotId: snapshotId.optional().openapi({ description: "Default: one is made." }),
});
export const restoreBody = z.strictObject({
  snapshotId: snapshotId.optional().openapi({ description: "Default: the database is brought back from its archive." }),
  withoutDamaged: z.literal(true).optional().openapi({
    description: "What of the snapshot is damaged is left out, and told as `missing`; else it is refused.",
  }),
});

const missingShape = z.object({
  rows: z.number(),
  parts: z.array(
    z.object({
      shard: z.number(),
      part: z.number().openapi({ description: "Its place in the shard's snapshot." }),
      kind: z.enum(["segment", "rows"]),
      rows: z.number().nullable().openapi({ description: "Null: not even that can be read." }),
      message: z.string(),
    }),
  ),
});
export const restoredDatabaseShape = databaseShape.extend({ missing: missingShape.optional() });

const listed = { snapshotId: z.string(), createdAt: z.iso.datetime() };
export const snapshotsShape = z.object({ items: z.array(z.object(listed)) });
export const snapshotShape = z.object({
  ...listed,
  rows: z.number(),
  shards: z.array(z.object({ shard: z.number(), revision: z.number(), rows: z.number(), bytes: z.number() })),
});
export const droppedShape = z.object({ snapshotId: z.string() });
export const restoredShape = z.object({ databaseId: z.string(), rows: z.number() });
