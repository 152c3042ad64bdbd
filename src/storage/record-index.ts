// Hash index over the records (write id → answer) of one memtable: open addressing in one Int32Array, no object per record.
// Guarantees: find returns the latest added of a (tenant, write id). Must not: hold record bytes (they are in the arena).

import type { Arena } from "./arena.ts";
import { KIND_RECORD, ROW_HEADER_BYTES, rowTenant, rowValue } from "./row-format.ts";

/** A write id is 128 bits (DESIGN 3). */
export const WRITE_ID_BYTES = 16;
const INITIAL_SLOTS = 1024;
/** Words of a slot: position + 1 (0 = free), and a hash of the id, so that others' records need not be looked at. */
const SLOT_WORDS = 2;

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
  readonly #secret: number;
  #slots = new Int32Array(INITIAL_SLOTS * SLOT_WORDS);
  count = 0;

  /** `secret`: ids are chosen by clients, who must not be able to choose them so that they all meet in one slot. */
  constructor(arena: Arena, secret: number) {
    this.#arena = arena;
    this.#secret = secret;
  }

  /** All words of the id at `at`, under the secret. */
  #hash(id: Uint8Array, at: number): number {
    let hash = this.#secret;
    for (let i = 0; i < WRITE_ID_BYTES; i += 4) {
      hash = Math.imul(hash ^ word(id, at + i), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return Math.imul(hash, 0x85ebca6b);
  }

  add(tenant: number, id: Uint8Array, answer: Uint8Array): void {
    const size = ROW_HEADER_BYTES + WRITE_ID_BYTES + answer.length;
    const position = this.#arena.reserve(size);
    const { u8, view } = this.#arena.bufferAt(position);
    const offset = this.#arena.offsetAt(position);
    view.setUint32(offset, KIND_RECORD | (WRITE_ID_BYTES << 16), true);
    view.setUint32(offset + 4, recordHi(id), true);
    view.setUint32(offset + 8, recordLo(id), true);
    view.setUint32(offset + 12, tenant, true);
    view.setUint32(offset + 16, answer.length, true);
    const idAt = offset + ROW_HEADER_BYTES;
    for (let i = 0; i < WRITE_ID_BYTES; i++) u8[idAt + i] = id[i]!;
    u8.set(answer, idAt + WRITE_ID_BYTES);
    this.#arena.commit(position, size);
    this.index(position, tenant);
  }

  /** Makes the record at `position` the latest of its id. */
  index(position: number, tenant: number): void {
    const { u8 } = this.#arena.bufferAt(position);
    const idAt = this.#arena.offsetAt(position) + ROW_HEADER_BYTES;
    const hash = this.#hash(u8, idAt);
    const at = this.#slot(hash, tenant, u8, idAt) * SLOT_WORDS;
    if (this.#slots[at] === 0) this.count++;
    this.#slots[at] = position + 1;
    this.#slots[at + 1] = hash;
    if (this.count * 2 > this.slotCount) this.#grow();
  }

  find(tenant: number, id: Uint8Array): Uint8Array | undefined {
    const position = this.positionAt(this.#slot(this.#hash(id, 0), tenant, id, 0));
    return position < 0 ? undefined : rowValue(this.#arena.bufferAt(position), this.#arena.offsetAt(position));
  }

  /** Slot of the record with this id, or the free slot where it would go. */
  #slot(hash: number, tenant: number, id: Uint8Array, idAt: number): number {
    const slots = this.#slots;
    const mask = slots.length / SLOT_WORDS - 1;
    for (let slot = (hash >>> 8) & mask; ; slot = (slot + 1) & mask) {
      const stored = slots[slot * SLOT_WORDS]!;
      if (stored === 0) return slot;
      if (slots[slot * SLOT_WORDS + 1] === hash && this.#same(stored - 1, tenant, id, idAt)) return slot;
    }
  }

  #same(position: number, tenant: number, id: Uint8Array, idAt: number): boolean {
    const buffer = this.#arena.bufferAt(position);
    const offset = this.#arena.offsetAt(position);
    if (rowTenant(buffer, offset) !== tenant) return false;
    const at = offset + ROW_HEADER_BYTES;
    for (let i = 0; i < WRITE_ID_BYTES; i++) if (buffer.u8[at + i] !== id[idAt + i]) return false;
    return true;
  }

  #grow(): void {
    const old = this.#slots;
    const slots = new Int32Array(old.length * 2);
    const mask = slots.length / SLOT_WORDS - 1;
    for (let from = 0; from < old.length; from += SLOT_WORDS) {
      const stored = old[from]!;
      if (stored === 0) continue;
      const hash = old[from + 1]!;
      let slot = (hash >>> 8) & mask;
      while (slots[slot * SLOT_WORDS] !== 0) slot = (slot + 1) & mask;
      slots[slot * SLOT_WORDS] = stored;
      slots[slot * SLOT_WORDS + 1] = hash;
    }
    this.#slots = slots;
  }

  /** Slots to pass to {@link positionAt}. */
  get slotCount(): number {
    return this.#slots.length / SLOT_WORDS;
  }

  /** Position of the record in a slot, -1 where free. */
  positionAt(slot: number): number {
    return this.#slots[slot * SLOT_WORDS]! - 1;
  }
}
