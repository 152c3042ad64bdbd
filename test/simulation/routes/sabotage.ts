// Mistakes planted into a run, to prove that the checker would see them. They change what travels between the shipped classes, or
// what a node reads at its start; the shipped code has no branch for them.
import { decodeState, encodeState, type KeyState } from "../../../src/kv/key-state.ts";
import {
  isOfFrame,
  type ReplicaOp,
  type ReplicaResult,
  readOps,
  readResult,
  type StampOp,
  writeOp,
  writeResult,
} from "../../../src/replication/frames.ts";
import { readAnswerHeader } from "../../../src/replication/replica.ts";
import { ByteReader, ByteWriter } from "../../../src/wire/bytes.ts";
import type { Sabotage } from "./world.ts";

function mapOps(frame: Uint8Array, change: (op: ReplicaOp) => ReplicaOp): Uint8Array {
  const writer = new ByteWriter(frame.length);
  for (const op of readOps(frame)) writeOp(writer, change(op));
  return writer.take();
}

function mapShipped(frame: Uint8Array, change: (state: KeyState) => KeyState): Uint8Array {
  return mapOps(frame, (op) =>
    op.kind === "merge" ? { ...op, state: encodeState(change(decodeState(op.state))) } : op,
  );
}

function mapResults(
  answer: Uint8Array,
  frame: Uint8Array,
  change: (result: ReplicaResult) => ReplicaResult,
): Uint8Array {
  const reader = new ByteReader(answer);
  const { actor, counter, nowMs } = readAnswerHeader(reader);
  const writer = new ByteWriter(answer.length + 64);
  for (const field of [actor, counter, nowMs]) writer.varint(field);
  for (const _ of readOps(frame)) writeResult(writer, change(readResult(reader)));
  return writer.take();
}

/** "Done" for every operation of a frame that only brings states: what a coordinator believes that counts a hint. */
function acknowledge(frame: Uint8Array): Uint8Array | undefined {
  const ops = readOps(frame);
  if (!ops.every((op) => isOfFrame(op) || op.kind === "merge")) return undefined;
  const writer = new ByteWriter(64);
  for (const field of [0, 0, 0]) writer.varint(field);
  for (const _ of ops) writeResult(writer, { kind: "done" });
  return writer.take();
}

/** The context that the coordinator gives a retry's stamp by what a majority held, not the client's own. */
function isContextOfRecall(op: StampOp): boolean {
  return op.restamp && op.clock?.vector.length === 0;
}

/** An operation that is answered "done" and does nothing. */
const NOTHING: ReplicaOp = { kind: "deadline", atMs: Number.MAX_SAFE_INTEGER };

export const PLANTED: Readonly<Record<string, Sabotage>> = {
  "delta shipping: only the newest version is shipped": {
    request: (frame) => mapShipped(frame, (state) => ({ ...state, versions: state.versions.slice(-1) })),
  },
  "double stamp: nobody is asked before a second replica stamps": {
    request: (frame) =>
      mapOps(frame, (op) => (op.kind === "stamp" && isContextOfRecall(op) ? { ...op, clock: undefined } : op)),
    answer: (answer, frame) =>
      mapResults(answer, frame, (result) =>
        result.kind === "recalled" ? { kind: "recalled", answer: undefined, alive: [] } : result,
      ),
  },
  "nothing is remembered of a write": { forgetsRecords: true },
  "counter reset: a restarted node counts from zero": { reservedAtStart: () => 0 },
  "a rebuilt node keeps its incarnation": { incarnationOnRebuild: (incarnation) => incarnation },
  "hints counted as acknowledgements": { unreached: (frame) => acknowledge(frame) },
  "unsettled writes are not carried": {
    request: (frame) => mapShipped(frame, (state) => ({ ...state, unsettled: [] })),
  },
  "W-1: one replica acknowledges what it does not keep": {
    request: (frame, nodeId) => (nodeId === "n3" ? mapOps(frame, (op) => (op.kind === "merge" ? NOTHING : op)) : frame),
  },
  "a node that lost its disk counts while it is empty": { countsWhileEmpty: true },
  "a read shows the join before the replicas hold it": {
    request: (frame) => mapOps(frame, (op) => (op.kind === "repair" ? NOTHING : op)),
  },
};
