// Where the vectors of a database belong, and whether all of them are there: asked of its first shard, and remembered once they are.
// Guarantees: what is remembered is of one topology, and does not change in it. Must not: decide who is asked.
import type { ShardMapState } from "../../objects/vector-rpc.ts";
import { BoundedMap } from "../access/bounded-map.ts";
import { shardName } from "../vector/database/record.ts";
import { readShardMap, type ShardMap } from "../vector/sharding/shard-map.ts";
import type { Call } from "./call.ts";
import { reading } from "./errors.ts";
import { MAX_KNOWN_DATABASES, SHARD_MAP_FRESH_MS } from "./limits.ts";
import type { Services } from "./services.ts";
import type { KnownDatabase } from "./vector-databases.ts";

interface KnownMap {
  /** Undefined = shards may hold anything yet, and vectors may move. */
  readonly map: ShardMap | undefined;
  readonly atMs: number;
}

/** By a hash that never changed: nothing ever moves. */
const UNMOVED: ShardMap = { kind: "hash", shards: 1 };

const known = new WeakMap<Services, BoundedMap<string, KnownMap>>();

/** Where vectors belong, once all are there; it never changes in a topology. */
export async function mapOf(call: Call, database: KnownDatabase): Promise<ShardMap | undefined> {
  if (database.sharding.strategy === "hash" && database.topology === 0) return UNMOVED;
  let maps = known.get(call.services);
  if (!maps) {
    maps = new BoundedMap(MAX_KNOWN_DATABASES);
    known.set(call.services, maps);
  }
  const name = `${shardName(database, 0)} ${database.topology}`;
  const held = maps.get(name);
  const nowMs = call.services.now();
  if (held && (held.map || nowMs - held.atMs < SHARD_MAP_FRESH_MS)) return held.map;
  const state = await mapStateOf(call, database);
  const isActive = state?.isActive === true && (state.topology ?? 0) === database.topology;
  const map = isActive ? readShardMap(state.map) : undefined;
  maps.set(name, { map, atMs: nowMs });
  return map;
}

export function mapStateOf(call: Call, database: KnownDatabase): Promise<ShardMapState | null> {
  return reading(call.services.stubs.vectorShard(shardName(database, 0)).shardMap(), "VectorShard");
}

/** No vector moves but by being written. */
export async function isSettled(call: Call, database: KnownDatabase): Promise<boolean> {
  return (await mapOf(call, database)) !== undefined;
}
