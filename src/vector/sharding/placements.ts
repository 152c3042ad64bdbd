// Where the rows are whose ids belong to this shard by their hash: the durable truth about it. A row without an entry is here.
// Guarantees: entries carry a CRC32C; an id on its way has a move, written before anything is done for it. Must not: know rows.
import { drain } from "../../storage/drain.ts";
import type { SqlStorage } from "../../storage/types.ts";
import { CorruptSegment, type Crc32c } from "../segment/directory.ts";

/** A row that may be in two shards: `from`, where it is, and `to`, where it goes. */
export interface Move {
  readonly id: string;
  readonly from: number;
  readonly to: number;
  /** Calls of it may arrive until then, though nobody waits for them. */
  readonly lateUntilMs: number;
}

const encoder = new TextEncoder();

export class Placements {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  readonly #own: number;

  constructor(sql: SqlStorage, crc32c: Crc32c, own: number) {
    this.#sql = sql;
    this.#crc32c = crc32c;
    this.#own = own;
  }

  #crc(...parts: readonly (string | number)[]): number {
    return this.#crc32c(encoder.encode(JSON.stringify(parts)));
  }

  /** @throws CorruptSegment */
  shardOf(id: string): number {
    let shard = this.#own;
    for (const row of this.#sql.exec<{ shard: number; crc: number }>(
      "SELECT shard, crc FROM vector_placements WHERE id = ?",
      id,
    )) {
      if (row.crc !== this.#crc(id, row.shard)) throw new CorruptSegment("a placement fails its CRC32C");
      shard = row.shard;
    }
    return shard;
  }

  /** Entries behind an id, by id. @throws CorruptSegment */
  page(after: string, limit: number): readonly { readonly id: string; readonly shard: number }[] {
    const query = "SELECT id, shard, crc FROM vector_placements WHERE id > ? ORDER BY id LIMIT ?";
    return [...this.#sql.exec<{ id: string; shard: number; crc: number }>(query, after, limit)].map(
      ({ id, shard, crc }) => {
        if (crc !== this.#crc(id, shard)) throw new CorruptSegment("a placement fails its CRC32C");
        return { id, shard };
      },
    );
  }

  set(id: string, shard: number): void {
    if (shard === this.#own) return drain(this.#sql.exec("DELETE FROM vector_placements WHERE id = ?", id));
    const crc = this.#crc(id, shard);
    drain(this.#sql.exec("INSERT OR REPLACE INTO vector_placements (id, shard, crc) VALUES (?, ?, ?)", id, shard, crc));
  }

  /** @throws CorruptSegment */
  moves(): readonly Move[] {
    const rows = [
      ...this.#sql.exec<{ id: string; from_shard: number; to_shard: number; late_until_ms: number; crc: number }>(
        "SELECT * FROM vector_moves ORDER BY id",
      ),
    ];
    return rows.map(({ id, from_shard: from, to_shard: to, late_until_ms: lateUntilMs, crc }) => {
      if (crc !== this.#crc(id, from, to, lateUntilMs)) throw new CorruptSegment("a move fails its CRC32C");
      return { id, from, to, lateUntilMs };
    });
  }

  beginMove({ id, from, to, lateUntilMs }: Move): void {
    const crc = this.#crc(id, from, to, lateUntilMs);
    const insert =
      "INSERT OR REPLACE INTO vector_moves (id, from_shard, to_shard, late_until_ms, crc) VALUES (?, ?, ?, ?, ?)";
    drain(this.#sql.exec(insert, id, from, to, lateUntilMs, crc));
  }

  endMove(id: string): void {
    drain(this.#sql.exec("DELETE FROM vector_moves WHERE id = ?", id));
  }

  /** Rows were put back to where they were once: where that is is told anew. */
  forget(): void {
    drain(this.#sql.exec("DELETE FROM vector_placements"));
    drain(this.#sql.exec("DELETE FROM vector_moves"));
  }

  /** Rows that are in other shards. */
  get count(): number {
    let count = 0;
    for (const row of this.#sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM vector_placements")) count = row.n;
    return count;
  }
}
