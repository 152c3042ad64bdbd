// Bytes of requests to a configuration keyspace, between SDK, gateway, coordinator and object.
// Guarantees: round trip; anything else throws MalformedBytes. Values are views into the read buffer, not copies.
// Must not: judge (limits and meaning are the keyspace's).
//
// Frame: call*   call = u32 id, u8 flags, [write id 16, body hash 8], u8 kind, …
import { ByteReader, type ByteWriter, MalformedBytes } from "./bytes.ts";
import {
  COMPARE_RESULTS,
  COMPARE_TARGETS,
  type Compare,
  type ConfigRequest,
  type PutRequest,
  type RangeRequest,
  SORT_TARGETS,
  type TxnOperation,
} from "./config.ts";
import { BODY_HASH_BYTES, WRITE_ID_BYTES } from "./session.ts";

const KIND = {
  range: 1,
  put: 2,
  deleteRange: 3,
  txn: 4,
  compact: 5,
  leaseGrant: 6,
  leaseRevoke: 7,
  leaseKeepAlive: 8,
  leaseTimeToLive: 9,
  leases: 10,
  status: 11,
} as const;

/** Kinds that change something; their callers need the scope read-write. A txn is one if any branch writes. */
const WRITING: ReadonlySet<ConfigRequest["kind"]> = new Set([
  "put",
  "deleteRange",
  "compact",
  "leaseGrant",
  "leaseRevoke",
  "leaseKeepAlive",
]);
/** Transactions in transactions: deeper ones are refused before they can exhaust the stack. */
const MAX_NESTING = 16;

export function isWriting(request: ConfigRequest): boolean {
  if (request.kind !== "txn") return WRITING.has(request.kind);
  return request.success.some(isWriting) || request.failure.some(isWriting);
}

/** One request with its way back. */
export interface ConfigCall {
  /** Chosen by the caller, unique among its calls in flight; u32. */
  readonly id: number;
  /** Of a write that may be repeated: 16 bytes. */
  readonly writeId?: Uint8Array | undefined;
  /** With `writeId`: 8 bytes; another body under the same id is refused. */
  readonly bodyHash?: Uint8Array | undefined;
  readonly request: ConfigRequest;
}

const HAS_WRITE_ID = 1;

export function writeConfigCall(writer: ByteWriter, call: ConfigCall): void {
  writer.u32(call.id);
  writeConfigCallBody(writer, call);
}

/** A call without its id, as a session carries it. */
export function writeConfigCallBody(writer: ByteWriter, call: Omit<ConfigCall, "id">): void {
  writer.u8(call.writeId ? HAS_WRITE_ID : 0);
  if (call.writeId) {
    writer.raw(call.writeId);
    writer.raw(call.bodyHash ?? new Uint8Array(BODY_HASH_BYTES));
  }
  writeConfigRequest(writer, call.request);
}

export function readConfigCalls(frame: Uint8Array): readonly ConfigCall[] {
  const reader = new ByteReader(frame);
  const calls: ConfigCall[] = [];
  while (!reader.done) {
    const id = reader.u32();
    calls.push({ id, ...readCallBody(reader) });
  }
  return calls;
}

function readCallBody(reader: ByteReader): Omit<ConfigCall, "id"> {
  const hasWriteId = (reader.u8() & HAS_WRITE_ID) !== 0;
  const writeId = hasWriteId ? reader.raw(WRITE_ID_BYTES) : undefined;
  const bodyHash = hasWriteId ? reader.raw(BODY_HASH_BYTES) : undefined;
  return { writeId, bodyHash, request: readConfigRequest(reader) };
}

/** A call without its id, whole. */
export function readConfigCallBody(body: Uint8Array): Omit<ConfigCall, "id"> {
  const reader = new ByteReader(body);
  const call = readCallBody(reader);
  if (!reader.done) throw new MalformedBytes("a call goes on behind its end");
  return call;
}

export function writeConfigRequest(writer: ByteWriter, request: ConfigRequest): void {
  writer.u8(KIND[request.kind]);
  switch (request.kind) {
    case "range":
      writeRange(writer, request);
      return;
    case "put":
      writePut(writer, request);
      return;
    case "deleteRange":
      writer.u8(request.prevKv ? 1 : 0);
      writer.binary(request.key);
      writer.binary(request.rangeEnd);
      return;
    case "txn":
      writer.varint(request.compare.length);
      for (const compare of request.compare) writeCompare(writer, compare);
      writeOperations(writer, request.success);
      writeOperations(writer, request.failure);
      return;
    case "compact":
      writer.varint(request.revision);
      return;
    case "leaseGrant":
      writer.string(request.lease);
      writer.varint(request.ttlSeconds);
      return;
    case "leaseRevoke":
    case "leaseKeepAlive":
      writer.string(request.lease);
      return;
    case "leaseTimeToLive":
      writer.string(request.lease);
      writer.u8(request.withKeys ? 1 : 0);
      return;
    case "leases":
    case "status":
      return;
    default:
      request satisfies never;
  }
}

export function readConfigRequest(reader: ByteReader, depth = 0): ConfigRequest {
  const code = reader.u8();
  switch (code) {
    case KIND.compact:
      return { kind: "compact", revision: reader.varint() };
    case KIND.leaseGrant:
      return { kind: "leaseGrant", lease: reader.string(), ttlSeconds: reader.varint() };
    case KIND.leaseRevoke:
      return { kind: "leaseRevoke", lease: reader.string() };
    case KIND.leaseKeepAlive:
      return { kind: "leaseKeepAlive", lease: reader.string() };
    case KIND.leaseTimeToLive:
      return { kind: "leaseTimeToLive", lease: reader.string(), withKeys: reader.u8() !== 0 };
    case KIND.leases:
      return { kind: "leases" };
    case KIND.status:
      return { kind: "status" };
    default:
      return readOperation(reader, code, depth);
  }
}

function readOperation(reader: ByteReader, code: number, depth: number): TxnOperation {
  switch (code) {
    case KIND.range:
      return readRange(reader);
    case KIND.put:
      return readPut(reader);
    case KIND.deleteRange: {
      const prevKv = reader.u8() !== 0;
      return { kind: "deleteRange", key: reader.binary(), rangeEnd: reader.binary(), prevKv };
    }
    case KIND.txn: {
      if (depth >= MAX_NESTING) throw new MalformedBytes(`transactions are nested deeper than ${MAX_NESTING}`);
      const compare = readList(reader, () => readCompare(reader));
      const success = readList(reader, () => readOperation(reader, reader.u8(), depth + 1));
      const failure = readList(reader, () => readOperation(reader, reader.u8(), depth + 1));
      return { kind: "txn", compare, success, failure };
    }
    default:
      throw new MalformedBytes(`unknown operation ${code}`);
  }
}

function readList<T>(reader: ByteReader, read: () => T): readonly T[] {
  const count = reader.varint();
  const items: T[] = [];
  // Every item takes bytes, so that a forged count ends at the end of the input.
  for (let i = 0; i < count; i++) items.push(read());
  return items;
}

function writeOperations(writer: ByteWriter, operations: readonly TxnOperation[]): void {
  writer.varint(operations.length);
  for (const operation of operations) writeConfigRequest(writer, operation);
}

const RANGE = { descending: 1, keysOnly: 2, countOnly: 4, withCount: 8, bounds: 16, delimiter: 32, bytes: 64 } as const;

function writeRange(writer: ByteWriter, request: RangeRequest): void {
  const { minModRevision = 0, maxModRevision = 0, minCreateRevision = 0, maxCreateRevision = 0 } = request;
  const hasBounds = minModRevision + maxModRevision + minCreateRevision + maxCreateRevision > 0;
  let flags = 0;
  if (request.descending) flags |= RANGE.descending;
  if (request.keysOnly) flags |= RANGE.keysOnly;
  if (request.countOnly) flags |= RANGE.countOnly;
  if (request.withCount) flags |= RANGE.withCount;
  if (hasBounds) flags |= RANGE.bounds;
  if (request.delimiter) flags |= RANGE.delimiter;
  if (request.maxBytes) flags |= RANGE.bytes;
  writer.u8(flags);
  writer.u8(SORT_TARGETS.indexOf(request.sortTarget ?? "key"));
  writer.binary(request.key);
  writer.binary(request.rangeEnd);
  writer.varint(request.limit ?? 0);
  writer.varint(request.revision ?? 0);
  if (hasBounds)
    for (const bound of [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision]) writer.varint(bound);
  if (request.delimiter) {
    writer.binary(request.delimiter);
    writer.varint(request.delimiterFrom ?? 0);
  }
  if (request.maxBytes) writer.varint(request.maxBytes);
}

function readRange(reader: ByteReader): RangeRequest {
  const flags = reader.u8();
  const sortTarget = SORT_TARGETS[reader.u8()];
  if (sortTarget === undefined) throw new MalformedBytes("unknown sort target");
  const plain = {
    kind: "range" as const,
    sortTarget,
    descending: (flags & RANGE.descending) !== 0,
    keysOnly: (flags & RANGE.keysOnly) !== 0,
    countOnly: (flags & RANGE.countOnly) !== 0,
    withCount: (flags & RANGE.withCount) !== 0,
    key: reader.binary(),
    rangeEnd: reader.binary(),
    limit: reader.varint(),
    revision: reader.varint(),
  };
  if ((flags & (RANGE.bounds | RANGE.delimiter | RANGE.bytes)) === 0) return plain;
  const bounds =
    flags & RANGE.bounds
      ? {
          minModRevision: reader.varint(),
          maxModRevision: reader.varint(),
          minCreateRevision: reader.varint(),
          maxCreateRevision: reader.varint(),
        }
      : {};
  const level = flags & RANGE.delimiter ? { delimiter: reader.binary(), delimiterFrom: reader.varint() } : {};
  return { ...plain, ...bounds, ...level, ...(flags & RANGE.bytes ? { maxBytes: reader.varint() } : {}) };
}

const PUT = { prevKv: 1, ignoreValue: 2, ignoreLease: 4, sequential: 8, lease: 16 } as const;

function writePut(writer: ByteWriter, request: PutRequest): void {
  let flags = 0;
  if (request.prevKv) flags |= PUT.prevKv;
  if (request.ignoreValue) flags |= PUT.ignoreValue;
  if (request.ignoreLease) flags |= PUT.ignoreLease;
  if (request.sequential) flags |= PUT.sequential;
  if (request.lease) flags |= PUT.lease;
  writer.u8(flags);
  writer.binary(request.key);
  if (request.lease) writer.string(request.lease);
  writer.bytes(request.value);
}

function readPut(reader: ByteReader): PutRequest {
  const flags = reader.u8();
  return {
    kind: "put",
    prevKv: (flags & PUT.prevKv) !== 0,
    ignoreValue: (flags & PUT.ignoreValue) !== 0,
    ignoreLease: (flags & PUT.ignoreLease) !== 0,
    sequential: (flags & PUT.sequential) !== 0,
    key: reader.binary(),
    lease: flags & PUT.lease ? reader.string() : "",
    value: reader.bytes(),
  };
}

function writeCompare(writer: ByteWriter, compare: Compare): void {
  writer.u8(COMPARE_TARGETS.indexOf(compare.target));
  writer.u8(COMPARE_RESULTS.indexOf(compare.result));
  writer.binary(compare.key);
  writer.binary(compare.rangeEnd);
  if (typeof compare.operand === "number") writer.varint(compare.operand);
  else if (typeof compare.operand === "string") writer.string(compare.operand);
  else writer.bytes(compare.operand);
}

function readCompare(reader: ByteReader): Compare {
  const target = COMPARE_TARGETS[reader.u8()];
  const result = COMPARE_RESULTS[reader.u8()];
  if (target === undefined || result === undefined) throw new MalformedBytes("unknown comparison");
  const key = reader.binary();
  const rangeEnd = reader.binary();
  const operand = target === "value" ? reader.bytes() : target === "lease" ? reader.string() : reader.varint();
  return { target, result, key, rangeEnd, operand };
}
