// Which row of a segment may hold an id: hashes in order, with their rows. 8 bytes a row, in memory.
// A hash may be shared: the caller compares the id itself. Of absent ids one in 4 billion / rows is looked up for nothing.
import { MAX_SEGMENT_ROWS } from "./limits.ts";

/** Rows whose hashes are sorted between two pauses: some milliseconds. */
const SORTED_AT_ONCE = 16_384;

export class IdHashes {
  /** [hashes…, rows…], ascending by hash. */
  readonly #words: Uint32Array;
  readonly #count: number;

  /** `bytes`: as {@link encodeIdHashes} made them. */
  constructor(bytes: Uint8Array) {
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
    this.#words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length >>> 2);
    this.#count = this.#words.length >>> 1;
  }

  get byteLength(): number {
    return this.#words.byteLength;
  }

  /** Calls `judge` with rows that may have the id of this hash, until it says true; that row, or undefined. */
  find(hash: number, judge: (row: number) => boolean): number | undefined {
    for (let at = this.#first(hash); at < this.#count && this.#words[at] === hash; at++) {
      const row = this.#words[this.#count + at]!;
      if (judge(row)) return row;
    }
    return undefined;
  }

  /** Hashes from `hash` on, ascending, with their rows. */
  *from(hash: number): Generator<readonly [hash: number, row: number]> {
    for (let at = this.#first(hash); at < this.#count; at++) yield [this.#words[at]!, this.#words[this.#count + at]!];
  }

  #first(hash: number): number {
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#words[middle]! >= hash) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** `hashes`: CRC32C of the id of every row. Sorted range by range, with a pause after each: a million at once take a tenth of a second. */
export function* encodeIdHashes(hashes: Uint32Array): Generator<void, Uint8Array> {
  const { length } = hashes;
  const words = new Uint32Array(length * 2);
  const ranges = Math.max(1, Math.ceil(length / SORTED_AT_ONCE));
  const width = Math.ceil(2 ** 32 / ranges);
  for (let range = 0, at = 0; range < ranges; range++) {
    const [low, high] = [range * width, (range + 1) * width];
    // Hash and row in one number of 53 bits: sorting numbers needs no comparator.
    const keys: number[] = [];
    for (let row = 0; row < length; row++) {
      const hash = hashes[row]!;
      if (hash >= low && hash < high) keys.push(hash * MAX_SEGMENT_ROWS + row);
    }
    for (const key of Float64Array.from(keys).sort()) {
      words[at] = Math.floor(key / MAX_SEGMENT_ROWS);
      words[length + at] = key % MAX_SEGMENT_ROWS;
      at++;
    }
    yield;
  }
  return new Uint8Array(words.buffer);
}
