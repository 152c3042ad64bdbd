// Which shards a search is asked of: all of them, or those that a range of metadata or the nearest centroids name; and asking them.
// Guarantees: a shard is left out only when the database says that every vector is where it belongs; while vectors move shards are asked twice, so
// that one that left a shard before its answer and came to another one after its is found. Must not: judge filters; shards do.

import { VectorRefusal } from "../vector/failure.ts";
import type { Filter } from "../vector/filter/filter.ts";
import { parseFilter } from "../vector/filter/parse.ts";
import { nearestShards, readShardMap, shardsOfFilter } from "../vector/sharding/shard-map.ts";
import { skewOf } from "../vector/sharding/skew.ts";
import type { FoundAnswer, SearchRequest, VectorHit } from "../wire/vector.ts";
import type { Call } from "./call.ts";
import { callShards, type PartialAnswers } from "./vector-call.ts";
import type { KnownDatabase } from "./vector-databases.ts";
import { mapOf, mapStateOf } from "./vector-maps.ts";

/** `rows`: of each shard. */
export async function shardingStateOf(call: Call, database: KnownDatabase, rows: readonly number[]): Promise<object> {
  const { strategy, shardProbes, numShards } = database.sharding;
  if (strategy === "hash") return { strategy, state: "active" };
  const common = { strategy, skew: Number(skewOf(rows, numShards).toFixed(2)) };
  const state = await mapStateOf(call, database);
  if (!state) return { ...common, state: "learning" };
  const map = readShardMap(state.map);
  const learned =
    map.kind === "range"
      ? { splitPoints: map.points }
      : map.kind === "centroid" && { shardProbes: shardProbes ?? map.probes };
  return { ...common, state: state.isActive ? "active" : "moving", ...learned };
}

/**
 * Asks once, or, while vectors may move, again when all have answered: one that was asked too early at the shard that a vector went to, and too late
 * at the one that it came from, is asked for it once more. The answers of both.
 */
export async function asOften<T>(
  call: Call,
  database: KnownDatabase,
  { isSettled, ask }: { readonly isSettled: boolean; readonly ask: () => Promise<T> },
): Promise<readonly [T, ...T[]]> {
  const first = await ask();
  if (isSettled) return [first];
  // In the first topology nothing moves before it is known where to.
  if (database.topology === 0 && !(await mapStateOf(call, database))) return [first];
  return [first, await ask()];
}

/** Shard → which of the queries it is asked, by their places. */
export interface ShardPlan {
  readonly queriesOf: ReadonlyMap<number, readonly number[]>;
  /** No shard that could hold a result was left out, for any query. */
  readonly isWhole: boolean;
  /** No vector moves but by being written. */
  readonly isSettled: boolean;
  readonly strategy: string;
}

export interface RouteAsk {
  readonly queries: readonly Uint8Array[];
  /** As the client gave it. */
  readonly filters: object | undefined;
  readonly shardProbes: number | undefined;
}

function filterOf(filters: object | undefined): Filter | undefined {
  if (!filters) return undefined;
  try {
    return parseFilter(filters);
  } catch (error) {
    // The shards say what is wrong with it.
    if (error instanceof VectorRefusal) return undefined;
    throw error;
  }
}

export async function planOf(call: Call, database: KnownDatabase, ask: RouteAsk): Promise<ShardPlan> {
  const { numShards, sharding } = database;
  const all = Array.from({ length: numShards }, (_, shard) => shard);
  const places = ask.queries.map((_, at) => at);
  const map = await mapOf(call, database);
  const common = { strategy: sharding.strategy, isSettled: map !== undefined };
  if (map?.kind === "range") {
    const filter = filterOf(ask.filters);
    const shards = (filter && shardsOfFilter(map, filter)) ?? all;
    return { ...common, queriesOf: new Map([...shards].map((shard) => [shard, places])), isWhole: true };
  }
  if (map?.kind !== "centroid")
    return { ...common, queriesOf: new Map(all.map((shard) => [shard, places])), isWhole: true };
  const probes = Math.min(numShards, ask.shardProbes ?? sharding.shardProbes ?? map.probes);
  const queriesOf = new Map<number, number[]>();
  for (const [at, query] of ask.queries.entries()) {
    const values = new Float32Array(query.slice().buffer);
    // Shards refuse a query of another length, or that is not finite.
    const isFit = values.length === map.dimension && values.every(Number.isFinite);
    for (const shard of isFit ? nearestShards(map, values).slice(0, probes) : all) {
      const held = queriesOf.get(shard);
      if (held) held.push(at);
      else queriesOf.set(shard, [at]);
    }
  }
  return { ...common, queriesOf, isWhole: probes === numShards };
}

export interface ShardFound extends FoundAnswer {
  readonly shard: number;
}

const NO_HITS: readonly VectorHit[] = [];

export interface PlannedSearch {
  readonly request: SearchRequest;
  readonly plan: ShardPlan;
  /** As for {@link callShards}. */
  readonly isPartial: boolean;
}

/** Asks the plan's shards; each answer has a list for every query, an empty one for those that the shard was not asked. */
export async function searchPlanned(
  call: Call,
  database: KnownDatabase,
  { request, plan: { queriesOf, isSettled }, isPartial }: PlannedSearch,
): Promise<PartialAnswers<FoundAnswer>> {
  const placesOf = (shard: number): readonly number[] => queriesOf.get(shard) ?? [];
  const requestOf = (shard: number): SearchRequest => {
    const queries = placesOf(shard).map((at) => request.queries[at]!);
    return { ...request, queries };
  };
  const shards = [...queriesOf.keys()];
  const ask = () => callShards(call, database, { request: requestOf, shards, isPartial });
  const rounds = await asOften(call, database, { isSettled, ask });
  const [{ answers }, again] = rounds;
  const whole = answers.map((answer) => {
    const more = again?.answers.find(({ shard }) => shard === answer.shard);
    const results = request.queries.map(() => NO_HITS);
    for (const [index, at] of placesOf(answer.shard).entries())
      results[at] = [...(answer.results[index] ?? NO_HITS), ...(more?.results[index] ?? NO_HITS)];
    return { ...answer, results, scanned: answer.scanned + (more?.scanned ?? 0) };
  });
  return { answers: whole, missing: [...new Set(rounds.flatMap(({ missing }) => missing))] };
}

/** One of each id, the newest: a vector on its way to another shard is in both for a moment. */
export function withoutTwins(hits: readonly VectorHit[]): readonly VectorHit[] {
  const newest = new Map<string, VectorHit>();
  for (const hit of hits) {
    const held = newest.get(hit.id);
    if (!held || held.stamp.version < hit.stamp.version) newest.set(hit.id, hit);
  }
  return newest.size === hits.length ? hits : hits.filter((hit) => newest.get(hit.id) === hit);
}
