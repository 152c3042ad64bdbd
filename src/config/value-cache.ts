// The living versions read or written last, with their values: most reads and the "what was there" of most writes need no SQL.
// Guarantees: holds at most `limitBytes`, the oldest go first unless they were asked for since; what it holds is current, and what it gave stays as
// it was. Must not: hold absences.
//
// Entries lie in slabs of bytes, found by one number a key. As objects of their own each would be copied by the garbage collector until it is old:
// with more keys than ever fit, every read that keeps something makes the next collection's pause longer, and those pauses are the slowest
// hundredth of all reads.
//
// slab = entries one behind the other, each 8 bytes aligned: f64 seq, create, mod, version, value's and lease's bytes, asked (0, 1); lease; value

import { asciiText } from "../wire/bytes.ts";
import type { BinaryKey } from "../wire/config.ts";
import { VALUE_SLAB_BYTES } from "./limits.ts";
import type { Version } from "./version.ts";

/** Key and number of an entry in the map, and its key in its slab's list, estimated. Bytes beside the key's own. */
const ENTRY_BYTES = 64;
const HEADER_BYTES = 56;
const FIELD = { seq: 0, create: 1, mod: 2, version: 3, valueBytes: 4, leaseBytes: 5, asked: 6 } as const;
/** Places in a slab are numbered by 8 bytes. */
const PLACES = VALUE_SLAB_BYTES / 8;

export interface Held {
  readonly version: Version;
  readonly value: Uint8Array;
}

/** Its bytes are written once and never again: what was given of them stays. */
interface Slab {
  readonly bytes: Uint8Array;
  readonly numbers: Float64Array;
  readonly keys: BinaryKey[];
  used: number;
}

export class ValueCache {
  readonly #limitBytes: number;
  readonly #slabBytes: number;
  /** Slab × PLACES + place. */
  readonly #places = new Map<BinaryKey, number>();
  /** By number, the oldest first. */
  readonly #slabs = new Map<number, Slab>();
  #lastSlab = 0;
  /** Where short entries go; 0 = nowhere yet. */
  #open = 0;
  /** Of slabs, with what their keys cost. */
  bytes = 0;
  /** Of entries that are current. */
  #livingBytes = 0;
  hitsTotal = 0;
  missesTotal = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
    this.#slabBytes = Math.min(VALUE_SLAB_BYTES, Math.ceil(limitBytes / 64) * 8);
  }

  get(key: BinaryKey): Held | undefined {
    const place = this.#places.get(key);
    if (place === undefined) {
      this.missesTotal++;
      return undefined;
    }
    this.hitsTotal++;
    const { bytes, numbers } = this.#slabs.get(Math.floor(place / PLACES))!;
    const at = place % PLACES;
    numbers[at + FIELD.asked] = 1;
    const leaseAt = at * 8 + HEADER_BYTES;
    const leaseBytes = numbers[at + FIELD.leaseBytes]!;
    const valueAt = leaseAt + leaseBytes;
    const version: Version = {
      key,
      seq: numbers[at + FIELD.seq]!,
      modRevision: numbers[at + FIELD.mod]!,
      createRevision: numbers[at + FIELD.create]!,
      version: numbers[at + FIELD.version]!,
      lease: leaseBytes === 0 ? "" : asciiText(bytes, leaseAt, leaseBytes),
    };
    return { version, value: bytes.subarray(valueAt, valueAt + numbers[at + FIELD.valueBytes]!) };
  }

  has(key: BinaryKey): boolean {
    return this.#places.has(key);
  }

  set({ version, value }: Held): void {
    const { key, lease } = version;
    this.delete(key);
    const entryBytes = bytesOfEntry(lease.length, value.length);
    if (entryBytes > this.#limitBytes) return;
    const { slab, at } = this.#room(key, entryBytes);
    const { bytes, numbers } = slab;
    numbers[at + FIELD.seq] = version.seq;
    numbers[at + FIELD.create] = version.createRevision;
    numbers[at + FIELD.mod] = version.modRevision;
    numbers[at + FIELD.version] = version.version;
    numbers[at + FIELD.valueBytes] = value.length;
    numbers[at + FIELD.leaseBytes] = lease.length;
    numbers[at + FIELD.asked] = 0;
    const leaseAt = at * 8 + HEADER_BYTES;
    for (let i = 0; i < lease.length; i++) bytes[leaseAt + i] = lease.charCodeAt(i);
    bytes.set(value, leaseAt + lease.length);
    this.#shrink();
  }

  delete(key: BinaryKey): void {
    const place = this.#places.get(key);
    if (place === undefined) return;
    this.#places.delete(key);
    const { numbers } = this.#slabs.get(Math.floor(place / PLACES))!;
    this.#livingBytes -= entryBytesAt(numbers, place % PLACES) + keyCost(key);
  }

  /** Where a new entry of `key` lies. Long ones have a slab of their own. */
  #room(key: BinaryKey, entryBytes: number): { readonly slab: Slab; readonly at: number } {
    const isLong = entryBytes > this.#slabBytes / 4;
    let id = this.#open;
    let slab = isLong ? undefined : this.#slabs.get(id);
    if (!slab || slab.used + entryBytes > slab.bytes.length) {
      const buffer = new ArrayBuffer(isLong ? entryBytes : this.#slabBytes);
      slab = { bytes: new Uint8Array(buffer), numbers: new Float64Array(buffer), keys: [], used: 0 };
      id = ++this.#lastSlab;
      if (!isLong) this.#open = id;
      this.#slabs.set(id, slab);
      this.bytes += buffer.byteLength;
    }
    const at = slab.used / 8;
    slab.used += entryBytes;
    slab.keys.push(key);
    this.#places.set(key, id * PLACES + at);
    this.bytes += keyCost(key);
    this.#livingBytes += entryBytes + keyCost(key);
    return { slab, at };
  }

  #shrink(): void {
    while (this.bytes > this.#limitBytes && this.#slabs.size > 0) this.#dropOldest();
  }

  /**
   * What is current in it moves on: all of it while that is less than half of the limit (then there is enough that is not), else a quarter
   * at most, of what was asked for since.
   */
  #dropOldest(): void {
    const [id, { bytes, numbers, keys }] = this.#slabs.entries().next().value!;
    if (id === this.#open) this.#open = 0;
    let movedBytes = this.#livingBytes * 2 <= this.#limitBytes ? Number.NEGATIVE_INFINITY : 0;
    for (const key of keys) {
      this.bytes -= keyCost(key);
      const place = this.#places.get(key) ?? 0;
      if (Math.floor(place / PLACES) !== id) continue;
      const from = place % PLACES;
      const entryBytes = entryBytesAt(numbers, from);
      this.delete(key);
      if (movedBytes >= 0 && (numbers[from + FIELD.asked] === 0 || movedBytes * 4 > bytes.length)) continue;
      movedBytes += entryBytes;
      const { slab, at } = this.#room(key, entryBytes);
      slab.bytes.set(bytes.subarray(from * 8, from * 8 + entryBytes), at * 8);
      slab.numbers[at + FIELD.asked] = 0;
    }
    this.#slabs.delete(id);
    this.bytes -= bytes.length;
  }
}

function keyCost(key: BinaryKey): number {
  return key.length + ENTRY_BYTES;
}

function bytesOfEntry(leaseBytes: number, valueBytes: number): number {
  return Math.ceil((HEADER_BYTES + leaseBytes + valueBytes) / 8) * 8;
}

function entryBytesAt(numbers: Float64Array, at: number): number {
  return bytesOfEntry(numbers[at + FIELD.leaseBytes]!, numbers[at + FIELD.valueBytes]!);
}
