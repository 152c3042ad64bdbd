// Hash index over the records (write id → answer) of one memtable: open addressing in one Int32Array, no object per record.
// Guarantees: find returns the latest added of a (tenant, write id). Must not: hold record bytes (they are in the arena).

import type { Arena } from "./arena.ts";
import { KIND_RECORD, ROW_HEADER_BYTES, rowHi, rowTenant, rowValue } from "./row-format.ts";

/** A write id is 128 bits (DESIGN 3). */
export const WRITE_ID_BYTES = 16;
const INITIAL_SLOTS = 1024;

function word(id: Uint8Array, offset: number): number {
  return id[offset]! | (id[offset + 1]! << 8) | (id[offset + 2]! << 16) | (id[offset + 3]! << 24);
}

/** High word of a record's token. All four words are mixed: ids chosen by clients need not be random. */
export function recordHi(id: Uint8Array): number {
  let hash = Math.imul(word(id, 0) ^ Math.imul(word(id, 8), 0x85ebca6b), 0xcc9e2d51);
  hash = Math.imul((hash ^ (hash >>> 15)) + word(id, 4), 0x9e3779b1);
  hash = Math.imul((hash ^ (hash >>> 13)) + word(id, 12), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Low word of a record's token. */
export function recordLo(id: Uint8Array): number {
  let hash = Math.imul(word(id, 12) ^ Math.imul(word(id, 4), 0x1b873593), 0x27d4eb2f);
  hash = Math.imul((hash ^ (hash >>> 14)) + word(id, 8), 0x165667b1);
  hash = Math.imul((hash ^ (hash >>> 13)) + word(id, 0), 0xe6546b64);
  return (hash ^ (hash >>> 15)) >>> 0;
}

export class RecordIndex {
  readonly #arena: Arena;
  /** Position + 1, 0 = free. */
  #slots = new Int32Array(INITIAL_SLOTS);
  count = 0;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  add(tenant: number, id: Uint8Array, answer: Uint8Array): void {
    const size = ROW_HEADER_BYTES + WRITE_ID_BYTES + answer.length;
    const position = this.#arena.reserve(size);
    const { u8, view } = this.#arena.bufferAt(position);
    const offset = this.#arena.offsetAt(position);
    const hi = recordHi(id);
    view.setUint32(offset, KIND_RECORD | (WRITE_ID_BYTES << 16), true);
    view.setUint32(offset + 4, hi, true);
    view.setUint32(offset + 8, recordLo(id), true);
    view.setUint32(offset + 12, tenant, true);
    view.setUint32(offset + 16, answer.length, true);
    const idAt = offset + ROW_HEADER_BYTES;
    for (let i = 0; i < WRITE_ID_BYTES; i++) u8[idAt + i] = id[i]!;
    u8.set(answer, idAt + WRITE_ID_BYTES);
    this.#arena.commit(position, size);
    this.index(position, hi, tenant);
  }

  /** Makes the record at `position` the latest of its id. */
  index(position: number, hi: number, tenant: number): void {
    const { u8 } = this.#arena.bufferAt(position);
    const idAt = this.#arena.offsetAt(position) + ROW_HEADER_BYTES;
    const slot = this.#slot(hi, tenant, u8, idAt);
    if (this.#slots[slot] === 0) this.count++;
    this.#slots[slot] = position + 1;
    if (this.count * 2 > this.#slots.length) this.#grow();
  }

  find(tenant: number, id: Uint8Array): Uint8Array | undefined {
    const stored = this.#slots[this.#slot(recordHi(id), tenant, id, 0)]!;
    if (stored === 0) return undefined;
    return rowValue(this.#arena.bufferAt(stored - 1), this.#arena.offsetAt(stored - 1));
  }

  /** Slot of the record with this id, or the free slot where it would go. */
  #slot(hi: number, tenant: number, id: Uint8Array, idAt: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hi & mask; ; slot = (slot + 1) & mask) {
      const stored = this.#slots[slot]!;
      if (stored === 0 || this.#same(stored - 1, hi, tenant, id, idAt)) return slot;
    }
  }

  #same(position: number, hi: number, tenant: number, id: Uint8Array, idAt: number): boolean {
    const buffer = this.#arena.bufferAt(position);
    const offset = this.#arena.offsetAt(position);
    if (rowHi(buffer, offset) !== hi || rowTenant(buffer, offset) !== tenant) return false;
    const at = offset + ROW_HEADER_BYTES;
    for (let i = 0; i < WRITE_ID_BYTES; i++) if (buffer.u8[at + i] !== id[idAt + i]) return false;
    return true;
  }

  #grow(): void {
    const old = this.#slots;
    const slots = new Int32Array(old.length * 2);
    const mask = slots.length - 1;
    for (let i = 0; i < old.length; i++) {
      const stored = old[i]!;
      if (stored === 0) continue;
      const hi = rowHi(this.#arena.bufferAt(stored - 1), this.#arena.offsetAt(stored - 1));
      let slot = hi & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = stored;
    }
    this.#slots = slots;
  }

  /** Slots to pass to {@link positionAt}. */
  get slotCount(): number {
    return this.#slots.length;
  }

  /** Position of the record in a slot, -1 where free. */
  positionAt(slot: number): number {
    return this.#slots[slot]! - 1;
  }
}
