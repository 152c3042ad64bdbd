// Whether one storage node should get another weight so that what nodes hold is even again, and which. Pure (ADR 78).
// Guarantees: one change at a time, of one node, and only one whose expected gain is worth the move; a node stays within half and twice its capacity; where no
// weight helps (a node alone in its zone), nothing is proposed. Must not: know how data moves, or when it is asked.
import type { StorageNode } from "../access/types.ts";
import { Ring } from "./ring.ts";
import { nextOfWeight } from "./ring-target.ts";

/** What is done about skew: nothing; told; done. */
export const REBALANCE_POLICIES = ["off", "dry-run", "act"] as const;
export type RebalancePolicy = (typeof REBALANCE_POLICIES)[number];

/** A change must take at least this part of what the skew is above 1. */
const LEAST_GAIN = 0.25;
/** Of a node's capacity. */
const WEIGHT_BOUNDS = { least: 0.5, most: 2 } as const;
/** Weights are told to people. */
const WEIGHT_STEP = 0.05;

export interface RebalanceFacts {
  readonly nodes: readonly StorageNode[];
  /** What each node holds. Bytes. */
  readonly bytes: ReadonlyMap<string, number>;
  /** Weights that operators gave, where they are not those that nodes have. */
  readonly capacities?: ReadonlyMap<string, number>;
  readonly replicationFactor: number;
  /** Of {@link skewOf}. */
  readonly above: number;
  /** Less than this in all is not worth a move. Bytes. */
  readonly leastBytes: number;
}

export interface RebalanceStep {
  readonly nodeId: string;
  readonly weight: number;
  readonly skew: number;
  /** As far as data lies evenly within what each node holds. */
  readonly expectedSkew: number;
}

type Bytes = ReadonlyMap<string, number>;

function capacityOf(node: StorageNode, { capacities }: Pick<RebalanceFacts, "capacities">): number {
  return capacities?.get(node.id) ?? node.weight;
}

/** Node → what it holds for its capacity, 1 = the mean of all. */
export function relativeBytes(facts: Pick<RebalanceFacts, "nodes" | "capacities" | "bytes">): Map<string, number> {
  const { nodes, bytes } = facts;
  const all = nodes.reduce((sum, { id }) => sum + (bytes.get(id) ?? 0), 0);
  const capacity = nodes.reduce((sum, node) => sum + capacityOf(node, facts), 0);
  return new Map(
    nodes.map((node) => [node.id, (bytes.get(node.id) ?? 0) / ((all * capacityOf(node, facts)) / capacity)]),
  );
}

/** How much more than its share the node holds that has most. 1 = none does. */
export function skewOf(facts: Pick<RebalanceFacts, "nodes" | "capacities" | "bytes">): number {
  return Math.max(...relativeBytes(facts).values());
}

/** What nodes would hold on another ring: a range is as dense as those that hold it now are. */
function expectedBytes(before: Ring, after: Ring, { bytes, replicationFactor }: RebalanceFacts): Bytes {
  const lengths = new Map<string, number>();
  const parts = partsOf(before, after);
  for (const { hi, length } of parts)
    for (const id of before.replicas({ hi, lo: 0 }, replicationFactor).read)
      lengths.set(id, (lengths.get(id) ?? 0) + length);
  const densityOf = (id: string): number => (bytes.get(id) ?? 0) / (lengths.get(id) ?? 1);
  const expected = new Map<string, number>();
  for (const { hi, length } of parts) {
    const token = { hi, lo: 0 };
    const holders = before.replicas(token, replicationFactor).read;
    const density = holders.reduce((sum, id) => sum + densityOf(id), 0) / holders.length;
    for (const id of after.replicas(token, replicationFactor).read)
      expected.set(id, (expected.get(id) ?? 0) + density * length);
  }
  return expected;
}

function partsOf(before: Ring, after: Ring): { readonly hi: number; readonly length: number }[] {
  const ends = new Set([...before.ranges(), ...after.ranges()].map(({ toHi }) => toHi));
  let fromHi = 0;
  return [...ends]
    .sort((a, b) => a - b)
    .map((hi) => {
      const length = hi - fromHi + 1;
      fromHi = hi + 1;
      return { hi, length };
    });
}

function weightFor(node: StorageNode, relative: number, facts: RebalanceFacts): number {
  const capacity = capacityOf(node, facts);
  const { least, most } = WEIGHT_BOUNDS;
  const wanted = Math.min(most * capacity, Math.max(least * capacity, node.weight / relative));
  return Math.max(WEIGHT_STEP, Math.round(wanted / WEIGHT_STEP) * WEIGHT_STEP);
}

/** Undefined = it is even enough, or no weight would help. */
export function planRebalance(facts: RebalanceFacts, random: () => number): RebalanceStep | undefined {
  const nodes = facts.nodes.filter(({ state }) => state === "active");
  const held = nodes.reduce((sum, { id }) => sum + (facts.bytes.get(id) ?? 0), 0);
  if (nodes.length < 2 || held < facts.leastBytes) return undefined;
  const relative = relativeBytes({ ...facts, nodes });
  const skew = Math.max(...relative.values());
  if (skew <= facts.above) return undefined;
  const before = new Ring(nodes);
  // What the same reckoning says of the ring as it is: it evens out what lies unevenly within a node.
  const reckoned = skewOf({ ...facts, nodes, bytes: expectedBytes(before, before, facts) });
  let best: RebalanceStep | undefined;
  // Who holds most gives some up, or who holds least takes more.
  const order = nodes.toSorted((a, b) => relative.get(b.id)! - relative.get(a.id)!);
  for (const node of new Set([order[0]!, order.at(-1)!])) {
    const weight = Number(weightFor(node, Math.max(relative.get(node.id)!, Number.EPSILON), facts).toFixed(2));
    if (weight === node.weight) continue;
    const next = nextOfWeight(nodes, node, weight, random);
    const after = nodes.map((each) => (each === node ? { ...each, ...next } : each));
    const bytes = expectedBytes(before, new Ring(after), facts);
    const expectedSkew = (skew * skewOf({ ...facts, nodes, bytes })) / reckoned;
    if (skew - expectedSkew < LEAST_GAIN * (skew - 1)) continue;
    if (!best || expectedSkew < best.expectedSkew) best = { nodeId: node.id, weight, skew, expectedSkew };
  }
  return best;
}

/** A re-weighing that was done by itself: the node's weight before and after it, and what operators had given it. */
export interface AutomaticWeight {
  readonly capacity: number;
  readonly from: number;
  readonly to: number;
}

/** A weight that is neither of both was given by hand since, and is the node's capacity. */
export function capacitiesOf(
  nodes: readonly StorageNode[],
  held: Readonly<Record<string, AutomaticWeight>>,
): Map<string, number> {
  const known = nodes.flatMap(({ id, weight }) => {
    const own = held[id];
    return own && (weight === own.from || weight === own.to) ? [[id, own.capacity] as const] : [];
  });
  return new Map(known);
}

/** Kept between looks. */
export interface RebalanceRecord {
  readonly lookedAtMs: number;
  /** Looks, one after the other, that found the same to do. */
  readonly seen: number;
  /** What was told last under `dry-run`: node and weight. */
  readonly told: string;
  readonly weights: Readonly<Record<string, AutomaticWeight>>;
}

export const NEVER_LOOKED: RebalanceRecord = { lookedAtMs: 0, seen: 0, told: "", weights: {} };
