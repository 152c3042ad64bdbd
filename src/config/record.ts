// One record of a keyspace's log: one change of one key, as it is stored, shipped to followers and watched.
// Guarantees: a record whose bytes changed is refused (CRC32C); each names its predecessor's chain value, so that two logs that
// parted are told apart. Must not: know where records are stored.
//
// record = u32 crc of the rest, u32 chain, u8 type, varint term, varint revision, varint ended mod, varint ended seq, key,
//          and of a put: varint create, varint version, lease, value
import { ByteReader, ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import type { BinaryKey, KeyValue, LeaseId } from "../wire/config.ts";

export type Crc32c = (bytes: Uint8Array, seed?: number) => number;

export interface LogRecord {
  /** Of all records up to this one. */
  readonly chain: number;
  readonly type: "put" | "delete";
  readonly term: number;
  readonly revision: number;
  /** modRevision and sequence number of the version that this change ended; 0 = there was none. */
  readonly endedMod: number;
  readonly endedSeq: number;
  readonly key: BinaryKey;
  /** Put: as in {@link KeyValue}. Delete: 0, "" and empty. */
  readonly createRevision: number;
  readonly version: number;
  readonly lease: LeaseId;
  readonly value: Uint8Array;
}

const TYPE = { put: 1, delete: 2 } as const;
const CRC_BYTES = 4;
const NO_VALUE = new Uint8Array(0);
const writer = new ByteWriter(4096);
const link = new ByteWriter(8);

/** What can be restored from elsewhere: a record of the log, or a row of the index (modRevision 0 = of the living versions). */
export type DamagedPlace =
  | { readonly kind: "record"; readonly seq: number }
  | { readonly kind: "version"; readonly key: BinaryKey; readonly modRevision: number };

/** Thrown where stored bytes are not what was written. */
export class CorruptRecord extends Error {
  override readonly name = "CorruptRecord";
  readonly place: DamagedPlace | undefined;

  constructor(message: string, place?: DamagedPlace) {
    super(message);
    this.place = place;
  }
}

/** The record's bytes and its chain value. `previousChain`: of the record before. */
export function encodeRecord(
  crc32c: Crc32c,
  previousChain: number,
  record: Omit<LogRecord, "chain">,
): { readonly bytes: Uint8Array; readonly chain: number } {
  writer.reset();
  writer.u32(0);
  writer.u32(0);
  writer.u8(TYPE[record.type]);
  writer.varint(record.term);
  writer.varint(record.revision);
  writer.varint(record.endedMod);
  writer.varint(record.endedSeq);
  writer.binary(record.key);
  if (record.type === "put") {
    writer.varint(record.createRevision);
    writer.varint(record.version);
    writer.string(record.lease);
    writer.bytes(record.value);
  }
  const chain = chainOf(crc32c, previousChain, writer.view().subarray(2 * CRC_BYTES));
  writer.u32At(CRC_BYTES, chain);
  writer.u32At(0, crc32c(writer.view().subarray(CRC_BYTES)));
  return { bytes: writer.take(), chain };
}

function chainOf(crc32c: Crc32c, previousChain: number, body: Uint8Array): number {
  link.reset();
  link.u32(previousChain);
  return crc32c(body, crc32c(link.view()));
}

/** The chain value that a stored record must have when it follows one with `previousChain`. */
export function chainOfRecord(crc32c: Crc32c, previousChain: number, bytes: Uint8Array): number {
  return chainOf(crc32c, previousChain, bytes.subarray(2 * CRC_BYTES));
}

/** Throws {@link CorruptRecord}. The value is a view into `bytes`. `seq`: where it is stored. */
export function decodeRecord(crc32c: Crc32c, bytes: Uint8Array, seq = 0): LogRecord {
  try {
    const reader = new ByteReader(bytes);
    if (reader.u32() !== crc32c(bytes.subarray(CRC_BYTES)))
      throw new CorruptRecord("a record fails its checksum", placeOf(seq));
    const chain = reader.u32();
    const type = reader.u8() === TYPE.put ? "put" : "delete";
    const term = reader.varint();
    const revision = reader.varint();
    const endedMod = reader.varint();
    const endedSeq = reader.varint();
    const key = reader.binary();
    const head = { chain, type, term, revision, endedMod, endedSeq, key } as const;
    if (type === "delete") return { ...head, createRevision: 0, version: 0, lease: "", value: NO_VALUE };
    const createRevision = reader.varint();
    const version = reader.varint();
    const lease = reader.string();
    return { ...head, createRevision, version, lease, value: reader.bytes() };
  } catch (error) {
    if (error instanceof MalformedBytes) throw new CorruptRecord(`a record is cut off: ${error.message}`, placeOf(seq));
    throw error;
  }
}

function placeOf(seq: number): DamagedPlace | undefined {
  return seq > 0 ? { kind: "record", seq } : undefined;
}

export function keyValueOf(record: LogRecord): KeyValue {
  const { key, createRevision, revision, version, lease, value } = record;
  return { key, createRevision, modRevision: revision, version, lease, value };
}
