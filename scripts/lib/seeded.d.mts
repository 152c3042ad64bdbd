/** Whole numbers in [0, 2^32), from any seed again by `reset`. */
export class SeededWords {
  constructor(seed: number);
  reset(seed: number): void;
  next(): number;
}
/** Whole numbers in [0, 2^32). */
export function seededWords(seed: number): () => number;
/** Numbers in [0, 1). */
export function seededRandom(seed: number): () => number;
