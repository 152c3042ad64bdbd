// Mistakes planted into a run, to prove that the checker would see them. They change what travels between the shipped classes, or
// what a node reads at its start; the shipped code has no branch for them.
import { acknowledge, isContextOfRecall, mapOps, mapResults, mapShipped, NOTHING } from "../tamper.ts";
import type { Sabotage } from "./world.ts";

export const PLANTED: Readonly<Record<string, Sabotage>> = {
  "delta shipping: only the newest version is shipped": {
    request: (frame) => mapShipped(frame, (state) => ({ ...state, versions: state.versions.slice(-1) })),
  },
  "double stamp: nobody is asked before a second replica stamps": {
    request: (frame) =>
      mapOps(frame, (op) => (op.kind === "stamp" && isContextOfRecall(op) ? { ...op, clock: undefined } : op)),
    answer: mapResults((result) =>
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
