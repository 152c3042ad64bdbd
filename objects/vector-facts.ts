// What a vector object knows of its database: one row of its facts, under a CRC32C.
import { STORAGE_MIGRATIONS } from "../migrations/storage.ts";
import { VECTOR_MIGRATIONS } from "../migrations/vector.ts";
import { drain } from "../src/storage/drain.ts";
import { CorruptSegment, type Crc32c } from "../src/vector/segment/directory.ts";
import type { ShardConfig } from "../src/vector/shard/shard-config.ts";
import { configSql } from "./config-sql.ts";
import { applyMigrations } from "./migrate.ts";

/** Undefined = it was not created, or erased; an object that was only asked leaves no tables behind. @throws CorruptSegment */
export function storedConfig({ sql }: DurableObjectStorage, crc32c: Crc32c): ShardConfig | undefined {
  const [table] = sql.exec("SELECT name FROM sqlite_master WHERE name = 'vector_facts'").toArray();
  if (!table) return undefined;
  const [row] = sql
    .exec<{ bytes: ArrayBuffer; crc: number }>("SELECT bytes, crc FROM vector_facts WHERE name = 'config'")
    .toArray();
  if (!row) return undefined;
  const bytes = new Uint8Array(row.bytes);
  if (crc32c(bytes) !== row.crc) throw new CorruptSegment("the shard's configuration fails its CRC32C");
  return JSON.parse(new TextDecoder().decode(bytes)) as ShardConfig;
}

export function storeConfig(storage: DurableObjectStorage, crc32c: Crc32c, config: ShardConfig): void {
  migrateVectors(storage);
  const bytes = new TextEncoder().encode(JSON.stringify(config));
  drain(
    configSql(storage).exec(
      "INSERT OR REPLACE INTO vector_facts (name, crc, bytes) VALUES ('config', ?, ?)",
      crc32c(bytes),
      bytes,
    ),
  );
}

export function migrateVectors(storage: DurableObjectStorage): void {
  applyMigrations(storage, "storage", STORAGE_MIGRATIONS);
  applyMigrations(storage, "vector", VECTOR_MIGRATIONS);
}

/** They differ in their copies only. */
export function hasSameRows({ replication: _, ...a }: ShardConfig, { replication: __, ...b }: ShardConfig): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
