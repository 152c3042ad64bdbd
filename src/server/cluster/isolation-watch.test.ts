// Three instances that watch each other over one board, on a clock of the test's.
import { expect, it } from "vitest";
import type { PeerReport } from "../../cluster/isolation.ts";
import { type Board, IsolationWatch } from "./isolation-watch.ts";

const ZONES = ["z1", "z2", "z3"];

function world() {
  const state = {
    nowMs: 0,
    isBucketAway: false,
    /** Whose leaders nobody reaches. */
    cut: new Set<string>(),
    /** Whose gossip nobody hears, and who hears nobody. */
    unheard: new Set<string>(),
    resting: new Set<string>(),
    drained: new Map<string, string>(),
    down: new Set<string>(),
  };
  const files = new Map<string, PeerReport>();
  const board: Board = {
    read: async (zone) => {
      if (state.isBucketAway) throw new Error("away");
      return files.get(zone);
    },
    write: async (report) => void files.set(report.zone, report),
  };
  const runs = (zone: string): boolean => !state.resting.has(zone) && !state.down.has(zone);
  const hears = (zone: string, other: string): boolean =>
    zone === other || !(state.unheard.has(zone) || state.unheard.has(other) || state.down.has(other));
  const watches = ZONES.map((zone) => {
    const watch = new IsolationWatch({
      ...{ zone, zones: ZONES, board, now: () => state.nowMs, report: () => undefined },
      address: () => (runs(zone) ? zone : undefined),
      reaches: async (to) => runs(to) && !state.cut.has(zone) && !state.cut.has(to),
      together: () => ZONES.filter((other) => hears(zone, other)),
      rest: () => state.resting.add(zone),
      wake: () => state.resting.delete(zone),
      drain: (why) => void (why === null ? state.drained.delete(zone) : state.drained.set(zone, why)),
    });
    return { zone, watch };
  });
  const run = async (seconds: number): Promise<void> => {
    for (const end = state.nowMs + seconds * 1000; state.nowMs < end; state.nowMs += 3000)
      for (const { zone, watch } of watches) if (!state.down.has(zone)) await watch.look();
  };
  return { state, run };
}

it("[CL-20] [CL-21] the one that is cut off rests, the others serve; it serves again when the cut is over", async () => {
  const { state, run } = world();
  await run(30);
  expect([...state.resting]).toEqual([]);
  state.cut.add("z1");
  await run(21);
  expect([...state.resting]).toEqual(["z1"]);
  expect([...state.drained]).toEqual([]);
  state.cut.clear();
  await run(60);
  expect([...state.resting]).toEqual([]);
  await run(60);
  expect([...state.resting]).toEqual([]);
});

it("[CL-20] [CL-21] nobody rests for others that are away, for a bucket that is, or for a short cut", async () => {
  const { state, run } = world();
  await run(15);
  state.down.add("z2").add("z3");
  await run(60);
  expect([...state.resting]).toEqual([]);
  state.down.clear();
  await run(30);
  state.cut.add("z3");
  await run(6);
  state.cut.clear();
  await run(30);
  expect([...state.resting]).toEqual([]);
  state.isBucketAway = true;
  state.cut.add("z2");
  await run(60);
  expect([...state.resting]).toEqual([]);
});

it("[CL-94] the one that gossip does not reach, and the bucket does, is drained and says why, until it is heard again", async () => {
  const { state, run } = world();
  await run(15);
  state.unheard.add("z2");
  await run(9);
  expect([...state.drained]).toEqual([]);
  await run(9);
  expect([...state.drained]).toEqual([["z2", "the other instances cannot reach z2, and the bucket can"]]);
  expect([...state.resting]).toEqual(["z2"]);
  state.unheard.clear();
  await run(3);
  expect([...state.drained]).toEqual([]);
  await run(60);
  expect([...state.resting]).toEqual([]);
});

it("[CL-94] nobody is drained because others are away, or while the bucket cannot be asked", async () => {
  const { state, run } = world();
  await run(15);
  state.down.add("z2").add("z3");
  await run(60);
  expect([...state.drained]).toEqual([]);
  state.down.clear();
  await run(15);
  state.isBucketAway = true;
  state.unheard.add("z1");
  await run(60);
  expect([...state.drained]).toEqual([]);
});
