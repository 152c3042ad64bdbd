// The RPC surface of a vector database's shards. Methods take and return plain data or bytes: a stub cannot travel between processes.

import type { ShardConfig } from "../src/vector/shard/shard-config.ts";
import type { SnapshotInfo, SnapshotPage, SnapshotPlace } from "../src/vector/shard/snapshots.ts";

export interface ShardMapState {
  /** vector/sharding/shard-map.ts. */
  readonly map: Uint8Array;
  /** A search may leave shards out. */
  readonly isActive: boolean;
}

/** `VectorShard`: one per database and shard. Name: `v<tenant>/<namespace>/<database>~<generation>/<shard>`. */
export interface VectorShardRpc {
  /** Creates the shard, or changes its configuration. Repeated: no change. Answers why it is refused: dimension and metric never change. */
  configure(config: ShardConfig): Promise<string | undefined>;
  /** One call of wire/vector-requests.ts; answers in wire/vector-answers.ts. */
  call(bytes: Uint8Array): Promise<Uint8Array>;
  /** Of the first shard: where rows belong, and whether all of them are there; null = it is not known yet. */
  shardMap(): Promise<ShardMapState | null>;
  /** Stores where rows belong, and moves those that are elsewhere. True = all are there. */
  adoptShardMap(map: Uint8Array): Promise<boolean>;
  /** Null = there is no such snapshot. */
  snapshotInfo(snapshotId: string): Promise<SnapshotInfo | null>;
  snapshotPage(snapshotId: string, place: SnapshotPlace): Promise<SnapshotPage | null>;
  /** Deletes all of it. Repeated: no change. */
  erase(): Promise<void>;
}
