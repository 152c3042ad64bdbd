// Coordinators that ask another replica where one is late, as those of a cluster do.
import { describe, expect, it } from "vitest";
import type { Caller } from "../../src/access/types.ts";
import type { Sabotage } from "./hooks.ts";
import { runSeed } from "./random-run.ts";
import { PLANTED } from "./sabotage.ts";
import { REPLICA_TIMEOUT_MS, World } from "./world.ts";

const PATIENCE_MS = 15;
const CALLER: Caller = {
  ...{ tenant: 7, canWrite: true, replicationFactor: 3 },
  ...{ defaultConsistency: "quorum", conflictPolicy: "siblings" },
};
const id = (n: number): Uint8Array => new Uint8Array(16).fill(n);

/** Replicas that have answered quickly for a while. */
async function warm(sabotage: Sabotage = {}) {
  const world = new World(1, 3, sabotage);
  world.leastPatienceMs = PATIENCE_MS;
  const coordinator = world.coordinator();
  const put = (key: string, n: number) =>
    world.ask(coordinator, CALLER, { op: "put", key, writeId: id(n), value: new Uint8Array([n]) });
  for (let n = 1; n <= 40; n++) await put("warm", n);
  const timed = async (work: Promise<unknown>) => {
    const beganMs = world.nowMs;
    await work;
    return world.nowMs - beganMs;
  };
  return { world, coordinator, put, timed };
}

/** The stamper of a key stalls while two writes of it follow each other, and gets on when both are acknowledged. */
async function stalledStamper(sabotage?: Sabotage) {
  const { world, coordinator, put, timed } = await warm(sabotage);
  const first = await put("k", 50);
  if (first.kind !== "written") throw new Error(first.kind);
  const stamper = world.node(`n${Math.floor(first.clock.vector[0]!.actor / 4096)}`);
  const link = coordinator.link(stamper.info.id);
  stamper.isStalled = true;
  const took = [await timed(put("k", 51)), await timed(put("k", 52))];
  const { counter } = link;
  stamper.isStalled = false;
  await world.run(20 * REPLICA_TIMEOUT_MS);
  // Its answer tells its counter.
  await world.ask(coordinator, CALLER, { op: "get", key: "k", consistency: "all" });
  return { took, stampedLate: link.counter - counter };
}

describe("a stalled replica", () => {
  it("[CL-97] costs a put that it would stamp its patience, not its timeout, and later ones nothing", async () => {
    const { took } = await stalledStamper();
    expect(took[0]).toBeGreaterThanOrEqual(PATIENCE_MS);
    expect(took[0]).toBeLessThan(PATIENCE_MS + 25);
    expect(took[1]).toBeLessThan(PATIENCE_MS);
  });

  it("[CL-97] [RP-36] stamps nothing that was given up, which it would without the deadline", async () => {
    expect((await stalledStamper()).stampedLate).toBe(0);
    expect((await stalledStamper(PLANTED["stamps without a deadline"]!())).stampedLate).toBe(1);
  });

  it("[CL-97] costs a read its patience", async () => {
    const { world, coordinator, put, timed } = await warm();
    await put("k", 50);
    const took: number[] = [];
    for (const node of world.nodes.values()) {
      node.isStalled = true;
      took.push(await timed(world.ask(coordinator, CALLER, { op: "get", key: "k" })));
      node.isStalled = false;
      await world.run(2000);
      for (let n = 60; n < 90; n++) await put("warm", n);
    }
    expect(Math.max(...took)).toBeLessThan(PATIENCE_MS + 15);
    expect(Math.max(...took)).toBeGreaterThanOrEqual(PATIENCE_MS);
  });
});

describe("random schedules", () => {
  it("[CL-97] [RP-6] [RP-7] [RP-36] lose nothing and double nothing when others are asked early", async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const { problems } = await runSeed(seed, { traced: false, leastPatienceMs: PATIENCE_MS });
      expect(problems, `seed ${seed}`).toEqual([]);
    }
  });
});
