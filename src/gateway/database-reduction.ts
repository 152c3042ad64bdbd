// What indexes hold instead of whole vectors: what a request may say of it.
// Guarantees: every refusal names its field. Must not: do I/O.
import { z } from "@hono/zod-openapi";
import type { IndexParameters } from "../vector/database/indexes.ts";
import type { DatabaseRecord } from "../vector/database/record.ts";
import { MAX_DIMENSION } from "../vector/index/limits.ts";
import { SMALL_SEGMENT_ROWS } from "../vector/shard/limits.ts";
import { invalidRequest } from "./issues.ts";

export const reductionBody = z
  .strictObject({
    kind: z.enum(["pca", "random"]).openapi({
      description: "pca: the axes of greatest variance of each segment's vectors. random: a projection from a seed.",
    }),
    dimensions: z
      .int("must be a whole number")
      .min(1)
      .max(MAX_DIMENSION - 1)
      .openapi({ description: "Values of a reduced vector: fewer than vectorDimension." }),
  })
  .openapi({
    description: `Indexes hold vectors of fewer values; candidates are measured again on the full ones, which are kept. Segments of fewer than ${SMALL_SEGMENT_ROWS} vectors hold whole ones. For ever.`,
  });

export const reductionStatusShape = z.object({
  kind: z.enum(["pca", "random"]),
  dimensions: z.number(),
  reducedRows: z.number().openapi({ description: "Vectors that the index holds reduced." }),
  keptVariance: z.number().nullable().openapi({
    description: "pca: the share of the variance that is left. null: none is reduced yet, or it is random.",
  }),
  recall: z.number().nullable().openapi({
    description:
      "Of the ten nearest of 16 vectors a segment the share that the index finds at default effort, measured when it was built, with the re-rank. null: not measured yet.",
  }),
  savedBytes: z.number().openapi({ description: "Of memory, against an index of whole vectors." }),
  savedShare: z.number(),
});

/** To be compared, and shown. */
export function reductionText(reduction: DatabaseRecord["reduction"]): string | undefined {
  return reduction && `${reduction.kind} to ${reduction.dimensions}`;
}

export function requireReduction({
  reduction,
  vectorDimension,
}: Pick<DatabaseRecord, "reduction" | "vectorDimension">): void {
  if (!reduction || reduction.dimensions < vectorDimension) return;
  const message = `must be less than vectorDimension, which is ${vectorDimension}`;
  const limit = vectorDimension - 1;
  throw invalidRequest([{ path: "reduction.dimensions", message, value: reduction.dimensions, limit }]);
}

/** FLAT without a quantizer measures the full vectors themselves: there is nothing to reduce. */
export function requireReducible(
  { indexType, reduction }: Pick<DatabaseRecord, "indexType" | "reduction">,
  { quantizer }: Pick<IndexParameters, "quantizer">,
): void {
  if (!reduction || indexType !== "FLAT" || quantizer !== "none") return;
  const message = "none cannot be had with FLAT where the database has a reduction: it would scan the full vectors";
  throw invalidRequest([
    { path: "indexParameters.quantizer", message, value: quantizer, limit: ["int8", "rabitq", "pq"] },
  ]);
}
