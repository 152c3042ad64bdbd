// Commits as the log holds them: whole rows and deletions, so that a replay needs no decision.
import { type ByteReader, type ByteWriter, MalformedBytes } from "../../wire/bytes.ts";
import type { VectorRow } from "../segment/row.ts";

export type LogChange =
  | { readonly kind: "put"; readonly row: VectorRow }
  | { readonly kind: "delete"; readonly id: string };

export interface LogCommit {
  readonly revision: number;
  readonly changes: readonly LogChange[];
}

const PUT = 1;
const DELETE = 2;

export function writeCommit(writer: ByteWriter, { revision, changes }: LogCommit): void {
  writer.varint(revision);
  writer.varint(changes.length);
  for (const change of changes) {
    if (change.kind === "delete") {
      writer.u8(DELETE);
      writer.string(change.id);
      continue;
    }
    const { id, values, metadata, stamp } = change.row;
    writer.u8(PUT);
    writer.string(id);
    writer.varint(stamp.version);
    writer.varint(stamp.createdMs);
    writer.varint(stamp.updatedMs);
    writer.bytes(metadata);
    writer.bytes(values);
  }
}

/** @throws MalformedBytes */
export function readCommit(reader: ByteReader): LogCommit {
  const revision = reader.varint();
  const changes: LogChange[] = [];
  for (let left = reader.varint(); left > 0; left--) changes.push(readChange(reader, revision));
  return { revision, changes };
}

function readChange(reader: ByteReader, revision: number): LogChange {
  const kind = reader.u8();
  const id = reader.string();
  if (kind === DELETE) return { kind: "delete", id };
  if (kind !== PUT) throw new MalformedBytes(`change ${kind} of a vector log`);
  const stamp = { revision, version: reader.varint(), createdMs: reader.varint(), updatedMs: reader.varint() };
  // Own copies: rows outlive the log's bytes.
  const metadata = reader.bytes().slice();
  return { kind: "put", row: { id, stamp, metadata, values: reader.bytes().slice() } };
}
