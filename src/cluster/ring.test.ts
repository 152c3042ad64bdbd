// Who holds a key.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { NodeState, StorageNode } from "../access/types.ts";
import { type ReplicaSets, Ring } from "./ring.ts";
import { tokenOf } from "./token.ts";

function node(number: number, more: Partial<StorageNode> = {}): StorageNode {
  return { id: `n${number}`, number, incarnation: 1, zone: `z${number}`, weight: 1, state: "active", ...more };
}

const TOKENS = Array.from({ length: 3000 }, (_, i) => tokenOf(1, `key ${i}`));

function holders(ring: Ring, factor: number): ReplicaSets[] {
  return TOKENS.map((token) => ring.replicas(token, factor));
}

const states: readonly NodeState[] = ["active", "active", "active", "bootstrapping", "draining", "failed", "removed"];
const nodes = fc
  .array(
    fc.record({
      zone: fc.constantFrom("z1", "z2", "z3", "z4"),
      weight: fc.constantFrom(0.01, 0.5, 1, 3),
      state: fc.constantFrom(...states),
    }),
    { minLength: 1, maxLength: 8 },
  )
  .map((all) => all.map((one, i) => node(i + 1, one)));
const token = fc.record({ hi: fc.integer({ min: 0, max: 2 ** 32 - 1 }), lo: fc.constant(0) });

describe("ring", () => {
  it("[RP-25] replicas are distinct, as many as asked for, in distinct zones while there are enough", () => {
    fc.assert(
      fc.property(nodes, token, fc.integer({ min: 1, max: 5 }), (all, at, factor) => {
        const { read, write } = new Ring(all).replicas(at, factor);
        const countable = all.filter(({ state }) => state === "active" || state === "draining" || state === "failed");
        expect(new Set(read).size).toBe(read.length);
        expect(read.length).toBe(Math.min(factor, countable.length));
        expect([...write].sort()).toEqual([...read].sort());
        const zones = new Set(read.map((id) => all.find((one) => one.id === id)!.zone));
        expect(zones.size).toBe(Math.min(factor, new Set(countable.map(({ zone }) => zone)).size));
      }),
      { numRuns: 300 },
    );
  });

  it("[RP-10] bootstrapping nodes never count and are never read; leaving nodes are replaced ahead of time", () => {
    fc.assert(
      fc.property(nodes, token, fc.integer({ min: 1, max: 4 }), (all, at, factor) => {
        const { read, write, pending } = new Ring(all).replicas(at, factor);
        const stateOf = (id: string): NodeState => all.find((one) => one.id === id)!.state;
        for (const id of [...read, ...write]) expect(["active", "draining", "failed"]).toContain(stateOf(id));
        for (const id of pending) {
          expect(["active", "bootstrapping"]).toContain(stateOf(id));
          expect(write).not.toContain(id);
        }
        const staying = write.filter((id) => stateOf(id) === "active").length;
        const future = all.filter(({ state }) => state === "active" || state === "bootstrapping").length;
        expect(staying + pending.length).toBeGreaterThanOrEqual(Math.min(factor, future));
      }),
      { numRuns: 300 },
    );
  });

  it("[RP-25] the same nodes give the same ring, in whatever order they are listed", () => {
    fc.assert(
      fc.property(nodes, token, (all, at) => {
        expect(new Ring([...all].reverse()).replicas(at, 3)).toEqual(new Ring(all).replicas(at, 3));
      }),
    );
  });

  it("asking again, and with another factor between, gives the same", () => {
    const ring = new Ring([1, 2, 3, 4].map((number) => node(number)));
    const first = structuredClone(holders(ring, 3));
    holders(ring, 2);
    expect(holders(ring, 3)).toEqual(first);
    for (const [i, { read }] of holders(ring, 2).entries()) expect(read).toEqual(first[i]!.read.slice(0, 2));
  });

  it("spreads keys by weight", () => {
    const ring = new Ring([node(1), node(2), node(3), node(4), node(5, { weight: 2 })]);
    const counts = new Map<string, number>();
    for (const { read } of holders(ring, 1)) counts.set(read[0]!, (counts.get(read[0]!) ?? 0) + 1);
    for (const number of [1, 2, 3, 4]) {
      expect(counts.get(`n${number}`)! / TOKENS.length).toBeGreaterThan(0.1);
      expect(counts.get(`n${number}`)! / TOKENS.length).toBeLessThan(0.24);
    }
    expect(counts.get("n5")! / TOKENS.length).toBeGreaterThan(0.24);
  });

  it("a new node takes its share and moves nothing else", () => {
    const before = [1, 2, 3, 4, 5].map((number) => node(number));
    const old = holders(new Ring(before), 1);
    const after = holders(new Ring([...before, node(6)]), 1);
    const moved = old.flatMap(({ read }, i) => (read[0] === after[i]!.read[0] ? [] : [after[i]!.read[0]]));
    expect(new Set(moved)).toEqual(new Set(["n6"]));
    expect(moved.length / TOKENS.length).toBeLessThan(0.25);
    expect(moved.length / TOKENS.length).toBeGreaterThan(0.08);
  });

  it("a preference changes the order, never the members", () => {
    const all = [1, 2, 3, 4].map((number) => node(number));
    const near = new Ring(all, { readZone: "z2", stampZone: "z3" });
    for (const [i, plain] of holders(new Ring(all), 3).entries()) {
      const { read, write } = near.replicas(TOKENS[i]!, 3);
      expect([...read].sort()).toEqual([...plain.read].sort());
      expect([...write].sort()).toEqual([...plain.write].sort());
      if (read.includes("n2")) expect(read[0]).toBe("n2");
      if (write.includes("n3")) expect(write[0]).toBe("n3");
    }
  });

  it("no nodes, no replicas", () => {
    expect(new Ring([]).replicas({ hi: 1, lo: 1 }, 3)).toEqual({ write: [], read: [], pending: [] });
  });

  it("[RP-39] [RP-42] a changing factor: while filling the new ones are pending, then both sets count", () => {
    fc.assert(
      fc.property(nodes, token, fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 }), (all, at, from, to) => {
        const ring = new Ring(all);
        const old = ring.replicas(at, from);
        const filling = ring.route(at, { replicationFactor: from, change: { to, phase: "filling" } });
        expect([filling.read, filling.write, filling.joint]).toEqual([old.read, old.write, undefined]);
        for (const id of ring.replicas(at, to).write) expect([...filling.write, ...filling.pending], id).toContain(id);
        expect(filling.pending.some((id) => filling.write.includes(id))).toBe(false);
        const joint = ring.route(at, { replicationFactor: from, change: { to, phase: "joint" } });
        expect([joint.read, joint.write]).toEqual([old.read, old.write]);
        expect(joint.joint).toEqual(ring.replicas(at, to).write);
        expect(ring.route(at, { replicationFactor: from })).toEqual(old);
      }),
    );
  });

  it("[RP-44] a rebuilding node keeps its places", () => {
    const before = [1, 2, 3, 4].map((number) => node(number));
    const lost = before.map((one) => (one.number === 2 ? { ...one, state: "rebuilding" as const } : one));
    expect(holders(new Ring(lost), 3)).toEqual(holders(new Ring(before), 3));
  });

  it("[RP-40] its ranges are the whole ring, each once, and within one all tokens have the same replicas", () => {
    fc.assert(
      fc.property(nodes, token, (all, at) => {
        const ring = new Ring(all);
        const ranges = ring.ranges();
        expect(ranges[0]!.fromHi).toBe(0);
        expect(ranges.at(-1)!.toHi).toBe(2 ** 32 - 1);
        for (const [i, { fromHi }] of ranges.entries()) if (i > 0) expect(fromHi).toBe(ranges[i - 1]!.toHi + 1);
        const range = ranges.find(({ fromHi, toHi }) => at.hi >= fromHi && at.hi <= toHi)!;
        for (const hi of [range.fromHi, range.toHi])
          expect(ring.replicas({ hi, lo: 0 }, 3)).toEqual(ring.replicas(at, 3));
      }),
      { numRuns: 200 },
    );
  });
});
