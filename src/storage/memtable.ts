// One memtable: the newest rows and records in memory, with the stretch of commit log that holds them.
// Guarantees: get is two Map lookups; a value is copied once, into the arena; views stay valid. Frozen = never written again
// (erasure only hides). Must not: do I/O.

import { MalformedBytes } from "../wire/bytes.ts";
import { Arena } from "./arena.ts";
import { BucketOrder } from "./bucket-order.ts";
import { RecordIndex, recordHi, WRITE_ID_BYTES } from "./record-index.ts";
import {
  decodeKey,
  KIND_RECORD,
  KIND_ROW,
  ROW_HEADER_BYTES,
  rowBytes,
  rowHi,
  rowKeyBytes,
  rowTenant,
  rowValue,
  writeKey,
} from "./row-format.ts";
import type { RowKey } from "./types.ts";

const INITIAL_ROWS = 1024;

export class Memtable {
  readonly arena = new Arena();
  readonly records = new RecordIndex(this.arena);
  /** tenant → key → slot. */
  readonly #rows = new Map<number, Map<string, number>>();
  /** slot → position of the newest version; -1 = erased. */
  #positions = new Int32Array(INITIAL_ROWS);
  #slotCount = 0;
  #order: BucketOrder | undefined;
  #orderedSlots = 0;
  /** Log rows that hold this memtable: (afterSeq, lastSeq]. */
  lastSeq = 0;
  /** Times of the first and last commit in it. */
  minMs = Number.POSITIVE_INFINITY;
  maxMs = Number.NEGATIVE_INFINITY;

  get rowCount(): number {
    return this.#slotCount;
  }

  put(row: RowKey, value: Uint8Array, flags: number): void {
    const { key } = row;
    const position = this.arena.reserve(ROW_HEADER_BYTES + key.length * 3 + value.length);
    const { u8, view } = this.arena.bufferAt(position);
    const offset = this.arena.offsetAt(position);
    const keyBytes = writeKey(u8, offset + ROW_HEADER_BYTES, key);
    view.setUint32(offset, KIND_ROW | (flags << 8) | (keyBytes << 16), true);
    view.setUint32(offset + 4, row.token.hi, true);
    view.setUint32(offset + 8, row.token.lo, true);
    view.setUint32(offset + 12, row.tenant, true);
    view.setUint32(offset + 16, value.length, true);
    u8.set(value, offset + ROW_HEADER_BYTES + keyBytes);
    this.arena.commit(position, ROW_HEADER_BYTES + keyBytes + value.length);
    this.#index(row.tenant, key, position);
  }

  #index(tenant: number, key: string, position: number): void {
    let keys = this.#rows.get(tenant);
    if (keys === undefined) {
      keys = new Map();
      this.#rows.set(tenant, keys);
    }
    let slot = keys.get(key);
    if (slot === undefined) {
      slot = this.#slotCount++;
      keys.set(key, slot);
      if (slot >= this.#positions.length) {
        const grown = new Int32Array(this.#positions.length * 2);
        grown.set(this.#positions);
        this.#positions = grown;
      }
    }
    this.#positions[slot] = position;
  }

  get(tenant: number, key: string): Uint8Array | undefined {
    const slot = this.#rows.get(tenant)?.get(key);
    if (slot === undefined) return undefined;
    const position = this.#positions[slot]!;
    return rowValue(this.arena.bufferAt(position), this.arena.offsetAt(position));
  }

  /** Hides one row. */
  forget(tenant: number, key: string): void {
    this.#rows.get(tenant)?.delete(key);
  }

  /** Hides the tenant's rows; its records are hidden by the engine. */
  erase(tenant: number): void {
    const keys = this.#rows.get(tenant);
    if (keys === undefined) return;
    for (const slot of keys.values()) this.#positions[slot] = -1;
    this.#rows.delete(tenant);
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
    const key = rowKeyBytes(buffer, offset);
    if (kind === KIND_ROW) this.#index(tenant, decodeKey(key), position);
    else if (key.length === WRITE_ID_BYTES) this.records.index(position, recordHi(key), tenant);
    else throw new MalformedBytes(`a record with a write id of ${key.length} bytes`);
  }

  /** Rows in order by bucket. Files at most `maxRows` more rows; returns undefined until all are filed. */
  ordered(maxRows = Number.POSITIVE_INFINITY): BucketOrder | undefined {
    this.#order ??= new BucketOrder(this.arena, Math.max(this.#slotCount, INITIAL_ROWS));
    const until = Math.min(this.#slotCount, this.#orderedSlots + maxRows);
    for (; this.#orderedSlots < until; this.#orderedSlots++) {
      const position = this.#positions[this.#orderedSlots]!;
      if (position >= 0) this.#order.add(this.#orderedSlots, position);
    }
    return this.#orderedSlots === this.#slotCount ? this.#order : undefined;
  }

  /** Newest position of a slot, -1 = erased. For {@link BucketOrder.sorted}. */
  readonly positionOf = (slot: number): number => this.#positions[slot]!;

  /** High token word of the row at a position. */
  hiAt(position: number): number {
    return rowHi(this.arena.bufferAt(position), this.arena.offsetAt(position));
  }
}
