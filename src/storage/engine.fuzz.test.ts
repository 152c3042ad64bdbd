import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { buildWasm } from "../../scripts/build-wasm.mjs";
import { FuzzRun } from "../../test/unit/storage/fuzz-harness.ts";
import { referenceKernels } from "./kernels.reference.ts";
import { createKernels } from "./kernels.ts";
import type { Kernels } from "./types.ts";

const FIRST_SEED = Number(process.env.STORAGE_FUZZ_SEED ?? 1);
const SEEDS = Number(process.env.STORAGE_FUZZ_SEEDS ?? 40);

let wasm: Kernels;
beforeAll(async () => {
  await buildWasm();
  wasm = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
});

async function runSeeds(asynchronous: boolean): Promise<void> {
  let crashes = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const run = new FuzzRun({ seed, asynchronous, steps: 400, kernels: seed % 2 === 0 ? wasm : referenceKernels });
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
