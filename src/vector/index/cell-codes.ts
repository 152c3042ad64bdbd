// The two codes that are scanned in blocks of 32 rows: 1-bit codes with factors (rabitq), 4-bit codes of small groups of values (pq).
// An index may also have none: then it only tells which rows lie near (bucketed-index.ts).

import type { Pointer } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import { NARROW_PRODUCTS_TO } from "./limits.ts";

export type BlockQuantizer = "rabitq" | "pq" | "none";

export const BLOCK_ROWS = 32;
/** What stands at a row's place where a row has no slot. */
export const NO_SLOT = 0xffff_ffff;

/** How codes of one index are laid out. */
export interface CodeShape {
  readonly quantizer: BlockQuantizer;
  /** Values of a vector in the coded space. */
  readonly length: number;
  /** Values that share a nibble. */
  readonly width: number;
  readonly groups: number;
  readonly blockBytes: number;
  /** Bytes of the product codes' centres; 0 for 1-bit codes. */
  readonly centreBytes: number;
}

export function codeShape(quantizer: BlockQuantizer, length: number): CodeShape {
  if (quantizer === "none") return { quantizer, length, width: length, groups: 0, blockBytes: 0, centreBytes: 0 };
  const width = quantizer === "rabitq" || length > NARROW_PRODUCTS_TO ? 4 : 2;
  const groups = length / width;
  const factorBytes = quantizer === "rabitq" ? 3 * 4 * BLOCK_ROWS : 0;
  const centreBytes = quantizer === "pq" ? length * 16 * 4 : 0;
  return { quantizer, length, width, groups, blockBytes: groups * 16 + factorBytes, centreBytes };
}

/** Places in the arena of what codes are made from and to. */
export interface CodePlaces {
  readonly centroids: Pointer;
  readonly centres: Pointer;
  readonly blocks: Pointer;
}

/** Encodes rows of the space; `slots` and `cellOf` (0: all in cell 0) list a u32 a row. */
export function encodeBlocks(
  { kernels }: VectorCore,
  { quantizer, length, width }: CodeShape,
  places: CodePlaces,
  rows: { readonly at: Pointer; readonly count: number; readonly slots: Pointer; readonly cellOf: Pointer },
): void {
  const { at, count, slots, cellOf } = rows;
  const { centroids, centres, blocks } = places;
  if (quantizer === "rabitq") kernels.encodeBits(at, count, length, cellOf, centroids, slots, blocks);
  else if (quantizer === "pq") kernels.encodeProducts(at, count, length, width, centres, slots, blocks);
}

export interface CodeTable {
  readonly at: Pointer;
  readonly step: number;
  readonly bias: number;
}

/** The table of a query in the space. */
export function tableOf(
  { kernels, workspace, arena }: VectorCore,
  { quantizer, length, width, groups }: CodeShape,
  centres: Pointer,
  query: Pointer,
): CodeTable {
  const at = workspace.reserve("table", groups * 16 + 16);
  const out = at + groups * 16;
  if (quantizer === "rabitq") kernels.bitsTable(query, length, at, out);
  else kernels.productsTable(query, length, width, centres, at, out);
  const [step, bias] = arena.floats(out, 2) as unknown as [number, number];
  return { at, step, bias };
}
