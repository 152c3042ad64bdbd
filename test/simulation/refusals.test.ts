// What the coordinator refuses before it asks anybody, and what it says where replicas refuse.
import { describe, expect, it } from "vitest";
import { hex } from "../../src/replication/hex.ts";
import { CorruptBlock } from "../../src/storage/types.ts";
import type { SessionAnswer } from "../../src/wire/session.ts";
import { bytesAt, CALLER, codeOf, EMPTY, GET, mergeOf, NODES, put, ROW, valuesOf, warmWorld } from "./named.ts";
import type { World } from "./world.ts";

function messageOf(answer: SessionAnswer): string {
  return answer.kind === "error" ? answer.message : answer.kind;
}

describe("refused before any replica is asked", () => {
  it.each([
    ["an empty key", CALLER, { key: "" }, "invalidRequest", "key has 0 bytes"],
    ["a key over 1024 bytes of UTF-8", CALLER, { key: "ä".repeat(513) }, "invalidRequest", "key has 1026 bytes"],
    ["a value over 1 MiB", CALLER, { value: new Uint8Array(1024 * 1024 + 1) }, "payloadTooLarge", "1048577 bytes"],
    ["a reader's write", { ...CALLER, canWrite: false }, {}, "forbidden", "only read"],
    ["more replicas than nodes", { ...CALLER, replicationFactor: 5 }, {}, "unavailable", "the ring has 3 nodes"],
  ])("[RP-24] %s", async (_, caller, change, code, sentence) => {
    const { world, coordinators } = await warmWorld();
    let frames = 0;
    world.holds = () => {
      frames++;
      return false;
    };
    const answer = await world.ask(coordinators[0], caller, put(1, change));
    expect(codeOf(answer)).toBe(code);
    expect(messageOf(answer)).toContain(sentence);
    expect(frames).toBe(0);
  });

  it("[RP-24] a ping is answered, a reader's read too, and the longest key is taken", async () => {
    const { world, coordinators } = await warmWorld();
    expect((await world.ask(coordinators[0], CALLER, { op: "ping", key: "" })).kind).toBe("pong");
    const reader = { ...CALLER, canWrite: false };
    expect((await world.ask(coordinators[0], reader, GET)).kind).toBe("notFound");
    expect((await world.ask(coordinators[0], CALLER, put(1, { key: "ä".repeat(512) }))).kind).toBe("written");
  });

  it.each([
    ["a node that does not exist", { ...EMPTY, vector: [{ actor: 99 * 4096 + 1, counter: 1 }] }, "does not exist"],
    ["a counter 2^20 ahead", { ...EMPTY, vector: [{ actor: 4097, counter: 2 ** 20 + 100 }] }, "have not happened"],
    [
      "a counter of an incarnation not heard of above 2^48",
      { ...EMPTY, dots: [{ actor: 4098, counter: 2 ** 48 + 1 }] },
      "have not happened",
    ],
    ["a time hours ahead", { ...EMPTY, time: (1_800_000_000_000 + 2 * 3_600_000) * 2048 }, "in the future"],
  ])("[RP-15] a clock that names %s", async (_, clock, sentence) => {
    const { world, coordinators } = await warmWorld();
    const answer = await world.ask(coordinators[0], CALLER, put(1, { clock }));
    expect(codeOf(answer)).toBe("malformedClock");
    expect(messageOf(answer)).toContain(sentence);
    for (const node of NODES) expect(world.node(node).engine.get(ROW)).toBeUndefined();
  });

  it("[RP-15] [RP-14] the stamping replica refuses its own counters that it never gave out, and times far ahead", async () => {
    const { world, coordinators } = await warmWorld();
    const own = { ...EMPTY, vector: [{ actor: 4097, counter: 10_000 }] };
    expect(codeOf(await world.ask(coordinators[0], CALLER, put(1, { clock: own })))).toBe("malformedClock");
    world.node("n1").skewMs = -3_000_000;
    await world.ask(coordinators[0], CALLER, { ...GET, consistency: "all" });
    const ahead = { ...EMPTY, time: (world.nowMs + 3_000_000) * 2048 };
    expect(codeOf(await world.ask(coordinators[0], CALLER, put(2, { clock: ahead })))).toBe("malformedClock");
  });
});

describe("a replica that cannot read its copy", () => {
  /** The key's block fails its checksum at these nodes. */
  function corrupt(world: World, nodes: readonly string[]): void {
    for (const node of nodes) {
      const { engine } = world.node(node);
      const { get } = engine;
      engine.get = (row) => {
        if (row.key === "k") throw new CorruptBlock(`a block of ${node}`, 0);
        return get.call(engine, row);
      };
    }
  }

  it("[RP-23] is passed over: another one is read, another one stamps", async () => {
    const { world, coordinators } = await warmWorld();
    await world.ask(coordinators[0], CALLER, put(1, { consistency: "all" }));
    corrupt(world, ["n1"]);
    expect(valuesOf(await world.ask(coordinators[0], CALLER, GET))).toEqual(["1"]);
    expect(coordinators[0].counts.corruptReads).toBe(1);
    expect((await world.ask(coordinators[0], CALLER, put(2))).kind).toBe("written");
    expect(valuesOf(await world.ask(coordinators[1], CALLER, GET))).toEqual(["2"]);
  });

  it("[RP-23] is an error only where too few intact copies answer", async () => {
    const { world, coordinators } = await warmWorld();
    await world.ask(coordinators[0], CALLER, put(1, { consistency: "all" }));
    corrupt(world, ["n1", "n2"]);
    const read = await world.ask(coordinators[0], CALLER, GET);
    expect(codeOf(read)).toBe("dataCorrupt");
    expect(messageOf(read)).toContain("2 replicas hold this key in a block that failed its checksum");
    expect(valuesOf(await world.ask(coordinators[2], CALLER, { ...GET, consistency: "one" }))).toEqual(["1"]);
  });

  it("[RP-90] is final only where no replica that is away could help; else the read may be tried again", async () => {
    const { world, coordinators } = await warmWorld();
    await world.ask(coordinators[0], CALLER, put(1, { consistency: "all" }));
    corrupt(world, ["n1"]);
    world.node("n2").crash();
    const read = await world.ask(coordinators[0], CALLER, GET);
    expect(read).toMatchObject({ code: "quorumUnavailable", details: { needed: 2, unreadable: 1 } });
    corrupt(world, ["n3"]);
    expect(codeOf(await world.ask(coordinators[0], CALLER, GET))).toBe("dataCorrupt");
    expect(codeOf(await world.ask(coordinators[0], CALLER, { ...GET, consistency: "one" }))).toBe("quorumUnavailable");
  });

  it("[RP-90] [RP-35] a repeated write that every replica refuses says what for", async () => {
    const { world, coordinators } = await warmWorld();
    await world.ask(coordinators[0], CALLER, put(1, { consistency: "all" }));
    corrupt(world, NODES);
    const first = await world.ask(coordinators[0], CALLER, put(2));
    expect(codeOf(first)).toBe("dataCorrupt");
    const again = await world.ask(coordinators[0], CALLER, put(2, { isRetry: true }));
    expect(again).toMatchObject({ code: "unknownOutcome", details: { refusal: { code: "corrupt" } } });
    expect(messageOf(again)).toContain("every replica holds this key in a block that failed its checksum");
  });

  it("[RP-23] a state that no reader can decode is answered as corrupt, and repaired by none", async () => {
    const { world, coordinators } = await warmWorld();
    await world.ask(coordinators[0], CALLER, put(1, { consistency: "all" }));
    for (const node of NODES) {
      const { engine } = world.node(node);
      engine.put(ROW, Uint8Array.of(99, 1, 2, 3));
      engine.commit = () => undefined;
    }
    expect(codeOf(await world.ask(coordinators[0], CALLER, GET))).toBe("dataCorrupt");
    for (const node of NODES) expect(hex(bytesAt(world, node))).toBe("63010203");
  });
});

describe("a tenant that was erased", () => {
  it("[RP-22] is refused in reads and writes, first and repeated, and nothing of it comes back", async () => {
    const { world, coordinators } = await warmWorld();
    await world.ask(coordinators[0], CALLER, put(1, { consistency: "all" }));
    const state = bytesAt(world, "n1");
    for (const node of NODES) {
      world.node(node).isErased = (tenant) => tenant === CALLER.tenant;
      world.node(node).engine.eraseTenant(CALLER.tenant);
    }
    for (const request of [GET, put(2), put(1, { isRetry: true })])
      expect(codeOf(await world.ask(coordinators[0], CALLER, request))).toBe("unauthenticated");
    world.deliver("n2", [mergeOf(state)]);
    for (const node of NODES) expect(world.node(node).engine.get(ROW)).toBeUndefined();
    const other = { ...CALLER, tenant: 8 };
    expect((await world.ask(coordinators[0], other, put(3))).kind).toBe("written");
  });
});
