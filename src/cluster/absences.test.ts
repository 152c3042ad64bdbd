// What most instances say of each other, and what becomes due.
import { expect, it } from "vitest";
import { firstNodes } from "../access/ring-start.ts";
import { type Absence, agreedFailures, type HeldView, stepAbsences, VIEW_FRESH_MS } from "./absences.ts";
import { planReplacement } from "./replacement-plan.ts";
import type { ToldMember } from "./told.ts";

const ZONES = ["z1", "z2", "z3"];

/** What `by` says of those it names; the others are alive. */
function view(by: string, failed: Readonly<Record<string, number>>, atMs = 0): HeldView {
  const members = ZONES.map((zone): ToldMember => {
    const sinceMs = failed[zone];
    return { zone, incarnation: 4, sinceMs: sinceMs ?? 0, ...(sinceMs === undefined ? ALIVE : FAILED) };
  });
  return { view: { zone: by, members }, atMs };
}
const ALIVE = { state: "alive", isTrusted: true } as const;
const FAILED = { state: "failed", isTrusted: false } as const;

it("[CL-98] an instance has failed when most of all others say so, lately; one that is cut off accuses in vain", () => {
  const zonesOf = (views: readonly HeldView[], nowMs = 0) =>
    agreedFailures(views, ZONES, nowMs).map(({ zone }) => zone);
  expect(zonesOf([view("z2", { z1: 5 })])).toEqual([]);
  expect(zonesOf([view("z1", { z2: 5, z3: 5 })])).toEqual([]);
  expect(zonesOf([view("z2", { z1: 5 }), view("z3", { z1: 9 })])).toEqual(["z1"]);
  expect(agreedFailures([view("z2", { z1: 5 }), view("z3", { z1: 9 })], ZONES, 0)[0]).toMatchObject({ sinceMs: 9 });
  expect(zonesOf([view("z1", { z1: 5 }), view("z2", { z1: 5 })])).toEqual([]);
  expect(zonesOf([view("z2", { z1: 5 }), view("z3", { z1: 9 }, 10)], VIEW_FRESH_MS + 1)).toEqual([]);
});

it("[CL-98] [CL-99] each failure is noted once, what is due because of it once, and its end once", () => {
  let held: Absence[] = [];
  const noted: string[] = [];
  const step = (nowMs: number, failed: Readonly<Record<string, number>>): void => {
    const views = [view("z2", failed, nowMs), view("z3", failed, nowMs)];
    for (const each of stepAbsences(held, { views, nowMs }, { zones: ZONES, replaceAfterMs: 60_000 })) {
      noted.push(`${nowMs} ${each.kind}`);
      const zone = each.kind === "back" ? each.zone : each.absence.zone;
      held = held.filter((absence) => absence.zone !== zone);
      if (each.kind !== "back") held.push(each.absence);
    }
  };
  step(1000, {});
  step(2000, { z1: 1500 });
  step(30_000, { z1: 1500 });
  step(61_499, { z1: 1500 });
  step(61_500, { z1: 1500 });
  step(90_000, { z1: 1500 });
  step(91_000, {});
  step(92_000, {});
  expect(noted).toEqual(["2000 failed", "61500 due", "91000 back"]);
  const never = stepAbsences(
    [],
    { views: [view("z2", { z1: 0 }), view("z3", { z1: 0 })], nowMs: 1e12 },
    {
      ...{ zones: ZONES, replaceAfterMs: 0 },
    },
  );
  expect(never).toEqual([]);
});

it("[CL-99] a plan says which part of the keys each node would hand over, and to whom; with too few zones, that nobody is left", () => {
  const [plan] = planReplacement(firstNodes(3, 3), { zone: "z1", replicationFactor: 3 });
  expect(plan).toEqual({ nodeId: "n1", share: 1, takenBy: {}, unplaced: 1 });
  const four = planReplacement(firstNodes(4, 4), { zone: "z1", replicationFactor: 3 });
  const [{ share, takenBy, unplaced }] = four as [(typeof four)[0]];
  expect(unplaced).toBe(0);
  expect(share).toBeGreaterThan(0.5);
  expect(Object.values(takenBy).reduce((sum, part) => sum + part, 0)).toBeCloseTo(share, 3);
  expect(planReplacement(firstNodes(2, 1), { zone: "z1", replicationFactor: 1 })[0]).toMatchObject({ takenBy: {} });
});
