// The facts of a vector shard, or of a copy of one, by name: its configuration, and what was done once. Guarantees: each has a CRC32C; a damaged one is CorruptSegment. An object
// that was only asked makes no table.
import { STORAGE_MIGRATIONS } from "../migrations/storage.ts";
import { VECTOR_MIGRATIONS } from "../migrations/vector.ts";
import { drain } from "../src/storage/drain.ts";
import { CorruptSegment, type Crc32c } from "../src/vector/segment/directory.ts";
import type { ShardConfig } from "../src/vector/shard/shard-config.ts";
import { Placements } from "../src/vector/sharding/placements.ts";
import { configSql } from "./config-sql.ts";
import { applyMigrations } from "./migrate.ts";

/** By which a shard knows that rows are where they belong (vector-placing.ts). */
const SPREAD = ["topologySpread", "shardMapSpread", "shardMapActive"];

export class VectorFacts {
  readonly #storage: DurableObjectStorage;
  readonly #crc32c: Crc32c;

  constructor(storage: DurableObjectStorage, crc32c: Crc32c) {
    this.#storage = storage;
    this.#crc32c = crc32c;
  }

  get(name: string): string | undefined {
    const { sql } = this.#storage;
    if (sql.exec("SELECT name FROM sqlite_master WHERE name = 'vector_facts'").toArray().length === 0) return undefined;
    const [row] = sql
      .exec<{ bytes: ArrayBuffer; crc: number }>("SELECT bytes, crc FROM vector_facts WHERE name = ?", name)
      .toArray();
    if (!row) return undefined;
    const bytes = new Uint8Array(row.bytes);
    if (this.#crc32c(bytes) !== row.crc) throw new CorruptSegment(`the shard's ${name} fails its CRC32C`);
    return new TextDecoder().decode(bytes);
  }

  set(name: string, text: string): void {
    const bytes = new TextEncoder().encode(text);
    const insert = "INSERT OR REPLACE INTO vector_facts (name, crc, bytes) VALUES (?, ?, ?)";
    drain(configSql(this.#storage).exec(insert, name, this.#crc32c(bytes), bytes));
  }

  /** Rows were put back to where they were once; with `isUnsettled` that is not where they belong. */
  forgetPlaces(isUnsettled: boolean): void {
    const sql = configSql(this.#storage);
    new Placements(sql, this.#crc32c, 0).forget();
    if (isUnsettled) for (const name of SPREAD) drain(sql.exec("DELETE FROM vector_facts WHERE name = ?", name));
  }

  /** Undefined = it was not created, or erased. @throws CorruptSegment */
  get config(): ShardConfig | undefined {
    const text = this.get("config");
    return text === undefined ? undefined : (JSON.parse(text) as ShardConfig);
  }

  set config(config: ShardConfig) {
    migrateVectors(this.#storage);
    this.set("config", JSON.stringify(config));
  }
}

export function migrateVectors(storage: DurableObjectStorage): void {
  applyMigrations(storage, "storage", STORAGE_MIGRATIONS);
  applyMigrations(storage, "vector", VECTOR_MIGRATIONS);
}

/** They differ in what is not of their rows: who follows, what is kept of the past, who may ask, where rows belong. */
export function hasSameRows(a: ShardConfig, b: ShardConfig): boolean {
  const rowsOf = ({ dimension, metric, metadataSchema, durability, indexes }: ShardConfig): string =>
    JSON.stringify({ dimension, metric, metadataSchema, durability, indexes });
  return rowsOf(a) === rowsOf(b);
}
