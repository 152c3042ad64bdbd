// Ranges of keys that are neither one key nor a prefix, found by a key they hold: ranges sorted by start, each inner node of the
// implicit balanced tree knowing the furthest end below it.
// Guarantees: every range that holds the key is visited once; changes are gathered and the tree is built anew when they are an
// eighth of it, so that n changes cost O(n log n) in all. Must not: be asked while it is being visited.
import type { BinaryKey, KeyRange } from "../wire/config.ts";
import { isInRange, NO_END } from "../wire/config-keys.ts";

/** Changes below this many are always gathered. */
const LEAST_CHANGES = 64;
const REBUILD_SHARE = 1 / 8;

export class RangeTree<T extends KeyRange> {
  /** Sorted by start; what was deleted since the last build is in `#deleted`. */
  #sorted: readonly T[] = [];
  /** Of the subtree whose root is at this place; undefined = it has no end. */
  #furthest: (BinaryKey | undefined)[] = [];
  readonly #added = new Set<T>();
  readonly #deleted = new Set<T>();

  add(item: T): void {
    this.#added.add(item);
    this.#rebuildIfDue();
  }

  delete(item: T): void {
    if (this.#added.delete(item)) return;
    this.#deleted.add(item);
    this.#rebuildIfDue();
  }

  match(key: BinaryKey, visit: (item: T) => void): void {
    for (const item of this.#added) if (isInRange(key, item)) visit(item);
    this.#search(key, 0, this.#sorted.length, visit);
  }

  *items(): Iterable<T> {
    for (const item of this.#sorted) if (!this.#deleted.has(item)) yield item;
    yield* this.#added;
  }

  #search(key: BinaryKey, from: number, to: number, visit: (item: T) => void): void {
    if (from >= to) return;
    const middle = (from + to) >>> 1;
    const furthest = this.#furthest[middle];
    if (furthest !== undefined && furthest <= key) return;
    this.#search(key, from, middle, visit);
    const item = this.#sorted[middle]!;
    if (item.key > key) return;
    if (isInRange(key, item) && !this.#deleted.has(item)) visit(item);
    this.#search(key, middle + 1, to, visit);
  }

  #rebuildIfDue(): void {
    const changes = this.#added.size + this.#deleted.size;
    if (changes <= LEAST_CHANGES || changes <= this.#sorted.length * REBUILD_SHARE) return;
    this.#sorted = [...this.items()].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    this.#added.clear();
    this.#deleted.clear();
    this.#furthest = new Array(this.#sorted.length);
    this.#build(0, this.#sorted.length);
  }

  /** The furthest end in [from, to); "" = it is empty. */
  #build(from: number, to: number): BinaryKey | undefined {
    if (from >= to) return "";
    const middle = (from + to) >>> 1;
    const { rangeEnd } = this.#sorted[middle]!;
    let furthest: BinaryKey | undefined = rangeEnd === NO_END ? undefined : rangeEnd;
    for (const end of [this.#build(from, middle), this.#build(middle + 1, to)]) {
      if (furthest === undefined || end === undefined) furthest = undefined;
      else if (end > furthest) furthest = end;
    }
    this.#furthest[middle] = furthest;
    return furthest;
  }
}
