// The frames between a coordinator (or a hinting replica) and a replica: many operations in one message, answers in order.
// Guarantees: both directions round-trip; malformed input throws MalformedBytes. Must not: act on anything.
//
// Request: op*                    op = u8 kind, tenant, token hi u32, lo u32, key, …
// Answer:  actor, counter, now, result*    (the replica's own actor, highest counter and time, then one result per op, in order)

import type { EncodedKey, RowKey, Token } from "../storage/types.ts";
import { asciiText, ByteReader, type ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import { type Clock, type Dot, readClock, writeClock } from "../wire/clock.ts";
import { BODY_HASH_BYTES, WRITE_ID_BYTES } from "../wire/session.ts";

const KIND = {
  stamp: 1,
  merge: 2,
  get: 3,
  recall: 4,
  vote: 5,
  hint: 6,
  settled: 7,
  repair: 8,
  deadline: 9,
  heal: 16,
  route: 10,
} as const;

const DELETE = 1;
const HAS_CLOCK = 2;
const RESTAMP = 4;
const SUPERSEDE_ALL = 8;

/** Apply a client's write here first: it gets a dot. */
export interface StampOp {
  readonly kind: "stamp";
  readonly row: RowKey;
  readonly writeId: Uint8Array;
  readonly value: Uint8Array | undefined;
  readonly clock: Clock | undefined;
  /** The write may have been stamped before: look the record up, and mark the version. */
  readonly restamp: boolean;
  /** Last-write-wins tenants: the write supersedes what is held, whatever its clock says. */
  readonly supersedeAll: boolean;
}

/** Join this state into the one held. The value of the last version may be handed over apart, to save a copy. */
export interface MergeOp {
  readonly kind: "merge";
  readonly row: RowKey;
  readonly state: Uint8Array;
  readonly tail?: Uint8Array | undefined;
}

/** As merge; answered with the state that came of it where that is another one than was sent. */
export interface RepairOp {
  readonly kind: "repair";
  readonly row: RowKey;
  readonly state: Uint8Array;
}

/**
 * As merge; but where the row held is unreadable, this state takes its place. Only for a state joined from so many other replicas
 * that every write a majority acknowledged is in it (see ReadCall).
 */
export interface HealOp {
  readonly kind: "heal";
  readonly row: RowKey;
  readonly state: Uint8Array;
}

export interface GetOp {
  readonly kind: "get";
  readonly row: RowKey;
}

/** Is this write remembered here? */
export interface RecallOp {
  readonly kind: "recall";
  readonly row: RowKey;
  readonly writeId: Uint8Array;
}

/** First body of a write id wins here; the answer is the hash that holds. `row` names the write id's own place on the ring. */
export interface VoteOp {
  readonly kind: "vote";
  readonly row: RowKey;
  readonly writeId: Uint8Array;
  readonly bodyHash: Uint8Array;
}

/** Keep this state for a node that could not be reached. */
export interface HintOp {
  readonly kind: "hint";
  readonly row: RowKey;
  readonly target: string;
  readonly state: Uint8Array;
  readonly tail?: Uint8Array | undefined;
}

/** Stamps of this replica (with this actor) that a majority holds. No row. */
export interface SettledOp {
  readonly kind: "settled";
  readonly actor: number;
  readonly counters: readonly number[];
}

/**
 * Stamps of this frame are refused once the replica's clock has passed this: the coordinator has given them up by then and may
 * have had another replica stamp. No row.
 */
export interface DeadlineOp {
  readonly kind: "deadline";
  /** In the replica's own time. Ms. */
  readonly atMs: number;
}

/**
 * The revisions (fence.ts) of the ring and the tenant's route that the following operations of the frame were sent by. A replica that knows of a newer one
 * refuses them (`stale`). Operations before any route are of no coordinator (hints, filling, repair) and are not checked. No row.
 */
export interface RouteOp {
  readonly kind: "route";
  readonly revision: number;
}

export type ReplicaOp =
  | StampOp
  | MergeOp
  | RepairOp
  | HealOp
  | GetOp
  | RecallOp
  | VoteOp
  | HintOp
  | SettledOp
  | DeadlineOp
  | RouteOp;

/** Operations that concern the frame and no row. */
export type FrameOp = SettledOp | DeadlineOp | RouteOp;

export function isOfFrame(op: ReplicaOp): op is FrameOp {
  return op.kind === "settled" || op.kind === "deadline" || op.kind === "route";
}

export type RefusalCode =
  | "tooManySiblings"
  | "stateTooLarge"
  | "tenantErased"
  | "hintsFull"
  | "corrupt"
  | "clockAhead"
  | "overloaded"
  | "expired"
  /** The answer frame is full. Nothing was done; the link sends the operation again. */
  | "deferred"
  /** The replica is empty and being filled: it can answer for nothing yet. */
  | "bootstrapping"
  /** A retry has asked for this write: it may be stamped elsewhere. */
  | "retried";
const REFUSALS: readonly RefusalCode[] = [
  "tooManySiblings",
  "stateTooLarge",
  "tenantErased",
  "hintsFull",
  "corrupt",
  "clockAhead",
  "overloaded",
  "expired",
  "deferred",
  "bootstrapping",
  "retried",
];

export type ReplicaResult =
  /** `prefix` + the value sent (when `wantsValue`) is the state to ship. `repeated`: the write was applied before; this is its first answer. */
  | {
      readonly kind: "stamped";
      readonly counter: number;
      readonly unsettledCount: number;
      readonly repeated: boolean;
      readonly answer: Clock;
      readonly prefix: Uint8Array;
      readonly wantsValue: boolean;
    }
  | { readonly kind: "done" }
  /** Applied, by a replica that is being filled and must not count. */
  | { readonly kind: "pending" }
  /** Not applied: the replica knows of a newer route or ring of the tenant (fence.ts). */
  | { readonly kind: "stale"; readonly revision: number }
  | { readonly kind: "state"; readonly state: Uint8Array | undefined }
  /** Not remembered: with the dots of the versions alive here that are old and were stamped by a first attempt. */
  | { readonly kind: "recalled"; readonly answer: Clock | undefined; readonly alive: readonly Dot[] }
  /** `isFirst`: the replica had not heard of the write id before. */
  | { readonly kind: "voted"; readonly bodyHash: Uint8Array; readonly isFirst: boolean }
  | { readonly kind: "refused"; readonly code: RefusalCode; readonly clock: Clock };

const RESULT = {
  stamped: 1,
  done: 2,
  state: 3,
  absent: 4,
  recalled: 5,
  unknown: 6,
  voted: 7,
  refused: 8,
  pending: 9,
  stale: 10,
} as const;

function writeRow(writer: ByteWriter, row: RowKey): void {
  writer.varint(row.tenant);
  writer.u32(row.token.hi);
  writer.u32(row.token.lo);
  writer.string(row.key);
}

/** A row whose key stays bytes of the frame until somebody wants the string: most replicas never do. */
class FrameRow implements RowKey, EncodedKey {
  readonly tenant: number;
  readonly token: Token;
  readonly source: Uint8Array;
  readonly at: number;
  readonly length: number;

  constructor(row: Pick<RowKey, "tenant" | "token">, source: Uint8Array, at: number, length: number) {
    this.tenant = row.tenant;
    this.token = row.token;
    this.source = source;
    this.at = at;
    this.length = length;
  }

  get encoded(): EncodedKey {
    return this;
  }

  get key(): string {
    return asciiText(this.source, this.at, this.length);
  }
}

function readRow(reader: ByteReader): RowKey {
  const tenant = reader.varint();
  const token = { hi: reader.u32(), lo: reader.u32() };
  const length = reader.asciiAhead();
  if (length < 0) return { tenant, token, key: reader.string() };
  return new FrameRow({ tenant, token }, reader.source, reader.skip(length), length);
}

function writeStateBytes(writer: ByteWriter, state: Uint8Array, tail: Uint8Array | undefined): void {
  writer.varint(state.length + (tail?.length ?? 0));
  writer.raw(state);
  if (tail) writer.raw(tail);
}

export function writeOp(writer: ByteWriter, op: ReplicaOp): void {
  writer.u8(KIND[op.kind]);
  switch (op.kind) {
    case "stamp": {
      writeRow(writer, op.row);
      writer.u8(
        (op.value ? 0 : DELETE) |
          (op.clock ? HAS_CLOCK : 0) |
          (op.restamp ? RESTAMP : 0) |
          (op.supersedeAll ? SUPERSEDE_ALL : 0),
      );
      writer.raw(op.writeId);
      if (op.clock) writeClock(writer, op.clock);
      if (op.value) writer.bytes(op.value);
      return;
    }
    case "merge":
      writeRow(writer, op.row);
      return writeStateBytes(writer, op.state, op.tail);
    case "repair":
    case "heal":
      writeRow(writer, op.row);
      return writer.bytes(op.state);
    case "get":
      return writeRow(writer, op.row);
    case "recall":
      writeRow(writer, op.row);
      return writer.raw(op.writeId);
    case "vote":
      writeRow(writer, op.row);
      writer.raw(op.writeId);
      return writer.raw(op.bodyHash);
    case "hint":
      writeRow(writer, op.row);
      writer.string(op.target);
      return writeStateBytes(writer, op.state, op.tail);
    case "settled":
      writer.varint(op.actor);
      writer.varint(op.counters.length);
      for (const counter of op.counters) writer.varint(counter);
      return;
    case "deadline":
      return writer.varint(op.atMs);
    case "route":
      writer.varint(op.revision);
  }
}

function readStamp(reader: ByteReader): StampOp {
  const row = readRow(reader);
  const flags = reader.u8();
  return {
    kind: "stamp",
    row,
    writeId: reader.raw(WRITE_ID_BYTES),
    clock: flags & HAS_CLOCK ? readClock(reader) : undefined,
    value: flags & DELETE ? undefined : reader.bytes(),
    restamp: (flags & RESTAMP) !== 0,
    supersedeAll: (flags & SUPERSEDE_ALL) !== 0,
  };
}

function readSettled(reader: ByteReader): SettledOp {
  const actor = reader.varint();
  const counters: number[] = [];
  for (let i = reader.varint(); i > 0; i--) counters.push(reader.varint());
  return { kind: "settled", actor, counters };
}

export function readOp(reader: ByteReader): ReplicaOp {
  const kind = reader.u8();
  switch (kind) {
    case KIND.stamp:
      return readStamp(reader);
    case KIND.merge:
      return { kind: "merge", row: readRow(reader), state: reader.bytes() };
    case KIND.repair:
      return { kind: "repair", row: readRow(reader), state: reader.bytes() };
    case KIND.heal:
      return { kind: "heal", row: readRow(reader), state: reader.bytes() };
    case KIND.get:
      return { kind: "get", row: readRow(reader) };
    case KIND.recall:
      return { kind: "recall", row: readRow(reader), writeId: reader.raw(WRITE_ID_BYTES) };
    case KIND.vote:
      return {
        kind: "vote",
        row: readRow(reader),
        writeId: reader.raw(WRITE_ID_BYTES),
        bodyHash: reader.raw(BODY_HASH_BYTES),
      };
    case KIND.hint:
      return { kind: "hint", row: readRow(reader), target: reader.string(), state: reader.bytes() };
    case KIND.settled:
      return readSettled(reader);
    case KIND.deadline:
      return { kind: "deadline", atMs: reader.varint() };
    case KIND.route:
      return { kind: "route", revision: reader.varint() };
    default:
      throw new MalformedBytes(`unknown replica operation ${kind}`);
  }
}

export function readOps(frame: Uint8Array): ReplicaOp[] {
  const reader = new ByteReader(frame);
  const ops: ReplicaOp[] = [];
  while (!reader.done) ops.push(readOp(reader));
  return ops;
}

export function writeResult(writer: ByteWriter, result: ReplicaResult): void {
  switch (result.kind) {
    case "stamped":
      writer.u8(RESULT.stamped);
      writer.varint(result.counter);
      writer.varint(result.unsettledCount);
      writer.u8((result.repeated ? 1 : 0) | (result.wantsValue ? 2 : 0));
      writeClock(writer, result.answer);
      return writer.bytes(result.prefix);
    case "done":
      return writer.u8(RESULT.done);
    case "pending":
      return writer.u8(RESULT.pending);
    case "stale":
      writer.u8(RESULT.stale);
      return writer.varint(result.revision);
    case "state":
      writer.u8(result.state ? RESULT.state : RESULT.absent);
      if (result.state) writer.bytes(result.state);
      return;
    case "recalled":
      writer.u8(result.answer ? RESULT.recalled : RESULT.unknown);
      writeClock(writer, result.answer ?? { vector: [], dots: result.alive, time: 0 });
      return;
    case "voted":
      writer.u8(RESULT.voted);
      writer.u8(result.isFirst ? 1 : 0);
      return writer.raw(result.bodyHash);
    case "refused":
      writer.u8(RESULT.refused);
      writer.u8(REFUSALS.indexOf(result.code));
      writeClock(writer, result.clock);
  }
}

function readStamped(reader: ByteReader): ReplicaResult {
  const counter = reader.varint();
  const unsettledCount = reader.varint();
  const flags = reader.u8();
  const answer = readClock(reader);
  return {
    kind: "stamped",
    counter,
    unsettledCount,
    repeated: (flags & 1) !== 0,
    wantsValue: (flags & 2) !== 0,
    answer,
    prefix: reader.bytes(),
  };
}

export function readResult(reader: ByteReader): ReplicaResult {
  const kind = reader.u8();
  switch (kind) {
    case RESULT.stamped:
      return readStamped(reader);
    case RESULT.done:
      return { kind: "done" };
    case RESULT.pending:
      return { kind: "pending" };
    case RESULT.stale:
      return { kind: "stale", revision: reader.varint() };
    case RESULT.state:
      return { kind: "state", state: reader.bytes() };
    case RESULT.absent:
      return { kind: "state", state: undefined };
    case RESULT.recalled:
      return { kind: "recalled", answer: readClock(reader), alive: [] };
    case RESULT.unknown:
      return { kind: "recalled", answer: undefined, alive: readClock(reader).dots };
    case RESULT.voted:
      return { kind: "voted", isFirst: reader.u8() === 1, bodyHash: reader.raw(BODY_HASH_BYTES) };
    case RESULT.refused: {
      const code = REFUSALS[reader.u8()];
      if (!code) throw new MalformedBytes("unknown refusal");
      return { kind: "refused", code, clock: readClock(reader) };
    }
    default:
      throw new MalformedBytes(`unknown replica result ${kind}`);
  }
}
