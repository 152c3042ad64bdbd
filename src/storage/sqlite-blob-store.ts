// Blobs as rows of the object's own SQLite: durable with the turn's commit, readable in the same turn.
// Guarantees: a range that was written between two cuts is one row, found by its key; a put cut short by an error reads as missing
// or short, never as other bytes. Must not: hold a row above 32 KiB (the platform's cap is 2 MB; larger pieces make small reads dear).

import { drain, firstOf } from "./drain.ts";
import { SQLITE_PIECE_BYTES } from "./limits.ts";
import type { PutPartsOptions, SqlStorage, SyncBlobStore } from "./types.ts";

/** A piece's id is blob id × 2^28 + its offset in the blob. */
const MAX_BLOB_BYTES = 2 ** 28;
/** Pieces per statement: what a statement costs is then small beside what its pages cost. */
const PIECES_PER_INSERT = 8;

const INSERT_ONE = "INSERT INTO storage_pieces (id, bytes) VALUES (?, ?)";
const INSERT_MANY = INSERT_ONE + ", (?, ?)".repeat(PIECES_PER_INSERT - 1);

/** A Durable Object's `ctx.storage.sql` or the engine's SQL. */
export type BlobSql = Pick<SqlStorage, "exec">;

interface BlobRow {
  readonly id: number;
  readonly sizeBytes: number;
}

interface PieceRow {
  readonly id: number;
  readonly bytes: ArrayBuffer;
}

export class SqliteBlobStore implements SyncBlobStore {
  readonly #sql: BlobSql;
  /** Blob rows looked up before; a blob never changes. */
  readonly #known = new Map<string, BlobRow>();

  /** The tables of migrations/storage.ts must exist. */
  constructor(sql: BlobSql) {
    this.#sql = sql;
  }

  putSync(name: string, bytes: Uint8Array, cuts: readonly number[] = []): void {
    for (const _ of this.putParts(name, bytes, { cuts, partBytes: Number.POSITIVE_INFINITY })) {
      // All in one part.
    }
  }

  *putParts(name: string, bytes: Uint8Array, { cuts, partBytes }: PutPartsOptions): Generator<void, void, void> {
    if (bytes.length > MAX_BLOB_BYTES)
      throw new RangeError(`a blob of ${bytes.length} bytes is over ${MAX_BLOB_BYTES}`);
    drain(this.#sql.exec("INSERT INTO storage_blobs (name, sizeBytes) VALUES (?, ?)", name, bytes.length));
    const base = this.#row(name)!.id * MAX_BLOB_BYTES;
    let bindings: (number | Uint8Array)[] = [];
    let start = 0;
    let partEnd = partBytes;
    for (const cut of [...cuts, bytes.length]) {
      for (; start < cut; start = Math.min(cut, start + SQLITE_PIECE_BYTES)) {
        bindings.push(base + start, bytes.subarray(start, Math.min(cut, start + SQLITE_PIECE_BYTES)));
        if (bindings.length < PIECES_PER_INSERT * 2) continue;
        drain(this.#sql.exec(INSERT_MANY, ...bindings));
        bindings = [];
        if (start < partEnd) continue;
        partEnd = start + partBytes;
        yield;
      }
    }
    for (let i = 0; i < bindings.length; i += 2) drain(this.#sql.exec(INSERT_ONE, bindings[i]!, bindings[i + 1]!));
  }

  #row(name: string): BlobRow | undefined {
    return firstOf(this.#sql.exec<BlobRow>("SELECT id, sizeBytes FROM storage_blobs WHERE name = ?", name));
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
    const base = blob.id * MAX_BLOB_BYTES;
    const piece = firstOf(this.#sql.exec<PieceRow>("SELECT bytes FROM storage_pieces WHERE id = ?", base + offset));
    if (piece?.bytes.byteLength === lengthBytes) return new Uint8Array(piece.bytes);
    return this.#join(base, offset, lengthBytes);
  }

  /** A range that is not exactly one piece. */
  #join(base: number, offset: number, lengthBytes: number): Uint8Array | undefined {
    const joined = new Uint8Array(lengthBytes);
    const pieces = [
      ...this.#sql.exec<PieceRow>(
        `SELECT id, bytes FROM storage_pieces WHERE id < ? AND id >=
         (SELECT max(id) FROM storage_pieces WHERE id >= ? AND id <= ?) ORDER BY id`,
        base + offset + lengthBytes,
        base,
        base + offset,
      ),
    ];
    let filled = 0;
    for (const { id, bytes } of pieces) {
      const from = offset + filled - (id - base);
      if (from < 0 || from >= bytes.byteLength) return undefined;
      const piece = new Uint8Array(bytes, from, Math.min(bytes.byteLength - from, lengthBytes - filled));
      joined.set(piece, filled);
      filled += piece.length;
    }
    return filled === lengthBytes ? joined : undefined;
  }

  /** Puts the bytes of a range that lies between two cuts right again. False = there is no such range. */
  repairSync(name: string, offset: number, bytes: Uint8Array): boolean {
    const blob = this.#find(name);
    if (blob === undefined || offset + bytes.length > blob.sizeBytes) return false;
    const base = blob.id * MAX_BLOB_BYTES + offset;
    drain(this.#sql.exec("DELETE FROM storage_pieces WHERE id >= ? AND id < ?", base, base + bytes.length));
    for (let from = 0; from < bytes.length; from += SQLITE_PIECE_BYTES)
      drain(this.#sql.exec(INSERT_ONE, base + from, bytes.subarray(from, from + SQLITE_PIECE_BYTES)));
    return true;
  }

  /** All of a blob, and where its pieces begin: what `putSync` takes. Undefined = it is missing, or not whole. */
  wholeSync(name: string): { readonly bytes: Uint8Array; readonly cuts: readonly number[] } | undefined {
    const blob = this.#find(name);
    if (blob === undefined) return undefined;
    const base = blob.id * MAX_BLOB_BYTES;
    const query = "SELECT id, bytes FROM storage_pieces WHERE id >= ? AND id < ? ORDER BY id";
    const bytes = new Uint8Array(blob.sizeBytes);
    const cuts: number[] = [];
    let filled = 0;
    for (const piece of [...this.#sql.exec<PieceRow>(query, base, base + MAX_BLOB_BYTES)]) {
      const at = piece.id - base;
      if (at !== filled || at + piece.bytes.byteLength > bytes.length) return undefined;
      if (at > 0) cuts.push(at);
      bytes.set(new Uint8Array(piece.bytes), at);
      filled += piece.bytes.byteLength;
    }
    return filled === bytes.length ? { bytes, cuts } : undefined;
  }

  deleteSync(name: string): void {
    const blob = this.#row(name);
    this.#known.delete(name);
    if (blob === undefined) return;
    const base = blob.id * MAX_BLOB_BYTES;
    drain(this.#sql.exec("DELETE FROM storage_pieces WHERE id >= ? AND id < ?", base, base + MAX_BLOB_BYTES));
    drain(this.#sql.exec("DELETE FROM storage_blobs WHERE id = ?", blob.id));
  }

  async put(name: string, bytes: Uint8Array, cuts?: readonly number[]): Promise<void> {
    this.putSync(name, bytes, cuts);
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
