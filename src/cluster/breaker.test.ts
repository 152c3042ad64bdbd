import { describe, expect, it } from "vitest";
import { Breaker } from "./breaker.ts";

describe("breaker", () => {
  it("[RP-18] opens after three failures in a row, for one second, and lets calls try afterwards", () => {
    const breaker = new Breaker({ failures: 3, openMs: 1000 });
    breaker.failed(0);
    breaker.failed(1);
    expect(breaker.isOpen(2)).toBe(false);
    breaker.failed(2);
    expect(breaker.isOpen(2)).toBe(true);
    expect(breaker.isOpen(1001)).toBe(true);
    expect(breaker.isOpen(1002)).toBe(false);
  });

  it("[RP-18] opens again at the next failure, and a success closes it for good", () => {
    const breaker = new Breaker({ failures: 3, openMs: 1000 });
    for (let i = 0; i < 3; i++) breaker.failed(0);
    breaker.failed(1500);
    expect(breaker.isOpen(2400)).toBe(true);
    breaker.succeeded();
    expect(breaker.isOpen(2400)).toBe(false);
    breaker.failed(2500);
    expect(breaker.isOpen(2500)).toBe(false);
  });

  it("[RP-18] a success between failures starts the count anew", () => {
    const breaker = new Breaker({ failures: 2, openMs: 10 });
    breaker.failed(0);
    breaker.succeeded();
    breaker.failed(0);
    expect(breaker.isOpen(0)).toBe(false);
  });
});
