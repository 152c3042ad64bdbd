// Named schedules of consistency levels, and of replicas and keys at their bounds.
import { describe, expect, it } from "vitest";
import type { ReplicaOp } from "../../src/replication/frames.ts";
import {
  CALLER,
  clockOf,
  codeOf,
  EMPTY,
  GET,
  hasStamp,
  loseHints,
  NODES,
  put,
  stateAt,
  valuesOf,
  warmWorld,
} from "./named.ts";

describe("one", () => {
  it("[RP-11] a write at one is answered by one replica and goes to all; a read at one shows what one replica holds", async () => {
    const { world, coordinators } = await warmWorld();
    const [first, second] = coordinators;
    world.holds = (nodeId, ops) => nodeId !== "n1" && ops.some((op) => op.kind === "merge");
    expect((await world.ask(first, CALLER, put(1, { consistency: "one" }))).kind).toBe("written");
    expect(valuesOf(await world.ask(first, CALLER, { ...GET, consistency: "one" }))).toEqual(["1"]);
    expect(valuesOf(await world.ask(second, CALLER, { ...GET, consistency: "one" }))).toEqual(["notFound"]);
    world.holds = undefined;
    world.release();
    await world.run(100);
    for (const node of NODES) expect(stateAt(world, node).versions.length).toBe(1);
  });

  it("[RP-16] a client's own id raises a write at one to a majority", async () => {
    const { world, coordinators } = await warmWorld();
    const shipped = (ops: readonly ReplicaOp[]): boolean => ops.some((op) => op.kind === "merge");
    world.holds = (_, ops) => shipped(ops);
    const plain = world.submit(coordinators[0], CALLER, put(1, { consistency: "one" }));
    const own = world.submit(coordinators[0], CALLER, put(2, { consistency: "one", bodyHash: new Uint8Array(8) }));
    await world.run(40);
    expect(plain.answer?.kind).toBe("written");
    expect(own.answer).toBeUndefined();
    world.release();
    await world.run(40);
    expect(own.answer?.kind).toBe("written");
    const { versions } = stateAt(world, "n2");
    expect(versions.some((version) => version.writeId[0] === 2)).toBe(true);
  });
});

describe("a replica at its bound", () => {
  it("[RP-31] that is overloaded refuses to stamp, and goes on merging, repairing and reading", async () => {
    const { world, coordinators } = await warmWorld();
    const [first, second] = coordinators;
    world.node("n1").engine.overloaded = true;
    expect(codeOf(await world.ask(first, CALLER, put(1)))).toBe("overloaded");
    expect(world.node("n1").engine.get({ ...put(1), tenant: 7, token: { hi: 0, lo: 0 } })).toBeUndefined();
    expect((await world.ask(second, CALLER, put(2, { consistency: "all" }))).kind).toBe("written");
    expect(stateAt(world, "n1").versions.map((version) => version.writeId[0])).toEqual([2]);
    expect(valuesOf(await world.ask(first, CALLER, { ...GET, consistency: "one" }))).toEqual(["2"]);
  });

  it("[RP-31] [RP-34] that is overloaded still recognises what it stamped: a repeated frame is no refusal", async () => {
    const { world, coordinators } = await warmWorld();
    world.observer = {
      frame: () => undefined,
      put: () => {
        world.node("n1").engine.overloaded = true;
      },
    };
    world.holds = (nodeId, ops) => nodeId === "n1" && hasStamp(ops, 1);
    world.faults = { lose: 0, repeat: 1, minDelayMs: 1, maxDelayMs: 1 };
    const cell = world.submit(coordinators[0], CALLER, put(1));
    await world.run(2);
    world.faults = { lose: 0, repeat: 0, minDelayMs: 1, maxDelayMs: 1 };
    world.holds = undefined;
    world.release();
    await world.run(100);
    expect(cell.answer?.kind).toBe("written");
  });
});

describe("siblings at their bound", () => {
  it("[KV-4] stampers apart may each fill a key; merged it holds what they hold, and one write resolves all", async () => {
    const { world, coordinators } = await warmWorld();
    for (const node of NODES) world.cut.add(node);
    for (const [i, coordinator] of coordinators.entries()) {
      world.cut.delete(NODES[i]!);
      for (let n = 1; n <= 33; n++) {
        const answer = await world.ask(coordinator, CALLER, put(i * 40 + n, { clock: EMPTY, consistency: "one" }));
        expect(codeOf(answer)).toBe(n <= 32 ? "written" : "tooManySiblings");
      }
      world.cut.add(NODES[i]!);
      await loseHints(world);
    }
    world.cut.clear();
    await world.run(1500);
    const read = await world.ask(coordinators[0], CALLER, { ...GET, consistency: "all" });
    expect(valuesOf(read).length).toBe(96);
    for (const node of NODES) expect(stateAt(world, node).versions.length).toBe(96);
    expect(codeOf(await world.ask(coordinators[1], CALLER, put(200, { clock: EMPTY })))).toBe("tooManySiblings");
    expect((await world.ask(coordinators[1], CALLER, put(201, { clock: clockOf(read) }))).kind).toBe("written");
    expect(valuesOf(await world.ask(coordinators[2], CALLER, GET))).toEqual(["201"]);
  });

  it("[KV-17] siblings of more than 4 MiB are refused with the context that resolves them; a single version never is", async () => {
    const { world, coordinators } = await warmWorld();
    const large = (n: number, more: object = {}) =>
      put(n, { value: new Uint8Array(1024 * 1024), clock: EMPTY, ...more });
    for (let n = 1; n <= 3; n++) expect((await world.ask(coordinators[0], CALLER, large(n))).kind).toBe("written");
    const refused = await world.ask(coordinators[0], CALLER, large(4));
    if (refused.kind !== "error") throw new Error(refused.kind);
    expect(refused.code).toBe("tooManySiblings");
    expect(refused.message).toContain("4194304 bytes");
    expect(Object.keys(refused.details?.vectorClock as object).length).toBeGreaterThan(0);
    expect((await world.ask(coordinators[0], CALLER, large(5, { clock: undefined }))).kind).toBe("written");
    expect(valuesOf(await world.ask(coordinators[0], CALLER, GET)).length).toBe(1);
  });
});

describe("a hot key", () => {
  it("[KV-24] [RP-26] many writes at once leave the replicas alike: reads need no repair, and nothing is carried for ever", async () => {
    const { world, coordinators } = await warmWorld();
    const [first] = coordinators;
    let n = 0;
    for (let round = 0; round < 30; round++) {
      const cells = Array.from({ length: 6 }, () => {
        const writeId = Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? (n * 37) % 251 : i === 1 ? n++ : 0));
        return world.submit(first, CALLER, put(0, { writeId }));
      });
      await world.run(20);
      for (const cell of cells) expect(cell.answer?.kind).toBe("written");
      await world.ask(first, CALLER, { ...GET, consistency: "all" });
    }
    expect(first.counts.readRepairs).toBe(0);
    for (const node of NODES) expect(stateAt(world, node).unsettled.length).toBeLessThan(6);
  });
});
