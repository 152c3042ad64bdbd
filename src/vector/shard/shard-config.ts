// What a shard must know of its database: given when it is created, kept in its facts, changed by its database's owner only.
import type { Durability } from "../../wire/vector.ts";
import type { Metric } from "../metric.ts";
import type { IndexSpec } from "./index-kinds.ts";

export interface ReplicationConfig {
  /** Of the shard's followers. */
  readonly zones: readonly string[];
  /** A write is answered when all followers have it durably. */
  readonly sync: boolean;
  /** What an `eventual` read may lack is younger than this. */
  readonly maxLagMs: number;
}

export interface ShardConfig {
  readonly dimension: number;
  readonly metric: Metric;
  /** Field → type as text (metadata/schema.ts); absent = free. */
  readonly metadataSchema?: Readonly<Record<string, string>> | undefined;
  readonly durability: Durability;
  /** Absent = there are no copies. */
  readonly replication?: ReplicationConfig | undefined;
  /** At least one; the first is asked by default. */
  readonly indexes: readonly IndexSpec[];
}
