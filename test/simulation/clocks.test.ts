// Named schedules of clocks: replicas whose time steps back, and what last-write-wins makes of a write with two times.
import { describe, expect, it } from "vitest";
import type { Caller } from "../../src/access/types.ts";
import { MAX_DEADLINE_LEAD_MS } from "../../src/replication/limits.ts";
import { CALLER, GET, hasStamp, loseHints, put, ROW, valuesOf, warmWorld } from "./named.ts";

const LATEST: Caller = { ...CALLER, conflictPolicy: "lastWriteWins" };

describe("a replica whose clock steps back", () => {
  /** A stamp of write 1 is on its way to n1, while the write is stamped elsewhere and n1 hears nothing of it. */
  async function lateStamp() {
    const { world, coordinators } = await warmWorld();
    const node = world.node("n1");
    world.holds = (nodeId, ops) => nodeId === "n1" && hasStamp(ops, 1);
    const cell = world.submit(coordinators[0], CALLER, put(1));
    await world.run(2);
    world.cut.add("n1");
    await world.run(300);
    expect(cell.answer?.kind).toBe("written");
    await loseHints(world);
    world.cut.clear();
    world.holds = undefined;
    return { world, coordinators, node };
  }

  it("[RP-36] refuses the stamps that were under way", async () => {
    const { world, coordinators, node } = await lateStamp();
    node.skewMs = -20_000;
    const stampsBefore = node.replica.counts.stamps;
    world.release();
    await world.run(50);
    expect(node.replica.counts.stamps).toBe(stampsBefore);
    expect(node.engine.get(ROW)).toBeUndefined();
    // Until the breaker lets reads through again.
    await world.run(1500);
    expect(valuesOf(await world.ask(coordinators[0], CALLER, { ...GET, consistency: "all" }))).toEqual(["1"]);
  });

  it.each([-MAX_DEADLINE_LEAD_MS - 1000, -20_000, 0])(
    "[RP-36] refuses them too when it was restarted after a step of %i ms",
    async (skewMs) => {
      const { world, coordinators, node } = await lateStamp();
      node.crash();
      node.skewMs = skewMs;
      node.start();
      world.release();
      await world.run(50);
      expect(node.replica.counts.stamps).toBe(0);
      expect(node.engine.get(ROW)).toBeUndefined();
      // Until the breaker lets stamps through again: those of before the restart have told nobody of the new time.
      await world.run(1500);
      expect((await world.ask(coordinators[0], CALLER, put(2))).kind).toBe("written");
    },
  );

  it("[RP-44] refuses them when it lost its disk, until it is filled: its new store remembers no write that was answered meanwhile", async () => {
    const { world, coordinators, node } = await lateStamp();
    node.loseDisk();
    world.setState("n1", "bootstrapping");
    node.skewMs = -3000;
    node.start();
    expect((await world.ask(coordinators[0], CALLER, put(2))).kind).toBe("written");
    world.release();
    await world.run(50);
    expect(node.replica.counts.stamps).toBe(0);
    for (const consistency of ["quorum", "all"] as const)
      expect(valuesOf(await world.ask(coordinators[0], CALLER, { ...GET, consistency }))).toEqual(["2"]);
  });

  it("[RP-36] goes on stamping as soon as its new time is known", async () => {
    const { world, coordinators } = await warmWorld();
    world.node("n1").skewMs = -20_000;
    const { stamps } = world.node("n1").replica.counts;
    for (let n = 1; n <= 3; n++) expect((await world.ask(coordinators[0], CALLER, put(n))).kind).toBe("written");
    expect(world.node("n1").replica.counts.stamps).toBe(stamps + 3);
  });
});

describe("a write with two times", () => {
  it("[KV-25] an acknowledged retry is not hidden by an older write when its first stamp turns up", async () => {
    const { world, coordinators } = await warmWorld();
    const [first, second] = coordinators;
    for (const node of ["n2", "n3"]) world.cut.add(node);
    await world.ask(first, LATEST, put(1));
    await loseHints(world);
    world.cut.clear();
    world.cut.add("n1");
    await world.run(1500);
    expect((await world.ask(second, LATEST, put(2))).kind).toBe("written");
    expect((await world.ask(second, LATEST, put(1, { isRetry: true }))).kind).toBe("written");
    expect(valuesOf(await world.ask(second, LATEST, GET))).toEqual(["1"]);
    world.cut.clear();
    await world.run(60_000);
    for (const consistency of ["quorum", "all"] as const)
      expect(valuesOf(await world.ask(first, LATEST, { ...GET, consistency }))).toEqual(["1"]);
  });
});
