// Reads versions through the cache. Owner and followers share it.
// Guarantees: what the cache gives is what the store would. Must not: judge revisions (its caller did).
import type { BinaryKey, KeyRange, KeyValue, RangeAnswer, RangeRequest } from "../wire/config.ts";
import { KeyCounts } from "./key-counts.ts";
import { isFiltered, type RangeSource, readRange } from "./range.ts";
import type { ConfigStore } from "./store.ts";
import { type Held, ValueCache } from "./value-cache.ts";
import type { Scan, Version } from "./version.ts";

/** A living version; its value where that was at hand. */
export interface MaybeHeld {
  readonly version: Version;
  readonly value: Uint8Array | undefined;
}

export class Reader implements RangeSource {
  readonly cache: ValueCache;
  readonly counts: KeyCounts;
  readonly #store: ConfigStore;
  /** What {@link lookedUp} found, each until it is asked for. */
  #found: Map<BinaryKey, Version | undefined> | undefined;

  /** `revision`: the present one. */
  constructor(store: ConfigStore, cacheBytes: number, revision: number) {
    this.#store = store;
    this.counts = new KeyCounts(store, revision);
    this.cache = new ValueCache(cacheBytes);
  }

  /** `state`: the revision to read, 0 = now. */
  range(request: RangeRequest, state: number): RangeAnswer {
    const isOfOne = request.rangeEnd === "" && state === 0 && !isFiltered(request);
    if (!isOfOne || request.keysOnly || request.countOnly) return readRange(this, request, state);
    const held = this.cache.get(request.key) ?? this.#load(request.key);
    return { kind: "range", kvs: held ? [shown(held)] : [], count: held ? 1 : 0, more: false };
  }

  /** A key that is read alone is likely to be read again. */
  #load(key: BinaryKey): Held | undefined {
    const version = this.#store.findStored(key);
    if (!version) return undefined;
    const held = { version, value: this.#store.valueOf(version).value };
    this.cache.set(held);
    return held;
  }

  find(key: BinaryKey, revision = 0): Version | undefined {
    if (revision > 0) return this.#store.find(key, revision);
    return this.cache.get(key)?.version ?? this.#store.find(key);
  }

  findHeld(key: BinaryKey): MaybeHeld | undefined {
    const held = this.cache.get(key);
    if (held) return held;
    const isKnown = this.#found?.has(key) === true;
    const version = isKnown ? this.#found!.get(key) : this.#store.find(key);
    // What is done with it may change it.
    if (isKnown) this.#found!.delete(key);
    return version && { version, value: undefined };
  }

  /** `run` asks once for each of these keys what is there: they are looked up together. */
  lookedUp<T>(keys: readonly BinaryKey[], run: () => T): T {
    const unknown = keys.filter((key) => !this.cache.has(key));
    if (unknown.length < 2) return run();
    this.#found = this.#store.findAll(unknown);
    try {
      return run();
    } finally {
      this.#found = undefined;
    }
  }

  held({ version, value }: MaybeHeld): Held {
    return { version, value: value ?? this.#store.valueOf(version).value };
  }

  scan(scan: Scan): readonly Version[] {
    return this.#store.scan(scan);
  }

  count(range: KeyRange, revision: number): number {
    return this.counts.count(range, revision);
  }

  valueOf(version: Version): KeyValue {
    const held = this.cache.get(version.key);
    return held?.version.seq === version.seq ? shown(held) : this.#store.valueOf(version);
  }
}

export function shown({ version, value }: Held): KeyValue {
  const { key, createRevision, modRevision, version: count, lease } = version;
  return { key, createRevision, modRevision, version: count, lease, value };
}
