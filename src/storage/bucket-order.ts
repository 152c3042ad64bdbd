// Positions of an arena in row order, sorted lazily in buckets of the token's high bits.
// Guarantees: adding and visiting cost what is asked for, never a whole sort, so a flush or a scan runs in short slices.
// Must not: own the rows. Tokens are hashes, so buckets are even.

import type { Arena } from "./arena.ts";
import { compareRows, rowHi } from "./row-format.ts";

/** Rows per bucket aimed at. */
const ROWS_PER_BUCKET = 16;
const MAX_BUCKET_BITS = 14;

export class BucketOrder {
  readonly #arena: Arena;
  readonly #shift: number;
  readonly bucketCount: number;
  readonly #buckets: (number[] | undefined)[];

  constructor(arena: Arena, expectedRows: number) {
    const bits = Math.min(MAX_BUCKET_BITS, Math.max(1, Math.ceil(Math.log2(expectedRows / ROWS_PER_BUCKET + 1))));
    this.#arena = arena;
    this.#shift = 32 - bits;
    this.bucketCount = 1 << bits;
    this.#buckets = new Array<number[] | undefined>(this.bucketCount).fill(undefined);
  }

  /** The bucket of a token's high word. */
  bucketOf(hi: number): number {
    return hi >>> this.#shift;
  }

  /** Files `item`, whose row is at `position`. */
  add(item: number, position: number): void {
    const bucket = rowHi(this.#arena.bufferAt(position), this.#arena.offsetAt(position)) >>> this.#shift;
    const items = this.#buckets[bucket];
    if (items === undefined) this.#buckets[bucket] = [item];
    else items.push(item);
  }

  /** A sorted copy of one bucket as positions; `positionOf` maps items (below 0 = gone). */
  sorted(bucket: number, positionOf: (item: number) => number): number[] {
    const positions: number[] = [];
    for (const item of this.#buckets[bucket] ?? []) {
      const position = positionOf(item);
      if (position >= 0) positions.push(position);
    }
    const arena = this.#arena;
    return positions.sort((a, b) =>
      compareRows(arena.bufferAt(a), arena.offsetAt(a), arena.bufferAt(b), arena.offsetAt(b)),
    );
  }
}
