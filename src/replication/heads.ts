// The states of keys that are overwritten again and again, without their values: what replaces a state as a whole needs no more of it, and
// reading it from a table costs a block and its checksum.
// Guarantees: a head is of the newest state put, or there is none (spec RP-95); memory has a fixed size (RP-96). Must not: be asked for a
// state whose value will be used.

import type { RowKey } from "../storage/types.ts";
import { HEAD_SETS, HEAD_SLOT_BYTES } from "./limits.ts";

/** Slots of a set. They are used in turn, but for the one used last, which stays. */
const WAYS = 4;
/** Words of a slot: token hi, token lo, tenant, bytes of the key, bytes of the head (0 = free). */
const WORDS = 5;

export class Heads {
  #words: Int32Array | undefined;
  #bytes = new Uint8Array(0);
  /** The way of each set that was used last. */
  #lastUsed = new Uint8Array(0);

  /** A copy of the head of this key's state. Keys that are not ASCII have none. */
  find(row: RowKey): Uint8Array | undefined {
    const slot = this.#slotOf(row);
    if (slot < 0) return undefined;
    const words = this.#words!;
    this.#lastUsed[Math.floor(slot / WAYS)] = slot % WAYS;
    const start = slot * HEAD_SLOT_BYTES + words[slot * WORDS + 3]!;
    return this.#bytes.slice(start, start + words[slot * WORDS + 4]!);
  }

  #setOf({ token }: RowKey): number {
    return (Math.imul(token.hi ^ (token.lo >>> 7), 0x9e3779b1) >>> 8) & (HEAD_SETS - 1);
  }

  #slotOf(row: RowKey): number {
    const words = this.#words;
    const { encoded, token, tenant } = row;
    if (words === undefined || encoded === undefined) return -1;
    const first = this.#setOf(row) * WAYS;
    for (let slot = first; slot < first + WAYS; slot++) {
      const at = slot * WORDS;
      if (words[at] !== (token.hi | 0) || words[at + 1] !== (token.lo | 0) || words[at + 2] !== (tenant | 0)) continue;
      if (words[at + 4] !== 0 && words[at + 3] === encoded.length && this.#holdsKey(slot, encoded)) return slot;
    }
    return -1;
  }

  #holdsKey(slot: number, { source, at, length }: NonNullable<RowKey["encoded"]>): boolean {
    const start = slot * HEAD_SLOT_BYTES;
    for (let i = 0; i < length; i++) if (this.#bytes[start + i] !== source[at + i]) return false;
    return true;
  }

  /** The state put now begins with `head`, which ends where its only value begins. `mayEnter`: the key is worth a place if it has none. */
  put(row: RowKey, head: Uint8Array, mayEnter: boolean): void {
    const { encoded } = row;
    if (encoded === undefined || encoded.length + head.length > HEAD_SLOT_BYTES) return this.forget(row);
    let slot = this.#slotOf(row);
    if (slot < 0) {
      if (!mayEnter) return;
      slot = this.#newSlot(row);
    }
    const words = this.#words!;
    const at = slot * WORDS;
    words[at] = row.token.hi;
    words[at + 1] = row.token.lo;
    words[at + 2] = row.tenant;
    words[at + 3] = encoded.length;
    words[at + 4] = head.length;
    const start = slot * HEAD_SLOT_BYTES;
    for (let i = 0; i < encoded.length; i++) this.#bytes[start + i] = encoded.source[encoded.at + i]!;
    this.#bytes.set(head, start + encoded.length);
    this.#lastUsed[Math.floor(slot / WAYS)] = slot % WAYS;
  }

  /** Memory is taken when the first key is overwritten. */
  #newSlot(row: RowKey): number {
    if (this.#words === undefined) {
      this.#words = new Int32Array(HEAD_SETS * WAYS * WORDS);
      this.#bytes = new Uint8Array(HEAD_SETS * WAYS * HEAD_SLOT_BYTES);
      this.#lastUsed = new Uint8Array(HEAD_SETS);
    }
    const set = this.#setOf(row);
    return set * WAYS + ((this.#lastUsed[set]! + 1) % WAYS);
  }

  /** Whatever has this token: who says so may know the key as a string only. */
  forget(row: RowKey): void {
    const words = this.#words;
    if (words === undefined) return;
    const first = this.#setOf(row) * WAYS;
    for (let at = first * WORDS; at < (first + WAYS) * WORDS; at += WORDS) {
      const isOfToken = words[at] === (row.token.hi | 0) && words[at + 1] === (row.token.lo | 0);
      if (isOfToken && words[at + 2] === (row.tenant | 0)) words[at + 4] = 0;
    }
  }
}
