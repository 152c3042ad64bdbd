// Named schedules of clocks: replicas whose time steps back, and what last-write-wins makes of a write with two times.
import { describe, expect, it } from "vitest";
import type { Caller } from "../../src/access/types.ts";
import { CALLER, GET, hasStamp, loseHints, put, valuesOf, warmWorld } from "./named.ts";

const LATEST: Caller = { ...CALLER, conflictPolicy: "lastWriteWins" };

describe("a replica whose clock steps back", () => {
  it("[RP-36] refuses the stamps that were under way: none of them buries what was acknowledged meanwhile", async () => {
    const { world, coordinators } = await warmWorld();
    world.holds = (nodeId, ops) => nodeId === "n1" && hasStamp(ops, 1);
    const first = world.submit(coordinators[0], CALLER, put(1));
    await world.run(300);
    expect(first.answer?.kind).toBe("written");
    await loseHints(world);
    expect((await world.ask(coordinators[1], CALLER, put(2, { consistency: "all" }))).kind).toBe("written");
    world.node("n1").skewMs = -20_000;
    const stampsBefore = world.node("n1").replica.counts.stamps;
    world.holds = undefined;
    world.release();
    await world.run(5000);
    expect(world.node("n1").replica.counts.stamps).toBe(stampsBefore);
    expect(valuesOf(await world.ask(coordinators[0], CALLER, { ...GET, consistency: "all" }))).toEqual(["2"]);
  });

  it("[RP-36] refuses them too when it was restarted after the step, and deadlines from the time before", async () => {
    const { world, coordinators } = await warmWorld();
    world.holds = (nodeId, ops) => nodeId === "n1" && hasStamp(ops, 1);
    const first = world.submit(coordinators[0], CALLER, put(1));
    await world.run(300);
    expect(first.answer?.kind).toBe("written");
    const node = world.node("n1");
    node.crash();
    node.skewMs = -70_000;
    node.start();
    world.holds = undefined;
    world.release();
    await world.run(50);
    expect(node.replica.counts.stamps).toBe(0);
  });

  it("[RP-36] goes on stamping as soon as its new time is known", async () => {
    const { world, coordinators } = await warmWorld();
    world.node("n1").skewMs = -20_000;
    const { stamps } = world.node("n1").replica.counts;
    for (let n = 1; n <= 3; n++) expect((await world.ask(coordinators[0], CALLER, put(n))).kind).toBe("written");
    expect(world.node("n1").replica.counts.stamps).toBe(stamps + 2);
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
