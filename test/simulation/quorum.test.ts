// Named schedules of the write and read paths, on the shipped modules in the simulated world.
import { describe, expect, it } from "vitest";
import type { Caller } from "../../src/access/types.ts";
import type { SessionAnswer } from "../../src/wire/session.ts";
import { World } from "./world.ts";

const CALLER: Caller = {
  tenant: 7,
  canWrite: true,
  replicationFactor: 3,
  defaultConsistency: "quorum",
  conflictPolicy: "siblings",
};
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const shown = (answer: SessionAnswer): string =>
  answer.kind === "value" ? new TextDecoder().decode(answer.value) : answer.kind;
const id = (n: number): Uint8Array => new Uint8Array(16).fill(n);

function errorOf(answer: SessionAnswer): Extract<SessionAnswer, { kind: "error" }> {
  if (answer.kind !== "error") throw new Error(`expected an error, got ${answer.kind}`);
  return answer;
}

function clockOf(answer: SessionAnswer) {
  if (answer.kind !== "written" && answer.kind !== "value" && answer.kind !== "notFound")
    throw new Error(`no clock in ${JSON.stringify(answer)}`);
  return answer.clock;
}

/** The node that stamps the key's first write when all are up. */
async function stamperOf(key: string): Promise<string> {
  const world = new World(1);
  const answer = await world.ask(world.coordinator(), CALLER, { op: "put", key, writeId: id(1), value: text("1") });
  return `n${Math.floor(clockOf(answer).vector[0]!.actor / 4096)}`;
}

describe("writing and reading", () => {
  it("[RP-1] a quorum write is read back byte for byte", async () => {
    const world = new World(1);
    const coordinator = world.coordinator();
    await world.ask(coordinator, CALLER, {
      op: "put",
      key: "k",
      writeId: id(1),
      value: text('{"b":1.0,"a":9007199254740993}'),
    });
    expect(shown(await world.ask(coordinator, CALLER, { op: "get", key: "k" }))).toBe('{"b":1.0,"a":9007199254740993}');
  });

  it("[RP-2] with one replica away quorum goes on, all says that the outcome is unknown, and the hint arrives later", async () => {
    const world = new World(2);
    const coordinator = world.coordinator();
    const stamper = await stamperOf("k");
    const away = [...world.nodes.keys()].find((node) => node !== stamper)!;
    world.node(away).crash();
    const written = await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(1), value: text("1") });
    expect(written.kind).toBe("written");
    const all = errorOf(
      await world.ask(coordinator, CALLER, {
        op: "put",
        key: "k",
        writeId: id(2),
        value: text("2"),
        consistency: "all",
      }),
    );
    expect(all.code).toBe("unknownOutcome");
    expect(all.details).toMatchObject({ writeId: "02".repeat(16), needed: 3, mayHaveBeenApplied: true });
    world.node(away).start();
    await world.run(5000);
    const row = { tenant: 7, key: "k", token: { hi: 0, lo: 0 } };
    const states = [...world.nodes.values()].map((node) => Buffer.from(node.engine.get(row)!).toString("hex"));
    expect(new Set(states).size).toBe(1);
  });

  it("[RP-3] with a majority away a quorum write is not acknowledged, and once the breakers know, nothing is written", async () => {
    const world = new World(3);
    const coordinator = world.coordinator();
    world.node("n1").crash();
    world.node("n2").crash();
    const codes: string[] = [];
    for (let i = 1; i <= 6; i++) {
      const answer = await world.ask(coordinator, CALLER, {
        op: "put",
        key: "k",
        writeId: id(i),
        value: text(String(i)),
      });
      codes.push(errorOf(answer).code);
    }
    expect(codes[0]).toBe("unknownOutcome");
    expect(codes.at(-1)).toBe("quorumUnavailable");
    expect(errorOf(await world.ask(coordinator, CALLER, { op: "get", key: "k" })).code).toBe("quorumUnavailable");
  });

  it("[RP-4] a stalled replica is timed out and its late answer is not counted", async () => {
    const world = new World(4);
    const coordinator = world.coordinator();
    const stamper = await stamperOf("k");
    for (const node of world.nodes.values()) if (node.info.id !== stamper) node.isStalled = true;
    const cell = world.submit(coordinator, CALLER, { op: "put", key: "k", writeId: id(1), value: text("1") });
    await world.run(150);
    expect(errorOf(cell.answer!).code).toBe("unknownOutcome");
    for (const node of world.nodes.values()) node.isStalled = false;
    await world.run(500);
    expect(errorOf(cell.answer!).code).toBe("unknownOutcome");
    expect(shown(await world.ask(coordinator, CALLER, { op: "get", key: "k" }))).toBe("1");
  });

  it("[RP-5] a read repairs the stale replica before a quorum answer is shown", async () => {
    const world = new World(5);
    const coordinator = world.coordinator();
    await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(1), value: text("1"), consistency: "all" });
    const stamper = await stamperOf("k");
    const others = [...world.nodes.keys()].filter((node) => node !== stamper);
    for (const node of others) world.cut.add(node);
    errorOf(await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(2), value: text("2") }));
    world.cut.clear();
    await world.run(2000);
    expect(shown(await world.ask(coordinator, CALLER, { op: "get", key: "k" }))).toBe("2");
    world.node(stamper).crash();
    expect(shown(await world.ask(coordinator, CALLER, { op: "get", key: "k" }))).toBe("2");
  });
});

describe("causality", () => {
  it("[KV-1] writes with the same context are siblings; a write with the read context resolves them", async () => {
    const world = new World(6);
    const coordinator = world.coordinator();
    const first = await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(1), value: text("0") });
    const clock = clockOf(first);
    await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(2), value: text("1"), clock });
    await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(3), value: text("2"), clock });
    const read = await world.ask(coordinator, CALLER, { op: "get", key: "k" });
    if (read.kind !== "value") throw new Error(read.kind);
    expect(read.siblings?.map((sibling) => new TextDecoder().decode(sibling.value))).toEqual(["1", "2"]);
    await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(4), value: text("3"), clock: read.clock });
    const resolved = await world.ask(coordinator, CALLER, { op: "get", key: "k" });
    expect(shown(resolved)).toBe("3");
    expect(resolved.kind === "value" && resolved.siblings).toBeUndefined();
  });

  it("[KV-2] a write answered beside a sibling does not cover it: writing on with that clock keeps the sibling", async () => {
    const world = new World(7);
    const coordinator = world.coordinator();
    const clock = clockOf(
      await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(1), value: text("0") }),
    );
    await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(2), value: text('"a"'), clock });
    const mine = await world.ask(coordinator, CALLER, {
      op: "put",
      key: "k",
      writeId: id(3),
      value: text('"b"'),
      clock,
    });
    await world.ask(coordinator, CALLER, {
      op: "put",
      key: "k",
      writeId: id(4),
      value: text('"c"'),
      clock: clockOf(mine),
    });
    const read = await world.ask(coordinator, CALLER, { op: "get", key: "k" });
    expect(read.kind === "value" && read.siblings?.map((sibling) => new TextDecoder().decode(sibling.value))).toEqual([
      '"a"',
      '"c"',
    ]);
  });

  it("[KV-3] a delete leaves a context; a concurrent write beside it stays readable with the tombstone as a sibling", async () => {
    const world = new World(8);
    const coordinator = world.coordinator();
    const clock = clockOf(
      await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(1), value: text("0") }),
    );
    await world.ask(coordinator, CALLER, { op: "delete", key: "k", writeId: id(2), clock });
    const gone = await world.ask(coordinator, CALLER, { op: "get", key: "k" });
    expect(gone.kind).toBe("notFound");
    expect(clockOf(gone).vector.length).toBe(1);
    await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(3), value: text("1"), clock });
    const read = await world.ask(coordinator, CALLER, { op: "get", key: "k" });
    expect(read.kind === "value" && read.siblings?.map((sibling) => sibling.value === undefined)).toEqual([
      true,
      false,
    ]);
  });

  it("[KV-4] the 33rd sibling is refused and the answer carries the context that resolves them", async () => {
    const world = new World(9);
    const coordinator = world.coordinator();
    const empty = { vector: [], dots: [], time: 0 };
    for (let i = 1; i <= 32; i++)
      await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(i), value: text("0"), clock: empty });
    const refused = errorOf(
      await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(33), value: text("0"), clock: empty }),
    );
    expect(refused.code).toBe("tooManySiblings");
    expect(Object.keys(refused.details?.vectorClock as object).length).toBeGreaterThan(0);
  });

  it("[KV-5] a clock that names a write which never happened is refused", async () => {
    const world = new World(10);
    const coordinator = world.coordinator();
    await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(1), value: text("0") });
    for (const dot of [
      { actor: 4097, counter: 2 ** 50 },
      { actor: 99 * 4096 + 1, counter: 1 },
    ]) {
      const forged = { vector: [dot], dots: [], time: 0 };
      const answer = await world.ask(coordinator, CALLER, {
        op: "put",
        key: "k",
        writeId: id(2),
        value: text("1"),
        clock: forged,
      });
      expect(errorOf(answer).code).toBe("malformedClock");
    }
  });
});

describe("exactly once", () => {
  it("[RP-6] a retry gets the first answer and changes nothing, even after a later write", async () => {
    const world = new World(11);
    const coordinator = world.coordinator();
    const put = { op: "put" as const, key: "k", writeId: id(1), value: text("1") };
    const first = await world.ask(coordinator, CALLER, put);
    await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(2), value: text("2") });
    const again = await world.ask(coordinator, CALLER, { ...put, isRetry: true });
    expect(clockOf(again)).toEqual(clockOf(first));
    expect(shown(await world.ask(coordinator, CALLER, { op: "get", key: "k" }))).toBe("2");
  });

  it("[RP-7] a retry through another replica, after the first stamper is gone, applies once", async () => {
    const world = new World(12);
    const coordinator = world.coordinator();
    const stamper = await stamperOf("k");
    const others = [...world.nodes.keys()].filter((node) => node !== stamper);
    for (const node of others) world.cut.add(node);
    const put = { op: "put" as const, key: "k", writeId: id(1), value: text("1") };
    errorOf(await world.ask(coordinator, CALLER, put));
    world.cut.clear();
    world.node(stamper).crash();
    await world.run(2000);
    expect((await world.ask(coordinator, CALLER, { ...put, isRetry: true })).kind).toBe("written");
    await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(2), value: text("2") });
    world.node(stamper).start();
    await world.run(5000);
    const read = await world.ask(coordinator, CALLER, { op: "get", key: "k", consistency: "all" });
    expect(shown(read)).toBe("2");
    expect(read.kind === "value" && read.siblings).toBeUndefined();
  });

  it("[RP-8] an idempotency key with another body is refused; with the same body it is answered alike", async () => {
    const world = new World(13);
    const coordinator = world.coordinator();
    const put = {
      op: "put" as const,
      key: "k",
      writeId: id(1),
      bodyHash: new Uint8Array(8).fill(1),
      value: text("1"),
      isRetry: true,
    };
    const first = await world.ask(coordinator, CALLER, put);
    expect(await world.ask(coordinator, CALLER, put)).toMatchObject({ kind: "written", clock: clockOf(first) });
    const other = await world.ask(coordinator, CALLER, {
      ...put,
      key: "k2",
      bodyHash: new Uint8Array(8).fill(2),
      value: text("2"),
    });
    expect(errorOf(other).code).toBe("idempotencyKeyReused");
    expect((await world.ask(coordinator, CALLER, { op: "get", key: "k2" })).kind).toBe("notFound");
  });

  it("[RP-9] an unsettled write travels with the state that superseded it: its retry elsewhere is recognised", async () => {
    const world = new World(14);
    const coordinator = world.coordinator();
    const stamper = await stamperOf("k");
    const others = [...world.nodes.keys()].filter((node) => node !== stamper);
    for (const node of others) world.cut.add(node);
    const lost = { op: "put" as const, key: "k", writeId: id(1), value: text('"old"') };
    errorOf(await world.ask(coordinator, CALLER, lost));
    world.cut.clear();
    await world.run(1500);
    const replica = world.node(stamper).hints;
    for (const target of replica.targets()) replica.drop(target, 1e9);
    await world.ask(coordinator, CALLER, { op: "put", key: "k", writeId: id(2), value: text('"new"') });
    world.node(stamper).crash();
    expect((await world.ask(coordinator, CALLER, { ...lost, isRetry: true })).kind).toBe("written");
    expect(shown(await world.ask(coordinator, CALLER, { op: "get", key: "k" }))).toBe('"new"');
  });
});
