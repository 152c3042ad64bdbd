// Named schedules of changing routes, on the shipped driver, replicas and coordinator.
import { expect, it } from "vitest";
import { tokenOf } from "../../../src/cluster/token.ts";
import {
  beginChange,
  type ChangeEnvironment,
  type Changing,
  stepChange,
} from "../../../src/replication/route-change.ts";
import { writePageRequest } from "../../../src/replication/sync-frames.ts";
import { CALLER } from "./random-run.ts";
import { World } from "./world.ts";

/** The driver's surroundings in a world; a node that is away says so. */
function driverOf(world: World, held: { changing: Changing }, beforeRecord: (revision: number) => void) {
  const { tenant } = CALLER;
  const environment: ChangeEnvironment = {
    tenant,
    ring: async () => world.ring(),
    recordRoute: async (nodeId, routeRevision) => {
      beforeRecord(routeRevision);
      const node = world.node(nodeId);
      if (!node.isUp) throw new Error(`${nodeId} is away`);
      await node.page(writePageRequest({ kind: "rows", tenant, routeRevision, from: 0, to: 0, limit: 0 }));
    },
    sync: (nodeId, work) => world.rpc(nodeId, (node) => node.sync.runner.want(work)),
    endSync: (nodeId) => world.rpc(nodeId, async (node) => node.sync.runner.release(tenant)),
    now: () => world.nowMs,
    load: () => held.changing,
    save: (changing) => {
      held.changing = changing;
      world.routes.set(tenant, changing.route);
    },
  };
  return environment;
}

it("[RP-100] while a node that died before it recorded is away, the single copies on the others are written and read", async () => {
  const world = new World(1);
  const route = { replicationFactor: 1 };
  const held = { changing: beginChange({ route, change: undefined }, 3, world.nowMs) };
  world.routes.set(CALLER.tenant, route);
  const driver = driverOf(world, held, (revision) => void (revision > 0 && world.node("n3").crash()));
  await stepChange(driver);
  expect(held.changing.change).toMatchObject({ announcing: "filling", waitingFor: expect.stringContaining("n3") });
  const coordinator = world.coordinator();
  const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
  const isElsewhere = (key: string): boolean => world.ring().replicas(tokenOf(CALLER.tenant, key), 1).write[0] !== "n3";
  const served = keys.filter(isElsewhere);
  expect(served.length).toBeGreaterThan(10);
  // A caller with the route of before the change, as gateways hold it for a while.
  const caller = { ...CALLER, ...route };
  for (const [i, key] of served.entries()) {
    const value = new TextEncoder().encode(key);
    const writeId = new Uint8Array(16).fill(i + 1);
    expect((await world.ask(coordinator, caller, { op: "put", key, writeId, value })).kind).toBe("written");
    expect((await world.ask(coordinator, caller, { op: "get", key })).kind).toBe("value");
  }
});

it("[RP-103] [RP-71] an attempt that waited for its route does not supersede what its client wrote since, knowing the retry", async () => {
  const world = new World(1);
  const { tenant } = CALLER;
  const of = { op: "put", key: "k" } as const;
  const first = { ...of, writeId: new Uint8Array(16).fill(1), value: new TextEncoder().encode("first") };
  const second = { ...of, writeId: new Uint8Array(16).fill(2), value: new TextEncoder().encode("second") };
  world.routes.set(tenant, { replicationFactor: 3 });
  const other = world.coordinator(undefined, { stampZone: "z1" });
  await world.ask(other, CALLER, { op: "get", key: "other", consistency: "all" });
  // n2 has recorded a route that is not published yet: the first attempt waits for it.
  world.node("n2").standing.recordRoute(tenant, 1);
  const cell = world.submit(world.coordinator(undefined, { stampZone: "z2" }), CALLER, first);
  await world.run(170);
  expect(cell.answer).toBeUndefined();
  world.routes.set(tenant, { replicationFactor: 3, routeRevision: 1 });
  const newer = { ...CALLER, routeRevision: 1 };
  // Its client lost patience, and tried it again through others; n2 does not hear of that.
  world.cut.add("n2");
  const retry = { ...first, isRetry: true };
  const retried = await world.ask(other, newer, retry);
  world.node("n1").hints.drop("n2", 1e9);
  world.cut.clear();
  if (retried.kind !== "written") throw new Error(JSON.stringify(retried));
  expect((await world.ask(other, newer, { ...second, clock: retried.clock })).kind).toBe("written");
  await world.run(2000);
  expect(cell.answer?.kind).toBe("written");
  const read = await world.ask(other, newer, { op: "get", key: "k", consistency: "all" });
  expect(read.kind === "value" && new TextDecoder().decode(read.value)).toBe("second");
});
