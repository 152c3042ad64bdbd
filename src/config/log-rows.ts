// The rows of a keyspace's log: a record each, by number.
// Guarantees: a record is checked when it is read (CRC32C), never served otherwise. Must not: know what a record changed.
import type { SqlStorage } from "../storage/types.ts";
import { only } from "./index-rows.ts";
import { CorruptRecord, type Crc32c, decodeRecord, type LogRecord } from "./record.ts";

interface LogRow {
  readonly seq: number;
  readonly record: ArrayBuffer;
}

export interface RawRecord {
  readonly seq: number;
  readonly revision: number;
  /** As stored. */
  readonly bytes: Uint8Array;
}

const SELECT_RECORD = "SELECT record FROM config_log WHERE seq = ?";
const INSERT_RECORD = "INSERT INTO config_log (seq, record) VALUES (?, ?)";
const REPLACE_RECORD = "INSERT OR REPLACE INTO config_log (seq, record) VALUES (?, ?)";
const DELETE_RECORD = "DELETE FROM config_log WHERE seq = ?";
const SELECT_LOG = "SELECT seq, record FROM config_log WHERE seq >= ? ORDER BY seq LIMIT ?";
const SELECT_LENGTHS = "SELECT length(record) AS bytes FROM config_log WHERE seq >= ? ORDER BY seq LIMIT ?";
const SELECT_LAST = "SELECT seq, record FROM config_log ORDER BY seq DESC LIMIT 1";

export class LogRows {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;

  constructor(sql: SqlStorage, crc32c: Crc32c) {
    this.#sql = sql;
    this.#crc32c = crc32c;
  }

  record(seq: number): LogRecord | undefined {
    const bytes = this.storedBytes(seq);
    return bytes && this.decode(bytes, seq);
  }

  /** As stored; throws where it is damaged. */
  recordBytes(seq: number): Uint8Array | undefined {
    const bytes = this.storedBytes(seq);
    if (bytes) this.decode(bytes, seq);
    return bytes;
  }

  lastRecord(): { readonly seq: number; readonly record: LogRecord } | undefined {
    const row = only(this.#sql.exec<LogRow>(SELECT_LAST));
    return row && { seq: row.seq, record: this.decode(new Uint8Array(row.record), row.seq) };
  }

  /** Records in order from `seq` on; compaction leaves gaps. */
  log(seq: number, limit: number): readonly { readonly seq: number; readonly record: LogRecord }[] {
    const records = [];
    for (const row of this.#sql.exec<LogRow>(SELECT_LOG, seq, limit)) {
      records.push({ seq: row.seq, record: this.decode(new Uint8Array(row.record), row.seq) });
    }
    return records;
  }

  /** As {@link log}, with the bytes as stored. */
  rawLog(seq: number, limit: number): readonly RawRecord[] {
    const records = [];
    for (const row of this.#sql.exec<LogRow>(SELECT_LOG, seq, limit)) {
      const bytes = new Uint8Array(row.record);
      records.push({ seq: row.seq, revision: this.decode(bytes, row.seq).revision, bytes });
    }
    return records;
  }

  /** How many records from `seq` on, of at most `limit`, have `pageBytes` together; the last one may pass it. */
  recordsWithin(seq: number, limit: number, pageBytes: number): number {
    let count = 0;
    let bytes = 0;
    for (const row of this.#sql.exec<{ bytes: number }>(SELECT_LENGTHS, seq, limit)) {
      if (bytes < pageBytes) count++;
      bytes += row.bytes;
    }
    return count;
  }

  /** Of a record's value; 0 where it is damaged. */
  valueBytes(seq: number): number {
    try {
      return this.record(seq)?.value.length ?? 0;
    } catch (error) {
      if (error instanceof CorruptRecord) return 0;
      throw error;
    }
  }

  isEmpty(): boolean {
    return only(this.#sql.exec("SELECT 1 AS n FROM config_log LIMIT 1")) === undefined;
  }

  append(seq: number, record: Uint8Array): void {
    this.#sql.exec(INSERT_RECORD, seq, record);
  }

  /** Instead of a damaged one, or one that is not there. */
  putBackRecord(seq: number, record: Uint8Array): void {
    this.#sql.exec(REPLACE_RECORD, seq, record);
  }

  dropRecord(seq: number): void {
    this.#sql.exec(DELETE_RECORD, seq);
  }

  /** Unchecked. */
  protected storedBytes(seq: number): Uint8Array | undefined {
    const row = only(this.#sql.exec<LogRow>(SELECT_RECORD, seq));
    return row && new Uint8Array(row.record);
  }

  protected decode(bytes: Uint8Array, seq: number): LogRecord {
    return decodeRecord(this.#crc32c, bytes, seq);
  }
}
