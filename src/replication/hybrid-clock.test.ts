// Hybrid logical time.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HybridClock, TICKS_PER_MS } from "./hybrid-clock.ts";

describe("hybrid clock", () => {
  it("[RP-14] is above everything it returned or was given, whatever the physical clock does", () => {
    const event = fc.record({
      nowMs: fc.integer({ min: 0, max: 2 ** 41 }),
      above: fc.integer({ min: 0, max: 2 ** 51 }),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 30 }), (events) => {
        let nowMs = 0;
        const clock = new HybridClock(() => nowMs);
        let last = -1;
        for (const one of events) {
          nowMs = one.nowMs;
          const time = clock.next(one.above);
          expect(time).toBeGreaterThan(Math.max(last, one.above));
          expect(time).toBeGreaterThanOrEqual(nowMs * TICKS_PER_MS);
          expect(Number.isSafeInteger(time)).toBe(true);
          last = time;
        }
      }),
    );
  });

  it("[RP-14] follows a time seen elsewhere, but none that is absurdly ahead", () => {
    const clock = new HybridClock(() => 1000);
    clock.observe(1500 * TICKS_PER_MS, 600);
    expect(clock.next(0)).toBe(1500 * TICKS_PER_MS + 1);
    clock.observe(2000 * TICKS_PER_MS, 600);
    expect(clock.next(0)).toBe(1500 * TICKS_PER_MS + 2);
  });
});
