// What a shard says of itself: for a database's status.
import type { VectorCore } from "../kernels.ts";
import type { ShardIndexes } from "./shard-indexes.ts";
import type { VectorStore } from "./vector-store.ts";

/** Of a follower, as its leader knows it. */
export interface ReplicaStatus {
  readonly zone: string;
  /** What it has durably. */
  readonly revision: number;
  readonly lagRevisions: number;
  /** Since it last had all that there was; 0 = it has. */
  readonly lagMs: number;
}

export interface ShardStatus {
  readonly rows: number;
  /** Rows that are scanned until they are sealed. */
  readonly freshRows: number;
  readonly segments: number;
  /** Rows in segments that were deleted or replaced: a merge frees them. */
  readonly deletedRows: number;
  readonly logBytes: number;
  /** Bytes of WASM memory given out, and of indexes in it. */
  readonly memoryBytes: number;
  readonly indexBytes: number;
  /** Of its followers; absent = there are none. */
  readonly replicas?: readonly ReplicaStatus[];
}

export function shardStatus(
  { store, indexes }: { readonly store: VectorStore; readonly indexes: ShardIndexes },
  { arena }: Pick<VectorCore, "arena">,
): ShardStatus {
  return {
    rows: store.liveCount,
    freshRows: store.freshCount,
    segments: store.sealed.length,
    deletedRows: store.sealed.reduce((sum, { rowCount, liveCount }) => sum + rowCount - liveCount, 0),
    logBytes: store.logBytes,
    memoryBytes: arena.usedBytes,
    indexBytes: indexes.memoryBytes,
  };
}
