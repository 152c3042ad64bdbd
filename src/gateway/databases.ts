// /v1/databases: the vector databases of a tenant.
// Guarantees: a database that is answered as created has all its shards; an id created again sees nothing of the one before.
import type { DatabaseInfo } from "../../objects/database-rpc.ts";
import type { Mutation } from "../../objects/tenancy-rpc.ts";
import { unwrap } from "../../objects/tenancy-rpc.ts";
import { hexOf, sha256Hex } from "../access/api-key.ts";
import type { ShardStatus } from "../vector/shard/shard-status.ts";
import { success } from "./answers.ts";
import type { Call } from "./call.ts";
import type { RawObject } from "./config-fields.ts";
import { configRoute } from "./config-route.ts";
import { afterCursor, pageOf } from "./cursor.ts";
import { changesOf, nestedCamelNames, recordOf, shownDatabase } from "./database-record.ts";
import * as schemas from "./database-schemas.ts";
import { reading, writing } from "./errors.ts";
import { parseWith } from "./issues.ts";
import { DATABASE_DEADLINE_MS } from "./limits.ts";
import type { Route } from "./route.ts";
import { callShard } from "./vector-call.ts";
import { withFilling } from "./vector-copies.ts";
import { type AskedDatabase, findDatabase, withDatabase } from "./vector-databases.ts";
import { shardingStateOf } from "./vector-routing.ts";
import { requireModels } from "./vector-texts.ts";

const PATH = "/v1/databases";
const ONE = `${PATH}/{db}`;
const decoder = new TextDecoder();

/** Which database the path and the query mean. */
export function askedDatabase(
  params: Readonly<Record<string, string>>,
  keyspace: { readonly tenant: number; readonly namespace: string },
): AskedDatabase {
  return { ...keyspace, databaseId: parseWith(schemas.databaseParams, { db: params["db"] }).db };
}

export async function mutationOf(call: Call, raw: RawObject): Promise<Mutation> {
  const text = `${call.request.method}\0${call.path}\0${call.url.search}\0${decoder.decode(raw.bytes)}`;
  return { writeId: call.writeId!, bodyHash: await sha256Hex(text) };
}

export const change = (call: Call) => ({ writeIdHex: hexOf(call.writeId!), deadlineMs: DATABASE_DEADLINE_MS });

const create = configRoute({
  method: "post",
  path: PATH,
  summary: "Create a vector database",
  scope: "admin",
  query: schemas.databaseQuery,
  body: schemas.newDatabaseBody,
  prepare: nestedCamelNames,
  data: schemas.databaseShape,
  successStatus: 201,
  errors: ["alreadyExists", "dataCorrupt", "quotaExceeded", "idempotencyKeyReused", "unknownOutcome"],
  async handle(call, { body, raw, keyspace: { tenant, namespace } }) {
    const databaseId = body.databaseId ?? `db_${hexOf(call.writeId!).slice(0, 16)}`;
    const models = await requireModels(call, tenant, body);
    const input = { namespace, record: recordOf({ ...body, ...models }, databaseId) };
    const work = call.services.stubs.tenant(tenant).createDatabase(input, await mutationOf(call, raw));
    const info = unwrap(await writing(work, "Tenant", change(call)));
    return success(call, { status: 201, message: "created", data: shownDatabase(info) });
  },
});

const list = configRoute({
  method: "get",
  path: PATH,
  summary: "List the databases of a namespace",
  scope: "read-only",
  query: schemas.databasesQuery,
  data: schemas.databasesShape,
  errors: ["dataCorrupt"],
  async handle(call, { query, keyspace: { tenant, namespace } }) {
    const page = { namespace, after: afterCursor(query.cursor), limit: query.limit + 1 };
    const rows = unwrap(await reading(call.services.stubs.tenant(tenant).listDatabases(page), "Tenant"));
    const name = ({ record }: DatabaseInfo): string => record.databaseId;
    return success(call, { message: "listed", data: pageOf(rows, query.limit, { name, item: shownDatabase }) });
  },
});

const look = configRoute({
  method: "get",
  path: ONE,
  summary: "Show a database's configuration",
  scope: "read-only",
  params: schemas.databaseParams,
  query: schemas.databaseQuery,
  data: schemas.databaseShape,
  errors: ["notFound", "dataCorrupt"],
  async handle(call, { params, keyspace }) {
    const info = await findDatabase(call, askedDatabase(params, keyspace));
    return success(call, { message: "found", data: shownDatabase(info) });
  },
});

const update = configRoute({
  method: "put",
  path: ONE,
  summary: "Change what may change of a database: all but its dimension, metric, index type and sharding",
  scope: "admin",
  params: schemas.databaseParams,
  query: schemas.databaseQuery,
  body: schemas.databaseChangesBody,
  prepare: nestedCamelNames,
  data: schemas.databaseShape,
  errors: ["notFound", "dataCorrupt", "idempotencyKeyReused", "unknownOutcome"],
  async handle(call, { params, body, raw, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    const { record } = await findDatabase(call, asked);
    const { vectorDimension } = record;
    const asking = { embeddingModels: body.embeddingModels, vectorDimension };
    const { embeddingModels } = await requireModels(call, keyspace.tenant, asking);
    const changes = changesOf({ ...body, ...(body.embeddingModels && { embeddingModels }) }, record);
    const { stubs } = call.services;
    const work = stubs.tenant(keyspace.tenant).updateDatabase(asked, changes, await mutationOf(call, raw));
    const info = unwrap(await writing(work, "Tenant", change(call)));
    return success(call, { message: "changed", data: shownDatabase(info) });
  },
});

const remove = configRoute({
  method: "delete",
  path: ONE,
  summary: "Delete a database with all its vectors",
  scope: "admin",
  params: schemas.databaseParams,
  query: schemas.databaseQuery,
  data: schemas.deletedDatabaseShape,
  errors: ["notFound", "dataCorrupt", "idempotencyKeyReused", "unknownOutcome"],
  async handle(call, { params, raw, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    const { stubs } = call.services;
    const work = stubs.tenant(keyspace.tenant).deleteDatabase(asked, await mutationOf(call, raw));
    const data = unwrap(await writing(work, "Tenant", change(call)));
    return success(call, { message: "deleted", data });
  },
});

const AMOUNTS = [
  "rows",
  "freshRows",
  "segments",
  "deletedRows",
  "logBytes",
  "memoryBytes",
  "indexBytes",
  "cacheHits",
  "cacheMisses",
  "cacheBytes",
  "hotBytes",
  "coldBytes",
] as const satisfies readonly (keyof ShardStatus)[];

const status = configRoute({
  method: "get",
  path: `${ONE}/status`,
  summary: "Rows, segments and memory of a database, in all and for each shard",
  scope: "read-only",
  params: schemas.databaseParams,
  query: schemas.databaseQuery,
  data: schemas.databaseStatusShape,
  errors: ["notFound", "dataCorrupt", "conflict"],
  async handle(call, { params, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    const { shards, sharding } = await withDatabase(call, asked, async (database) => {
      const shards = await Promise.all(
        Array.from({ length: database.numShards }, async (_, shard) => {
          const { term, revision, status: text } = await callShard(call, { database, shard }, { kind: "status" });
          // Those have a route of their own.
          const { indexes: _indexes, ...amounts } = JSON.parse(text) as ShardStatus;
          const replicas = await withFilling(call, { database, shard }, amounts.replicas);
          return { shard, term, revision, ...amounts, ...(replicas && { replicas }) };
        }),
      );
      const rows = shards.map((shard) => shard.rows);
      return { shards, sharding: await shardingStateOf(call, database, rows) };
    });
    const sums = AMOUNTS.map((name) => [name, shards.reduce((sum, shard) => sum + shard[name], 0)]);
    const data = { databaseId: asked.databaseId, state: "ready", ...Object.fromEntries(sums), sharding, shards };
    return success(call, { message: "found", data });
  },
});

export const databaseRoutes: readonly Route[] = [create, list, look, update, remove, status];
