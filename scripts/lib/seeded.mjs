// The seeded randomness of tests, benchmarks and fault runs (mulberry32): the same seed gives the same numbers, in every version.

/** Whole numbers in [0, 2^32). */
export function seededWords(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Numbers in [0, 1). */
export function seededRandom(seed) {
  const words = seededWords(seed);
  return () => words() / 2 ** 32;
}
