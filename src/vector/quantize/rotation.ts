// The shape and the signs of the random rotation (wasm/vector/rotation.ts does it): both follow from a dimension and a seed.

import { seededWords } from "./seeded.ts";

/** Rounds of signs and transform. */
export const ROTATION_ROUNDS = 4;

/** Values of a rotated vector: whole blocks of 64, so that codes fill registers. */
export function paddedLength(dimension: number): number {
  return Math.ceil(dimension / 64) * 64;
}

/** Values that a round transforms: the greatest power of two within them. */
export function rotationWindow(padded: number): number {
  return 2 ** Math.floor(Math.log2(padded));
}

/** ±1, `padded` of them a round. */
export function rotationSigns(padded: number, seed: number): Float32Array {
  const words = seededWords(seed);
  const signs = new Float32Array(ROTATION_ROUNDS * padded);
  for (let at = 0; at < signs.length; at += 32) {
    const word = words();
    for (let bit = 0; bit < 32; bit++) signs[at + bit] = (word >>> bit) & 1 ? 1 : -1;
  }
  return signs;
}
