// The plain twin of the 1-bit codes in float64, by the formulas of the paper: no blocks, no tables, one row at a time.

import { ROTATION_ROUNDS, rotationSigns, rotationWindow } from "./rotation.ts";

/** The rotation of one vector of `padded` values. */
export function referenceRotation(values: ArrayLike<number>, padded: number, seed: number): Float64Array {
  const signs = rotationSigns(padded, seed);
  const window = rotationWindow(padded);
  let v = Float64Array.from({ length: padded }, (_, i) => values[i] ?? 0);
  for (let round = 0; round < ROTATION_ROUNDS; round++) {
    v = v.map((value, i) => value * signs[round * padded + i]!);
    const from = round % 2 === 1 ? padded - window : 0;
    for (let half = 1; half < window; half *= 2) {
      const before = v.slice();
      for (let i = 0; i < window; i++) {
        const [a, b] = [before[from + i]!, before[from + (i ^ half)]!];
        v[from + i] = (i & half ? b - a : a + b) / Math.SQRT2;
      }
    }
    if (window === padded) continue;
    const before = v.slice();
    const half = padded / 2;
    for (let i = 0; i < half; i++) {
      v[i] = (before[i]! + before[half + i]!) / Math.SQRT2;
      v[half + i] = (before[i]! - before[half + i]!) / Math.SQRT2;
    }
  }
  return v;
}

export interface ReferenceCode {
  readonly bits: readonly boolean[];
  /** ‖row − centroid‖ */
  readonly length: number;
  /** ⟨ō, o⟩: how much the code is like the direction of the row; 1 for a row that is its centroid. */
  readonly likeness: number;
}

/** The code of a rotated row for a rotated centroid. */
export function referenceCode(row: ArrayLike<number>, centroid: ArrayLike<number>): ReferenceCode {
  const r = Array.from(row, (value, i) => value - centroid[i]!);
  const length = Math.hypot(...r);
  const product = r.reduce((sum, value) => sum + Math.abs(value), 0);
  return {
    bits: r.map((value) => value > 0),
    length,
    likeness: length === 0 ? 1 : product / (length * Math.sqrt(r.length)),
  };
}

/** The estimate of ‖row − query‖² from a code, and how far it may be off at ε. */
export function referenceEstimate(
  code: ReferenceCode,
  centroid: ArrayLike<number>,
  query: ArrayLike<number>,
  epsilon: number,
): { readonly squared: number; readonly error: number } {
  const d = code.bits.length;
  const q = Array.from(query, (value, i) => value - centroid[i]!);
  const distance = Math.hypot(...q);
  const product = q.reduce((sum, value, i) => sum + (code.bits[i]! ? value : -value), 0) / Math.sqrt(d);
  const squared = code.length ** 2 + distance ** 2 - (2 * code.length * product) / code.likeness;
  const off = Math.sqrt(Math.max(0, code.likeness ** -2 - 1) / (d - 1));
  return { squared, error: 2 * epsilon * code.length * distance * off };
}
