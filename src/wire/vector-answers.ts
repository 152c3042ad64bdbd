// Bytes of a shard's answers. Guarantees: round trip; anything else throws MalformedBytes. Values and metadata are views.
import { ByteReader, type ByteWriter, MalformedBytes, written } from "./bytes.ts";
import type {
  ShardPlace,
  VectorAnswer,
  VectorFailure,
  VectorHit,
  VectorShown,
  VectorStamp,
  WrittenAnswer,
} from "./vector.ts";
import { list, optional, writeOptional } from "./vector-requests.ts";

const KIND = { error: 0, written: 1, rows: 2, count: 3, found: 4, status: 5, within: 6 } as const;
const RESULT = { stamp: 0, failure: 1, nothing: 2 } as const;

export function writeVectorAnswer(answer: VectorAnswer): Uint8Array {
  return written((writer) => writeAnswer(writer, answer));
}

function writeAnswer(writer: ByteWriter, answer: VectorAnswer): void {
  writer.u8(KIND[answer.kind]);
  if (answer.kind === "error") return writeFailure(writer, answer);
  writer.varint(answer.term);
  writer.varint(answer.revision);
  switch (answer.kind) {
    case "written":
      writer.u8(answer.more ? 1 : 0);
      writer.varint(answer.results.length);
      for (const result of answer.results) writeResult(writer, result);
      break;
    case "rows":
      writer.bytes(answer.cursor);
      writer.varint(answer.rows.length);
      for (const row of answer.rows) writeOptional(writer, row ?? undefined, (shown) => writeShownRow(writer, shown));
      break;
    case "count":
      writer.varint(answer.count);
      break;
    case "found":
      writer.varint(answer.scanned);
      writer.varint(answer.cached);
      writer.string(answer.explain);
      writer.varint(answer.results.length);
      for (const hits of answer.results) writeHits(writer, hits);
      break;
    case "within":
      writer.u8(answer.more ? 1 : 0);
      writer.varint(answer.total);
      writer.varint(answer.scanned);
      writeHits(writer, answer.rows);
      break;
    case "status":
      writer.string(answer.status);
      break;
    default:
      answer satisfies never;
  }
}

export function readVectorAnswer(bytes: Uint8Array): VectorAnswer {
  const reader = new ByteReader(bytes);
  const answer = readAnswer(reader, reader.u8());
  if (!reader.done) throw new MalformedBytes("bytes after a vector answer");
  return answer;
}

function readAnswer(reader: ByteReader, kind: number): VectorAnswer {
  if (kind === KIND.error) return readFailure(reader);
  const place: ShardPlace = { term: reader.varint(), revision: reader.varint() };
  switch (kind) {
    case KIND.written: {
      const more = reader.u8() === 1;
      return { kind: "written", ...place, more, results: list(reader, () => readResult(reader)) };
    }
    case KIND.rows: {
      const cursor = reader.bytes();
      const rows = list(reader, () => optional(reader, () => readShownRow(reader)) ?? null);
      return { kind: "rows", ...place, rows, cursor };
    }
    case KIND.count:
      return { kind: "count", ...place, count: reader.varint() };
    case KIND.found: {
      const [scanned, cached] = [reader.varint(), reader.varint()];
      const explain = reader.string();
      return {
        kind: "found",
        ...place,
        scanned,
        cached,
        explain,
        results: list(reader, () => list(reader, () => readHit(reader))),
      };
    }
    case KIND.within: {
      const more = reader.u8() === 1;
      const [total, scanned] = [reader.varint(), reader.varint()];
      return { kind: "within", ...place, more, total, scanned, rows: list(reader, () => readHit(reader)) };
    }
    case KIND.status:
      return { kind: "status", ...place, status: reader.string() };
    default:
      throw new MalformedBytes(`vector answer ${kind}`);
  }
}

function writeHits(writer: ByteWriter, hits: readonly VectorHit[]): void {
  writer.varint(hits.length);
  for (const hit of hits) {
    writer.f64(hit.score);
    writeShownRow(writer, hit);
  }
}

function readHit(reader: ByteReader): VectorHit {
  const score = reader.f64();
  return { score, ...readShownRow(reader) };
}

function writeShownRow(writer: ByteWriter, { id, stamp, values, metadata }: VectorShown): void {
  writer.string(id);
  writeStamp(writer, stamp);
  writeOptional(writer, values, (bytes) => writer.bytes(bytes));
  writeOptional(writer, metadata, (bytes) => writer.bytes(bytes));
}

function readShownRow(reader: ByteReader): VectorShown {
  const id = reader.string();
  const stamp = readStamp(reader);
  const values = optional(reader, () => reader.bytes());
  const metadata = optional(reader, () => reader.bytes());
  return { id, stamp, ...(values && { values }), ...(metadata && { metadata }) };
}

function writeStamp(writer: ByteWriter, { revision, version, createdMs, updatedMs }: VectorStamp): void {
  for (const number of [revision, version, createdMs, updatedMs]) writer.varint(number);
}

function readStamp(reader: ByteReader): VectorStamp {
  return {
    revision: reader.varint(),
    version: reader.varint(),
    createdMs: reader.varint(),
    updatedMs: reader.varint(),
  };
}

function writeResult(writer: ByteWriter, result: WrittenAnswer["results"][number]): void {
  if (result === null) return writer.u8(RESULT.nothing);
  if ("kind" in result) {
    writer.u8(RESULT.failure);
    return writeFailure(writer, result);
  }
  writer.u8(RESULT.stamp);
  writeStamp(writer, result);
}

function readResult(reader: ByteReader): WrittenAnswer["results"][number] {
  const kind = reader.u8();
  if (kind === RESULT.nothing) return null;
  if (kind === RESULT.failure) return readFailure(reader);
  if (kind !== RESULT.stamp) throw new MalformedBytes(`result ${kind}`);
  return readStamp(reader);
}

function writeFailure(writer: ByteWriter, { code, message, details }: VectorFailure): void {
  writer.string(code);
  writer.string(message);
  writer.string(details ? JSON.stringify(details) : "");
}

function readFailure(reader: ByteReader): VectorFailure {
  const code = reader.string();
  const message = reader.string();
  const details = reader.string();
  return { kind: "error", code, message, ...(details !== "" && { details: parsedDetails(details) }) };
}

function parsedDetails(text: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(text);
  } catch {
    // SyntaxError: the writer wrote JSON, so these bytes are not its.
    throw new MalformedBytes("details of a vector failure");
  }
}
