// The rows of a keyspace's log: a record each, by number. What a turn appends is written by few statements at its end: a statement costs more
// than a row.
// Guarantees: a record is checked when it is read (CRC32C), never served otherwise; what was appended is read whether it is written or not.
// Must not: know what a record changed.
import type { SqlStorage } from "../storage/types.ts";
import { only, RowWriter } from "./index-rows.ts";
import { GATHERED_LOG_BYTES } from "./limits.ts";
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
const RECORD_ROWS = { into: "config_log (seq, record)", columnCount: 2 };
const REPLACE_RECORD = "INSERT OR REPLACE INTO config_log (seq, record) VALUES (?, ?)";
const DELETE_RECORD = "DELETE FROM config_log WHERE seq = ?";
const SELECT_LOG = "SELECT seq, record FROM config_log WHERE seq >= ? ORDER BY seq LIMIT ?";
const SELECT_LENGTHS = "SELECT length(record) AS bytes FROM config_log WHERE seq >= ? ORDER BY seq LIMIT ?";
const SELECT_LAST = "SELECT seq, record FROM config_log ORDER BY seq DESC LIMIT 1";

export class LogRows {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  readonly #writer: RowWriter;
  /** Appended and not written yet, in the order of their numbers. */
  #gathered: (readonly [number, Uint8Array])[] = [];
  #gatheredBytes = 0;

  constructor(sql: SqlStorage, crc32c: Crc32c) {
    this.#sql = sql;
    this.#crc32c = crc32c;
    this.#writer = new RowWriter(sql, RECORD_ROWS);
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
    this.writeRecords();
    const row = only(this.#sql.exec<LogRow>(SELECT_LAST));
    return row && { seq: row.seq, record: this.decode(new Uint8Array(row.record), row.seq) };
  }

  /** Records in order from `seq` on; compaction leaves gaps. */
  log(seq: number, limit: number): readonly { readonly seq: number; readonly record: LogRecord }[] {
    this.writeRecords();
    const records = [];
    for (const row of this.#sql.exec<LogRow>(SELECT_LOG, seq, limit)) {
      records.push({ seq: row.seq, record: this.decode(new Uint8Array(row.record), row.seq) });
    }
    return records;
  }

  /** As {@link log}, with the bytes as stored. */
  rawLog(seq: number, limit: number): readonly RawRecord[] {
    this.writeRecords();
    const records = [];
    for (const row of this.#sql.exec<LogRow>(SELECT_LOG, seq, limit)) {
      const bytes = new Uint8Array(row.record);
      records.push({ seq: row.seq, revision: this.decode(bytes, row.seq).revision, bytes });
    }
    return records;
  }

  /** How many records from `seq` on, of at most `limit`, have `pageBytes` together; the last one may pass it. */
  recordsWithin(seq: number, limit: number, pageBytes: number): number {
    this.writeRecords();
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
    this.writeRecords();
    return only(this.#sql.exec("SELECT 1 AS n FROM config_log LIMIT 1")) === undefined;
  }

  /** Behind all others. Written by {@link writeRecords}, at the turn's end at the latest. */
  append(seq: number, record: Uint8Array): void {
    this.#gathered.push([seq, record]);
    this.#gatheredBytes += record.length;
    if (this.#gatheredBytes > GATHERED_LOG_BYTES) this.writeRecords();
  }

  /** In any order: of a copy. */
  protected insertRecord(seq: number, record: Uint8Array): void {
    this.#writer.write([[seq, record]]);
  }

  /** Writes what was appended. */
  writeRecords(): void {
    if (this.#gathered.length === 0) return;
    const gathered = this.#gathered;
    this.forgetGathered();
    this.#writer.write(gathered);
  }

  /** The tables are others now. */
  protected forgetGathered(): void {
    this.#gathered = [];
    this.#gatheredBytes = 0;
  }

  /** Gives what takes back what is appended from here on, where the transaction that wrote it is rolled back. */
  protected markGathered(): () => void {
    const [gathered, count, bytes] = [this.#gathered, this.#gathered.length, this.#gatheredBytes];
    return () => {
      gathered.length = count;
      this.#gathered = gathered;
      this.#gatheredBytes = bytes;
    };
  }

  /** Instead of a damaged one, or one that is not there. */
  putBackRecord(seq: number, record: Uint8Array): void {
    this.writeRecords();
    this.#sql.exec(REPLACE_RECORD, seq, record);
  }

  dropRecord(seq: number): void {
    this.writeRecords();
    this.#sql.exec(DELETE_RECORD, seq);
  }

  /** Unchecked. */
  protected storedBytes(seq: number): Uint8Array | undefined {
    if (seq >= (this.#gathered[0]?.[0] ?? Number.POSITIVE_INFINITY)) this.writeRecords();
    const row = only(this.#sql.exec<LogRow>(SELECT_RECORD, seq));
    return row && new Uint8Array(row.record);
  }

  protected decode(bytes: Uint8Array, seq: number): LogRecord {
    return decodeRecord(this.#crc32c, bytes, seq);
  }
}
