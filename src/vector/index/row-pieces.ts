// Goes over the float32 rows of a segment in pieces that lie in the arena: in place if they are there, else copied to the workspace.

import type { Pointer } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import { PIECE_BYTES } from "./limits.ts";
import { type Rows, rowStride } from "./segment-index.ts";

export interface Piece {
  readonly at: Pointer;
  /** Row number of the first row. */
  readonly first: number;
  readonly count: number;
}

/** Calls `visit` for the pieces of rows `from`..`to - 1`, in order. It must not reserve the workspace's "piece". */
export function forEachPiece(
  { workspace }: VectorCore,
  rows: Rows,
  { from, to }: { readonly from: number; readonly to: number },
  visit: (piece: Piece) => void,
): void {
  const stride = rowStride(rows.dimension);
  if (rows.resident !== undefined) {
    let first = 0;
    for (const { at, count } of rows.resident) {
      const start = Math.max(first, from);
      const end = Math.min(first + count, to);
      if (start < end) visit({ at: at + (start - first) * stride, first: start, count: end - start });
      first += count;
    }
    return;
  }
  const most = Math.max(1, Math.floor(PIECE_BYTES / stride));
  for (let first = from; first < to; first += most) {
    const count = Math.min(most, to - first);
    const at = workspace.reserve("piece", count * stride);
    rows.read(first, count, at);
    visit({ at, first, count });
  }
}
