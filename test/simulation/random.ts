// Seeded randomness (mulberry32): the same seed gives the same world.
import { SeededWords } from "../../scripts/lib/seeded.mjs";

export class Random {
  readonly #words: SeededWords;

  constructor(seed: number) {
    this.#words = new SeededWords(seed);
  }

  reset(seed: number): void {
    this.#words.reset(seed);
  }

  /** In [0, 1). */
  next(): number {
    return this.#words.next() / 2 ** 32;
  }

  chance(probability: number): boolean {
    return probability > 0 && this.next() < probability;
  }

  /** Whole number in [least, most]. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.next() * items.length)]!;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.between(0, 255));
  }
}

/** One number of several (murmur3's finish over each): for streams of randomness that do not disturb each other. */
export function mix(...parts: readonly number[]): number {
  let hash = 0x9e3779b9;
  for (const part of parts) {
    hash = Math.imul(hash ^ part, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return hash >>> 0;
}
