// What travels between coordinators and replicas, changed on its way: the tools of planted mistakes.
import { decodeState, encodeState, type KeyState } from "../../src/kv/key-state.ts";
import {
  isOfFrame,
  type ReplicaOp,
  type ReplicaResult,
  readOps,
  readResult,
  type StampOp,
  writeOp,
  writeResult,
} from "../../src/replication/frames.ts";
import { readAnswerHeader } from "../../src/replication/replica.ts";
import { ByteReader, ByteWriter } from "../../src/wire/bytes.ts";

const DONE: ReplicaResult = { kind: "done" };

export function mapOps(frame: Uint8Array, change: (op: ReplicaOp) => ReplicaOp): Uint8Array {
  const writer = new ByteWriter(frame.length);
  for (const op of readOps(frame)) writeOp(writer, change(op));
  return writer.take();
}

export function mapShipped(frame: Uint8Array, change: (state: KeyState) => KeyState): Uint8Array {
  return mapOps(frame, (op) =>
    op.kind === "merge" ? { ...op, state: encodeState(change(decodeState(op.state))) } : op,
  );
}

/** Answers changed on their way; `change` is told what each of them answers. */
export function mapResults(
  change: (result: ReplicaResult, op: ReplicaOp) => ReplicaResult,
): (answer: Uint8Array, frame: Uint8Array) => Uint8Array {
  return (answer, frame) => {
    const reader = new ByteReader(answer);
    const { actor, counter, nowMs } = readAnswerHeader(reader);
    const writer = new ByteWriter(answer.length + 64);
    for (const field of [actor, counter, nowMs]) writer.varint(field);
    for (const op of readOps(frame)) writeResult(writer, change(readResult(reader), op));
    return writer.take();
  };
}

/** An answer made up for all operations of a frame, or for none. */
export function answerAll(
  frame: Uint8Array,
  answer: (op: ReplicaOp) => ReplicaResult | undefined,
): Uint8Array | undefined {
  const writer = new ByteWriter(64);
  for (const field of [0, 0, 0]) writer.varint(field);
  for (const op of readOps(frame)) {
    const result = isOfFrame(op) ? DONE : answer(op);
    if (!result) return undefined;
    writeResult(writer, result);
  }
  return writer.take();
}

/** "Done" for every operation of a frame that only brings states: what a coordinator believes that counts a hint. */
export function acknowledge(frame: Uint8Array): Uint8Array | undefined {
  return answerAll(frame, (op) => (op.kind === "merge" ? DONE : undefined));
}

/** The context that the coordinator gives a retry's stamp by what a majority held, not the client's own. */
export function isContextOfRecall(op: StampOp): boolean {
  return op.restamp && op.clock?.vector.length === 0;
}

/** An operation that is answered "done" and does nothing. */
export const NOTHING: ReplicaOp = { kind: "settled", actor: 0, counters: [] };
