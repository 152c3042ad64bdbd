// The zod schemas of /v1/databases/…/indexes.
import { z } from "@hono/zod-openapi";
import { reductionStatusShape } from "./database-reduction.ts";
import { databaseId, databaseParams, indexParameters } from "./database-schemas.ts";

const kind = z.enum(["FLAT", "HNSW", "IVF", "LSH"]);
const indexId = databaseId.openapi({ example: "by-lists" });

export const indexParams = z.strictObject({ ...databaseParams.shape, id: z.string() });

export const newIndexBody = z.strictObject({
  indexId: indexId.refine((id) => !kind.options.includes(id as never), "must not be the name of a kind"),
  indexType: kind,
  indexParameters: indexParameters.optional(),
});

export const indexChangesBody = z.strictObject({
  indexParameters: indexParameters
    .optional()
    .openapi({ description: "Those that are given replace the old ones; efSearch and probes need no new build." }),
  rebuild: z.boolean().default(false).openapi({ description: "Build it anew though nothing else changes." }),
});

const number = z.number();
export const indexShape = z.object({
  indexId: z.string(),
  isDefault: z.boolean(),
  indexType: kind,
  indexParameters,
  state: z.enum(["building", "ready", "degraded"]).openapi({
    description:
      "building: segments that lack it are searched by what they had before. degraded: some must do without it; `missing` says why.",
  }),
  progress: number.openapi({ description: "0 to 1, by rows." }),
  rows: number,
  indexedRows: number,
  memoryBytes: number,
  reduction: reductionStatusShape.optional().openapi({ description: "Where the database has one." }),
  quarantinedRows: number.openapi({
    description: "Vectors that it does not hold: their stored values are damaged, or cannot be compared.",
  }),
  quarantined: z
    .array(z.object({ shard: number, segment: number, row: number, id: z.string().nullable() }))
    .openapi({ description: "The first hundred of each shard." }),
  missing: z.array(z.object({ shard: number, segment: number, why: z.string() })),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
});
export const indexesShape = z.object({ items: z.array(indexShape) });
export const deletedIndexShape = z.object({ indexId: z.string() });
