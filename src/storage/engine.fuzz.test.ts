import { describe, expect, it } from "vitest";
import { FuzzRun } from "../../test/unit/storage/fuzz-harness.ts";

const FIRST_SEED = Number(process.env.STORAGE_FUZZ_SEED ?? 1);
const SEEDS = Number(process.env.STORAGE_FUZZ_SEEDS ?? 40);

async function runSeeds(asynchronous: boolean): Promise<void> {
  let crashes = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const run = new FuzzRun({ seed, asynchronous, steps: 400 });
    try {
      await run.run();
    } catch (error) {
      throw new Error(`seed ${seed} (STORAGE_FUZZ_SEED=${seed} STORAGE_FUZZ_SEEDS=1)`, { cause: error });
    }
    crashes += run.crashes;
  }
  expect(crashes).toBeGreaterThan(SEEDS);
}

describe("engine against a model, with crashes", () => {
  it("[ST-40] synchronous blobs: what was committed and only that is found after any crash", () => runSeeds(false));

  it("[ST-41] asynchronous blobs: the same, with failing and interrupted blob operations", () => runSeeds(true));
});
