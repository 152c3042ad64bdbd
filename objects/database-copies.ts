// The copies of a database's shards, as the tenant's object makes and ends them.
// Guarantees: a copy is configured after its shard knows of it; where there must be none is made empty, again with each change.
// Must not: decide when.

import { copyName, copyZones, strayZones } from "../src/vector/database/placement.ts";
import type { DatabaseName, DatabaseRecord } from "../src/vector/database/record.ts";
import { shardName } from "../src/vector/database/record.ts";
import type { ShardConfig } from "../src/vector/shard/shard-config.ts";
import type { Env } from "./env.ts";
import type { VectorFollowerRpc } from "./vector-rpc.ts";

export interface CopiedShard {
  readonly env: Env;
  readonly database: DatabaseName;
  readonly record: DatabaseRecord;
  readonly shard: number;
}

function copyIn({ env, database, shard }: CopiedShard, zone: string): VectorFollowerRpc {
  const objects = env.VECTOR_FOLLOWER;
  return objects.get(objects.idFromName(copyName(zone, shardName(database, shard))));
}

export async function configureCopies(copied: CopiedShard, config: ShardConfig): Promise<void> {
  const { record, shard } = copied;
  await Promise.all([
    ...copyZones(record, shard).map((zone) => copyIn(copied, zone).configure(config)),
    ...strayZones(record, shard).map((zone) => copyIn(copied, zone).erase()),
  ]);
}

export async function eraseCopies(copied: CopiedShard): Promise<void> {
  const zones = copied.record.placement?.ever ?? [];
  await Promise.all(zones.map((zone) => copyIn(copied, zone).erase()));
}
