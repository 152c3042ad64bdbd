// The zod schemas of /v1/databases: the record of the specification's "Database Configuration", and what is answered.
import { z } from "@hono/zod-openapi";
import { DEFAULT_PAGE_ITEMS, MAX_PAGE_ITEMS } from "../access/limits.ts";
import {
  MAX_DATABASE_ID_CHARACTERS,
  MAX_DESCRIPTION_CHARACTERS,
  MAX_EMBEDDING_MODELS,
  MAX_NAME_CHARACTERS,
  MAX_REPLICAS,
  MAX_ROLES,
  MAX_SCHEMA_FIELDS,
} from "../vector/database/limits.ts";
import {
  MAX_CELLS,
  MAX_DIMENSION,
  MAX_EF,
  MAX_EF_CONSTRUCTION,
  MAX_HASH_BITS,
  MAX_M,
  MAX_TABLES,
  MIN_M,
} from "../vector/index/limits.ts";
import { METRICS } from "../vector/metric.ts";
import { PERMISSIONS, ROLES, type Role } from "../vector/shard/access.ts";
import { QUANTIZERS, type Quantizer } from "../vector/shard/index-kinds.ts";
import { DURABILITIES } from "../wire/vector.ts";
import { namespaceName, pageOfShape } from "./config-schemas.ts";
import { pageQuery } from "./cursor.ts";
import { reductionBody } from "./database-reduction.ts";
import { shardingBody, shardingShape, shardingStateShape } from "./database-sharding.ts";
import { modelId } from "./embedding-schemas.ts";

const whole = (least: number, most: number) => z.int("must be a whole number").min(least).max(most);
const text = (most: number) => z.string().max(most);
const namespace = namespaceName.default("default");

export const databaseId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_-]*$/, "must be A-Z, a-z, 0-9, _ and -, beginning with a letter or digit")
  .max(MAX_DATABASE_ID_CHARACTERS)
  .openapi({ example: "db_001" });

export const databaseQuery = z.strictObject({ namespace });
export const databasesQuery = z.strictObject({
  namespace,
  limit: whole(1, MAX_PAGE_ITEMS).default(DEFAULT_PAGE_ITEMS).openapi({ description: "Items a page." }),
  cursor: pageQuery.shape.cursor,
});
export const databaseParams = z.strictObject({ db: databaseId });

export const indexParameters = z.strictObject({
  M: whole(MIN_M, MAX_M).optional().openapi({ description: "HNSW: links that a vector chooses." }),
  efConstruction: whole(1, MAX_EF_CONSTRUCTION)
    .optional()
    .openapi({ description: "HNSW: candidates while a vector is inserted." }),
  efSearch: whole(1, MAX_EF).optional().openapi({ description: "HNSW: candidates of a search that asks for nothing." }),
  lists: whole(1, MAX_CELLS).optional().openapi({ description: "IVF: lists of a segment. Default: by its rows." }),
  tables: whole(1, MAX_TABLES).optional().openapi({ description: "LSH: hash tables." }),
  bits: whole(1, MAX_HASH_BITS).optional().openapi({ description: "LSH: projections of a key. Default: by the rows." }),
  probes: whole(1, MAX_CELLS).optional().openapi({
    description: "IVF, LSH: lists or buckets that a search reads that asks for nothing. Default: by the rows.",
  }),
  quantizer: z
    .enum(QUANTIZERS as [Quantizer, ...Quantizer[]])
    .optional()
    .openapi({
      description:
        "What candidates are looked for in; the nearest are measured again on the full vectors. Default: int8, for IVF rabitq (1 bit a dimension). HNSW takes int8 and none.",
    }),
});

const embeddingModel = z.strictObject({
  modelId: modelId
    .optional()
    .openapi({ description: "Of /v1/embedding-models; its dimension must be the database's." }),
  name: text(MAX_NAME_CHARACTERS)
    .optional()
    .openapi({ description: "Default: the modelId. Alone it is a modelId too." }),
  version: text(MAX_NAME_CHARACTERS).optional(),
  provider: text(MAX_NAME_CHARACTERS).optional(),
  inputType: z.enum(["text", "image", "tensor", "audio", "video", "other"]).optional(),
});

const changeable = {
  name: text(MAX_NAME_CHARACTERS).min(1).optional().openapi({ description: "Default: the id." }),
  description: text(MAX_DESCRIPTION_CHARACTERS).optional(),
  indexParameters: indexParameters.optional(),
  replication: z
    .strictObject({
      factor: whole(1, MAX_REPLICAS).optional(),
      sync: z.boolean().optional(),
      maxLagMs: whole(0, 3_600_000).optional(),
    })
    .optional()
    .openapi({
      description:
        "Copies of each shard, in zones of their own; whether a write is answered only when all have it durably (default: false); what an eventual read may lack at most (default: 0, nothing). Default factor: 1.",
    }),
  embeddingModels: z
    .array(
      embeddingModel.check((context) => {
        const { name, modelId: id } = context.value;
        if (name !== undefined || id !== undefined) return;
        const message = "is required, or modelId";
        context.issues.push({ code: "custom", path: ["name"], input: context.value, message });
      }),
    )
    .max(MAX_EMBEDDING_MODELS)
    .optional()
    .openapi({
      description:
        "What makes vectors of texts, images and tensors: of each inputType the first, unless a request names another.",
    }),
  metadataSchema: z
    .record(z.string(), z.string())
    .refine((fields) => Object.keys(fields).length <= MAX_SCHEMA_FIELDS, {
      message: "declares too many fields",
      params: { limit: MAX_SCHEMA_FIELDS },
    })
    .nullish()
    .openapi({
      description: "Field → type: what a field must be where a vector has it. null: metadata is free.",
      example: { owner: "string", tags: "array<string>", status: "enum:active|archived" },
    }),
  durability: z
    .enum(DURABILITIES as ["sync", "periodic", "eventual"])
    .optional()
    .openapi({
      description: "When writes are acknowledged that do not say it themselves. Default: sync.",
    }),
  retentionPolicy: z
    .strictObject({
      maxAgeDays: z.number().min(0).max(36_500).optional(),
      maxVectors: whole(1, Number.MAX_SAFE_INTEGER).optional(),
      maxBytes: whole(1, Number.MAX_SAFE_INTEGER).optional(),
      archiveOnExpire: z.boolean().optional(),
    })
    .nullish()
    .openapi({
      description:
        "The oldest vectors, by when they were last written, are deleted beyond these; with archiveOnExpire they are kept aside (…/expired).",
    }),
  accessControl: z
    .strictObject({
      roles: z
        .array(z.enum(Object.keys(ROLES) as [Role, ...Role[]]))
        .min(1)
        .max(MAX_ROLES)
        .optional(),
      defaultPermissions: z.array(z.enum(PERMISSIONS)).max(MAX_ROLES).optional(),
    })
    .nullish()
    .openapi({
      description:
        "Beside a key's scope. roles: whose keys reach the vectors (admin; user or read-write; auditor or read-only). defaultPermissions: what keys that are no admin's may do. null, or a list that is left out: all that the scope allows.",
    }),
};

/** Fields that answers show: accepted, so that what was read can be sent back, and not heard. */
const shownOnly = {
  createdAt: z.string().max(40).optional(),
  updatedAt: z.string().max(40).optional(),
};

const fixed = {
  metric: z.enum(METRICS as ["cosine", "euclidean", "dot"]),
  indexType: z.enum(["FLAT", "HNSW", "IVF", "LSH"]),
  sharding: shardingBody,
};

export const newDatabaseBody = z.strictObject({
  databaseId: databaseId.optional().openapi({ description: "Default: one is made." }),
  vectorDimension: whole(1, MAX_DIMENSION).optional().openapi({ description: "Default: that of the first modelId." }),
  metric: fixed.metric.default("cosine"),
  indexType: fixed.indexType.default("HNSW"),
  sharding: fixed.sharding
    .default({})
    .openapi({ description: "How vectors come to their shards; by a hash of their ids where nothing is said." }),
  reduction: reductionBody.optional(),
  ...changeable,
  ...shownOnly,
});

export const databaseChangesBody = z.strictObject({
  ...changeable,
  databaseId: databaseId.optional(),
  vectorDimension: whole(1, MAX_DIMENSION).optional(),
  metric: fixed.metric.optional(),
  indexType: fixed.indexType.optional(),
  sharding: fixed.sharding.optional(),
  reduction: reductionBody.optional(),
  ...shownOnly,
  namespace: namespaceName.optional(),
  state: z.string().max(20).optional(),
});

export type NewDatabaseBody = z.output<typeof newDatabaseBody>;
export type DatabaseChangesBody = z.output<typeof databaseChangesBody>;

export const databaseShape = z.object({
  databaseId: z.string(),
  namespace: z.string(),
  state: z.enum(["creating", "ready", "archiving", "archived", "restoring"]),
  damage: z
    .array(z.object({ shard: z.number(), message: z.string() }))
    .optional()
    .openapi({ description: "Of an archived database: what kept the last restore from bringing it back." }),
  name: z.string(),
  description: z.string(),
  vectorDimension: z.number(),
  metric: fixed.metric,
  indexType: fixed.indexType,
  indexParameters,
  reduction: reductionBody.optional(),
  sharding: shardingShape,
  replication: z.object({ factor: z.number(), sync: z.boolean(), maxLagMs: z.number() }),
  embeddingModels: z.array(embeddingModel),
  metadataSchema: z.record(z.string(), z.string()).nullable(),
  durability: z.enum(["sync", "periodic", "eventual"]),
  retentionPolicy: z.object({}).nullable(),
  accessControl: z.object({}).nullable(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
});

export const databasesShape = pageOfShape(databaseShape);
export const deletedDatabaseShape = z.object({ databaseId: z.string(), erasure: z.enum(["running", "done"]) });

const amounts = {
  rows: z.number(),
  freshRows: z.number().openapi({ description: "Of rows: those that no segment holds yet; they are scanned." }),
  segments: z.number(),
  deletedRows: z.number().openapi({ description: "Deleted or replaced ones that a merge will free." }),
  logBytes: z.number(),
  memoryBytes: z.number(),
  indexBytes: z.number(),
  cacheHits: z
    .number()
    .openapi({ description: "Searches answered from remembered results since the shard was opened." }),
  cacheMisses: z.number(),
  cacheBytes: z.number(),
  hotBytes: z
    .number()
    .openapi({ description: "Stored bytes of values in the shards' own storage, without what is not sealed yet." }),
  coldBytes: z.number().openapi({ description: "Those that left it for the blob store; they are read there." }),
};

const replica = z.object({
  zone: z.string(),
  state: z
    .enum(["serving", "filling"])
    .openapi({ description: "`filling`: it does not have all yet; nobody reads it." }),
  copied: z.object({ bytes: z.number(), ofBytes: z.number() }).optional().openapi({
    description: "Of one that is being filled: what it has of the owner's segments; absent: it did not say.",
  }),
  revision: z.number().openapi({ description: "What it has durably." }),
  lagRevisions: z.number(),
  lagMs: z.number().openapi({ description: "Since it last had all that there was; 0: it has." }),
});

export const databaseStatusShape = z.object({
  databaseId: z.string(),
  state: z.enum(["creating", "ready"]),
  ...amounts,
  sharding: shardingStateShape,
  shards: z.array(
    z.object({
      shard: z.number(),
      term: z.number(),
      revision: z.number(),
      ...amounts,
      replicas: z.array(replica).optional(),
    }),
  ),
});
