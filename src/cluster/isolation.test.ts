import { describe, expect, it } from "vitest";
import {
  CUT_OFF_MS,
  FIRST_REST_MS,
  isCutOff,
  LONGEST_REST_MS,
  type PeerReport,
  REPORT_FRESH_MS,
  RestPlan,
} from "./isolation.ts";

/** `links`: who reaches whom. */
function reports(links: Record<string, readonly string[]>, atMs = 0): PeerReport[] {
  return Object.entries(links).map(([zone, reaches]) => ({ zone, atMs, address: "", reaches }));
}

const staying = (all: readonly PeerReport[], nowMs = 0): string[] =>
  all.filter(({ zone }) => !isCutOff(zone, { reports: all, nowMs })).map(({ zone }) => zone);

describe("isCutOff", () => {
  it("[CL-20] whom the others cannot reach is cut off, also where it reaches them; they are not", () => {
    expect(staying(reports({ z1: ["z2", "z3"], z2: ["z1", "z3"], z3: ["z1", "z2"] }))).toEqual(["z1", "z2", "z3"]);
    expect(staying(reports({ z1: [], z2: ["z3"], z3: ["z2"] }))).toEqual(["z2", "z3"]);
    expect(staying(reports({ z1: ["z2", "z3"], z2: ["z3"], z3: ["z2"] }))).toEqual(["z2", "z3"]);
    // Nobody has to rest for one link: cluster mode sends no call by way of a third, but both serve the third.
    expect(staying(reports({ z1: ["z2", "z3"], z2: ["z1"], z3: ["z1"] }))).toEqual(["z1", "z2", "z3"]);
  });

  it("[CL-20] of two groups of one size exactly one stays", () => {
    expect(staying(reports({ z1: [], z2: [] }))).toEqual(["z1"]);
    expect(staying(reports({ z10: ["z9"], z9: ["z10"], z2: ["z11"], z11: ["z2"] })).sort()).toEqual(["z11", "z2"]);
  });

  it("[CL-20] instances that do not report are away: who is left alone stays", () => {
    const all = [...reports({ z1: ["z2"], z2: ["z1"] }), ...reports({ z3: [] }, REPORT_FRESH_MS + 1)];
    expect(isCutOff("z3", { reports: all, nowMs: REPORT_FRESH_MS + 1 })).toBe(false);
    expect(isCutOff("z3", { reports: all, nowMs: REPORT_FRESH_MS })).toBe(true);
    expect(isCutOff("z1", { reports: reports({ z1: [] }), nowMs: 0 })).toBe(false);
  });

  it("[CL-20] whatever the links are, one group stays whole and all others rest", () => {
    let seed = 1;
    const chance = (): boolean => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % 3 > 0;
    };
    for (let round = 0; round < 500; round++) {
      const zones = Array.from({ length: 2 + (round % 5) }, (_, n) => `z${n + 1}`);
      const all = reports(
        Object.fromEntries(zones.map((zone) => [zone, zones.filter((to) => to !== zone && chance())])),
      );
      const stay = new Set(staying(all));
      expect(stay.size).toBeGreaterThan(0);
      const of = new Map(all.map((report) => [report.zone, report]));
      for (const a of zones)
        for (const b of zones)
          if (of.get(a)!.reaches.includes(b) && of.get(b)!.reaches.includes(a)) expect(stay.has(a)).toBe(stay.has(b));
    }
  });
});

describe("RestPlan", () => {
  it("[CL-21] a cut that lasts is acted on, a short one and one that nobody can see are not", () => {
    const plan = new RestPlan();
    expect(plan.observe(true, 0)).toBe("serve");
    expect(plan.observe(true, CUT_OFF_MS - 1)).toBe("serve");
    expect(plan.observe(false, CUT_OFF_MS)).toBe("serve");
    expect(plan.observe(true, CUT_OFF_MS + 1)).toBe("serve");
    expect(plan.observe(undefined, 2 * CUT_OFF_MS)).toBe("serve");
    expect(plan.observe(true, 3 * CUT_OFF_MS)).toBe("serve");
    expect(plan.observe(true, 4 * CUT_OFF_MS)).toBe("rest");
  });

  it("[CL-21] it tries again after a rest, each time after a longer one; after a long good time the first is short again", () => {
    const plan = new RestPlan();
    let nowMs = 0;
    const rest = (): number => {
      while (plan.observe(true, nowMs) === "serve") nowMs += 1000;
      const beganMs = nowMs;
      while (plan.observe(undefined, nowMs) === "rest") nowMs += 1000;
      return nowMs - beganMs;
    };
    expect([rest(), rest(), rest()]).toEqual([FIRST_REST_MS, 2 * FIRST_REST_MS, 4 * FIRST_REST_MS]);
    for (let n = 0; n < 5; n++) rest();
    expect(rest()).toBe(LONGEST_REST_MS);
    for (const end = nowMs + 700_000; nowMs < end; nowMs += 1000) expect(plan.observe(false, nowMs)).toBe("serve");
    expect(rest()).toBe(FIRST_REST_MS);
  });
});
