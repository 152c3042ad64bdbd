// What each operation of wire/vector-session.ts does: the same functions that the routes of /v1/databases call, with vectors as bytes.
import type { RateSubject } from "../access/rate-gate.ts";
import type { Caller } from "../access/types.ts";
import { shardOf } from "../cluster/shard-of.ts";
import { MAX_PAGE_ROWS } from "../vector/shard/limits.ts";
import type { FoundAnswer, VectorAnswer, VectorHit, VectorInput, VectorStamp } from "../wire/vector.ts";
import type { VectorItem, VectorOperation, VectorSessionCall, VectorSessionHead } from "../wire/vector-session.ts";
import { admitMore } from "./access.ts";
import type { Call } from "./call.ts";
import { askedDatabase } from "./databases.ts";
import { invalidRequest, parseWith } from "./issues.ts";
import { MAX_BATCH_QUERIES, MAX_BATCH_VECTORS, MAX_DELETE_CALLS } from "./limits.ts";
import { charge } from "./search-cost.ts";
import { optionsParser, parsedOptions, type ReadAsk, readAs } from "./vector-ask.ts";
import { deleteIds, deleteMatching, requireAll, storeAll } from "./vector-batch.ts";
import { callAllShards, callShard, writesOf } from "./vector-call.ts";
import { type AskedDatabase, type KnownDatabase, withDatabase } from "./vector-databases.ts";
import { pageOfShards } from "./vector-list.ts";
import { VectorReading } from "./vector-reading.ts";
import { sessionOptions } from "./vector-schemas.ts";
import { explainText, type Found, pageWithin, type Query, searchAll } from "./vector-search.ts";
import { isForAll } from "./vector-threshold.ts";
import { onlyResult } from "./vectors.ts";

export interface Operation {
  readonly caller: Caller;
  readonly rate: RateSubject | undefined;
  readonly namespace: string;
}

export interface Done {
  readonly head: VectorSessionHead;
  readonly answer: VectorAnswer;
}

type Run = (call: Call, asked: VectorSessionCall, of: Operation) => Promise<Done>;

const NO_BYTES = new Uint8Array(0);
/** Answers that are put together of several shards' are of no one place. */
const NO_PLACE = { term: 0, revision: 0 };

const optionsOf = ({ options }: VectorSessionCall): object => (options === "" ? {} : parsedOptions(options));

function databaseOf({ databaseId }: VectorSessionCall, { caller, namespace }: Operation): AskedDatabase {
  return askedDatabase({ db: databaseId }, { tenant: caller.tenant, namespace });
}

/** How a call reads, and from which token on. */
function readsAs(call: Call, { token, ...ask }: ReadAsk & { readonly token?: string | undefined }): void {
  call.reading = new VectorReading(token);
  readAs(call, ask);
}

function requireItems({ items }: VectorSessionCall, most: number): readonly VectorItem[] {
  if (items.length > 0 && items.length <= most) return items;
  throw invalidRequest([{ path: "items", message: `are ${items.length}`, value: items.length, limit: most }]);
}

function inputOf({ id, values = NO_BYTES, metadata = NO_BYTES }: VectorItem): VectorInput {
  return { id, values, metadata };
}

const writeOf = ({ writeId, bodyHash }: VectorSessionCall) => ({ writeId: writeId!, bodyHash: bodyHash! });
const filterOf = (filters: object | undefined): string | undefined => filters && JSON.stringify(filters);

function written(stamp: VectorStamp, shard: number): Done {
  return { head: { shards: [shard] }, answer: { kind: "written", ...NO_PLACE, results: [stamp] } };
}

const upsert: Run = async (call, asked, of) => {
  const { durability } = parseWith(sessionOptions.write, optionsOf(asked));
  const row = inputOf(requireItems(asked, 1)[0]!);
  return withDatabase(call, databaseOf(asked, of), async (database) => {
    const shard = shardOf(row.id, database.homes);
    const request = { kind: "upsert", rows: [row], durability } as const;
    return written(onlyResult(await callShard(call, { database, shard }, request, writeOf(asked)), row.id), shard);
  });
};

const batch: Run = async (call, asked, of) => {
  const { atomic, durability } = parseWith(sessionOptions.batch, optionsOf(asked));
  const items = requireItems(asked, MAX_BATCH_VECTORS).map((item) => ({ input: inputOf(item) }));
  await admitMore(call, of, items.length - 1);
  const { writeId, bodyHash } = writeOf(asked);
  const writes = (count: number) => writesOf(writeId, bodyHash, count);
  const results = await withDatabase(call, databaseOf(asked, of), (database) =>
    storeAll(call, database, items, { atomic, durability, writes }),
  );
  const shown = results.map((result) => ("stamp" in result ? result.stamp : result.failure));
  return { head: {}, answer: { kind: "written", ...NO_PLACE, results: shown } };
};

const update: Run = async (call, asked, of) => {
  const { durability } = parseWith(sessionOptions.write, optionsOf(asked));
  const { id, values, metadata } = requireItems(asked, 1)[0]!;
  if (!values && !metadata) throw invalidRequest([{ path: "values", message: "give values, metadata, or both" }]);
  return withDatabase(call, databaseOf(asked, of), async (database) => {
    const shard = shardOf(id, database.homes);
    const request = { kind: "update", id, values, metadata, durability } as const;
    return written(onlyResult(await callShard(call, { database, shard }, request, writeOf(asked)), id), shard);
  });
};

const remove: Run = async (call, asked, of) => {
  const { durability } = parseWith(sessionOptions.write, optionsOf(asked));
  const { id } = requireItems(asked, 1)[0]!;
  return withDatabase(call, databaseOf(asked, of), async (database) => {
    const shard = shardOf(id, database.homes);
    const request = { kind: "delete", ids: [id], durability } as const;
    return written(onlyResult(await callShard(call, { database, shard }, request, writeOf(asked)), id), shard);
  });
};

const get: Run = async (call, asked, of) => {
  readsAs(call, parseWith(sessionOptions.read, optionsOf(asked)));
  const { id } = requireItems(asked, 1)[0]!;
  return withDatabase(call, databaseOf(asked, of), async (database) => {
    const shard = shardOf(id, database.homes);
    const shown = { values: true, metadata: true };
    const answer = await callShard(call, { database, shard }, { kind: "get", ids: [id], shown });
    return { head: { shards: [shard] }, answer };
  });
};

const removeMany: Run = async (call, asked, of) => {
  const { durability } = parseWith(sessionOptions.write, optionsOf(asked));
  const ids = requireItems(asked, MAX_PAGE_ROWS).map(({ id }) => id);
  await admitMore(call, of, ids.length - 1);
  const write = writeOf(asked);
  return withDatabase(call, databaseOf(asked, of), async (database) => {
    const done = await deleteIds(call, database, { ids, durability, write });
    requireAll(done);
    const { deleted, missing } = done;
    return { head: { missing }, answer: { kind: "count", ...NO_PLACE, count: deleted } };
  });
};

const removeWhere: Run = async (call, asked, of) => {
  const { filters } = parseWith(sessionOptions.deleteWhere, optionsOf(asked));
  if (Object.keys(filters).length === 0)
    throw invalidRequest([{ path: "filters", message: "must hold a condition; to delete all, delete the database" }]);
  const { writeId, bodyHash } = writeOf(asked);
  const writes = await writesOf(writeId, bodyHash, MAX_DELETE_CALLS);
  return withDatabase(call, databaseOf(asked, of), async (database) => {
    const done = await deleteMatching(call, database, JSON.stringify(filters), writes);
    requireAll(done);
    const { deleted, more } = done;
    return { head: { more }, answer: { kind: "count", ...NO_PLACE, count: deleted } };
  });
};

const list: Run = async (call, asked, of) => {
  const { filters, consistency, token, ...ask } = parseWith(sessionOptions.list, optionsOf(asked));
  readsAs(call, { consistency, token });
  return withDatabase(call, databaseOf(asked, of), async (database) => {
    const { rows, cursor } = await pageOfShards(call, database, { ...ask, filters: filterOf(filters) });
    const answer = { kind: "rows", ...NO_PLACE, rows: rows.map(({ row }) => row), cursor: NO_BYTES } as const;
    return { head: { shards: rows.map(({ shard }) => shard), cursor }, answer };
  });
};

const count: Run = async (call, asked, of) => {
  const { filters, ...ask } = parseWith(sessionOptions.count, optionsOf(asked));
  readsAs(call, ask);
  const request = { kind: "count", filter: filterOf(filters) } as const;
  const answers = await withDatabase(call, databaseOf(asked, of), (database: KnownDatabase) =>
    callAllShards(call, database, request),
  );
  const sum = answers.reduce((all, answer) => all + answer.count, 0);
  return { head: {}, answer: { kind: "count", ...NO_PLACE, count: sum } };
};

function queriesOf(asked: VectorSessionCall, most: number): readonly Query[] {
  return requireItems(asked, most).map(({ id, values }) => (values ? { values } : { id }));
}

function found(results: readonly (readonly VectorHit[])[], scanned: number, explain: string): FoundAnswer {
  return { kind: "found", ...NO_PLACE, results, scanned, cached: 0, explain };
}

const isCompleteOf = ({ isComplete }: Found) => ({ isComplete });

const searchOptions = optionsParser((json) => parseWith(sessionOptions.search, json));

const search: Run = async (call, asked, of) => {
  const { token, ...ask } = searchOptions(asked.options);
  call.reading = new VectorReading(token);
  const isBatch = asked.operation === "searchMany";
  const queries = queriesOf(asked, isBatch ? MAX_BATCH_QUERIES : 1);
  const database = databaseOf(asked, of);
  if (!isBatch && isForAll(ask)) {
    readAs(call, ask);
    const { page } = await pageWithin(call, database, { query: queries[0]!, ask });
    await charge(call, of, page.scanned);
    const { hits, cursor, total, scanned, explain } = page;
    const explained = explain ? JSON.stringify(explain) : "";
    const searches = [{ isComplete: cursor === null, cursor, total }];
    return { head: { searches }, answer: found([hits], scanned, explained) };
  }
  await admitMore(call, of, queries.length - 1);
  const searched = await searchAll(call, database, { queries, ask, isBatch });
  await charge(call, of, searched.scanned);
  const { missing } = searched;
  return {
    head: {
      searches: searched.found.map(isCompleteOf),
      ...(missing.length > 0 && { missingShards: missing }),
    },
    answer: found(
      searched.found.map(({ hits }) => hits),
      searched.scanned,
      ask.explain ? explainText(searched) : "",
    ),
  };
};

export const RUN: Readonly<Record<VectorOperation, Run>> = {
  ...{ upsert, batch, update, get, delete: remove, deleteMany: removeMany, deleteWhere: removeWhere },
  ...{ list, count, search, searchMany: search },
};
