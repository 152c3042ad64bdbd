// What a stopped server has on its disk: finds the SQLite files of its storage nodes, checks what must always hold between log,
// manifest and blobs, and damages blocks. Must not: check or damage while the server runs (listing tables is harmless).

import { existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** A piece's id is blob id × 2^28 + its offset. */
const MAX_BLOB_BYTES = 2 ** 28;

export interface StoredTable {
  readonly name: string;
  readonly kind: "row" | "record";
  readonly sizeBytes: number;
  readonly metaOffset: number;
}

export type Damage = "flip" | "cut" | "zero" | "missing";
export const DAMAGES: readonly Damage[] = ["flip", "cut", "zero", "missing"];

/** The SQLite files of every storage node of a data directory. */
export function nodeDatabases(dataDir: string): string[] {
  const objects = join(dataDir, "objects");
  const files = readdirSync(objects, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".sqlite"));
  return files
    .map((name) => join(objects, name))
    .filter((path) => withDatabase(path, (db) => hasTable(db, "storage_tables")));
}

function hasTable(db: DatabaseSync, name: string): boolean {
  return db.prepare("SELECT 1 FROM sqlite_master WHERE name = ?").get(name) !== undefined;
}

function withDatabase<T>(path: string, use: (db: DatabaseSync) => T): T {
  // A killed process may hold its locks for some milliseconds more.
  const db = new DatabaseSync(path, { timeout: 5000 });
  try {
    return use(db);
  } finally {
    db.close();
  }
}

export function storedTables(path: string): StoredTable[] {
  return withDatabase(path, (db) => {
    const rows = db.prepare("SELECT name, kind, sizeBytes, metaOffset FROM storage_tables ORDER BY id").all();
    return rows as unknown as StoredTable[];
  });
}

/** The first part of blob names: the storage node's id. Undefined while it has written no table. */
export function nodeIdOf(path: string): string | undefined {
  return storedTables(path)[0]?.name.split("/")[0];
}

export interface StoredProblems {
  readonly problems: readonly string[];
  readonly tableCount: number;
  readonly logRows: number;
  readonly leftOver: number;
}

/** Invariants of one node's store at any moment of a crash. `blobsDir`: where files of the blob store `disk` are, if it is used. */
export function checkStore(path: string, blobsDir: string | undefined): StoredProblems {
  return withDatabase(path, (db) => {
    const names = (query: string): string[] => (db.prepare(query).all() as { name: string }[]).map(({ name }) => name);
    const problems: string[] = [];
    const integrity = (db.prepare("PRAGMA integrity_check").get() as { integrity_check: string }).integrity_check;
    if (integrity !== "ok") problems.push(`SQLite: ${integrity}`);
    const tables = names("SELECT name FROM storage_tables");
    const known = new Set([
      ...tables,
      ...names("SELECT name FROM storage_intents UNION SELECT name FROM storage_dead"),
    ]);
    const node = tables[0]?.split("/")[0];
    const directory = blobsDir && node ? join(blobsDir, node) : undefined;
    // What the disk service itself had not finished: the next start of the server removes it.
    const finished = (name: string): boolean => !name.endsWith(".tmp");
    const held = directory && existsSync(directory) ? readdirSync(directory).filter(finished) : [];
    const files = held.map((name) => `${node}/${name}`);
    const blobs = new Set(blobsDir ? files : names("SELECT name FROM storage_blobs"));
    for (const name of tables) if (!blobs.has(name)) problems.push(`the blob of table ${name} is missing`);
    const orphans = [...blobs].filter((name) => !known.has(name) && !name.includes("probe"));
    for (const name of orphans) problems.push(`blob ${name} is no table, not intended and not dead`);
    const log = db.prepare("SELECT min(seq) AS low, max(seq) AS high, count(*) AS n FROM storage_log").get() as {
      low: number | null;
      high: number | null;
      n: number;
    };
    if (log.low !== null && log.high !== null && log.high - log.low + 1 !== log.n) problems.push("the log has a gap");
    const through = db.prepare("SELECT value FROM storage_numbers WHERE name = 'logThrough'").get() as
      | { value: number }
      | undefined;
    if (log.low !== null && log.low > (through?.value ?? 0) + 1)
      problems.push(`the log begins at ${log.low}, tables cover up to ${through?.value ?? 0}`);
    return { problems, tableCount: tables.length, logRows: log.n, leftOver: known.size - tables.length };
  });
}

/** Damages bytes of a table's data blocks, or takes the whole blob away. */
export function damage(path: string, table: StoredTable, how: Damage, options: DamageOptions): void {
  const at = Math.floor(options.random() * table.metaOffset);
  if (options.blobsDir) return damageFile(join(options.blobsDir, ...table.name.split("/")), at, how);
  withDatabase(path, (db) => {
    const { id } = db.prepare("SELECT id FROM storage_blobs WHERE name = ?").get(table.name) as { id: number };
    const first = id * MAX_BLOB_BYTES;
    if (how === "missing") {
      db.prepare("DELETE FROM storage_pieces WHERE id >= ? AND id < ?").run(first, first + MAX_BLOB_BYTES);
      db.prepare("DELETE FROM storage_blobs WHERE id = ?").run(id);
      return;
    }
    const pieces = db.prepare("SELECT id, bytes FROM storage_pieces WHERE id >= ? AND id < ? ORDER BY id");
    let offset = 0;
    for (const row of pieces.all(first, first + MAX_BLOB_BYTES) as { id: number; bytes: Uint8Array }[]) {
      const within = at - offset;
      offset += row.bytes.length;
      if (within < 0 || within >= row.bytes.length) continue;
      const write = db.prepare("UPDATE storage_pieces SET bytes = ? WHERE id = ?");
      write.run(damaged(row.bytes, within, how), row.id);
    }
  });
}

export interface DamageOptions {
  readonly random: () => number;
  readonly blobsDir: string | undefined;
}

function damageFile(path: string, at: number, how: Damage): void {
  if (how === "missing") return rmSync(path);
  if (how === "cut") return truncateSync(path, Math.min(at, statSync(path).size));
  writeFileSync(path, damaged(readFileSync(path), at, how));
}

function damaged(bytes: Uint8Array, at: number, how: Damage): Uint8Array {
  const result = bytes.slice();
  if (how === "cut") return result.subarray(0, at);
  if (how === "zero") result.fill(0, at);
  else result[at]! ^= 0x10;
  return result;
}
