// What replacing the storage nodes of an instance would move, and to whom. Pure.
// Must not: change anything; it is for people to read before they let it be done.
import type { StorageNode } from "../access/types.ts";
import { Ring } from "./ring.ts";

const TOKENS = 2 ** 32;

export interface NodePlan {
  readonly nodeId: string;
  /** Part of all keys that it holds a replica of, at the replication factor given. */
  readonly share: number;
  /** Other node → part of all keys that it would take over. */
  readonly takenBy: Readonly<Record<string, number>>;
  /** Part of all keys for which no other node is left. */
  readonly unplaced: number;
}

/** As if all nodes of `zone` left the ring at once. */
export function planReplacement(
  nodes: readonly StorageNode[],
  { zone, replicationFactor }: { readonly zone: string; readonly replicationFactor: number },
): readonly NodePlan[] {
  const now = new Ring(nodes);
  const leaving = nodes.filter((node) => node.zone === zone && node.state !== "removed");
  const then = new Ring(nodes.filter((node) => node.zone !== zone));
  const plans = new Map(leaving.map(({ id }) => [id, { share: 0, unplaced: 0, takenBy: new Map<string, number>() }]));
  for (const { fromHi, toHi } of now.ranges()) {
    const part = (toHi - fromHi + 1) / TOKENS;
    const token = { hi: toHi, lo: 0 };
    const holders = now.replicas(token, replicationFactor).write;
    const next = then.nodes.length === 0 ? [] : then.replicas(token, replicationFactor).write;
    const takers = next.filter((id) => !holders.includes(id));
    for (const id of holders) {
      const plan = plans.get(id);
      if (!plan) continue;
      plan.share += part;
      const taker = takers.shift();
      if (taker === undefined) plan.unplaced += part;
      else plan.takenBy.set(taker, (plan.takenBy.get(taker) ?? 0) + part);
    }
  }
  return [...plans].map(([nodeId, { share, unplaced, takenBy }]) => {
    const taken = [...takenBy].map(([id, part]) => [id, rounded(part)] as const);
    return { nodeId, share: rounded(share), unplaced: rounded(unplaced), takenBy: Object.fromEntries(taken) };
  });
}

function rounded(part: number): number {
  return Math.round(part * 10_000) / 10_000;
}
