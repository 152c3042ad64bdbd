// Supervisors that gossip over memory, on a clock of the test's; their incarnations are files.
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { GossipMessage } from "../../cluster/gossip/types.ts";
import { GossipRunner } from "./gossip-runner.ts";
import { Incarnation } from "./incarnation.ts";

const ZONES = ["z1", "z2", "z3"];

class World {
  nowMs = 0;
  readonly down = new Set<string>();
  readonly lines: string[] = [];
  readonly #runners = new Map<string, GossipRunner>();
  readonly #dirs = new Map([...ZONES, "z4"].map((zone) => [zone, mkdtempSync(join(tmpdir(), "jade-gossip-"))]));
  /** Of those that are not started with all three. */
  tables: Readonly<Record<string, readonly string[]>>;

  constructor(tables: Readonly<Record<string, readonly string[]>> = {}) {
    this.tables = tables;
  }

  start(zone: string): void {
    const runner = new GossipRunner({
      ...{
        zone,
        zones: this.tables[zone] ?? ZONES,
        now: () => this.nowMs,
        report: (line) => void this.lines.push(`${zone}: ${line}`),
      },
      incarnation: new Incarnation(this.#dirs.get(zone)!),
      post: (to, message) => this.#deliver(zone, to, message),
    });
    this.#runners.set(zone, runner);
    this.down.delete(zone);
    runner.start();
  }

  async #deliver(from: string, to: string, message: GossipMessage): Promise<void> {
    await Promise.resolve();
    if (!this.down.has(from) && !this.down.has(to)) this.#runners.get(to)?.receive(message);
  }

  async run(seconds: number): Promise<void> {
    for (const endMs = this.nowMs + seconds * 1000; this.nowMs < endMs; this.nowMs += 200) {
      for (const [zone, runner] of this.#runners) if (!this.down.has(zone)) runner.tick();
      for (let i = 0; i < 20; i++) await Promise.resolve();
    }
  }

  async leave(zone: string): Promise<void> {
    await this.#runners.get(zone)!.leave();
    this.down.add(zone);
  }

  /** As `by` sees them. */
  seen(by: string): string[] {
    return this.#runners.get(by)!.members.map(({ zone, state, incarnation }) => `${zone} ${state} ${incarnation}`);
  }

  together(zone: string): readonly string[] {
    return this.#runners.get(zone)!.together;
  }

  stop(): void {
    for (const runner of this.#runners.values()) void runner.leave();
  }
}

it("[CL-92] [CL-91] find each other by whoever answers; one that ends is failed, back in a higher incarnation, and gone when it says so", async () => {
  const world = new World();
  world.down.add("z1");
  world.start("z2");
  world.start("z3");
  await world.run(3);
  expect(world.seen("z3")).toEqual(["z2 alive 1", "z3 alive 1"]);
  world.start("z1");
  await world.run(3);
  for (const zone of ZONES) expect(world.seen(zone)).toEqual(["z1 alive 1", "z2 alive 1", "z3 alive 1"]);
  world.down.add("z1");
  await world.run(12);
  for (const zone of ["z2", "z3"]) expect(world.seen(zone)[0]).toBe("z1 failed 1");
  expect(world.together("z2")).toEqual(["z2", "z3"]);
  world.start("z1");
  await world.run(20);
  for (const zone of ZONES) expect(world.seen(zone)).toEqual(["z1 alive 2", "z2 alive 1", "z3 alive 1"]);
  await world.leave("z1");
  expect([world.seen("z2")[0], world.seen("z3")[0]]).toEqual(["z1 left 2", "z1 left 2"]);
  expect(world.lines).toContain("z2: z1 is failed (incarnation 1)");
  world.stop();
});

it("[CL-144] of a zone that its table has not an instance hears nothing, from itself or from others", async () => {
  const world = new World({ z2: [...ZONES, "z4"], z3: [...ZONES, "z4"], z4: [...ZONES, "z4"] });
  for (const zone of [...ZONES, "z4"]) world.start(zone);
  await world.run(5);
  expect(world.seen("z1")).toEqual(["z1 alive 1", "z2 alive 1", "z3 alive 1"]);
  expect(world.seen("z2")).toEqual(["z1 alive 1", "z2 alive 1", "z3 alive 1", "z4 alive 1"]);
  world.down.add("z4");
  await world.run(12);
  expect(world.seen("z3")[3]).toBe("z4 failed 1");
  // All are started again with the shorter table: what one that was not knows of it is not taken.
  world.tables = {};
  world.start("z2");
  await world.run(5);
  expect(world.seen("z3")).toHaveLength(4);
  expect(world.seen("z2")).toEqual(["z1 alive 1", "z2 alive 2", "z3 alive 1"]);
  world.stop();
});

it("[CL-94] one that hears nobody has part with itself only", async () => {
  const world = new World();
  for (const zone of ZONES) world.start(zone);
  await world.run(3);
  expect(world.together("z1")).toHaveLength(3);
  world.down.add("z2").add("z3");
  await world.run(6);
  expect(world.together("z1")).toEqual(["z1"]);
  world.stop();
});

it("[CL-91] incarnations grow over starts, by objections too, and a file that cannot be read begins anew", () => {
  const dir = mkdtempSync(join(tmpdir(), "jade-incarnation-"));
  expect(new Incarnation(dir).value).toBe(1);
  const second = new Incarnation(dir);
  second.save(7);
  second.save(3);
  expect([second.value, new Incarnation(dir).value]).toEqual([7, 8]);
  writeFileSync(join(dir, "incarnation"), "nonsense");
  expect(new Incarnation(dir).value).toBe(1);
});
