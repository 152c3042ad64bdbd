import { expect, it } from "vitest";
import { paceOf } from "./pace.ts";

it("[VE-316] a copy that is being filled takes so many bytes a second of its leader's segments, and with 0 as many as it can", async () => {
  let nowMs = 1000;
  const sleep = async (ms: number): Promise<void> => {
    nowMs += ms;
  };
  const pace = paceOf({ bytesPerSecond: 1000, now: () => nowMs, sleep });
  for (let part = 0; part < 4; part++) await pace(500);
  expect(nowMs).toBe(3000);
  // What came slowly by itself is not held up.
  nowMs += 5000;
  await pace(1000);
  expect(nowMs).toBe(8000);
  const free = paceOf({ bytesPerSecond: 0, now: () => nowMs, sleep });
  await free(1e12);
  expect(nowMs).toBe(8000);
});
