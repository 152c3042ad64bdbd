// The plain twin of the int8 codes, in float64 but for the arithmetic that decides a rounding.

import type { Int8Map } from "./int8.ts";

const { fround } = Math;

/** Codes of a row under the euclidean or cosine metric; `factor` is 1, or 1 / ‖row‖. */
export function referenceCodes(map: Int8Map, row: ArrayLike<number>, factor = 1): number[] {
  const perStep = fround(1 / map.step);
  return Array.from({ length: row.length }, (_, i) => {
    const scaled = fround(fround(fround(row[i]! * fround(factor)) - map.low) * perStep);
    return Math.min(255, Math.max(0, roundHalfEven(scaled)));
  });
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** What the codes of a row under the dot metric say of its norm: (extra codes − zero)², summed, in squared steps. */
export function referenceExtras(map: Int8Map, codes: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < map.extras; i++) sum += (codes[map.dimension + i]! - map.zero) ** 2;
  return sum;
}
