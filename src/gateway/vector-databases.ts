// What the gateway must know of a database to reach its shards: asked of the tenant's object once, and again when a shard says that
// its database is gone, or of another number of shards. All else is fixed for the life of a generation, so it cannot grow old.
// Guarantees: nothing is answered from an earlier database of the same id. Must not: hold what can be changed.
import type { DatabaseInfo } from "../../objects/database-rpc.ts";
import { unwrap } from "../../objects/tenancy-rpc.ts";
import { BoundedMap } from "../access/bounded-map.ts";
import type { DatabaseName } from "../vector/database/record.ts";
import { askedShardsOf, homesOf, type Sharding, topologyOf } from "../vector/database/resharding.ts";
import type { Metric } from "../vector/metric.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { Call } from "./call.ts";
import { reading } from "./errors.ts";
import { MAX_KNOWN_DATABASES } from "./limits.ts";
import type { Services } from "./services.ts";

export interface KnownDatabase extends DatabaseName {
  readonly dimension: number;
  readonly metric: Metric;
  /** Shards that may hold rows, and those that speak for ids: a vector's is `shardOf(id, homes)`. */
  readonly numShards: number;
  readonly homes: number;
  /** Shards refuse calls of an older one (vector/database/resharding.ts). */
  readonly topology: number;
  readonly sharding: Sharding;
}

/** Which database a request means. */
export interface AskedDatabase {
  readonly tenant: number;
  readonly namespace: string;
  readonly databaseId: string;
}

/** A shard of this generation is gone, or knows a newer topology. */
export class DatabaseGone extends Error {
  override readonly name = "DatabaseGone";
}

const known = new WeakMap<Services, BoundedMap<string, KnownDatabase>>();

function knownTo(services: Services): BoundedMap<string, KnownDatabase> {
  let map = known.get(services);
  if (!map) {
    map = new BoundedMap(MAX_KNOWN_DATABASES);
    known.set(services, map);
  }
  return map;
}

const keyOf = ({ tenant, namespace, databaseId }: AskedDatabase): string => `${tenant}/${namespace}/${databaseId}`;

/** @throws PublicError `notFound` */
export async function findDatabase(
  call: Call,
  { tenant, namespace, databaseId }: AskedDatabase,
): Promise<DatabaseInfo> {
  const found = call.services.stubs.tenant(tenant).findDatabase({ namespace, databaseId });
  const info = unwrap(await reading(found, "Tenant"));
  if (info) return info;
  throw new PublicError("notFound", `there is no database "${databaseId}" in the namespace "${namespace}"`);
}

async function shapeOf(call: Call, asked: AskedDatabase): Promise<KnownDatabase> {
  const map = knownTo(call.services);
  const held = map.get(keyOf(asked));
  if (held) return held;
  const { generation, state, record } = await findDatabase(call, asked);
  if (state !== "ready")
    throw new PublicError("unavailable", `the database "${asked.databaseId}" is being created; try again in a moment`);
  const { vectorDimension: dimension, metric, sharding } = record;
  const shards = { numShards: askedShardsOf(sharding), homes: homesOf(sharding), topology: topologyOf(sharding) };
  const shape = { ...asked, generation, dimension, metric, ...shards, sharding };
  map.set(keyOf(asked), shape);
  return shape;
}

/** Runs on the database that has the id now. */
export async function withDatabase<T>(
  call: Call,
  asked: AskedDatabase,
  run: (database: KnownDatabase) => Promise<T>,
): Promise<T> {
  const database = await shapeOf(call, asked);
  try {
    return await run(database);
  } catch (error) {
    if (!(error instanceof DatabaseGone)) throw error;
  }
  knownTo(call.services).delete(keyOf(asked));
  try {
    return await run(await shapeOf(call, asked));
  } catch (error) {
    if (!(error instanceof DatabaseGone)) throw error;
    throw new PublicError("unavailable", "a shard of the database is not there");
  }
}
