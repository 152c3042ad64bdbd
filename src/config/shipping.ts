// The owner's side of log shipping: what a follower that is at some place of the log must be given next.
// Guarantees: a follower's records are a beginning of this log, or it is told to start over (another term's log, a restore, compaction);
// bounded pages. Must not: know followers; each names its place with every request.
import { ByteReader, type ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import type { Change, Keyspace } from "./keyspace.ts";
import { SHIPPED_PAGE_BYTES, SHIPPED_TAIL_BYTES } from "./limits.ts";
import type { ConfigStore } from "./store.ts";

/** How far a follower is: the last record it has. All 0 = it has nothing. */
export interface Place {
  readonly seq: number;
  readonly chain: number;
}

/** Of the owner when it answers. */
export interface Head {
  readonly term: number;
  readonly revision: number;
  readonly seq: number;
  readonly compacted: number;
}

export type Shipment =
  /** `records` follow the place without a gap; none = there is nothing new. */
  | { readonly kind: "records"; readonly head: Head; readonly records: readonly ShippedRecord[] }
  /** The place is not of this log, or what follows it is compacted: load a copy of the present state. */
  | { readonly kind: "startOver"; readonly head: Head };

export interface ShippedRecord {
  readonly seq: number;
  readonly revision: number;
  /** As stored (record.ts). */
  readonly bytes: Uint8Array;
}

const KIND = { records: 1, startOver: 2 } as const;

export class Shipping {
  readonly #store: ConfigStore;
  readonly #keyspace: Keyspace;
  /** The newest records, in order without a gap: followers that keep up cost no SQL. */
  #tail: (ShippedRecord & { readonly chain: number })[] = [];
  /** The oldest that counts; those before it go when they are half. */
  #first = 0;
  #tailBytes = 0;
  #waiting = new Set<() => void>();

  constructor(store: ConfigStore, keyspace: Keyspace) {
    this.#store = store;
    this.#keyspace = keyspace;
  }

  get head(): Head {
    const { term, revision, lastSeq: seq, compactedRevision: compacted } = this.#keyspace;
    return { term, revision, seq, compacted };
  }

  /** Every change of the keyspace passes here, in the turn that made it. */
  onChange(changes: readonly Change[]): void {
    for (const { seq, bytes, record } of changes) {
      this.#tail.push({ seq, revision: record.revision, bytes, chain: record.chain });
      this.#tailBytes += bytes.length;
    }
    while (this.#tailBytes > SHIPPED_TAIL_BYTES) this.#tailBytes -= this.#tail[this.#first++]!.bytes.length;
    if (this.#first * 2 > this.#tail.length) {
      this.#tail = this.#tail.slice(this.#first);
      this.#first = 0;
    }
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
    if (!this.#isOfThisLog(place)) return { kind: "startOver", head };
    const records = this.#fromTail(place.seq) ?? this.#fromStore(place.seq);
    return records ? { kind: "records", head, records } : { kind: "startOver", head };
  }

  #isOfThisLog({ seq, chain }: Place): boolean {
    if (seq > this.#keyspace.lastSeq) return false;
    if (seq === 0) return true;
    if (seq === this.#keyspace.lastSeq) return chain === this.#keyspace.chain;
    const held = this.#heldFrom(seq);
    if (held !== undefined && this.#tail[held]) return this.#tail[held].chain === chain;
    // A record that was compacted away cannot be compared, nor could what follows it be without a gap.
    return this.#store.record(seq)?.chain === chain;
  }

  #fromTail(seq: number): readonly ShippedRecord[] | undefined {
    if (seq === this.#keyspace.lastSeq) return [];
    const from = this.#heldFrom(seq + 1);
    return from === undefined ? undefined : page(this.#tail.slice(from));
  }

  /** Where the record `seq` stands in the tail, or would; undefined = it is older. */
  #heldFrom(seq: number): number | undefined {
    const oldest = this.#tail[this.#first]?.seq;
    return oldest === undefined || seq < oldest ? undefined : this.#first + seq - oldest;
  }

  /** Undefined where compaction has taken records out. */
  #fromStore(seq: number): readonly ShippedRecord[] | undefined {
    const records: ShippedRecord[] = [];
    let bytes = 0;
    for (;;) {
      const from = seq + 1 + records.length;
      // Values may be 1 MiB each: only as many as a page takes, or a page more where a revision is longer.
      const room = bytes < SHIPPED_PAGE_BYTES ? SHIPPED_PAGE_BYTES - bytes : SHIPPED_PAGE_BYTES;
      const rows = this.#store.recordsWithin(from, MAX_ROWS, room);
      for (const record of this.#store.rawLog(from, rows)) {
        if (record.seq !== seq + 1 + records.length) return undefined;
        records.push(record);
        bytes += record.bytes.length;
      }
      // At its end the log's last revision is whole; before that one is where the next one begins.
      const whole = page(records);
      if (rows === 0 || whole.length < records.length) return whole;
    }
  }
}

/** Rows read at once. */
const MAX_ROWS = 500;

/** Whole revisions only: a follower that had part of one would show it. The last one is whole when the log ends with it. */
function page(records: readonly ShippedRecord[]): readonly ShippedRecord[] {
  let bytes = 0;
  for (const [index, record] of records.entries()) {
    bytes += record.bytes.length;
    if (bytes > SHIPPED_PAGE_BYTES && index + 1 < records.length && records[index + 1]!.revision > record.revision)
      return records.slice(0, index + 1);
  }
  return records;
}

export function writeShipment(writer: ByteWriter, { kind, head, ...rest }: Shipment): void {
  writer.u8(KIND[kind]);
  for (const field of [head.term, head.revision, head.seq, head.compacted]) writer.varint(field);
  if (!("records" in rest)) return;
  writer.varint(rest.records.length);
  for (const { seq, revision, bytes } of rest.records) {
    writer.varint(seq);
    writer.varint(revision);
    writer.bytes(bytes);
  }
}

export function readShipment(frame: Uint8Array): Shipment {
  const reader = new ByteReader(frame);
  const kind = reader.u8();
  const head = { term: reader.varint(), revision: reader.varint(), seq: reader.varint(), compacted: reader.varint() };
  if (kind === KIND.startOver) return { kind: "startOver", head };
  if (kind !== KIND.records) throw new MalformedBytes(`unknown shipment ${kind}`);
  const records: ShippedRecord[] = [];
  for (let count = reader.varint(); count > 0; count--)
    records.push({ seq: reader.varint(), revision: reader.varint(), bytes: reader.bytes() });
  return { kind: "records", head, records };
}
