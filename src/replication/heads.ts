// The states of keys that are overwritten again and again, without their values: what replaces a state as a whole needs no more of it, and
// reading it from a table costs a block and its checksum.
// Guarantees: a head is of the newest state put, or there is none (spec RP-95); memory has a fixed size (RP-96). Must not: be asked for a
// state whose value will be used.

import type { RowKey } from "../storage/types.ts";
import { HEAD_PAGE_SETS, HEAD_SETS, HEAD_SLOT_BYTES } from "./limits.ts";

/** Slots of a set. They are used in turn, but for the one used last, which stays. */
const WAYS = 4;
/** Words of a slot: token hi, token lo, tenant, bytes of the key, bytes of the head (0 = free). */
const WORDS = 5;

/** Some sets together: memory is taken when the first key of one of them is overwritten. */
class Page {
  readonly words = new Int32Array(HEAD_PAGE_SETS * WAYS * WORDS);
  readonly bytes = new Uint8Array(HEAD_PAGE_SETS * WAYS * HEAD_SLOT_BYTES);
  /** The way of each set that was used last. */
  readonly lastUsed = new Uint8Array(HEAD_PAGE_SETS);

  /** The slot of this key among those from `first` on, or -1. */
  slotOf({ token, tenant, encoded }: RowKey, first: number): number {
    const { words } = this;
    if (encoded === undefined) return -1;
    for (let slot = first; slot < first + WAYS; slot++) {
      const at = slot * WORDS;
      if (words[at] !== (token.hi | 0) || words[at + 1] !== (token.lo | 0) || words[at + 2] !== (tenant | 0)) continue;
      if (words[at + 4] !== 0 && words[at + 3] === encoded.length && this.#holdsKey(slot, encoded)) return slot;
    }
    return -1;
  }

  #holdsKey(slot: number, { source, at, length }: NonNullable<RowKey["encoded"]>): boolean {
    const start = slot * HEAD_SLOT_BYTES;
    for (let i = 0; i < length; i++) if (this.bytes[start + i] !== source[at + i]) return false;
    return true;
  }

  used(slot: number): void {
    this.lastUsed[Math.floor(slot / WAYS)] = slot % WAYS;
  }

  write(slot: number, { token, tenant, encoded }: RowKey, head: Uint8Array): void {
    const { words, bytes } = this;
    const { source, at: from, length } = encoded!;
    const at = slot * WORDS;
    words[at] = token.hi;
    words[at + 1] = token.lo;
    words[at + 2] = tenant;
    words[at + 3] = length;
    words[at + 4] = head.length;
    const start = slot * HEAD_SLOT_BYTES;
    for (let i = 0; i < length; i++) bytes[start + i] = source[from + i]!;
    bytes.set(head, start + length);
    this.used(slot);
  }
}

function setOf({ token }: RowKey): number {
  return (Math.imul(token.hi ^ (token.lo >>> 7), 0x9e3779b1) >>> 8) & (HEAD_SETS - 1);
}

const pageOf = (set: number): number => Math.floor(set / HEAD_PAGE_SETS);
/** The first slot of a set in its page. */
const slotsOf = (set: number): number => (set % HEAD_PAGE_SETS) * WAYS;

export class Heads {
  readonly #pages: (Page | undefined)[] = [];

  /** A copy of the head of this key's state. Keys that are not ASCII have none. */
  find(row: RowKey): Uint8Array | undefined {
    const set = setOf(row);
    const page = this.#pages[pageOf(set)];
    const slot = page ? page.slotOf(row, slotsOf(set)) : -1;
    if (page === undefined || slot < 0) return undefined;
    page.used(slot);
    const start = slot * HEAD_SLOT_BYTES + page.words[slot * WORDS + 3]!;
    return page.bytes.slice(start, start + page.words[slot * WORDS + 4]!);
  }

  /** The state put now begins with `head`, which ends where its only value begins. `mayEnter`: the key is worth a place if it has none. */
  put(row: RowKey, head: Uint8Array, mayEnter: boolean): void {
    const { encoded } = row;
    if (encoded === undefined || encoded.length + head.length > HEAD_SLOT_BYTES) return this.forget(row);
    const set = setOf(row);
    const first = slotsOf(set);
    let page = this.#pages[pageOf(set)];
    let slot = page ? page.slotOf(row, first) : -1;
    if (slot < 0) {
      if (!mayEnter) return;
      page ??= this.#newPage(set);
      slot = first + ((page.lastUsed[set % HEAD_PAGE_SETS]! + 1) % WAYS);
    }
    page!.write(slot, row, head);
  }

  #newPage(set: number): Page {
    const page = new Page();
    if (this.#pages.length === 0) this.#pages.length = HEAD_SETS / HEAD_PAGE_SETS;
    this.#pages[pageOf(set)] = page;
    return page;
  }

  /** Whatever has this token: who says so may know the key as a string only. */
  forget(row: RowKey): void {
    const set = setOf(row);
    const words = this.#pages[pageOf(set)]?.words;
    if (words === undefined) return;
    const first = slotsOf(set);
    for (let at = first * WORDS; at < (first + WAYS) * WORDS; at += WORDS) {
      const isOfToken = words[at] === (row.token.hi | 0) && words[at + 1] === (row.token.lo | 0);
      if (isOfToken && words[at + 2] === (row.tenant | 0)) words[at + 4] = 0;
    }
  }
}
