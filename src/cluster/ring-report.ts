// How a ring divides data: each node's share, and what a change of it moves. For reports and decisions, not for the way of a request.

import type { Ring } from "./ring.ts";

const RING = 2 ** 32;

/** Node → share of all replicas that it holds for its weight, 1 = the mean. */
export function relativeLoads(ring: Ring, replicationFactor: number): ReadonlyMap<string, number> {
  const shares = new Map(ring.nodes.map(({ id }) => [id, 0]));
  let all = 0;
  for (const { fromHi, toHi } of ring.ranges()) {
    const share = (toHi - fromHi + 1) / RING;
    for (const id of ring.replicas({ hi: fromHi, lo: 0 }, replicationFactor).read) {
      shares.set(id, shares.get(id)! + share);
      all += share;
    }
  }
  const weights = ring.nodes.reduce((sum, { weight }) => sum + weight, 0);
  return new Map(ring.nodes.map(({ id, weight }) => [id, shares.get(id)! / ((all * weight) / weights)]));
}

/** Node → replicas that it gets, in copies of the whole ring. */
export function moved(before: Ring, after: Ring, replicationFactor: number): ReadonlyMap<string, number> {
  const gains = new Map<string, number>();
  const ends = [...before.ranges(), ...after.ranges()].map(({ toHi }) => toHi);
  let fromHi = 0;
  for (const toHi of [...new Set(ends)].sort((a, b) => a - b)) {
    const token = { hi: toHi, lo: 0 };
    const old = before.replicas(token, replicationFactor).read;
    for (const id of after.replicas(token, replicationFactor).read)
      if (!old.includes(id)) gains.set(id, (gains.get(id) ?? 0) + (toHi - fromHi + 1) / RING);
    fromHi = toHi + 1;
  }
  return gains;
}
