// fastText's `.bin`: words with their counts, and vectors of hashed subwords, so that a word that was never seen has a vector too.
// Format: facebookresearch/fastText, src/{fasttext,dictionary,args,matrix}.cc, version 12. A word's vector is the mean of its own row and of
// the rows of its subwords (Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information").
// Guarantees: a file that was cut, or whose numbers do not fit each other, is refused. Must not: read quantized files (`.ftz`).
import { MAX_SUBWORD_CHARACTERS, MAX_WORD_BYTES } from "../limits.ts";
import { badFile } from "../refusal.ts";
import { copyOf } from "./compact-file.ts";
import { requireShape } from "./text-file.ts";
import type { WordTable } from "./word-table.ts";

export const FASTTEXT_MAGIC = 793_712_314;
const VERSION = 12;
const MAX_SUBWORD = 64;
const WORD_OVERHEAD_BYTES = 80;
const END_OF_SENTENCE = "</s>";
const encoder = new TextEncoder();

class Reader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #take(count: number): number {
    const from = this.at;
    if (from + count > this.#bytes.length) throw badFile(`ends at byte ${this.#bytes.length}, before it is whole`);
    this.at += count;
    return from;
  }

  u8(): number {
    return this.#bytes[this.#take(1)]!;
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4), true);
  }

  i64(): number {
    return Number(this.#view.getBigInt64(this.#take(8), true));
  }

  skip(count: number): void {
    this.#take(count);
  }

  /** Up to a zero byte. */
  word(decoder: TextDecoder): string {
    const length = this.#bytes.subarray(this.at, this.at + MAX_WORD_BYTES + 1).indexOf(0);
    if (length < 0) throw badFile(`has a word of more than ${MAX_WORD_BYTES} bytes at byte ${this.at}`);
    const from = this.#take(length + 1);
    return decoder.decode(this.#bytes.subarray(from, from + length));
  }

  floats(count: number): Float32Array {
    const from = this.#take(count * 4);
    return new Float32Array(copyOf(this.#bytes.subarray(from, from + count * 4)));
  }
}

interface Shape {
  readonly dimension: number;
  /** Rows for subwords. */
  readonly buckets: number;
  readonly minSubword: number;
  readonly maxSubword: number;
}

interface Dictionary {
  readonly places: ReadonlyMap<string, number>;
  readonly counts: readonly number[];
  readonly tokenCount: number;
}

function readShape(reader: Reader): Shape {
  if (reader.i32() !== FASTTEXT_MAGIC) throw badFile("is no fastText model");
  const version = reader.i32();
  if (version !== VERSION) throw badFile(`is of fastText's version ${version}; ${VERSION} can be read`);
  const numbers = Array.from({ length: 12 }, () => reader.i32());
  // The sampling threshold of the training.
  reader.skip(8);
  const [dimension, buckets, minSubword, maxSubword] = [0, 8, 9, 10].map((at) => numbers[at]!) as [
    number,
    number,
    number,
    number,
  ];
  requireShape(dimension, 1);
  if (buckets < 0 || minSubword < 0 || maxSubword > MAX_SUBWORD)
    throw badFile(`says ${buckets} buckets and subwords of ${minSubword} to ${maxSubword} characters`);
  return { dimension, buckets, minSubword, maxSubword };
}

function readDictionary(reader: Reader): Dictionary {
  const [entryCount, wordCount, labelCount] = [reader.i32(), reader.i32(), reader.i32()];
  const tokenCount = reader.i64();
  const prunedCount = reader.i64();
  requireShape(1, wordCount);
  if (entryCount !== wordCount + labelCount || tokenCount < 1)
    throw badFile(`counts ${entryCount} entries, ${wordCount} words, ${labelCount} labels, ${tokenCount} tokens`);
  if (prunedCount >= 0) throw badFile("was quantized or pruned; the full .bin can be read");
  const decoder = new TextDecoder();
  const places = new Map<string, number>();
  const counts: number[] = [];
  for (let entry = 0; entry < entryCount; entry++) {
    const word = reader.word(decoder);
    const count = reader.i64();
    // Labels of a classifier come behind all words.
    if (reader.u8() !== 0) continue;
    if (!places.has(word)) places.set(word, counts.length);
    counts.push(count);
  }
  if (counts.length !== wordCount) throw badFile(`names ${counts.length} words; it says ${wordCount}`);
  return { places, counts, tokenCount };
}

/** FNV-1a as fastText has it: over signed bytes. */
export function subwordHash(bytes: Uint8Array): number {
  let hash = 2_166_136_261;
  for (const byte of bytes) hash = Math.imul(hash ^ ((byte << 24) >> 24), 16_777_619);
  return hash >>> 0;
}

/** The subwords of `<word>`, by length between `min` and `max` characters. */
export function* subwordsOf(
  word: string,
  { minSubword, maxSubword }: Pick<Shape, "minSubword" | "maxSubword">,
): Generator<Uint8Array> {
  const characters = [...`<${word}>`].slice(0, MAX_SUBWORD_CHARACTERS);
  const encoded = characters.map((character) => encoder.encode(character));
  const starts = [0];
  for (const { length } of encoded) starts.push(starts.at(-1)! + length);
  const bytes = encoder.encode(characters.join(""));
  for (let from = 0; from < characters.length; from++) {
    for (let length = 1; length <= maxSubword && from + length <= characters.length; length++) {
      const isBracket = length === 1 && (from === 0 || from + length === characters.length);
      if (length >= minSubword && !isBracket) yield bytes.subarray(starts[from], starts[from + length]);
    }
  }
}

class FastTextTable implements WordTable {
  readonly dimension: number;
  readonly #shape: Shape;
  readonly #dictionary: Dictionary;
  readonly #values: Float32Array;

  constructor(shape: Shape, dictionary: Dictionary, values: Float32Array) {
    this.dimension = shape.dimension;
    this.#shape = shape;
    this.#dictionary = dictionary;
    this.#values = values;
  }

  get wordCount(): number {
    return this.#dictionary.places.size;
  }

  get memoryBytes(): number {
    return this.#values.byteLength + this.wordCount * WORD_OVERHEAD_BYTES;
  }

  words(): Iterable<string> {
    return this.#dictionary.places.keys();
  }

  has(word: string): boolean {
    return this.#dictionary.places.has(word);
  }

  frequencyOf(word: string): number {
    const { places, counts, tokenCount } = this.#dictionary;
    const place = places.get(word);
    const count = place === undefined ? 0 : counts[place]!;
    // Once in the text it was trained on is the least that anything can be told of.
    return Math.min(1, Math.max(1, count) / tokenCount);
  }

  #rowsOf(word: string): readonly number[] {
    const { places } = this.#dictionary;
    const { buckets } = this.#shape;
    const own = places.get(word);
    const rows = own === undefined ? [] : [own];
    if (buckets === 0 || word === END_OF_SENTENCE) return rows;
    const first = this.#dictionary.counts.length;
    for (const subword of subwordsOf(word, this.#shape)) rows.push(first + (subwordHash(subword) % buckets));
    return rows;
  }

  addTo(sum: Float64Array, word: string, weight: number): boolean {
    const rows = this.#rowsOf(word);
    const share = weight / rows.length;
    for (const row of rows) {
      const from = row * this.dimension;
      for (let at = 0; at < this.dimension; at++) sum[at]! += share * this.#values[from + at]!;
    }
    return rows.length > 0;
  }
}

/** @throws EmbeddingRefusal */
export function readFastTextFile(bytes: Uint8Array): WordTable {
  const reader = new Reader(bytes);
  const shape = readShape(reader);
  const dictionary = readDictionary(reader);
  if (reader.u8() !== 0) throw badFile("was quantized; the full .bin can be read");
  const [rowCount, width] = [reader.i64(), reader.i64()];
  const expected = dictionary.counts.length + shape.buckets;
  if (rowCount !== expected || width !== shape.dimension)
    throw badFile(`has ${rowCount} rows of ${width} numbers; ${expected} of ${shape.dimension} are expected`);
  const values = reader.floats(rowCount * width);
  if (!values.every(Number.isFinite)) throw badFile("has a number that is not finite");
  return new FastTextTable(shape, dictionary, values);
}
