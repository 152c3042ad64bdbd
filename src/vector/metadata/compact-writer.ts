// Writes a metadata index in its compact form (docs: "Metadata index" of the segment format).
// Guarantees: arrays stand at multiples of 8 bytes, so that they are read in place. Bounded memory beyond the result itself.
import { BitSet, type Rows } from "./bit-set.ts";
import type { Entries, FieldColumns, IndexColumns } from "./columns.ts";
import type { PointsOfField } from "./field-lookup.ts";
import { cellOf } from "./geo.ts";

export const INDEX_MAGIC = 0x3158_4d4a; // "JMX1"
/** Entries written between two pauses. */
const SLICE_ENTRIES = 1024;

/** Bytes that grow; every array has its length before it and begins at a multiple of 8. */
class AlignedWriter {
  #bytes = new Uint8Array(64 * 1024);
  #length = 0;

  array(array: Uint8Array | Uint32Array | Float64Array): void {
    const start = this.#length + 8;
    this.#reserve(8 + array.byteLength + 7);
    new DataView(this.#bytes.buffer).setUint32(this.#length, array.length, true);
    this.#bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), start);
    this.#length = (start + array.byteLength + 7) & ~7;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#length + count, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }

  take(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

/** A typed array that grows. */
class Growing<A extends Uint8Array | Uint32Array | Float64Array> {
  #array: A;
  length = 0;

  constructor(array: A) {
    this.#array = array;
  }

  push(value: number): void {
    this.#reserve(1);
    this.#array[this.length++] = value;
  }

  append(values: ArrayLike<number>): void {
    this.#reserve(values.length);
    this.#array.set(values, this.length);
    this.length += values.length;
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#array.length) return;
    const Class = this.#array.constructor as new (length: number) => A;
    const grown = new Class(Math.max(this.length + count, this.#array.length * 2));
    grown.set(this.#array);
    this.#array = grown;
  }

  take(): A {
    return this.#array.subarray(0, this.length) as A;
  }
}

/** Lists of rows, one after the other. A list as long as a set of all rows is written as that set: the length tells them apart. */
class Lists {
  readonly #starts = new Growing(new Uint32Array(16));
  readonly #pool = new Growing(new Uint32Array(256));
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
    this.#starts.push(0);
  }

  add(rows: Rows): void {
    const setWords = (this.#count + 31) >>> 5;
    const isSet = rows instanceof BitSet || rows.length >= setWords;
    this.#pool.append(isSet ? BitSet.of(this.#count, rows).words : (rows as ArrayLike<number>));
    this.#starts.push(this.#pool.length);
  }

  write(writer: AlignedWriter): void {
    writer.array(this.#starts.take());
    writer.array(this.#pool.take());
  }
}

/** The bytes, with pauses between slices of work. */
export function* writeCompactIndex({ count, unindexed, fields }: IndexColumns): Generator<void, Uint8Array> {
  const writer = new AlignedWriter();
  const all = [...fields];
  writer.array(Uint32Array.of(INDEX_MAGIC, count, all.length));
  const lists = new Lists(count);
  lists.add(unindexed);
  lists.write(writer);
  for (const field of all) yield* writeField(field, count, writer);
  return writer.take();
}

function* writeField(field: FieldColumns, count: number, writer: AlignedWriter): Generator<void> {
  writer.array(new TextEncoder().encode(field.path));
  const fixed = new Lists(count);
  for (const rows of [field.present, field.long, field.nulls, field.falses, field.trues]) fixed.add(rows);
  fixed.write(writer);
  const numbers = new Growing(new Float64Array(16));
  yield* writeEntries(field.numbers, count, writer, {
    add: (key) => numbers.push(key),
    write: () => writer.array(numbers.take()),
  });
  for (const entries of [field.texts, field.words]) {
    const ends = new Growing(new Uint32Array(16));
    const bytes = new Growing(new Uint8Array(256));
    ends.push(0);
    yield* writeEntries(entries, count, writer, {
      add: (key) => {
        bytes.append(key);
        ends.push(bytes.length);
      },
      write: () => {
        writer.array(ends.take());
        writer.array(bytes.take());
      },
    });
  }
  yield* writePoints(field.points, writer);
  yield;
}

function* writeEntries<K>(
  entries: Entries<K>,
  count: number,
  writer: AlignedWriter,
  keys: { add(key: K): void; write(): void },
): Generator<void> {
  const lists = new Lists(count);
  let written = 0;
  for (const [key, rows] of entries) {
    keys.add(key);
    lists.add(rows);
    if (++written % SLICE_ENTRIES === 0) yield;
  }
  keys.write();
  lists.write(writer);
}

function* numbersOf(count: number, numberAt: (at: number) => number): Generator<void, Float64Array> {
  const numbers = new Float64Array(count);
  for (let at = 0; at < count; at++) {
    numbers[at] = numberAt(at);
    if (at % SLICE_ENTRIES === SLICE_ENTRIES - 1) yield;
  }
  return numbers;
}

/** By cell, so that the points of one stand together. */
function* writePoints(points: PointsOfField, writer: AlignedWriter): Generator<void> {
  const { count } = points;
  // Cell and position in one number: sorting numbers without a comparator is several times faster.
  const keys = yield* numbersOf(count, (at) => cellOf(points.point(at)) * 2 ** 32 + at);
  keys.sort();
  yield;
  const order = Uint32Array.from(keys, (key) => key % 2 ** 32);
  const cellAt = Uint32Array.from(keys, (key) => Math.floor(key / 2 ** 32));
  const cells = new Growing(new Uint32Array(16));
  const starts = new Growing(new Uint32Array(16));
  for (let at = 0; at < count; at++) {
    if (at > 0 && cellAt[at] === cellAt[at - 1]) continue;
    cells.push(cellAt[at]!);
    starts.push(at);
  }
  starts.push(count);
  writer.array(Uint32Array.from(order, (at) => points.row(at)));
  writer.array(yield* numbersOf(count, (at) => points.point(order[at]!).lat));
  writer.array(yield* numbersOf(count, (at) => points.point(order[at]!).lon));
  writer.array(cells.take());
  writer.array(starts.take());
}
