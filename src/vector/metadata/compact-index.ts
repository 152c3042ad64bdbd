// A sealed segment's metadata index, read in place from its bytes: nothing is unpacked, a lookup is a binary search.
// Guarantees: bytes that do not hold together throw MalformedBytes on opening. Must not: be changed.
import { MalformedBytes } from "../../wire/bytes.ts";
import type { Bounds } from "../filter/filter.ts";
import { isWithin, typeOfBounds } from "../filter/filter.ts";
import { BitSet, type Rows } from "./bit-set.ts";
import type { Entries, FieldColumns, IndexColumns } from "./columns.ts";
import { INDEX_MAGIC } from "./compact-writer.ts";
import type { FieldLookup, MetadataLookup, PointsOfField } from "./field-lookup.ts";
import { firstWhere } from "./index-builder.ts";
import { MAX_INDEXED_PATHS } from "./limits.ts";
import type { Point, Scalar } from "./values.ts";

const encoder = new TextEncoder();

class AlignedReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    // Typed arrays over the bytes need them at a multiple of 8.
    this.#bytes = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  }

  #take(elementBytes: number): [offset: number, length: number] {
    const { buffer, byteOffset, length: total } = this.#bytes;
    if (this.#at + 8 > total) throw new MalformedBytes("the metadata index is cut off");
    const length = new DataView(buffer, byteOffset).getUint32(this.#at, true);
    const start = this.#at + 8;
    this.#at = start + Math.ceil((length * elementBytes) / 8) * 8;
    if (this.#at > total) throw new MalformedBytes("the metadata index is cut off");
    return [byteOffset + start, length];
  }

  u8(): Uint8Array {
    return new Uint8Array(this.#bytes.buffer, ...this.#take(1));
  }

  u32(): Uint32Array {
    return new Uint32Array(this.#bytes.buffer, ...this.#take(4));
  }

  f64(): Float64Array {
    return new Float64Array(this.#bytes.buffer, ...this.#take(8));
  }
}

function assertStarts(starts: Uint32Array, listCount: number, poolLength: number): void {
  if (starts.length !== listCount + 1 || starts[0] !== 0 || starts.at(-1) !== poolLength) fail();
  for (let at = 1; at < starts.length; at++) if (starts[at]! < starts[at - 1]!) fail();
}

function fail(): never {
  throw new MalformedBytes("the metadata index does not hold together");
}

class Lists {
  readonly #starts: Uint32Array;
  readonly #pool: Uint32Array;
  readonly #count: number;

  constructor(reader: AlignedReader, count: number, listCount: number) {
    this.#starts = reader.u32();
    this.#pool = reader.u32();
    this.#count = count;
    assertStarts(this.#starts, listCount, this.#pool.length);
    const setWords = (count + 31) >>> 5;
    for (let at = 0; at < listCount; at++) if (this.#starts[at + 1]! - this.#starts[at]! > setWords) fail();
  }

  at(index: number): Rows {
    const words = this.#pool.subarray(this.#starts[index]!, this.#starts[index + 1]!);
    return this.#isSet(index) ? setOf(words, this.#count) : assertRows(words, this.#count);
  }

  /** All lists from one to another, as few pieces as can be: neighbours stand side by side. A row may come twice. */
  *between(from: number, to: number): Generator<Rows> {
    let first = from;
    for (let at = from; at <= to; at++) {
      if (at < to && !this.#isSet(at)) continue;
      if (first < at) yield assertRows(this.#pool.subarray(this.#starts[first]!, this.#starts[at]!), this.#count);
      if (at < to) yield this.at(at);
      first = at + 1;
    }
  }

  #isSet(index: number): boolean {
    return this.#starts[index + 1]! - this.#starts[index]! === (this.#count + 31) >>> 5;
  }
}

function setOf(words: Uint32Array, count: number): BitSet {
  const rest = count & 31;
  if (rest !== 0 && words.at(-1)! >>> rest !== 0) fail();
  return new BitSet(count, words);
}

function assertRows(rows: Uint32Array, count: number): Uint32Array {
  for (let at = 0; at < rows.length; at++) if (rows[at]! >= count) fail();
  return rows;
}

interface Keys<K> {
  readonly length: number;
  /** Negative: the key at `index` is before `key`. */
  compare(index: number, key: K): number;
  key(index: number): K;
}

class Dictionary<K> {
  readonly keys: Keys<K>;
  readonly #lists: Lists;

  constructor(keys: Keys<K>, reader: AlignedReader, count: number) {
    this.keys = keys;
    this.#lists = new Lists(reader, count, keys.length);
  }

  rows(index: number): Rows {
    return this.#lists.at(index);
  }

  get(key: K): Rows {
    const index = this.#first(key);
    return index < this.keys.length && this.keys.compare(index, key) === 0 ? this.rows(index) : [];
  }

  #first(key: K): number {
    return firstWhere(this.keys.length, (index) => this.keys.compare(index, key) >= 0);
  }

  /** Rows of the keys from the first that is not before `isBefore`, as long as `isIn`. */
  within(isBefore: (index: number) => boolean, isIn: (index: number) => boolean): Iterable<Rows> {
    const { length } = this.keys;
    const from = firstWhere(length, (index) => !isBefore(index));
    return this.#lists.between(
      from,
      Math.max(
        from,
        firstWhere(length, (index) => index >= from && !isIn(index)),
      ),
    );
  }

  *entries(): Entries<K> {
    for (let at = 0; at < this.keys.length; at++) yield [this.keys.key(at), this.rows(at)];
  }
}

function numberKeys(reader: AlignedReader): Keys<number> {
  const numbers = reader.f64();
  return {
    length: numbers.length,
    compare: (index, key) => numbers[index]! - key,
    key: (index) => numbers[index]!,
  };
}

function textKeys(reader: AlignedReader): Keys<Uint8Array> {
  const starts = reader.u32();
  const bytes = reader.u8();
  assertStarts(starts, Math.max(0, starts.length - 1), bytes.length);
  const key = (index: number): Uint8Array => bytes.subarray(starts[index]!, starts[index + 1]!);
  return { length: starts.length - 1, compare: (index, other) => compareBytes(key(index), other), key };
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shorter = Math.min(a.length, b.length);
  for (let at = 0; at < shorter; at++) if (a[at] !== b[at]) return a[at]! - b[at]!;
  return a.length - b.length;
}

class Points implements PointsOfField {
  readonly #rows: Uint32Array;
  readonly #lat: Float64Array;
  readonly #lon: Float64Array;
  readonly #cells: Uint32Array;
  readonly #starts: Uint32Array;

  constructor(reader: AlignedReader, count: number) {
    this.#rows = reader.u32();
    this.#lat = reader.f64();
    this.#lon = reader.f64();
    this.#cells = reader.u32();
    this.#starts = reader.u32();
    if (this.#lat.length !== this.#rows.length || this.#lon.length !== this.#rows.length) fail();
    assertStarts(this.#starts, this.#cells.length, this.#rows.length);
    assertRows(this.#rows, count);
  }

  get count(): number {
    return this.#rows.length;
  }

  row(at: number): number {
    return this.#rows[at]!;
  }

  point(at: number): Point {
    return { lat: this.#lat[at]!, lon: this.#lon[at]! };
  }

  inCell(cell: number): ArrayLike<number> {
    const index = firstWhere(this.#cells.length, (at) => this.#cells[at]! >= cell);
    if (this.#cells[index] !== cell) return [];
    const start = this.#starts[index]!;
    return Array.from({ length: this.#starts[index + 1]! - start }, (_, at) => start + at);
  }
}

class CompactField implements FieldLookup {
  readonly path: string;
  readonly points: Points;
  readonly #fixed: readonly Rows[];
  readonly #numbers: Dictionary<number>;
  readonly #texts: Dictionary<Uint8Array>;
  readonly #words: Dictionary<Uint8Array>;

  constructor(reader: AlignedReader, count: number) {
    this.path = new TextDecoder().decode(reader.u8());
    const fixed = new Lists(reader, count, 5);
    this.#fixed = [0, 1, 2, 3, 4].map((index) => fixed.at(index));
    this.#numbers = new Dictionary(numberKeys(reader), reader, count);
    this.#texts = new Dictionary(textKeys(reader), reader, count);
    this.#words = new Dictionary(textKeys(reader), reader, count);
    this.points = new Points(reader, count);
  }

  get present(): Rows {
    return this.#fixed[0]!;
  }

  get long(): Rows {
    return this.#fixed[1]!;
  }

  equal(value: Scalar): Rows {
    if (value === null) return this.#fixed[2]!;
    if (typeof value === "boolean") return this.#fixed[value ? 4 : 3]!;
    return typeof value === "number" ? this.#numbers.get(value) : this.#texts.get(encoder.encode(value));
  }

  word(word: string): Rows {
    return this.#words.get(encoder.encode(word));
  }

  between(bounds: Bounds): Iterable<Rows> {
    if (typeOfBounds(bounds) === "number") return inOrder(this.#numbers, bounds, (a: number, b: number) => a - b);
    const encoded = Object.fromEntries(Object.entries(bounds).map(([name, text]) => [name, encoder.encode(text)]));
    return inOrder(this.#texts, encoded as never, compareBytes);
  }

  withPrefix(prefix: string): Iterable<Rows> {
    const bytes = encoder.encode(prefix);
    const { keys } = this.#texts;
    return this.#texts.within(
      (index) => keys.compare(index, bytes) < 0,
      (index) => compareBytes(keys.key(index).subarray(0, bytes.length), bytes) === 0,
    );
  }

  columns(): FieldColumns {
    const [present, long, nulls, falses, trues] = this.#fixed as [Rows, Rows, Rows, Rows, Rows];
    const entries = {
      numbers: this.#numbers.entries(),
      texts: this.#texts.entries(),
      words: this.#words.entries(),
    };
    return { path: this.path, present, long, nulls, falses, trues, ...entries, points: this.points };
  }
}

function inOrder<K>(dictionary: Dictionary<K>, bounds: Bounds, compare: (a: K, b: K) => number): Iterable<Rows> {
  const { gt, gte, ...ends } = bounds;
  const starts = { ...(gt !== undefined && { gt }), ...(gte !== undefined && { gte }) };
  const judge = (index: number, part: Bounds): boolean =>
    isWithin(dictionary.keys.key(index) as never, part, compare as never);
  return dictionary.within(
    (index) => !judge(index, starts),
    (index) => judge(index, ends),
  );
}

export class CompactMetadataIndex implements MetadataLookup {
  readonly count: number;
  readonly unindexed: Rows;
  readonly byteLength: number;
  readonly #fields = new Map<string, CompactField>();

  constructor(bytes: Uint8Array) {
    const reader = new AlignedReader(bytes);
    const [magic, count, fieldCount] = reader.u32();
    if (magic !== INDEX_MAGIC || count === undefined || fieldCount === undefined) fail();
    if (fieldCount > MAX_INDEXED_PATHS) fail();
    this.count = count;
    this.byteLength = bytes.length;
    this.unindexed = new Lists(reader, count, 1).at(0);
    for (let at = 0; at < fieldCount; at++) {
      const field = new CompactField(reader, count);
      this.#fields.set(field.path, field);
    }
  }

  get paths(): Iterable<string> {
    return this.#fields.keys();
  }

  field(path: string): CompactField | undefined {
    return this.#fields.get(path);
  }

  columns(): IndexColumns {
    const { count, unindexed } = this;
    return { count, unindexed, fields: [...this.#fields.values()].map((field) => field.columns()) };
  }
}
