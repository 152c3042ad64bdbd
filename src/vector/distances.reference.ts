// The plain twins of the distance kernels, in float64.

import type { Metric } from "./metric.ts";

/** Squared euclidean distance, 1 − cos (a vector of zeros is at 1), or −dot. */
export function referenceDistance(metric: Metric, a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [squares, product, normA, normB] = [0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]!, b[i]!];
    squares += (x - y) ** 2;
    product += x * y;
    normA += x * x;
    normB += y * y;
  }
  if (metric === "euclidean") return squares;
  if (metric === "dot") return 0 - product;
  return normA === 0 || normB === 0 ? 1 : Math.max(0, 1 - product / Math.sqrt(normA * normB));
}

/** Squared distance of codes: an integer. */
export function referenceCodeDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return sum;
}
