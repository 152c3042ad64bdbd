// Which watches a key has, among tens of thousands: single keys in a map, prefixes by their lengths, other ranges in a sorted tree.
// Guarantees: every item whose range holds the key is visited once. Cost of a look-up: one map access, one for each length that a
// prefix has, and O(log n + found) ranges. Must not: know what a watch is.
import type { BinaryKey, KeyRange } from "../wire/config.ts";
import { NO_END, prefixEnd } from "../wire/config-keys.ts";
import { RangeTree } from "./range-tree.ts";

/** Most keys have one watch: it then stands without a set. */
type Bucket<T> = T | Set<T>;

/** The prefix that a range is; undefined = it is none. */
export function prefixOf({ key, rangeEnd }: KeyRange): BinaryKey | undefined {
  if (rangeEnd === NO_END) return key === "" || key === "\0" ? "" : undefined;
  return rangeEnd !== "" && rangeEnd === prefixEnd(key) ? key : undefined;
}

export class WatchIndex<T extends KeyRange> {
  readonly #keys = new Map<BinaryKey, Bucket<T>>();
  readonly #prefixes = new Map<BinaryKey, Bucket<T>>();
  /** Length → how many prefixes have it. */
  readonly #lengths = new Map<number, number>();
  readonly #ranges = new RangeTree<T>();
  size = 0;

  add(item: T): void {
    this.size++;
    if (item.rangeEnd === "") return void put(this.#keys, item.key, item);
    const prefix = prefixOf(item);
    if (prefix === undefined) return this.#ranges.add(item);
    if (put(this.#prefixes, prefix, item))
      this.#lengths.set(prefix.length, (this.#lengths.get(prefix.length) ?? 0) + 1);
  }

  /** `item` must have been added. */
  delete(item: T): void {
    this.size--;
    if (item.rangeEnd === "") return void drop(this.#keys, item.key, item);
    const prefix = prefixOf(item);
    if (prefix === undefined) return this.#ranges.delete(item);
    if (!drop(this.#prefixes, prefix, item)) return;
    const left = this.#lengths.get(prefix.length)! - 1;
    if (left > 0) this.#lengths.set(prefix.length, left);
    else this.#lengths.delete(prefix.length);
  }

  match(key: BinaryKey, visit: (item: T) => void): void {
    each(this.#keys.get(key), visit);
    for (const length of this.#lengths.keys()) {
      if (length <= key.length) each(this.#prefixes.get(key.slice(0, length)), visit);
    }
    this.#ranges.match(key, visit);
  }

  *items(): Iterable<T> {
    for (const bucket of this.#keys.values()) yield* itemsOf(bucket);
    for (const bucket of this.#prefixes.values()) yield* itemsOf(bucket);
    yield* this.#ranges.items();
  }
}

/** True when the key is new. */
function put<T>(map: Map<BinaryKey, Bucket<T>>, key: BinaryKey, item: T): boolean {
  const bucket = map.get(key);
  if (bucket === undefined) map.set(key, item);
  else if (bucket instanceof Set) bucket.add(item);
  else map.set(key, new Set([bucket, item]));
  return bucket === undefined;
}

/** True when that was the last of its key. */
function drop<T>(map: Map<BinaryKey, Bucket<T>>, key: BinaryKey, item: T): boolean {
  const bucket = map.get(key);
  if (bucket instanceof Set) {
    bucket.delete(item);
    if (bucket.size > 0) return false;
  } else if (bucket !== item) throw new Error("a watch is removed that is not in the index");
  map.delete(key);
  return true;
}

function each<T>(bucket: Bucket<T> | undefined, visit: (item: T) => void): void {
  if (bucket === undefined) return;
  if (bucket instanceof Set) for (const item of bucket) visit(item);
  else visit(bucket);
}

function itemsOf<T>(bucket: Bucket<T>): Iterable<T> {
  return bucket instanceof Set ? bucket : [bucket];
}
