// Which copies reads go to, on a clock of events.
import { describe, expect, it } from "vitest";
import { Random } from "../../test/simulation/random.ts";
import { CopyLoads, readCopies } from "./copy-loads.ts";

class World {
  nowMs = 0;
  readonly random = new Random(7);
  readonly #events: { atMs: number; run: () => void }[] = [];
  readonly asked = new Map<string, number>();
  readonly slowness: Record<string, number> = {};
  readonly broken = new Set<string>();
  readonly loads = new CopyLoads({ now: () => this.nowMs, random: () => this.random.between(0, 999_999) / 1_000_000 });
  readonly tookMs: number[] = [];

  after = (ms: number, run: () => void): (() => void) => {
    const event = { atMs: this.nowMs + ms, run };
    this.#events.push(event);
    return () => {
      event.run = () => undefined;
    };
  };

  ask = (copy: string): Promise<string | undefined> => {
    this.asked.set(copy, (this.asked.get(copy) ?? 0) + 1);
    const ms = (5 + this.random.between(0, 2)) * (this.slowness[copy] ?? 1);
    return new Promise((resolve, reject) => {
      this.after(ms, () => (this.broken.has(copy) ? reject(new Error(`${copy} is away`)) : resolve(copy)));
    });
  };

  /** One read each `everyMs`, whether those before it are answered or not. */
  async read(count: number, everyMs: number, copies: readonly string[]): Promise<void> {
    const done: Promise<unknown>[] = [];
    for (let i = 0; i < count; i++) {
      const startedMs = this.nowMs;
      const { loads, ask, after } = this;
      const one = readCopies({ loads, copies, leader: "leader", ask, after });
      done.push(
        one.then(
          () => this.tookMs.push(this.nowMs - startedMs),
          () => this.tookMs.push(Number.POSITIVE_INFINITY),
        ),
      );
      await this.pass(everyMs);
    }
    await this.pass(20_000);
    await Promise.all(done);
  }

  async pass(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const due = this.#events.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (!due) break;
      this.#events.splice(this.#events.indexOf(due), 1);
      this.nowMs = Math.max(this.nowMs, due.atMs);
      due.run();
      for (let turn = 0; turn < 6; turn++) await Promise.resolve();
    }
    this.nowMs = untilMs;
  }

  share(copy: string): number {
    const all = [...this.asked.values()].reduce((sum, count) => sum + count, 0);
    return (this.asked.get(copy) ?? 0) / all;
  }
}

const COPIES = ["leader", "z2", "z3"];

describe("reads of copies", () => {
  it("[VE-196] a copy ten times slower than the others gets less than a twentieth of the reads; equal ones get equal shares", async () => {
    const world = new World();
    world.slowness["z3"] = 10;
    await world.read(3000, 3, COPIES);
    expect(world.share("z3")).toBeLessThan(0.05);
    expect(world.share("z3")).toBeGreaterThan(0);
    const even = new World();
    await even.read(2000, 3, COPIES);
    for (const copy of COPIES) expect(even.share(copy)).toBeGreaterThan(0.2);
  });

  it("[VE-196] one that was slow gets its share again once it is not", async () => {
    const world = new World();
    world.slowness["z2"] = 20;
    await world.read(300, 3, COPIES);
    world.slowness["z2"] = 1;
    await world.pass(60_000);
    world.asked.clear();
    await world.read(600, 3, COPIES);
    expect(world.share("z2")).toBeGreaterThan(0.15);
  });

  it("[VE-197] what takes longer than nearly all is asked of a second copy; that costs few requests", async () => {
    const world = new World();
    await world.read(500, 4, COPIES);
    const before = [...world.asked.values()].reduce((sum, count) => sum + count, 0);
    expect(before).toBeLessThan(500 * 1.2);
    // It hangs: what is asked of it is answered by another, long before it.
    world.slowness["z2"] = 1000;
    world.tookMs.length = 0;
    await world.read(50, 4, COPIES);
    expect(Math.max(...world.tookMs)).toBeLessThan(100);
  });

  it("[VE-197] a copy that cannot answer costs a call to the leader; an error is the leader's", async () => {
    const world = new World();
    world.broken.add("z2").add("z3");
    await world.read(50, 10, COPIES);
    expect(world.tookMs).toHaveLength(50);
    expect(Math.max(...world.tookMs)).toBeLessThan(100);
    world.broken.add("leader");
    await expect(
      Promise.all([
        readCopies({ loads: world.loads, copies: COPIES, leader: "leader", ask: world.ask, after: world.after }),
        world.pass(1000),
      ]),
    ).rejects.toThrow("is away");
  });

  it("[CL-117] one copy that is left answers, whether the leader and the others fail at once or hang", async () => {
    for (const isHanging of [false, true]) {
      const world = new World();
      const others = ["leader", "z2", "z3"];
      for (const copy of others) {
        if (isHanging) world.slowness[copy] = 100_000;
        else world.broken.add(copy);
      }
      // Long apart, so that what is known of them has faded.
      await world.read(30, 20_000, [...others, "z4"]);
      expect(world.tookMs).toHaveLength(30);
      expect(Math.max(...world.tookMs)).toBeLessThan(isHanging ? 6500 : 50);
    }
  });
});
