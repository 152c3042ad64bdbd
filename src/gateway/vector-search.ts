// POST /v1/databases/…/search, …/search/batch, …/search/advanced: all shards at once, their best merged.
// Guarantees: an answer is of all shards, or names those that are missing where that was asked for; a search is paid for by the rows it looked
// at before its answer is given.
import type { z } from "@hono/zod-openapi";
import { shardOf } from "../cluster/shard-of.ts";
import { MAX_TOP_K } from "../vector/shard/limits.ts";
import { type ErrorCode, PublicError } from "../wire/error-codes.ts";
import type { SearchRequest, VectorHit } from "../wire/vector.ts";
import { admitMore } from "./access.ts";
import { successPieces } from "./answers.ts";
import type { TenantPrincipal } from "./authenticator.ts";
import type { Call } from "./call.ts";
import { camelNames } from "./config-fields.ts";
import { BYTES_TYPE, type ConfigInput, configRoute, isBytes } from "./config-route.ts";
import { listPieces, type Pieces } from "./config-shown.ts";
import { databaseParams, databaseQuery } from "./database-schemas.ts";
import { askedDatabase } from "./databases.ts";
import { itemOfFields, type RawFields } from "./embed-items.ts";
import { invalidRequest, parseWith } from "./issues.ts";
import { MAX_SEARCH_BODY_BYTES } from "./limits.ts";
import type { Route } from "./route.ts";
import { charge } from "./search-cost.ts";
import { optionsParser, readAs } from "./vector-ask.ts";
import { callShard } from "./vector-call.ts";
import { type AskedDatabase, type KnownDatabase, withDatabase } from "./vector-databases.ts";
import { floatsOf } from "./vector-fields.ts";
import { planOf, type ShardFound, type ShardPlan, searchPlanned, withoutTwins } from "./vector-routing.ts";
import * as schemas from "./vector-schemas.ts";
import { hitPieces } from "./vector-shown.ts";
import { requireValues } from "./vector-texts.ts";
import {
  isForAll,
  pagePieces,
  requirePaged,
  type ThresholdPage,
  thresholdLines,
  thresholdPage,
  wantsLines,
} from "./vector-threshold.ts";

const PATH = "/v1/databases/{db}/search";
const DEFAULT_TOP_K = 10;
const SEARCH_ERRORS = [
  ...["notFound", "conflict", "overloaded", "dataCorrupt", "insufficientStorage", "payloadTooLarge"],
] as readonly ErrorCode[];

export interface Query {
  /** float32 bytes. */
  readonly values?: Uint8Array | undefined;
  /** JSON numbers, or what came in their place. */
  readonly queryVector?: unknown;
  readonly queryText?: string | undefined;
  readonly queryImage?: RawFields["image"];
  readonly queryTensor?: RawFields["tensor"];
  readonly id?: string | undefined;
}

/** A query as shards take it. */
interface Resolved {
  readonly values: Uint8Array;
  /** Not given among its own neighbours. */
  readonly without?: string;
}

export interface Asked {
  readonly queries: readonly Query[];
  readonly ask: schemas.Ask;
  readonly isBatch: boolean;
}

export interface Found {
  readonly hits: readonly VectorHit[];
  /** False: there may be more that meet the threshold. */
  readonly isComplete: boolean;
}

/** All queries as vectors; their texts and images in one go. */
async function resolveAll(call: Call, database: KnownDatabase, { queries, ask, isBatch }: Asked): Promise<Resolved[]> {
  const path = (at: number): string => (isBatch ? `queries[${at}].` : "");
  const placed = queries.map(({ values, queryVector, queryText, queryImage, queryTensor, id }, at) => {
    const all = [values, queryVector, queryText, queryImage, queryTensor, id];
    if (all.filter((given) => given !== undefined).length !== 1)
      throw invalidRequest([
        { path: `${path(at)}queryVector`, message: "give queryVector, queryText, queryImage, queryTensor or id" },
      ]);
    const names = { text: `${path(at)}queryText`, image: `${path(at)}queryImage`, tensor: `${path(at)}queryTensor` };
    return itemOfFields({ text: queryText, image: queryImage, tensor: queryTensor }, names);
  });
  const model = ask.embeddingModel;
  const items = placed.filter((one) => one !== undefined);
  const made = items.length === 0 ? [] : await requireValues(call, database, { items, model });
  let next = 0;
  const madeValues = placed.map((one) => (one === undefined ? undefined : made[next++]));
  return Promise.all(
    queries.map((query, at) => {
      const values = madeValues[at];
      return values ? { values } : resolve(call, database, query, path(at));
    }),
  );
}

async function resolve(call: Call, database: KnownDatabase, query: Query, at: string): Promise<Resolved> {
  const { values: given, queryVector, id } = query;
  if (given) return { values: given };
  if (queryVector !== undefined) return { values: floatsOf(queryVector, `${at}queryVector`) };
  const target = { database, shard: shardOf(id!, database.homes) };
  const { rows } = await callShard(call, target, { kind: "get", ids: [id!], shown: { values: true } });
  const values = rows[0]?.values;
  if (!values) throw new PublicError("notFound", `there is no vector "${id!.slice(0, 100)}"`);
  return { values, without: id! };
}

function better({ metric }: KnownDatabase): (a: VectorHit, b: VectorHit) => number {
  return metric === "euclidean" ? (a, b) => a.score - b.score : (a, b) => b.score - a.score;
}

function merged(
  database: KnownDatabase,
  { answers, plan }: { readonly answers: readonly ShardFound[]; readonly plan: ShardPlan },
  { at, query, k, asked }: { at: number; query: Resolved; k: number; asked: number },
): Found {
  const lists = answers.map(({ results }) => results[at]!);
  // One shard gives each once, best first.
  const all = lists.length === 1 && plan.isSettled ? lists[0]! : withoutTwins(lists.flat()).toSorted(better(database));
  const hits = query.without === undefined ? all : all.filter(({ id }) => id !== query.without);
  const isCut = !plan.isWhole || lists.some(({ length }) => length >= asked) || hits.length > k;
  return { hits: hits.slice(0, k), isComplete: !isCut };
}

const NO_PLAN: ShardPlan = { queriesOf: new Map(), isWhole: true, isSettled: true, strategy: "hash" };

export interface Searched {
  readonly found: readonly Found[];
  readonly answers: readonly ShardFound[];
  /** Shards that did not answer. */
  readonly missing: readonly number[];
  readonly plan: ShardPlan;
  readonly scanned: number;
}

function requireAsked(ask: schemas.Ask, asked: AskedDatabase): void {
  if (ask.databaseId !== undefined && ask.databaseId !== asked.databaseId)
    throw invalidRequest([{ path: "databaseId", message: "is not the one in the path", value: ask.databaseId }]);
  requirePaged(ask);
}

export async function searchAll(call: Call, asked: AskedDatabase, { queries, ask, isBatch }: Asked): Promise<Searched> {
  requireAsked(ask, asked);
  readAs(call, ask);
  if (isForAll(ask)) return searchAllWithin(call, asked, { queries, ask, isBatch });
  const k = ask.topK ?? DEFAULT_TOP_K;
  return withDatabase(call, asked, async (database) => {
    const resolved = await resolveAll(call, database, { queries, ask, isBatch });
    const withOwn = resolved.some(({ without }) => without !== undefined) ? 1 : 0;
    const request: SearchRequest = {
      kind: "search",
      queries: resolved.map(({ values }) => values),
      k: Math.min(k + withOwn, MAX_TOP_K),
      threshold: ask.threshold,
      filter: ask.filters && JSON.stringify(ask.filters),
      index: ask.index ?? "",
      ...{ ef: ask.ef, probes: ask.probes, rerank: ask.rerank },
      shown: { metadata: ask.includeMetadata, values: ask.includeValues },
      explain: ask.explain,
    };
    const routing = { queries: request.queries, filters: ask.filters, shardProbes: ask.shardProbes };
    const plan = await planOf(call, database, routing);
    const { answers, missing } = await searchPlanned(call, database, { request, plan, isPartial: ask.partial });
    const { meter } = call.services;
    const asked = [...plan.queriesOf.values()].reduce((sum, places) => sum + places.length, 0);
    meter.count("jade_vector_queries_total", asked);
    meter.count(
      "jade_vector_cache_hits_total",
      answers.reduce((sum, { cached }) => sum + cached, 0),
    );
    const found = resolved
      .map((query, at) => merged(database, { answers, plan }, { at, query, k, asked: request.k }))
      .map(({ hits, isComplete }) => ({ hits, isComplete: isComplete && missing.length === 0 }));
    return { found, answers, missing, plan, scanned: answers.reduce((sum, { scanned }) => sum + scanned, 0) };
  });
}

/** Of each query the first page of all that meets the threshold, one query after another. */
async function searchAllWithin(call: Call, asked: AskedDatabase, { queries, ask, isBatch }: Asked): Promise<Searched> {
  if (ask.cursor !== undefined)
    throw invalidRequest([{ path: "cursor", message: "is of one search; a batch gives first pages" }]);
  return withDatabase(call, asked, async (database) => {
    const pages: ThresholdPage[] = [];
    for (const resolved of await resolveAll(call, database, { queries, ask, isBatch }))
      pages.push(await thresholdPage(call, database, resolved, ask));
    const found = pages.map(({ hits, cursor }) => ({ hits, isComplete: cursor === null }));
    const scanned = pages.reduce((sum, page) => sum + page.scanned, 0);
    return { found, answers: [], missing: [], plan: NO_PLAN, scanned };
  });
}

/** A page of all that meets the threshold. */
export function pageWithin(
  call: Call,
  asked: AskedDatabase,
  { query, ask }: { readonly query: Query; readonly ask: schemas.Ask },
) {
  requireAsked(ask, asked);
  return withDatabase(call, asked, async (database) => {
    const [first] = await resolveAll(call, database, { queries: [query], ask, isBatch: false });
    const resolved = first!;
    return { resolved, page: await thresholdPage(call, database, resolved, ask) };
  });
}

/** A page of all that meets the threshold, or all pages as lines. */
async function answerWithin(
  call: Call,
  asked: AskedDatabase,
  { query, ask, principal }: { query: Query; ask: schemas.Ask; principal: TenantPrincipal },
): Promise<Response> {
  const { resolved, page } = await pageWithin(call, asked, { query, ask });
  await charge(call, principal, page.scanned);
  if (wantsLines(call)) return thresholdLines(call, page, { asked, query: resolved, ask, principal });
  return successPieces(call, "found", pagePieces(page));
}

function foundPieces({ hits, isComplete }: Found): Pieces {
  return ['"results":', ...listPieces(hits, hitPieces), `,"isComplete":${isComplete}`];
}

/** What each shard did, as JSON text. */
export function explainText({ answers, plan }: Searched): string {
  const shards = answers.map((answer) => ({ shard: answer.shard, ...(JSON.parse(answer.explain) as object) }));
  return JSON.stringify({ strategy: plan.strategy, shards });
}

function costPiece(searched: Searched, explain: boolean): string {
  const { missing, scanned } = searched;
  const cost = `,"scanned":${scanned}${missing.length > 0 ? `,"partial":true,"missingShards":[${missing.join()}]` : ""}`;
  return explain ? `${cost},"explain":${explainText(searched)}` : cost;
}

type SearchInput = ConfigInput<z.output<typeof schemas.searchQuery>, z.output<typeof schemas.searchBody>>;

const askOfBytes = optionsParser((json): schemas.Ask => {
  camelNames(json);
  return parseWith(schemas.bytesAsk, json);
});

/** The query, and all else that is asked of it. */
function askOf(call: Call, { query: { options }, body, raw }: SearchInput): { query: Query; ask: schemas.Ask } {
  if (isBytes(call.request)) {
    const { bytes } = raw;
    if (bytes.length % 4 !== 0)
      throw invalidRequest([{ path: "body", message: `has ${bytes.length} bytes; a float32 takes 4` }]);
    return { query: { values: bytes }, ask: askOfBytes(options ?? "") };
  }
  if (options !== undefined)
    throw invalidRequest([{ path: "options", message: `goes with a body of ${BYTES_TYPE} only` }]);
  const { queryVector, queryText, queryImage, queryTensor, id, ...ask } = body;
  return { query: { queryVector, queryText, queryImage, queryTensor, id }, ask };
}

const searchRoute = (path: string, summary: string): Route =>
  configRoute({
    method: "post",
    path,
    summary: `${summary}. A body of application/octet-stream is the query's values as float32`,
    scope: "read-only",
    params: databaseParams,
    query: schemas.searchQuery,
    body: schemas.searchBody,
    takesBytes: true,
    maxBodyBytes: MAX_SEARCH_BODY_BYTES,
    data: schemas.foundShape,
    errors: SEARCH_ERRORS,
    async handle(call, input) {
      const { params, keyspace, principal } = input;
      const { query, ask } = askOf(call, input);
      const asked = askedDatabase(params, keyspace);
      if (isForAll(ask)) return answerWithin(call, asked, { query, ask, principal });
      const searched = await searchAll(call, asked, { queries: [query], ask, isBatch: false });
      await charge(call, principal, searched.scanned);
      const pieces = ["{", ...foundPieces(searched.found[0]!), costPiece(searched, ask.explain), "}"];
      return successPieces(call, "found", pieces);
    },
  });

const batch = configRoute({
  method: "post",
  path: `${PATH}/batch`,
  summary: "Several searches that differ in their query only",
  scope: "read-only",
  params: databaseParams,
  query: databaseQuery,
  body: schemas.batchSearchBody,
  maxBodyBytes: MAX_SEARCH_BODY_BYTES,
  data: schemas.batchFoundShape,
  errors: SEARCH_ERRORS,
  async handle(call, { params, body: { queries, ...ask }, keyspace, principal }) {
    await admitMore(call, principal, queries.length - 1);
    const searched = await searchAll(call, askedDatabase(params, keyspace), { queries, ask, isBatch: true });
    await charge(call, principal, searched.scanned);
    const searches = listPieces(searched.found, (found) => ["{", ...foundPieces(found), "}"]);
    return successPieces(call, "found", ['{"searches":', ...searches, costPiece(searched, ask.explain), "}"]);
  },
});

export const vectorSearchRoutes: readonly Route[] = [
  searchRoute(PATH, "Find the vectors that are nearest to a vector, also among those that filters let through"),
  batch,
  searchRoute(`${PATH}/advanced`, "The same search under the specification's name for one with trees of filters"),
];
