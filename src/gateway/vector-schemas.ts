// The zod schemas of /v1/databases/…/vectors and …/search. Values of vectors are judged by the shards, which know the dimension.
import { z } from "@hono/zod-openapi";
import { MAX_SHARDS } from "../vector/database/limits.ts";
import { MAX_DIMENSION, MAX_EF } from "../vector/index/limits.ts";
import { MAX_METADATA_BYTES } from "../vector/metadata/limits.ts";
import { MAX_ID_BYTES } from "../vector/segment/limits.ts";
import { MAX_PAGE_ROWS, MAX_TOP_K } from "../vector/shard/limits.ts";
import { DURABILITIES } from "../wire/vector.ts";
import { namespaceName } from "./config-schemas.ts";
import { pageQuery } from "./cursor.ts";
import { databaseId, databaseParams, databaseQuery } from "./database-schemas.ts";
import { imageField, tensorField } from "./embed-items.ts";
import { MAX_BATCH_QUERIES, MAX_BATCH_VECTORS, SHARD_DEADLINE_MS } from "./limits.ts";
import { VECTOR_CONSISTENCIES } from "./vector-reading.ts";

const whole = (least: number, most: number) => z.int("must be a whole number").min(least).max(most);
const namespace = namespaceName.default("default");
const vectorId = z
  .string()
  .min(1)
  // As bytes half a surrogate pair would be another id.
  .refine((id) => id.isWellFormed(), "must be valid Unicode")
  .openapi({ description: `1 to ${MAX_ID_BYTES} bytes of UTF-8.`, example: "vec_1" });
/** Looked at once, when they become float32 (vector-fields.ts): a schema takes as long for them as a search does for all else. */
const values = z.unknown().openapi({
  ...{ type: "array", items: { type: "number" }, minItems: 1, maxItems: MAX_DIMENSION },
  description: "As many numbers as the database has dimensions; kept as float32.",
  example: [0.12, 0.98, -0.34],
});
const metadata = z.record(z.string(), z.unknown()).openapi({
  description: `A JSON object of at most ${MAX_METADATA_BYTES} bytes; comes back byte for byte.`,
});
const text = z.string().openapi({
  description: "Instead of numbers: the database's model for texts makes them. The text itself is not stored.",
  example: "a cup of tea",
});
const durability = z
  .enum(DURABILITIES as ["sync", "periodic", "eventual"])
  .optional()
  .openapi({
    description: "When this write is acknowledged: on disk, or before it. Default: the database's.",
  });

/** What the specification's record of a vector holds besides: the server's to say, so it is taken and not heard. */
const shownOnly = {
  index: z.record(z.string(), z.unknown()).optional(),
  embeddingModel: z.record(z.string(), z.unknown()).optional(),
  shard: z.string().max(100).optional(),
  replicas: z.array(z.string().max(100)).max(100).optional(),
  version: z.int().optional(),
  revision: z.int().optional(),
  deleted: z.literal(false).optional(),
  createdAt: z.string().max(40).optional(),
  updatedAt: z.string().max(40).optional(),
};

export const vectorParams = z.strictObject({ ...databaseParams.shape, id: z.string() });
/** An id that no path can hold: `.`, `..`, `count`. */
export const vectorIdQuery = databaseQuery.extend({ id: vectorId });
export const vectorBody = z.strictObject({
  id: vectorId.optional().openapi({ description: "Default: one is made." }),
  values: values.optional(),
  text: text.optional(),
  image: imageField.optional(),
  tensor: tensorField.optional(),
  metadata: metadata.optional(),
  durability,
  ...shownOnly,
});
/** One of many: its numbers are looked at once, when they become float32. */
export const batchItem = z.strictObject({
  id: vectorId.optional(),
  values: z.unknown().optional(),
  text: text.optional(),
  image: imageField.optional(),
  tensor: tensorField.optional(),
  metadata: metadata.optional(),
  ...shownOnly,
});
export const changeBody = z.strictObject({
  values: values.optional(),
  text: text.optional(),
  image: imageField.optional(),
  tensor: tensorField.optional(),
  metadata: metadata.optional(),
  durability,
  id: vectorId.optional(),
  ...shownOnly,
});
export const deleteQuery = z.strictObject({ namespace, durability });
export const deleteIdQuery = deleteQuery.extend({ id: vectorId });
export const batchQuery = z.strictObject({ namespace, durability, atomic: z.boolean().optional() });
export const batchBody = z.strictObject({
  vectors: z
    .array(z.unknown())
    .min(1)
    .max(MAX_BATCH_VECTORS)
    .openapi({
      type: "array",
      items: { type: "object", properties: { id: {}, values: {}, text: {}, image: {}, tensor: {}, metadata: {} } },
    }),
  atomic: z.boolean().optional().openapi({ description: "All or nothing; all of one shard." }),
  durability,
});
const filters = z.record(z.string(), z.unknown()).openapi({
  description: "What metadata must be: docs/vectors.md has the language.",
  example: { category: "report", score: { $gte: 0.8 } },
});
export const deleteBody = z.strictObject({
  ids: z.array(vectorId).min(1).max(MAX_PAGE_ROWS).optional(),
  filters: filters.optional(),
  durability,
});

const include = { includeMetadata: z.boolean().default(false), includeValues: z.boolean().default(false) };
const filterText = z.string().optional().openapi({ description: "Filters as JSON text." });
const consistency = z
  .enum(VECTOR_CONSISTENCIES as ["strong", "causal", "eventual"])
  .optional()
  .openapi({
    description:
      "strong (default): every acknowledged write. causal: any copy that has what the request's jade-vector-token names. eventual: any copy that lacks less than the database's maxLagMs.",
  });
const reading = { consistency };
export const getQuery = z.strictObject({ ...databaseQuery.shape, ...reading });
export const getIdQuery = getQuery.extend({ id: vectorId });
export const listQuery = z.strictObject({ namespace, limit: whole(1, 1000).default(100), filters: filterText }).extend({
  cursor: pageQuery.shape.cursor,
  ...include,
  ...reading,
});
export const countQuery = z.strictObject({ ...databaseQuery.shape, filters: filterText, ...reading });

const ask = {
  topK: whole(1, MAX_TOP_K).optional().openapi({
    description: "Default: 10. With a threshold and without topK all that meet it are given, page by page.",
  }),
  threshold: z.number().optional().openapi({ description: "Least similarity; for euclidean the greatest distance." }),
  limit: whole(1, MAX_TOP_K)
    .optional()
    .openapi({ description: `A threshold without topK: results of a page. Default: ${MAX_TOP_K}.` }),
  cursor: z
    .string()
    .max(2000)
    .optional()
    .openapi({ description: "A threshold without topK: the cursor of the page before." }),
  filters: filters.optional(),
  index: z.string().min(1).max(100).optional().openapi({ description: "An index by its name or type." }),
  ef: whole(1, MAX_EF).optional().openapi({ description: "HNSW: candidates kept on the way." }),
  probes: whole(1, 1_000_000).optional().openapi({ description: "IVF, LSH: lists or buckets read." }),
  shardProbes: whole(1, MAX_SHARDS)
    .optional()
    .openapi({ description: "Shards asked, where vectors are sharded by centroids." }),
  rerank: whole(1, MAX_TOP_K).optional().openapi({ description: "Candidates measured on the full vectors." }),
  ...include,
  explain: z.boolean().default(false).openapi({ description: "Tells what each segment of each shard did." }),
  consistency,
  deadlineMs: whole(1, SHARD_DEADLINE_MS)
    .optional()
    .openapi({
      description: `A shard may take so long. Default: ${SHARD_DEADLINE_MS}.`,
    }),
  partial: z.boolean().default(false).openapi({
    description: "Where a shard does not answer in time the others' results are given, and the shard is named.",
  }),
  databaseId: databaseId.optional().openapi({ description: "The path's, if it is given." }),
  embeddingModel: z.string().max(200).optional().openapi({
    description:
      "For queryText, queryImage and queryTensor: a model of the database by its id or name, or any other of its dimension. Default: the database's first for what is asked.",
  }),
};
const queryText = text
  .optional()
  .openapi({ description: "Instead of a query vector: a text for the database's model." });
const asked = {
  queryVector: values.optional(),
  queryText,
  queryImage: imageField.optional(),
  queryTensor: tensorField.optional(),
};
export const searchBody = z.strictObject({
  ...asked,
  id: vectorId.optional().openapi({ description: "Instead of a query vector: what is near this one, without itself." }),
  ...ask,
});
/** Of a search whose body is the query's float32 bytes. */
export const searchQuery = databaseQuery.extend({
  options: z.string().optional().openapi({
    description:
      "With a body of application/octet-stream, the query's values as float32: all other fields, as JSON text.",
    example: '{"topK":10}',
  }),
});
export const bytesAsk = z.strictObject(ask);
export const batchSearchBody = z.strictObject({
  queries: z
    .array(z.strictObject({ ...asked, id: vectorId.optional() }))
    .min(1)
    .max(MAX_BATCH_QUERIES),
  ...ask,
});

/** Of calls over a session: the same fields, without vectors and what names the database. */
const token = z.string().max(4000).optional();
export const sessionOptions = {
  read: z.strictObject({ ...reading, token }),
  write: z.strictObject({ durability }),
  batch: z.strictObject({ durability, atomic: z.boolean().default(false) }),
  deleteWhere: z.strictObject({ filters }),
  list: z.strictObject({
    ...{ limit: whole(1, 1000).default(100), cursor: pageQuery.shape.cursor, filters: filters.optional() },
    ...include,
    ...reading,
    token,
  }),
  count: z.strictObject({ filters: filters.optional(), ...reading, token }),
  search: z.strictObject({ ...ask, token }),
};
export type Ask = Omit<z.output<typeof searchBody>, "queryVector" | "queryText" | "queryImage" | "queryTensor" | "id">;

const number = z.number();
const time = z.iso.datetime();
export const storedShape = z.object({
  ...{ id: z.string(), version: number, revision: number, shard: z.string(), createdAt: time, updatedAt: time },
});
export const vectorShape = z.object({
  id: z.string(),
  values: z.array(number).optional(),
  metadata: metadata.optional(),
  ...{ version: number, revision: number, shard: z.string(), createdAt: time, updatedAt: time },
  deleted: z.literal(false),
});
export const vectorsShape = z.object({ items: z.array(vectorShape), cursor: z.string().nullable() });
const itemError = z.object({ code: z.string(), message: z.string(), details: z.object({}) });
export const batchShape = z.object({
  stored: number,
  failed: number,
  results: z.array(
    z.object({
      id: z.string(),
      version: number.optional(),
      revision: number.optional(),
      error: itemError.optional(),
    }),
  ),
});
export const deletedShape = z.object({
  deleted: number,
  missing: z.array(z.string()).optional(),
  more: z.boolean(),
  refused: z
    .array(
      z.object({
        ids: z.array(z.string()).optional(),
        error: z.object({
          code: z.string(),
          message: z.string(),
          details: z.record(z.string(), z.unknown()).optional(),
        }),
      }),
    )
    .optional()
    .openapi({
      description:
        "What some shards refused when others had done it: an Idempotency-Key that they know with another request.",
    }),
});
export const countShape = z.object({ count: number });
const hit = z.object({
  id: z.string(),
  score: number,
  metadata: metadata.optional(),
  values: z.array(number).optional(),
});
const found = {
  results: z.array(hit),
  isComplete: z.boolean(),
  cursor: z.string().nullable().optional(),
  total: number.optional().openapi({ description: "A threshold without topK: all that meet it, over all pages." }),
};
const cost = {
  scanned: number,
  partial: z.literal(true).optional().openapi({ description: "There are shards that did not answer." }),
  missingShards: z.array(number).optional(),
  explain: z.object({}).optional(),
};
export const foundShape = z.object({ ...found, ...cost });
export const batchFoundShape = z.object({ searches: z.array(z.object(found)), ...cost });
