// The Directory's records: JSON under keys of a configuration keyspace in its own SQLite, by the engine that tenants' keyspaces have (ADR 38).
// Guarantees: what is written together has one revision; every record carries CRC32C and damage is never served; history is bounded. A write that
// throws, or whose transaction is rolled back, needs `reopen`. Must not: know what a record means.
import kernelModule from "../dist/wasm/storage.wasm";
import { CONFIG_MIGRATIONS } from "../migrations/config.ts";
import { Desk } from "../src/config/desk.ts";
import { HISTORY_RUN_ROWS } from "../src/config/limits.ts";
import { createKernels } from "../src/storage/kernels.ts";
import type { KeyRange, KeyValue, TxnOperation } from "../src/wire/config.ts";
import { prefixRange } from "../src/wire/config-keys.ts";
import { configSql } from "./config-sql.ts";
import { applyMigrations } from "./migrate.ts";

export type RecordWrite =
  | { readonly key: string; readonly value: unknown }
  /** Deleted. */
  | { readonly key: string; readonly value?: undefined };

const CACHE_BYTES = 4 * 1024 * 1024;
/** Changes of the control plane that can be looked back at. */
const KEPT_REVISIONS = 10_000;
/** A transaction's bound is 128. */
const WRITES_AT_ONCE = 100;

const kernels = createKernels(kernelModule);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class DirectoryRecords {
  readonly #storage: DurableObjectStorage;
  #desk: Desk;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    applyMigrations(storage, "config", CONFIG_MIGRATIONS);
    this.#desk = this.#open();
  }

  #open(): Desk {
    return new Desk({
      sql: configSql(this.#storage),
      crc32c: (bytes, seed) => kernels.crc32c(bytes, seed),
      now: Date.now,
      random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
      cacheBytes: CACHE_BYTES,
      retention: { keepMs: 0, keepRevisions: KEPT_REVISIONS },
      // Writes are few: a record that is damaged is then one key's.
      batches: { pendingRows: 0, runRows: HISTORY_RUN_ROWS },
      onChange: () => undefined,
    });
  }

  /** After a transaction was rolled back memory is ahead of storage. */
  reopen(): void {
    this.#desk = this.#open();
  }

  get revision(): number {
    return this.#desk.keyspace.revision;
  }

  get damagedTotal(): number {
    return this.#desk.damage.foundTotal;
  }

  /** Throws CorruptRecord. */
  get<T>(key: string): T | undefined {
    const [kv] = this.#desk.keyspace.range({ kind: "range", key, rangeEnd: "" }).kvs;
    return kv && valueOfRecord<T>(kv);
  }

  /** In the order of keys, those behind `after` (a whole key). */
  list<T>(prefix: string, { after, limit = 0 }: { readonly after?: string; readonly limit?: number } = {}) {
    const { key, rangeEnd } = prefixRange(prefix);
    const range: KeyRange = { key: after === undefined ? key : `${after}\0`, rangeEnd };
    const { kvs } = this.#desk.keyspace.range({ kind: "range", ...range, limit });
    return kvs.map((kv) => ({ key: kv.key, value: valueOfRecord<T>(kv) }));
  }

  count(prefix: string): number {
    return this.#desk.store.count(prefixRange(prefix), 0);
  }

  /** All of it, under one revision. */
  write(...writes: readonly RecordWrite[]): void {
    if (writes.length > WRITES_AT_ONCE) throw new RangeError(`${writes.length} records are too many at once`);
    const success = writes.map(
      ({ key, value }): TxnOperation =>
        value === undefined
          ? { kind: "deleteRange", key, rangeEnd: "" }
          : { kind: "put", key, value: encoder.encode(JSON.stringify(value)) },
    );
    this.#desk.keyspace.txn({ kind: "txn", compare: [], success, failure: [] });
    this.#desk.endTurn();
    if (this.#desk.mustCompact) this.#desk.compactStep();
  }
}

function valueOfRecord<T>({ value }: KeyValue): T {
  return JSON.parse(decoder.decode(value)) as T;
}
