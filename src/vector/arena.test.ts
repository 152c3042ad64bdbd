import { describe, expect, it } from "vitest";
import { seededRandom } from "../../scripts/lib/seeded.mjs";
import { newCore } from "../../test/unit/vector/fixture.ts";
import { Arena, ArenaFull } from "./arena.ts";
import { distanceOf, METRICS, scoreOf } from "./metric.ts";

const BASE = 1024;

function newArena(budgetBytes: number, maximum = 100): Arena {
  return new Arena({ memory: new WebAssembly.Memory({ initial: 1, maximum }), base: BASE, budgetBytes });
}

describe("the arena", () => {
  it("[VE-1] extents never overlap, keep their content, and freed ones are joined and given out again", () => {
    const random = seededRandom(1);
    const arena = newArena(4_000_000);
    const live = new Map<number, { bytes: number; mark: number }>();
    for (let step = 0; step < 3000; step++) {
      const bytes = Math.floor(random() ** 3 * 40_000);
      if (live.size > 60 || (live.size > 0 && random() < 0.45)) {
        const [at, { bytes: size, mark }] = [...live][Math.floor(random() * live.size)]!;
        expect(arena.bytes(at, size).every((byte) => byte === mark)).toBe(true);
        arena.free(at);
        live.delete(at);
      } else {
        const at = arena.allocate(bytes);
        expect(at % 64).toBe(0);
        expect(at).toBeGreaterThanOrEqual(BASE);
        arena.bytes(at, bytes).fill(step % 251);
        live.set(at, { bytes, mark: step % 251 });
      }
    }
    for (const at of live.keys()) arena.free(at);
    expect(arena.usedBytes).toBe(0);
    const reserved = arena.reservedBytes;
    const whole = arena.allocate(reserved - BASE - 64);
    expect(whole).toBe(BASE);
    expect(arena.reservedBytes).toBe(reserved);
  });

  it("[VE-1] a zeroed extent is zero wherever it lies, and what was not given out cannot be freed", () => {
    const arena = newArena(1_000_000);
    const at = arena.allocate(1000);
    arena.bytes(at, 1000).fill(7);
    arena.free(at);
    expect(arena.bytes(arena.allocate(1000, { zeroed: true }), 1000).every((byte) => byte === 0)).toBe(true);
    expect(() => arena.free(at + 64)).toThrow(/no extent/);
  });

  it("[VE-2] beyond its budget it refuses, with the numbers, and everything stays as it was", () => {
    const arena = newArena(100_000);
    const at = arena.allocate(60_000);
    expect(arena.fits(39_936)).toBe(true);
    expect(arena.fits(39_937)).toBe(false);
    const usedBytes = arena.usedBytes;
    expect(() => arena.allocate(40_001)).toThrow(ArenaFull);
    expect(() => arena.allocate(Number.NaN)).toThrow(ArenaFull);
    expect(() => arena.allocate(40_001)).toThrow(/40001 bytes do not fit: 60032 of 100000 bytes/);
    expect(arena.usedBytes).toBe(usedBytes);
    arena.free(at);
    expect(arena.allocate(99_000)).toBe(at);
  });

  it("[VE-2] a memory that the platform does not give is a full arena too, and smaller extents still fit", () => {
    const arena = newArena(2 ** 30, 4);
    expect(() => arena.allocate(10 * 65_536)).toThrow(ArenaFull);
    expect(arena.usedBytes).toBe(0);
    expect(arena.allocate(2 * 65_536)).toBe(BASE);
  });

  it("[VE-1] the workspace of a core gives all back", () => {
    const { arena, workspace } = newCore();
    workspace.forWalk({ rows: 1000, keys: 100, codeBytes: 64 });
    workspace.reserve("heap", 100);
    workspace.reserve("heap", 100_000);
    expect(workspace.memoryBytes).toBeGreaterThan(100_000);
    workspace.release();
    expect(arena.usedBytes).toBe(0);
  });
});

describe("scores", () => {
  it("[VE-3] a score is the metric's own number, distances are its inverse, and both have one order", () => {
    expect(scoreOf("cosine", 0.25)).toBe(0.75);
    expect(scoreOf("dot", -12)).toBe(12);
    expect(scoreOf("euclidean", 25)).toBe(5);
    expect(Object.is(scoreOf("dot", 0), 0)).toBe(true);
    for (const metric of METRICS) {
      for (const score of [0, 0.5, 1, 7]) expect(scoreOf(metric, distanceOf(metric, score))).toBeCloseTo(score, 12);
      const nearer = scoreOf(metric, 0.1) - scoreOf(metric, 0.2);
      expect(metric === "euclidean" ? nearer < 0 : nearer > 0).toBe(true);
    }
  });
});
