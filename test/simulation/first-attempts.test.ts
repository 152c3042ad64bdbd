// Named schedules of a first attempt that is still under way when its client tries again elsewhere, and writes on from there. Applied
// then, it would supersede what superseded it, and of two acknowledged writes nothing would be left.
import { expect, it } from "vitest";
import { FIRST_STAMP_TIMEOUTS } from "../../src/replication/limits.ts";
import { CALLER, clockOf, codeOf, GET, hasStamp, loseHints, put, valuesOf, warmWorld } from "./named.ts";
import { REPLICA_TIMEOUT_MS } from "./world.ts";

/** Write 1 without a clock is on its way to n1; so is all else there that `alsoHeld` names. */
async function underWay(...alsoHeld: readonly string[]) {
  const { world, coordinators } = await warmWorld();
  world.holds = (nodeId, ops) =>
    nodeId === "n1" && (hasStamp(ops, 1) || ops.some(({ kind }) => alsoHeld.includes(kind)));
  const first = world.submit(coordinators[0], CALLER, put(1));
  await world.run(2);
  expect(first.answer).toBeUndefined();
  return { world, coordinators };
}

type Underway = Awaited<ReturnType<typeof underWay>>;

/** Another client has seen write 1 and supersedes it, at n1; then what was held arrives. */
async function writeOn({ world, coordinators }: Underway, seen: Parameters<typeof clockOf>[0]): Promise<void> {
  const other = world.coordinator(undefined, { stampZone: "z1" });
  const next = await world.ask(other, CALLER, put(2, { clock: clockOf(seen) }));
  expect(codeOf(next)).toBe("written");
  world.holds = undefined;
  world.release();
  await world.run(2000);
  for (const consistency of ["quorum", "all"] as const)
    expect(valuesOf(await world.ask(coordinators[2], CALLER, { ...GET, consistency }))).toEqual(["2"]);
}

it("[RP-140] a replica that a retry has asked refuses the first attempt", async () => {
  const run = await underWay("merge");
  const { world, coordinators } = run;
  const before = world.nowMs;
  const retried = await world.ask(coordinators[1], CALLER, put(1, { isRetry: true }));
  expect(codeOf(retried)).toBe("written");
  // All of them promised: nothing was waited for.
  expect(world.nowMs - before).toBeLessThan(REPLICA_TIMEOUT_MS / 2);
  await writeOn(run, retried);
});

it("[RP-140] where a replica cannot be asked, the retry waits until no first attempt can be applied any more", async () => {
  const run = await underWay("merge", "recall");
  const { world, coordinators } = run;
  const before = world.nowMs;
  const retried = await world.ask(coordinators[1], CALLER, put(1, { isRetry: true }));
  expect(codeOf(retried)).toBe("written");
  expect(world.nowMs - before).toBeGreaterThanOrEqual(FIRST_STAMP_TIMEOUTS * REPLICA_TIMEOUT_MS);
  await writeOn(run, retried);
});

it("[RP-140] a first attempt that was applied while the retry waited is found, and not stamped a second time", async () => {
  const { world, coordinators } = await warmWorld();
  const stampCount = (): number =>
    [...world.nodes.values()].reduce((sum, { replica }) => sum + replica.counts.stamps, 0);
  const before = stampCount();
  world.holds = (nodeId, ops) => nodeId === "n1" && hasStamp(ops, 1);
  const first = world.submit(coordinators[0], CALLER, put(1));
  await world.run(2);
  world.cut.add("n1");
  const retried = world.submit(coordinators[1], CALLER, put(1, { isRetry: true }));
  await world.run(10);
  // Acknowledged by the other two: n2, which the retry prefers, does not hear of it.
  world.cut.clear();
  world.cut.add("n2");
  world.holds = undefined;
  world.release();
  await world.run(10);
  world.cut.clear();
  await loseHints(world);
  expect(codeOf(first.answer)).toBe("written");
  await world.run(2 * FIRST_STAMP_TIMEOUTS * REPLICA_TIMEOUT_MS);
  expect(codeOf(retried.answer)).toBe("written");
  expect(clockOf(retried.answer!)).toEqual(clockOf(first.answer!));
  expect(stampCount() - before).toBe(1);
});

it("[RP-140] a retry that was told what its client had seen does not wait: it supersedes nothing newer", async () => {
  const { world, coordinators } = await underWay("merge", "recall");
  const clock = { vector: [], dots: [], time: 0 };
  const before = world.nowMs;
  const retried = await world.ask(coordinators[1], CALLER, put(1, { isRetry: true, clock }));
  expect(codeOf(retried)).toBe("written");
  expect(world.nowMs - before).toBeLessThan(REPLICA_TIMEOUT_MS / 2);
});

it("[RP-140] a first attempt that waited in a queue has so much less time", async () => {
  const { world, coordinators } = await warmWorld();
  world.holds = (nodeId) => nodeId === "n1";
  // As many frames as may be under way; they are given up after a timeout.
  for (const n of [11, 12]) {
    world.submit(coordinators[0], CALLER, { ...put(n), key: `other${n}` });
    await world.run(1);
  }
  world.submit(coordinators[0], CALLER, put(1));
  await world.run(2);
  world.cut.add("n1");
  const retried = world.submit(coordinators[1], CALLER, put(1, { isRetry: true }));
  await world.run(5);
  world.cut.clear();
  await world.run(FIRST_STAMP_TIMEOUTS * REPLICA_TIMEOUT_MS + 20);
  expect(codeOf(retried.answer)).toBe("written");
  world.holds = (nodeId, ops) => nodeId === "n1" && hasStamp(ops, 1);
  await writeOn({ world, coordinators }, retried.answer!);
});
