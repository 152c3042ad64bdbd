// /v1/databases/…/snapshots, …/archive, …/restore: a database kept as it was, put aside, and brought back.
// Guarantees: what is answered as done is done at every shard; what a crash interrupts goes on by itself. A snapshot's data is of one revision
// of each shard, checked block by block, and one block is in memory either way.
import type { DatabaseTask } from "../../objects/database-rpc.ts";
import { unwrap } from "../../objects/tenancy-rpc.ts";
import { hexOf } from "../access/api-key.ts";
import { shardOf } from "../cluster/shard-of.ts";
import { NO_LIFECYCLE } from "../vector/database/lifecycle.ts";
import { shardName } from "../vector/database/record.ts";
import { shardCountOf } from "../vector/database/resharding.ts";
import type { DamagedPart, SnapshotCheck, SnapshotPage, SnapshotPlace } from "../vector/shard/snapshots.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { VectorInput } from "../wire/vector.ts";
import {
  DamagedVectorSnapshot,
  VECTOR_SNAPSHOT_TYPE,
  type VectorSnapshotHead,
  VectorSnapshotReader,
  VectorSnapshotWriter,
} from "../wire/vector-snapshot.ts";
import { apiHeaders, success } from "./answers.ts";
import type { Call } from "./call.ts";
import { type ConfigInput, configRoute } from "./config-route.ts";
import { requireReading } from "./database-expired.ts";
import * as schemas from "./database-lifecycle-schemas.ts";
import { shownDatabase } from "./database-record.ts";
import { databaseParams, databaseQuery, databaseShape } from "./database-schemas.ts";
import { askedDatabase, change, mutationOf } from "./databases.ts";
import { reading, writing } from "./errors.ts";
import { invalidRequest, parseWith } from "./issues.ts";
import { RESTORE_RETRIES, RESTORE_RETRY_MS } from "./limits.ts";
import type { Route } from "./route.ts";
import { streamOf } from "./snapshot-reading.ts";
import { callShard } from "./vector-call.ts";
import { type AskedDatabase, findDatabase, type KnownDatabase, withDatabase } from "./vector-databases.ts";
import { publicErrorFrom } from "./vector-failure.ts";

const ONE = "/v1/databases/{db}";
const SNAPSHOTS = `${ONE}/snapshots`;
const SNAPSHOT = `${SNAPSHOTS}/{snapshot}`;
const ERRORS = ["notFound", "dataCorrupt", "idempotencyKeyReused", "unknownOutcome", "conflict"] as const;

/** Damaged parts of a snapshot that a refusal names. */
const MAX_NAMED_PARTS = 16;

interface MissingPart extends DamagedPart {
  readonly shard: number;
}

interface Missing {
  readonly rows: number;
  readonly parts: readonly MissingPart[];
}

type Input = Pick<ConfigInput<unknown, unknown>, "params" | "raw" | "keyspace">;

async function run(call: Call, { params, raw, keyspace }: Input, task: DatabaseTask) {
  const asked = askedDatabase(params, keyspace);
  const work = call.services.stubs.tenant(asked.tenant).runDatabaseTask(asked, task, await mutationOf(call, raw));
  return unwrap(await writing(work, "Tenant", change(call)));
}

function snapshotIdOf(params: Readonly<Record<string, string>>): string {
  return parseWith(schemas.snapshotParams, params).snapshot;
}

const shownSnapshot = ({ snapshotId, createdAtMs }: { snapshotId: string; createdAtMs: number }): object => ({
  snapshotId,
  createdAt: new Date(createdAtMs).toISOString(),
});

/** What each shard holds of it. */
async function headOf(call: Call, asked: AskedDatabase, snapshotId: string): Promise<VectorSnapshotHead> {
  const { record, generation } = await findDatabase(call, asked);
  const held = (record.lifecycle ?? NO_LIFECYCLE).snapshots.find((each) => each.snapshotId === snapshotId);
  if (!held) throw new PublicError("notFound", `there is no snapshot "${snapshotId}"`);
  const numShards = shardCountOf(record.sharding);
  const shards = await Promise.all(
    Array.from({ length: numShards }, async (_, shard) => {
      const stub = call.services.stubs.vectorShard(shardName({ ...asked, generation }, shard));
      const info = await reading(stub.snapshotInfo(snapshotId), "VectorShard");
      if (!info) throw new PublicError("unavailable", `shard ${shard} has not taken the snapshot yet, or is archived`);
      return { shard, ...info };
    }),
  );
  return {
    ...{ snapshotId, databaseId: asked.databaseId, createdAtMs: held.createdAtMs, shards },
    ...{ vectorDimension: record.vectorDimension, metric: record.metric },
    rows: shards.reduce((sum, { rows }) => sum + rows, 0),
  };
}

const take = configRoute({
  method: "post",
  path: SNAPSHOTS,
  summary: "Keep what a database holds now, each shard at one revision; costs what is not in segments yet",
  scope: "admin",
  params: databaseParams,
  query: databaseQuery,
  body: schemas.newSnapshotBody,
  data: schemas.snapshotShape,
  successStatus: 201,
  errors: [...ERRORS, "alreadyExists", "quotaExceeded"],
  async handle(call, input) {
    const snapshotId = input.body.snapshotId ?? `snap_${hexOf(call.writeId!).slice(0, 16)}`;
    await run(call, input, { kind: "takeSnapshot", snapshotId });
    const head = await headOf(call, askedDatabase(input.params, input.keyspace), snapshotId);
    return success(call, {
      status: 201,
      message: "kept",
      data: { ...shownSnapshot(head), rows: head.rows, shards: head.shards },
    });
  },
});

const list = configRoute({
  method: "get",
  path: SNAPSHOTS,
  summary: "List the snapshots of a database",
  scope: "read-only",
  params: databaseParams,
  query: databaseQuery,
  data: schemas.snapshotsShape,
  errors: ["notFound", "dataCorrupt"],
  async handle(call, { params, keyspace }) {
    const { record } = await findDatabase(call, askedDatabase(params, keyspace));
    const items = (record.lifecycle ?? NO_LIFECYCLE).snapshots.map(shownSnapshot);
    return success(call, { message: "listed", data: { items } });
  },
});

const look = configRoute({
  method: "get",
  path: SNAPSHOT,
  summary: "Show a snapshot: its rows, and the revision of each shard",
  scope: "read-only",
  params: schemas.snapshotParams,
  query: databaseQuery,
  data: schemas.snapshotShape,
  errors: ["notFound", "dataCorrupt"],
  async handle(call, { params, keyspace }) {
    const head = await headOf(call, askedDatabase(params, keyspace), snapshotIdOf(params));
    return success(call, { message: "found", data: { ...shownSnapshot(head), rows: head.rows, shards: head.shards } });
  },
});

const drop = configRoute({
  method: "delete",
  path: SNAPSHOT,
  summary: "Delete a snapshot",
  scope: "admin",
  params: schemas.snapshotParams,
  query: databaseQuery,
  data: schemas.droppedShape,
  errors: ERRORS,
  async handle(call, input) {
    const snapshotId = snapshotIdOf(input.params);
    await run(call, input, { kind: "dropSnapshot", snapshotId });
    return success(call, { message: "deleted", data: { snapshotId } });
  },
});

async function* dataOf(call: Call, database: KnownDatabase, head: VectorSnapshotHead): AsyncGenerator<Uint8Array> {
  const writer = new VectorSnapshotWriter();
  yield writer.head(head);
  for (const { shard } of head.shards) {
    const stub = call.services.stubs.vectorShard(shardName(database, shard));
    let place: SnapshotPlace | null = { part: 0, row: 0 };
    while (place) {
      const page: SnapshotPage | null = await reading(stub.snapshotPage(head.snapshotId, place), "VectorShard");
      if (!page) throw new Error("the snapshot was deleted while it was read");
      if (page.count > 0) yield writer.rows(page.rows, page.count);
      place = page.next;
    }
  }
  yield writer.end();
}

const download = configRoute({
  method: "get",
  path: `${SNAPSHOT}/data`,
  summary: `The vectors of a snapshot as a checksummed stream (${VECTOR_SNAPSHOT_TYPE})`,
  scope: "read-only",
  params: schemas.snapshotParams,
  query: databaseQuery,
  errors: ["notFound", "dataCorrupt"],
  async handle(call, { params, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    requireReading(call, (await findDatabase(call, asked)).record);
    const head = await headOf(call, asked, snapshotIdOf(params));
    return withDatabase(call, asked, async (database) => {
      const headers = apiHeaders(call, {}, VECTOR_SNAPSHOT_TYPE);
      return new Response(streamOf(call, dataOf(call, database, head)), { headers });
    });
  },
});

/** Rows that come faster than they are sealed wait for it. */
async function patiently<T>(run: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await run();
    } catch (error) {
      const isBusy = error instanceof PublicError && error.code === "overloaded";
      if (!isBusy || tries >= RESTORE_RETRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, RESTORE_RETRY_MS));
    }
  }
}

/** Rows go where they belong in this database, whatever shards they come from. */
async function storeRows(call: Call, database: KnownDatabase, rows: readonly VectorInput[]): Promise<void> {
  const shards = Map.groupBy(rows, ({ id }) => shardOf(id, database.homes));
  await Promise.all(
    [...shards].map(async ([shard, own]) => {
      const request = { kind: "upsert", rows: own, durability: "sync" } as const;
      const { results } = await patiently(() => callShard(call, { database, shard }, request));
      for (const result of results) if (result && "kind" in result) throw publicErrorFrom(result);
    }),
  );
}

async function restoreData(call: Call, database: KnownDatabase): Promise<number> {
  const reader = new VectorSnapshotReader();
  let stored = 0;
  const body = (call.request.body as ReadableStream<Uint8Array> | null)?.getReader();
  try {
    for (;;) {
      const piece = await body?.read().catch(() => undefined);
      if (!piece?.value) break;
      for (const block of reader.take(piece.value)) {
        if (block.kind === "head" && block.head.vectorDimension !== database.dimension)
          throw new DamagedVectorSnapshot(
            `has vectors of ${block.head.vectorDimension} dimensions; the database has ${database.dimension}`,
          );
        if (block.kind !== "rows") continue;
        await storeRows(call, database, block.rows);
        stored += block.rows.length;
      }
    }
    return reader.finish();
  } catch (error) {
    if (!(error instanceof DamagedVectorSnapshot)) throw error;
    throw invalidRequest([
      { path: "body", message: `${error.message}; ${stored} vectors of it are stored`, value: stored },
    ]);
  }
}

/** What a restore of a snapshot would lack: it is looked at whole before anything is changed. Undefined = nothing. */
async function missingOf(call: Call, asked: AskedDatabase, snapshotId: string): Promise<Missing | undefined> {
  const head = await headOf(call, asked, snapshotId).catch((error: unknown) => {
    // What the tenant's object says of its state is better than what shards do.
    if (error instanceof PublicError && error.code !== "dataCorrupt" && error.code !== "notFound") return undefined;
    throw error;
  });
  if (!head) return undefined;
  const { generation } = await findDatabase(call, asked);
  const parts: MissingPart[] = [];
  let rows = head.rows;
  for (const { shard } of head.shards) {
    const stub = call.services.stubs.vectorShard(shardName({ ...asked, generation }, shard));
    for (let place: SnapshotPlace | null = { part: 0, row: 0 }; place; ) {
      const checked: SnapshotCheck | null = await reading(stub.checkSnapshot(snapshotId, place), "VectorShard");
      if (!checked) throw new PublicError("unavailable", `shard ${shard} does not have the snapshot, or is archived`);
      rows -= checked.rows ?? 0;
      if (checked.damaged) parts.push({ shard, ...checked.damaged });
      place = checked.next;
    }
  }
  return parts.length === 0 ? undefined : { rows, parts };
}

function refusedDamage({ rows, parts }: Missing): PublicError {
  const named = parts
    .slice(0, MAX_NAMED_PARTS)
    .map(({ shard, part, message }) => `shard ${shard}, part ${part}: ${message}`);
  const message = `the snapshot is damaged, and nothing was changed; with "withoutDamaged": true it is restored without ${parts.length} of its parts, ${rows} vectors. ${named.join("; ")}`;
  return new PublicError("dataCorrupt", message, { missing: { rows, parts: parts.slice(0, MAX_NAMED_PARTS) } });
}

const restore = configRoute({
  method: "post",
  path: `${ONE}/restore`,
  summary: "Bring an archived database back; or, with snapshotId, put a database back to what a snapshot holds",
  scope: "admin",
  params: databaseParams,
  query: databaseQuery,
  body: schemas.restoreBody,
  data: schemas.restoredDatabaseShape,
  errors: ERRORS,
  async handle(call, input) {
    const { snapshotId, withoutDamaged } = input.body;
    if (!snapshotId) {
      if (withoutDamaged) throw invalidRequest([{ path: "withoutDamaged", message: "goes with snapshotId only" }]);
      const data = shownDatabase(await run(call, input, { kind: "unarchive" }));
      return success(call, { message: "restored", data });
    }
    const missing = await missingOf(call, askedDatabase(input.params, input.keyspace), snapshotId);
    if (missing && !withoutDamaged) throw refusedDamage(missing);
    const without = missing?.parts.map(({ shard, part }) => ({ shard, part }));
    const asked = { snapshotId, token: hexOf(call.writeId!), ...(without && { without }) };
    const data = shownDatabase(await run(call, input, { kind: "restoreSnapshot", ...asked }));
    return success(call, { message: "restored", data: { ...data, ...(missing && { missing }) } });
  },
});

const upload = configRoute({
  method: "post",
  path: `${ONE}/restore/data`,
  summary: "Store the vectors of a snapshot's data in a database of the same dimension, with their versions and times",
  scope: "admin",
  params: databaseParams,
  query: databaseQuery,
  bodyType: VECTOR_SNAPSHOT_TYPE,
  streamsBody: true,
  data: schemas.restoredShape,
  errors: [...ERRORS, "unsupportedMediaType", "insufficientStorage", "overloaded"],
  async handle(call, { params, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    // The body is read once: the database must be there before.
    await findDatabase(call, asked);
    const rows = await withDatabase(call, asked, (database) => restoreData(call, database));
    return success(call, { message: "restored", data: { databaseId: asked.databaseId, rows } });
  },
});

const archive = configRoute({
  method: "post",
  path: `${ONE}/archive`,
  summary: "Put a database aside: it keeps its disk and frees its memory; its vectors answer 409 until it is restored",
  scope: "admin",
  params: databaseParams,
  query: databaseQuery,
  data: databaseShape,
  errors: ERRORS,
  async handle(call, input) {
    return success(call, { message: "archived", data: shownDatabase(await run(call, input, { kind: "archive" })) });
  },
});

export const databaseLifecycleRoutes: readonly Route[] = [take, list, look, drop, download, archive, restore, upload];
