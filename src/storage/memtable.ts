// One memtable: the newest rows and records in memory, with the stretch of commit log that holds them.
// Guarantees: get is one lookup by token; a value is copied once, into the arena; views stay valid. Frozen = never written again
// (erasure only hides). Must not: do I/O.

import { MalformedBytes } from "../wire/bytes.ts";
import { Arena } from "./arena.ts";
import { BucketOrder } from "./bucket-order.ts";
import { RecordIndex, WRITE_ID_BYTES } from "./record-index.ts";
import {
  KIND_RECORD,
  KIND_ROW,
  type Probe,
  ROW_HEADER_BYTES,
  rowBytes,
  rowHi,
  rowKeyBytes,
  rowTenant,
  rowValue,
  writeRowKey,
} from "./row-format.ts";
import { RowIndex } from "./row-index.ts";
import type { RowKey } from "./types.ts";

/** Rows that the order is made for at least. */
const LEAST_ROWS = 1024;

export class Memtable {
  readonly arena = new Arena();
  readonly records: RecordIndex;
  readonly #rows: RowIndex;
  #order: BucketOrder | undefined;
  #orderedRows = 0;
  /** Since when all rows and all records in it are in the engine's filters: a generation of {@link SeenFilter}; 0 = they are not. */
  seenRowsFrom = 1;
  seenRecordsFrom = 1;
  /** Log rows that hold this memtable: (afterSeq, lastSeq]. */
  lastSeq = 0;
  /** Times of the first and last commit in it. */
  minMs = Number.POSITIVE_INFINITY;
  maxMs = Number.NEGATIVE_INFINITY;

  /** `secret`: a random number that clients cannot know; see {@link RowIndex}. */
  constructor(secret: number) {
    this.records = new RecordIndex(this.arena, secret);
    this.#rows = new RowIndex(this.arena, secret);
  }

  get rowCount(): number {
    return this.#rows.count;
  }

  put(row: RowKey, value: Uint8Array, flags: number): void {
    const mostKeyBytes = row.encoded?.length ?? row.key.length * 3;
    const position = this.arena.reserve(ROW_HEADER_BYTES + mostKeyBytes + value.length);
    const { u8, view } = this.arena.bufferAt(position);
    const offset = this.arena.offsetAt(position);
    const keyBytes = writeRowKey(u8, offset + ROW_HEADER_BYTES, row);
    view.setUint32(offset, KIND_ROW | (flags << 8) | (keyBytes << 16), true);
    view.setUint32(offset + 4, row.token.hi, true);
    view.setUint32(offset + 8, row.token.lo, true);
    view.setUint32(offset + 12, row.tenant, true);
    view.setUint32(offset + 16, value.length, true);
    u8.set(value, offset + ROW_HEADER_BYTES + keyBytes);
    this.arena.commit(position, ROW_HEADER_BYTES + keyBytes + value.length);
    const before = this.#rows.add(position);
    if (before >= 0) this.arena.supersede(before, rowBytes(this.arena.bufferAt(before), this.arena.offsetAt(before)));
  }

  get(probe: Probe): Uint8Array | undefined {
    const position = this.#rows.find(probe);
    return position < 0 ? undefined : rowValue(this.arena.bufferAt(position), this.arena.offsetAt(position));
  }

  /** Hides one row. */
  forget(probe: Probe): void {
    this.#rows.hide(probe);
  }

  /** Hides the tenant's rows; its records are hidden by the engine. */
  erase(tenant: number): void {
    this.#rows.hideTenant(tenant);
  }

  /** Recovery: takes the entries of one log group, skipping erased tenants. Throws MalformedBytes on a broken group. */
  replay(bytes: Uint8Array, isErased: (tenant: number) => boolean): void {
    const start = this.arena.append(bytes);
    const buffer = this.arena.bufferAt(start);
    const base = this.arena.offsetAt(start);
    const end = base + bytes.length;
    for (let offset = base; offset < end; ) {
      if (offset + ROW_HEADER_BYTES > end) throw new MalformedBytes(`a log entry is cut at ${offset - base}`);
      const size = rowBytes(buffer, offset);
      if (offset + size > end) throw new MalformedBytes(`a log entry of ${size} bytes is cut at ${offset - base}`);
      this.#replayEntry(start + (offset - base), offset, isErased);
      offset += size;
    }
  }

  #replayEntry(position: number, offset: number, isErased: (tenant: number) => boolean): void {
    const buffer = this.arena.bufferAt(position);
    const tenant = rowTenant(buffer, offset);
    const kind = buffer.u8[offset];
    if (kind !== KIND_ROW && kind !== KIND_RECORD) throw new MalformedBytes(`a log entry of unknown kind ${kind}`);
    if (isErased(tenant)) return;
    if (kind === KIND_ROW) return void this.#rows.add(position);
    const key = rowKeyBytes(buffer, offset);
    if (key.length === WRITE_ID_BYTES) this.records.index(position, tenant);
    else throw new MalformedBytes(`a record with a write id of ${key.length} bytes`);
  }

  /** Rows in order by bucket. Files at most `maxRows` more rows; returns undefined until all are filed. */
  ordered(maxRows = Number.POSITIVE_INFINITY): BucketOrder | undefined {
    this.#order ??= new BucketOrder(this.arena, Math.max(this.rowCount, LEAST_ROWS));
    const until = Math.min(this.rowCount, this.#orderedRows + maxRows);
    for (; this.#orderedRows < until; this.#orderedRows++) {
      const position = this.positionOf(this.#orderedRows);
      if (position >= 0) this.#order.add(this.#orderedRows, position);
    }
    return this.#orderedRows === this.rowCount ? this.#order : undefined;
  }

  /** Newest position of a row by its number, -1 = hidden. For {@link BucketOrder.sorted}. */
  readonly positionOf = (number: number): number => this.#rows.positionOf(number);

  /** High token word of the row at a position. */
  hiAt(position: number): number {
    return rowHi(this.arena.bufferAt(position), this.arena.offsetAt(position));
  }
}
