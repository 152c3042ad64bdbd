// Named schedules of stamps that are lost, late, repeated and made twice. Each one broke the store once, or broke it in the random
// schedules before it could.
import { describe, expect, it } from "vitest";
import type { Caller } from "../../src/access/types.ts";
import { decodeState, type KeyState } from "../../src/kv/key-state.ts";
import type { ReplicaOp } from "../../src/replication/frames.ts";
import type { QuorumCoordinator } from "../../src/replication/quorum-coordinator.ts";
import type { Clock } from "../../src/wire/clock.ts";
import type { SessionAnswer } from "../../src/wire/session.ts";
import { World } from "./world.ts";

const CALLER: Caller = {
  tenant: 7,
  canWrite: true,
  replicationFactor: 3,
  defaultConsistency: "quorum",
  conflictPolicy: "siblings",
};
const ROW = { tenant: 7, key: "k", token: { hi: 0, lo: 0 } };
const NODES = ["n1", "n2", "n3"];

const put = (n: number, more: object = {}) => ({
  op: "put" as const,
  key: "k",
  writeId: new Uint8Array(16).fill(n),
  value: new TextEncoder().encode(String(n)),
  ...more,
});
const stampOf = (n: number): ReplicaOp => ({
  kind: "stamp",
  row: ROW,
  writeId: put(n).writeId,
  value: put(n).value,
  clock: undefined,
  restamp: false,
  supersedeAll: false,
});
const hasStamp = (ops: readonly ReplicaOp[], n: number): boolean =>
  ops.some((op) => op.kind === "stamp" && op.writeId[0] === n);

function valuesOf(answer: SessionAnswer): string[] {
  if (answer.kind !== "value") return [answer.kind];
  const values = answer.siblings ? answer.siblings.map((sibling) => sibling.value) : [answer.value];
  return values.map((value) => (value ? new TextDecoder().decode(value) : "deleted")).sort();
}

function clockOf(answer: SessionAnswer | undefined): Clock {
  if (answer?.kind !== "written") throw new Error(`expected a written answer, got ${JSON.stringify(answer)}`);
  return answer.clock;
}

function stateAt(world: World, nodeId: string): KeyState {
  return decodeState(world.node(nodeId).engine.get(ROW)!);
}

/** A world whose coordinators know the replicas' clocks, and the coordinator that stamps at `zone` first. */
async function warm(
  zone = "z1",
  seed = 1,
): Promise<{ world: World; coordinator: QuorumCoordinator; read: () => Promise<string[]> }> {
  const world = new World(seed);
  const coordinator = world.coordinator(undefined, { stampZone: zone });
  for (const stampZone of ["z1", "z2", "z3"])
    await world.ask(world.coordinator(undefined, { stampZone }), CALLER, { ...put(100), key: `warm ${stampZone}` });
  await world.ask(coordinator, CALLER, { op: "get", key: "warm", consistency: "all" });
  const read = async (): Promise<string[]> =>
    valuesOf(await world.ask(world.coordinator(), CALLER, { op: "get", key: "k", consistency: "all" }));
  return { world, coordinator, read };
}

/** The hints of what timed out are made first, then they are gone. */
async function loseHints(world: World): Promise<void> {
  await world.run(300);
  for (const node of world.nodes.values()) for (const target of node.hints.targets()) node.hints.drop(target, 1e9);
}

describe("late and repeated stamps", () => {
  it("[RP-34] a stamp frame that arrives twice stamps once", async () => {
    const { world, coordinator, read } = await warm();
    world.faults = { lose: 0, repeat: 1, minDelayMs: 1, maxDelayMs: 5 };
    for (const clock of [undefined, { vector: [], dots: [], time: 0 }])
      expect((await world.ask(coordinator, CALLER, put(1, { clock }))).kind).toBe("written");
    expect(await read()).toEqual(["1"]);
    for (const node of NODES) expect(stateAt(world, node).versions.map((version) => version.dots.length)).toEqual([1]);
  });

  it("[RP-36] a late stamp of an acknowledged write does not bury the write after it", async () => {
    const { world, coordinator, read } = await warm("z2");
    world.holds = (nodeId, ops) => nodeId === "n2" && hasStamp(ops, 1);
    const first = world.submit(coordinator, CALLER, put(1));
    await world.run(2);
    world.cut.add("n2");
    await world.run(300);
    const stamper = Math.floor(clockOf(first.answer).vector[0]!.actor / 4096);
    // The stamper hears that the write is settled: from now on nothing of it travels.
    await world.ask(coordinator, CALLER, { op: "get", key: "warm", consistency: "all" });
    await loseHints(world);
    world.cut.clear();
    expect(
      (
        await world.ask(
          world.coordinator(undefined, { stampZone: `z${stamper}` }),
          CALLER,
          put(2, { consistency: "all" }),
        )
      ).kind,
    ).toBe("written");
    world.release();
    await world.run(5000);
    expect(await read()).toEqual(["2"]);
  });

  it("[RP-36] the first stamp that a coordinator ever sends has a deadline too", async () => {
    const { world } = await warm();
    const seen: ReplicaOp[][] = [];
    world.observer = { frame: () => undefined, put: () => undefined };
    world.holds = (_, ops) => {
      seen.push([...ops]);
      return false;
    };
    await world.ask(world.coordinator(), CALLER, put(1));
    const stamps = seen.filter((ops) => hasStamp(ops, 1));
    expect(stamps.length).toBe(1);
    expect(stamps[0]!.some((op) => op.kind === "deadline")).toBe(true);
  });

  it("[RP-36] clocks far apart do not expire a stamp, and a clock that jumps ahead costs one more replica, not the write", async () => {
    const { world, coordinator, read } = await warm();
    world.node("n2").skewMs = 3_000_000;
    world.node("n3").skewMs = -3_000_000;
    expect((await world.ask(coordinator, CALLER, put(1))).kind).toBe("written");
    world.node("n1").skewMs = 500_000;
    expect((await world.ask(coordinator, CALLER, put(2))).kind).toBe("written");
    expect(await read()).toEqual(["2"]);
  });
});

describe("writes stamped twice", () => {
  it("[RP-37] [KV-8] two writes stamped in one order there and retried in the other order here do not bury each other", async () => {
    const { world, coordinator, read } = await warm("z2");
    await world.ask(coordinator, CALLER, put(9, { consistency: "all" }));
    await world.run(3_700_000);
    for (const n of [1, 2]) world.deliver("n2", [stampOf(n)]);
    world.cut.add("n2");
    const here = world.coordinator(undefined, { stampZone: "z3" });
    for (const n of [2, 1]) expect((await world.ask(here, CALLER, put(n, { isRetry: true }))).kind).toBe("written");
    world.cut.clear();
    await world.run(60_000);
    expect(await read()).toEqual(["2"]);
  });

  it("[RP-37] nor where a third write came between: what is young becomes a sibling of the retry, and stays", async () => {
    const { world, read } = await warm("z2");
    for (const n of [1, 2]) world.deliver("n2", [stampOf(n)]);
    world.cut.add("n2");
    const here = world.coordinator(undefined, { stampZone: "z3" });
    const again = await world.ask(here, CALLER, put(2, { isRetry: true }));
    expect((await world.ask(here, CALLER, put(3, { clock: clockOf(again) }))).kind).toBe("written");
    expect((await world.ask(here, CALLER, put(1, { isRetry: true }))).kind).toBe("written");
    world.cut.clear();
    await world.run(60_000);
    expect(await read()).toEqual(["3"]);
  });

  it("[KV-9] an unsettled entry supersedes its write under every dot, where nobody who remembers it is asked", async () => {
    const { world } = await warm();
    const stateOf = (nodeId: string) => world.node(nodeId).engine.get(ROW)!.slice();
    for (const nodeId of ["n2", "n3"]) world.deliver(nodeId, [stampOf(1)]);
    world.deliver("n2", [stampOf(2)]);
    world.deliver("n1", [{ kind: "merge", row: ROW, state: stateOf("n3") }]);
    for (const nodeId of ["n1", "n3"]) world.deliver(nodeId, [{ kind: "merge", row: ROW, state: stateOf("n2") }]);
    world.cut.add("n2");
    expect(valuesOf(await world.ask(world.coordinator(), CALLER, { op: "get", key: "k" }))).toEqual(["2"]);
  });

  it("[KV-7] [RP-5] a quorum read asks who remembers: a superseded write is not shown from the replica that missed it", async () => {
    const { world, coordinator } = await warm("z1");
    world.deliver("n3", [stampOf(1)]);
    world.cut.add("n3");
    for (const n of [1, 2]) await world.ask(coordinator, CALLER, put(n));
    // Settled: nothing of write 1 travels with the state any more.
    await world.ask(coordinator, CALLER, put(3));
    await loseHints(world);
    world.cut.clear();
    await world.run(2000);
    expect(stateAt(world, "n1").unsettled).toEqual([]);
    const reader = world.coordinator(undefined, { readZone: "z3" });
    expect(valuesOf(await world.ask(reader, CALLER, { op: "get", key: "k" }))).toEqual(["3"]);
  });
});

describe("what is said of a write in doubt", () => {
  it("[RP-35] a refusal after a stamp in doubt is no clean refusal", async () => {
    const { world, coordinator } = await warm("z2");
    const empty = { vector: [], dots: [], time: 0 };
    for (let n = 10; n < 42; n++) await world.ask(coordinator, CALLER, put(n, { clock: empty, consistency: "all" }));
    world.holds = (nodeId, ops) => nodeId === "n2" && hasStamp(ops, 50);
    const answer = await world.ask(coordinator, CALLER, put(50, { clock: empty }));
    expect(answer).toMatchObject({ kind: "error", code: "unknownOutcome" });
  });

  it("[RP-35] a retry that reaches nobody does not say that nothing was written", async () => {
    const { world, coordinator } = await warm();
    for (const node of ["n2", "n3"]) world.cut.add(node);
    const codes: string[] = [];
    for (let i = 0; i < 5; i++) {
      const answer = await world.ask(coordinator, CALLER, put(1, { isRetry: i > 0 }));
      codes.push(answer.kind === "error" ? answer.code : answer.kind);
    }
    expect(new Set(codes)).toEqual(new Set(["unknownOutcome"]));
  });
});

describe("idempotency keys", () => {
  it("[RP-38] the first attempt of a client's own id is not recalled; its retry is", async () => {
    const { world, coordinator, read } = await warm();
    let recalls = 0;
    world.holds = (_, ops) => {
      recalls += ops.filter((op) => op.kind === "recall").length;
      return false;
    };
    const own = put(1, { bodyHash: new Uint8Array(8).fill(1) });
    expect((await world.ask(coordinator, CALLER, own)).kind).toBe("written");
    expect(recalls).toBe(0);
    await world.ask(coordinator, CALLER, put(2));
    expect((await world.ask(coordinator, CALLER, own)).kind).toBe("written");
    expect(recalls).toBe(3);
    expect(await read()).toEqual(["2"]);
  });
});

describe("settling", () => {
  it("[RP-26] writes one after the other carry at most one unsettled entry", async () => {
    const { world, coordinator } = await warm();
    for (let n = 1; n <= 20; n++) await world.ask(coordinator, CALLER, put(n));
    await world.run(50);
    for (const node of NODES) expect(stateAt(world, node).unsettled.length).toBeLessThanOrEqual(1);
  });

  it("[RP-12] [RP-26] a stamper rebuilt before its stamp is settled is not told of a stamp it never made", async () => {
    const { world, coordinator } = await warm("z1");
    const told: ReplicaOp[] = [];
    world.holds = (nodeId, ops) => {
      told.push(...ops.filter((op) => op.kind === "settled"));
      return nodeId !== "n1" && ops.some((op) => op.kind === "merge");
    };
    const cell = world.submit(coordinator, CALLER, put(1));
    await world.run(20);
    world.node("n1").loseDisk();
    world.node("n1").start();
    await world.ask(coordinator, CALLER, { op: "get", key: "k", consistency: "one" });
    world.holds = (_, ops) => {
      told.push(...ops.filter((op) => op.kind === "settled"));
      return false;
    };
    world.release();
    await world.run(50);
    expect(cell.answer?.kind).toBe("written");
    await world.ask(coordinator, CALLER, put(2));
    const { actor } = world.node("n1");
    expect(told.length).toBeGreaterThan(0);
    expect(told.some((op) => op.kind === "settled" && op.actor === actor && op.counters.includes(2))).toBe(false);
  });
});
