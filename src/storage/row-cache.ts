// Values that reads found in tables, kept by (tenant, key) so that a hot cold-stored row costs two Map lookups.
// Guarantees: bounded bytes; holds only what the newest table version is (every put removes its row). Must not: hold views of
// blocks (a 100-byte row would keep a whole block alive).

import { type CacheEntry, ClockCache } from "./clock-cache.ts";
import { CACHED_ROW_OVERHEAD_BYTES, MAX_CACHED_ROW_BYTES } from "./limits.ts";

class CachedRow implements CacheEntry {
  readonly value: Uint8Array;
  readonly sizeBytes: number;
  readonly #keys: Map<string, CachedRow>;
  readonly #key: string;
  touched = false;
  pinnedUntilMs = 0;
  cacheIndex = -1;

  constructor(keys: Map<string, CachedRow>, key: string, value: Uint8Array) {
    this.#keys = keys;
    this.#key = key;
    this.value = value;
    this.sizeBytes = value.length + key.length * 2 + CACHED_ROW_OVERHEAD_BYTES;
  }

  evicted(): void {
    this.#keys.delete(this.#key);
  }
}

export class RowCache {
  readonly #tenants = new Map<number, Map<string, CachedRow>>();
  readonly #ring: ClockCache<CachedRow>;
  hits = 0;
  misses = 0;

  constructor(limitBytes: number, clock: () => number) {
    this.#ring = new ClockCache(limitBytes, clock);
  }

  get bytes(): number {
    return this.#ring.bytes;
  }

  get(tenant: number, key: string): Uint8Array | undefined {
    const cached = this.#tenants.get(tenant)?.get(key);
    if (cached === undefined) {
      this.misses++;
      return undefined;
    }
    this.hits++;
    cached.touched = true;
    return cached.value;
  }

  /** Copies `value` in, if it is small enough; returns what a reader should be given. */
  add(tenant: number, key: string, value: Uint8Array): Uint8Array {
    if (value.length > MAX_CACHED_ROW_BYTES || value.length > this.#ring.maxEntryBytes) return value;
    let keys = this.#tenants.get(tenant);
    if (keys === undefined) {
      keys = new Map();
      this.#tenants.set(tenant, keys);
    }
    this.remove(tenant, key);
    const cached = new CachedRow(keys, key, value.slice());
    keys.set(key, cached);
    this.#ring.add(cached);
    return cached.value;
  }

  remove(tenant: number, key: string): void {
    const keys = this.#tenants.get(tenant);
    const cached = keys?.get(key);
    if (cached === undefined) return;
    keys!.delete(key);
    this.#ring.remove(cached);
  }

  removeTenant(tenant: number): void {
    const keys = this.#tenants.get(tenant);
    if (keys === undefined) return;
    for (const cached of keys.values()) this.#ring.remove(cached);
    this.#tenants.delete(tenant);
  }
}
