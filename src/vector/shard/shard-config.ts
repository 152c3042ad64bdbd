// What a shard must know of its database: given when it is created, kept in its facts, changed by its database's owner only.
import type { Durability } from "../../wire/vector.ts";
import type { Metric } from "../metric.ts";
import type { IndexSpec } from "./index-kinds.ts";

export interface ShardConfig {
  readonly dimension: number;
  readonly metric: Metric;
  /** Field → type as text (metadata/schema.ts); absent = free. */
  readonly metadataSchema?: Readonly<Record<string, string>> | undefined;
  readonly durability: Durability;
  /** At least one; the first is asked by default. */
  readonly indexes: readonly IndexSpec[];
}
