// Named schedules of repair: what no hint brings any more, a comparison of the replicas does.
import { describe, expect, it } from "vitest";
import { hex } from "../../../src/replication/hex.ts";
import { CALLER } from "./random-run.ts";
import { World } from "./world.ts";

const WHOLE = { fromHi: 0, toHi: 0xffff_ffff };

const put = (key: string, n: number, more: object = {}) => ({
  op: "put" as const,
  key,
  writeId: new Uint8Array(16).fill(n),
  value: new TextEncoder().encode(String(n)),
  ...more,
});

/** n3 missed writes and a delete, and every hint for it is lost. */
async function diverged(): Promise<World> {
  const world = new World(1);
  const coordinator = world.coordinator(undefined, { stampZone: "z1" });
  for (let i = 0; i < 20; i++) await world.ask(coordinator, CALLER, put(`k${i}`, i + 1, { consistency: "all" }));
  world.cut.add("n3");
  for (let i = 0; i < 10; i++) await world.ask(coordinator, CALLER, put(`k${i}`, 100 + i));
  await world.ask(coordinator, CALLER, { op: "delete", key: "k10", writeId: new Uint8Array(16).fill(200) });
  await world.run(300);
  for (const node of world.nodes.values()) for (const target of node.hints.targets()) node.hints.drop(target, 1e9);
  return world;
}

function statesOf(world: World, nodeId: string): string[] {
  const { engine } = world.node(nodeId);
  return engine
    .rows()
    .map((row) => `${row.key} ${hex(engine.get(row)!)}`)
    .sort();
}

describe("repair", () => {
  it("[RP-48] brings what lost hints do not: afterwards all replicas hold the same, deletes too, without a read", async () => {
    const world = await diverged();
    world.cut.clear();
    expect(statesOf(world, "n3")).not.toEqual(statesOf(world, "n1"));
    const job = world.node("n1").sync.runner.repairRange(WHOLE);
    await world.run(10_000);
    const done = world
      .node("n1")
      .standing.jobs()
      .find(({ epoch }) => epoch === job.epoch)!;
    expect(done).toMatchObject({ phase: "done", rowsCompared: 20, rowsRepaired: 11 });
    expect(statesOf(world, "n3")).toEqual(statesOf(world, "n1"));
    expect(statesOf(world, "n2")).toEqual(statesOf(world, "n1"));
  });

  it("[RP-48] is not done while a replica is away, and goes on where it was after a crash", async () => {
    const world = await diverged();
    const { sync, standing } = world.node("n1");
    const { epoch } = sync.runner.repairRange(WHOLE);
    const phase = (): string => standing.jobs().find((job) => job.epoch === epoch)!.phase;
    await world.run(5000);
    expect(phase()).toBe("start");
    world.cut.clear();
    world.node("n1").crash();
    world.node("n1").restart();
    await world.run(10_000);
    expect(phase()).toBe("done");
    expect(statesOf(world, "n3")).toEqual(statesOf(world, "n1"));
  });

  it("[RP-49] a full repair compares each range once, by the first of its replicas", async () => {
    const world = await diverged();
    world.cut.clear();
    for (const node of world.nodes.values()) node.sync.runner.repair(1);
    await world.run(10_000);
    const parts = [...world.nodes.values()].map(({ sync }) => sync.runner.repair(1));
    expect(parts.map(({ phase }) => phase)).toEqual(["done", "done", "done"]);
    expect(parts.reduce((sum, part) => sum + part.rowsCompared, 0)).toBe(20);
    expect(parts.every((part) => part.rowsCompared < 20)).toBe(true);
    expect(statesOf(world, "n3")).toEqual(statesOf(world, "n1"));
  });
});
