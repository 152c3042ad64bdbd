// What is saved of an index over coded blocks, and where it lies in the arena: one extent, little-endian, in up to seven sections.
// Guarantees: a header that is read back lies within the bounds of the kernels, or `MalformedIndex`.

import type { Arena, Pointer } from "../arena.ts";
import { METRICS, type Metric } from "../metric.ts";
import { spaceLength } from "../quantize/coded-space.ts";
import { BLOCK_ROWS, type BlockQuantizer, type CodeShape, codeShape } from "./cell-codes.ts";
import { refuse } from "./form-header.ts";
import { MAX_CELLS, MAX_DIMENSION, MAX_SEGMENT_ROWS } from "./limits.ts";
import { arenaSection, bytesSection } from "./sections.ts";
import type { IndexSection } from "./segment-index.ts";

const MAGIC = 0x3153_4c43; // "CLS1"
export const CELL_HEADER_BYTES = 48;
const QUANTIZERS: readonly BlockQuantizer[] = ["rabitq", "pq", "none"];
const KINDS = ["FLAT", "IVF"] as const;

export const CELL_SECTIONS = {
  header: "cells",
  centroids: "cells-centroids",
  centres: "cells-centres",
  spans: "cells-spans",
  rows: "cells-rows",
  codes: "cells-codes",
  quarantined: "cells-quarantined",
} as const;

export interface CellHeader {
  readonly kind: (typeof KINDS)[number];
  readonly quantizer: BlockQuantizer;
  readonly metric: Metric;
  readonly dimension: number;
  /** Dot: the greatest squared norm of the rows; else 0. */
  readonly radius: number;
  readonly rows: number;
  readonly cells: number;
  /** Places for rows, whole blocks. FLAT: a row's slot is its number. */
  readonly slots: number;
  /** Of the rotation. */
  readonly seed: number;
  readonly quarantinedCount: number;
}

/** Addresses of the parts. `centre` is the first vector of the centroids' section, the centroids follow. */
export interface CellPlaces {
  readonly centre: Pointer;
  readonly centroids: Pointer;
  readonly centres: Pointer;
  /** First slot and number of rows (u32) of each cell. */
  readonly spans: Pointer;
  /** Row of each slot; empty under FLAT. */
  readonly rowOf: Pointer;
  readonly blocks: Pointer;
  readonly quarantined: Pointer;
}

export function shapeOf(header: CellHeader): CodeShape {
  return codeShape(header.quantizer, spaceLength(header));
}

/** The sections behind the header, with their lengths, as they lie in the arena. All are multiples of 4; codes come first. */
export function cellLengths(header: CellHeader): readonly (readonly [string, number])[] {
  const { blockBytes, centreBytes, length } = shapeOf(header);
  const { cells, slots, kind, quarantinedCount } = header;
  return [
    [CELL_SECTIONS.codes, (slots / BLOCK_ROWS) * blockBytes],
    [CELL_SECTIONS.centroids, (1 + cells) * length * 4],
    [CELL_SECTIONS.centres, centreBytes],
    [CELL_SECTIONS.spans, cells * 8],
    [CELL_SECTIONS.rows, kind === "IVF" ? slots * 4 : 0],
    [CELL_SECTIONS.quarantined, quarantinedCount * 4],
  ];
}

export function cellBytes(header: CellHeader): number {
  return cellLengths(header).reduce((sum, [, bytes]) => sum + bytes, 0);
}

export function placesOf(header: CellHeader, at: Pointer): CellPlaces {
  const starts: number[] = [];
  let next = at;
  for (const [, bytes] of cellLengths(header)) {
    starts.push(next);
    next += bytes;
  }
  const [blocks, centre, centres, spans, rowOf, quarantined] = starts as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return { blocks, centre, centroids: centre + shapeOf(header).length * 4, centres, spans, rowOf, quarantined };
}

export function cellSections(arena: Arena, header: CellHeader, at: Pointer): readonly IndexSection[] {
  const bytes = new Uint8Array(CELL_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const { kind, quantizer, metric, dimension, rows, cells, slots, seed, quarantinedCount } = header;
  const codes = [KINDS.indexOf(kind), QUANTIZERS.indexOf(quantizer), METRICS.indexOf(metric)];
  for (const [i, word] of [MAGIC, ...codes, dimension, rows, cells, slots, seed, quarantinedCount].entries())
    view.setUint32(i * 4, word, true);
  view.setFloat32(40, header.radius, true);
  const sections = [bytesSection(CELL_SECTIONS.header, bytes)];
  let next = at;
  for (const [name, byteLength] of cellLengths(header)) {
    sections.push(arenaSection(arena, { name, at: next, byteLength }));
    next += byteLength;
  }
  return sections;
}

/** @throws MalformedIndex */
export function readCellHeader(bytes: Uint8Array): CellHeader {
  refuse(bytes.length !== CELL_HEADER_BYTES, `a header of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (index: number): number => view.getUint32(index * 4, true);
  refuse(word(0) !== MAGIC, `the magic number ${word(0).toString(16)}`);
  const [kind, quantizer, metric] = [KINDS[word(1)], QUANTIZERS[word(2)], METRICS[word(3)]];
  if (kind === undefined || quantizer === undefined || metric === undefined)
    return refuse(true, "an unknown kind, quantizer or metric") as never;
  const [dimension, rows, cells, slots] = [word(4), word(5), word(6), word(7)];
  const radius = view.getFloat32(40, true);
  refuse(dimension < 1 || dimension > MAX_DIMENSION, `dimension ${dimension}`);
  refuse(!(Number.isFinite(radius) && radius >= 0), `radius ${radius}`);
  refuse(rows > MAX_SEGMENT_ROWS, `${rows} rows`);
  refuse(cells < 1 || cells > MAX_CELLS || (kind === "FLAT" && cells !== 1), `${cells} lists`);
  refuse(slots % BLOCK_ROWS !== 0 || slots > rows + cells * BLOCK_ROWS, `${slots} places`);
  refuse(quantizer === "none" && kind === "FLAT", "neither lists nor codes");
  refuse(kind === "FLAT" && slots < rows, `${slots} places for ${rows} rows`);
  refuse(word(9) > rows, `${word(9)} quarantined rows`);
  return { kind, quantizer, metric, dimension, radius, rows, cells, slots, seed: word(8), quarantinedCount: word(9) };
}
