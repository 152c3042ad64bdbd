import { describe, expect, it } from "vitest";
import { Timeouts } from "./timeouts.ts";

/** A clock and the platform's timers. */
class World {
  nowMs = 1000;
  armed: { readonly atMs: number; readonly run: () => void }[] = [];
  armedCount = 0;
  readonly timeouts = new Timeouts({
    delayMs: 100,
    now: () => this.nowMs,
    setTimer: (delayMs, run) => {
      this.armedCount++;
      this.armed.push({ atMs: this.nowMs + delayMs, run });
    },
  });

  passTo(atMs: number): void {
    for (;;) {
      const due = this.armed.filter((timer) => timer.atMs <= atMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (!due) break;
      this.armed.splice(this.armed.indexOf(due), 1);
      this.nowMs = Math.max(this.nowMs, due.atMs);
      due.run();
    }
    this.nowMs = atMs;
  }
}

describe("timeouts", () => {
  it("run once at their time, in order, and not when cleared", () => {
    const world = new World();
    const ran: string[] = [];
    const note = (name: string) => () => ran.push(`${name} at ${world.nowMs}`);
    world.timeouts.add(note("a"));
    world.passTo(1040);
    const b = world.timeouts.add(note("b"));
    world.timeouts.add(note("c"));
    world.timeouts.clear(b);
    world.passTo(1099);
    expect(ran).toEqual([]);
    world.passTo(2000);
    expect(ran).toEqual(["a at 1100", "c at 1140"]);
    world.timeouts.add(note("d"));
    world.passTo(3000);
    expect(ran).toEqual(["a at 1100", "c at 1140", "d at 2100"]);
    expect(world.armed).toEqual([]);
  });

  it("take one timer of the platform while they are cleared in time, and no memory afterwards", () => {
    const world = new World();
    for (let i = 0; i < 5000; i++) {
      const late = world.timeouts.add(() => expect.unreachable());
      const early = world.timeouts.add(() => expect.unreachable());
      world.timeouts.clear(early);
      world.timeouts.clear(late);
      if (i % 10 === 0) world.passTo(world.nowMs + 1);
    }
    expect(world.timeouts.size).toBe(0);
    expect(world.armedCount).toBeLessThan(10);
    world.passTo(5000);
    expect(world.armed).toEqual([]);
  });

  it("one that is added while others run waits its time", () => {
    const world = new World();
    const ran: number[] = [];
    world.timeouts.add(() => world.timeouts.add(() => ran.push(world.nowMs)));
    world.passTo(1150);
    expect(ran).toEqual([]);
    world.passTo(1500);
    expect(ran).toEqual([1200]);
  });
});
