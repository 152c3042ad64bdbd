// A column of byte strings, one a row, packed into blocks: [u16 count][u32 end of each][bytes]. Rows are found by the block's first row.
import { MalformedBytes } from "../../wire/bytes.ts";
import { CorruptSegment } from "./directory.ts";
import { BLOCK_BYTES } from "./limits.ts";
import type { SectionReader, SectionWriter } from "./sections.ts";

const COUNT_BYTES = 2;
const END_BYTES = 4;
const MAX_ROWS_A_BLOCK = 4096;

export class RowBlocksWriter {
  readonly #section: SectionWriter;
  #rows: Uint8Array[] = [];
  #bytes = COUNT_BYTES;
  #firstRow = 0;

  constructor(section: SectionWriter) {
    this.#section = section;
  }

  /** The next row. A row above the block's size has a block of its own. */
  add(bytes: Uint8Array): void {
    const needed = END_BYTES + bytes.length;
    if (this.#rows.length > 0 && (this.#bytes + needed > BLOCK_BYTES || this.#rows.length >= MAX_ROWS_A_BLOCK))
      this.flush();
    this.#rows.push(bytes);
    this.#bytes += needed;
  }

  /** Ends the block; call after the last row. */
  flush(): void {
    const { length } = this.#rows;
    if (length === 0) return;
    const block = new Uint8Array(this.#bytes);
    const view = new DataView(block.buffer);
    view.setUint16(0, length, true);
    let end = COUNT_BYTES + END_BYTES * length;
    for (const [at, bytes] of this.#rows.entries()) {
      block.set(bytes, end);
      end += bytes.length;
      view.setUint32(COUNT_BYTES + END_BYTES * at, end, true);
    }
    this.#section.block(block, this.#firstRow);
    this.#firstRow += length;
    this.#rows = [];
    this.#bytes = COUNT_BYTES;
  }
}

export class RowBlocks {
  readonly #reader: SectionReader;

  constructor(reader: SectionReader) {
    this.#reader = reader;
  }

  /** A view of the row's bytes; not to be changed. @throws CorruptSegment */
  row(row: number): Uint8Array {
    const { blocks, name } = this.#reader.section;
    let [low, high] = [0, blocks.length];
    while (low + 1 < high) {
      const middle = (low + high) >>> 1;
      if (blocks[middle]!.firstRow <= row) low = middle;
      else high = middle;
    }
    const bytes = this.#reader.block(low);
    try {
      return slotOf(bytes, row - blocks[low]!.firstRow);
    } catch (error) {
      if (error instanceof MalformedBytes) throw new CorruptSegment(`row ${row} of section ${name}: ${error.message}`);
      throw error;
    }
  }
}

function slotOf(block: Uint8Array, slot: number): Uint8Array {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const count = view.getUint16(0, true);
  if (slot < 0 || slot >= count) throw new MalformedBytes(`slot ${slot} of ${count}`);
  const endAt = (at: number): number => view.getUint32(COUNT_BYTES + END_BYTES * at, true);
  const start = slot === 0 ? COUNT_BYTES + END_BYTES * count : endAt(slot - 1);
  const end = endAt(slot);
  if (start > end || end > block.length) throw new MalformedBytes(`slot ${slot} ends at ${end} of ${block.length}`);
  return block.subarray(start, end);
}
