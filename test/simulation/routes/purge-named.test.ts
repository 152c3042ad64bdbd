// Named schedules of purges, on the shipped modules: what would bring a deleted value back, one by one.
import { describe, expect, it } from "vitest";
import { tokenOf } from "../../../src/cluster/token.ts";
import { decodeState } from "../../../src/kv/key-state.ts";
import type { ReplicaOp } from "../../../src/replication/frames.ts";
import { MAX_DEADLINE_LEAD_MS, MAX_STATE_LATE_MS } from "../../../src/replication/limits.ts";
import { stateOf } from "./purge-state.ts";
import { CALLER } from "./random-run.ts";
import { World } from "./world.ts";

const row = { tenant: CALLER.tenant, key: "k", token: tokenOf(CALLER.tenant, "k") };
const id = (n: number): Uint8Array => new Uint8Array(16).fill(n);
const all = { consistency: "all" as const };
const value = new TextEncoder().encode("old");

/** A value and its delete on every node; gives the value's state as it once travelled, and the delete's time. */
async function deleted(world: World): Promise<{ old: Uint8Array; horizon: number }> {
  const coordinator = world.coordinator(undefined, { stampZone: "z1" });
  await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(1), value, ...all });
  const old = world.node("n1").engine.get(row)!.slice();
  await world.ask(coordinator, CALLER, { op: "delete", key: "k", writeId: id(2), ...all });
  return { old, horizon: decodeState(world.node("n1").engine.get(row)!).clock.time };
}

function purge(world: World, horizon: number, ...nodes: string[]): void {
  for (const name of nodes) world.node(name).standing.horizon = horizon;
}

const valuesAt = (world: World, name: string): number => {
  const bytes = world.node(name).engine.get(row);
  return bytes ? decodeState(bytes).versions.filter((version) => version.value).length : 0;
};

describe("purge", () => {
  it("[RP-72] no stamp is at or below a promised floor, whatever the clock does", async () => {
    const world = new World(1);
    const node = world.node("n1");
    node.skewMs = 3_000_000;
    const { hybridNow } = node.replica;
    node.standing.floor = hybridNow;
    node.crash();
    node.skewMs = -3_000_000;
    node.restart();
    await world.ask(world.coordinator(undefined, { stampZone: "z1" }), CALLER, {
      op: "put",
      key: "k",
      writeId: id(1),
      value,
    });
    expect(decodeState(node.engine.get(row)!).clock.time).toBeGreaterThan(hybridNow);
  });

  it("[RP-74] a state that comes after the delete is purged and forgotten is refused: merge, repair, heal and hint", async () => {
    const world = new World(2);
    const { old, horizon } = await deleted(world);
    const node = world.node("n2");
    const sentMs = world.nowMs;
    purge(world, horizon, "n1", "n2", "n3");
    node.engine.drop(() => true);
    await world.run(1000);
    node.skewMs += MAX_STATE_LATE_MS + MAX_DEADLINE_LEAD_MS;
    const deadline: ReplicaOp = { kind: "deadline", atMs: sentMs + 100 };
    const hint: ReplicaOp = { kind: "hint", row, target: "n3", state: old };
    for (const op of ["merge", "repair", "heal"] as const)
      world.deliver("n2", [{ kind: op, row, state: old }, deadline]);
    world.deliver("n2", [hint, deadline]);
    expect(valuesAt(world, "n2")).toBe(0);
    expect(node.hints.targets()).toEqual([]);
  });

  it("[RP-75] a write after the purge has no sibling, wherever it is stamped and whoever has dropped the row", async () => {
    for (const stampZone of ["z1", "z2"]) {
      const world = new World(3);
      const { horizon } = await deleted(world);
      purge(world, horizon, "n1", "n2");
      const coordinator = world.coordinator(undefined, { stampZone });
      const write = { op: "put" as const, key: "k", writeId: id(3), value, ...all };
      if (stampZone === "z2") {
        purge(world, horizon, "n3");
        world.node("n2").engine.drop(() => true);
      }
      expect((await world.ask(coordinator, CALLER, write)).kind).toBe("written");
      const states = ["n1", "n2", "n3"].map((name) => decodeState(world.node(name).engine.get(row)!));
      for (const { versions } of states) expect(versions.length).toBe(1);
      const read = await world.ask(coordinator, CALLER, { op: "get", key: "k", ...all });
      expect(read.kind === "value" && read.siblings).toBeUndefined();
    }
  });

  it("[RP-77] [RP-78] a rebuild waits for the same horizon, and forgets what came before it: no value older than its purged delete stays", async () => {
    // No record is left of the value: those go by their own time.
    const world = new World(4, 3, { forgetsRecords: true });
    const { old, horizon } = await deleted(world);
    const lost = world.node("n2");
    lost.loseDisk();
    lost.start();
    purge(world, horizon, "n1", "n3");
    await world.run(450);
    expect(lost.standing.isRebuilding).toBe(true);
    const [job] = lost.standing.jobs();
    expect(job).toMatchObject({ phase: "records" });
    world.deliver("n2", [{ kind: "merge", row, state: old }]);
    expect(valuesAt(world, "n2")).toBe(1);
    purge(world, horizon, "n2");
    await world.run(5000);
    expect(lost.standing.isRebuilding).toBe(false);
    for (const name of ["n1", "n2", "n3"]) expect(valuesAt(world, name)).toBe(0);
  });

  it("[RP-80] a full repair waits for a route that its sources know of", async () => {
    const world = new World(5);
    await deleted(world);
    world.cut.add("n3");
    await world.ask(world.coordinator(), CALLER, { op: "put", key: "k", writeId: id(9), value });
    await world.run(300);
    for (const { hints } of world.nodes.values()) for (const target of hints.targets()) hints.drop(target, 1e9);
    world.cut.clear();
    for (const node of world.nodes.values()) node.standing.recordRoute(CALLER.tenant, 5);
    world.routes.set(CALLER.tenant, { replicationFactor: 3, routeRevision: 4 });
    const phases = (): string[] => [...world.nodes.values()].map(({ sync }) => sync.runner.repair(1).phase);
    phases();
    await world.run(3000);
    expect(phases()).not.toEqual(["done", "done", "done"]);
    world.routes.set(CALLER.tenant, { replicationFactor: 3, routeRevision: 5 });
    await world.run(10_000);
    expect(phases()).toEqual(["done", "done", "done"]);
    expect(valuesAt(world, "n3")).toBe(1);
  });

  it("[RP-79] what a released replica deleted is not taken for superseded when it joins again", async () => {
    const world = new World(6, 5);
    const route = { replicationFactor: 3, routeRevision: 1 };
    world.routes.set(CALLER.tenant, route);
    const held = world.ring().replicas(row.token, 4).write;
    const stray = world.node(held[3]!);
    const state = stateOf(id(1), value);
    for (const name of held) world.deliver(name, [{ kind: "merge", row, state }]);
    stray.standing.recordRoute(CALLER.tenant, 1);
    stray.sync.runner.release(CALLER.tenant);
    await world.run(2000);
    expect(valuesAt(world, stray.info.id)).toBe(0);
    // It joins: a write comes before its filling has begun.
    world.deliver(stray.info.id, [{ kind: "merge", row, state }]);
    expect(valuesAt(world, stray.info.id)).toBe(1);
  });
});
