// Random sorted blocks with colliding rows, tokens and keys, for the kernels' twin tests. Test only.

import { seededWords } from "../../../scripts/lib/seeded.mjs";
import { bufferOf, compareRows, ROW_HEADER_BYTES, rowBytes } from "../../../src/storage/row-format.ts";

export interface SampleOptions {
  readonly seed: number;
  readonly inputCount: number;
  readonly rowsPerBlock: number;
  readonly valueBytes: number;
}

/** One block per input; rows of a block are in order and distinct. */
export function sampleBlocks({ seed, inputCount, rowsPerBlock, valueBytes }: SampleOptions): Uint8Array[] {
  const random = seededWords(seed);
  return Array.from({ length: inputCount }, () => {
    const rows = Array.from({ length: rowsPerBlock }, () => sampleRow(random, valueBytes));
    rows.sort((a, b) => compareRows(bufferOf(a), 0, bufferOf(b), 0));
    return blockOf(rows.filter((row, i) => i === 0 || compareRows(bufferOf(rows[i - 1]!), 0, bufferOf(row), 0) !== 0));
  });
}

function sampleRow(random: () => number, valueBytes: number): Uint8Array {
  const keyBytes = random() % 4;
  const row = new Uint8Array(ROW_HEADER_BYTES + keyBytes + valueBytes);
  const view = new DataView(row.buffer);
  view.setUint32(0, 1 | ((random() % 4 === 0 ? 1 : 0) << 8) | (keyBytes << 16), true);
  view.setUint32(4, random() % 3 === 0 ? 0xffff_fff0 : random() % 4, true);
  view.setUint32(8, random() % 2 === 0 ? 0x8000_0000 : random() % 3, true);
  view.setUint32(12, random() % 5, true);
  view.setUint32(16, valueBytes, true);
  for (let i = 0; i < keyBytes; i++) row[ROW_HEADER_BYTES + i] = [0, 97, 200][random() % 3]!;
  for (let i = 0; i < Math.min(valueBytes, 64); i++) row[ROW_HEADER_BYTES + keyBytes + i] = random() & 0xff;
  return row;
}

function blockOf(rows: readonly Uint8Array[]): Uint8Array {
  const length = rows.reduce((sum, row) => sum + rowBytes(bufferOf(row), 0), 0);
  const block = new Uint8Array(length + rows.length * 4 + 4);
  const view = new DataView(block.buffer);
  let at = 0;
  rows.forEach((row, index) => {
    block.set(row, at);
    view.setUint32(length + index * 4, at, true);
    at += row.length;
  });
  view.setUint32(block.length - 4, rows.length, true);
  return block;
}
