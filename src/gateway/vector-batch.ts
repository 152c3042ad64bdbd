// POST /v1/databases/…/vectors/batch, …/vectors/delete: many vectors at once, over all shards.
// Guarantees: results stand in the order of the request; repeated under its Idempotency-Key a batch is applied once, whatever part of it
// came through before; what is atomic is one commit of one shard.

import { shardOf } from "../cluster/shard-of.ts";
import { MAX_ID_BYTES } from "../vector/segment/limits.ts";
import { ERROR_CODES, PublicError } from "../wire/error-codes.ts";
import type { Durability, VectorFailure, VectorInput, VectorStamp } from "../wire/vector.ts";
import { admitMore } from "./access.ts";
import { success, successText } from "./answers.ts";
import type { Call } from "./call.ts";
import { NDJSON_TYPE } from "./config-export.ts";
import { type ConfigInput, configRoute, mediaTypeOf } from "./config-route.ts";
import { databaseParams, databaseQuery } from "./database-schemas.ts";
import { askedDatabase } from "./databases.ts";
import { invalidRequest } from "./issues.ts";
import {
  DELETE_ROWS,
  MAX_BATCH_VECTORS,
  MAX_DELETE_CALLS,
  MAX_SHARD_CALL_BYTES,
  MAX_VECTOR_BODY_BYTES,
  SHARD_CALL_BYTES,
  SHARD_CALL_ROWS,
} from "./limits.ts";
import type { Route } from "./route.ts";
import { type BatchItem, binaryItems, jsonItems, lineItems } from "./vector-batch-body.ts";
import { callShard, type ShardWrite, shardWrites } from "./vector-call.ts";
import { type KnownDatabase, withDatabase } from "./vector-databases.ts";
import { placedFailure } from "./vector-fields.ts";
import * as schemas from "./vector-schemas.ts";
import { withoutTexts } from "./vector-texts.ts";
import { VECTOR_WRITE_ERRORS } from "./vectors.ts";

const PATH = "/v1/databases/{db}/vectors";
/** What a row costs in a call beside its values and metadata. */
const ROW_OVERHEAD_BYTES = 32;
const encoder = new TextEncoder();

export type Result =
  | { readonly id: string; readonly stamp: VectorStamp }
  | { readonly id: string; readonly failure: VectorFailure };

/** A row and its place in the request. */
interface Placed {
  readonly row: VectorInput;
  readonly index: number;
}

interface Options {
  readonly atomic: boolean;
  readonly durability: Durability | undefined;
  /** Of so many calls to each shard. */
  readonly writes: (count: number) => Promise<readonly ShardWrite[]>;
}

function sizeOf({ id, values, metadata }: VectorInput): number {
  return id.length * 3 + values.length + metadata.length + ROW_OVERHEAD_BYTES;
}

/** For each shard its rows, in calls that are not too long. */
export function callsOf(
  items: readonly BatchItem[],
  numShards: number,
  most: { readonly bytes: number; readonly rows: number },
): readonly (readonly Placed[])[][] {
  const shards = Array.from({ length: numShards }, (): { calls: Placed[][]; bytes: number } => ({
    calls: [],
    bytes: 0,
  }));
  for (const [index, item] of items.entries()) {
    if (!("input" in item)) continue;
    const shard = shards[shardOf(item.input.id, numShards)]!;
    const size = sizeOf(item.input);
    let last = shard.calls.at(-1);
    if (!last || last.length >= most.rows || shard.bytes + size > most.bytes) {
      last = [];
      shard.calls.push(last);
      shard.bytes = 0;
    }
    last.push({ row: item.input, index });
    shard.bytes += size;
  }
  return shards.map(({ calls }) => calls);
}

function requireAtomic(items: readonly BatchItem[], calls: readonly (readonly (readonly Placed[])[])[]): void {
  const bad = items.find((item) => "failure" in item);
  if (bad && "failure" in bad)
    throw new PublicError(bad.failure.code as "invalidRequest", bad.failure.message, bad.failure.details);
  const shards = calls.filter((shard) => shard.length > 0);
  if (shards.length > 1) {
    const message = `is possible within one shard; these vectors belong to ${shards.length}`;
    throw invalidRequest([{ path: "atomic", message, value: true, limit: 1 }]);
  }
  if (shards[0] && shards[0].length > 1)
    throw new PublicError("payloadTooLarge", `an atomic batch is over ${MAX_SHARD_CALL_BYTES} bytes`, {
      limit: MAX_SHARD_CALL_BYTES,
    });
}

/** These say that nothing is known: they are no result of a row. */
const WHOLE: ReadonlySet<string> = new Set(["unknownOutcome", "internal"]);
/** A call of one row is refused as a whole for what is wrong with the row. */
const OF_A_ROW: ReadonlySet<string> = new Set(["invalidRequest", "payloadTooLarge"]);

interface ShardCall extends Pick<Options, "atomic" | "durability"> {
  readonly database: KnownDatabase;
  readonly shard: number;
}

async function storeAt(
  call: Call,
  { database, shard, atomic, durability }: ShardCall,
  placed: readonly Placed[],
  write: ShardWrite,
): Promise<readonly Result[]> {
  const rows = placed.map(({ row }) => row);
  try {
    const { results } = await callShard(call, { database, shard }, { kind: "upsert", rows, atomic, durability }, write);
    return placed.map(({ row: { id }, index }, at) => {
      const result = results[at]!;
      if (!("kind" in result)) return { id, stamp: result };
      const from = placed.length === 1 ? "" : `vectors[${at}]`;
      return { id, failure: placedFailure(result, from, `vectors[${index}]`) };
    });
  } catch (error) {
    if (!(error instanceof PublicError) || WHOLE.has(error.code)) throw error;
    const { code, message, details } = error;
    const isOfRow = OF_A_ROW.has(code);
    if (atomic && isOfRow) throw placedError(error, placed);
    return placed.map(({ row: { id }, index }): Result => {
      const failure: VectorFailure = { kind: "error", code, message, ...(details && { details }) };
      return { id, failure: isOfRow ? placedFailure(failure, "", `vectors[${index}]`) : failure };
    });
  }
}

/** Atomic batches go to the shard whole and in order, so places agree but for a batch of one. */
function placedError(error: PublicError, placed: readonly Placed[]): PublicError {
  if (placed.length > 1) return error;
  const { code, message, details } = placedFailure(error, "", `vectors[${placed[0]!.index}]`);
  return new PublicError(code as "invalidRequest", message, details);
}

const PART_CALL = { bytes: SHARD_CALL_BYTES, rows: SHARD_CALL_ROWS };
const WHOLE_CALL = { bytes: MAX_SHARD_CALL_BYTES, rows: MAX_BATCH_VECTORS };

export async function storeAll(
  call: Call,
  database: KnownDatabase,
  items: readonly BatchItem[],
  options: Options,
): Promise<readonly Result[]> {
  const { atomic, durability } = options;
  const calls = callsOf(items, database.homes, atomic ? WHOLE_CALL : PART_CALL);
  if (atomic) requireAtomic(items, calls);
  const writes = await options.writes(Math.max(1, ...calls.map((shard) => shard.length)));
  const results: Result[] = items.map((item) => ("failure" in item ? item : { id: item.input.id, failure: NOT_DONE }));
  const first: PublicError[] = [];
  await Promise.all(
    calls.map(async (parts, shard) => {
      for (const [at, placed] of parts.entries()) {
        const part = await storeAt(call, { atomic, durability, database, shard }, placed, writes[at]!);
        for (const [place, { index }] of placed.entries()) results[index] = part[place]!;
      }
    }),
  );
  for (const result of results) {
    if (!("failure" in result) || OF_A_ROW.has(result.failure.code)) continue;
    const { code, message, details } = result.failure;
    first.push(new PublicError(code as "overloaded", message, details));
  }
  // Nothing was stored, and not because of what was sent: the answer is the shards'.
  if (first[0] && !results.some((result) => "stamp" in result)) throw first[0];
  return results;
}

const NOT_DONE: VectorFailure = { kind: "error", code: "internal", message: "was not tried" };

function shownResult(result: Result): string {
  const id = JSON.stringify(result.id);
  if ("stamp" in result) return `{"id":${id},"version":${result.stamp.version},"revision":${result.stamp.revision}}`;
  const { code, message, details = {} } = result.failure;
  return `{"id":${id},"error":${JSON.stringify({ code, message, details })}}`;
}

export type BatchInput = ConfigInput<
  ReturnType<typeof schemas.batchQuery.parse>,
  Partial<ReturnType<typeof schemas.batchBody.parse>>
>;

export function itemsOf(call: Call, { body, raw }: BatchInput): readonly BatchItem[] {
  const writeId = call.writeId!;
  if (body.vectors) return jsonItems(body.vectors, raw, writeId);
  return mediaTypeOf(call.request) === NDJSON_TYPE ? lineItems(raw.bytes, writeId) : binaryItems(raw.bytes, writeId);
}

const batch = configRoute({
  method: "post",
  path: `${PATH}/batch`,
  summary:
    "Store many vectors; each has its own result. Also newline-delimited JSON (application/x-ndjson) and a binary form (application/octet-stream)",
  scope: "read-write",
  params: databaseParams,
  query: schemas.batchQuery,
  body: schemas.batchBody,
  maxBodyBytes: MAX_VECTOR_BODY_BYTES,
  takesBytes: true,
  takesType: NDJSON_TYPE,
  data: schemas.batchShape,
  errors: VECTOR_WRITE_ERRORS,
  async handle(call, input: BatchInput) {
    const { params, query, body, raw, keyspace, principal } = input;
    for (const name of ["atomic", "durability"] as const) {
      if (query[name] === undefined || body[name] === undefined) continue;
      throw invalidRequest([{ path: name, message: "is given in the query and in the body" }]);
    }
    const items = itemsOf(call, input);
    await admitMore(call, principal, items.length - 1);
    const { atomic = false, durability } = { ...query, ...body };
    const options = { atomic, durability, writes: (count: number) => shardWrites(call, raw.bytes, count) };
    const results = await withDatabase(call, askedDatabase(params, keyspace), async (database) =>
      storeAll(call, database, await withoutTexts(call, database, items), options),
    );
    const stored = results.filter((result) => "stamp" in result).length;
    const data = `{"stored":${stored},"failed":${results.length - stored},"results":[${results.map(shownResult).join(",")}]}`;
    return successText(call, { message: "stored", data });
  },
});

/** What of a deletion was not done, where the rest was. */
interface RefusedPart {
  /** Absent where it is not by ids. */
  readonly ids?: readonly string[];
  readonly error: Pick<VectorFailure, "code" | "message" | "details">;
}

interface Deleted {
  readonly deleted: number;
  readonly missing?: readonly string[];
  readonly more: boolean;
  /** Some shards knew the Idempotency-Key, with another request. */
  readonly refused?: readonly RefusedPart[];
}

/** Refused by all, or not known of one: an error. Else what each has done, or why it refused. */
async function doneAtSome<T extends Deleted>(
  works: readonly { readonly ids?: readonly string[]; readonly work: Promise<T> }[],
): Promise<readonly Deleted[]> {
  const outcomes = await Promise.allSettled(works.map(({ work }) => work));
  const isAnyDone = outcomes.some(({ status }) => status === "fulfilled");
  return outcomes.map((outcome, at) => {
    if (outcome.status === "fulfilled") return outcome.value;
    const error = outcome.reason as unknown;
    if (!isAnyDone || !(error instanceof PublicError) || ERROR_CODES[error.code].status >= 500) throw error;
    const { code, message, details } = error;
    const { ids } = works[at]!;
    return { deleted: 0, more: false, refused: [{ ...(ids && { ids }), error: { code, message, details } }] };
  });
}

function sumOf(parts: readonly Deleted[]): Deleted {
  const refused = parts.flatMap((part) => part.refused ?? []);
  return {
    deleted: parts.reduce((sum, { deleted }) => sum + deleted, 0),
    more: parts.some(({ more }) => more),
    ...(refused.length > 0 && { refused }),
  };
}

export async function deleteIds(
  call: Call,
  database: KnownDatabase,
  { ids, durability, write }: { ids: readonly string[]; durability: Durability | undefined; write: ShardWrite },
): Promise<Deleted & { readonly missing: readonly string[] }> {
  // Here, not at the shards: where one refuses its ids, others have deleted theirs.
  for (const [at, id] of ids.entries()) {
    const { length } = encoder.encode(id);
    const issue = { path: `ids[${at}]`, message: `has ${length} bytes; at most ${MAX_ID_BYTES}`, limit: MAX_ID_BYTES };
    if (length > MAX_ID_BYTES) throw invalidRequest([issue]);
  }
  const shards = new Map<number, string[]>();
  for (const id of new Set(ids)) {
    const shard = shardOf(id, database.homes);
    shards.set(shard, [...(shards.get(shard) ?? []), id]);
  }
  const removeAt = async (shard: number, own: readonly string[]): Promise<Deleted> => {
    const { results } = await callShard(call, { database, shard }, { kind: "delete", ids: own, durability }, write);
    const missing = own.filter((_, at) => results[at] === null);
    return { deleted: own.length - missing.length, missing, more: false };
  };
  const parts = await doneAtSome([...shards].map(([shard, own]) => ({ ids: own, work: removeAt(shard, own) })));
  return { ...sumOf(parts), missing: parts.flatMap(({ missing = [] }) => missing) };
}

/** One call after another at each shard, until none of its vectors matches. */
export async function deleteMatching(
  call: Call,
  database: KnownDatabase,
  filter: string,
  writes: readonly ShardWrite[],
): Promise<Deleted> {
  const request = { kind: "deleteWhere", filter, limit: DELETE_ROWS } as const;
  const removeAt = async (shard: number): Promise<Deleted> => {
    let deleted = 0;
    for (const write of writes) {
      const answer = await callShard(call, { database, shard }, request, write);
      deleted += answer.results.length;
      if (!answer.more) return { deleted, more: false };
    }
    return { deleted, more: true };
  };
  const works = Array.from({ length: database.numShards }, (_, shard) => ({ work: removeAt(shard) }));
  return sumOf(await doneAtSome(works));
}

/** Where an answer has no place for what was refused. */
export function requireAll({ refused: [part] = [] }: Deleted): void {
  if (!part) return;
  const { code, message } = part.error;
  throw new PublicError("unknownOutcome", `some shards refused it (${code}: ${message}); at the others it was done`, {
    refusal: { code },
  });
}

const remove = configRoute({
  method: "post",
  path: `${PATH}/delete`,
  summary: "Delete vectors by their ids, or those that filters let through",
  scope: "read-write",
  params: databaseParams,
  query: databaseQuery,
  body: schemas.deleteBody,
  maxBodyBytes: MAX_VECTOR_BODY_BYTES,
  data: schemas.deletedShape,
  errors: VECTOR_WRITE_ERRORS,
  async handle(call, { params, body, raw, keyspace, principal }) {
    const { ids, filters, durability } = body;
    if ((ids === undefined) === (filters === undefined))
      throw invalidRequest([{ path: "filters", message: "give ids or filters" }]);
    if (filters && Object.keys(filters).length === 0)
      throw invalidRequest([{ path: "filters", message: "must hold a condition; to delete all, delete the database" }]);
    if (filters && durability !== undefined)
      throw invalidRequest([{ path: "durability", message: "can be chosen for ids; by filters it is the database's" }]);
    if (ids) await admitMore(call, principal, ids.length - 1);
    const writes = await shardWrites(call, raw.bytes, ids ? 1 : MAX_DELETE_CALLS);
    const data = await withDatabase(call, askedDatabase(params, keyspace), async (database) =>
      ids
        ? deleteIds(call, database, { ids, durability, write: writes[0]! })
        : deleteMatching(call, database, JSON.stringify(filters), writes),
    );
    return success(call, { message: "deleted", data });
  },
});

export const vectorBatchRoutes: readonly Route[] = [batch, remove];
