// What a file of word vectors is once it is read: words, their vectors, how frequent they are.
// Guarantees: a vector is added without being copied. Must not: know files or texts.

export interface WordTable {
  readonly dimension: number;
  readonly wordCount: number;
  /** What holds the numbers and the words, about. */
  readonly memoryBytes: number;
  /** In the order of the file. */
  words(): Iterable<string>;
  has(word: string): boolean;
  /**
   * The share of all running words that this one has: from counts where the file holds them, else by Zipf's law from its place, for
   * files have their words in the order of frequency. A word that is not held: less than any that is.
   */
  frequencyOf(word: string): number;
  /** Adds `weight` × the word's vector; false: there is none, and nothing was added. */
  addTo(sum: Float64Array, word: string, weight: number): boolean;
}

/** Where a word's numbers stand. */
export interface WordRows {
  /** Adds `weight` × row. */
  add(sum: Float64Array, row: number, weight: number): void;
  readonly memoryBytes: number;
}

/** float32 rows, one after the other. */
export class FloatRows implements WordRows {
  readonly #values: Float32Array;
  readonly #dimension: number;

  constructor(values: Float32Array, dimension: number) {
    this.#values = values;
    this.#dimension = dimension;
  }

  get memoryBytes(): number {
    return this.#values.byteLength;
  }

  add(sum: Float64Array, row: number, weight: number): void {
    const from = row * this.#dimension;
    for (let at = 0; at < this.#dimension; at++) sum[at]! += weight * this.#values[from + at]!;
  }
}

/** Whole numbers with a scale a row: a value is code × scale. */
export class CodedRows implements WordRows {
  readonly #codes: Int16Array;
  readonly #scales: Float32Array;
  readonly #dimension: number;

  constructor(codes: Int16Array, scales: Float32Array, dimension: number) {
    this.#codes = codes;
    this.#scales = scales;
    this.#dimension = dimension;
  }

  get memoryBytes(): number {
    return this.#codes.byteLength + this.#scales.byteLength;
  }

  add(sum: Float64Array, row: number, weight: number): void {
    const from = row * this.#dimension;
    const factor = weight * this.#scales[row]!;
    for (let at = 0; at < this.#dimension; at++) sum[at]! += factor * this.#codes[from + at]!;
  }
}

const WORD_OVERHEAD_BYTES = 64;

/** Zipf's law: the word at place `rank` (from 1) has 1/rank of what the first has. */
export function zipfFrequency(rank: number, wordCount: number): number {
  // The sum of 1/r over all ranks.
  const all = Math.log(wordCount) + 0.5772 + 1 / (2 * wordCount);
  return 1 / (rank * all);
}

/** Words in the order of their frequency, without subwords. */
export class PlainWordTable implements WordTable {
  readonly dimension: number;
  readonly #places: ReadonlyMap<string, number>;
  readonly #rows: WordRows;

  /** `places`: word → row. */
  constructor(dimension: number, places: ReadonlyMap<string, number>, rows: WordRows) {
    this.dimension = dimension;
    this.#places = places;
    this.#rows = rows;
  }

  get wordCount(): number {
    return this.#places.size;
  }

  get memoryBytes(): number {
    return this.#rows.memoryBytes + this.#places.size * WORD_OVERHEAD_BYTES;
  }

  words(): Iterable<string> {
    return this.#places.keys();
  }

  has(word: string): boolean {
    return this.#places.has(word);
  }

  frequencyOf(word: string): number {
    const rank = (this.#places.get(word) ?? this.#places.size) + 1;
    return zipfFrequency(rank, this.#places.size);
  }

  addTo(sum: Float64Array, word: string, weight: number): boolean {
    const row = this.#places.get(word);
    if (row === undefined) return false;
    this.#rows.add(sum, row, weight);
    return true;
  }
}
