// /v1/databases/…/vectors: one vector at a time, pages of them, their number.
// Guarantees: what is stored comes back exactly; a write that is repeated under its Idempotency-Key is applied once.

import { shardOf } from "../cluster/shard-of.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { WrittenAnswer } from "../wire/vector.ts";
import { success, successPieces } from "./answers.ts";
import { CONFIG_WRITE_ERRORS, configRoute } from "./config-route.ts";
import { listPieces } from "./config-shown.ts";
import { databaseParams, databaseQuery } from "./database-schemas.ts";
import { askedDatabase } from "./databases.ts";
import { invalidRequest } from "./issues.ts";
import { MAX_ONE_VECTOR_BODY_BYTES } from "./limits.ts";
import type { Route } from "./route.ts";
import { readAs } from "./vector-ask.ts";
import { callAllShards, callShard, shardWrites } from "./vector-call.ts";
import { withDatabase } from "./vector-databases.ts";
import { publicErrorFrom } from "./vector-failure.ts";
import { madeId, metadataOf, VALUES_NEEDED } from "./vector-fields.ts";
import { filterText, pageOfShards } from "./vector-list.ts";
import * as schemas from "./vector-schemas.ts";
import { storedPiece, vectorPieces } from "./vector-shown.ts";
import { givenValues } from "./vector-texts.ts";

const PATH = "/v1/databases/{db}/vectors";
const ONE = `${PATH}/{id}`;
/** What a shard may answer to any write. */
export const VECTOR_WRITE_ERRORS = [
  ...CONFIG_WRITE_ERRORS,
  "notFound",
  "overloaded",
  "insufficientStorage",
  "dataCorrupt",
] as const;
const READ_ERRORS = ["notFound", "dataCorrupt", "conflict"] as const;

export function noSuchVector(id: string): PublicError {
  return new PublicError("notFound", `there is no vector "${id.slice(0, 100)}"`);
}

/** The only result of a write of one row. */
export function onlyResult({ results: [result] }: WrittenAnswer, id: string) {
  if (!result) throw noSuchVector(id);
  if ("kind" in result) throw publicErrorFrom(result);
  return result;
}

const store = configRoute({
  method: "post",
  path: PATH,
  summary: "Store a vector under an id, whether there is one or not; 201 when the id is new",
  scope: "read-write",
  params: databaseParams,
  query: databaseQuery,
  body: schemas.vectorBody,
  maxBodyBytes: MAX_ONE_VECTOR_BODY_BYTES,
  data: schemas.storedShape,
  otherSuccess: [201],
  errors: VECTOR_WRITE_ERRORS,
  async handle(call, { params, body, raw, keyspace }) {
    const { id = madeId(call.writeId!), durability } = body;
    const metadata = (body.metadata && metadataOf(raw)) ?? new Uint8Array(0);
    const [write] = await shardWrites(call, raw.bytes, 1);
    return withDatabase(call, askedDatabase(params, keyspace), async (database) => {
      const values = await givenValues(call, database, body);
      if (!values) throw invalidRequest([{ path: "values", message: VALUES_NEEDED }]);
      const rows = [{ id, values, metadata }];
      const shard = shardOf(id, database.homes);
      const answer = await callShard(call, { database, shard }, { kind: "upsert", rows, durability }, write);
      const stamp = onlyResult(answer, id);
      const isNew = stamp.version === 1;
      return successPieces(call, isNew ? "created" : "stored", [storedPiece(id, stamp, shard)], isNew ? 201 : 200);
    });
  },
});

const list = configRoute({
  method: "get",
  path: PATH,
  summary: "List vectors, also those that filters let through, page by page, in an order that writes do not change",
  scope: "read-only",
  params: databaseParams,
  query: schemas.listQuery,
  data: schemas.vectorsShape,
  errors: READ_ERRORS,
  handle(call, { params, query, keyspace }) {
    readAs(call, query);
    return withDatabase(call, askedDatabase(params, keyspace), async (database) => {
      const { rows, cursor } = await pageOfShards(call, database, query);
      const items = listPieces(rows, ({ row, shard }) => vectorPieces(row, shard));
      return successPieces(call, "listed", ['{"items":', ...items, `,"cursor":${JSON.stringify(cursor)}}`]);
    });
  },
});

const count = configRoute({
  method: "get",
  path: `${PATH}/count`,
  summary: "Count vectors, also those that filters let through",
  scope: "read-only",
  params: databaseParams,
  query: schemas.countQuery,
  data: schemas.countShape,
  errors: READ_ERRORS,
  async handle(call, { params, query, keyspace }) {
    readAs(call, query);
    const filter = filterText(query.filters);
    const answers = await withDatabase(call, askedDatabase(params, keyspace), (database) =>
      callAllShards(call, database, { kind: "count", filter }),
    );
    const data = { count: answers.reduce((sum, answer) => sum + answer.count, 0) };
    return success(call, { message: "counted", data });
  },
});

/** Where a request says which vector it means. */
interface By {
  readonly path: string;
  readonly summary: string;
  readonly params: typeof databaseParams;
  readonly query: typeof databaseQuery;
  readonly getQuery: typeof schemas.getQuery;
  readonly deleteQuery: typeof schemas.deleteQuery;
}

const BY_PATH: By = {
  path: ONE,
  summary: "",
  params: schemas.vectorParams,
  query: databaseQuery,
  getQuery: schemas.getQuery,
  deleteQuery: schemas.deleteQuery,
};
/** For the ids `.`, `..` and `count`, which a path takes for something else; it takes any. */
const BY_QUERY: By = {
  path: "/v1/databases/{db}/vector",
  summary: ", by its id in the query",
  params: databaseParams,
  query: schemas.vectorIdQuery,
  getQuery: schemas.getIdQuery,
  deleteQuery: schemas.deleteIdQuery,
};

function idOf(params: Readonly<Record<string, string>>, query: object): string {
  return params["id"] ?? (query as { readonly id: string }).id;
}

const look = (by: By): Route =>
  configRoute({
    method: "get",
    path: by.path,
    summary: `Read a vector with its values and metadata${by.summary}`,
    scope: "read-only",
    params: by.params,
    query: by.getQuery,
    data: schemas.vectorShape,
    errors: READ_ERRORS,
    handle(call, { params, query, keyspace }) {
      readAs(call, query);
      const id = idOf(params, query);
      return withDatabase(call, askedDatabase(params, keyspace), async (database) => {
        const shard = shardOf(id, database.homes);
        const shown = { values: true, metadata: true };
        const { rows } = await callShard(call, { database, shard }, { kind: "get", ids: [id], shown });
        const [row] = rows;
        if (!row) throw noSuchVector(id);
        return successPieces(call, "found", vectorPieces(row, shard));
      });
    },
  });

const change = (by: By): Route =>
  configRoute({
    method: "put",
    path: by.path,
    summary: `Change the values, the metadata, or both of a vector that exists; each is replaced whole${by.summary}`,
    scope: "read-write",
    params: by.params,
    query: by.query,
    body: schemas.changeBody,
    maxBodyBytes: MAX_ONE_VECTOR_BODY_BYTES,
    data: schemas.storedShape,
    errors: VECTOR_WRITE_ERRORS,
    async handle(call, { params, query, body, raw, keyspace }) {
      const id = idOf(params, query);
      const { durability } = body;
      if (body.id !== undefined && body.id !== id)
        throw invalidRequest([{ path: "id", message: "is not the one that the path or query names" }]);
      const metadata = body.metadata && metadataOf(raw);
      const { values, text, image, tensor } = body;
      if ([values, text, image, tensor, metadata].every((one) => one === undefined))
        throw invalidRequest([{ path: "values", message: "give values or what they are made of, metadata, or both" }]);
      const [write] = await shardWrites(call, raw.bytes, 1);
      return withDatabase(call, askedDatabase(params, keyspace), async (database) => {
        const values = await givenValues(call, database, body);
        const shard = shardOf(id, database.homes);
        const request = { kind: "update", id, values, metadata, durability } as const;
        const answer = await callShard(call, { database, shard }, request, write);
        return successPieces(call, "changed", [storedPiece(id, onlyResult(answer, id), shard)]);
      });
    },
  });

const remove = (by: By): Route =>
  configRoute({
    method: "delete",
    path: by.path,
    summary: `Delete a vector${by.summary}`,
    scope: "read-write",
    params: by.params,
    query: by.deleteQuery,
    data: schemas.storedShape,
    errors: VECTOR_WRITE_ERRORS,
    async handle(call, { params, query, raw, keyspace }) {
      const id = idOf(params, query);
      const [write] = await shardWrites(call, raw.bytes, 1);
      return withDatabase(call, askedDatabase(params, keyspace), async (database) => {
        const shard = shardOf(id, database.homes);
        const request = { kind: "delete", ids: [id], durability: query.durability } as const;
        const answer = await callShard(call, { database, shard }, request, write);
        return successPieces(call, "deleted", [storedPiece(id, onlyResult(answer, id), shard)]);
      });
    },
  });

export const vectorRoutes: readonly Route[] = [
  ...[store, list, count],
  ...[BY_PATH, BY_QUERY].flatMap((by) => [look(by), change(by), remove(by)]),
];
