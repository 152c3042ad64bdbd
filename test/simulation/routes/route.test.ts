// The replication factor changes under load: what the random schedules promise holds before, during and after.
// JADE_SIM_ROUTE_SEEDS=N runs N seeds (default 300), JADE_SIM_FROM=S begins at S.
import { describe, expect, it } from "vitest";
import { type RouteSabotage, runRouteSeed } from "./route-run.ts";
import { ROUTE_PLANTED } from "./route-sabotage.ts";

const SEEDS = Number(process.env.JADE_SIM_ROUTE_SEEDS ?? 300);
const FROM = Number(process.env.JADE_SIM_FROM ?? 1);
const PLANTED_WITHIN = 3000;
/** Where the search for a rarely caught mistake begins; `npm run simulate -- --planted` begins at 1. */
const CAUGHT_NEAR: Readonly<Record<string, number>> = {
  "old set released before a majority of it has recorded the new revision": 985,
};

async function firstFailure(from: number, count: number, sabotage?: RouteSabotage): Promise<string | undefined> {
  for (let seed = from; seed < from + count; seed++) {
    const { problems, trace } = await runRouteSeed(seed, sabotage);
    if (problems.length > 0) return `seed ${seed}\n${trace.join("\n")}\n${problems.join("\n")}`;
  }
  return undefined;
}

describe("changes of the replication factor", () => {
  it(`[RP-39] [RP-40] [RP-41] [RP-42] [RP-43] lose nothing and bring nothing back over ${SEEDS} seeds`, {
    timeout: 3_600_000,
  }, async () => {
    expect(await firstFailure(FROM, SEEDS)).toBeUndefined();
  });

  it("the schedules do what they are for: changes end, and some are called off", async () => {
    let finished = 0;
    let cancelled = 0;
    for (let seed = 1; seed <= 30; seed++) {
      const result = await runRouteSeed(seed);
      finished += result.finished;
      cancelled += result.cancelled;
    }
    expect(finished).toBeGreaterThan(30);
    expect(cancelled).toBeGreaterThan(2);
  });
});

describe("planted mistakes are caught", () => {
  it.each(Object.entries(ROUTE_PLANTED))(
    `%s, within ${PLANTED_WITHIN} seeds`,
    { timeout: 600_000 },
    async (name, sabotage) => {
      const from = CAUGHT_NEAR[name] ?? 1;
      expect(await firstFailure(from, PLANTED_WITHIN - from, sabotage)).toBeDefined();
    },
  );
});
