// Takes a saved index over coded blocks back.
// Guarantees: as hnsw-loader.ts. Codes, factors and centres may be any bytes: they decide what is estimated, not what is read.

import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { CodedSpace } from "../quantize/coded-space.ts";
import { BLOCK_ROWS } from "./cell-codes.ts";
import { type CellHeader, type CellPlaces, cellBytes, cellLengths, placesOf, readCellHeader } from "./cell-format.ts";
import { CellIndex } from "./cell-index.ts";
import { refuse } from "./form-header.ts";
import { checkLengths, type SavedIndex } from "./sections.ts";
import type { IndexLoader, Rows } from "./segment-index.ts";

/** @throws MalformedIndex, ArenaFull */
export function openCellLoader(
  core: VectorCore,
  saved: SavedIndex,
  { rows, metric }: { readonly rows: Rows; readonly metric: Metric },
): IndexLoader & { finish(): CellIndex } {
  const { arena } = core;
  const header = readCellHeader(saved.header);
  refuse(header.rows !== rows.count, `${header.rows} rows in a segment of ${rows.count}`);
  refuse(header.dimension !== rows.dimension, `dimension ${header.dimension} for rows of ${rows.dimension}`);
  refuse(header.metric !== metric, `the metric ${header.metric} in a database of ${metric}`);
  checkLengths(saved, cellLengths(header));
  const space = spaceOf(core, header);
  let at: number;
  try {
    at = arena.allocate(cellBytes(header));
  } catch (error) {
    space.release();
    throw error;
  }
  const abandon = (): void => {
    space.release();
    arena.free(at);
  };
  let next = at;
  const targets = cellLengths(header).map(([name, byteLength]) => {
    next += byteLength;
    return { name, at: next - byteLength, byteLength };
  });
  return {
    targets,
    abandon,
    finish: () => {
      try {
        check(core, header, placesOf(header, at));
        return new CellIndex(core, header, at, space);
      } catch (error) {
        abandon();
        throw error;
      }
    },
  };
}

/** The space of an index. @throws ArenaFull */
export function spaceOf(
  core: VectorCore,
  header: Omit<CellHeader, "rows" | "cells" | "slots" | "quarantinedCount">,
): CodedSpace {
  const { metric, dimension, radius, quantizer, seed } = header;
  const map = { quantizer: "none", metric, dimension, radius } as const;
  return new CodedSpace(core, { map, seed: quantizer === "rabitq" ? seed : undefined });
}

/** Every row that is not quarantined has one place, and no place is read that is not there. */
function check({ arena }: VectorCore, header: CellHeader, places: CellPlaces): void {
  const { kind, rows, cells, slots, quarantinedCount } = header;
  const seen = new Uint8Array(rows);
  const take = (row: number, what: string): void => {
    refuse(row >= rows || seen[row] === 1, `${what} ${row}, which is none or taken`);
    seen[row] = 1;
  };
  for (const row of arena.words(places.quarantined, quarantinedCount)) take(row, "the quarantined row");
  const spans = arena.words(places.spans, cells * 2);
  if (kind === "FLAT") return refuse(spans[0] !== 0 || spans[1] !== rows, "a list that is not all rows");
  const rowOf = arena.words(places.rowOf, slots);
  let [next, placed] = [0, quarantinedCount];
  for (let cell = 0; cell < cells; cell++) {
    const [first, count] = [spans[cell * 2]!, spans[cell * 2 + 1]!];
    refuse(first !== next || count > slots - first, `list ${cell} at ${first} with ${count} rows`);
    for (const row of rowOf.subarray(first, first + count)) take(row, "the row");
    next += Math.ceil(count / BLOCK_ROWS) * BLOCK_ROWS;
    placed += count;
  }
  refuse(next !== slots || placed !== rows, `${placed} rows at ${next} places`);
}
