// A row as it comes in, is logged, and is written to a segment.
import { ByteReader, ByteWriter } from "../../wire/bytes.ts";

/** One live version of a vector. */
export interface VectorRow {
  readonly id: string;
  /** float32, little endian, `dimension` of them: exactly as they came. */
  readonly values: Uint8Array;
  /** JSON text of an object, exactly as it came; empty = none. */
  readonly metadata: Uint8Array;
  readonly stamp: RowStamp;
}

export interface RowStamp {
  /** The shard's revision of the commit that wrote this version. */
  readonly revision: number;
  /** Versions of this id since it was created, from 1. */
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  readonly updatedMs: number;
}

/** The column `ids`: the id with its stamp. */
export function writeIdRow(id: string, stamp: RowStamp): Uint8Array {
  const writer = new ByteWriter(64);
  writer.varint(stamp.revision);
  writer.varint(stamp.version);
  writer.varint(stamp.createdMs);
  writer.varint(stamp.updatedMs);
  writer.string(id);
  return writer.take();
}

/** @throws MalformedBytes */
export function readIdRow(bytes: Uint8Array): { readonly id: string; readonly stamp: RowStamp } {
  const reader = new ByteReader(bytes);
  const revision = reader.varint();
  const version = reader.varint();
  const createdMs = reader.varint();
  const updatedMs = reader.varint();
  return { id: reader.string(), stamp: { revision, version, createdMs, updatedMs } };
}
