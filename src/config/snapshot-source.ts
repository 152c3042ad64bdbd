// Reading a whole keyspace at one revision while writes go on: for snapshots of ours and of etcd's form.
// Guarantees: all pages of a reading show one state; what it needs is not compacted away while it goes on; a reading that nobody asks for
// pages ends by itself. Must not: hold more than one page.
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import type { BinaryKey } from "../wire/config.ts";
import { SNAPSHOT_BLOCK_BYTES, type SnapshotLease, writeSnapshotKey } from "../wire/config-snapshot.ts";
import { crc32c } from "../wire/crc32c.ts";
import type { ShippedRecord } from "../wire/shipment.ts";
import { ConfigRefusal } from "./failure.ts";
import type { Keyspace } from "./keyspace.ts";
import type { Leases } from "./leases.ts";
import { MAX_SNAPSHOT_READS, SNAPSHOT_IDLE_MS } from "./limits.ts";
import { decodeRecord, type LogRecord } from "./record.ts";
import type { ConfigStore } from "./store.ts";

/** What a reading reads. */
export interface SnapshotBegin {
  readonly id: number;
  readonly revision: number;
  readonly term: number;
  readonly compactedRevision: number;
  /** There are no keys at that revision. */
  readonly isEmpty: boolean;
  readonly leases: readonly SnapshotLease[];
}

export interface SnapshotPage {
  /** Keys of wire/config-snapshot.ts, or records: varint seq, u8 1 = compaction must keep it, bytes as stored. */
  readonly payload: Uint8Array;
  readonly count: number;
  /** Where the next page goes on; null = that was the last. */
  readonly next: { readonly key: BinaryKey; readonly seq: number } | null;
}

interface Reading {
  readonly revision: number;
  readonly lastSeq: number;
  touchedMs: number;
}

/** Records whose lengths are looked at before some are read. */
const READ_ROWS = 500;

export interface SnapshotSourceOptions {
  readonly store: ConfigStore;
  readonly keyspace: Keyspace;
  readonly leases: Leases;
  readonly now: () => number;
}

export class SnapshotSource {
  readonly #options: SnapshotSourceOptions;
  readonly #readings = new Map<number, Reading>();
  #nextId = 1;

  constructor(options: SnapshotSourceOptions) {
    this.#options = options;
  }

  /** True while something is read: rows that are compacted must stay. */
  get isReading(): boolean {
    const oldest = this.#options.now() - SNAPSHOT_IDLE_MS;
    for (const [id, { touchedMs }] of this.#readings) if (touchedMs < oldest) this.#readings.delete(id);
    return this.#readings.size > 0;
  }

  /** `revision`: 0 = the present. Throws CorruptRecord. */
  begin(revision = 0): SnapshotBegin {
    const { store, keyspace, leases, now } = this.#options;
    const state = keyspace.stateOf(revision) || keyspace.revision;
    if (this.isReading && this.#readings.size >= MAX_SNAPSHOT_READS)
      throw new ConfigRefusal("overloaded", `${MAX_SNAPSHOT_READS} snapshots are being read, which is the limit`);
    const { term, compactedRevision, lastSeq } = keyspace;
    const begin = { revision: state, term, compactedRevision, leases: leases.remaining(now()) };
    const isEmpty = store.copyPage("", state, 1).versions.length === 0;
    const id = this.#nextId++;
    this.#readings.set(id, { revision: state, lastSeq, touchedMs: now() });
    return { id, isEmpty, ...begin };
  }

  /** The living keys behind `after` ("" = from the first). Throws CorruptRecord for a damaged one. */
  keys(id: number, after: BinaryKey): SnapshotPage {
    const { store } = this.#options;
    const { revision } = this.#reading(id);
    const { versions, isLast } = store.copyPage(after, revision, SNAPSHOT_BLOCK_BYTES);
    const writer = new ByteWriter(SNAPSHOT_BLOCK_BYTES);
    for (const version of versions) writeSnapshotKey(writer, store.valueOf(version));
    const last = versions.at(-1);
    return { payload: writer.take(), count: versions.length, next: last && !isLast ? { key: last.key, seq: 0 } : null };
  }

  /** The log's records behind `after`, those that compaction left. */
  records(id: number, after: number): SnapshotPage {
    const { store } = this.#options;
    const { lastSeq, revision } = this.#reading(id);
    const writer = new ByteWriter(SNAPSHOT_BLOCK_BYTES);
    let seq = after;
    let count = 0;
    while (seq < lastSeq && writer.length < SNAPSHOT_BLOCK_BYTES) {
      const rows = store.recordsWithin(seq + 1, READ_ROWS, SNAPSHOT_BLOCK_BYTES - writer.length);
      const records = store.rawLog(seq + 1, rows).filter((record) => record.seq <= lastSeq);
      for (const record of records) {
        writer.varint(record.seq);
        writer.u8(this.#isKept(record, revision) ? 1 : 0);
        writer.bytes(record.bytes);
        seq = record.seq;
        count++;
      }
      if (records.length < rows || rows === 0) seq = lastSeq;
    }
    return { payload: writer.take(), count, next: seq < lastSeq ? { key: "", seq } : null };
  }

  /** What is newer than the compacted revision stays anyhow; of the rest what lives at `revision`. */
  #isKept({ seq, bytes, revision: written }: ShippedRecord, revision: number): boolean {
    const { store, keyspace } = this.#options;
    if (written > keyspace.compactedRevision) return true;
    return store.find(decodeRecord(crc32c, bytes).key, revision)?.seq === seq;
  }

  end(id: number): void {
    this.#readings.delete(id);
  }

  #reading(id: number): Reading {
    const reading = this.#readings.get(id);
    // After a restart, too: compaction may have gone on.
    if (!reading) throw new ConfigRefusal("unavailable", "the snapshot was given up; begin anew");
    reading.touchedMs = this.#options.now();
    return reading;
  }
}

/** The records of a page. Throws CorruptRecord. */
export function* readRecords(payload: Uint8Array): Generator<{ readonly isKept: boolean; readonly record: LogRecord }> {
  const reader = new ByteReader(payload);
  while (!reader.done) {
    reader.varint();
    yield { isKept: reader.u8() === 1, record: decodeRecord(crc32c, reader.bytes()) };
  }
}
