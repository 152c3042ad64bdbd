// Named schedules of lost disks, fillings and routes, on the shipped modules.
import { describe, expect, it } from "vitest";
import type { Caller } from "../../../src/access/types.ts";
import { tokenOf } from "../../../src/cluster/token.ts";
import { decodeState } from "../../../src/kv/key-state.ts";
import { isKnownToMajorities } from "../../../src/replication/fenced-change.ts";
import type { ReplicaOp } from "../../../src/replication/frames.ts";
import { decodeRecord } from "../../../src/replication/records.ts";
import { CALLER } from "./random-run.ts";
import { World } from "./world.ts";

const id = (n: number): Uint8Array => new Uint8Array(16).fill(n);
const rowOf = (key: string) => ({ tenant: CALLER.tenant, key, token: tokenOf(CALLER.tenant, key) });
const put = (key: string, n: number, more: object = {}) => ({
  op: "put" as const,
  key,
  writeId: id(n),
  value: new TextEncoder().encode(String(n)),
  ...more,
});
const read = (key: string) => ({ op: "get" as const, key, consistency: "quorum" as const });
const stampOf = (key: string, n: number): ReplicaOp => ({
  kind: "stamp",
  row: rowOf(key),
  writeId: id(n),
  value: put(key, n).value,
  clock: undefined,
  restamp: false,
  supersedeAll: false,
});

async function rebuilt(world: World, nodeId: string): Promise<void> {
  for (let i = 0; i < 200 && world.node(nodeId).standing.isRebuilding; i++) await world.run(100);
  expect(world.node(nodeId).standing.isRebuilding).toBe(false);
}

describe("a lost disk", () => {
  it("[RP-44] [RP-10] the node takes writes and counts nowhere: with one of the two others away nothing is acknowledged or read", async () => {
    const world = new World(1);
    const coordinator = world.coordinator(undefined, { stampZone: "z2" });
    await world.ask(coordinator, CALLER, put("k", 1));
    world.node("n2").loseDisk();
    for (const node of ["n1", "n3"]) world.node(node).sync.stop();
    world.node("n2").start();
    world.node("n2").sync.stop();
    expect((await world.ask(coordinator, CALLER, put("k", 2))).kind).toBe("written");
    expect(decodeState(world.node("n2").engine.get(rowOf("k"))!).versions.length).toBe(1);
    expect((await world.ask(coordinator, CALLER, put("k", 3, { consistency: "all" }))).kind).toBe("error");
    world.cut.add("n3");
    expect((await world.ask(coordinator, CALLER, put("k", 4))).kind).toBe("error");
    expect((await world.ask(coordinator, CALLER, read("k"))).kind).toBe("error");
  });

  it("[RP-46] waits for the source that may alone know a write; then a read without that source shows it", async () => {
    const world = new World(2);
    const coordinator = world.coordinator(undefined, { stampZone: "z2" });
    world.cut.add("n3");
    await world.ask(coordinator, CALLER, put("k", 1));
    await world.run(300);
    world.node("n2").hints.drop("n3", 1e9);
    world.cut.clear();
    world.node("n2").loseDisk();
    world.node("n1").crash();
    world.node("n2").start();
    await world.run(5000);
    expect(world.node("n2").standing.isRebuilding).toBe(true);
    world.node("n1").restart();
    await rebuilt(world, "n2");
    world.node("n1").crash();
    const answer = await world.ask(world.coordinator(), CALLER, read("k"));
    expect(answer.kind === "value" && new TextDecoder().decode(answer.value)).toBe("1");
  });

  it("[RP-104] a write that reached it during the rebuild, and went when that was begun anew, lives on where it is", async () => {
    const world = new World(3);
    const coordinator = world.coordinator(undefined, { stampZone: "z1" });
    world.node("n2").loseDisk();
    for (const node of ["n1", "n3"]) world.node(node).sync.stop();
    world.node("n2").start();
    world.node("n2").sync.stop();
    world.cut.add("n3");
    expect((await world.ask(coordinator, CALLER, put("k", 1, { consistency: "one" }))).kind).toBe("written");
    await world.run(50);
    const n2 = world.node("n2");
    const state = world.node("n1").engine.get(rowOf("k"))!;
    expect(n2.engine.get(rowOf("k"))).toEqual(state);
    n2.replica.forget([rowOf("k")]);
    // It ends with sources that never heard of the write; only then n2 meets it again.
    n2.standing.isRebuilding = false;
    world.deliver("n2", [{ kind: "merge", row: rowOf("k"), state }]);
    expect(decodeState(n2.engine.get(rowOf("k"))!).versions.length).toBe(1);
    world.cut.clear();
    const answer = await world.ask(world.coordinator(), CALLER, { ...read("k"), consistency: "all" });
    expect(answer.kind === "value" && new TextDecoder().decode(answer.value)).toBe("1");
  });

  it("[RP-45] a retry of a write that only the lost disk and one other remembered is recognised", async () => {
    const world = new World(3);
    const coordinator = world.coordinator(undefined, { stampZone: "z2" });
    world.cut.add("n3");
    const lost = put("k", 1);
    await world.ask(coordinator, CALLER, lost);
    await world.ask(coordinator, CALLER, put("k", 2));
    await world.run(300);
    world.node("n2").hints.drop("n3", 1e9);
    world.cut.clear();
    await world.ask(coordinator, CALLER, put("k", 3, { consistency: "all" }));
    world.node("n2").loseDisk();
    world.node("n2").start();
    await rebuilt(world, "n2");
    expect(world.node("n3").engine.findRecord(CALLER.tenant, id(1))).toBeUndefined();
    world.node("n1").crash();
    await world.ask(world.coordinator(undefined, { stampZone: "z3" }), CALLER, { ...lost, isRetry: true });
    const answer = await world.ask(world.coordinator(), CALLER, read("k"));
    expect(answer.kind === "value" && new TextDecoder().decode(answer.value)).toBe("3");
    expect(answer.kind === "value" && answer.siblings).toBeUndefined();
  });

  it("[RP-45] what is heard of a write before its row came does not kill the write", async () => {
    const world = new World(4);
    world.deliver("n1", [stampOf("k", 1)]);
    world.node("n2").loseDisk();
    world.node("n2").start();
    world.node("n2").sync.stop();
    const record = decodeRecord(world.node("n1").engine.findRecord(CALLER.tenant, id(1))!)!;
    world.node("n2").replica.importRecord(1, { tenant: CALLER.tenant, writeId: id(1) }, record);
    world.node("n2").engine.commit();
    const state = world.node("n1").engine.get(rowOf("k"))!.slice();
    world.deliver("n2", [{ kind: "merge", row: rowOf("k"), state }]);
    expect(decodeState(world.node("n2").engine.get(rowOf("k"))!).versions.length).toBe(1);
  });

  it("[RP-50] two different votes for one id leave none that counts", async () => {
    const world = new World(5);
    const { replica, engine } = world.node("n1");
    const key = { tenant: CALLER.tenant, writeId: id(9) };
    const vote = (n: number) => ({ kind: "vote" as const, place: 5, bodyHash: new Uint8Array(8).fill(n) });
    replica.importRecord(1, key, vote(1));
    replica.importRecord(1, key, vote(1));
    const held = () => decodeRecord(engine.findRecord(key.tenant, key.writeId)!);
    expect(held()).toEqual(vote(1));
    replica.importRecord(1, key, vote(2));
    expect(held()).toEqual(vote(0));
  });

  it("[RP-47] a rebuilt node knows the routes that its disk knew", async () => {
    const world = new World(6);
    for (const node of world.nodes.values()) node.standing.recordRoute(CALLER.tenant, 4);
    world.routes.set(CALLER.tenant, { replicationFactor: 3, routeRevision: 4 });
    world.node("n2").loseDisk();
    world.node("n2").start();
    expect(world.node("n2").standing.routeRevision(CALLER.tenant)).toBe(0);
    await rebuilt(world, "n2");
    expect(world.node("n2").standing.routeRevision(CALLER.tenant)).toBe(4);
  });
});

describe("routes", () => {
  const old: Caller = { ...CALLER, replicationFactor: 1 };

  it("[RP-41] a caller with an older route is served by the newer one, once its tenant tells it", async () => {
    const world = new World(7);
    const coordinator = world.coordinator();
    for (const node of world.nodes.values()) node.standing.recordRoute(CALLER.tenant, 2);
    expect(await world.ask(coordinator, old, put("k", 1))).toMatchObject({ code: "quorumUnavailable" });
    expect(await world.ask(coordinator, old, read("k"))).toMatchObject({ code: "quorumUnavailable" });
    for (const node of world.nodes.values()) expect(node.engine.get(rowOf("k"))).toBeUndefined();
    world.routes.set(CALLER.tenant, { replicationFactor: 3, routeRevision: 2 });
    expect((await world.ask(coordinator, old, put("k", 2, { consistency: "all" }))).kind).toBe("written");
    for (const node of world.nodes.values()) expect(node.engine.get(rowOf("k"))).toBeDefined();
    expect(coordinator.counts.staleRoutes).toBeGreaterThan(2);
  });

  it("[RP-40] a majority of every range must have recorded a route, not a majority of the nodes", () => {
    const ring = new World(8, 5).ring();
    const known = (...nodes: string[]): boolean => isKnownToMajorities(ring, 2, new Set(nodes));
    expect(known("n1", "n2", "n3")).toBe(false);
    expect(known("n1", "n2", "n3", "n4", "n5")).toBe(true);
    const three = isKnownToMajorities(ring, 3, new Set(["n1", "n2", "n3", "n4"]));
    expect(three).toBe(true);
  });

  it("[RP-42] a joint write needs the new replicas too, and a joint read meets what only they and one old one hold", async () => {
    const world = new World(9, 5);
    const route = { replicationFactor: 3, routeRevision: 2, change: { to: 5, phase: "joint" as const } };
    const caller: Caller = { ...CALLER, ...route };
    const coordinator = world.coordinator();
    const members = world.ring().replicas(rowOf("k").token, 5).write;
    for (const node of members.slice(2)) world.cut.add(node);
    expect((await world.ask(coordinator, caller, put("k", 1))).kind).toBe("error");
    world.cut.clear();
    await world.run(2000);
    expect((await world.ask(coordinator, caller, put("k", 2))).kind).toBe("written");
  });
});
