// Issue 3: 10 000 seeds in CI, in worker threads. JADE_SIM_SEEDS=N runs N, JADE_SIM_FROM=S begins at S; by hand: npm run simulate.
import { availableParallelism } from "node:os";
import { expect, it } from "vitest";
import { explain } from "./replay.ts";
import { sweep } from "./sweep.ts";

const SEEDS = Number(process.env.JADE_SIM_SEEDS ?? 10_000);
const FROM = Number(process.env.JADE_SIM_FROM ?? 1);

it(`[RP-1] [RP-5] [RP-6] [RP-7] [RP-10] [RP-12] [RP-35] hold over ${SEEDS} seeds`, { timeout: 3_600_000 }, async () => {
  const { seedCount, failed } = await sweep({ from: FROM, count: SEEDS, workers: availableParallelism() });
  if (failed[0]) expect.fail((await explain(failed[0].seed)).text);
  expect(seedCount).toBe(SEEDS);
});
