// The owner's side of log shipping: what a follower that is at some place of the log must be given next.
// Guarantees: a follower's records are a beginning of this log, or it is told to start over (another term's log, a restore, compaction);
// bounded pages. Must not: know followers; each names its place with every request.
import type { Head, Place, Shipment, ShippedRecord } from "./shipment.ts";

/** A log as it can be shipped. A record's chain value stands for it and all before it. */
export interface ShippedLog {
  readonly head: Head;
  /** Of the last record, `head.seq`. */
  readonly chain: number;
  /** Of a record that is held; undefined = it is not. */
  chainAt(seq: number): number | undefined;
  /** Some records from `seq` on, of about so many bytes; none = the log ends. Compaction may have taken some out. */
  recordsFrom(seq: number, roomBytes: number): readonly ShippedRecord[];
}

export interface ChainedRecord extends ShippedRecord {
  readonly chain: number;
}

export interface ShippingBounds {
  /** Newest records that are held in memory. */
  readonly tailBytes: number;
  /** A page ends with the revision that passes this. */
  readonly pageBytes: number;
}

export class LogShipping {
  readonly #log: ShippedLog;
  readonly #bounds: ShippingBounds;
  /** The newest records, in order without a gap: followers that keep up cost no SQL. */
  #tail: ChainedRecord[] = [];
  /** The oldest that counts; those before it go when they are half. */
  #first = 0;
  #tailBytes = 0;
  #waiting = new Set<() => void>();

  constructor(log: ShippedLog, bounds: ShippingBounds) {
    this.#log = log;
    this.#bounds = bounds;
  }

  get head(): Head {
    return this.#log.head;
  }

  /** Every record of the log passes here, in the turn that made it; then {@link wake}. */
  add(record: ChainedRecord): void {
    this.#tail.push(record);
    this.#tailBytes += record.bytes.length;
    while (this.#tailBytes > this.#bounds.tailBytes) this.#tailBytes -= this.#tail[this.#first++]!.bytes.length;
    if (this.#first * 2 <= this.#tail.length) return;
    this.#tail = this.#tail.slice(this.#first);
    this.#first = 0;
  }

  /** There is something new to be told. */
  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const wake of waiting) wake();
  }

  /** Calls back once, at the next change. The result takes that back. */
  atNextChange(wake: () => void): () => void {
    this.#waiting.add(wake);
    return () => this.#waiting.delete(wake);
  }

  next(place: Place): Shipment {
    const { head } = this;
    if (!this.isOfThisLog(place)) return { kind: "startOver", head };
    const records = this.#fromTail(place.seq) ?? this.#fromStore(place.seq);
    return records ? { kind: "records", head, records } : { kind: "startOver", head };
  }

  /** A record that was compacted away cannot be compared, nor could what follows it be without a gap. */
  isOfThisLog({ seq, chain }: Place): boolean {
    const log = this.#log;
    if (seq > log.head.seq) return false;
    if (seq === 0) return true;
    if (seq === log.head.seq) return chain === log.chain;
    const held = this.#heldFrom(seq);
    if (held !== undefined && this.#tail[held]) return this.#tail[held].chain === chain;
    return log.chainAt(seq) === chain;
  }

  #fromTail(seq: number): readonly ShippedRecord[] | undefined {
    if (seq === this.#log.head.seq) return [];
    const from = this.#heldFrom(seq + 1);
    return from === undefined ? undefined : this.#page(this.#tail.slice(from));
  }

  /** Where the record `seq` stands in the tail, or would; undefined = it is older. */
  #heldFrom(seq: number): number | undefined {
    const oldest = this.#tail[this.#first]?.seq;
    return oldest === undefined || seq < oldest ? undefined : this.#first + seq - oldest;
  }

  /** Undefined where compaction has taken records out. */
  #fromStore(seq: number): readonly ShippedRecord[] | undefined {
    const { pageBytes } = this.#bounds;
    const records: ShippedRecord[] = [];
    let bytes = 0;
    for (;;) {
      const from = seq + 1 + records.length;
      // Values may be 1 MiB each: only as many as a page takes, or a page more where a revision is longer.
      const more = this.#log.recordsFrom(from, bytes < pageBytes ? pageBytes - bytes : pageBytes);
      for (const record of more) {
        if (record.seq !== seq + 1 + records.length) return undefined;
        records.push(record);
        bytes += record.bytes.length;
      }
      if (records.length === 0) return undefined;
      // At its end the log's last revision is whole; before that one is where the next one begins.
      const whole = this.#page(records);
      if (more.length === 0 || whole.length < records.length) return whole;
    }
  }

  /** Whole revisions only: a follower that had part of one would show it. The last one is whole when the log ends with it. */
  #page(records: readonly ShippedRecord[]): readonly ShippedRecord[] {
    let bytes = 0;
    for (const [index, record] of records.entries()) {
      bytes += record.bytes.length;
      const isEnd = index + 1 < records.length && records[index + 1]!.revision > record.revision;
      if (bytes > this.#bounds.pageBytes && isEnd) return records.slice(0, index + 1);
    }
    return records;
  }
}
