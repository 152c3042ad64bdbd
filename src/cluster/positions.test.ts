// Where new storage nodes stand, judged by the ring they make.
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../scripts/lib/seeded.mjs";
import type { StorageNode } from "../access/types.ts";
import { withPositions } from "./joining.ts";
import { newPositions, positionCount } from "./positions.ts";
import { positionsOf, Ring } from "./ring.ts";
import { moved, relativeLoads } from "./ring-report.ts";

const FACTOR = 3;

interface Shape {
  readonly count: number;
  readonly zones: number;
  readonly seed?: number;
  readonly weightOf?: (at: number) => number;
}

/** Nodes added one after another, zone by zone in turn. */
function grown({ count, zones, seed = 7, weightOf = () => 1 }: Shape): StorageNode[] {
  const random = seededRandom(seed);
  const nodes: StorageNode[] = [];
  for (let at = 0; at < count; at++) nodes.push(joined(nodes, at % zones, { random, weight: weightOf(at) }));
  return nodes;
}

function joined(
  nodes: readonly StorageNode[],
  zoneNumber: number,
  { random, weight = 1 }: { random: () => number; weight?: number },
): StorageNode {
  const number = nodes.length + 1;
  const zone = `z${zoneNumber}`;
  const placed = nodes.map((node) => ({ ...node, positions: positionsOf(node) }));
  const positions = newPositions(placed, { zone, weight }, random);
  return { id: `n${number}`, number, incarnation: 1, zone, weight, state: "active", positions };
}

const most = (nodes: readonly StorageNode[]) => Math.max(...relativeLoads(new Ring(nodes), FACTOR).values());

describe("positions of new nodes", () => {
  it("[CL-70] are as many as the weight asks for, all different, and the same for the same nodes and randomness", () => {
    for (const weight of [0.01, 0.5, 1, 3]) {
      const make = () => grown({ count: 6, zones: 3, weightOf: () => weight });
      const nodes = make();
      for (const { positions } of nodes) {
        expect(positions).toHaveLength(positionCount(weight));
        expect(positions!.every((hi) => Number.isInteger(hi) && hi >= 0 && hi < 2 ** 32)).toBe(true);
      }
      const all = nodes.flatMap(({ positions }) => positions!);
      expect(new Set(all).size).toBe(all.length);
      expect(make()).toEqual(nodes);
    }
  });

  it("[CL-71] give every one of a hundred nodes at most 1.15 of the mean, and by its weight", () => {
    for (const zones of [3, 5, 10]) expect(most(grown({ count: 100, zones })), `${zones} zones`).toBeLessThan(1.15);
    const mixed = grown({ count: 30, zones: 3, weightOf: (at) => [0.5, 1, 2][Math.floor(at / 3) % 3]! });
    expect(most(mixed)).toBeLessThan(1.15);
    // Hashes alone do not.
    expect(most(grown({ count: 99, zones: 3 }).map(({ positions, ...node }) => node))).toBeGreaterThan(1.3);
  });

  it("[CL-72] move at most 1.1 of the ideal when a node joins, all of it to that node, also beside nodes on hashed positions", () => {
    const old = grown({ count: 9, zones: 3 }).map(({ positions, ...node }) => node);
    for (const nodes of [
      grown({ count: 99, zones: 3 }),
      grown({ count: 100, zones: 5 }),
      grown({ count: 10, zones: 5 }),
      old,
    ]) {
      const { positions, ...joining } = joined(nodes, 0, { random: seededRandom(1) });
      const more = [...nodes, withPositions(nodes, joining, seededRandom(1))];
      const gains = moved(new Ring(nodes), new Ring(more), FACTOR);
      expect([...gains.keys()]).toEqual([more.at(-1)!.id]);
      expect(gains.get(more.at(-1)!.id)! / (FACTOR / more.length)).toBeLessThan(1.1);
    }
  });
});
