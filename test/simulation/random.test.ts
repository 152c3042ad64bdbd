// Random schedules on the shipped modules: nothing acknowledged is lost, nothing superseded comes back, whatever fails meanwhile.
// The harness itself: deterministic, shrinking, and able to see planted mistakes. Many seeds run in seeds.test.ts.
import { describe, expect, it } from "vitest";
import { runSeed, traceHash } from "./random-run.ts";
import { explain, replay } from "./replay.ts";
import { type MakeSabotage, PLANTED } from "./sabotage.ts";
import { makeSchedule, only } from "./schedule.ts";
import { shrink } from "./shrink.ts";

/** Every planted mistake is caught within so many seeds. */
const PLANTED_WITHIN = 2000;
/** Where the search for a rarely caught mistake begins; `npm run simulate -- --planted` begins at 1. */
const CAUGHT_NEAR: Readonly<Record<string, number>> = {
  "unsettled writes are not carried": 240,
  "a stamp counts as settled before a majority holds it": 240,
};

async function firstFailure(count: number, make: MakeSabotage = () => ({}), from = 1): Promise<number | undefined> {
  for (let seed = from; seed <= count; seed++) {
    const { problems } = await runSeed(seed, { sabotage: make(), traced: false });
    if (problems.length > 0) return seed;
  }
  return undefined;
}

describe("random schedules", () => {
  it("[RP-1] [RP-5] [RP-6] [RP-7] [RP-10] [RP-12] [RP-35] hold over the first seeds", async () => {
    const seed = await firstFailure(200);
    if (seed !== undefined) expect.fail((await explain(seed)).text);
  });

  it("do what they are for: writes and reads succeed, fail, and stay unknown, under every policy and fault", async () => {
    const sum: Record<string, number> = {};
    const kinds = new Set<string>();
    for (let seed = 1; seed <= 60; seed++) {
      const { counts } = await runSeed(seed, { traced: false });
      for (const [name, count] of Object.entries(counts)) sum[name] = (sum[name] ?? 0) + count;
      const { policy, nodeCount, events } = makeSchedule(seed);
      for (const kind of [policy, `${nodeCount} nodes`, ...events.map(({ step }) => step.kind)]) kinds.add(kind);
    }
    const answers = ["written", "unknownOutcome", "quorumUnavailable", "idempotencyKeyReused"].map(
      (end) => `write ${end}`,
    );
    for (const name of [...answers, "read value", "read notFound"]) expect(sum[name], name).toBeGreaterThan(20);
    const policies = ["siblings", "lastWriteWins", "jsonMerge", "3 nodes", "4 nodes", "5 nodes"];
    const operations = ["write", "read", "batch", "network", "coordinator", "clock", "disk", "unlink"];
    const ailments = ["crash", "stall", "cut", "mute", "slow", "busy"];
    expect([...kinds].sort()).toEqual([...policies, ...operations, ...ailments].sort());
  });
});

describe("the harness", () => {
  it("the same seed gives the same trace, another seed another", async () => {
    const hashes: string[] = [];
    for (const seed of [1, 1, 2]) hashes.push(traceHash((await runSeed(seed)).trace));
    expect(hashes[0]).toBe(hashes[1]);
    expect(hashes[2]).not.toBe(hashes[0]);
  });

  it("writing no trace changes no answer", async () => {
    for (const seed of [3, 4, 5])
      expect((await runSeed(seed, { traced: false })).counts).toEqual((await runSeed(seed)).counts);
  });

  it("an event that is left out leaves the others as they are", () => {
    const schedule = makeSchedule(7);
    const kept = schedule.events.map(({ id }) => id).filter((id) => id % 2 === 0);
    expect(only(schedule, kept).events).toEqual(schedule.events.filter(({ id }) => id % 2 === 0));
  });

  it("a failing schedule is cut down to the events that matter, and the short one fails again", async () => {
    const make = PLANTED["counter reset: a restarted node counts from zero"]!;
    const seed = (await firstFailure(PLANTED_WITHIN, make))!;
    const report = await explain(seed, make);
    expect(report.ids.length).toBeLessThanOrEqual(12);
    expect(report.ids.length).toBeLessThan(report.eventCount / 2);
    expect(report.text).toContain(`--replay ${seed}:${report.ids.join(",")}`);
    const again = await replay(seed, report.ids, make);
    expect(again.problems.length).toBeGreaterThan(0);
    for (const problem of again.problems) expect(report.text).toContain(problem);
    expect((await replay(seed, report.ids)).problems).toEqual([]);
  });

  it("shrinking finds what is needed together, and stops at its bound", async () => {
    const items = Array.from({ length: 100 }, (_, i) => i);
    const needs = async (left: readonly number[]): Promise<boolean> => [3, 50, 97].every((item) => left.includes(item));
    expect((await shrink(items, needs)).items).toEqual([3, 50, 97]);
    const bounded = await shrink(items, needs, 5);
    expect(bounded.tries).toBe(5);
    expect(await needs(bounded.items)).toBe(true);
  });
});

describe("planted mistakes are caught", () => {
  it.each(Object.entries(PLANTED))(`%s, within ${PLANTED_WITHIN} seeds`, async (name, make) => {
    expect(await firstFailure(PLANTED_WITHIN, make, CAUGHT_NEAR[name])).toBeDefined();
  });
});
