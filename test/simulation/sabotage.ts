// Mistakes planted into a run, to prove that the checker would see them. They change what travels between the shipped classes, or
// what a node reads at its start; the shipped code has no branch for them.
import { type ReplicaResult, readOps, writeOp } from "../../src/replication/frames.ts";
import { hex } from "../../src/replication/hex.ts";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { actorOf, EMPTY_CLOCK } from "../../src/wire/clock.ts";
import type { Sabotage } from "./hooks.ts";
import { acknowledge, answerAll, isContextOfRecall, mapOps, mapResults, mapShipped, NOTHING } from "./tamper.ts";

/** Made anew for each run: some remember what they saw. */
export type MakeSabotage = () => Sabotage;

/** What a coordinator believes that counts the late answer of one replica again, for a replica that it did not reach. */
function countTwice(): Sabotage {
  const acknowledged = new Set<string>();
  // Each replica has a time of its own for deadlines.
  const nameOf = (frame: Uint8Array): string => hex(mapOps(frame, (op) => (op.kind === "deadline" ? NOTHING : op)));
  return {
    answer: (answer, frame) => {
      acknowledged.add(nameOf(frame));
      return answer;
    },
    unreached: (frame) => (acknowledged.has(nameOf(frame)) ? acknowledge(frame) : undefined),
  };
}

/** Tells each replica with a state that all stamps of it are settled, before anyone can know. */
function settleEarly(frame: Uint8Array): Uint8Array {
  const writer = new ByteWriter(frame.length + 64);
  const ops = readOps(frame);
  for (const op of ops) writeOp(writer, op);
  for (const op of ops) {
    if (op.kind !== "merge" && op.kind !== "stamp") continue;
    for (let node = 1; node <= 5; node++) {
      const counters = Array.from({ length: 60 }, (_, i) => i + 1);
      writeOp(writer, { kind: "settled", actor: actorOf(node, 1), counters });
    }
  }
  return writer.take();
}

const RETRIED_BLINDLY: Sabotage = {
  request: (frame) =>
    mapOps(frame, (op) => (op.kind === "stamp" && isContextOfRecall(op) ? { ...op, clock: undefined } : op)),
  answer: mapResults((result) =>
    result.kind === "recalled" ? { kind: "recalled", answer: undefined, alive: [] } : result,
  ),
};

const ABSENT: ReplicaResult = { kind: "state", state: undefined };

const STATELESS: Readonly<Record<string, Sabotage>> = {
  "delta shipping: only the newest version is shipped": {
    request: (frame) => mapShipped(frame, (state) => ({ ...state, versions: state.versions.slice(-1) })),
  },
  "double stamp: nobody is asked before a second replica stamps": RETRIED_BLINDLY,
  "nothing is remembered of a write": { forgetsRecords: true },
  "counter reset: a restarted node counts from zero": { reservedAtStart: () => 0 },
  "a rebuilt node keeps its incarnation": { incarnationOnRebuild: (incarnation) => incarnation },
  "a pending node counts in W, and is read before it holds anything": {
    stateShown: (state) => (state === "bootstrapping" ? "active" : state),
    countsWhileRebuilding: true,
  },
  "hint lost: it is said to be kept and is not": { losesHints: true },
  "hints counted as acknowledgements": { unreached: (frame) => acknowledge(frame) },
  "unsettled writes are not carried": {
    request: (frame) => mapShipped(frame, (state) => ({ ...state, unsettled: [] })),
  },
  "a stamp counts as settled before a majority holds it": { request: settleEarly },
  "W-1: one replica acknowledges what it does not keep": {
    request: (frame, nodeId) => (nodeId === "n3" ? mapOps(frame, (op) => (op.kind === "merge" ? NOTHING : op)) : frame),
  },
  "R-1: a replica that is not reached counts as an empty one": {
    unreached: (frame) => answerAll(frame, (op) => (op.kind === "get" ? ABSENT : undefined)),
  },
  "context dropped: a write supersedes all that is held": {
    request: (frame) => mapOps(frame, (op) => (op.kind === "stamp" ? { ...op, clock: undefined } : op)),
  },
  "times below the writer's context": {
    request: (frame) =>
      mapOps(frame, (op) => (op.kind === "stamp" && op.clock ? { ...op, clock: { ...op.clock, time: 0 } } : op)),
  },
  "stamps without a deadline": { request: (frame) => mapOps(frame, (op) => (op.kind === "deadline" ? NOTHING : op)) },
  "a read shows the join before the replicas hold it": {
    request: (frame) => mapOps(frame, (op) => (op.kind === "repair" ? NOTHING : op)),
  },
  "early purge: tombstones are not shipped": {
    request: (frame) =>
      mapShipped(frame, (state) => ({ ...state, versions: state.versions.filter((version) => version.value) })),
  },
  "early purge: a deleted key is forgotten with its context": { purgesDeleted: true },
  "the vote says yes to every body": {
    answer: mapResults((result, op) =>
      result.kind === "voted" && op.kind === "vote" ? { ...result, bodyHash: op.bodyHash } : result,
    ),
  },
  "overloaded is said of what was stamped": {
    answer: mapResults((result) =>
      result.kind === "stamped" && result.counter % 16 === 0
        ? { kind: "refused", code: "overloaded", clock: EMPTY_CLOCK }
        : result,
    ),
  },
};

export const PLANTED: Readonly<Record<string, MakeSabotage>> = {
  ...Object.fromEntries(Object.entries(STATELESS).map(([name, sabotage]) => [name, () => sabotage])),
  "a late answer is counted twice": countTwice,
};
