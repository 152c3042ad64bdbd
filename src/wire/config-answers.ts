// Bytes of a configuration keyspace's answers and events.
// Guarantees: round trip; anything else throws MalformedBytes. Values are views into the read buffer, not copies.
//
// Frame: answer*   answer = u32 id, bytes(body)   body = u8 kind, varint revision, varint term, …   (kind 0: code, message, details)
import { ByteReader, type ByteWriter, MalformedBytes } from "./bytes.ts";
import type {
  ConfigAnswer,
  ConfigEvent,
  ConfigFailure,
  DeleteRangeAnswer,
  KeyValue,
  OperationAnswer,
  PutAnswer,
  RangeAnswer,
  TxnAnswer,
} from "./config.ts";

const KIND = {
  error: 0,
  range: 1,
  put: 2,
  deleteRange: 3,
  txn: 4,
  compact: 5,
  lease: 6,
  leases: 7,
  status: 8,
} as const;
/** Deeper than any request may nest. */
const MAX_NESTING = 32;

export function writeKeyValue(writer: ByteWriter, kv: KeyValue): void {
  writer.binary(kv.key);
  writer.varint(kv.createRevision);
  writer.varint(kv.modRevision);
  writer.varint(kv.version);
  writer.string(kv.lease);
  writer.bytes(kv.value);
}

export function readKeyValue(reader: ByteReader): KeyValue {
  return {
    key: reader.binary(),
    createRevision: reader.varint(),
    modRevision: reader.varint(),
    version: reader.varint(),
    lease: reader.string(),
    value: reader.bytes(),
  };
}

export function writeConfigAnswer(writer: ByteWriter, answer: ConfigAnswer | ConfigFailure): void {
  writer.u8(KIND[answer.kind]);
  if (answer.kind === "error") {
    writer.string(answer.code);
    writer.string(answer.message);
    writer.string(answer.details ? JSON.stringify(answer.details) : "");
    return;
  }
  writer.varint(answer.header.revision);
  writer.varint(answer.header.term);
  switch (answer.kind) {
    case "range":
    case "put":
    case "deleteRange":
    case "txn":
      writeOperationAnswer(writer, answer);
      return;
    case "compact":
      return;
    case "lease":
      writer.string(answer.lease);
      writer.varint(answer.ttlSeconds + 1);
      writer.varint(answer.grantedTtlSeconds);
      writeKeys(writer, answer.keys);
      return;
    case "leases":
      writer.varint(answer.leases.length);
      for (const lease of answer.leases) writer.string(lease);
      return;
    case "status":
      writer.varint(answer.compactedRevision);
      writer.varint(answer.keys);
      writer.varint(answer.leases);
      writer.varint(answer.watches);
      writer.varint(answer.databaseBytes);
      writer.u32(answer.chain);
      return;
    default:
      answer satisfies never;
  }
}

export function readConfigAnswer(reader: ByteReader): ConfigAnswer | ConfigFailure {
  const kind = reader.u8();
  if (kind === KIND.error) return readFailure(reader);
  const header = { revision: reader.varint(), term: reader.varint() };
  switch (kind) {
    case KIND.compact:
      return { kind: "compact", header };
    case KIND.lease: {
      const lease = reader.string();
      const ttlSeconds = reader.varint() - 1;
      return { kind: "lease", header, lease, ttlSeconds, grantedTtlSeconds: reader.varint(), keys: readKeys(reader) };
    }
    case KIND.leases: {
      const leases: string[] = [];
      for (let count = reader.varint(); count > 0; count--) leases.push(reader.string());
      return { kind: "leases", header, leases };
    }
    case KIND.status:
      return {
        kind: "status",
        header,
        compactedRevision: reader.varint(),
        keys: reader.varint(),
        leases: reader.varint(),
        watches: reader.varint(),
        databaseBytes: reader.varint(),
        chain: reader.u32(),
      };
    default:
      return { ...readOperationAnswer(reader, kind, 0), header };
  }
}

/** Undefined = it is no refusal; then the rest is not read. */
export function readConfigFailure(body: Uint8Array): ConfigFailure | undefined {
  if (body[0] !== KIND.error) return undefined;
  return readFailure(new ByteReader(body.subarray(1)));
}

function readFailure(reader: ByteReader): ConfigFailure {
  const code = reader.string();
  const message = reader.string();
  const details = reader.string();
  return { kind: "error", code, message, details: details === "" ? undefined : JSON.parse(details) };
}

function writeKeys(writer: ByteWriter, keys: readonly string[]): void {
  writer.varint(keys.length);
  for (const key of keys) writer.binary(key);
}

function readKeys(reader: ByteReader): readonly string[] {
  const keys: string[] = [];
  for (let count = reader.varint(); count > 0; count--) keys.push(reader.binary());
  return keys;
}

function writeKeyValues(writer: ByteWriter, kvs: readonly KeyValue[]): void {
  writer.varint(kvs.length);
  for (const kv of kvs) writeKeyValue(writer, kv);
}

function readKeyValues(reader: ByteReader): readonly KeyValue[] {
  const kvs: KeyValue[] = [];
  for (let count = reader.varint(); count > 0; count--) kvs.push(readKeyValue(reader));
  return kvs;
}

function writeOperationAnswer(writer: ByteWriter, answer: OperationAnswer): void {
  switch (answer.kind) {
    case "range":
      writer.varint(answer.count);
      writer.u8((answer.more ? 1 : 0) | (answer.commonPrefixes ? 2 : 0));
      writeKeyValues(writer, answer.kvs);
      if (answer.commonPrefixes) writeKeys(writer, answer.commonPrefixes);
      return;
    case "put":
      writer.binary(answer.key);
      writer.varint(answer.createRevision);
      writer.varint(answer.version);
      writer.string(answer.lease);
      writer.u8(answer.prevKv ? 1 : 0);
      if (answer.prevKv) writeKeyValue(writer, answer.prevKv);
      return;
    case "deleteRange":
      writer.varint(answer.deleted);
      writeKeyValues(writer, answer.prevKvs);
      return;
    case "txn":
      writer.u8(answer.succeeded ? 1 : 0);
      writer.varint(answer.responses.length);
      for (const response of answer.responses) {
        writer.u8(KIND[response.kind]);
        writeOperationAnswer(writer, response);
      }
      return;
    default:
      answer satisfies never;
  }
}

function readOperationAnswer(reader: ByteReader, kind: number, depth: number): OperationAnswer {
  switch (kind) {
    case KIND.range: {
      const count = reader.varint();
      const flags = reader.u8();
      const kvs = readKeyValues(reader);
      const plain: RangeAnswer = { kind: "range", count, more: (flags & 1) !== 0, kvs };
      return flags & 2 ? { ...plain, commonPrefixes: readKeys(reader) } : plain;
    }
    case KIND.put: {
      const key = reader.binary();
      const numbers = { createRevision: reader.varint(), version: reader.varint() };
      const plain: PutAnswer = { kind: "put", key, ...numbers, lease: reader.string() };
      return reader.u8() === 1 ? { ...plain, prevKv: readKeyValue(reader) } : plain;
    }
    case KIND.deleteRange: {
      const answer: DeleteRangeAnswer = {
        kind: "deleteRange",
        deleted: reader.varint(),
        prevKvs: readKeyValues(reader),
      };
      return answer;
    }
    case KIND.txn: {
      if (depth >= MAX_NESTING) throw new MalformedBytes("an answer is nested too deeply");
      const succeeded = reader.u8() === 1;
      const responses: OperationAnswer[] = [];
      for (let count = reader.varint(); count > 0; count--)
        responses.push(readOperationAnswer(reader, reader.u8(), depth + 1));
      const answer: TxnAnswer = { kind: "txn", succeeded, responses };
      return answer;
    }
    default:
      throw new MalformedBytes(`unknown answer ${kind}`);
  }
}

/** Answers of one frame, by their calls' ids. */
export function readConfigAnswers(
  frame: Uint8Array,
): readonly { readonly id: number; readonly answer: ConfigAnswer | ConfigFailure }[] {
  const reader = new ByteReader(frame);
  const answers = [];
  while (!reader.done) {
    const id = reader.u32();
    const length = reader.varint();
    const end = reader.offset + length;
    const answer = readConfigAnswer(reader);
    if (reader.offset !== end) throw new MalformedBytes("an answer does not end where it says");
    answers.push({ id, answer });
  }
  return answers;
}

const HAS_PREVIOUS = 2;

export function writeConfigEvent(writer: ByteWriter, event: ConfigEvent): void {
  writer.u8((event.type === "delete" ? 1 : 0) | (event.prevKv ? HAS_PREVIOUS : 0));
  writeKeyValue(writer, event.kv);
  if (event.prevKv) writeKeyValue(writer, event.prevKv);
}

export function readConfigEvent(reader: ByteReader): ConfigEvent {
  const flags = reader.u8();
  const type = flags & 1 ? "delete" : "put";
  const kv = readKeyValue(reader);
  return flags & HAS_PREVIOUS ? { type, kv, prevKv: readKeyValue(reader) } : { type, kv };
}
