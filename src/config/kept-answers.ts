// Answers of writes by write id, so that a repeated write is answered as the first time and applied once.
// Guarantees: an answer is durable in the commit of what it answers; another body under the same id is refused; bounded in
// number, bytes and age, the oldest go first. Must not: keep refusals (nothing was written: a repetition is a new try).
import type { SqlStorage } from "../storage/types.ts";
import { ByteReader, ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import { keyOfBytes } from "../wire/config-keys.ts";
import { BODY_HASH_BYTES, WRITE_ID_BYTES } from "../wire/session.ts";
import type { Damage } from "./damage.ts";
import { ConfigRefusal } from "./failure.ts";
import { KEPT_ANSWER_MS, MAX_KEPT_ANSWER, MAX_KEPT_ANSWER_BYTES, MAX_KEPT_ANSWERS } from "./limits.ts";
import { CorruptRecord, type Crc32c } from "./record.ts";

interface Kept {
  readonly bodyHash: string;
  /** Empty = it was too long to keep. */
  readonly answer: Uint8Array;
  /** It was given in a turn whose row is damaged: that it was applied is known, the rest is not. */
  readonly isDamaged?: boolean;
}

interface TurnRow {
  readonly id: number;
  readonly at_ms: number;
  readonly answers: ArrayBuffer;
}

const NO_ANSWER = new Uint8Array(0);

export class KeptAnswers {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  /** In the order they were given. */
  readonly #kept = new Map<string, Kept>();
  readonly #turns: { id: number; atMs: number; writeIds: readonly string[] }[] = [];
  readonly #writer = new ByteWriter(4096);
  #fresh: string[] = [];
  bytes = 0;

  constructor(sql: SqlStorage, crc32c: Crc32c, damage?: Damage) {
    this.#sql = sql;
    this.#crc32c = crc32c;
    for (const row of sql.exec<TurnRow>("SELECT id, at_ms, answers FROM config_answers ORDER BY id"))
      this.#load(row, damage);
  }

  get size(): number {
    return this.#kept.size;
  }

  /** The answer to this write id, if it was given. Throws `idempotencyKeyReused` for another body. */
  find(writeId: Uint8Array, bodyHash: Uint8Array): Uint8Array | undefined {
    const kept = this.#kept.get(keyOfBytes(writeId));
    if (!kept) return undefined;
    if (kept.isDamaged) throw new CorruptRecord("this write id was answered before; what was kept fails its checksum");
    if (kept.bodyHash !== keyOfBytes(bodyHash))
      throw new ConfigRefusal("idempotencyKeyReused", "this write id was used before with another request");
    if (kept.answer.length > 0) return kept.answer;
    throw new ConfigRefusal(
      "conflict",
      "this write was applied before; its answer was too long to be kept. Read the result",
    );
  }

  add(writeId: Uint8Array, bodyHash: Uint8Array, answer: Uint8Array): void {
    const kept = answer.length > MAX_KEPT_ANSWER ? new Uint8Array(0) : answer;
    this.#writer.raw(writeId);
    this.#writer.raw(bodyHash);
    this.#writer.bytes(kept);
    this.#fresh.push(this.#hold(writeId, bodyHash, kept));
  }

  /** Writes what this turn added, as one row. */
  endTurn(nowMs: number): void {
    if (this.#fresh.length === 0) return;
    const body = this.#writer.view();
    const stored = new Uint8Array(body.length + 4);
    new DataView(stored.buffer).setUint32(0, this.#crc32c(body), true);
    stored.set(body, 4);
    this.#writer.reset();
    let id = 0;
    const rows = this.#sql.exec<{ id: number }>(
      "INSERT INTO config_answers (at_ms, answers) VALUES (?, ?) RETURNING id",
      nowMs,
      stored,
    );
    for (const row of rows) id = row.id;
    this.#turns.push({ id, atMs: nowMs, writeIds: this.#fresh });
    this.#fresh = [];
    this.#forget(nowMs);
  }

  #forget(nowMs: number): void {
    let last = 0;
    while (this.#turns.length > 1) {
      const oldest = this.#turns[0]!;
      const isOver = this.#kept.size > MAX_KEPT_ANSWERS || this.bytes > MAX_KEPT_ANSWER_BYTES;
      if (!isOver && oldest.atMs > nowMs - KEPT_ANSWER_MS) break;
      for (const writeId of oldest.writeIds) {
        this.bytes -= this.#kept.get(writeId)?.answer.length ?? 0;
        this.#kept.delete(writeId);
      }
      last = oldest.id;
      this.#turns.shift();
    }
    if (last > 0) this.#sql.exec("DELETE FROM config_answers WHERE id <= ?", last);
  }

  #load(row: TurnRow, damage: Damage | undefined): void {
    const body = new Uint8Array(row.answers).subarray(4);
    const isWhole = row.answers.byteLength >= 4 && new DataView(row.answers).getUint32(0, true) === this.#crc32c(body);
    if (!isWhole) damage?.lost("kept answers fail their checksum");
    const writeIds: string[] = [];
    try {
      const reader = new ByteReader(body);
      while (!reader.done) {
        const [writeId, bodyHash] = [reader.raw(WRITE_ID_BYTES), reader.raw(BODY_HASH_BYTES)];
        // Of a damaged turn the ids that can still be read are refused: applied again they would be worse.
        if (isWhole) writeIds.push(this.#hold(writeId, bodyHash, reader.bytes()));
        else {
          this.#kept.set(keyOfBytes(writeId), { bodyHash: "", answer: NO_ANSWER, isDamaged: true });
          writeIds.push(keyOfBytes(writeId));
          reader.bytes();
        }
      }
    } catch (error) {
      if (isWhole || !(error instanceof MalformedBytes)) throw error;
    }
    this.#turns.push({ id: row.id, atMs: row.at_ms, writeIds });
  }

  #hold(writeId: Uint8Array, bodyHash: Uint8Array, answer: Uint8Array): string {
    const id = keyOfBytes(writeId);
    this.#kept.set(id, { bodyHash: keyOfBytes(bodyHash), answer });
    this.bytes += answer.length;
    return id;
  }
}
