// /v1/databases/…/imports: batches that are taken now and applied behind the answer, and how far they are.
// Guarantees: an import that is answered as taken is on disk whole, at all of its shards, and goes on over restarts; one that is refused is at
// none; sent again under its Idempotency-Key it is the same import.
import { hexOf, sha256Hex } from "../access/api-key.ts";
import type { ImportState, ShownImport } from "../vector/shard/import-queue.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { ImportError, ImportStageRequest } from "../wire/vector.ts";
import { admitMore } from "./access.ts";
import { success } from "./answers.ts";
import type { Call } from "./call.ts";
import { NDJSON_TYPE } from "./config-export.ts";
import { configRoute } from "./config-route.ts";
import { databaseParams, databaseQuery } from "./database-schemas.ts";
import { askedDatabase } from "./databases.ts";
import { IMPORT_PART_BYTES, MAX_BATCH_VECTORS, MAX_VECTOR_BODY_BYTES } from "./limits.ts";
import type { Route } from "./route.ts";
import { type BatchInput, callsOf, itemsOf } from "./vector-batch.ts";
import type { BatchItem } from "./vector-batch-body.ts";
import { callAllShards, callShard } from "./vector-call.ts";
import { type KnownDatabase, withDatabase } from "./vector-databases.ts";
import * as schemas from "./vector-import-schemas.ts";
import { VECTOR_WRITE_ERRORS } from "./vectors.ts";

const PATH = "/v1/databases/{db}/imports";
const ONE = `${PATH}/{id}`;
/** Keeps what was refused before it had a shard. */
const FIRST_SHARD = 0;

/** What each shard is given, in parts; the first shard always is. */
function partsOf(items: readonly BatchItem[], numShards: number, job: { job: string; bodyHash: string }) {
  const refused: ImportError[] = items.flatMap((item, index) => {
    if (!("failure" in item)) return [];
    const { code, message } = item.failure;
    return [{ index, id: item.id, code, message }];
  });
  return callsOf(items, numShards, { bytes: IMPORT_PART_BYTES, rows: MAX_BATCH_VECTORS }).flatMap((calls, shard) => {
    const own = shard === FIRST_SHARD && calls.length === 0 ? [[]] : calls;
    if (own.length === 0) return [];
    const parts = own.map((rows, part): ImportStageRequest => {
      const more = shard === FIRST_SHARD && part === 0 ? refused : [];
      return { kind: "importStage", ...job, part, rows, refused: more };
    });
    return [{ shard, parts }];
  });
}

/** All shards have all of it before any begins; where one has no room, the others forget it. */
async function take(
  call: Call,
  database: KnownDatabase,
  { items, job, bodyHash }: { items: readonly BatchItem[]; job: string; bodyHash: string },
): Promise<void> {
  const shards = partsOf(items, database.homes, { job, bodyHash });
  const staged = await Promise.allSettled(
    shards.map(async ({ shard, parts }) => {
      for (const part of parts) await callShard(call, { database, shard }, part);
    }),
  );
  const failed = staged.find((outcome) => outcome.status === "rejected");
  if (failed) {
    await Promise.allSettled(
      shards.map(({ shard }) => callShard(call, { database, shard }, { kind: "importCancel", job, staged: true })),
    );
    throw failed.reason;
  }
  await Promise.all(
    shards.map(({ shard, parts }) =>
      callShard(call, { database, shard }, { kind: "importStart", job, parts: parts.length }),
    ),
  );
}

const ORDER: readonly ImportState[] = ["staged", "running", "queued", "failed", "cancelled", "done"];

/** One import over the shards that have a part of it. */
function shownImport(parts: readonly ShownImport[]) {
  const sum = (amount: (part: ShownImport) => number): number => parts.reduce((all, part) => all + amount(part), 0);
  const states = ORDER.filter((state) => parts.some((part) => part.state === state));
  const [total, stored, failed] = [sum(({ rows }) => rows), sum((part) => part.stored), sum((part) => part.failed)];
  const isRunning = states.includes("running") || (states.includes("queued") && states.includes("done"));
  const ended = parts.every(({ endedAtMs }) => endedAtMs !== null);
  const waitsFor = parts.flatMap(({ waitsFor: why }) => (why === undefined ? [] : [why]));
  return {
    importId: parts[0]!.job,
    state: isRunning ? "running" : states[0]!,
    total,
    stored,
    failed,
    progress: total === 0 ? 1 : (stored + failed) / total,
    errors: parts.flatMap(({ errors }) => errors).sort((a, b) => a.index - b.index),
    ...(waitsFor[0] !== undefined && { waitsFor: waitsFor[0] }),
    createdAt: new Date(Math.min(...parts.map(({ createdAtMs }) => createdAtMs))).toISOString(),
    endedAt: ended ? new Date(Math.max(...parts.map(({ endedAtMs }) => endedAtMs!))).toISOString() : null,
  };
}

async function importsOf(call: Call, database: KnownDatabase, job?: string) {
  const answers = await callAllShards(call, database, { kind: "imports", job });
  const byJob = new Map<string, ShownImport[]>();
  for (const part of answers.flatMap(({ status }) => JSON.parse(status) as ShownImport[]))
    byJob.set(part.job, [...(byJob.get(part.job) ?? []), part]);
  return [...byJob.values()].map(shownImport).sort((a, b) => b.createdAt.localeCompare(a.createdAt));
}

async function oneImport(call: Call, database: KnownDatabase, job: string) {
  const [found] = await importsOf(call, database, job);
  if (found) return found;
  throw new PublicError("notFound", `there is no import "${job.slice(0, 100)}"`);
}

const create = configRoute({
  method: "post",
  path: PATH,
  summary:
    "Take many vectors now and store them behind the answer. The bodies of a batch: JSON, newline-delimited JSON (application/x-ndjson), binary (application/octet-stream)",
  scope: "read-write",
  params: databaseParams,
  query: databaseQuery,
  body: schemas.importBody,
  maxBodyBytes: MAX_VECTOR_BODY_BYTES,
  takesBytes: true,
  takesType: NDJSON_TYPE,
  data: schemas.importShape,
  successStatus: 202,
  errors: VECTOR_WRITE_ERRORS,
  async handle(call, input) {
    const items = itemsOf(call, input as BatchInput);
    await admitMore(call, input.principal, items.length - 1);
    const job = `imp_${hexOf(call.writeId!)}`;
    const bodyHash = await sha256Hex(input.raw.bytes);
    const data = await withDatabase(call, askedDatabase(input.params, input.keyspace), async (database) => {
      await take(call, database, { items, job, bodyHash });
      return oneImport(call, database, job);
    });
    return success(call, { status: 202, message: "taken", data });
  },
});

const list = configRoute({
  method: "get",
  path: PATH,
  summary: "List the imports of a database that are under way or ended in the last day, the youngest first",
  scope: "read-only",
  params: databaseParams,
  query: databaseQuery,
  data: schemas.importsShape,
  errors: ["notFound", "conflict"],
  async handle(call, { params, keyspace }) {
    const items = await withDatabase(call, askedDatabase(params, keyspace), (database) => importsOf(call, database));
    return success(call, { message: "listed", data: { items } });
  },
});

const look = configRoute({
  method: "get",
  path: ONE,
  summary: "Show an import: how far it is, and which vectors were refused",
  scope: "read-only",
  params: schemas.importParams,
  query: databaseQuery,
  data: schemas.importShape,
  errors: ["notFound", "conflict"],
  async handle(call, { params, keyspace }) {
    const data = await withDatabase(call, askedDatabase(params, keyspace), (database) =>
      oneImport(call, database, params["id"]!),
    );
    return success(call, { message: "found", data });
  },
});

const cancel = configRoute({
  method: "delete",
  path: ONE,
  summary: "Cancel an import; vectors that it has stored stay",
  scope: "read-write",
  params: schemas.importParams,
  query: databaseQuery,
  data: schemas.importShape,
  errors: ["notFound", "conflict", "unknownOutcome"],
  async handle(call, { params, keyspace }) {
    const job = params["id"]!;
    const data = await withDatabase(call, askedDatabase(params, keyspace), async (database) => {
      const before = await oneImport(call, database, job);
      await callAllShards(call, database, { kind: "importCancel", job });
      const [after] = await importsOf(call, database, job);
      // One that was not begun anywhere is forgotten.
      return after ?? { ...before, state: "cancelled" };
    });
    return success(call, { message: "cancelled", data });
  },
});

export const vectorImportRoutes: readonly Route[] = [create, list, look, cancel];
