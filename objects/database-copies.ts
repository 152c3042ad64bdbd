// The copies of a database's shards, as the tenant's object makes and ends them.
// Guarantees: a copy is configured after its shard knows of it; where there must be none is made empty, again with each change; a zone that is gone, or to which
// copies only come, holds nothing up. Must not: decide when, or where.

import { clusterPlace } from "../src/cluster/placement.ts";
import { copyName, copyZones, fillingZones, strayZones } from "../src/vector/database/placement.ts";
import type { DatabaseName, DatabaseRecord } from "../src/vector/database/record.ts";
import { copiedConfigOf, shardConfigOf, shardName } from "../src/vector/database/record.ts";
import type { ShardConfig } from "../src/vector/shard/shard-config.ts";
import type { Env } from "./env.ts";
import type { VectorFollowerRpc } from "./vector-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

/** Of a copy that holds nothing up when it does not answer; below what a shard is given for all of it. Ms. */
const SPARE_TIMEOUT_MS = 2000;

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

/** A zone that the deployment's table does not have any more is gone with its disk. */
function hasZone({ env }: CopiedShard, zone: string): boolean {
  return clusterPlace(env.JADE_CLUSTER)?.zones.includes(zone) ?? true;
}

/** Those of `zones` where it could not be done. */
async function failedIn(zones: readonly string[], run: (zone: string) => Promise<void>): Promise<readonly string[]> {
  const tried = zones.map(async (zone) => {
    const isDone = await withDeadline(run(zone), SPARE_TIMEOUT_MS, "VectorFollower").then(
      () => true,
      () => false,
    );
    return isDone ? [] : [zone];
  });
  return (await Promise.all(tried)).flat();
}

/** Deletes what is in zones where no copy of it should be; gives those that could not be reached. */
export function eraseStrays(copied: CopiedShard): Promise<readonly string[]> {
  const zones = strayZones(copied.record, copied.shard).filter((zone) => hasZone(copied, zone));
  return failedIn(zones, (zone) => copyIn(copied, zone).erase());
}

/** Gives the zones that could not be reached to delete what is left there. Rejects when a copy that is read did not answer. */
export async function configureCopies(copied: CopiedShard, config: ShardConfig): Promise<readonly string[]> {
  const { record, shard } = copied;
  const known = record.placement?.zones ?? [];
  const serving = copyZones(record, shard);
  const spare = [...serving.filter((zone) => !known.includes(zone)), ...fillingZones(record, shard)];
  const [owed] = await Promise.all([
    eraseStrays(copied),
    failedIn(spare, (zone) => copyIn(copied, zone).configure(config)),
    ...serving.filter((zone) => known.includes(zone)).map((zone) => copyIn(copied, zone).configure(config)),
  ]);
  return owed;
}

/** Those of a shard's copies that were being filled, and are. */
export async function filledCopies(copied: CopiedShard): Promise<readonly string[]> {
  const { record, database, shard } = copied;
  const config = copiedConfigOf(record, shard, shardConfigOf(record, database, shard));
  const zones = fillingZones(record, shard);
  const missing = await failedIn(zones, async (zone) => {
    const copy = copyIn(copied, zone);
    // It may not have heard of it yet.
    await copy.configure(config);
    if (!(await copy.filling()).isFilled) throw new Error("it is being filled");
  });
  return zones.filter((zone) => !missing.includes(zone));
}

/** Gives the zones that could not be reached. */
export function eraseCopies(copied: CopiedShard): Promise<readonly string[]> {
  const zones = copied.record.placement?.ever ?? [];
  return failedIn(
    zones.filter((zone) => hasZone(copied, zone)),
    (zone) => copyIn(copied, zone).erase(),
  );
}
