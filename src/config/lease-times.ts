// Deadlines of leases that were kept alive, as they are stored: one row for all keep-alives of a turn, not one a lease.
// Guarantees: what was noted is durable with the turn's commit; a changed byte is refused (CRC32C); rows hold a bounded multiple of the
// leases that there are. Must not: know when a lease ends.
//
// row = u32 crc of the rest, varint atMs, (string lease, varint stored deadline in ms)*

import type { SqlStorage } from "../storage/types.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import type { LeaseId } from "../wire/config.ts";
import { LEASE_TIMES_PER_ROW, SPARE_LEASE_TIMES } from "./limits.ts";
import type { Crc32c } from "./record.ts";

export interface LeaseTime {
  readonly id: LeaseId;
  readonly storedDeadlineMs: number;
}

const CRC_BYTES = 4;

export class LeaseTimes {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  readonly #writer = new ByteWriter(4096);
  /** Of this turn. */
  #noted = new Set<LeaseTime>();
  #lastRow = 0;
  /** In all rows. */
  #stored = 0;

  constructor(sql: SqlStorage, crc32c: Crc32c) {
    this.#sql = sql;
    this.#crc32c = crc32c;
  }

  /** All that is stored, in the order in which it was noted. False: some is damaged; the next turn that notes something writes all anew. */
  load(each: (time: LeaseTime, atMs: number) => void): boolean {
    let areWhole = true;
    const rows = this.#sql.exec<{ id: number; times: ArrayBuffer }>(
      "SELECT id, times FROM config_lease_times ORDER BY id",
    );
    for (const { id, times } of rows) {
      const bytes = new Uint8Array(times);
      const reader = new ByteReader(bytes);
      this.#lastRow = id;
      if (bytes.length < CRC_BYTES || reader.u32() !== this.#crc32c(bytes.subarray(CRC_BYTES))) {
        areWhole = false;
        continue;
      }
      for (const atMs = reader.varint(); !reader.done; this.#stored++)
        each({ id: reader.string(), storedDeadlineMs: reader.varint() }, atMs);
    }
    if (!areWhole) this.#stored = Number.POSITIVE_INFINITY;
    return areWhole;
  }

  /** As it is when the turn ends. */
  note(time: LeaseTime): void {
    this.#noted.add(time);
  }

  /** Writes what was noted, and now and then what holds of `all` instead of what did. */
  endTurn(nowMs: number, all: Iterable<LeaseTime>, count: number): void {
    if (this.#noted.size === 0) return;
    if (this.#stored > 2 * count + SPARE_LEASE_TIMES) {
      const before = this.#lastRow;
      this.#stored = 0;
      this.#write(nowMs, all);
      this.#sql.exec("DELETE FROM config_lease_times WHERE id <= ?", before);
    } else this.#write(nowMs, this.#noted);
    this.#noted = new Set();
  }

  #write(nowMs: number, times: Iterable<LeaseTime>): void {
    let count = 0;
    for (const { id, storedDeadlineMs } of times) {
      if (count % LEASE_TIMES_PER_ROW === 0) {
        this.#store(count);
        this.#writer.reset();
        this.#writer.u32(0);
        this.#writer.varint(nowMs);
      }
      this.#writer.string(id);
      this.#writer.varint(storedDeadlineMs);
      count++;
    }
    this.#store(count);
    this.#stored += count;
  }

  #store(count: number): void {
    if (count === 0) return;
    this.#writer.u32At(0, this.#crc32c(this.#writer.view().subarray(CRC_BYTES)));
    const row = "INSERT INTO config_lease_times (id, times) VALUES (?, ?)";
    this.#sql.exec(row, ++this.#lastRow, this.#writer.take());
  }
}
