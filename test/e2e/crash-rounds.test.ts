// The short form of `npm run crash`: a few seeded rounds of kill -9 under load, with damaged blocks.
import { expect, it } from "vitest";
import { CrashRounds } from "../../scripts/crash/rounds.ts";

it.each(["sqlite", "disk"] as const)(
  "[ST-44] kill -9 at random moments under load, blobs in %s: nothing acknowledged is lost, doubled, back or wrong",
  async (blobStore) => {
    const run = new CrashRounds({ rounds: 4, seed: 3, blobStore, lanes: 24, damageEvery: 3, maxLoadMs: 1200 });
    const { problems, ...counts } = await run.run();
    expect(problems).toEqual([]);
    expect(counts.rounds).toBe(4);
    expect(counts.acknowledged).toBeGreaterThan(100);
    expect(counts.flushes).toBeGreaterThan(0);
    expect(counts.unknown).toBeGreaterThan(0);
    expect(counts.damaged).toBe(1);
  },
);
