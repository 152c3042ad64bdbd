// The order of answers to a threshold: best score first, equal scores by id, the same at a shard and over all shards.
import { compareText } from "../metadata/values.ts";
import type { Metric } from "../metric.ts";

/** A place in that order. */
export interface MatchPlace {
  readonly score: number;
  readonly id: string;
}

export function inOrder(metric: Metric): (a: MatchPlace, b: MatchPlace) => number {
  const sign = metric === "euclidean" ? 1 : -1;
  return (a, b) => (a.score - b.score) * sign || compareText(a.id, b.id);
}
