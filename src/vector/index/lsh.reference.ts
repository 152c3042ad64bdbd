// The plain twin of the hash tables: projections in float64, and every set of changes written out and sorted.

import { type Change, type HashShape, hashPlanes } from "./lsh-hash.ts";

export interface ReferenceSteps {
  /** The step of each projection. */
  readonly steps: readonly number[];
  /** Least distance of a projection to a border between steps: below the rounding of float32 a step may differ. */
  readonly nearest: number;
}

/** The steps of a vector (moved to the mean of the rows) in all tables. */
export function referenceSteps(vector: ArrayLike<number>, shape: HashShape): ReferenceSteps {
  const { planes, shifts } = hashPlanes(shape, vector.length);
  const steps: number[] = [];
  let nearest = Number.POSITIVE_INFINITY;
  for (let at = 0; at < shape.tables * shape.bits; at++) {
    let projection = 0;
    for (let i = 0; i < vector.length; i++) projection += vector[i]! * planes[at * vector.length + i]!;
    const place = shape.width === 0 ? projection : projection / shape.width + shifts[at]!;
    steps.push(shape.width === 0 ? Number(projection > 0) : Math.floor(place));
    const off = shape.width === 0 ? Math.abs(place) : Math.min(place - Math.floor(place), Math.ceil(place) - place);
    nearest = Math.min(nearest, off);
  }
  return { steps, nearest };
}

/** The costs of all sets of changes that change no projection twice, cheapest first. */
export function referenceCosts(tables: readonly (readonly Change[])[]): number[] {
  const costs = tables.flatMap((changes) =>
    Array.from({ length: 2 ** changes.length - 1 }, (_, i) => changes.filter((_change, bit) => ((i + 1) >> bit) & 1))
      .filter((set) => new Set(set.map(({ projection }) => projection)).size === set.length)
      .map((set) => set.reduce((sum, { cost }) => sum + cost, 0)),
  );
  return costs.sort((a, b) => a - b);
}
