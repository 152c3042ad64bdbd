// Named schedules of a changing ring, on the shipped driver, replicas and coordinator: the edge cases of adding and removing nodes.
import { describe, expect, it } from "vitest";
import { tokenOf } from "../../../src/cluster/token.ts";
import type { QuorumCoordinator } from "../../../src/replication/quorum-coordinator.ts";
import { cancelRingChange } from "../../../src/replication/ring-change.ts";
import type { SessionAnswer } from "../../../src/wire/session.ts";
import { CALLER } from "./random-run.ts";
import { RingDriver } from "./ring-driver.ts";
import { World } from "./world.ts";

const KEYS = Array.from({ length: 24 }, (_, i) => `k${i}`);
let writes = 0;

async function put(world: World, core: QuorumCoordinator, key: string, text: string): Promise<SessionAnswer> {
  const writeId = new Uint8Array(16).fill(++writes & 255);
  writeId[0] = writes >>> 8;
  return world.ask(core, CALLER, { op: "put", key, writeId, value: new TextEncoder().encode(text) });
}

async function get(world: World, core: QuorumCoordinator, key: string, consistency: "one" | "quorum" | "all") {
  const answer = await world.ask(core, CALLER, { op: "get", key, consistency });
  return answer.kind === "value" && !answer.siblings ? new TextDecoder().decode(answer.value) : answer.kind;
}

/** Keys that n4 will be a replica of. */
function movingTo4(driver: RingDriver): string[] {
  const { world, changing } = driver;
  const { joining } = changing.change!.target;
  const ring = new (world.ring().constructor as new (nodes: unknown) => ReturnType<World["ring"]>)([
    ...changing.nodes.filter(({ id }) => id !== joining!.id),
    { ...joining!, state: "active" },
  ]);
  return KEYS.filter((key) => ring.replicas(tokenOf(CALLER.tenant, key), 3).write.includes("n4"));
}

describe("edge cases of a changing ring", () => {
  it("[RP-117] [RP-119] read staleness: a new owner is read only once it was filled and holds what quorums acknowledged", async () => {
    const world = new World(1);
    const driver = new RingDriver(world);
    const core = world.coordinator();
    for (const key of KEYS) expect((await put(world, core, key, "old")).kind).toBe("written");
    driver.add();
    const moving = movingTo4(driver);
    expect(moving.length).toBeGreaterThan(4);
    await driver.until(() => driver.changing.ring.phase === "filling");
    // It is empty, and answers whoever asks it.
    for (const key of moving)
      for (const level of ["one", "quorum", "all"] as const) expect(await get(world, core, key, level)).toBe("old");
    for (const key of moving.slice(0, 3)) await put(world, core, key, "new");
    await driver.until(() => driver.changing.change === undefined);
    expect(world.ring().replicas(tokenOf(CALLER.tenant, moving[0]!), 3).write).toContain("n4");
    // One of the others may be away: n4 and one more are a quorum, and know it all.
    for (const away of ["n2", "n3"]) {
      world.cut.add(away);
      for (const [i, key] of moving.entries())
        expect(await get(world, core, key, "quorum")).toBe(i < 3 ? "new" : "old");
      world.cut.clear();
      // Until its breaker asks it again.
      await world.run(3000);
    }
  });

  it("[RP-118] quorum during a change: a joining node never stands in for an old one; while quorums are joint both are needed", async () => {
    const world = new World(2);
    const driver = new RingDriver(world);
    const core = world.coordinator();
    for (const key of KEYS) await put(world, core, key, "old");
    driver.add();
    const [key = ""] = movingTo4(driver);
    await driver.until(() => driver.changing.ring.phase === "filling");
    const [first, second] = world.ring().replicas(tokenOf(CALLER.tenant, key), 3).write;
    world.cut.add(first!).add(second!);
    // n4 and one old replica are not two of three.
    expect((await put(world, core, key, "too few")).kind).toBe("error");
    world.cut.clear();
    await world.run(3000);
    await driver.until(() => driver.changing.ring.phase === "joint");
    const { write, joint = [] } = world.ring().replicas(tokenOf(CALLER.tenant, key), 3);
    const shared = write.filter((id) => joint.includes(id));
    expect([shared.length, joint.includes("n4")]).toEqual([2, true]);
    // Two old ones would do, but of the new ones only one is left.
    world.cut.add("n4").add(shared[0]!);
    expect((await put(world, core, key, "old ones only")).kind).toBe("error");
    world.cut.clear();
    await world.run(3000);
    expect((await put(world, core, key, "both")).kind).toBe("written");
  });

  it("[RP-117] races: a coordinator that knows the ring before the last is refused by a majority, learns, and writes at the new owners", async () => {
    const world = new World(3);
    const driver = new RingDriver(world);
    const core = world.coordinator();
    const late = world.coordinator();
    for (const key of KEYS) await put(world, core, key, "old");
    const told: number[] = [];
    late.useView = (view) => void told.push(view.revision);
    driver.add();
    const moving = movingTo4(driver);
    await driver.until(() => driver.changing.change === undefined);
    expect([late.ring.state.revision, told.length > 0]).toEqual([0, true]);
    // From here on it may learn, by asking.
    Reflect.deleteProperty(late, "useView");
    for (const key of moving) expect((await put(world, late, key, "by the old ring")).kind).toBe("written");
    expect([late.ring.state.revision, late.counts.staleRoutes > 0]).toEqual([driver.changing.ring.revision, true]);
    world.cut.add("n2");
    for (const key of moving) expect(await get(world, core, key, "quorum")).toBe("by the old ring");
  });

  it("[RP-116] [RP-121] races: called off while it is being announced, the old ring stays and nothing is lost", async () => {
    const world = new World(4);
    const driver = new RingDriver(world);
    const core = world.coordinator();
    for (const key of KEYS) await put(world, core, key, "old");
    driver.add();
    let isCalledOff = false;
    driver.beforeRecord = (_, revision) => {
      if (revision < 2 || isCalledOff) return;
      isCalledOff = true;
      driver.changing = cancelRingChange(driver.changing, "by hand");
    };
    await driver.until(() => driver.changing.change === undefined);
    expect(driver.ended).toMatchObject({ isCancelled: true, reason: "by hand" });
    expect(driver.changing.nodes.map(({ state }) => state)).toEqual(["active", "active", "active", "removed"]);
    for (const key of KEYS) expect(await get(world, core, key, "all")).toBe("old");
    expect(
      world
        .node("n4")
        .engine.rows()
        .filter((row) => world.node("n4").engine.get(row)!.length > 8),
    ).toEqual([]);
  });

  it("[RP-116] ring-update timing: with a majority away nobody records the next revision; a driver that died between recording and publishing goes on", async () => {
    const world = new World(5);
    const driver = new RingDriver(world);
    const core = world.coordinator();
    for (const key of KEYS) await put(world, core, key, "old");
    driver.add();
    world.cut.add("n2").add("n3");
    await driver.step();
    expect(driver.changing.change?.waitingFor).toContain("n2 is away");
    for (const id of ["n1", "n2", "n3"]) expect(world.node(id).standing.routeRevision(0)).toBe(0);
    world.cut.clear();
    // All have recorded revision 1, and the driver dies before it publishes anything.
    const { nodes, ring, change } = driver.changing;
    for (const id of ["n1", "n2", "n3"]) world.node(id).standing.recordRoute(0, 1);
    driver.changing = { nodes, ring, change: { ...change!, recording: 1 } };
    const waiting = world.submit(core, CALLER, {
      op: "put",
      key: "k0",
      writeId: new Uint8Array(16).fill(9),
      value: new Uint8Array(1),
    });
    await world.run(50);
    expect(waiting.answer).toBeUndefined();
    await driver.step();
    expect(driver.changing.ring.revision).toBeGreaterThanOrEqual(1);
    await world.run(2000);
    expect(waiting.answer?.kind).toBe("written");
    await driver.until(() => driver.changing.change === undefined);
    for (const key of KEYS.slice(1)) expect(await get(world, core, key, "all")).toBe("old");
  });

  it("[RP-121] streaming that fails for good is rolled back", async () => {
    const world = new World(6);
    const driver = new RingDriver(world);
    const core = world.coordinator();
    for (const key of KEYS) await put(world, core, key, "old");
    driver.stallMs = 5000;
    driver.add();
    await driver.until(() => driver.changing.ring.phase === "filling");
    world.node("n4").crash();
    await driver.until(() => driver.changing.change?.step === "cleaning");
    expect(driver.changing.change).toMatchObject({ isCancelled: true, reason: expect.stringContaining("n4 is away") });
    for (const key of KEYS) expect(await get(world, core, key, "all")).toBe("old");
  });

  it("[CL-138] a node that left and that nobody expects back is not waited for; one that is only away is", async () => {
    const world = new World(8);
    const driver = new RingDriver(world);
    const core = world.coordinator();
    for (const key of KEYS) await put(world, core, key, "old");
    driver.add();
    await driver.until(() => driver.changing.change === undefined);
    world.cut.add("n1");
    driver.begin({ kind: "remove", nodeId: "n1" });
    await driver.until(() => driver.changing.change?.step === "cleaning");
    await driver.until(() => driver.changing.change!.waitingFor.includes("n1 is away"));
    // The others that stay are waited for whatever is said of them.
    driver.gone.add("n2");
    await world.run(60_000);
    await driver.step();
    expect(driver.changing.change).toBeDefined();
    driver.gone.add("n1");
    await driver.until(() => driver.changing.change === undefined);
    expect(driver.ended!.uncleaned).toEqual(["n1"]);
    expect(driver.changing.nodes.find(({ id }) => id === "n1")!.state).toBe("removed");
    for (const key of KEYS) expect(await get(world, core, key, "all")).toBe("old");
  });

  it("[RP-120] nothing is deleted before the grace period is over, nor while too few replicas serve", async () => {
    const world = new World(7);
    const driver = new RingDriver(world);
    const core = world.coordinator();
    for (const key of KEYS) await put(world, core, key, "old");
    driver.add();
    driver.changing = { ...driver.changing, change: { ...driver.changing.change!, graceMs: 60_000 } };
    const moving = movingTo4(driver);
    await driver.until(() => driver.changing.change?.step === "cleaning");
    const heldAt1 = (): number => {
      const { engine } = world.node("n1");
      return engine.rows().filter((row) => moving.includes(row.key) && engine.get(row)!.length > 8).length;
    };
    await world.run(30_000);
    await driver.step();
    expect(heldAt1()).toBe(moving.length);
    await world.run(40_000);
    world.cut.add("n2").add("n3");
    await driver.step();
    expect(driver.changing.change?.waitingFor).toContain("a majority of the replicas");
    expect(heldAt1()).toBe(moving.length);
    world.cut.clear();
    await driver.until(() => driver.changing.change === undefined);
    expect(heldAt1()).toBe(0);
  });
});
