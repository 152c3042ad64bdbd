// What named schedules share: one tenant, numbered writes, and a world whose coordinators know the replicas' clocks.
import type { Caller } from "../../src/access/types.ts";
import { decodeState, type KeyState } from "../../src/kv/key-state.ts";
import type { ReplicaOp } from "../../src/replication/frames.ts";
import type { Clock } from "../../src/wire/clock.ts";
import type { SessionAnswer } from "../../src/wire/session.ts";
import { World } from "./world.ts";

export const CALLER: Caller = {
  tenant: 7,
  canWrite: true,
  replicationFactor: 3,
  defaultConsistency: "quorum",
  conflictPolicy: "siblings",
};
export const ROW = { tenant: 7, key: "k", token: { hi: 0, lo: 0 } };
export const NODES = ["n1", "n2", "n3"];
export const EMPTY: Clock = { vector: [], dots: [], time: 0 };
export const GET = { op: "get" as const, key: "k" };

export function idOf(n: number): Uint8Array {
  return new Uint8Array(16).fill(n);
}

/** The write number `n`, of the value `n`. */
export function put(n: number, more: object = {}) {
  return { op: "put" as const, key: "k", writeId: idOf(n), value: new TextEncoder().encode(String(n)), ...more };
}

export function stampOf(n: number, more: object = {}): ReplicaOp {
  const { writeId, value } = put(n);
  const op = {
    kind: "stamp" as const,
    row: ROW,
    writeId,
    value,
    clock: undefined,
    restamp: false,
    supersedeAll: false,
  };
  return { ...op, ...more };
}

export function mergeOf(state: Uint8Array): ReplicaOp {
  return { kind: "merge", row: ROW, state };
}

export function hasStamp(ops: readonly ReplicaOp[], n: number): boolean {
  return ops.some((op) => op.kind === "stamp" && op.writeId[0] === n);
}

export function valuesOf(answer: SessionAnswer): string[] {
  if (answer.kind !== "value") return [answer.kind];
  const values = answer.siblings ? answer.siblings.map((sibling) => sibling.value) : [answer.value];
  return values.map((value) => (value ? new TextDecoder().decode(value) : "deleted")).sort();
}

export function clockOf(answer: SessionAnswer | undefined): Clock {
  if (!answer || !("clock" in answer)) throw new Error(`no clock in ${JSON.stringify(answer)}`);
  return answer.clock;
}

export function codeOf(answer: SessionAnswer | undefined): string | undefined {
  return answer?.kind === "error" ? answer.code : answer?.kind;
}

export function bytesAt(world: World, nodeId: string): Uint8Array {
  return world.node(nodeId).engine.get(ROW)!.slice();
}

export function stateAt(world: World, nodeId: string): KeyState {
  return decodeState(bytesAt(world, nodeId));
}

/** A world in which coordinators that stamp first in each zone have met all replicas. */
export async function warmWorld(seed = 1) {
  const world = new World(seed);
  const coordinators = NODES.map((_, i) =>
    world.coordinator(undefined, { stampZone: `z${i + 1}`, readZone: `z${i + 1}` }),
  );
  for (const [i, coordinator] of coordinators.entries()) {
    await world.ask(coordinator, CALLER, { ...put(240 + i), key: `warm${i}`, consistency: "all" });
    await world.ask(coordinator, CALLER, { op: "get", key: `warm${i}`, consistency: "all" });
  }
  return {
    world,
    coordinators: coordinators as [(typeof coordinators)[0], (typeof coordinators)[0], (typeof coordinators)[0]],
  };
}

/** The hints of what timed out are made first, then they are gone. */
export async function loseHints(world: World): Promise<void> {
  await world.run(300);
  for (const node of world.nodes.values()) for (const target of node.hints.targets()) node.hints.drop(target, 1e9);
}
