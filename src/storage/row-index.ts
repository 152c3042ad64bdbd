// Hash index over the rows of one memtable by token: open addressing in one Int32Array, no object and no string per row.
// Guarantees: a row is found by its whole key, also where keys share a token; keys made to collide do not make it slow (the order of
// entries hangs on a secret, and rows that share a token are kept in a Map). Must not: hold row bytes (they are in the arena).

import type { Arena } from "./arena.ts";
import {
  compareRows,
  compareToProbe,
  decodeKey,
  type Probe,
  rowHi,
  rowKeyBytes,
  rowLo,
  rowTenant,
} from "./row-format.ts";

const INITIAL_ENTRIES = 2048;
/** Words of an entry: number of the row + 1 (0 = free), position in the arena (-1 = hidden), token hi, token lo. */
const ENTRY_WORDS = 4;

/** Where the search for a token begins. */
function hashOf(hi: number, lo: number, secret: number): number {
  let hash = Math.imul(hi ^ secret, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 15) ^ lo, 0x85ebca6b);
  return hash ^ (hash >>> 14);
}

export class RowIndex {
  readonly #arena: Arena;
  readonly #secret: number;
  #entries = new Int32Array(INITIAL_ENTRIES * ENTRY_WORDS);
  #mask = INITIAL_ENTRIES - 1;
  /** Tenant and key → number, of rows that came when an entry had their token already. */
  #twins: Map<string, number> | undefined;
  /** Row number → position of its newest version; -1 = hidden. */
  #positions = new Int32Array(INITIAL_ENTRIES);
  /** Distinct rows so far; each has the number it came with. Hidden ones count. */
  count = 0;

  constructor(arena: Arena, secret: number) {
    this.#arena = arena;
    this.#secret = secret;
  }

  /** Makes the row at `position` the newest version of its key. Returns the position of the one before it, -1 = none is known. */
  add(position: number): number {
    const arena = this.#arena;
    const buffer = arena.bufferAt(position);
    const offset = arena.offsetAt(position);
    const hi = rowHi(buffer, offset) | 0;
    const lo = rowLo(buffer, offset) | 0;
    const entries = this.#entries;
    const mask = this.#mask;
    for (let index = hashOf(hi, lo, this.#secret) & mask; ; index = (index + 1) & mask) {
      const at = index * ENTRY_WORDS;
      const number = entries[at]! - 1;
      if (number < 0) {
        this.#insert(at, position, hi, lo);
        return -1;
      }
      if (entries[at + 2] !== hi || entries[at + 3] !== lo) continue;
      const held = entries[at + 1]!;
      if (held < 0 || compareRows(arena.bufferAt(held), arena.offsetAt(held), buffer, offset) !== 0) {
        this.#addTwin(position);
        return -1;
      }
      entries[at + 1] = position;
      this.#positions[number] = position;
      return held;
    }
  }

  // Four positions, not an options object: every new row passes here.
  #insert(at: number, position: number, hi: number, lo: number): void {
    const entries = this.#entries;
    entries[at] = this.#number(position) + 1;
    entries[at + 1] = position;
    entries[at + 2] = hi;
    entries[at + 3] = lo;
    if (this.count * 2 > this.#mask) this.#grow();
  }

  #number(position: number): number {
    const number = this.count++;
    if (number === this.#positions.length) {
      const grown = new Int32Array(number * 2);
      grown.set(this.#positions);
      this.#positions = grown;
    }
    this.#positions[number] = position;
    return number;
  }

  #addTwin(position: number): void {
    const buffer = this.#arena.bufferAt(position);
    const offset = this.#arena.offsetAt(position);
    const name = `${rowTenant(buffer, offset)}/${decodeKey(rowKeyBytes(buffer, offset))}`;
    this.#twins ??= new Map();
    const number = this.#twins.get(name);
    if (number === undefined) this.#twins.set(name, this.#number(position));
    else this.#positions[number] = position;
  }

  #grow(): void {
    const old = this.#entries;
    const entries = new Int32Array(old.length * 2);
    const mask = entries.length / ENTRY_WORDS - 1;
    for (let from = 0; from < old.length; from += ENTRY_WORDS) {
      if (old[from] === 0) continue;
      let index = hashOf(old[from + 2]!, old[from + 3]!, this.#secret) & mask;
      while (entries[index * ENTRY_WORDS] !== 0) index = (index + 1) & mask;
      const to = index * ENTRY_WORDS;
      for (let word = 0; word < ENTRY_WORDS; word++) entries[to + word] = old[from + word]!;
    }
    this.#entries = entries;
    this.#mask = mask;
  }

  /** Position of the newest version of the probed row, -1 when there is none. */
  find(probe: Probe): number {
    const at = this.#entryOf(probe);
    if (at >= 0) return this.#entries[at + 1]!;
    const twin = this.#twins?.get(nameOf(probe));
    return twin === undefined ? -1 : this.#positions[twin]!;
  }

  /** At most one entry has the token; the row may also be a twin of it. */
  #entryOf(probe: Probe): number {
    const entries = this.#entries;
    const mask = this.#mask;
    const hi = probe.hi | 0;
    const lo = probe.lo | 0;
    for (let index = hashOf(hi, lo, this.#secret) & mask; ; index = (index + 1) & mask) {
      const at = index * ENTRY_WORDS;
      if (entries[at] === 0) return -1;
      if (entries[at + 2] !== hi || entries[at + 3] !== lo) continue;
      const position = entries[at + 1]!;
      if (position < 0) return -1;
      const isSame = compareToProbe(this.#arena.bufferAt(position), this.#arena.offsetAt(position), probe) === 0;
      return isSame ? at : -1;
    }
  }

  /** Hides one row. Written again it gets a new number. */
  hide(probe: Probe): void {
    const at = this.#entryOf(probe);
    if (at >= 0) return this.#hideEntry(at);
    const name = nameOf(probe);
    const twin = this.#twins?.get(name);
    if (twin === undefined) return;
    this.#positions[twin] = -1;
    this.#twins!.delete(name);
  }

  /** Hides the rows of a tenant. */
  hideTenant(tenant: number): void {
    for (let at = 0; at < this.#entries.length; at += ENTRY_WORDS) {
      const isRow = this.#entries[at] !== 0 && this.#entries[at + 1]! >= 0;
      if (isRow && this.#tenantAt(this.#entries[at + 1]!) === tenant) this.#hideEntry(at);
    }
    for (const [name, number] of this.#twins ?? []) {
      if (this.#tenantAt(this.#positions[number]!) !== tenant) continue;
      this.#positions[number] = -1;
      this.#twins!.delete(name);
    }
  }

  #tenantAt(position: number): number {
    return rowTenant(this.#arena.bufferAt(position), this.#arena.offsetAt(position));
  }

  #hideEntry(at: number): void {
    this.#positions[this.#entries[at]! - 1] = -1;
    this.#entries[at + 1] = -1;
  }

  /** Newest position of the row with this number, -1 = hidden. */
  positionOf(number: number): number {
    return this.#positions[number]!;
  }
}

function nameOf({ tenant, key, keyBytes }: Probe): string {
  return `${tenant}/${decodeKey(key.subarray(0, keyBytes))}`;
}
