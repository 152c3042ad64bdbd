// The bytes of models, in pieces in the blob store, and what is known of them in SQL.
// Guarantees: a blob is named in SQL before it is written and until it is deleted, under a name never used again; what is read back is what was
// written (CRC32C) or an error. Must not: know what the bytes mean.
import { PIECE_BYTES } from "../src/embedding/limits.ts";
import { type ModelDefinition, partCount } from "../src/embedding/model.ts";
import type { BlobStore, SyncBlobStore } from "../src/storage/types.ts";
import { crc32c } from "../src/wire/crc32c.ts";
import { CheckedTable } from "./checked-rows.ts";

type PieceRow = {
  name: string;
  generation: number;
  file: string;
  part: number;
  piece: number;
  bytes: number;
  blob_crc: number;
  state: "writing" | "whole" | "dead";
  crc: number | null;
};

/** Blobs deleted in one go. */
const SWEEP_AT_ONCE = 64;

export class LostPiece extends Error {
  override readonly name = "LostPiece";
}

export interface PiecePlace {
  readonly generation: number;
  readonly file: string;
  readonly part: number;
}

export class ModelPieces {
  readonly #sql: SqlStorage;
  readonly #rows: CheckedTable<PieceRow>;
  readonly #blobs: BlobStore | SyncBlobStore;
  readonly #newName: () => string;

  constructor({ sql, blobs, newName }: { sql: SqlStorage; blobs: BlobStore | SyncBlobStore; newName: () => string }) {
    this.#sql = sql;
    this.#rows = new CheckedTable(sql, "embedding_pieces", "name");
    this.#blobs = blobs;
    this.#newName = newName;
  }

  /** At a start nobody is writing: what was begun was cut off. */
  wake(): void {
    this.#rows.updateUnchecked({ set: "state = 'dead'", where: "state = 'writing'" });
  }

  storedBytes(generation: number): number {
    const query = "SELECT COALESCE(SUM(bytes), 0) AS n FROM embedding_pieces WHERE generation = ? AND state = 'whole'";
    return this.#sql.exec<{ n: number }>(query, generation).one().n;
  }

  /** Of a file, the first that is not there; undefined = it is whole. */
  missingPart(generation: number, file: ModelDefinition["files"][number]): number | undefined {
    const query = "SELECT DISTINCT part FROM embedding_pieces WHERE generation = ? AND file = ? AND state = 'whole'";
    const held = new Set(
      this.#sql
        .exec<{ part: number }>(query, generation, file.name)
        .toArray()
        .map(({ part }) => part),
    );
    for (let part = 0; part < partCount(file); part++) if (!held.has(part)) return part;
    return undefined;
  }

  /** Writes the blobs; `keep` decides in the turn in which they become the part. What they replace is deleted behind it. */
  async put(place: PiecePlace, bytes: Uint8Array, keep: () => boolean): Promise<boolean> {
    const { generation, file, part } = place;
    const pieces: { row: PieceRow; bytes: Uint8Array }[] = [];
    for (let from = 0; from < bytes.length; from += PIECE_BYTES) {
      const slice = bytes.subarray(from, from + PIECE_BYTES);
      const state = {
        piece: pieces.length,
        bytes: slice.length,
        blob_crc: crc32c(slice),
        state: "writing",
        crc: null,
      } as const;
      pieces.push({ row: { name: this.#newName(), generation, file, part, ...state }, bytes: slice });
    }
    for (const { row } of pieces) this.#rows.insert(row);
    const names = pieces.map(({ row }) => row.name);
    try {
      for (const { row, bytes: slice } of pieces) await this.#blobs.put(row.name, slice);
    } catch (error) {
      this.#mark(names, "dead");
      throw error;
    }
    const isKept = keep();
    if (isKept) {
      const of = [generation, file, part];
      this.#rows.updateUnchecked({
        set: "state = 'dead'",
        where: "generation = ? AND file = ? AND part = ? AND state = 'whole'",
        of,
      });
    }
    this.#mark(names, isKept ? "whole" : "dead");
    return isKept;
  }

  #mark(names: readonly string[], state: PieceRow["state"]): void {
    for (const name of names)
      this.#rows.updateUnchecked({ set: "state = ?", to: [state], where: "name = ?", of: [name] });
  }

  /** @throws LostPiece */
  async read(generation: number, file: string): Promise<Uint8Array> {
    const rows = this.#rows.select(
      "WHERE generation = ? AND file = ? AND state = 'whole' ORDER BY part, piece",
      generation,
      file,
    );
    const bytes = new Uint8Array(rows.reduce((sum, row) => sum + row.bytes, 0));
    let at = 0;
    for (const row of rows) {
      const piece = await this.#blobs.get(row.name, 0, row.bytes);
      if (!piece || crc32c(piece) !== row.blob_crc)
        throw new LostPiece(`piece ${row.piece} of part ${row.part} of ${file} is lost or changed`);
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  /** All of a model are to be deleted. */
  abandon(generation: number): void {
    this.#rows.updateUnchecked({
      set: "state = 'dead'",
      where: "generation = ? AND state <> 'writing'",
      of: [generation],
    });
  }

  get hasDead(): boolean {
    return this.#sql.exec("SELECT 1 FROM embedding_pieces WHERE state = 'dead' LIMIT 1").toArray().length > 0;
  }

  /** Deletes what is dead, some at a time; false: there is more. */
  async sweep(): Promise<boolean> {
    const query = "SELECT name FROM embedding_pieces WHERE state = 'dead' LIMIT ?";
    const names = this.#sql.exec<{ name: string }>(query, SWEEP_AT_ONCE).toArray();
    for (const { name } of names) {
      await this.#blobs.delete(name);
      this.#sql.exec("DELETE FROM embedding_pieces WHERE name = ?", name);
    }
    return !this.hasDead;
  }
}
