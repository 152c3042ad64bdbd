// Bloom filter over tokens: sizing and probe. The bits are set by the kernel `bloomBuild`.
// Guarantee: never a false "absent". Must not: hash keys itself (a token is a hash already). The probe is TypeScript because
// the filter lives in JS memory: a copy into WASM would cost more than seven byte reads.

/** Filter size for a number of rows. */
export function bloomBytes(rowCount: number, bitsPerRow: number): number {
  return Math.max(8, Math.ceil((rowCount * bitsPerRow) / 8));
}

/** Hash functions that minimise false positives: bits per row × ln 2. */
export function bloomHashCount(bitsPerRow: number): number {
  return Math.max(1, Math.min(16, Math.round(bitsPerRow * Math.LN2)));
}

/** False = no row with this token is in the set. */
export function bloomMayHold(filter: Uint8Array, hashCount: number, hi: number, lo: number): boolean {
  const bits = filter.length * 8;
  const step = (lo | 1) >>> 0;
  let hash = hi >>> 0;
  for (let k = 0; k < hashCount; k++) {
    const bit = hash % bits;
    if ((filter[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
    hash = (hash + step) >>> 0;
  }
  return true;
}
