// The seeded randomness of tests, benchmarks and fault runs (mulberry32): the same seed gives the same numbers, in every version.

/** Whole numbers in [0, 2^32), from any seed again by `reset`. */
export class SeededWords {
  #state;

  constructor(seed) {
    this.#state = seed | 0;
  }

  reset(seed) {
    this.#state = seed | 0;
  }

  next() {
    const state = (this.#state + 0x6d2b79f5) | 0;
    this.#state = state;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }
}

/** Whole numbers in [0, 2^32). */
export function seededWords(seed) {
  const words = new SeededWords(seed);
  return () => words.next();
}

/** Numbers in [0, 1). */
export function seededRandom(seed) {
  const words = seededWords(seed);
  return () => words() / 2 ** 32;
}
