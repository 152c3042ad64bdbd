import { describe, expect, it } from "vitest";
import { shown, World } from "../../test/unit/config/watch-world.ts";
import type { ConfigRequest } from "../wire/config.ts";
import { prefixRange } from "../wire/config-keys.ts";
import { WATCH_FRAGMENT_BYTES, WATCH_STALL_MS } from "./limits.ts";

const put = (key: string, value = "x"): ConfigRequest & { kind: "put" } => ({
  kind: "put",
  key,
  value: new TextEncoder().encode(value),
});
const remove = (key: string): ConfigRequest => ({ kind: "deleteRange", key, rangeEnd: "" });
const txn = (...success: (ConfigRequest & { kind: "put" })[]): ConfigRequest => ({
  kind: "txn",
  compare: [],
  success,
  failure: [],
});
const ALL = prefixRange("");
const kinds = (messages: readonly { kind: string }[]): string[] => messages.map(({ kind }) => kind);

describe("watch hub", () => {
  it("[CF-40] a watch hears of its key, prefix or range and of nothing else, without what it filters", () => {
    const world = new World();
    const client = world.client();
    const watches = [
      client.watch(0, { key: "b", rangeEnd: "" }),
      client.watch(1, prefixRange("b")),
      client.watch(2, { key: "a", rangeEnd: "b" }),
      client.watch(3, { ...ALL, noPut: true }),
      client.watch(4, { ...ALL, noDelete: true }),
    ];
    world.turn(put("a"), put("b"), put("b/1"), remove("b"));
    client.read();
    const got = watches.map(({ got }) => got.map((line) => line.split("=")[0]));
    expect(got).toEqual([
      ["3 put b", "5 delete b"],
      ["3 put b", "4 put b/1", "5 delete b"],
      ["2 put a"],
      ["5 delete b"],
      ["2 put a", "3 put b", "4 put b/1"],
    ]);
  });

  it("[CF-41] a watch of a keyspace that nothing was written to begins at revision 1, and hears of the first change", () => {
    const world = new World();
    const client = world.client();
    const first = client.watch(0, { ...ALL, startRevision: 1 });
    world.catchUp();
    world.turn(put("a"));
    client.read();
    expect(first.got.map((line) => line.split("=")[0])).toEqual(["2 put a"]);
  });

  it("[CF-41] a watch begins where it asks to: in the past, now, or in the future", () => {
    const world = new World();
    world.turn(put("a"), put("a"), put("a"));
    const client = world.client();
    const past = client.watch(0, { ...ALL, startRevision: 3 });
    const now = client.watch(1, ALL);
    const future = client.watch(2, { ...ALL, startRevision: 7 });
    world.turn(put("a"), put("a"));
    world.catchUp();
    world.turn(put("a"), put("a"));
    client.read();
    const revisions = [past, now, future].map(({ got }) => got.map((line) => Number(line.split(" ")[0])));
    expect(revisions).toEqual([
      [3, 4, 5, 6, 7, 8],
      [5, 6, 7, 8],
      [7, 8],
    ]);
  });

  it("[CF-42] all events of a revision come in one message; in fragments only where asked for, marked", () => {
    const world = new World();
    const client = world.client();
    const whole = client.watch(0, ALL);
    const split = client.watch(1, { ...ALL, fragment: true });
    const large = "v".repeat(WATCH_FRAGMENT_BYTES * 0.6);
    world.turn(txn(put("a", large), put("b", large), put("c", large)));
    client.read();
    expect(whole.messages.slice(1).map((message) => message.kind === "events" && message.fragment)).toEqual([false]);
    expect(split.messages.slice(1).map((message) => message.kind === "events" && message.fragment)).toEqual([
      true,
      true,
      false,
    ]);
    expect(split.got).toEqual(whole.got);
  });

  it("[CF-43] a watch whose next revision is compacted ends with the oldest revision that can be watched", () => {
    const world = new World();
    for (let count = 0; count < 9; count++) world.turn(put("a", String(count)));
    world.turn({ kind: "compact", revision: 6 });
    world.desk.compactStep();
    const client = world.client();
    const exact = client.watch(0, { ...ALL, startRevision: 6 });
    world.catchUp();
    client.read();
    expect(exact.got.length).toBe(5);
    const late = client.watch(8, { ...ALL, startRevision: 5 });
    client.read();
    expect(kinds(late.messages).slice(0, 2)).toEqual(["created", "canceled"]);
    expect(late.gaps).toEqual([[5, 6]]);
  });

  it("[CF-44] a connection that does not read waits at its revision, holds up nobody, and is closed after a minute", () => {
    const world = new World({ windowBytes: 10_000, mostUnmarkedBytes: 1000, leastUnmarkedBytes: 1000 });
    const [slow, quick] = [world.client(), world.client()];
    const slowWatch = slow.watch(0, ALL);
    const quickWatch = quick.watch(0, ALL);
    for (let count = 0; count < 200; count++) {
      world.turn(put("a", "v".repeat(500)));
      quick.read();
    }
    expect(slow.mostUnread).toBeLessThan(12_000);
    expect(quickWatch.got).toEqual(world.expected(quickWatch, 1e9));
    slow.read();
    world.catchUp();
    for (let rounds = 0; rounds < 100 && slow.inbox.length > 0; rounds++) {
      slow.read();
      world.catchUp();
    }
    expect(slowWatch.got).toEqual(quickWatch.got);

    for (let count = 0; count < 40; count++) {
      world.turn(put("a", "v".repeat(500)));
      quick.read();
    }
    world.clock.ms += WATCH_STALL_MS - 1;
    world.hub.sweep();
    expect(slow.closes).toEqual([]);
    world.clock.ms += 1;
    const reached = slow.inbox.length;
    world.hub.sweep();
    expect(reached).toBeGreaterThan(0);
    const resume = Number(/resume from revision (\d+)/.exec(slow.closes[0] ?? "")?.[1]);
    expect(resume).toBeGreaterThan(slowWatch.next);
    expect(resume).toBeLessThan(world.revision);
    expect(quick.closes).toEqual([]);
  });

  it("[CF-45] progress is told once nothing up to its revision is left to send, and now and then to quiet watches", () => {
    const world = new World({ tailBytes: 0, sliceBytes: 10 });
    for (let count = 0; count < 5; count++) world.turn(put("a"));
    const client = world.client();
    client.watch(0, { ...ALL, startRevision: 2, progressNotify: true });
    client.stream.progress();
    world.hub.step();
    client.read();
    expect(client.other).toEqual([]);
    world.catchUp();
    client.read();
    expect(client.other).toMatchObject([{ kind: "progress", watchId: -1, header: { revision: 6 } }]);

    const watch = client.watches.get(0)!;
    const notices = (): number => watch.messages.filter(({ kind }) => kind === "progress").length;
    world.hub.notify();
    client.read();
    expect(notices()).toBe(0);
    world.hub.notify();
    client.read();
    expect(notices()).toBe(1);
  });

  it("[CF-46] the version before comes along where it was asked for", () => {
    const world = new World();
    world.turn(put("a", "one"));
    const client = world.client();
    const watch = client.watch(0, { ...ALL, prevKv: true });
    world.turn(put("a", "two"), remove("a"), put("a", "three"));
    client.read();
    expect(watch.got).toEqual([
      "3 put a=3:two c2v2 was 2=3:one",
      "4 delete a=0: c0v0 was 3=3:two",
      "5 put a=5:three c5v1",
    ]);
    expect(watch.got).toEqual(world.expected(watch, 1e9));
    expect(world.history.flatMap(({ events }) => events.map(shown)).length).toBe(4);
  });

  it("an id that is taken, an empty range and an empty key are refused; the others go on", () => {
    const world = new World();
    const client = world.client();
    const first = client.watch(3, ALL);
    client.stream.create({ ...ALL, watchId: 3 });
    client.stream.create({ key: "b", rangeEnd: "a" });
    client.stream.create({ key: "", rangeEnd: "" });
    client.read();
    expect(kinds(first.messages)).toEqual(["created"]);
    expect(kinds(client.refused)).toEqual(["refused", "refused", "refused"]);
    expect(client.refused.map((told) => ("message" in told ? told.message : undefined))).toEqual([
      "the connection has a watch 3 already",
      "the range is empty: its end is not after its start",
      "key must not be empty: it has 1 to 1024 bytes",
    ]);
    expect(world.hub.watchCount).toBe(1);
    client.stream.cancel(3);
    client.read();
    expect(world.hub.watchCount).toBe(0);
  });

  it("fifty thousand watches: a change costs what it matches", () => {
    const world = new World();
    const clients = Array.from({ length: 50 }, () => world.client());
    for (const [index, client] of clients.entries()) {
      for (let id = 0; id < 1000; id++) client.stream.create({ key: `k/${index}/${id}`, rangeEnd: "", watchId: id });
      client.inbox = [];
    }
    const hot = clients[7]!.watch(1000, { key: "k/7/7", rangeEnd: "" });
    const startMs = performance.now();
    for (let count = 0; count < 1000; count++) world.turn(put("k/7/7"));
    // Loose: a walk over all watches would take 50 times as long.
    expect(performance.now() - startMs).toBeLessThan(2000);
    clients[7]!.read();
    expect(hot.got.length).toBe(1000);
    expect(clients[8]!.inbox.length).toBe(0);
  });
});
