// What a change of the ring is for: which node joins, leaves or gets another weight, and what the nodes' records are at each step.
// Guarantees: pure; a step applied twice is applied once; numbers of nodes are never used again. Must not: know how data moves.
import type { NodeState, StorageNode } from "../access/types.ts";
import { withPositions } from "./joining.ts";
import { newPositions } from "./positions.ts";
import { positionsOf } from "./ring.ts";

export type RingChangeKind = "add" | "remove" | "replace" | "weigh";

/** With all that was chosen once, so that every step is the same whoever repeats it. */
export interface RingTarget {
  readonly kind: RingChangeKind;
  /** Whom it is about: of a replacement, who is replaced. */
  readonly nodeId: string;
  /** Leave with it. */
  readonly others?: readonly string[] | undefined;
  /** Joins with these places. */
  readonly joining?: StorageNode | undefined;
  readonly next?: StorageNode["next"];
}

/** The weight that a node of this record stands on the ring with, changed: as few places as possible come or go. */
export function nextOfWeight(
  nodes: readonly StorageNode[],
  node: StorageNode,
  weight: number,
  random: () => number,
): NonNullable<StorageNode["next"]> {
  const held = positionsOf(node);
  const wanted = Math.max(1, Math.round((held.length * weight) / node.weight));
  if (wanted <= held.length) {
    // Every so-manieth stays: what is given up lies all over the ring.
    const positions = Array.from({ length: wanted }, (_, i) => held[Math.floor((i * held.length) / wanted)]!);
    return { weight, positions: [...new Set(positions)].sort((a, b) => a - b) };
  }
  const placed = nodes.map((each) => ({ ...each, positions: positionsOf(each) }));
  const more = newPositions(placed, { zone: node.zone, weight: weight - node.weight }, random);
  return { weight, positions: [...new Set([...held, ...more])].sort((a, b) => a - b) };
}

/** The record of a node that joins, with places of its own, or with those of the node that it replaces. */
export function joiningNode(
  nodes: readonly StorageNode[],
  of: Pick<StorageNode, "id" | "number" | "zone" | "weight"> & { readonly inPlaceOf?: StorageNode | undefined },
  random: () => number,
): StorageNode {
  const { inPlaceOf, ...rest } = of;
  const node: StorageNode = { ...rest, incarnation: 0, state: "bootstrapping" };
  if (inPlaceOf) return { ...node, weight: inPlaceOf.weight, positions: positionsOf(inPlaceOf) };
  const standing = nodes.filter(({ state }) => state !== "removed" && state !== "leaving");
  return withPositions(standing, node, random);
}

/** Whom it is about. */
export function isConcerned({ nodeId, others = [], joining }: RingTarget, id: string): boolean {
  return id === nodeId || id === joining?.id || others.includes(id);
}

const leaves = (target: RingTarget, { id }: StorageNode): boolean =>
  (target.kind === "remove" || target.kind === "replace") && id !== target.joining?.id && isConcerned(target, id);

function changed(
  nodes: readonly StorageNode[],
  target: RingTarget,
  change: (node: StorageNode) => StorageNode,
): StorageNode[] {
  return nodes.map((node) => (isConcerned(target, node.id) ? change(node) : node));
}

const withState = (node: StorageNode, state: NodeState): StorageNode => ({ ...node, state });

/** While the change is under way. */
export function nodesDuring(nodes: readonly StorageNode[], target: RingTarget): StorageNode[] {
  const { joining, next } = target;
  const all = joining && !nodes.some(({ id }) => id === joining.id) ? [...nodes, joining] : nodes;
  return changed(all, target, (node) => {
    if (leaves(target, node)) return withState(node, "draining");
    return target.kind === "weigh" ? { ...node, next } : node;
  });
}

/** When data no longer moves: the new ring, or the one from before. */
export function nodesAfter(nodes: readonly StorageNode[], target: RingTarget, isCancelled: boolean): StorageNode[] {
  return changed(nodes, target, ({ next, ...node }) => {
    if (node.id === target.joining?.id) return withState(node, isCancelled ? "leaving" : "active");
    if (leaves(target, node) && !isCancelled) return withState(node, "leaving");
    if (node.state === "draining") return withState(node, "active");
    return next && !isCancelled ? { ...node, ...next } : node;
  });
}

/** When nodes that left hold nothing any more. */
export function nodesCleaned(nodes: readonly StorageNode[], target: RingTarget): StorageNode[] {
  return changed(nodes, target, (node) => (node.state === "leaving" ? withState(node, "removed") : node));
}
