// What a shard must know of its database: given when it is created, kept in its facts, changed by its database's owner only.
import type { Durability } from "../../wire/vector.ts";
import type { Metric } from "../metric.ts";
import type { SplitPoint } from "../sharding/shard-map.ts";
import type { AccessRules } from "./access.ts";
import type { IndexSpec } from "./index-kinds.ts";
import type { Retention } from "./retention.ts";

export interface ReplicationConfig {
  /** Of the shard's followers. */
  readonly zones: readonly string[];
  /** Of them, those whose copies are being filled; absent = none is. */
  readonly filling?: readonly string[] | undefined;
  /** A write is answered when so many followers, or all, have it durably. */
  readonly sync: boolean;
  /** Absent = all. */
  readonly confirmations?: number | undefined;
  /** What an `eventual` read may lack is younger than this. */
  readonly maxLagMs: number;
}

export interface ShardConfig {
  readonly dimension: number;
  readonly metric: Metric;
  /** Field → type as text (metadata/schema.ts); absent = free. */
  readonly metadataSchema?: Readonly<Record<string, string>> | undefined;
  readonly durability: Durability;
  /** How rows come to their shards, where it is not by a hash of their ids. */
  readonly sharding?: ShardingConfig | undefined;
  /** This shard's part of what its database may keep. */
  readonly retention?: Retention | undefined;
  readonly lifecycle?: ShardLifecycle | undefined;
  /** Absent = what a key's scope allows. */
  readonly access?: AccessRules | undefined;
  /** Absent = there are no copies. */
  readonly replication?: ReplicationConfig | undefined;
  /** At least one; the first is asked by default. */
  readonly indexes: readonly IndexSpec[];
}

export interface ShardingConfig {
  readonly strategy: "hash" | "range" | "centroid";
  readonly numShards: number;
  /**
   * Once where rows belong was changed (vector/database/resharding.ts): shards that speak for ids, the topology that callers must know, and
   * shards that may hold rows.
   */
  readonly homes?: number | undefined;
  readonly topology?: number | undefined;
  readonly span?: number | undefined;
  /** This shard, and the part of its name that all shards of the database share. */
  readonly shard: number;
  readonly base: string;
  /** `range`: the metadata field, and its split points where they are given and not learned. */
  readonly key?: string | undefined;
  readonly splitPoints?: readonly SplitPoint[] | undefined;
  /** Rows of the whole database after which it is learned where they belong. */
  readonly learnRows: number;
  /** `centroid`: the share of true neighbours that the shards probed by default must hold. */
  readonly targetRecall: number;
}

export interface RestoreAsked {
  readonly snapshotId: string;
  readonly token: string;
  /** Parts of the shard's snapshot that are damaged, and left out. */
  readonly without?: readonly number[] | undefined;
}

export interface ShardLifecycle {
  /** Those that the shard keeps: others it drops, missing ones it takes. */
  readonly snapshots: readonly string[];
  /** Done once for each token. */
  readonly restore?: RestoreAsked | undefined;
  /** Nothing of it is in memory, and calls are refused. */
  readonly isArchived: boolean;
  /** Writes are refused: its rows are about to be replaced. */
  readonly holdsWrites?: true | undefined;
  /** Where rows are placed, while a snapshot is taken or restored (vector/database/keeping.ts). */
  readonly holds?: Holds | undefined;
  /** The restore whose rows' homes are to be told where they are. */
  readonly places?: string | undefined;
  /** The snapshot's rows are not where they belong. */
  readonly isUnsettled?: true | undefined;
  /** Grows with what shards are told; and at which of these the last restore began: what other shards sent before it is refused. */
  readonly step?: number | undefined;
  readonly era?: number | undefined;
}

/** Nothing is done: of vectors that would leave their shard; of what is written; of both, and nothing is read by id. */
export type Holds = "moves" | "writes" | "all";
