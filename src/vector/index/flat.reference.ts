// The plain twin of every exact scan: all rows, one after the other, sorted.

import { referenceDistance } from "../distances.reference.ts";
import type { Metric } from "../metric.ts";

export interface ReferenceRow {
  readonly row: number;
  readonly distance: number;
}

/** Live rows by distance, equal ones by lower row. `isLive` absent = all are. */
export function referenceNearest(
  metric: Metric,
  rows: readonly ArrayLike<number>[],
  query: ArrayLike<number>,
  isLive: (row: number) => boolean = () => true,
): readonly ReferenceRow[] {
  return rows
    .map((values, row) => ({ row, distance: referenceDistance(metric, query, values) }))
    .filter(({ row, distance }) => isLive(row) && !Number.isNaN(distance))
    .sort((a, b) => a.distance - b.distance || a.row - b.row);
}
