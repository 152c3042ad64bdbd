// Merges the metadata indexes of segments that become one: rows are renumbered, deleted ones left out, values kept in order.
// Guarantees: equals an index built anew from the rows that remain, but for paths over the bound. Memory: one value's rows at a time.
import type { Rows } from "./bit-set.ts";
import { type Entries, type FieldColumns, type IndexColumns, rowList } from "./columns.ts";
import { compareBytes } from "./compact-index.ts";
import type { PointsOfField } from "./field-lookup.ts";
import { MAX_INDEXED_PATHS } from "./limits.ts";
import type { Point } from "./values.ts";

/** In `rowOf`: the row is not in the merged segment. */
export const DROPPED = 0xffff_ffff;

export interface MergeInput {
  readonly columns: IndexColumns;
  /** Old row → new row, or {@link DROPPED}. */
  readonly rowOf: Uint32Array;
}

/** Points taken over between two pauses. */
const SLICE_POINTS = 2048;

type FieldOf = ReadonlyMap<string, FieldColumns>;

/** `count`: rows of the merged segment. With pauses. */
export function* mergeColumns(inputs: readonly MergeInput[], count: number): Generator<void, IndexColumns> {
  const fieldsOf = inputs.map(({ columns }) => new Map([...columns.fields].map((field) => [field.path, field])));
  const { kept, given } = splitPaths(inputs, fieldsOf);
  const unindexed = inputs.map(({ columns, rowOf }, at) => [
    renumbered(columns.unindexed, rowOf),
    ...given.map((path) => renumbered(fieldsOf[at]!.get(path)?.present ?? [], rowOf)),
  ]);
  yield;
  const fields: FieldColumns[] = [];
  for (const path of kept) fields.push(yield* mergeField(path, inputs, fieldsOf));
  return { count, unindexed: joined(unindexed.flat()), fields };
}

/** A path is kept when every segment knows all its rows with it: one that may have unlisted rows with it would lose them. */
function splitPaths(inputs: readonly MergeInput[], fieldsOf: readonly FieldOf[]): { kept: string[]; given: string[] } {
  const paths = new Set(fieldsOf.flatMap((fields) => [...fields.keys()]));
  const isComplete = (path: string): boolean =>
    inputs.every(({ columns }, at) => fieldsOf[at]!.has(path) || rowList(columns.unindexed).length === 0);
  const complete = [...paths].filter(isComplete);
  const kept = new Set(complete.slice(0, MAX_INDEXED_PATHS));
  return { kept: [...kept], given: [...paths].filter((path) => !kept.has(path)) };
}

function renumbered(rows: Rows, rowOf: Uint32Array): Uint32Array {
  const list = rowList(rows);
  const renamed = new Uint32Array(list.length);
  let length = 0;
  for (let at = 0; at < list.length; at++) {
    const row = rowOf[list[at]!]!;
    if (row !== DROPPED) renamed[length++] = row;
  }
  return renamed.subarray(0, length);
}

/** Ascending, each once. */
function joined(lists: readonly Uint32Array[]): Uint32Array {
  const all = new Uint32Array(lists.reduce((sum, rows) => sum + rows.length, 0));
  let next = 0;
  for (const rows of lists) {
    all.set(rows, next);
    next += rows.length;
  }
  // Rows of a later segment come after those of an earlier one, mostly.
  if (!all.every((row, at) => at === 0 || row >= all[at - 1]!)) all.sort();
  let length = 0;
  for (const row of all) if (length === 0 || all[length - 1] !== row) all[length++] = row;
  return all.subarray(0, length);
}

function* mergeField(
  path: string,
  inputs: readonly MergeInput[],
  fieldsOf: readonly FieldOf[],
): Generator<void, FieldColumns> {
  const parts = inputs.flatMap(({ rowOf }, at) => {
    const field = fieldsOf[at]!.get(path);
    return field ? [{ field, rowOf }] : [];
  });
  const rows = (of: (field: FieldColumns) => Rows): Rows =>
    joined(parts.map(({ field, rowOf }) => renumbered(of(field), rowOf)));
  const entries = <K>(of: (field: FieldColumns) => Entries<K>, compare: (a: K, b: K) => number): Entries<K> =>
    mergeEntries(
      parts.map(({ field, rowOf }) => ({ entries: of(field), rowOf })),
      compare,
    );
  const present = rows((field) => field.present);
  yield;
  const [long, nulls] = [rows((field) => field.long), rows((field) => field.nulls)];
  yield;
  const [falses, trues] = [rows((field) => field.falses), rows((field) => field.trues)];
  yield;
  const points = yield* mergePoints(parts.map(({ field, rowOf }) => ({ points: field.points, rowOf })));
  return {
    ...{ path, present, long, nulls, falses, trues, points },
    numbers: entries(
      (field) => field.numbers,
      (a, b) => a - b,
    ),
    texts: entries((field) => field.texts, compareBytes),
    words: entries((field) => field.words, compareBytes),
  };
}

function* mergeEntries<K>(
  inputs: readonly { readonly entries: Entries<K>; readonly rowOf: Uint32Array }[],
  compare: (a: K, b: K) => number,
): Entries<K> {
  const heads = inputs.map(({ entries, rowOf }) => {
    const iterator = entries[Symbol.iterator]();
    return { iterator, rowOf, next: iterator.next() };
  });
  for (;;) {
    let least: K | undefined;
    for (const { next } of heads) {
      if (!next.done && (least === undefined || compare(next.value[0], least) < 0)) least = next.value[0];
    }
    if (least === undefined) return;
    const lists: Uint32Array[] = [];
    for (const head of heads) {
      if (head.next.done || compare(head.next.value[0], least) !== 0) continue;
      lists.push(renumbered(head.next.value[1], head.rowOf));
      head.next = head.iterator.next();
    }
    const rows = joined(lists);
    if (rows.length > 0) yield [least, rows];
  }
}

function* mergePoints(
  inputs: readonly { readonly points: PointsOfField; readonly rowOf: Uint32Array }[],
): Generator<void, PointsOfField> {
  const rows: number[] = [];
  const points: Point[] = [];
  for (const { points: source, rowOf } of inputs) {
    for (let at = 0; at < source.count; at++) {
      const row = rowOf[source.row(at)]!;
      if (row === DROPPED) continue;
      rows.push(row);
      points.push(source.point(at));
      if (at % SLICE_POINTS === SLICE_POINTS - 1) yield;
    }
  }
  return { count: rows.length, row: (at) => rows[at]!, point: (at) => points[at]!, inCell: () => [] };
}
