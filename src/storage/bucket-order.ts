// Positions of an arena in row order, sorted lazily in buckets of the token's high bits.
// Guarantees: adding and visiting cost what is asked for, never a whole sort, so a flush or a scan runs in short slices.
// Must not: own the rows. Tokens are hashes, so buckets are even.

import type { Arena } from "./arena.ts";
import { compareRows, rowHi } from "./row-format.ts";

/** Rows per bucket aimed at. */
const ROWS_PER_BUCKET = 16;
const MAX_BUCKET_BITS = 14;
/** Buckets up to this are sorted by insertion; tokens that were made to fall into one make larger ones. */
const MAX_INSERTED_ROWS = 64;

export class BucketOrder {
  readonly #arena: Arena;
  readonly #shift: number;
  readonly bucketCount: number;
  readonly #buckets: (number[] | undefined)[];
  readonly #his = new Uint32Array(MAX_INSERTED_ROWS);

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
    if (positions.length > MAX_INSERTED_ROWS) return positions.sort((a, b) => this.#compare(a, b));
    return this.#insertionSorted(positions);
  }

  #compare(a: number, b: number): number {
    const arena = this.#arena;
    return compareRows(arena.bufferAt(a), arena.offsetAt(a), arena.bufferAt(b), arena.offsetAt(b));
  }

  /** In place, by the tokens' high words: a row is looked at once, and again only where these are the same. */
  #insertionSorted(positions: number[]): number[] {
    const his = this.#his;
    for (let i = 0; i < positions.length; i++) {
      const position = positions[i]!;
      const hi = rowHi(this.#arena.bufferAt(position), this.#arena.offsetAt(position));
      let to = i;
      for (; to > 0; to--) {
        const before = his[to - 1]!;
        if (before < hi || (before === hi && this.#compare(positions[to - 1]!, position) <= 0)) break;
        his[to] = before;
        positions[to] = positions[to - 1]!;
      }
      his[to] = hi;
      positions[to] = position;
    }
    return positions;
  }
}
