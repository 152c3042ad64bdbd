// Blobs as rows of the object's own SQLite: durable with the turn's commit, readable in the same turn.
// Guarantees: a block read touches one or two rows; a put cut short by an error reads as missing or short, never as other bytes.
// Must not: hold a row above 32 KiB (the platform's cap is 2 MB; larger pieces make small reads dear).

import { drain } from "./drain.ts";
import { SQLITE_PIECE_BYTES } from "./limits.ts";
import type { SqlStorage, SyncBlobStore } from "./types.ts";

/** Pieces a blob may have: their ids are blob id × 2^20 + piece. */
const MAX_PIECES = 2 ** 20;

/** A Durable Object's `ctx.storage.sql` or the engine's SQL. */
export type BlobSql = Pick<SqlStorage, "exec">;

interface BlobRow {
  readonly id: number;
  readonly sizeBytes: number;
}

export class SqliteBlobStore implements SyncBlobStore {
  readonly #sql: BlobSql;
  /** Blob rows looked up before; a blob never changes. */
  readonly #known = new Map<string, BlobRow>();

  /** The tables of migrations/storage.ts must exist. */
  constructor(sql: BlobSql) {
    this.#sql = sql;
  }

  putSync(name: string, bytes: Uint8Array): void {
    if (bytes.length > MAX_PIECES * SQLITE_PIECE_BYTES)
      throw new RangeError(`a blob of ${bytes.length} bytes is too large`);
    drain(this.#sql.exec("INSERT INTO storage_blobs (name, sizeBytes) VALUES (?, ?)", name, bytes.length));
    const { id } = this.#row(name)!;
    for (let piece = 0; piece * SQLITE_PIECE_BYTES < bytes.length; piece++) {
      const start = piece * SQLITE_PIECE_BYTES;
      drain(
        this.#sql.exec(
          "INSERT INTO storage_pieces (id, bytes) VALUES (?, ?)",
          id * MAX_PIECES + piece,
          bytes.subarray(start, Math.min(bytes.length, start + SQLITE_PIECE_BYTES)),
        ),
      );
    }
  }

  #row(name: string): BlobRow | undefined {
    for (const row of this.#sql.exec<BlobRow>("SELECT id, sizeBytes FROM storage_blobs WHERE name = ?", name))
      return row;
    return undefined;
  }

  #find(name: string): BlobRow | undefined {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const row = this.#row(name);
    if (row !== undefined) this.#known.set(name, row);
    return row;
  }

  getSync(name: string, offset: number, lengthBytes: number): Uint8Array | undefined {
    const blob = this.#find(name);
    if (blob === undefined || offset + lengthBytes > blob.sizeBytes) return undefined;
    if (lengthBytes === 0) return new Uint8Array(0);
    const first = Math.floor(offset / SQLITE_PIECE_BYTES);
    const last = Math.floor((offset + lengthBytes - 1) / SQLITE_PIECE_BYTES);
    const skip = offset - first * SQLITE_PIECE_BYTES;
    const base = blob.id * MAX_PIECES;
    const pieces = this.#sql.exec<{ bytes: ArrayBuffer }>(
      "SELECT bytes FROM storage_pieces WHERE id >= ? AND id <= ? ORDER BY id",
      base + first,
      base + last,
    );
    const joined = new Uint8Array(lengthBytes);
    let at = -skip;
    for (const row of pieces) {
      // A damaged piece may be longer than it was; the CRC of what is read tells.
      if (at >= lengthBytes) break;
      const piece = new Uint8Array(row.bytes);
      const from = Math.max(0, -at);
      joined.set(piece.subarray(from, Math.min(piece.length, lengthBytes - at)), at + from);
      at += piece.length;
    }
    return at >= lengthBytes ? joined : undefined;
  }

  deleteSync(name: string): void {
    const blob = this.#row(name);
    this.#known.delete(name);
    if (blob === undefined) return;
    const base = blob.id * MAX_PIECES;
    drain(this.#sql.exec("DELETE FROM storage_pieces WHERE id >= ? AND id < ?", base, base + MAX_PIECES));
    drain(this.#sql.exec("DELETE FROM storage_blobs WHERE id = ?", blob.id));
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    this.putSync(name, bytes);
  }

  async get(name: string, offset: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    return this.getSync(name, offset, lengthBytes);
  }

  async size(name: string): Promise<number | undefined> {
    return this.#find(name)?.sizeBytes;
  }

  async delete(name: string): Promise<void> {
    this.deleteSync(name);
  }
}
