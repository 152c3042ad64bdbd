// Several segments become one: a seal (of the fresh segment) and a merge (of sealed ones) alike. In slices; the old ones serve meanwhile.
// Guarantees: exactly the rows that live when it ends live in the new segment; nothing is visible before the caller swaps.
// A damaged row ends it (CorruptSegment): a segment is never given up with a row that could not be read.
import type { IndexColumns } from "../metadata/columns.ts";
import { DROPPED, mergeColumns } from "../metadata/merge-index.ts";
import type { VectorRow } from "../segment/row.ts";
import type { SegmentWriter } from "../segment/segment-writer.ts";
import { Slice } from "../slice.ts";
import { SLICE_ROWS } from "./limits.ts";

/** What a rewrite reads from: a segment, fresh or sealed, whose rows no longer grow. */
export interface RowSource {
  readonly rowCount: number;
  isDeleted(row: number): boolean;
  rowAt(row: number): VectorRow;
  columns(): IndexColumns;
}

export interface Rewritten {
  /** Old row → new row of every source, or DROPPED. */
  readonly rowOf: readonly Uint32Array[];
}

export function* rewrite(
  sources: readonly RowSource[],
  writer: SegmentWriter,
  now: () => number,
): Generator<void, Rewritten> {
  const rowOf: Uint32Array[] = [];
  const slice = new Slice(now, SLICE_ROWS);
  for (const source of sources) rowOf.push(yield* copyRows(source, writer, slice));
  const inputs = sources.map((source, at) => ({ columns: source.columns(), rowOf: rowOf[at]! }));
  yield* writer.finish(yield* mergeColumns(inputs, writer.rowCount));
  return { rowOf };
}

function* copyRows(source: RowSource, writer: SegmentWriter, slice: Slice): Generator<void, Uint32Array> {
  const rowOf = new Uint32Array(source.rowCount).fill(DROPPED);
  for (let row = 0; row < source.rowCount; row++) {
    if (slice.isOver()) yield;
    if (source.isDeleted(row)) continue;
    rowOf[row] = writer.rowCount;
    writer.add(source.rowAt(row));
  }
  return rowOf;
}

/** Rows of the new segment whose old ones were deleted since they were copied. */
export function deletedSince(sources: readonly RowSource[], { rowOf }: Rewritten): readonly number[] {
  const rows: number[] = [];
  for (const [at, source] of sources.entries()) {
    for (let row = 0; row < source.rowCount; row++) {
      const copy = rowOf[at]![row]!;
      if (copy !== DROPPED && source.isDeleted(row)) rows.push(copy);
    }
  }
  return rows;
}
