// Values that reads found in tables, so that a hot cold-stored row costs one Map lookup. They are found by token: no put makes a string
// of its key only to say that the cache must forget it.
// Guarantees: bounded bytes; holds only what the newest table version is (every put removes its row); rows that share a place take
// turns in it. Must not: hold views of blocks (a 100-byte row would keep a whole block alive).

import { type CacheEntry, ClockCache } from "./clock-cache.ts";
import { CACHED_ROW_OVERHEAD_BYTES, MAX_CACHED_ROW_BYTES } from "./limits.ts";
import type { Probe } from "./row-format.ts";
import type { Token } from "./types.ts";

/** Where a token has its row. 30 bits: what V8 keeps in a Map without an object for each number. */
function placeOf(hi: number, lo: number): number {
  return (Math.imul(hi, 0x9e3779b1) ^ lo) >>> 2;
}

class CachedRow implements CacheEntry {
  readonly hi: number;
  readonly lo: number;
  readonly tenant: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly sizeBytes: number;
  readonly #rows: Map<number, CachedRow>;
  touched = false;
  pinnedUntilMs = 0;
  cacheIndex = -1;

  constructor(rows: Map<number, CachedRow>, { hi, lo, tenant, key, keyBytes }: Probe, value: Uint8Array) {
    this.#rows = rows;
    this.hi = hi;
    this.lo = lo;
    this.tenant = tenant;
    const copy = new Uint8Array(keyBytes + value.length);
    for (let i = 0; i < keyBytes; i++) copy[i] = key[i]!;
    copy.set(value, keyBytes);
    this.key = copy.subarray(0, keyBytes);
    this.value = copy.subarray(keyBytes);
    this.sizeBytes = copy.length + CACHED_ROW_OVERHEAD_BYTES;
  }

  isOf({ hi, lo, tenant, key, keyBytes }: Probe): boolean {
    if (this.hi !== hi || this.lo !== lo || this.tenant !== tenant || this.key.length !== keyBytes) return false;
    for (let i = 0; i < keyBytes; i++) if (this.key[i] !== key[i]) return false;
    return true;
  }

  evicted(): void {
    this.#rows.delete(placeOf(this.hi, this.lo));
  }
}

export class RowCache {
  readonly #rows = new Map<number, CachedRow>();
  readonly #ring: ClockCache<CachedRow>;
  hits = 0;
  misses = 0;

  constructor(limitBytes: number, clock: () => number) {
    this.#ring = new ClockCache(limitBytes, clock);
  }

  get bytes(): number {
    return this.#ring.bytes;
  }

  get(probe: Probe): Uint8Array | undefined {
    const cached = this.#rows.get(placeOf(probe.hi, probe.lo));
    if (cached === undefined || !cached.isOf(probe)) {
      this.misses++;
      return undefined;
    }
    this.hits++;
    cached.touched = true;
    return cached.value;
  }

  /** Copies `value` in, if it is small enough; returns what a reader should be given. */
  add(probe: Probe, value: Uint8Array): Uint8Array {
    if (value.length > MAX_CACHED_ROW_BYTES || value.length > this.#ring.maxEntryBytes) return value;
    this.remove(probe);
    const cached = new CachedRow(this.#rows, probe, value);
    this.#rows.set(placeOf(probe.hi, probe.lo), cached);
    this.#ring.add(cached);
    return cached.value;
  }

  /** Forgets what stands where a row of this token would. */
  remove({ hi, lo }: Token): void {
    const place = placeOf(hi, lo);
    const cached = this.#rows.get(place);
    if (cached === undefined) return;
    this.#rows.delete(place);
    this.#ring.remove(cached);
  }

  removeTenant(tenant: number): void {
    for (const [place, cached] of this.#rows) {
      if (cached.tenant !== tenant) continue;
      this.#rows.delete(place);
      this.#ring.remove(cached);
    }
  }
}
