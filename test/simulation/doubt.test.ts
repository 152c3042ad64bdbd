// Named schedules of writes whose outcome is in doubt: who may stamp them again, what is said of them, what their retries get.
import { describe, expect, it } from "vitest";
import type { Caller } from "../../src/access/types.ts";
import { decodeState, encodeState } from "../../src/kv/key-state.ts";
import { mergeStates } from "../../src/kv/merge.ts";
import {
  bytesAt,
  CALLER,
  clockOf,
  codeOf,
  EMPTY,
  GET,
  hasStamp,
  idOf,
  loseHints,
  mergeOf,
  NODES,
  put,
  ROW,
  stampOf,
  stateAt,
  valuesOf,
  warmWorld,
} from "./named.ts";

const OWN = { bodyHash: new Uint8Array(8).fill(1) };

describe("who may stamp a write again", () => {
  it("[RP-27] nobody, while no majority says that it does not remember it", async () => {
    const { world, coordinators } = await warmWorld();
    world.cut.add("n1");
    world.holds = (nodeId, ops) => nodeId === "n2" && ops.some((op) => op.kind === "recall");
    const answer = await world.ask(coordinators[0], CALLER, put(1));
    expect(codeOf(answer)).toBe("unknownOutcome");
    for (const node of ["n2", "n3"]) expect(world.node(node).engine.get(ROW)).toBeUndefined();
  });

  it("[RP-27] another one, once a majority says so; the two stamps are one version", async () => {
    const { world, coordinators } = await warmWorld();
    world.holds = (nodeId, ops) => nodeId === "n1" && hasStamp(ops, 1);
    world.mute.add("n1");
    const cell = world.submit(coordinators[0], CALLER, put(1));
    await world.run(5);
    world.holds = undefined;
    world.release();
    await world.run(5);
    world.cut.add("n1");
    await world.run(300);
    expect(cell.answer?.kind).toBe("written");
    expect(stateAt(world, "n1").versions[0]!.dots.length).toBe(1);
    world.mute.clear();
    world.cut.clear();
    await world.run(5000);
    const read = await world.ask(coordinators[0], CALLER, { ...GET, consistency: "all" });
    expect(valuesOf(read)).toEqual(["1"]);
    expect(stateAt(world, "n1").versions[0]!.dots.length).toBe(2);
  });

  it("[RP-33] a retry gets the answer of the latest stamp, where replicas remember several", async () => {
    const { world, coordinators } = await warmWorld();
    world.deliver("n1", [stampOf(1)]);
    await world.run(1000);
    world.deliver("n2", [stampOf(1)]);
    world.deliver("n3", [mergeOf(bytesAt(world, "n2"))]);
    const late = stateAt(world, "n2").clock;
    for (const coordinator of coordinators)
      expect(clockOf(await world.ask(coordinator, CALLER, put(1, { isRetry: true })))).toEqual(late);
  });
});

describe("what a retry is answered", () => {
  /** Write 2 is known to n2 alone: write 1, stamped by n1, stands beside it there and alone elsewhere. */
  async function stampedBesideAStray() {
    const { world, coordinators } = await warmWorld();
    world.deliver("n2", [stampOf(2)]);
    return { world, coordinators };
  }

  it("[RP-6] the first answer, also by a replica where the write stands beside a sibling", async () => {
    // `npm run faults -- --seed 5`: {"n3.1":[0,39]} for {"n3.1":39}.
    const { world, coordinators } = await stampedBesideAStray();
    world.cut.add("n3");
    const first = clockOf(await world.ask(coordinators[0], CALLER, put(1)));
    expect(stateAt(world, "n2").versions.length).toBe(2);
    await loseHints(world);
    world.cut.delete("n3");
    world.cut.add("n1");
    await world.run(1500);
    expect(clockOf(await world.ask(coordinators[1], CALLER, put(1, { isRetry: true })))).toEqual(first);
  });

  it("[RP-6] the first answer, where another of the majority learned of the write by a repair", async () => {
    const { world, coordinators } = await stampedBesideAStray();
    world.cut.add("n2");
    const first = clockOf(await world.ask(coordinators[0], CALLER, put(1)));
    world.cut.add("n3");
    await loseHints(world);
    world.cut.delete("n2");
    await world.run(1500);
    world.deliver("n2", [mergeOf(encodeState(mergeStates(stateAt(world, "n2"), stateAt(world, "n1"))))]);
    expect(valuesOf(await world.ask(coordinators[0], CALLER, GET))).toEqual(["1", "2"]);
    world.cut.delete("n3");
    world.cut.add("n1");
    await world.run(1500);
    for (const coordinator of coordinators)
      expect(clockOf(await world.ask(coordinator, CALLER, put(1, { isRetry: true })))).toEqual(first);
  });
});

describe("what is said of a write in doubt", () => {
  it("[RP-27] a repeated write whose stamper refuses in time is not stamped elsewhere as if it were new", async () => {
    // Seed 3038822: the other replica had never heard of it, superseded what had superseded it, and nothing was left.
    const { world, coordinators } = await warmWorld();
    const latest: Caller = { ...CALLER, conflictPolicy: "lastWriteWins" };
    const own = put(1, OWN);
    world.cut.add("n1");
    expect((await world.ask(coordinators[2], latest, own)).kind).toBe("written");
    await loseHints(world);
    world.cut.clear();
    await world.run(1500);
    expect((await world.ask(coordinators[2], latest, { ...put(2), consistency: "all" })).kind).toBe("written");

    world.cut.add("n2");
    world.holds = (nodeId, ops) => nodeId === "n3" && hasStamp(ops, 1);
    const cell = world.submit(coordinators[2], latest, own);
    await world.run(20);
    world.node("n3").skewMs = 5000;
    world.release();
    await world.run(2000);
    expect(["written", "unknownOutcome"]).toContain(codeOf(cell.answer));
    expect(valuesOf(await world.ask(coordinators[0], latest, GET))).toEqual(["2"]);
  });

  it("[RP-35] a client's own id that reaches no majority may have been applied before", async () => {
    const { world, coordinators } = await warmWorld();
    expect((await world.ask(coordinators[0], CALLER, put(1, OWN))).kind).toBe("written");
    for (const node of ["n2", "n3"]) world.cut.add(node);
    const codes: (string | undefined)[] = [];
    for (let i = 0; i < 5; i++) codes.push(codeOf(await world.ask(coordinators[0], CALLER, put(1, OWN))));
    expect(new Set(codes)).toEqual(new Set(["unknownOutcome"]));
  });

  it("[RP-35] of a client's own id that a majority hears of for the first time, a refusal is one", async () => {
    const { world, coordinators } = await warmWorld();
    world.node("n1").engine.overloaded = true;
    expect(codeOf(await world.ask(coordinators[0], CALLER, put(1, OWN)))).toBe("overloaded");
    const again = await world.ask(coordinators[0], CALLER, put(1, OWN));
    expect(codeOf(again)).toBe("unknownOutcome");
    expect(again.kind === "error" && again.details).toMatchObject({ refusal: { code: "overloaded" } });
  });

  it("[RP-35] a repeated attempt that is refused for good says why, and that it may have been applied", async () => {
    const { world, coordinators } = await warmWorld();
    for (let n = 1; n <= 32; n++) await world.ask(coordinators[0], CALLER, put(n, { clock: EMPTY }));
    const first = await world.ask(coordinators[0], CALLER, put(50, { clock: EMPTY }));
    expect(codeOf(first)).toBe("tooManySiblings");
    const again = await world.ask(coordinators[0], CALLER, put(50, { clock: EMPTY, isRetry: true }));
    expect(codeOf(again)).toBe("unknownOutcome");
    const refusal = (again.kind === "error" && again.details?.refusal) as { code: string; vectorClock: object };
    expect(refusal.code).toBe("tooManySiblings");
    expect(Object.keys(refusal.vectorClock).length).toBeGreaterThan(0);
  });
});

describe("what a context is worth", () => {
  /** Write 1 is known to n1 alone, and its answer is lost. A reader at `level` hands its context to write 2; then n1 is gone. */
  async function supersededBy(level: "one" | "quorum"): Promise<string[]> {
    const { world, coordinators } = await warmWorld();
    for (const node of ["n2", "n3"]) world.cut.add(node);
    await world.ask(coordinators[0], CALLER, put(1));
    await loseHints(world);
    await world.run(1500);
    world.cut.clear();
    const context = clockOf(await world.ask(coordinators[0], CALLER, { ...GET, consistency: level }));
    world.node("n1").crash();
    expect((await world.ask(coordinators[1], CALLER, put(2, { clock: context }))).kind).toBe("written");
    expect((await world.ask(coordinators[1], CALLER, put(1, { isRetry: true }))).kind).toBe("written");
    return valuesOf(await world.ask(coordinators[1], CALLER, GET));
  }

  it("[RP-71] what was read at quorum stays superseded, though the first stamper is gone and the write is tried again", async () => {
    expect(await supersededBy("quorum")).toEqual(["2"]);
  });

  it("[RP-71] of what was read at one that is not promised: no majority ever knew the write that the context names", async () => {
    expect(await supersededBy("one")).toEqual(["1", "2"]);
  });
});

describe("what is carried", () => {
  it("[KV-20] of more than 64 superseded writes in doubt the youngest are carried, whatever their ids", async () => {
    const { world } = await warmWorld();
    for (let n = 1; n <= 80; n++) world.deliver("n1", [stampOf(200 - n)]);
    const carried = stateAt(world, "n1").unsettled.map((entry) => entry.writeId[0]!);
    expect(carried.length).toBe(64);
    expect(Math.min(...carried)).toBe(200 - 79);
    expect(Math.max(...carried)).toBe(200 - 16);
  });

  it("[KV-24] an entry that a replica dropped when it was settled does not come back from one that still has it", async () => {
    const { world } = await warmWorld();
    world.deliver("n1", [stampOf(1)]);
    world.deliver("n1", [stampOf(2)]);
    world.deliver("n2", [mergeOf(bytesAt(world, "n1"))]);
    expect(stateAt(world, "n2").unsettled.map((entry) => entry.writeId)).toEqual([idOf(1)]);
    const { actor, counter } = stateAt(world, "n1").versions[0]!.dots[0]!;
    world.deliver("n1", [{ kind: "settled", actor, counters: [counter] }, stampOf(3)]);
    expect(stateAt(world, "n1").unsettled).toEqual([]);
    world.deliver("n2", [mergeOf(bytesAt(world, "n1"))]);
    world.deliver("n3", [mergeOf(bytesAt(world, "n2"))]);
    for (const node of NODES) expect(stateAt(world, node).unsettled).toEqual([]);
    expect(decodeState(bytesAt(world, "n3")).versions.map((version) => version.writeId)).toEqual([idOf(3)]);
  });
});
