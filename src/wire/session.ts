// The frames between a caller (SDK session, gateway) and the Coordinator: many requests in one message, answers in any order.
// Guarantees: both directions round-trip; a reader throws MalformedBytes/MalformedClock on anything else.
// Must not: know tenants or keys' meaning. Values are the raw UTF-8 JSON text the client sent, never parsed here.
//
// Request frame:  request*   request  = u32 id, u8 op, u8 flags, [write id 16], [body hash 8], key, [clock], [value]
// Answer frame:   answer*    answer   = u32 id, u8 kind, …
import { ByteReader, type ByteWriter, MalformedBytes } from "./bytes.ts";
import { type Clock, readClock, writeClock } from "./clock.ts";

export type Consistency = "one" | "quorum" | "all";
export const CONSISTENCIES: readonly Consistency[] = ["one", "quorum", "all"];

/**
 * A client tells how much it has read at least this often, as `ack` with the count modulo 2^32 for id. No WebSocket tells its
 * sender what has been read, so without it one client that does not read would fill the server's memory.
 */
export const ACK_EVERY_BYTES = 1024 * 1024;
/** A session with more bytes of answers unread than this is closed at once; long before, its reads wait (answer-window.ts). */
export const MAX_UNREAD_BYTES = 64 * 1024 * 1024;

export const WRITE_ID_BYTES = 16;
export const BODY_HASH_BYTES = 8;

/**
 * `ack` has no answer: its id says how many bytes of answers the client has read. See {@link ACK_EVERY_BYTES}.
 * `config`: a call to a configuration keyspace; `key` = the namespace, `value` = a call of wire/config-requests.ts without its id.
 * `vector`: a call about the vectors of a database; `key` = the namespace, `value` = a call of wire/vector-session.ts.
 */
const OP = { put: 1, get: 2, delete: 3, ping: 4, ack: 5, config: 6, vector: 7 } as const;
export type RequestOp = keyof typeof OP;
const OP_NAMES: readonly (RequestOp | undefined)[] = [
  undefined,
  "put",
  "get",
  "delete",
  "ping",
  "ack",
  "config",
  "vector",
];

const CONSISTENCY_MASK = 0b11;
const HAS_CLOCK = 1 << 2;
const IS_RETRY = 1 << 3;
const HAS_BODY_HASH = 1 << 4;
const IS_OWNED = 1 << 5;

export interface SessionRequest {
  /** Chosen by the caller, unique among its requests in flight; u32. */
  readonly id: number;
  readonly op: RequestOp;
  /** Undefined = the tenant's default. */
  readonly consistency?: Consistency | undefined;
  readonly key: string;
  /** put, delete: 16 bytes. */
  readonly writeId?: Uint8Array | undefined;
  /** True when an attempt with this write id may have been sent before: the coordinator then asks a majority first. */
  readonly isRetry?: boolean | undefined;
  /** Present when the write id came from the user (Idempotency-Key): first body wins by majority vote, another body is refused. */
  readonly bodyHash?: Uint8Array | undefined;
  readonly clock?: Clock | undefined;
  /** config: a lease that the call grants or keeps alive is the session's, and ends with it when the client closes it (1000 or 1001). */
  readonly isOwned?: boolean | undefined;
  /** put: UTF-8 JSON text. config, vector: the call's bytes. */
  readonly value?: Uint8Array | undefined;
  /** config: the zone's copy may answer. Said by the gateway in memory; no session's bytes carry it. */
  readonly copied?: CopyAge | undefined;
}

/** How old what a copy shows may be: at most that many milliseconds; left out = any age. */
export interface CopyAge {
  readonly maxStalenessMs?: number | undefined;
}

export interface Sibling {
  readonly clock: Clock;
  /** Undefined = a delete that is concurrent with the other siblings. */
  readonly value: Uint8Array | undefined;
}

export type SessionAnswer =
  | { readonly id: number; readonly kind: "written"; readonly clock: Clock }
  | {
      readonly id: number;
      readonly kind: "value";
      readonly clock: Clock;
      readonly value: Uint8Array;
      readonly siblings?: readonly Sibling[] | undefined;
    }
  | { readonly id: number; readonly kind: "notFound"; readonly clock: Clock }
  | { readonly id: number; readonly kind: "pong" }
  /** A body of wire/config-answers.ts. */
  | { readonly id: number; readonly kind: "config"; readonly body: Uint8Array }
  /** An answer of wire/vector-session.ts. */
  | { readonly id: number; readonly kind: "vector"; readonly body: Uint8Array }
  | {
      readonly id: number;
      readonly kind: "error";
      readonly code: string;
      readonly message: string;
      readonly details?: Readonly<Record<string, unknown>> | undefined;
    };

const KIND = { written: 1, value: 2, notFound: 3, pong: 4, error: 5, conflict: 6, config: 7, vector: 8 } as const;

export function writeRequest(writer: ByteWriter, request: SessionRequest): void {
  writer.u32(request.id);
  writer.u8(OP[request.op]);
  let flags = request.consistency ? CONSISTENCIES.indexOf(request.consistency) + 1 : 0;
  if (request.clock) flags |= HAS_CLOCK;
  if (request.isRetry) flags |= IS_RETRY;
  if (request.bodyHash) flags |= HAS_BODY_HASH;
  if (request.isOwned) flags |= IS_OWNED;
  writer.u8(flags);
  if (request.op === "ping" || request.op === "ack") return;
  if (request.op === "config" || request.op === "vector") {
    writer.string(request.key);
    writer.bytes(request.value ?? new Uint8Array(0));
    return;
  }
  if (request.op !== "get") {
    if (request.writeId?.length !== WRITE_ID_BYTES) throw new MalformedBytes("a write needs a write id of 16 bytes");
    writer.raw(request.writeId);
    if (request.bodyHash) writer.raw(request.bodyHash);
  }
  writer.string(request.key);
  if (request.clock) writeClock(writer, request.clock);
  if (request.op === "put") {
    if (!request.value) throw new MalformedBytes("a put needs a value");
    writer.bytes(request.value);
  }
}

/** Byte views into `reader`'s buffer are returned, not copies. */
export function readRequest(reader: ByteReader): SessionRequest {
  const id = reader.u32();
  const opCode = reader.u8();
  const op = OP_NAMES[opCode];
  if (!op) throw new MalformedBytes(`unknown operation ${opCode}`);
  const flags = reader.u8();
  if (op === "ping" || op === "ack") return { id, op, key: "" };
  if (op === "config" || op === "vector") {
    const isOwned = (flags & IS_OWNED) !== 0;
    return { id, op, ...(isOwned ? { isOwned } : {}), key: reader.string(), value: reader.bytes() };
  }
  const level = flags & CONSISTENCY_MASK;
  const isWrite = op !== "get";
  return {
    id,
    op,
    consistency: level === 0 ? undefined : CONSISTENCIES[level - 1],
    isRetry: (flags & IS_RETRY) !== 0,
    writeId: isWrite ? reader.raw(WRITE_ID_BYTES) : undefined,
    bodyHash: isWrite && flags & HAS_BODY_HASH ? reader.raw(BODY_HASH_BYTES) : undefined,
    key: reader.string(),
    clock: flags & HAS_CLOCK ? readClock(reader) : undefined,
    value: op === "put" ? reader.bytes() : undefined,
  };
}

export function writeAnswer(writer: ByteWriter, answer: SessionAnswer): void {
  writer.u32(answer.id);
  switch (answer.kind) {
    case "written":
    case "notFound":
      writer.u8(KIND[answer.kind]);
      writeClock(writer, answer.clock);
      return;
    case "value":
      writer.u8(answer.siblings ? KIND.conflict : KIND.value);
      writeClock(writer, answer.clock);
      writer.bytes(answer.value);
      if (answer.siblings) writeSiblings(writer, answer.siblings);
      return;
    case "pong":
      writer.u8(KIND.pong);
      return;
    case "config":
    case "vector":
      writer.u8(KIND[answer.kind]);
      writer.bytes(answer.body);
      return;
    case "error":
      writer.u8(KIND.error);
      writer.string(answer.code);
      writer.string(answer.message);
      writer.string(answer.details ? JSON.stringify(answer.details) : "");
  }
}

function writeSiblings(writer: ByteWriter, siblings: readonly Sibling[]): void {
  writer.varint(siblings.length);
  for (const sibling of siblings) {
    writeClock(writer, sibling.clock);
    writer.u8(sibling.value ? 1 : 0);
    if (sibling.value) writer.bytes(sibling.value);
  }
}

function readSiblings(reader: ByteReader): Sibling[] {
  const count = reader.varint();
  const siblings: Sibling[] = [];
  for (let i = 0; i < count; i++) {
    const clock = readClock(reader);
    siblings.push({ clock, value: reader.u8() === 1 ? reader.bytes() : undefined });
  }
  return siblings;
}

function parseDetails(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text);
  } catch {
    throw new MalformedBytes("the details of an error are not JSON");
  }
}

export function readAnswer(reader: ByteReader): SessionAnswer {
  const id = reader.u32();
  const kind = reader.u8();
  switch (kind) {
    case KIND.written:
      return { id, kind: "written", clock: readClock(reader) };
    case KIND.notFound:
      return { id, kind: "notFound", clock: readClock(reader) };
    case KIND.value:
      return { id, kind: "value", clock: readClock(reader), value: reader.bytes() };
    case KIND.conflict:
      return { id, kind: "value", clock: readClock(reader), value: reader.bytes(), siblings: readSiblings(reader) };
    case KIND.pong:
      return { id, kind: "pong" };
    case KIND.config:
      return { id, kind: "config", body: reader.bytes() };
    case KIND.vector:
      return { id, kind: "vector", body: reader.bytes() };
    case KIND.error: {
      const code = reader.string();
      const message = reader.string();
      const details = reader.string();
      return { id, kind: "error", code, message, details: details ? parseDetails(details) : undefined };
    }
    default:
      throw new MalformedBytes(`unknown answer kind ${kind}`);
  }
}

/** All requests of one message. */
export function readRequests(frame: Uint8Array): SessionRequest[] {
  const reader = new ByteReader(frame);
  const requests: SessionRequest[] = [];
  while (!reader.done) requests.push(readRequest(reader));
  return requests;
}

/** All answers of one message. */
export function readAnswers(frame: Uint8Array): SessionAnswer[] {
  const reader = new ByteReader(frame);
  const answers: SessionAnswer[] = [];
  while (!reader.done) answers.push(readAnswer(reader));
  return answers;
}
