// Which shards a search is asked of: all of them, or those that a range of metadata or the nearest centroids name; and asking them.
// Guarantees: a shard is left out only when the database says that every vector is where it belongs. Must not: judge filters; shards do.

import { BoundedMap } from "../access/bounded-map.ts";
import { shardName } from "../vector/database/record.ts";
import { VectorRefusal } from "../vector/failure.ts";
import type { Filter } from "../vector/filter/filter.ts";
import { parseFilter } from "../vector/filter/parse.ts";
import { nearestShards, readShardMap, type ShardMap, shardsOfFilter } from "../vector/sharding/shard-map.ts";
import type { FoundAnswer, SearchRequest, VectorHit } from "../wire/vector.ts";
import type { Call } from "./call.ts";
import { reading } from "./errors.ts";
import { MAX_KNOWN_DATABASES, SHARD_MAP_FRESH_MS } from "./limits.ts";
import type { Services } from "./services.ts";
import { callShards, type PartialAnswers } from "./vector-call.ts";
import type { KnownDatabase } from "./vector-databases.ts";

interface KnownMap {
  /** Undefined = shards may hold anything yet. */
  readonly map: ShardMap | undefined;
  readonly atMs: number;
}

const known = new WeakMap<Services, BoundedMap<string, KnownMap>>();

/** Where vectors belong, once all are there; it never changes from then on. */
async function mapOf(call: Call, database: KnownDatabase): Promise<ShardMap | undefined> {
  if (database.sharding.strategy === "hash") return undefined;
  let maps = known.get(call.services);
  if (!maps) {
    maps = new BoundedMap(MAX_KNOWN_DATABASES);
    known.set(call.services, maps);
  }
  const name = shardName(database, 0);
  const held = maps.get(name);
  const nowMs = call.services.now();
  if (held && (held.map || nowMs - held.atMs < SHARD_MAP_FRESH_MS)) return held.map;
  const state = await reading(call.services.stubs.vectorShard(name).shardMap(), "VectorShard");
  const map = state?.isActive ? readShardMap(state.map) : undefined;
  maps.set(name, { map, atMs: nowMs });
  return map;
}

export async function shardingStateOf(call: Call, database: KnownDatabase): Promise<object> {
  const { strategy, shardProbes } = database.sharding;
  if (strategy === "hash") return { strategy, state: "active" };
  const state = await reading(call.services.stubs.vectorShard(shardName(database, 0)).shardMap(), "VectorShard");
  if (!state) return { strategy, state: "learning" };
  const map = readShardMap(state.map);
  const learned = map.kind === "range" ? { splitPoints: map.points } : { shardProbes: shardProbes ?? map.probes };
  return { strategy, state: state.isActive ? "active" : "moving", ...learned };
}

/** Shard → which of the queries it is asked, by their places. */
export interface ShardPlan {
  readonly queriesOf: ReadonlyMap<number, readonly number[]>;
  /** No shard that could hold a result was left out, for any query. */
  readonly isWhole: boolean;
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
  const common = { strategy: sharding.strategy };
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
  { request, plan: { queriesOf }, isPartial }: PlannedSearch,
): Promise<PartialAnswers<FoundAnswer>> {
  const placesOf = (shard: number): readonly number[] => queriesOf.get(shard) ?? [];
  const requestOf = (shard: number): SearchRequest => {
    const queries = placesOf(shard).map((at) => request.queries[at]!);
    return { ...request, queries };
  };
  const shards = [...queriesOf.keys()];
  const { answers, missing } = await callShards(call, database, { request: requestOf, shards, isPartial });
  const whole = answers.map((answer) => {
    const results = request.queries.map(() => NO_HITS);
    for (const [index, at] of placesOf(answer.shard).entries()) results[at] = answer.results[index] ?? NO_HITS;
    return { ...answer, results };
  });
  return { answers: whole, missing };
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
