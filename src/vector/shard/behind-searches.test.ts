import { describe, expect, it } from "vitest";
import { SLICE_MS, Slice } from "../slice.ts";
import { BehindSearches } from "./behind-searches.ts";
import { BEHIND_SHARE, PIECES_A_WRITE_IF_BEHIND, SEARCHED_LATELY_MS } from "./limits.ts";

/** A clock that only moves by what runs and by timers. */
class World {
  ms = 1000;
  isBehind = false;
  readonly did: string[] = [];
  readonly #timers: { readonly atMs: number; readonly run: () => void }[] = [];
  readonly behind = new BehindSearches({
    now: () => this.ms,
    later: (run, delayMs) => void this.#timers.push({ atMs: this.ms + delayMs, run }),
    isBehind: () => this.isBehind,
  });

  /** A piece of `costMs`, again and again. */
  keep(lane: "write" | "upkeep", costMs: number): void {
    this.behind.add(lane, () => {
      this.ms += costMs;
      this.did.push(lane);
      this.keep(lane, costMs);
    });
  }

  get timers(): number {
    return this.#timers.length;
  }

  /** The next timer; false = there is none. */
  tick(): boolean {
    const timer = this.#timers.shift();
    if (!timer) return false;
    this.ms = Math.max(this.ms, timer.atMs);
    timer.run();
    return true;
  }
}

describe("what goes on behind searches", () => {
  it("[VE-250] takes its share of the time while searches come, whatever a piece costs, and all of it otherwise", () => {
    for (const isSearched of [true, false]) {
      const world = new World();
      world.keep("upkeep", 3);
      world.keep("write", 7);
      const beganMs = world.ms;
      for (let piece = 0; piece < 200; piece++) {
        if (isSearched) world.behind.searched();
        world.tick();
        expect(world.timers).toBe(1);
      }
      const share = (100 * 3 + 100 * 7) / (world.ms - beganMs);
      expect(share).toBeCloseTo(isSearched ? BEHIND_SHARE : 1, 1);
    }
  });

  it("[VE-250] a search counts for a while; then nothing waits", () => {
    const world = new World();
    world.keep("upkeep", 4);
    world.behind.searched();
    world.tick();
    world.ms += SEARCHED_LATELY_MS + 1;
    const beganMs = world.ms;
    for (let piece = 0; piece < 10; piece++) world.tick();
    // The pause of the first piece was over by then.
    expect(world.ms - beganMs).toBe(40);
  });

  it("[VE-251] large writes and upkeep take turns, each kind in its order; where upkeep does not keep up, it goes first mostly", () => {
    const world = new World();
    world.keep("write", 1);
    world.keep("upkeep", 1);
    for (let piece = 0; piece < 40; piece++) world.tick();
    expect(world.did.filter((lane) => lane === "write")).toHaveLength(20);
    world.isBehind = true;
    world.did.length = 0;
    for (let piece = 0; piece < 10 * (PIECES_A_WRITE_IF_BEHIND + 1); piece++) world.tick();
    const writes = world.did.filter((lane) => lane === "write").length;
    expect(writes).toBeGreaterThanOrEqual(9);
    expect(writes).toBeLessThanOrEqual(11);

    const order: number[] = [];
    const other = new World();
    for (let n = 0; n < 5; n++) other.behind.add("write", () => order.push(n));
    while (other.tick());
    expect(order).toEqual([0, 1, 2, 3, 4]);
  });
});

describe("a slice of work", () => {
  it("[VE-252] ends after its time, or after its units where the clock stands still; pauses do not count", () => {
    let ms = 0;
    const timed = new Slice(() => ms, 1_000_000);
    const lengths: number[] = [];
    for (let units = 0, unit = 0; unit < 4000; unit++) {
      ms += 0.25;
      units++;
      if (!timed.isOver()) continue;
      lengths.push(units);
      units = 0;
      ms += 500;
    }
    expect(lengths.length).toBeGreaterThan(400);
    for (const length of lengths) expect(length * 0.25).toBeLessThanOrEqual(SLICE_MS + 0.25);
    const counted = new Slice(() => 7, 8);
    const pauses = Array.from({ length: 24 }, () => counted.isOver());
    expect(pauses.flatMap((isOver, at) => (isOver ? [at] : []))).toEqual([7, 15, 23]);
  });
});
