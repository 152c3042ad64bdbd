// A set of row numbers 0..count-1, one bit each.
// Invariant: bits at count and above are 0, so that counting and inverting need no care elsewhere.

/** Row numbers: a list, ascending and without repetition, or a set. */
export type Rows = ArrayLike<number> | BitSet;

export class BitSet {
  readonly count: number;
  /** 32 rows a word, lowest bit first: the form in which kernels take it. */
  readonly words: Uint32Array;

  constructor(count: number, words: Uint32Array = new Uint32Array((count + 31) >>> 5)) {
    this.count = count;
    this.words = words;
  }

  static all(count: number): BitSet {
    const set = new BitSet(count);
    set.words.fill(0xffffffff);
    set.#trim();
    return set;
  }

  static of(count: number, rows: Rows): BitSet {
    const set = new BitSet(count);
    set.addAll(rows);
    return set;
  }

  #trim(): void {
    const rest = this.count & 31;
    if (rest !== 0) this.words[this.words.length - 1]! &= 2 ** rest - 1;
  }

  has(row: number): boolean {
    return ((this.words[row >>> 5] ?? 0) & (1 << (row & 31))) !== 0;
  }

  /** Any of the rows from..to-1. */
  hasWithin(from: number, to: number): boolean {
    for (let row = from; row < to; row = (row | 31) + 1) {
      const mask = 0xffffffff << (row & 31);
      const rest = (row | 31) < to ? mask : mask & (2 ** (to & 31) - 1);
      if ((this.words[row >>> 5]! & rest) !== 0) return true;
    }
    return false;
  }

  add(row: number): void {
    this.words[row >>> 5]! |= 1 << (row & 31);
  }

  remove(row: number): void {
    this.words[row >>> 5]! &= ~(1 << (row & 31));
  }

  addAll(rows: Rows): void {
    if (rows instanceof BitSet) return void this.join(rows);
    const { words } = this;
    for (let at = 0; at < rows.length; at++) {
      const row = rows[at]!;
      words[row >>> 5]! |= 1 << (row & 31);
    }
  }

  copy(): BitSet {
    return new BitSet(this.count, this.words.slice());
  }

  /** This becomes this ∩ other. */
  keep(other: BitSet): this {
    for (let at = 0; at < this.words.length; at++) this.words[at]! &= other.words[at]!;
    return this;
  }

  /** This becomes this ∪ other. */
  join(other: BitSet): this {
    for (let at = 0; at < this.words.length; at++) this.words[at]! |= other.words[at]!;
    return this;
  }

  /** This becomes this ∖ other. */
  drop(other: BitSet): this {
    for (let at = 0; at < this.words.length; at++) this.words[at]! &= ~other.words[at]!;
    return this;
  }

  /** This becomes the rows that were not in it. */
  invert(): this {
    for (let at = 0; at < this.words.length; at++) this.words[at] = ~this.words[at]!;
    this.#trim();
    return this;
  }

  get size(): number {
    let size = 0;
    for (const word of this.words) size += bitsOf(word);
    return size;
  }

  /** Ascending. */
  rows(): Uint32Array {
    const rows = new Uint32Array(this.size);
    let next = 0;
    for (let at = 0; at < this.words.length; at++) {
      for (let word = this.words[at]!; word !== 0; word &= word - 1)
        rows[next++] = at * 32 + (31 - Math.clz32(word & -word));
    }
    return rows;
  }
}

function bitsOf(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
