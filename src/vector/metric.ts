// The three metrics: distances inside ("smaller is nearer"), scores outside.
// Guarantees: the order of scores is the order of distances. Must not: touch vectors; kernels do that.

/** How two vectors of a database are compared. */
export type Metric = "cosine" | "euclidean" | "dot";

export const METRICS: readonly Metric[] = ["cosine", "euclidean", "dot"];

/**
 * What a caller sees of a distance: cosine similarity, dot product, or euclidean distance.
 * Inside, distances are 1 − cos, −dot, and the squared euclidean distance.
 */
export function scoreOf(metric: Metric, distance: number): number {
  switch (metric) {
    case "cosine":
      return 1 - distance;
    case "dot":
      return distance === 0 ? 0 : -distance;
    case "euclidean":
      return Math.sqrt(Math.max(0, distance));
    default:
      return metric satisfies never;
  }
}

/** The distance of a score; the inverse of {@link scoreOf}. A threshold on scores is a greatest distance. */
export function distanceOf(metric: Metric, score: number): number {
  switch (metric) {
    case "cosine":
      return 1 - score;
    case "dot":
      return score === 0 ? 0 : -score;
    case "euclidean":
      return score * score;
    default:
      return metric satisfies never;
  }
}
