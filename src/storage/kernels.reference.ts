// The slow, obvious twins of the WASM kernels. Used by tests, by the simulator, and for merges of oversized blocks.
// Guarantee: byte for byte the same results as wasm/storage.ts. Must not: be tuned at the price of being obvious.

import { crc32c } from "../wire/crc32c.ts";
import { type Buffer, bufferOf, compareRows, FLAG_PURGEABLE, rowBytes, rowTenant } from "./row-format.ts";
import type { Kernels, MergeInput, MergeRequest, MergeResult } from "./types.ts";

function bloomBuild(tokens: Uint32Array, filterBytes: number, hashCount: number): Uint8Array {
  const filter = new Uint8Array(filterBytes);
  const bits = filterBytes * 8;
  for (let i = 0; i < tokens.length; i += 2) {
    let hash = tokens[i]!;
    const step = (tokens[i + 1]! | 1) >>> 0;
    for (let k = 0; k < hashCount; k++) {
      const bit = hash % bits;
      filter[bit >>> 3]! |= 1 << (bit & 7);
      hash = (hash + step) >>> 0;
    }
  }
  return filter;
}

/** One input with its position. */
class Cursor {
  readonly buffer: Buffer;
  readonly rowCount: number;
  readonly #offsetsAt: number;
  readonly last: boolean;
  row: number;

  constructor(input: MergeInput) {
    this.buffer = bufferOf(input.bytes);
    this.rowCount = this.buffer.view.getUint32(input.bytes.length - 4, true);
    this.#offsetsAt = input.bytes.length - 4 - this.rowCount * 4;
    this.last = input.last;
    this.row = input.nextRow;
  }

  get empty(): boolean {
    return this.row >= this.rowCount;
  }

  get offset(): number {
    return this.buffer.view.getUint32(this.#offsetsAt + this.row * 4, true);
  }
}

/** The cursor with the least row, the newest among equals. */
function winner(cursors: readonly Cursor[]): Cursor | undefined {
  let best: Cursor | undefined;
  for (const cursor of cursors) {
    if (cursor.empty) continue;
    if (best === undefined || compareRows(cursor.buffer, cursor.offset, best.buffer, best.offset) < 0) best = cursor;
  }
  return best;
}

/** Consumes the winner's row and every equal one. */
function consume(cursors: readonly Cursor[], best: Cursor): void {
  const at = best.offset;
  for (const cursor of cursors) {
    if (cursor === best || cursor.empty) continue;
    if (compareRows(cursor.buffer, cursor.offset, best.buffer, at) === 0) cursor.row++;
  }
  best.row++;
}

function mergeBlocks(request: MergeRequest): MergeResult {
  const cursors = request.inputs.map((input) => new Cursor(input));
  const taken: Uint8Array[] = [];
  const offsets: number[] = [];
  let length = 0;
  let first = true;
  let stop: MergeResult["stop"] = "done";
  let flaggedInput = -1;
  for (;;) {
    if (cursors.some((cursor) => cursor.empty && !cursor.last)) {
      stop = "input";
      break;
    }
    const best = winner(cursors);
    if (best === undefined) break;
    const at = best.offset;
    const answered = first && request.firstRow !== "check";
    if (request.dropTenants.includes(rowTenant(best.buffer, at)) || (answered && request.firstRow === "drop")) {
      if (answered) first = false;
      consume(cursors, best);
      continue;
    }
    if (request.stopAtFlagged && !answered && (best.buffer.u8[at + 1]! & FLAG_PURGEABLE) !== 0) {
      stop = "flagged";
      flaggedInput = cursors.indexOf(best);
      break;
    }
    const size = rowBytes(best.buffer, at);
    if (length + size > request.limitBytes && !(request.force && length === 0)) {
      stop = "limit";
      break;
    }
    first = false;
    offsets.push(length);
    taken.push(best.buffer.u8.subarray(at, at + size));
    length += size;
    consume(cursors, best);
  }
  const rows = new Uint8Array(length);
  taken.forEach((row, index) => {
    rows.set(row, offsets[index]);
  });
  return {
    rows,
    offsets: Uint32Array.from(offsets),
    nextRows: cursors.map((cursor) => cursor.row),
    stop,
    flaggedInput,
  };
}

/** Kernels in plain TypeScript. */
export const referenceKernels: Kernels = { crc32c, bloomBuild, mergeBlocks };
