import { expect, it } from "vitest";
import { Prober } from "./prober.ts";

it("notes how long nobody answered well, also at the end, and what was asked before does not count as back", async () => {
  const start = performance.now();
  let isAway = false;
  const prober = new Prober("x", async () => {
    if (isAway) throw Object.assign(new Error("away"), { code: "unavailable" });
  });
  prober.start();
  while (prober.okSince(start) < 3) await new Promise((resolve) => setTimeout(resolve, 5));
  isAway = true;
  const awaySince = performance.now();
  while (prober.away(awaySince).failed < 3) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(prober.okSince(awaySince)).toBe(0);
  await prober.stop();
  const { failed, codes, longestMs, failingMs } = prober.away(start);
  expect(codes).toEqual({ unavailable: failed });
  expect(longestMs).toBeGreaterThanOrEqual(failingMs - 1);
  expect(failingMs).toBeGreaterThan(20);
});
