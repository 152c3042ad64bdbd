// The RPC surface of a vector database's shards. Methods take and return plain data or bytes: a stub cannot travel between processes.
import type { BlobAsk } from "../src/vector/replica/blob-checks.ts";
import type { CopyPlace } from "../src/vector/replica/frames.ts";
import type { ExpiredInfo, ExpiredPage } from "../src/vector/shard/expired-rows.ts";
import type { ShardConfig } from "../src/vector/shard/shard-config.ts";
import type { SnapshotCheck, SnapshotInfo, SnapshotPage, SnapshotPlace } from "../src/vector/shard/snapshots.ts";
import type { ToldRows } from "../src/vector/sharding/relocate.ts";
import type { ShardPlace } from "../src/wire/vector.ts";

export interface ShardMapState {
  /** vector/sharding/shard-map.ts. */
  readonly map: Uint8Array;
  /** All rows are where it says: a search may leave shards out, and no row moves by it. */
  readonly isActive: boolean;
  readonly topology: number;
}

/** How far a shard is with the rows of its ids (vector/database/resharding.ts). */
export interface ReshardState {
  readonly topology: number;
  readonly isDone: boolean;
  /** 0 to 1. */
  readonly progress: number;
}

/** After a restore (vector/database/keeping.ts): are this shard's rows told to their homes, or where they belong; rows of this home's ids are here. */
export type RelocationAsk =
  | { readonly kind: "isDone"; readonly token: string }
  | ({ readonly kind: "rows"; readonly token: string } & ToldRows);

/** What of an archived shard is damaged: it stays archived, as it was. */
export interface ArchiveDamage {
  readonly damaged: string;
}

/** Rows that a shard's retention archived. */
export type ExpiredState = ExpiredInfo;
export type ShardExpiredPage =
  | ({ readonly kind: "page" } & ExpiredPage)
  | { readonly kind: "damaged"; readonly message: string };

/** `VectorShard`: one per database and shard. Name: `v<tenant>/<namespace>/<database>~<generation>/<shard>`. */
export interface VectorShardRpc {
  /**
   * Creates the shard, or changes its configuration. Repeated: no change. Answers why it is refused: dimension and metric never change; what is
   * damaged does not come back from its archive.
   */
  configure(config: ShardConfig): Promise<string | ArchiveDamage | undefined>;
  /** One call of wire/vector-requests.ts; answers in wire/vector-answers.ts. */
  call(bytes: Uint8Array): Promise<Uint8Array>;
  /**
   * Several calls, and their answers in order when all are done. `mayLeaveOut`: null in place of a read that takes long, or whose answer
   * does not fit the message: to be asked for alone.
   */
  callMany(calls: readonly Uint8Array[], mayLeaveOut?: boolean): Promise<readonly (Uint8Array | null)[]>;
  /** Of the first shard: where rows of its topology belong, and whether all of them are there; null = it is not known yet. */
  shardMap(): Promise<ShardMapState | null>;
  /** Stores where rows belong, and moves those that are elsewhere. True = all are there; false also: it does not know the topology yet. */
  adoptShardMap(map: Uint8Array, topology: number): Promise<boolean>;
  /**
   * Null = there is no shard, or its rows are placed by a hash that never changed. `allHave`: all shards refuse calls of topologies before it, so
   * rows may move.
   */
  reshardState(allHave?: number): Promise<ReshardState | null>;
  /** False = not yet, or not in this phase of this restore. */
  relocation(ask: RelocationAsk): Promise<boolean>;
  /** Null = there is no such snapshot. */
  snapshotInfo(snapshotId: string): Promise<SnapshotInfo | null>;
  snapshotPage(snapshotId: string, place: SnapshotPlace): Promise<SnapshotPage | null>;
  /** What retention archived, up to a part or all of it; null = there is no shard. */
  expiredInfo(through?: number): Promise<ExpiredState | null>;
  /** Of it the page behind `after`, from 0; null = these were all. */
  expiredPage(after: number): Promise<ShardExpiredPage | null>;
  /** Up to this part: what was archived later stays. */
  dropExpired(through: number): Promise<void>;
  /** Looks for damage of a snapshot, from a place on. Null: the shard does not have it, or is not open. */
  checkSnapshot(snapshotId: string, place: SnapshotPlace): Promise<SnapshotCheck | null>;
  /** Deletes all of it. Repeated: no change. */
  erase(): Promise<void>;
  /**
   * For the follower in `zone`: what follows its place (replica/frames.ts, packed), at once or at the next change. It has what it names
   * durably. Null: it is no follower of this shard.
   */
  pull(zone: string, place: CopyPlace, waitMs: number): Promise<Uint8Array | null>;
  /** The list of segments (replica/frames.ts). Null as for `pull`. */
  manifest(): Promise<Uint8Array | null>;
  /** Blobs of segments (replica/frames.ts). Null as for `pull`. */
  blobs(asks: readonly BlobAsk[]): Promise<Uint8Array | null>;
  /** What it has durably. Null as for `pull`. */
  head(): Promise<ShardPlace | null>;
}

/** How new an answer of a copy must be. */
export interface CopyRead {
  /** At least as new as this. */
  readonly atLeast?: ShardPlace | undefined;
  /** What it lacks is younger than the database's `maxLagMs`. */
  readonly isRecent?: boolean | undefined;
  /** How long it may take to become so. Ms. */
  readonly waitMs: number;
}

/** How far a copy is that is being filled. */
export interface CopyFilling {
  /** It has had all that its leader had. */
  readonly isFilled: boolean;
  /** Of its leader's segments. */
  readonly copiedBytes: number;
  readonly bytes: number;
}

/** `VectorFollower`: one per zone, database and shard. Name: `<zone>/<name of the shard>`. */
export interface VectorFollowerRpc {
  /** Creates the copy, or changes its configuration. Repeated: no change. */
  configure(config: ShardConfig): Promise<void>;
  /** One reading call; null: it cannot show what was asked for in time. */
  read(bytes: Uint8Array, ask: CopyRead): Promise<Uint8Array | null>;
  /** There is something to pull. */
  wake(): Promise<void>;
  /** As `wake`, and tells how far it is. */
  filling(): Promise<CopyFilling>;
  /** Blobs that it holds (replica/frames.ts): the leader's own are damaged. */
  blobs(asks: readonly BlobAsk[]): Promise<Uint8Array>;
  /** The commits after `after`, back to back, exactly so many bytes, if it has them: the leader's log is damaged. */
  commits(after: number, bytes: number): Promise<Uint8Array | null>;
  /** Deletes all of it. Repeated: no change. */
  erase(): Promise<void>;
}
