// The zod schemas of /v1/config: the only source of validation, types and the OpenAPI document.
// Fields of a query come as text: booleans and whole numbers among them are made such before they are judged (config-fields.ts).
import { z } from "@hono/zod-openapi";
import { TENANT_ID_PATTERN } from "../access/limits.ts";
import { MAX_KEY_BYTES, MAX_LEASE_TTL_SECONDS, MAX_TXN_OPERATIONS, MAX_VALUE_BYTES } from "../config/limits.ts";
import { MAX_CONFIG_EXPORT_KEYS, MAX_HTTP_WAIT_SECONDS, MAX_RANGE_LIMIT } from "./limits.ts";

export const KEY_ENCODINGS = ["utf8", "base64"] as const;
export type KeyEncoding = (typeof KEY_ENCODINGS)[number];
export const VALUE_ENCODINGS = ["json", "base64", "text"] as const;
export type ValueEncoding = (typeof VALUE_ENCODINGS)[number];

const MAX_INT64 = 2n ** 63n - 1n;

export const namespaceName = z
  .string()
  .regex(TENANT_ID_PATTERN, "must be 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit")
  .openapi({ description: "A keyspace of its own. Default: default.", example: "default" });

const namespace = namespaceName.default("default");
const keyEncoding = z.enum(KEY_ENCODINGS).default("utf8").openapi({
  description:
    "How keys are written, in the request and in the answer: base64 (also of the URL kind) for keys of any bytes.",
});
const valueEncoding = z.enum(VALUE_ENCODINGS).openapi({
  description:
    "How values are written: json (default), base64 for any bytes, text for UTF-8. A stored value that is not of the asked kind is answered as base64 and says so.",
});

/** Judged further where its encoding is known. */
export const key = z
  .string()
  .refine((text) => text.isWellFormed(), "holds half of a surrogate pair, which is no text in UTF-8")
  .openapi({ description: `1 to ${MAX_KEY_BYTES} bytes.`, example: "payment/rate-limit" });

export const leaseId = z
  .string()
  .refine((text) => /^[1-9][0-9]{0,18}$/.test(text) && BigInt(text) <= MAX_INT64, {
    message: "must be a whole number from 1 to 9223372036854775807, as text",
  })
  .openapi({ description: "A lease's number, as text: it has 63 bits.", example: "7587848390" });

const wholeFrom = (least: number) =>
  z.int(`must be a whole number from ${least} to ${Number.MAX_SAFE_INTEGER}, in digits`).min(least);
const wholeNumber = wholeFrom(0);
const revision = wholeFrom(1);
const flag = z.boolean();

const value = z.unknown().openapi({
  description: `At most ${MAX_VALUE_BYTES} bytes. As json: any JSON, stored and given back as its exact text; else a string.`,
});

const conditions = {
  ifAbsent: flag
    .optional()
    .openapi({ description: "true: only if there is no such key; false: only if there is one. Left out: either way." }),
  ifModRevision: wholeNumber
    .optional()
    .openapi({ description: "Only if it was last changed then; 0: only if absent." }),
  ifVersion: wholeNumber.optional().openapi({ description: "Only if it has this version; 0: only if absent." }),
};

const putOptions = {
  leaseId: leaseId.optional(),
  sequential: flag.optional().openapi({ description: "Appends the revision in 16 digits to the key." }),
  prevKv: flag.optional().openapi({ description: "Gives back what was there before." }),
  ignoreValue: flag.optional().openapi({ description: "Keeps the value: only the lease changes." }),
  ignoreLease: flag.optional().openapi({ description: "Keeps the lease: only the value changes." }),
};

const common = { namespace, keyEncoding, valueEncoding: valueEncoding.optional() };
const freshness = {
  consistency: z.enum(["linearizable", "serializable"]).default("linearizable").openapi({
    description: "serializable allows an answer that is a little old.",
  }),
  maxStalenessMs: wholeNumber.optional().openapi({ description: "How old a serializable answer may be." }),
};

export const namespaceQuery = z.strictObject({ namespace });
/** The rest of the path; `?key=` instead, for keys that a URL would change (`.` and `..` as parts). */
export const keyParams = z.object({
  key: z.string().openapi({ description: "Percent-encoded; / may stand as it is." }),
});

export const putQuery = z.strictObject({
  ...common,
  key: key.optional(),
  ...conditions,
  ifValue: z.string().optional(),
  ...putOptions,
});
export const putBody = z.strictObject({
  value: value.optional(),
  valueEncoding: valueEncoding.optional(),
  ...conditions,
  ifValue: z.unknown().optional().openapi({ description: "Only if the value is this, byte for byte." }),
  ...putOptions,
});
export const getQuery = z.strictObject({
  ...common,
  key: key.optional(),
  revision: revision.optional(),
  keysOnly: flag.optional(),
  ...freshness,
});
const { ifAbsent: _, ...deleteConditions } = conditions;
export const deleteQuery = z.strictObject({
  ...{ ...common, key: key.optional(), ...deleteConditions },
  ifValue: z.string().optional().openapi({ description: "Only if the value is this, byte for byte." }),
  prevKv: putOptions.prevKv,
});

const rangeOf = {
  prefix: z.string().optional().openapi({ description: "Keys that begin with this; empty: all keys." }),
  start: z.string().optional().openapi({ description: "Keys from this one on." }),
  end: z.string().optional().openapi({ description: "Keys before this one; with start or alone." }),
};
const rangeOptions = {
  limit: z.int("must be a whole number").min(1).max(MAX_RANGE_LIMIT).optional(),
  keysOnly: flag.optional(),
  countOnly: flag.optional(),
  withCount: flag
    .optional()
    .openapi({ description: "Counts all keys of the range, whatever the limit: a walk over them." }),
  sort: z.enum(["key", "version", "createRevision", "modRevision", "value"]).optional(),
  order: z.enum(["asc", "desc"]).optional(),
  revision: revision.optional().openapi({ description: "The state as of then. Default: now." }),
  minModRevision: revision.optional(),
  maxModRevision: revision.optional(),
  minCreateRevision: revision.optional(),
  maxCreateRevision: revision.optional(),
  delimiter: z.string().min(1).optional().openapi({
    description: "One level: deeper keys are told once, as their common prefix up to the next delimiter.",
  }),
};
export const rangeQuery = z.strictObject({
  ...{ ...common, ...rangeOf, ...rangeOptions, ...freshness },
  cursor: z
    .string()
    .optional()
    .openapi({ description: "The `cursor` of the page before: goes on at that page's revision." }),
});
export const exportQuery = z.strictObject({
  ...{ namespace, keyEncoding, prefix: rangeOf.prefix },
  limit: z
    .int("must be a whole number")
    .min(1)
    .max(MAX_CONFIG_EXPORT_KEYS)
    .default(MAX_CONFIG_EXPORT_KEYS)
    .openapi({ description: "Keys a page; a page of large values ends sooner." }),
  cursor: z
    .string()
    .optional()
    .openapi({ description: "The `cursor` of the page before: goes on at that page's revision." }),
});
export const ON_EXISTING = ["overwrite", "skip", "fail"] as const;
export type OnExisting = (typeof ON_EXISTING)[number];
export const importQuery = z.strictObject({
  namespace,
  onExisting: z
    .enum(ON_EXISTING)
    .default("overwrite")
    .openapi({ description: "What happens to a key that exists. `fail` stops at its transaction." }),
});
export const restoreQuery = z.strictObject({
  namespace,
  aboveRevision: wholeNumber.default(0).openapi({
    description:
      "The revision will be above this one too: for clients that have seen more than the snapshot and the namespace hold.",
  }),
});
/** A line of an import: one of an export, whose numbers are not taken over. */
export const importLine = z.strictObject({
  ...{ key, keyEncoding: keyEncoding.optional(), value: value.optional(), valueEncoding: valueEncoding.optional() },
  leaseId: leaseId.optional(),
  ...{ createRevision: z.unknown().optional(), modRevision: z.unknown().optional(), version: z.unknown().optional() },
});
export const deleteRangeQuery = z.strictObject({ namespace, keyEncoding, ...rangeOf });

const place = { key: key.optional(), ...rangeOf };
const compare = z.strictObject({
  ...place,
  target: z.enum(["version", "createRevision", "modRevision", "value", "leaseId"]),
  result: z.enum(["equal", "notEqual", "greater", "less"]).default("equal"),
  value: z
    .unknown()
    .openapi({ description: "A number; a value as `valueEncoding` says; a lease's id as text, empty: none." }),
});
const listOf = (what: string) => ({ type: "array" as const, items: { type: "object" as const }, description: what });
const operation = z.discriminatedUnion("op", [
  z.strictObject({ op: z.literal("put"), key, value: value.optional(), ...putOptions }),
  z.strictObject({ op: z.literal("get"), key, revision: revision.optional(), keysOnly: flag.optional() }),
  z.strictObject({ op: z.literal("range"), ...rangeOf, ...rangeOptions }),
  z.strictObject({ op: z.literal("delete"), ...place, prevKv: flag.optional() }),
  z.strictObject({
    op: z.literal("txn"),
    compare: z.array(compare).max(MAX_TXN_OPERATIONS).default([]),
    // Judged one by one: a schema that holds itself could not be written out.
    success: z
      .array(z.unknown())
      .max(MAX_TXN_OPERATIONS)
      .default([])
      .openapi(listOf("Operations like the outer ones.")),
    failure: z
      .array(z.unknown())
      .max(MAX_TXN_OPERATIONS)
      .default([])
      .openapi(listOf("Operations like the outer ones.")),
  }),
]);
const operations = z.array(operation).max(MAX_TXN_OPERATIONS).default([]);
export const txnQuery = z.strictObject({ ...common });
export const txnBody = z.strictObject({
  compare: z.array(compare).max(MAX_TXN_OPERATIONS).default([]).openapi({ description: "All must hold for success." }),
  success: operations,
  failure: operations,
});
export type TxnBody = z.output<typeof txnBody>;
export type CompareBody = TxnBody["compare"][number];
export type OperationBody = TxnBody["success"][number];
export const innerOperations = z.strictObject({ operations });

export const leaseParams = z.strictObject({ lease: leaseId });
export const leaseQuery = z.strictObject({
  namespace,
  keyEncoding,
  keys: flag.optional().openapi({ description: "Lists the lease's keys." }),
});
export const newLeaseBody = z.strictObject({
  ttlSeconds: z.int("must be a whole number").min(1).max(MAX_LEASE_TTL_SECONDS),
  leaseId: leaseId.optional().openapi({ description: "Default: one is chosen." }),
});
export const lockParams = z.object({
  name: z.string().openapi({ description: "Percent-encoded; / may stand as it is.", example: "inventory/sku-12345" }),
});
const waitSeconds = z
  .number()
  .min(0)
  .max(MAX_HTTP_WAIT_SECONDS)
  .default(0)
  .openapi({ description: "How long to stand in line. 0: not at all." });
const keepPlace = z.boolean().default(false).openapi({
  description: "A wait that ends by its time keeps its place in line, until the lease asks again or ends.",
});
export const lockBody = z.strictObject({ leaseId, waitSeconds, keepPlace });
export const campaignBody = z.strictObject({
  leaseId,
  waitSeconds,
  keepPlace,
  value: z.unknown().optional().openapi({ description: "What observers see of the leader. Any JSON." }),
});
const fencingToken = revision.openapi({ description: "As the owner was told it." });
const held = { leaseId: leaseId.optional(), fencingToken: fencingToken.optional() };
export const releaseBody = z.strictObject(held);
export const releaseQuery = z.strictObject({ namespace, ...held });
export const proclaimBody = z.strictObject({ ...held, value: z.unknown() });
export const compactBody = z.strictObject({ revision });
export const pagedQuery = (most: number, usual: number) =>
  z.strictObject({
    namespace,
    limit: z.int("must be a whole number").min(1).max(most).default(usual).openapi({ description: "Items a page." }),
    cursor: z.string().optional().openapi({ description: "The `cursor` of the page before." }),
  });
export const namespacesQuery = (most: number, usual: number) => pagedQuery(most, usual).omit({ namespace: true });
/** Without a default: nobody shall delete `default` by leaving something out. */
export const deleteNamespaceQuery = z.strictObject({ namespace: namespaceName });

// What is answered

const number = z.number();
const keyFields = {
  key: z.string(),
  keyEncoding: z.literal("base64").optional().openapi({ description: "Where the key is no UTF-8." }),
  createRevision: number,
  modRevision: number,
  version: number,
  leaseId: z.string().optional(),
};
const valueFields = { value: z.unknown().optional(), valueEncoding: z.enum(["base64", "text"]).optional() };
const keyValue = z.object({ ...keyFields, ...valueFields });
export const gotShape = z.object({ revision: number, ...keyFields, ...valueFields });
export const putShape = z.object({ revision: number, ...keyFields, prevKv: keyValue.optional() });
export const deletedKeyShape = z.object({
  ...{ key: z.string(), keyEncoding: z.literal("base64").optional(), deleted: number, revision: number },
  prevKv: keyValue.optional(),
});
export const rangeShape = z.object({
  revision: number.openapi({ description: "The state that was read; a watch from the next one on misses nothing." }),
  items: z.array(keyValue),
  commonPrefixes: z.array(z.string()).optional(),
  count: number.optional().openapi({ description: "Keys of the range; left out where a limit cut the answer." }),
  more: z.boolean(),
  cursor: z.string().nullable(),
});
export const importedShape = z.object({
  ...{ lines: number, created: number, overwritten: number, skipped: number },
  leasesDropped: number.openapi({ description: "Keys written without their lease, because there is no such lease." }),
  revision: number,
});
export const restoredShape = z.object({
  namespace: z.string(),
  revision: number.openapi({ description: "Of the namespace now. Older ones are compacted." }),
  snapshotRevision: number,
  ...{ keys: number, leases: number },
});
export const deletedShape = z.object({ deleted: number, revision: number });
export const txnShape = z.object({
  succeeded: z.boolean(),
  revision: number,
  responses: z.array(z.unknown()).openapi({
    type: "array",
    items: { type: "object" },
    description: "One for each operation of the branch taken, in order, each with its `op`.",
  }),
});
const leaseFields = { leaseId: z.string(), ttlSeconds: number };
export const grantedShape = z.object({ ...leaseFields, revision: number });
const ownerFields = {
  leaseId: z.string(),
  key: z.string(),
  fencingToken: number.openapi({
    description: "Higher for each owner: what the lock protects should refuse lower ones.",
  }),
  revision: number,
};
export const acquiredShape = z.object(ownerFields);
export const ownershipShape = z.object({ ...ownerFields, waiting: number, value: z.unknown().optional() });
export const releasedShape = z.object({ revision: number });
export const leaseShape = z.object({
  ...leaseFields,
  grantedTtlSeconds: number,
  keys: z.array(z.string()).optional(),
  revision: number,
});
export const revokedShape = z.object({ leaseId: z.string(), revision: number });
export const leaseItemShape = z.object({ leaseId: z.string() });
export const compactedShape = z.object({ compactedRevision: number, revision: number });
export const statusShape = z.object({
  ...{ namespace: z.string(), revision: number, term: number, compactedRevision: number },
  ...{ keys: number, leases: number, watches: number, databaseBytes: number },
});
export const namespaceShape = z.object({ namespace: z.string(), createdAt: z.string() });
export const deletedNamespaceShape = z.object({ namespace: z.string(), erasure: z.enum(["running", "done"]) });
export const pageOfShape = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), cursor: z.string().nullable() });
