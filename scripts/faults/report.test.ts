import { expect, it } from "vitest";
import { availabilities, bySystem, type FaultCost, SYSTEMS, tableOf } from "./report.ts";

const NONE = bySystem(() => 0);
const cost = (more: Partial<FaultCost>): FaultCost => ({
  ...{ kind: "kill an instance", zone: "z1", recoveredMs: 0, asked: 10, codes: {} },
  ...{ failed: NONE, failedElsewhere: NONE, elsewhere: NONE, anywhere: NONE },
  ...more,
});
const only = (wanted: string, value: number) => bySystem((system) => (system === wanted ? value : 0));

it("[CL-116] tells the longest of each kind, and sums what failed", () => {
  const first = cost({ recoveredMs: 1500, failed: only("get one", 2), anywhere: only("get one", 900) });
  const second = cost({ recoveredMs: 500, failed: only("put all", 1), anywhere: only("get one", 400) });
  const [, , line, ...others] = tableOf([first, second]);
  expect(others).toEqual([]);
  const cells = line!.split("|").map((cell) => cell.trim());
  expect(cells.slice(1, 7)).toEqual(["kill an instance", "2", "20", "3", "0", "1.5"]);
  expect(cells[7 + SYSTEMS.indexOf("get one")]).toBe("0.0 / 0.9");
});

it("[CL-116] takes the mean of each kind for what it costs once in 30 days, and a gap without a failure for none", () => {
  const away = { elsewhere: only("config write", 20_000), failedElsewhere: only("config write", 3) };
  const costs = [cost(away), cost({}), cost({ kind: "kill the bucket", elsewhere: only("config write", 5000) })];
  const told = availabilities(costs);
  const config = told.find(({ system }) => system === "config write")!;
  expect(config.percent).toBeCloseTo(100 * (1 - 10 / (30 * 86_400)), 9);
  expect(config.meets).toBe(99.999);
  expect(told.filter(({ percent }) => percent === 100)).toHaveLength(SYSTEMS.length - 1);
});
