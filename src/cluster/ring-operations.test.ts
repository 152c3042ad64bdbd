// Which changes of the storage nodes may be asked for, and what the nodes' records are at each step.
import { describe, expect, it } from "vitest";
import { firstNodes } from "../access/ring-start.ts";
import type { StorageNode } from "../access/types.ts";
import { clusterPlace, homeOf, nodeIdOf } from "./placement.ts";
import { positionsOf, Ring } from "./ring.ts";
import { planOperation, type RingFacts, type RingRequest } from "./ring-operations.ts";
import { moved, relativeLoads } from "./ring-report.ts";
import { joiningNode, nextOfWeight, nodesAfter, nodesCleaned, nodesDuring, type RingTarget } from "./ring-target.ts";

const FACTS: RingFacts = {
  nodes: firstNodes(4, 3),
  open: [],
  zones: ["z1", "z2", "z3"],
  replicationFactor: 3,
  nextNumber: 5,
  isCluster: false,
};

const plan = (request: RingRequest, facts: Partial<RingFacts> = {}) => planOperation(request, { ...FACTS, ...facts });

function random(): () => number {
  let state = 7;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32;
  };
}

describe("what may be asked for", () => {
  it("[CL-75] the next number, in the zone with the least weight", () => {
    expect(plan({ kind: "add" })).toMatchObject({
      ok: true,
      plan: { nodeId: "n5", joining: { zone: "z2", weight: 1 } },
    });
    expect(plan({ kind: "add", nodeId: "n4" })).toMatchObject({
      code: "alreadyExists",
      details: { value: "n4", limit: "n5" },
    });
    expect(plan({ kind: "add", nodeId: "n6" })).toMatchObject({
      details: { issues: [{ path: "nodeId", limit: "n5" }] },
    });
    expect(plan({ kind: "add", zone: "z7" })).toMatchObject({
      details: { issues: [{ path: "zone", value: "z7", limit: FACTS.zones }] },
    });
  });

  it("[CL-75] a removed node's id is not given again", () => {
    const nodes = FACTS.nodes.map((node): StorageNode => (node.id === "n4" ? { ...node, state: "removed" } : node));
    expect(plan({ kind: "add", nodeId: "n4" }, { nodes })).toMatchObject({ code: "alreadyExists" });
  });

  it("[CL-76] no zone falls away that a tenant needs, also not by the change that is under way", () => {
    expect(plan({ kind: "remove", nodeId: "n2" })).toMatchObject({
      code: "conflict",
      details: { value: "n2", limit: 3, zonesLeft: 2 },
    });
    expect(plan({ kind: "remove", nodeId: "n2" }, { replicationFactor: 2 })).toMatchObject({ ok: true });
    expect(plan({ kind: "remove", nodeId: "n1" })).toMatchObject({ ok: true });
    expect(plan({ kind: "remove", nodeId: "n1", others: ["n4"] })).toMatchObject({
      code: "conflict",
      details: { zonesLeft: 2 },
    });
    expect(plan({ kind: "remove", nodeId: "n1", others: ["n9"] })).toMatchObject({ code: "notFound" });
    const open = [{ operationId: 1, target: { kind: "remove", nodeId: "n4" } as const }];
    expect(plan({ kind: "remove", nodeId: "n1" }, { open })).toMatchObject({
      code: "conflict",
      details: { zonesLeft: 2 },
    });
  });

  it("[CL-74] [CL-77] two at most, about different nodes", () => {
    const open = [{ operationId: 8, target: { kind: "weigh", nodeId: "n1" } as const }];
    expect(plan({ kind: "replace", nodeId: "n1" }, { open })).toMatchObject({
      code: "conflict",
      details: { limit: 8 },
    });
    expect(plan({ kind: "replace", nodeId: "n2" }, { open })).toMatchObject({
      ok: true,
      plan: { joining: { id: "n5", zone: "z2" } },
    });
    const both = [...open, { operationId: 9, target: { kind: "remove", nodeId: "n4" } as const }];
    expect(plan({ kind: "add" }, { open: both })).toMatchObject({
      code: "conflict",
      details: { value: [8, 9], limit: 2 },
    });
    expect(plan({ kind: "weigh", nodeId: "n9", weight: 1 })).toMatchObject({ code: "notFound" });
    const draining = FACTS.nodes.map((node): StorageNode => ({ ...node, state: "draining" }));
    expect(plan({ kind: "weigh", nodeId: "n1" }, { nodes: draining })).toMatchObject({
      code: "conflict",
      details: { limit: "active" },
    });
  });

  it("[CL-73] an added node of a cluster is found by its name", () => {
    const id = nodeIdOf({ number: 4, zone: "z-2.b", isCluster: true });
    const text = JSON.stringify({ role: "zone", zone: "z1", zones: ["z1", "z-2.b"], nodes: { n1: "z1" } });
    expect(homeOf(clusterPlace(text)!, "KEY_VALUE_REPLICA", id)).toEqual({ kind: "zone", zone: "z-2.b" });
    expect(() => homeOf(clusterPlace(text)!, "KEY_VALUE_REPLICA", "n4@z9")).toThrow("belongs to none");
  });
});

describe("records at each step", () => {
  const nodes = firstNodes(6, 3);
  const states = (all: readonly StorageNode[]) => all.map(({ id, state }) => `${id} ${state}`);

  it("[RP-116] a step applied twice is applied once; called off, all is as before", () => {
    const joining = joiningNode(nodes, { id: "n7", number: 7, zone: "z2", weight: 1, inPlaceOf: nodes[1] }, random());
    const target: RingTarget = { kind: "replace", nodeId: "n2", joining };
    const during = nodesDuring(nodes, target);
    expect(nodesDuring(during, target)).toEqual(during);
    expect(states(during)).toEqual([
      "n1 active",
      "n2 draining",
      "n3 active",
      "n4 active",
      "n5 active",
      "n6 active",
      "n7 bootstrapping",
    ]);
    const after = nodesAfter(during, target, false);
    expect(nodesAfter(after, target, false)).toEqual(after);
    expect(states(nodesCleaned(after, target)).filter((text) => !text.endsWith(" active"))).toEqual(["n2 removed"]);
    expect(nodesCleaned(nodesAfter(during, target, true), target)).toEqual([
      ...nodes,
      { ...joining, state: "removed" },
    ]);
  });

  it("[RP-118] while joint old and new replicas are both asked; a replacement moves only what the node held", () => {
    const joining = joiningNode(nodes, { id: "n7", number: 7, zone: "z2", weight: 1, inPlaceOf: nodes[1] }, random());
    const target: RingTarget = { kind: "replace", nodeId: "n2", joining };
    const during = nodesDuring(nodes, target);
    const joint = new Ring(during, {}, { revision: 2, phase: "joint" });
    const filling = new Ring(during, {}, { revision: 1, phase: "filling" });
    const [before, after] = [new Ring(nodes), new Ring(nodesAfter(during, target, false))];
    for (const { toHi } of joint.ranges()) {
      const token = { hi: toHi, lo: 0 };
      const { write } = before.replicas(token, 3);
      expect(joint.replicas(token, 3).write).toEqual(write);
      expect(filling.replicas(token, 3)).toEqual({ write, read: write, pending: write.includes("n2") ? ["n7"] : [] });
      expect(joint.replicas(token, 3).joint ?? write).toEqual(after.replicas(token, 3).write);
      expect(write.map((id) => (id === "n2" ? "n7" : id))).toEqual(after.replicas(token, 3).write);
    }
  });

  it.each([0.5, 2, 3])("[CL-72] a weight of %f takes its share, and moves little more than that", (weight) => {
    const node = nodes[0]!;
    const target: RingTarget = { kind: "weigh", nodeId: "n1", next: nextOfWeight(nodes, node, weight, random()) };
    const after = new Ring(nodesAfter(nodesDuring(nodes, target), target, false));
    expect(after.nodes[0]!.weight).toBe(weight);
    const shareOf = (ring: Ring): number => relativeLoads(ring, 3).get("n1")! * ring.nodes[0]!.weight;
    expect(shareOf(after) / shareOf(new Ring(nodes))).toBeGreaterThan(weight > 1 ? 1.2 : 0.4);
    expect(positionsOf(after.nodes[0]!).filter((hi) => positionsOf(node).includes(hi)).length).toBe(
      Math.min(positionsOf(node).length, positionsOf(after.nodes[0]!).length),
    );
    const gains = moved(new Ring(nodes), after, 3);
    const total = [...gains.values()].reduce((sum, gain) => sum + gain, 0);
    // Within the zone two nodes share a copy of the ring.
    expect(total).toBeLessThan(0.5);
  });
});
