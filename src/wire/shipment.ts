// What an owner ships to the copies of its log, for every kind of log: types and bytes.
// Guarantees: round trip; anything else throws MalformedBytes. Must not: know what a record holds.
import { ByteReader, type ByteWriter, MalformedBytes } from "./bytes.ts";

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
  /** As stored. */
  readonly bytes: Uint8Array;
}

const KIND = { records: 1, startOver: 2 } as const;

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
  return shipmentFrom(new ByteReader(frame));
}

export function shipmentFrom(reader: ByteReader): Shipment {
  const kind = reader.u8();
  const head = { term: reader.varint(), revision: reader.varint(), seq: reader.varint(), compacted: reader.varint() };
  if (kind === KIND.startOver) return { kind: "startOver", head };
  if (kind !== KIND.records) throw new MalformedBytes(`unknown shipment ${kind}`);
  const records: ShippedRecord[] = [];
  for (let count = reader.varint(); count > 0; count--)
    records.push({ seq: reader.varint(), revision: reader.varint(), bytes: reader.bytes() });
  return { kind: "records", head, records };
}
