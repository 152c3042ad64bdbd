// Calls about the vectors of a database over a session, and their answers: values as float32 bytes, metadata as the JSON text that came, all else as
// in the bodies of /v1/databases.
// Guarantees: round trip; anything else throws MalformedBytes. Values and metadata are views into the read buffer. Must not: judge.
//
// Call:   u8 operation, u8 flags (1: write id), [write id 16, body hash 8], string database, string options, varint count, items
//         item: string id, optional values, optional metadata
// Answer: string head (JSON), answer of wire/vector-answers.ts
import { ByteReader, MalformedBytes, written } from "./bytes.ts";
import { BODY_HASH_BYTES, WRITE_ID_BYTES } from "./session.ts";
import type { VectorAnswer } from "./vector.ts";
import { readVectorAnswer, writeVectorAnswer } from "./vector-answers.ts";
import { list, optional, writeOptional } from "./vector-requests.ts";

const OPERATIONS = [
  ...(["upsert", "batch", "update", "get", "delete", "deleteMany", "deleteWhere"] as const),
  ...(["list", "count", "search", "searchMany"] as const),
] as const;
export type VectorOperation = (typeof OPERATIONS)[number];
const WRITING: ReadonlySet<VectorOperation> = new Set([
  ...(["upsert", "batch", "update", "delete", "deleteMany", "deleteWhere"] as const),
]);

/** A vector, what of one changes, a query, or an id alone. */
export interface VectorItem {
  /** Empty: a query that is no stored vector. */
  readonly id: string;
  readonly values?: Uint8Array | undefined;
  readonly metadata?: Uint8Array | undefined;
}

export interface VectorSessionCall {
  readonly operation: VectorOperation;
  readonly databaseId: string;
  /** JSON text of an object: the fields of the request's body or query that are no vectors. Empty: none. */
  readonly options: string;
  readonly items: readonly VectorItem[];
  /** Of a write: 16 bytes, and 8 of which another body under the same id differs. */
  readonly writeId?: Uint8Array | undefined;
  readonly bodyHash?: Uint8Array | undefined;
}

/** What of an answer the bytes of wire/vector-answers.ts do not tell. */
export interface VectorSessionHead {
  /** What the session has seen of the database (wire/vector-token.ts). */
  readonly token?: string | undefined;
  /** Of each row or result, in order. */
  readonly shards?: readonly number[] | undefined;
  /** Of each search. */
  readonly searches?:
    | readonly { readonly isComplete: boolean; readonly cursor?: string | null; readonly total?: number }[]
    | undefined;
  /** Of the next page; null = there is none. */
  readonly cursor?: string | null | undefined;
  readonly missingShards?: readonly number[] | undefined;
  /** Ids that there are not. */
  readonly missing?: readonly string[] | undefined;
  readonly more?: boolean | undefined;
}

export function isWritingOperation(operation: VectorOperation): boolean {
  return WRITING.has(operation);
}

const HAS_WRITE_ID = 1;
const NO_HASH = new Uint8Array(BODY_HASH_BYTES);

export function writeVectorSessionCall(call: VectorSessionCall): Uint8Array {
  const { writeId, bodyHash, items } = call;
  return written((writer) => {
    writer.u8(OPERATIONS.indexOf(call.operation));
    writer.u8(writeId ? HAS_WRITE_ID : 0);
    if (writeId) {
      writer.raw(writeId);
      writer.raw(bodyHash ?? NO_HASH);
    }
    writer.string(call.databaseId);
    writer.string(call.options);
    writer.varint(items.length);
    for (const { id, values, metadata } of items) {
      writer.string(id);
      writeOptional(writer, values, (bytes) => writer.bytes(bytes));
      writeOptional(writer, metadata, (bytes) => writer.bytes(bytes));
    }
  });
}

export function readVectorSessionCall(bytes: Uint8Array): VectorSessionCall {
  const reader = new ByteReader(bytes);
  const code = reader.u8();
  const operation = OPERATIONS[code];
  if (!operation) throw new MalformedBytes(`vector operation ${code}`);
  const flags = reader.u8();
  if (flags > HAS_WRITE_ID) throw new MalformedBytes(`flags ${flags}`);
  const identity =
    flags === HAS_WRITE_ID ? { writeId: reader.raw(WRITE_ID_BYTES), bodyHash: reader.raw(BODY_HASH_BYTES) } : {};
  const databaseId = reader.string();
  const options = reader.string();
  const items = list(reader, (): VectorItem => {
    const id = reader.string();
    const values = optional(reader, () => reader.bytes());
    return { id, values, metadata: optional(reader, () => reader.bytes()) };
  });
  if (!reader.done) throw new MalformedBytes("bytes after a vector call");
  return { operation, databaseId, options, items, ...identity };
}

export function writeVectorSessionAnswer(head: VectorSessionHead, answer: VectorAnswer): Uint8Array {
  const body = writeVectorAnswer(answer);
  return written((writer) => {
    writer.string(JSON.stringify(head));
    writer.raw(body);
  });
}

export function readVectorSessionAnswer(bytes: Uint8Array): {
  readonly head: VectorSessionHead;
  readonly answer: VectorAnswer;
} {
  const reader = new ByteReader(bytes);
  const text = reader.string();
  let head: VectorSessionHead;
  try {
    head = JSON.parse(text) as VectorSessionHead;
  } catch {
    throw new MalformedBytes("the head of a vector answer");
  }
  return { head, answer: readVectorAnswer(reader.raw(reader.end - reader.offset)) };
}
