// The metadata index of a segment that still grows: maps from values to rows. Made without being asked for, of every path.
// Guarantees: rows come in ascending order; what is not indexed is listed as such (`long`, `unindexed`), never left out silently.
import type { Bounds } from "../filter/filter.ts";
import { isWithin, typeOfBounds } from "../filter/filter.ts";
import type { Rows } from "./bit-set.ts";
import type { FieldLookup, MetadataLookup, PointsOfField } from "./field-lookup.ts";
import { cellOf } from "./geo.ts";
import { MAX_INDEXED_CHARACTERS, MAX_INDEXED_PATHS } from "./limits.ts";
import { compareText, type JsonObject, type Point, type Scalar, visitMetadata } from "./values.ts";
import { wordsOf } from "./words.ts";

/** Rows that are added in ascending order, each perhaps several times. */
type Growing = number[];

function addRow(rows: Growing, row: number): void {
  if (rows.at(-1) !== row) rows.push(row);
}

/** Values with their rows, and in order when asked: new ones are sorted in then. */
class Dictionary<K extends number | string> {
  readonly #rows = new Map<K, Growing>();
  readonly #compare: (a: K, b: K) => number;
  #sorted: K[] = [];
  #added: K[] = [];

  constructor(compare: (a: K, b: K) => number) {
    this.#compare = compare;
  }

  add(key: K, row: number): void {
    const rows = this.#rows.get(key);
    if (rows) return addRow(rows, row);
    this.#rows.set(key, [row]);
    this.#added.push(key);
  }

  get(key: K): Rows {
    return this.#rows.get(key) ?? [];
  }

  /** Ascending. */
  get keys(): readonly K[] {
    if (this.#added.length > 0) {
      const added = this.#added.sort(this.#compare);
      this.#sorted = this.#sorted.length === 0 ? added : merged(this.#sorted, added, this.#compare);
      this.#added = [];
    }
    return this.#sorted;
  }

  /** Rows of the keys from the first that is not before `isBefore`, as long as `isIn`. */
  *within(isBefore: (key: K) => boolean, isIn: (key: K) => boolean): Generator<Rows> {
    const { keys } = this;
    for (let at = firstWhere(keys.length, (index) => !isBefore(keys[index]!)); at < keys.length; at++) {
      const key = keys[at]!;
      if (!isIn(key)) return;
      yield this.#rows.get(key)!;
    }
  }
}

function merged<K>(a: readonly K[], b: readonly K[], compare: (a: K, b: K) => number): K[] {
  const all: K[] = [];
  let next = 0;
  for (const key of a) {
    while (next < b.length && compare(b[next]!, key) < 0) all.push(b[next++]!);
    all.push(key);
  }
  while (next < b.length) all.push(b[next++]!);
  return all;
}

/** The first index from 0 on for which `holds`, which must go on to hold; `count` if none. */
export function firstWhere(count: number, holds: (index: number) => boolean): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

export class FieldBuilder implements FieldLookup {
  readonly present: Growing = [];
  readonly long: Growing = [];
  readonly nulls: Growing = [];
  readonly booleans: readonly [falses: Growing, trues: Growing] = [[], []];
  readonly numbers = new Dictionary<number>((a, b) => a - b);
  readonly texts = new Dictionary<string>(compareText);
  readonly words = new Dictionary<string>(compareText);
  readonly points = new PointsBuilder();

  addScalar(value: Scalar, row: number): void {
    if (value === null) addRow(this.nulls, row);
    else if (typeof value === "boolean") addRow(this.booleans[value ? 1 : 0], row);
    else if (typeof value === "number") this.numbers.add(value, row);
    else this.#addText(value, row);
  }

  #addText(text: string, row: number): void {
    if (text.length > MAX_INDEXED_CHARACTERS) addRow(this.long, row);
    else this.texts.add(text, row);
    for (const word of wordsOf(text)) this.words.add(word, row);
  }

  equal(value: Scalar): Rows {
    if (value === null) return this.nulls;
    if (typeof value === "boolean") return this.booleans[value ? 1 : 0];
    return typeof value === "number" ? this.numbers.get(value) : this.texts.get(value);
  }

  word(word: string): Rows {
    return this.words.get(word);
  }

  between(bounds: Bounds): Iterable<Rows> {
    return typeOfBounds(bounds) === "number"
      ? inOrder(this.numbers, bounds as Bounds<number>, (a, b) => a - b)
      : inOrder(this.texts, bounds as Bounds<string>, compareText);
  }

  withPrefix(prefix: string): Iterable<Rows> {
    return this.texts.within(
      (text) => compareText(text, prefix) < 0,
      (text) => text.startsWith(prefix),
    );
  }
}

function inOrder<K extends number | string>(
  dictionary: Dictionary<K>,
  bounds: Bounds<K>,
  compare: (a: K, b: K) => number,
): Iterable<Rows> {
  const { gt, gte, ...ends } = bounds;
  const starts = { ...(gt !== undefined && { gt }), ...(gte !== undefined && { gte }) };
  return dictionary.within(
    (key) => !isWithin(key, starts, compare as never),
    (key) => isWithin(key, ends, compare as never),
  );
}

class PointsBuilder implements PointsOfField {
  readonly #rows: number[] = [];
  readonly #points: Point[] = [];
  readonly #cells = new Map<number, number[]>();

  add(point: Point, row: number): void {
    const cell = cellOf(point);
    const positions = this.#cells.get(cell);
    if (positions) positions.push(this.count);
    else this.#cells.set(cell, [this.count]);
    this.#rows.push(row);
    this.#points.push(point);
  }

  get count(): number {
    return this.#rows.length;
  }

  row(at: number): number {
    return this.#rows[at]!;
  }

  point(at: number): Point {
    return this.#points[at]!;
  }

  inCell(cell: number): ArrayLike<number> {
    return this.#cells.get(cell) ?? [];
  }
}

export class MetadataIndexBuilder implements MetadataLookup {
  readonly #fields = new Map<string, FieldBuilder>();
  readonly unindexed: Growing = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get fields(): ReadonlyMap<string, FieldBuilder> {
    return this.#fields;
  }

  /** The next row, number `count`. */
  add(metadata: JsonObject): void {
    const row = this.#count++;
    const at = (path: string): FieldBuilder | undefined => this.#fieldFor(path, row);
    visitMetadata(metadata, {
      present: (path) => {
        const field = at(path);
        if (field) addRow(field.present, row);
      },
      scalar: (path, value) => at(path)?.addScalar(value, row),
      point: (path, point) => at(path)?.points.add(point, row),
    });
  }

  #fieldFor(path: string, row: number): FieldBuilder | undefined {
    const known = this.#fields.get(path);
    if (known) return known;
    if (this.#fields.size >= MAX_INDEXED_PATHS) {
      addRow(this.unindexed, row);
      return undefined;
    }
    const field = new FieldBuilder();
    this.#fields.set(path, field);
    return field;
  }

  field(path: string): FieldBuilder | undefined {
    return this.#fields.get(path);
  }
}
