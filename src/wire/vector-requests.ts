// Bytes of requests to a shard of a vector database.
// Guarantees: round trip; anything else throws MalformedBytes. Values and metadata are views into the read buffer, not copies.
// Must not: judge (limits and meaning are the shard's).
//
// Call: u8 flags (1: write id, 2: placed, 4: topology, 8 and 16: the scope from 1), [write id 16, body hash 8], u8 kind, [varint topology], …
import { ByteReader, type ByteWriter, MalformedBytes, written } from "./bytes.ts";
import { BODY_HASH_BYTES, WRITE_ID_BYTES } from "./session.ts";
import {
  CALLER_SCOPES,
  DURABILITIES,
  type Durability,
  type Shown,
  type VectorCall,
  type VectorInput,
  type VectorRequest,
} from "./vector.ts";

const KIND = {
  upsert: 1,
  update: 2,
  delete: 3,
  deleteWhere: 4,
  get: 5,
  list: 6,
  count: 7,
  search: 8,
  status: 9,
  within: 10,
  importStage: 11,
  importStart: 12,
  importCancel: 13,
  imports: 14,
} as const;

const HAS_WRITE_ID = 1;
const IS_PLACED = 2;
const HAS_TOPOLOGY = 4;
/** In the flags, so that shards of before there were scopes understand the rest. */
const SCOPE_SHIFT = 3;
const SCOPE_MASK = 3;
/** Flags of an upsert. */
const IS_ATOMIC = 1;
const HAS_EARLIER = 2;

export function writeVectorCall({ writeId, bodyHash, isPlaced, topology, scope, request }: VectorCall): Uint8Array {
  return written((writer) => {
    const scopeCode = scope === undefined ? 0 : CALLER_SCOPES.indexOf(scope) + 1;
    const flags = (writeId ? HAS_WRITE_ID : 0) | (isPlaced ? IS_PLACED : 0) | (topology ? HAS_TOPOLOGY : 0);
    writer.u8(flags | (scopeCode << SCOPE_SHIFT));
    if (writeId) {
      writer.raw(writeId);
      writer.raw(bodyHash ?? new Uint8Array(BODY_HASH_BYTES));
    }
    writer.u8(KIND[request.kind]);
    if (topology) writer.varint(topology);
    writeRequest(writer, request);
  });
}

export function readVectorCall(bytes: Uint8Array): VectorCall {
  const reader = new ByteReader(bytes);
  const flags = reader.u8();
  const identity =
    (flags & HAS_WRITE_ID) !== 0 ? { writeId: reader.raw(WRITE_ID_BYTES), bodyHash: reader.raw(BODY_HASH_BYTES) } : {};
  const kind = reader.u8();
  const topology = (flags & HAS_TOPOLOGY) === 0 ? {} : { topology: reader.varint() };
  const request = readRequest(reader, kind);
  if (!reader.done) throw new MalformedBytes("bytes after a vector request");
  const scope = CALLER_SCOPES[((flags >> SCOPE_SHIFT) & SCOPE_MASK) - 1];
  return {
    ...identity,
    ...((flags & IS_PLACED) !== 0 && { isPlaced: true }),
    ...topology,
    ...(scope && { scope }),
    request,
  };
}

const SHORT: ReadonlySet<number> = new Set([KIND.upsert, KIND.update, KIND.delete, KIND.get, KIND.search]);

/** Bytes of a call that is done in one go: one that counts, lists, scans or deletes by a filter may take its time. */
export function isShortVectorCall(bytes: Uint8Array): boolean {
  const at = ((bytes[0] ?? 0) & HAS_WRITE_ID) === 0 ? 1 : 1 + WRITE_ID_BYTES + BODY_HASH_BYTES;
  return SHORT.has(bytes[at] ?? 0);
}

const SHORT_READS: ReadonlySet<number> = new Set([KIND.get, KIND.search]);

/** Bytes of such a call that changes nothing; it carries no write id. */
export function isShortVectorRead(bytes: Uint8Array): boolean {
  return ((bytes[0] ?? 0) & HAS_WRITE_ID) === 0 && SHORT_READS.has(bytes[1] ?? 0);
}

function writeRequest(writer: ByteWriter, request: VectorRequest): void {
  switch (request.kind) {
    case "upsert":
      return writeUpsert(writer, request);
    case "update":
      writeDurability(writer, request.durability);
      writer.string(request.id);
      writeOptional(writer, request.values, (bytes) => writer.bytes(bytes));
      writeOptional(writer, request.metadata, (bytes) => writer.bytes(bytes));
      return;
    case "delete":
      writeDurability(writer, request.durability);
      writeStrings(writer, request.ids);
      return;
    case "deleteWhere":
      writer.string(request.filter);
      writer.varint(request.limit);
      return;
    case "get":
      writeShown(writer, request.shown);
      writeStrings(writer, request.ids);
      return;
    case "list":
      writeShown(writer, request.shown);
      writer.bytes(request.cursor);
      writer.varint(request.limit);
      writeOptional(writer, request.filter, (text) => writer.string(text));
      return;
    case "count":
      writeOptional(writer, request.filter, (text) => writer.string(text));
      return;
    case "search":
      return writeSearch(writer, request);
    case "within":
      return writeWithin(writer, request);
    case "importStage":
      return writeStage(writer, request);
    case "importStart":
      writer.string(request.job);
      writer.varint(request.parts);
      return;
    case "importCancel":
      writer.u8(request.staged ? 1 : 0);
      writer.string(request.job);
      return;
    case "imports":
      writeOptional(writer, request.job, (job) => writer.string(job));
      return;
    case "status":
      return;
    default:
      return request satisfies never;
  }
}

function writeUpsert(writer: ByteWriter, request: VectorRequest & { kind: "upsert" }): void {
  const hasEarlier = request.rows.some(({ before }) => before);
  writer.u8((request.atomic ? IS_ATOMIC : 0) | (hasEarlier ? HAS_EARLIER : 0));
  writeDurability(writer, request.durability);
  writer.varint(request.rows.length);
  for (const row of request.rows) {
    writeRow(writer, row);
    if (!hasEarlier) continue;
    const { version, createdMs, updatedMs } = row.before ?? { version: 0, createdMs: 0, updatedMs: 0 };
    for (const number of [version, createdMs, updatedMs]) writer.varint(number);
  }
}

function readUpsert(reader: ByteReader): VectorRequest {
  const flags = reader.u8();
  const durability = readDurability(reader);
  const rows = list(reader, (): VectorInput => {
    const row = readRow(reader);
    if ((flags & HAS_EARLIER) === 0) return row;
    const before = { version: reader.varint(), createdMs: reader.varint(), updatedMs: reader.varint() };
    return before.version === 0 ? row : { ...row, before };
  });
  return { kind: "upsert", rows, atomic: (flags & IS_ATOMIC) !== 0, durability };
}

function writeStage(writer: ByteWriter, request: VectorRequest & { kind: "importStage" }): void {
  writer.string(request.job);
  writer.string(request.bodyHash);
  writer.varint(request.part);
  writer.varint(request.rows.length);
  for (const { index, row } of request.rows) {
    writer.varint(index);
    writeRow(writer, row);
  }
  writer.varint(request.refused.length);
  for (const { index, id, code, message } of request.refused) {
    writer.varint(index);
    for (const text of [id, code, message]) writer.string(text);
  }
}

function readStage(reader: ByteReader): VectorRequest {
  const [job, bodyHash, part] = [reader.string(), reader.string(), reader.varint()];
  const rows = list(reader, () => ({ index: reader.varint(), row: readRow(reader) }));
  const refused = list(reader, () => ({
    index: reader.varint(),
    id: reader.string(),
    code: reader.string(),
    message: reader.string(),
  }));
  return { kind: "importStage", job, bodyHash, part, rows, refused };
}

function writeRow(writer: ByteWriter, { id, values, metadata }: VectorInput): void {
  writer.string(id);
  writer.bytes(values);
  writer.bytes(metadata);
}

function readRow(reader: ByteReader): VectorInput {
  return { id: reader.string(), values: reader.bytes(), metadata: reader.bytes() };
}

function writeWithin(writer: ByteWriter, request: VectorRequest & { kind: "within" }): void {
  writeShown(writer, request.shown);
  writer.bytes(request.query);
  writer.f64(request.threshold);
  writer.varint(request.limit);
  writeOptional(writer, request.filter, (text) => writer.string(text));
  writeOptional(writer, request.after, ({ score, id }) => {
    writer.f64(score);
    writer.string(id);
  });
  writeOptional(writer, request.without, (id) => writer.string(id));
}

function readWithin(reader: ByteReader): VectorRequest {
  const shown = readShown(reader);
  const query = reader.bytes();
  const threshold = reader.f64();
  const limit = reader.varint();
  const filter = optional(reader, () => reader.string());
  const after = optional(reader, () => ({ score: reader.f64(), id: reader.string() }));
  const without = optional(reader, () => reader.string());
  return { kind: "within", query, threshold, filter, after, limit, without, shown };
}

function writeSearch(writer: ByteWriter, request: VectorRequest & { kind: "search" }): void {
  writeShown(writer, request.shown);
  writer.u8(request.explain ? 1 : 0);
  writer.varint(request.k);
  writer.string(request.index);
  writeOptional(writer, request.threshold, (value) => writer.f64(value));
  writeOptional(writer, request.filter, (text) => writer.string(text));
  for (const effort of [request.ef, request.probes, request.rerank])
    writer.varint(effort === undefined ? 0 : effort + 1);
  writer.varint(request.queries.length);
  for (const query of request.queries) writer.bytes(query);
}

function readRequest(reader: ByteReader, kind: number): VectorRequest {
  switch (kind) {
    case KIND.upsert:
      return readUpsert(reader);
    case KIND.update: {
      const durability = readDurability(reader);
      const id = reader.string();
      const values = optional(reader, () => reader.bytes());
      return { kind: "update", id, values, metadata: optional(reader, () => reader.bytes()), durability };
    }
    case KIND.delete: {
      const durability = readDurability(reader);
      return { kind: "delete", ids: list(reader, () => reader.string()), durability };
    }
    case KIND.deleteWhere:
      return { kind: "deleteWhere", filter: reader.string(), limit: reader.varint() };
    case KIND.get: {
      const shown = readShown(reader);
      return { kind: "get", ids: list(reader, () => reader.string()), shown };
    }
    case KIND.list: {
      const shown = readShown(reader);
      const cursor = reader.bytes();
      const limit = reader.varint();
      return { kind: "list", cursor, limit, filter: optional(reader, () => reader.string()), shown };
    }
    case KIND.count:
      return { kind: "count", filter: optional(reader, () => reader.string()) };
    case KIND.search:
      return readSearch(reader);
    case KIND.within:
      return readWithin(reader);
    case KIND.importStage:
      return readStage(reader);
    case KIND.importStart:
      return { kind: "importStart", job: reader.string(), parts: reader.varint() };
    case KIND.importCancel:
      return { kind: "importCancel", staged: reader.u8() === 1, job: reader.string() };
    case KIND.imports:
      return { kind: "imports", job: optional(reader, () => reader.string()) };
    case KIND.status:
      return { kind: "status" };
    default:
      throw new MalformedBytes(`vector request ${kind}`);
  }
}

function readSearch(reader: ByteReader): VectorRequest {
  const shown = readShown(reader);
  const explain = reader.u8() === 1;
  const k = reader.varint();
  const index = reader.string();
  const threshold = optional(reader, () => reader.f64());
  const filter = optional(reader, () => reader.string());
  const effort = (): number | undefined => {
    const value = reader.varint();
    return value === 0 ? undefined : value - 1;
  };
  const [ef, probes, rerank] = [effort(), effort(), effort()];
  const queries = list(reader, () => reader.bytes());
  return { kind: "search", queries, k, threshold, filter, index, ef, probes, rerank, shown, explain };
}

function writeStrings(writer: ByteWriter, texts: readonly string[]): void {
  writer.varint(texts.length);
  for (const text of texts) writer.string(text);
}

function writeDurability(writer: ByteWriter, durability: Durability | undefined): void {
  writer.u8(durability === undefined ? 0 : DURABILITIES.indexOf(durability) + 1);
}

function readDurability(reader: ByteReader): Durability | undefined {
  const code = reader.u8();
  if (code > DURABILITIES.length) throw new MalformedBytes(`durability ${code}`);
  return code === 0 ? undefined : DURABILITIES[code - 1];
}

export function writeShown(writer: ByteWriter, { values, metadata }: Shown): void {
  writer.u8((values ? 1 : 0) | (metadata ? 2 : 0));
}

export function readShown(reader: ByteReader): Shown {
  const flags = reader.u8();
  return { values: (flags & 1) !== 0, metadata: (flags & 2) !== 0 };
}

export function writeOptional<T>(writer: ByteWriter, value: T | undefined, write: (value: T) => void): void {
  writer.u8(value === undefined ? 0 : 1);
  if (value !== undefined) write(value);
}

export function optional<T>(reader: ByteReader, read: () => T): T | undefined {
  const flag = reader.u8();
  if (flag > 1) throw new MalformedBytes(`flag ${flag}`);
  return flag === 0 ? undefined : read();
}

export function list<T>(reader: ByteReader, read: () => T): readonly T[] {
  const items: T[] = [];
  for (let left = reader.varint(); left > 0; left--) items.push(read());
  return items;
}
