// The answers of past mutations by write id, in the SQLite of the object that made them.
// Guarantees: the answer is stored in the commit of the mutation; the first body of a write id wins; kept `retentionMs`, then purged.
// Must not: hold a credential: answers are stored without the API keys they showed (those are derived again).
import { CheckedTable } from "./checked-rows.ts";
import { failure, type Mutation, type RpcResult } from "./tenancy-rpc.ts";

type Row = { record_id: string; body_hash: string; answer: string; at_ms: number; crc: number | null };

/** Rows purged per turn, so that a purge stays short. */
const PURGE_ROWS = 1000;

export class WriteRecords {
  readonly #sql: SqlStorage;
  readonly #rows: CheckedTable<Row>;
  readonly #retentionMs: number;
  #isSealed = false;

  constructor(sql: SqlStorage, retentionMs: number) {
    this.#sql = sql;
    this.#rows = new CheckedTable(sql, "write_records", "record_id");
    this.#retentionMs = retentionMs;
  }

  /**
   * Runs `mutate` unless this write id was answered before. Failures are not recorded: they changed nothing.
   * Call within one synchronous transaction.
   */
  once<T>(input: { recordId: string; mutation: Mutation; nowMs: number; mutate: () => RpcResult<T> }): RpcResult<T> {
    const { recordId, mutation, nowMs, mutate } = input;
    // Rows that an earlier build wrote.
    if (!this.#isSealed) this.#rows.seal();
    this.#isSealed = true;
    const [held] = this.#rows.select("WHERE record_id = ?", recordId);
    if (held) {
      if (held.body_hash === mutation.bodyHash) return { ok: true, value: JSON.parse(held.answer) as T };
      return failure("idempotencyKeyReused", "this Idempotency-Key was used before with another request");
    }
    const result = mutate();
    if (!result.ok) return result;
    const answer = JSON.stringify(result.value);
    this.#rows.insert({ record_id: recordId, body_hash: mutation.bodyHash, answer, at_ms: nowMs });
    return result;
  }

  /** When the oldest record may go; null when there is none. */
  nextPurgeAtMs(): number | null {
    const row = this.#sql.exec<{ at: number | null }>("SELECT MIN(at_ms) AS at FROM write_records").toArray()[0];
    return row?.at === null || row === undefined ? null : row.at + this.#retentionMs;
  }

  purge(nowMs: number): void {
    this.#sql.exec(
      "DELETE FROM write_records WHERE record_id IN (SELECT record_id FROM write_records WHERE at_ms <= ? LIMIT ?)",
      nowMs - this.#retentionMs,
      PURGE_ROWS,
    );
  }
}
