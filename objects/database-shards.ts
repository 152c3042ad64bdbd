// All shards of a database, asked one group after the other.
import { type DatabaseRecord, shardName } from "../src/vector/database/record.ts";
import { shardCountOf } from "../src/vector/database/resharding.ts";
import type { CopiedShard } from "./database-copies.ts";
import type { DatabaseRow } from "./database-rows.ts";
import type { Env } from "./env.ts";
import type { VectorShardRpc } from "./vector-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

const CALL_TIMEOUT_MS = 5000;
/** Shards asked at once. */
export const AT_ONCE = 16;

export interface ShardsOf {
  readonly env: Env;
  readonly tenant: number;
  readonly row: DatabaseRow;
}

/** False = not all of them answered. */
export async function eachShard(
  { env, tenant, row }: ShardsOf,
  run: (shard: VectorShardRpc, copied: CopiedShard) => Promise<void>,
): Promise<boolean> {
  const record = JSON.parse(row.record) as DatabaseRecord;
  const { namespace, generation } = row;
  const database = { tenant, namespace, databaseId: record.databaseId, generation };
  const objects = env.VECTOR_SHARD;
  const ask = (shard: number): Promise<boolean> => {
    const stub = objects.get(objects.idFromName(shardName(database, shard)));
    const asked = run(stub, { env, database, record, shard });
    return withDeadline(asked, CALL_TIMEOUT_MS, "VectorShard").then(
      () => true,
      () => false,
    );
  };
  const shards = Array.from({ length: shardCountOf(record.sharding) }, (_, shard) => shard);
  let isDone = true;
  for (let from = 0; from < shards.length; from += AT_ONCE) {
    const answers = await Promise.all(shards.slice(from, from + AT_ONCE).map(ask));
    isDone &&= answers.every(Boolean);
  }
  return isDone;
}
