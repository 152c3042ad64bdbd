// How many keys a range holds, now or a while ago, without looking at each of them: a list of half a million keys in pages asks it for every page.
// Guarantees: what the store would count, at every revision. Must not: read values, or hold more than its bounds.
//
// Invariants: `#starts` are ascending, the first is the least key; `#counts[i]` = living keys from `#starts[i]` until before the next.
// `#births` are all keys that came (+1) or went (-1) at revisions above `#since`, in their order. A range held so many keys at
// revision R ≥ `#since` as it holds now less the sum of what came and went there above R.
import type { BinaryKey, KeyRange } from "../wire/config.ts";
import { isInRange, NO_END } from "../wire/config-keys.ts";
import { COUNTED_TOGETHER, MAX_BIRTH_BYTES, MAX_BIRTHS } from "./limits.ts";

/** What counts by looking at each key. */
export interface CountedStore {
  /** `revision` 0 = now. */
  count(range: KeyRange, revision: number): number;
  /** A key some `offset` behind `key`, where there are so many. It need not be alive. */
  keyBehind(key: BinaryKey, offset: number): BinaryKey | undefined;
}

export interface CountBounds {
  /** Keys that are counted one by one; up to twice as many. */
  readonly together: number;
  readonly births: number;
  readonly birthBytes: number;
}

const BOUNDS: CountBounds = { together: COUNTED_TOGETHER, births: MAX_BIRTHS, birthBytes: MAX_BIRTH_BYTES };

interface Birth {
  readonly revision: number;
  readonly key: BinaryKey;
  readonly change: 1 | -1;
}

/** Of a birth beside its key, estimated. Bytes. */
const BIRTH_BYTES = 64;
const LEAST_KEY: BinaryKey = "\0";

export class KeyCounts {
  readonly #store: CountedStore;
  readonly #bounds: CountBounds;
  /** Empty = not counted yet. */
  #starts: BinaryKey[] = [];
  #counts: number[] = [];
  #births: Birth[] = [];
  #birthBytes = 0;
  #since: number;

  /** `revision`: the present one. */
  constructor(store: CountedStore, revision: number, bounds = BOUNDS) {
    this.#store = store;
    this.#bounds = bounds;
    this.#since = revision;
  }

  /** Nothing is known any more: the store holds something else, of this revision. */
  reset(revision: number): void {
    this.#starts = [];
    this.#counts = [];
    this.#births = [];
    this.#birthBytes = 0;
    this.#since = revision;
  }

  /** A key came or went; the store has it already. */
  changed(key: BinaryKey, change: 1 | -1, revision: number): void {
    this.#births.push({ revision, key, change });
    this.#birthBytes += key.length + BIRTH_BYTES;
    const { together, births, birthBytes } = this.#bounds;
    if (this.#births.length > births || this.#birthBytes > birthBytes) this.#forgetHalf();
    if (this.#starts.length === 0) return;
    const at = this.#placeOf(key);
    this.#counts[at]! += change;
    if (this.#counts[at]! > 2 * together) this.#split(at);
  }

  /** `revision`: 0 = now. */
  count(range: KeyRange, revision: number): number {
    if (range.rangeEnd === "" || (revision > 0 && revision < this.#since)) return this.#store.count(range, revision);
    const now = this.#countNow(range);
    return revision === 0 ? now : now - this.#sumAbove(revision, range);
  }

  #countNow({ key, rangeEnd }: KeyRange): number {
    this.#build();
    const first = this.#placeOf(key);
    const last = rangeEnd === NO_END ? this.#starts.length - 1 : this.#placeOf(rangeEnd);
    if (last < first) return 0;
    if (first === last) return this.#store.count({ key, rangeEnd }, 0);
    let count = this.#store.count({ key, rangeEnd: this.#starts[first + 1]! }, 0);
    for (let i = first + 1; i < last; i++) count += this.#counts[i]!;
    if (rangeEnd === NO_END) return count + this.#counts[last]!;
    const start = this.#starts[last]!;
    return start === rangeEnd ? count : count + this.#store.count({ key: start, rangeEnd }, 0);
  }

  #sumAbove(revision: number, range: KeyRange): number {
    let sum = 0;
    for (let i = this.#births.length - 1; i >= 0 && this.#births[i]!.revision > revision; i--) {
      const { key, change } = this.#births[i]!;
      if (isInRange(key, range)) sum += change;
    }
    return sum;
  }

  /** The last start that is not above `key`. */
  #placeOf(key: BinaryKey): number {
    let from = 0;
    let to = this.#starts.length;
    while (to - from > 1) {
      const middle = (from + to) >>> 1;
      if (this.#starts[middle]! <= key) from = middle;
      else to = middle;
    }
    return from;
  }

  /** Once a start of the owner, and only when it is asked for: every key of the index is passed over. */
  #build(): void {
    if (this.#starts.length > 0) return;
    this.#starts = [LEAST_KEY];
    for (;;) {
      const next = this.#store.keyBehind(this.#starts.at(-1)!, this.#bounds.together);
      if (next === undefined) break;
      this.#starts.push(next);
    }
    this.#counts = this.#starts.map((key, i) => this.#store.count({ key, rangeEnd: this.#starts[i + 1] ?? NO_END }, 0));
  }

  #split(at: number): void {
    const start = this.#starts[at]!;
    const end = this.#starts[at + 1] ?? NO_END;
    const middle = this.#store.keyBehind(start, this.#bounds.together);
    if (middle === undefined || (end !== NO_END && middle >= end)) return;
    const below = this.#store.count({ key: start, rangeEnd: middle }, 0);
    this.#starts.splice(at + 1, 0, middle);
    this.#counts.splice(at, 1, below, this.#counts[at]! - below);
  }

  /** Whole revisions: of the one that is cut nothing may stay. */
  #forgetHalf(): void {
    const half = this.#births.length >>> 1;
    this.#since = this.#births[half]!.revision;
    this.#births = this.#births.filter(({ revision }) => revision > this.#since);
    this.#birthBytes = this.#births.reduce((sum, { key }) => sum + key.length + BIRTH_BYTES, 0);
  }
}
