// A storage node that joins a ring: the positions that suit it best, of several that would do.
// Guarantees: the same nodes and randomness give the same positions. Costs a walk around the ring for each try.

import type { StorageNode } from "../access/types.ts";
import { newPositions } from "./positions.ts";
import { positionsOf, Ring } from "./ring.ts";
import { relativeLoads } from "./ring-report.ts";

/** The factor that most data has: what suits it suits others well enough. */
const FACTOR = 3;
const TRIES = 8;

/** The node with positions: those by which its own load and the fullest node's are nearest to their shares. */
export function withPositions(nodes: readonly StorageNode[], joining: StorageNode, random: () => number): StorageNode {
  const placed = nodes.map((node) => ({ ...node, positions: positionsOf(node) }));
  const tries = Array.from({ length: TRIES }, () => {
    const node = { ...joining, positions: newPositions(placed, joining, random) };
    const loads = relativeLoads(new Ring([...nodes, node]), FACTOR);
    return { node, badness: Math.max(...loads.values(), 2 - loads.get(node.id)!) };
  });
  return tries.reduce((best, one) => (one.badness < best.badness ? one : best)).node;
}
