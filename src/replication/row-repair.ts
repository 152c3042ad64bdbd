// Brings rows to agreement between replicas, as a quorum read does (ADR 13), for those that compare whole ranges.
// Guarantees: when it resolves, each of the nodes holds at least the join of what all of them held; what one of them remembers as
// superseded is gone at all of them, unless writes went on meanwhile. Rejects when a node does not answer. Must not: decide which
// nodes are enough.
import { decodeState, EMPTY_STATE, encodeState, sameBytes } from "../kv/key-state.ts";
import { mergeStates } from "../kv/merge.ts";
import type { RowKey } from "../storage/types.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import { type ReplicaOp, type ReplicaResult, readResult, writeOp } from "./frames.ts";
import { PEER_FRAME_LIFE_MS, REPAIR_ROUNDS, SYNC_REPAIR_ROWS } from "./limits.ts";
import { readAnswerHeader } from "./replica.ts";

export type CallReplica = (nodeId: string, frame: Uint8Array) => Promise<Uint8Array>;

export interface RowToRepair {
  readonly row: RowKey;
  readonly nodes: readonly string[];
}

interface Open extends RowToRepair {
  /** By node; a node is missing until it was read. */
  readonly states: Map<string, Uint8Array | undefined>;
}

type OpOf = (one: Open, nodeId: string) => ReplicaOp | undefined;

/** Thrown where a copy cannot be read: another way must heal it. */
export class UnreadableCopy extends Error {
  override readonly name = "UnreadableCopy";
}

/** Returns how many bytes of states were brought to nodes. */
export async function repairRows(rows: readonly RowToRepair[], call: CallReplica): Promise<number> {
  let sentBytes = 0;
  let open: Open[] = rows.map((one) => ({ ...one, states: new Map() }));
  /** The nodes' clocks as of their last answers: a frame with states that comes much later is refused. */
  const clocks = new Map<string, number>();
  const exchangeAll = (opOf: OpOf): Promise<void> => exchange(open, { call, clocks, opOf });
  for (let round = 0; round < REPAIR_ROUNDS && open.length > 0; round++) {
    await exchangeAll((one, nodeId) => (one.states.has(nodeId) ? undefined : { kind: "get", row: one.row }));
    const joined = new Map(open.map((one) => [one, joinOf(one)]));
    await exchangeAll((one, nodeId) => {
      const state = joined.get(one);
      if (!state || !one.states.has(nodeId)) return undefined;
      const held = one.states.get(nodeId);
      if (held && sameBytes(held, state)) return undefined;
      one.states.set(nodeId, state);
      sentBytes += state.length;
      return { kind: "repair", row: one.row, state };
    });
    open = open.filter((one) => !isAgreed(one));
  }
  return sentBytes;
}

/** Undefined while a node was not read (its answer was deferred), or when nobody holds the row. */
function joinOf({ nodes, states }: Open): Uint8Array | undefined {
  if (nodes.some((id) => !states.has(id))) return undefined;
  let joined = EMPTY_STATE;
  let isHeld = false;
  for (const state of states.values()) {
    if (!state) continue;
    isHeld = true;
    joined = mergeStates(joined, decodeState(state));
  }
  return isHeld ? encodeState(joined) : undefined;
}

function isAgreed({ nodes, states }: Open): boolean {
  const first = states.get(nodes[0]!);
  return nodes.every((id) => {
    const state = states.get(id);
    return (
      states.has(id) && (state === first || (state !== undefined && first !== undefined && sameBytes(state, first)))
    );
  });
}

/** One frame a node with the operations that `opOf` gives for its rows. */
async function exchange(
  open: readonly Open[],
  { call, clocks, opOf }: { readonly call: CallReplica; readonly clocks: Map<string, number>; readonly opOf: OpOf },
): Promise<void> {
  const nodes = new Set(open.flatMap((one) => one.nodes));
  await Promise.all(
    [...nodes].map(async (nodeId) => {
      const writer = new ByteWriter(4096);
      const asked: Open[] = [];
      for (const one of open) {
        const op = one.nodes.includes(nodeId) ? opOf(one, nodeId) : undefined;
        if (!op) continue;
        writeOp(writer, op);
        asked.push(one);
      }
      if (asked.length === 0) return;
      const clock = clocks.get(nodeId);
      if (clock !== undefined) writeOp(writer, { kind: "deadline", atMs: clock + PEER_FRAME_LIFE_MS });
      const reader = new ByteReader(await call(nodeId, writer.take()));
      clocks.set(nodeId, readAnswerHeader(reader).nowMs);
      for (const one of asked) take(one, nodeId, readResult(reader));
    }),
  );
}

function take(one: Open, nodeId: string, result: ReplicaResult): void {
  switch (result.kind) {
    case "state":
      one.states.set(nodeId, result.state);
      return;
    case "done":
      return;
    case "refused":
      if (result.code === "deferred") return void one.states.delete(nodeId);
      // The tenant is gone: nothing of it needs to agree.
      if (result.code === "tenantErased") return void one.states.set(nodeId, undefined);
      if (result.code === "corrupt") throw new UnreadableCopy(`${nodeId} cannot read ${one.row.key}`);
      throw new Error(`${nodeId} refused a repair: ${result.code}`);
    default:
      throw new Error(`${nodeId} answered a repair with ${result.kind}`);
  }
}

/**
 * Some rows after the other. Tells how many could not be repaired because a copy is unreadable; only where those may be passed over.
 */
export async function repairInGroups(
  rows: readonly RowToRepair[],
  { call, mayPassOver }: { readonly call: CallReplica; readonly mayPassOver: boolean },
): Promise<{ readonly unreadable: number; readonly sentBytes: number }> {
  let unreadable = 0;
  let sentBytes = 0;
  for (let i = 0; i < rows.length; i += SYNC_REPAIR_ROWS) {
    const group = rows.slice(i, i + SYNC_REPAIR_ROWS);
    try {
      sentBytes += await repairRows(group, call);
    } catch (error) {
      if (!(error instanceof UnreadableCopy) || !mayPassOver) throw error;
      for (const one of group) {
        await repairRows([one], call).catch((reason: unknown) => {
          if (!(reason instanceof UnreadableCopy)) throw reason;
          unreadable++;
        });
      }
    }
  }
  return { unreadable, sentBytes };
}
