// The seeded randomness of indexes (mulberry32): what is saved of it is the seed, so its numbers never change.

/** Whole numbers in [0, 2^32). */
export function seededWords(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Normally distributed numbers: mean 0, deviation 1. */
export function seededNormals(seed: number): () => number {
  const words = seededWords(seed);
  const unit = (): number => (words() + 0.5) / 2 ** 32;
  return () => Math.sqrt(-2 * Math.log(unit())) * Math.cos(2 * Math.PI * unit());
}
