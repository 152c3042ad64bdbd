// Bytes between a shard's leader and its followers: where a follower is, what it is given next, the list of segments, blobs.
// Guarantees: round trip; anything else throws MalformedBytes. Must not: judge.
import { ByteReader, ByteWriter, MalformedBytes } from "../../wire/bytes.ts";
import { type Place, type Shipment, shipmentFrom, writeShipment } from "../../wire/shipment.ts";

/** How far a copy is: the last commit it has, and which list of segments. */
export interface CopyPlace extends Place {
  /** Highest term of the leader that it has seen, and the start of which it was: a leader that was restored counts terms anew. */
  readonly term: number;
  readonly start: number;
  /** Of that term; 0 = none of it. */
  readonly manifestVersion: number;
}

export interface CopyShipment {
  /** The place that was asked for: an answer to another one is of no use. */
  readonly from: Place;
  /** Chain value of the last record that is given. */
  readonly chain: number;
  readonly manifestVersion: number;
  /** Random number of the leader's start. */
  readonly start: number;
  /** The leader knows that this copy has commits which it never had. */
  readonly isDiverged: boolean;
  readonly shipment: Shipment;
}

export interface ShippedSegment {
  readonly number: number;
  /** As stored, with its CRC32C. */
  readonly directory: Uint8Array;
  /** Words of the bitmap of deleted rows, little endian. */
  readonly deleted: Uint8Array;
}

/** A leader's sealed segments at one moment. */
export interface ShippedManifest {
  readonly term: number;
  readonly start: number;
  readonly version: number;
  /** The last commit that the segments cover. */
  readonly revision: number;
  readonly chain: number;
  /** The commit as of which rows are marked as deleted: before it a copy lacks rows. */
  readonly asOf: number;
  readonly segments: readonly ShippedSegment[];
}

export function writeCopyShipment({ from, isDiverged, shipment, ...fields }: CopyShipment): Uint8Array {
  const writer = new ByteWriter(64 * 1024);
  const { chain, manifestVersion, start } = fields;
  for (const field of [from.seq, from.chain, chain, manifestVersion, start]) writer.varint(field);
  writer.u8(isDiverged ? 1 : 0);
  writeShipment(writer, shipment);
  return writer.take();
}

export function readCopyShipment(bytes: Uint8Array): CopyShipment {
  const reader = new ByteReader(bytes);
  const from = { seq: reader.varint(), chain: reader.varint() };
  const [chain, manifestVersion, start] = [reader.varint(), reader.varint(), reader.varint()];
  const isDiverged = reader.u8() === 1;
  return { from, chain, manifestVersion, start, isDiverged, shipment: ended(reader, shipmentFrom(reader)) };
}

export function writeShippedManifest({ segments, ...manifest }: ShippedManifest): Uint8Array {
  const writer = new ByteWriter(64 * 1024);
  const { term, start, version, revision, chain, asOf } = manifest;
  for (const field of [term, start, version, revision, chain, asOf, segments.length]) writer.varint(field);
  for (const { number, directory, deleted } of segments) {
    writer.varint(number);
    writer.bytes(directory);
    writer.bytes(deleted);
  }
  return writer.take();
}

export function readShippedManifest(bytes: Uint8Array): ShippedManifest {
  const reader = new ByteReader(bytes);
  const [term, start, version, revision] = [reader.varint(), reader.varint(), reader.varint(), reader.varint()];
  const [chain, asOf] = [reader.varint(), reader.varint()];
  const segments: ShippedSegment[] = [];
  for (let left = reader.varint(); left > 0; left--)
    segments.push({ number: reader.varint(), directory: reader.bytes().slice(), deleted: reader.bytes().slice() });
  return ended(reader, { term, start, version, revision, chain, asOf, segments });
}

/** Blobs in the order that was asked for; undefined = it is not there. */
export function writeBlobs(blobs: readonly (Uint8Array | undefined)[]): Uint8Array {
  const writer = new ByteWriter(64 * 1024);
  writer.varint(blobs.length);
  for (const bytes of blobs) {
    writer.u8(bytes ? 1 : 0);
    if (bytes) writer.bytes(bytes);
  }
  return writer.take();
}

export function readBlobs(bytes: Uint8Array): readonly (Uint8Array | undefined)[] {
  const reader = new ByteReader(bytes);
  const blobs: (Uint8Array | undefined)[] = [];
  for (let left = reader.varint(); left > 0; left--) blobs.push(reader.u8() === 1 ? reader.bytes().slice() : undefined);
  return ended(reader, blobs);
}

function ended<T>(reader: ByteReader, value: T): T {
  if (!reader.done) throw new MalformedBytes("bytes after a frame of a vector copy");
  return value;
}
