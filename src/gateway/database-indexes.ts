// /v1/databases/…/indexes: the indexes of a database, and how far they are built.
// Guarantees: an index that is answered as created or changed is known to all shards; searches find every vector all the while.
import type { DatabaseInfo } from "../../objects/database-rpc.ts";
import { unwrap } from "../../objects/tenancy-rpc.ts";
import { DEFAULT_INDEX, type IndexChange, indexesOf } from "../vector/database/indexes.ts";
import type { IndexStatus, ReductionStatus, ShardStatus } from "../vector/shard/shard-status.ts";
import { PublicError } from "../wire/error-codes.ts";
import { success } from "./answers.ts";
import type { Call } from "./call.ts";
import type { RawObject } from "./config-fields.ts";
import { configRoute } from "./config-route.ts";
import * as schemas from "./database-index-schemas.ts";
import { nestedCamelNames, parametersOf } from "./database-record.ts";
import { databaseParams, databaseQuery } from "./database-schemas.ts";
import { askedDatabase, change, mutationOf } from "./databases.ts";
import { writing } from "./errors.ts";
import { invalidRequest } from "./issues.ts";
import type { Route } from "./route.ts";
import { callAllShards } from "./vector-call.ts";
import { type AskedDatabase, findDatabase, withDatabase } from "./vector-databases.ts";

const PATH = "/v1/databases/{db}/indexes";
const ONE = `${PATH}/{id}`;
const CHANGE_ERRORS = ["notFound", "conflict", "idempotencyKeyReused", "unknownOutcome"] as const;

type Placed = IndexStatus & { readonly shard: number };

function sumOf(shards: readonly Placed[], amount: (status: Placed) => number): number {
  return shards.reduce((sum, status) => sum + amount(status), 0);
}

/** Shares by the rows that they are of. */
function shownReduction({ reduction }: DatabaseInfo["record"], own: readonly Placed[]) {
  if (!reduction) return {};
  const all = own.flatMap((status) => (status.reduction ? [status.reduction] : []));
  const sum = (amount: (one: ReductionStatus) => number): number => all.reduce((total, one) => total + amount(one), 0);
  const mean = (share: (one: ReductionStatus) => number | null): number | null => {
    const known = all.filter((one) => share(one) !== null && one.reducedRows > 0);
    const rows = known.reduce((total, one) => total + one.reducedRows, 0);
    return rows === 0 ? null : known.reduce((total, one) => total + one.reducedRows * share(one)!, 0) / rows;
  };
  const [savedBytes, heldBytes] = [sum((one) => one.savedBytes), sum((one) => one.heldBytes)];
  const shares = { keptVariance: mean((one) => one.keptVariance), recall: mean((one) => one.recall) };
  const savedShare = heldBytes === 0 ? 0 : savedBytes / (savedBytes + heldBytes);
  return { reduction: { ...reduction, reducedRows: sum((one) => one.reducedRows), ...shares, savedBytes, savedShare } };
}

/** One index over all shards. A shard that has not heard of its newest build has none of it. */
function shownIndex(
  { record, createdAtMs, updatedAtMs }: DatabaseInfo,
  { build, ...index }: ReturnType<typeof indexesOf>[number],
  statuses: readonly Placed[],
) {
  const own = statuses.filter((status) => status.name === index.indexId && status.build === build);
  const rows = sumOf(own, (status) => status.rows);
  const missing = own.flatMap(({ shard, missing: all }) => all.map((one) => ({ shard, ...one })));
  const progress =
    own.length < record.sharding.numShards
      ? 0
      : rows === 0
        ? 1
        : sumOf(own, (status) => status.rows * status.progress) / rows;
  return {
    indexId: index.indexId,
    isDefault: index.indexId === DEFAULT_INDEX,
    indexType: index.indexType,
    indexParameters: index.indexParameters,
    state: missing.length > 0 ? "degraded" : progress < 1 ? "building" : "ready",
    progress,
    rows,
    indexedRows: sumOf(own, (status) => status.indexedRows),
    memoryBytes: sumOf(own, (status) => status.memoryBytes),
    ...shownReduction(record, own),
    quarantinedRows: sumOf(own, (status) => status.quarantinedRows),
    quarantined: own.flatMap(({ shard, quarantined }) => quarantined.map((one) => ({ shard, ...one }))),
    missing,
    createdAt: new Date(index.createdAtMs ?? createdAtMs).toISOString(),
    updatedAt: new Date(index.updatedAtMs ?? updatedAtMs).toISOString(),
  };
}

async function indexesShown(call: Call, asked: AskedDatabase, info: DatabaseInfo) {
  const answers = await withDatabase(call, asked, (database) => callAllShards(call, database, { kind: "status" }));
  const statuses = answers.flatMap(({ status }, shard) =>
    (JSON.parse(status) as ShardStatus).indexes.map((index) => ({ shard, ...index })),
  );
  return indexesOf(info.record).map((index) => shownIndex(info, index, statuses));
}

async function shownOne(call: Call, asked: AskedDatabase, info: DatabaseInfo, indexId: string) {
  const found = (await indexesShown(call, asked, info)).find((index) => index.indexId === indexId);
  if (found) return found;
  throw new PublicError("notFound", `there is no index "${indexId.slice(0, 100)}"`);
}

async function changed(call: Call, asked: AskedDatabase, by: IndexChange, raw: RawObject): Promise<DatabaseInfo> {
  const work = call.services.stubs.tenant(asked.tenant).changeIndex(asked, by, await mutationOf(call, raw));
  return unwrap(await writing(work, "Tenant", change(call)));
}

const create = configRoute({
  method: "post",
  path: PATH,
  summary: "Create an index beside those that a database has; it is built while these serve",
  scope: "admin",
  params: databaseParams,
  query: databaseQuery,
  body: schemas.newIndexBody,
  prepare: nestedCamelNames,
  data: schemas.indexShape,
  successStatus: 201,
  errors: [...CHANGE_ERRORS, "alreadyExists"],
  async handle(call, { params, body, raw, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    const { indexId, indexType } = body;
    const { record } = await findDatabase(call, asked);
    const indexParameters = parametersOf({ ...record, indexType }, body.indexParameters);
    const info = await changed(call, asked, { kind: "create", indexId, indexType, indexParameters }, raw);
    return success(call, { status: 201, message: "created", data: await shownOne(call, asked, info, indexId) });
  },
});

const list = configRoute({
  method: "get",
  path: PATH,
  summary: "List the indexes of a database, the one it was made with first, and how far they are built",
  scope: "read-only",
  params: databaseParams,
  query: databaseQuery,
  data: schemas.indexesShape,
  errors: ["notFound", "dataCorrupt", "conflict"],
  async handle(call, { params, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    const items = await indexesShown(call, asked, await findDatabase(call, asked));
    return success(call, { message: "listed", data: { items } });
  },
});

const look = configRoute({
  method: "get",
  path: ONE,
  summary: "Show an index: parameters, progress, what it lacks",
  scope: "read-only",
  params: schemas.indexParams,
  query: databaseQuery,
  data: schemas.indexShape,
  errors: ["notFound", "dataCorrupt", "conflict"],
  async handle(call, { params, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    const data = await shownOne(call, asked, await findDatabase(call, asked), params["id"]!);
    return success(call, { message: "found", data });
  },
});

const update = configRoute({
  method: "put",
  path: ONE,
  summary: "Change an index's parameters, or build it anew; what it has serves until the new one is built",
  scope: "admin",
  params: schemas.indexParams,
  query: databaseQuery,
  body: schemas.indexChangesBody,
  prepare: nestedCamelNames,
  data: schemas.indexShape,
  errors: CHANGE_ERRORS,
  async handle(call, { params, body, raw, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    const indexId = params["id"]!;
    const { indexParameters: given, rebuild } = body;
    if (!given && !rebuild) throw invalidRequest([{ path: "indexParameters", message: "give it, or rebuild" }]);
    const { record } = await findDatabase(call, asked);
    const held = indexesOf(record).find((index) => index.indexId === indexId);
    // The tenant's object says that there is none; here it has no parameters to change.
    const indexParameters =
      held && given && parametersOf({ ...record, ...held }, { ...held.indexParameters, ...given });
    const info = await changed(call, asked, { kind: "update", indexId, indexParameters, rebuild }, raw);
    return success(call, { message: "changed", data: await shownOne(call, asked, info, indexId) });
  },
});

const remove = configRoute({
  method: "delete",
  path: ONE,
  summary: "Delete an index; vectors stay. The one that the database was made with cannot be deleted",
  scope: "admin",
  params: schemas.indexParams,
  query: databaseQuery,
  data: schemas.deletedIndexShape,
  errors: CHANGE_ERRORS,
  async handle(call, { params, raw, keyspace }) {
    const indexId = params["id"]!;
    await changed(call, askedDatabase(params, keyspace), { kind: "delete", indexId }, raw);
    return success(call, { message: "deleted", data: { indexId } });
  },
});

export const databaseIndexRoutes: readonly Route[] = [create, list, look, update, remove];
