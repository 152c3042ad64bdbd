// Answers of a shard's writes by write id, so that a repeated write is answered as the first time and applied once.
// Guarantees: an answer is stored in the commit of what it answers; another body under the same id is refused; bounded in number, bytes and age.
import { drain } from "../../storage/drain.ts";
import type { SqlStorage } from "../../storage/types.ts";
import { VectorRefusal } from "../failure.ts";
import { CorruptSegment, type Crc32c } from "../segment/directory.ts";
import { KEPT_WRITE_MS, MAX_KEPT_WRITE_BYTES, MAX_KEPT_WRITES } from "./limits.ts";

interface Kept {
  readonly seq: number;
  readonly atMs: number;
  readonly bodyHash: string;
  readonly bytes: number;
}

interface KeptRow {
  readonly seq: number;
  readonly write_id: ArrayBuffer;
  readonly body_hash: ArrayBuffer;
  readonly at_ms: number;
  readonly bytes: number;
}

/** Bytes as the key of a map. */
export const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

export class KeptWrites {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  /** In the order they were given. Answers stay on disk: they are asked for rarely. */
  readonly #kept = new Map<string, Kept>();
  #nextSeq = 1;
  #bytes = 0;

  constructor(sql: SqlStorage, crc32c: Crc32c) {
    this.#sql = sql;
    this.#crc32c = crc32c;
    for (const row of sql.exec<KeptRow>(
      "SELECT seq, write_id, body_hash, at_ms, length(answer) AS bytes FROM vector_answers ORDER BY seq",
    )) {
      const bodyHash = textOf(new Uint8Array(row.body_hash));
      this.#kept.set(textOf(new Uint8Array(row.write_id)), {
        seq: row.seq,
        atMs: row.at_ms,
        bodyHash,
        bytes: row.bytes,
      });
      this.#bytes += row.bytes;
      this.#nextSeq = row.seq + 1;
    }
  }

  /** The answer to this write id, if one was given. @throws VectorRefusal for another body */
  find(writeId: Uint8Array, bodyHash: Uint8Array): Uint8Array | undefined {
    const kept = this.#kept.get(textOf(writeId));
    if (!kept) return undefined;
    if (kept.bodyHash !== textOf(bodyHash)) throw reused();
    let answer: Uint8Array | undefined;
    const rows = this.#sql.exec<{ answer: ArrayBuffer; crc: number }>(
      "SELECT answer, crc FROM vector_answers WHERE seq = ?",
      kept.seq,
    );
    for (const row of rows) {
      const bytes = new Uint8Array(row.answer);
      if (row.crc !== this.#crc(writeId, bytes))
        throw new CorruptSegment(`the kept answer ${kept.seq} fails its CRC32C`);
      answer = bytes;
    }
    return answer;
  }

  add(written: { writeId: Uint8Array; bodyHash: Uint8Array; answer: Uint8Array; nowMs: number }): void {
    const { writeId, bodyHash, answer, nowMs } = written;
    const seq = this.#nextSeq++;
    drain(
      this.#sql.exec(
        "INSERT INTO vector_answers (seq, write_id, body_hash, at_ms, crc, answer) VALUES (?, ?, ?, ?, ?, ?)",
        seq,
        writeId,
        bodyHash,
        nowMs,
        this.#crc(writeId, answer),
        answer,
      ),
    );
    this.#kept.set(textOf(writeId), { seq, atMs: nowMs, bodyHash: textOf(bodyHash), bytes: answer.length });
    this.#bytes += answer.length;
    this.#forget(nowMs);
  }

  #crc(writeId: Uint8Array, answer: Uint8Array): number {
    return this.#crc32c(answer, this.#crc32c(writeId));
  }

  #forget(nowMs: number): void {
    let through = 0;
    for (const [writeId, { seq, atMs, bytes }] of this.#kept) {
      const fits = this.#kept.size <= MAX_KEPT_WRITES && this.#bytes <= MAX_KEPT_WRITE_BYTES;
      if (fits && atMs + KEPT_WRITE_MS > nowMs) break;
      this.#kept.delete(writeId);
      this.#bytes -= bytes;
      through = seq;
    }
    if (through > 0) drain(this.#sql.exec("DELETE FROM vector_answers WHERE seq <= ?", through));
  }
}

export function reused(): VectorRefusal {
  return new VectorRefusal("idempotencyKeyReused", "this write id was used before with another request");
}
