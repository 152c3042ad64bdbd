// Builds one table (one blob) from rows given in order.
//   data blocks | meta (table-meta.ts) | metaBytes u32 | metaCrc u32 | magic u32
// Guarantees: a block passes `blockBytes` only to hold a single larger row; every byte is under a CRC32C.
// Must not: sort, compare or drop rows.

import { blockTrailerBytes } from "./block.ts";
import { bloomBytes, bloomHashCount } from "./bloom.ts";
import { type Buffer, bufferOf, rowBytes, rowHi, rowKeyBytes, rowLo, rowTenant } from "./row-format.ts";
import { type BlockInfo, encodeTableMeta } from "./table-meta.ts";
import type { Kernels, MergeResult } from "./types.ts";

const TABLE_MAGIC = 0x3142544a; // "JTB1"
const TRAILER_BYTES = 12;

/** A finished table and what the manifest says of it. */
export interface BuiltTable {
  /** A view, valid until the builder gets the next row. */
  readonly bytes: Uint8Array;
  /** Where blocks and the meta section begin, and where that ends. */
  readonly cuts: readonly number[];
  readonly rowCount: number;
  readonly metaOffset: number;
  readonly metaBytes: number;
  readonly metaCrc: number;
  readonly firstHi: number;
  readonly firstLo: number;
  readonly firstTenant: number;
  readonly firstKey: Uint8Array;
  readonly lastHi: number;
  readonly lastLo: number;
}

export interface TableBuilderOptions {
  readonly kernels: Kernels;
  readonly blockBytes: number;
  readonly bloomBitsPerRow: number;
}

export class TableBuilder {
  readonly #options: TableBuilderOptions;
  #out: Buffer = bufferOf(new Uint8Array(256 * 1024));
  #length = 0;
  #blockStart = 0;
  #blockOffsets: number[] = [];
  #blocks: BlockInfo[] = [];
  #tokens = new Uint32Array(2048);
  #rowCount = 0;
  #tenants = new Set<number>();
  #lastTenant = -1;
  #lastHi = 0;
  #lastLo = 0;

  constructor(options: TableBuilderOptions) {
    this.#options = options;
  }

  /** Bytes of blocks so far. */
  get dataBytes(): number {
    return this.#length;
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  /** True when the current block has no row yet. */
  get blockEmpty(): boolean {
    return this.#blockOffsets.length === 0;
  }

  /** Row bytes that still fit into the current block. */
  get blockRoomBytes(): number {
    return Math.max(0, this.#options.blockBytes - (this.#length - this.#blockStart));
  }

  /** Appends the row at `offset`, which must be after every row before it. */
  appendRow(source: Buffer, offset: number): void {
    const size = rowBytes(source, offset);
    if (!this.blockEmpty && size > this.blockRoomBytes) this.cutBlock();
    this.#reserve(size);
    const at = this.#length;
    this.#out.u8.set(source.u8.subarray(offset, offset + size), at);
    this.#length += size;
    this.#note(at);
  }

  /** Appends the rows of a merge step; they fit into the current block (see `blockRoomBytes`). */
  appendMerged(result: MergeResult): void {
    this.#reserve(result.rows.length);
    const at = this.#length;
    this.#out.u8.set(result.rows, at);
    this.#length += result.rows.length;
    for (let i = 0; i < result.offsets.length; i++) this.#note(at + result.offsets[i]!);
  }

  #note(at: number): void {
    const out = this.#out;
    this.#blockOffsets.push(at - this.#blockStart);
    const hi = rowHi(out, at);
    const lo = rowLo(out, at);
    const tenant = rowTenant(out, at);
    if (this.#rowCount * 2 === this.#tokens.length) {
      const grown = new Uint32Array(this.#tokens.length * 2);
      grown.set(this.#tokens);
      this.#tokens = grown;
    }
    this.#tokens[this.#rowCount * 2] = hi;
    this.#tokens[this.#rowCount * 2 + 1] = lo;
    this.#rowCount++;
    this.#lastHi = hi;
    this.#lastLo = lo;
    if (tenant !== this.#lastTenant) {
      this.#tenants.add(tenant);
      this.#lastTenant = tenant;
    }
  }

  /** Ends the current block. */
  cutBlock(): void {
    if (this.blockEmpty) return;
    const offsets = this.#blockOffsets;
    this.#reserve(blockTrailerBytes(offsets.length));
    const { view, u8 } = this.#out;
    let at = this.#length;
    for (const offset of offsets) {
      view.setUint32(at, offset, true);
      at += 4;
    }
    view.setUint32(at, offsets.length, true);
    this.#length = at + 4;
    const first = this.#blockStart;
    this.#blocks.push({
      offset: first,
      lengthBytes: this.#length - first,
      crc: this.#options.kernels.crc32c(u8.subarray(first, this.#length)),
      hi: rowHi(this.#out, first),
      lo: rowLo(this.#out, first),
      tenant: rowTenant(this.#out, first),
      key: rowKeyBytes(this.#out, first).slice(),
    });
    this.#blockStart = this.#length;
    this.#blockOffsets = [];
  }

  /** The table's bytes; the builder is empty afterwards. Needs at least one row. */
  finish(): BuiltTable {
    this.cutBlock();
    const { kernels, bloomBitsPerRow } = this.#options;
    const hashCount = bloomHashCount(bloomBitsPerRow);
    const meta = encodeTableMeta({
      blocks: this.#blocks,
      hashCount,
      filter: kernels.bloomBuild(
        this.#tokens.subarray(0, this.#rowCount * 2),
        bloomBytes(this.#rowCount, bloomBitsPerRow),
        hashCount,
      ),
      tenants: [...this.#tenants].sort((a, b) => a - b),
    });
    const metaCrc = kernels.crc32c(meta);
    const metaOffset = this.#length;
    this.#reserve(meta.length + TRAILER_BYTES);
    this.#out.u8.set(meta, metaOffset);
    const trailerAt = metaOffset + meta.length;
    this.#out.view.setUint32(trailerAt, meta.length, true);
    this.#out.view.setUint32(trailerAt + 4, metaCrc, true);
    this.#out.view.setUint32(trailerAt + 8, TABLE_MAGIC, true);
    const first = this.#blocks[0]!;
    const built: BuiltTable = {
      bytes: this.#out.u8.subarray(0, trailerAt + TRAILER_BYTES),
      cuts: [...this.#blocks.slice(1).map(({ offset }) => offset), metaOffset, trailerAt],
      rowCount: this.#rowCount,
      metaOffset,
      metaBytes: meta.length,
      metaCrc,
      firstHi: first.hi,
      firstLo: first.lo,
      firstTenant: first.tenant,
      firstKey: first.key,
      lastHi: this.#lastHi,
      lastLo: this.#lastLo,
    };
    this.#clear();
    return built;
  }

  #clear(): void {
    this.#length = 0;
    this.#blockStart = 0;
    this.#blockOffsets = [];
    this.#blocks = [];
    this.#rowCount = 0;
    this.#tenants = new Set();
    this.#lastTenant = -1;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#out.u8.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#out.u8.length * 2));
    grown.set(this.#out.u8.subarray(0, this.#length));
    this.#out = bufferOf(grown);
  }
}
