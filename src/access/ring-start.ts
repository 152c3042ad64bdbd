// The storage nodes a deployment begins with, and how many replicas a key can have. Pure.
import type { StorageNode } from "./types.ts";

/** n1, n2, … over z1, z2, … in turns. Incarnation 0: none has registered yet. */
export function firstNodes(nodeCount: number, zoneCount: number): StorageNode[] {
  return Array.from({ length: nodeCount }, (_, index) => ({
    id: `n${index + 1}`,
    number: index + 1,
    incarnation: 0,
    zone: `z${(index % zoneCount) + 1}`,
    weight: 1,
    state: "active",
  }));
}

const STAYS: ReadonlySet<StorageNode["state"]> = new Set(["active", "rebuilding", "failed"]);

/** Replicas of a key lie in distinct zones (DESIGN 4), so there are at most as many as zones with nodes that stay. */
export function maxReplicationFactor(nodes: readonly StorageNode[]): number {
  return new Set(nodes.filter((node) => STAYS.has(node.state)).map((node) => node.zone)).size;
}
