import { describe, expect, it } from "vitest";
import { Random } from "../../test/unit/config/random.ts";
import { type Client, type LogicalWatch, World } from "../../test/unit/config/watch-world.ts";
import type { ConfigRequest } from "../wire/config.ts";
import { prefixRange } from "../wire/config-keys.ts";
import type { WatchOptions } from "../wire/config-watch.ts";
import { ConfigRefusal } from "./failure.ts";

const KEYS = ["a", "a/1", "a/2", "b", "b/1", "c/1/x", "c/1/y", "d"];

function writes(random: Random): readonly ConfigRequest[] {
  const value = (): Uint8Array =>
    new Uint8Array(random.chance(0.1) ? 3000 : random.below(40)).fill(97 + random.below(26));
  const one = (): ConfigRequest => {
    const key = random.pick(KEYS);
    const kind = random.below(8);
    if (kind === 0) return { kind: "deleteRange", key, rangeEnd: "" };
    if (kind === 1) return { kind: "deleteRange", ...prefixRange(random.pick(["a", "b", "c", ""])) };
    if (kind > 3) return { kind: "put", key, value: value() };
    const keys = KEYS.filter(() => random.chance(0.4));
    const success = keys.map((each) =>
      random.chance(0.2)
        ? ({ kind: "deleteRange", key: each, rangeEnd: "" } as const)
        : ({ kind: "put", key: each, value: value() } as const),
    );
    return { kind: "txn", compare: [], success, failure: [] };
  };
  return Array.from({ length: 1 + random.below(5) }, one);
}

function watchOptions(random: Random, world: World): WatchOptions {
  const range = random.pick([
    { key: random.pick(KEYS), rangeEnd: "" },
    prefixRange(random.pick(["a", "b/", "c", ""])),
    { key: "a/2", rangeEnd: "c" },
    { key: "b", rangeEnd: "\0" },
  ]);
  const { compactedRevision } = world.desk.keyspace;
  const oldest = Math.max(1, compactedRevision);
  const startRevision = random.chance(0.5) ? 0 : oldest + random.below(world.revision + 3 - oldest);
  return {
    ...range,
    startRevision,
    prevKv: random.chance(0.3),
    noPut: random.chance(0.1),
    noDelete: random.chance(0.1),
    fragment: random.chance(0.5),
  };
}

interface Run {
  readonly world: World;
  readonly watches: { readonly client: Client; readonly watch: LogicalWatch }[];
  readonly compactions: Set<number>;
}

/** What was there before is not known any more of changes at a compacted revision. */
function comparable(lines: readonly string[], compactions: ReadonlySet<number>): readonly string[] {
  return lines.map((line) => (compactions.has(Number(line.split(" ")[0])) ? line.replace(/ was .*/, "") : line));
}

function check({ world, watches, compactions }: Run): void {
  for (const { watch } of watches) {
    const until = watch.next;
    const whole = watch.cut > 0 ? watch.got.slice(0, -watch.cut) : watch.got;
    expect(comparable(whole, compactions)).toEqual(comparable(world.expected(watch, until), compactions));
  }
}

function compactSome(random: Random, { world, compactions }: Run): void {
  const { compactedRevision } = world.desk.keyspace;
  const revision = compactedRevision + 1 + random.below(Math.max(1, world.revision - compactedRevision));
  try {
    world.turn({ kind: "compact", revision });
    compactions.add(revision);
  } catch (error) {
    if (!(error instanceof ConfigRefusal)) throw error;
  }
  for (let slices = random.below(3); slices > 0 && world.desk.mustCompact; slices--) world.desk.compactStep();
}

function act(random: Random, run: Run): void {
  const { world, watches } = run;
  const client = random.pick(world.clients);
  switch (random.below(14)) {
    case 0:
      if (watches.length < 40)
        watches.push({ client, watch: client.watch(watches.length, watchOptions(random, world)) });
      return;
    case 1:
    case 2:
      return client.read(random.below(6));
    case 3:
      return client.read();
    case 4:
      if (random.chance(0.3)) world.drop(client);
      return;
    case 5:
      for (const each of world.clients) if (each.socket === undefined && random.chance(0.5)) each.connect();
      return;
    case 6:
      if (random.chance(0.3)) world.hibernate();
      return;
    case 7:
      if (random.chance(0.2)) world.restart();
      return;
    case 8:
      if (random.chance(0.3)) compactSome(random, run);
      return;
    case 9:
    case 10:
      for (let steps = random.below(4); steps > 0; steps--) world.hub.step();
      return;
    default:
      world.turn(...writes(random));
  }
}

/** Everybody reads until nothing is left. */
function settle({ world }: Run): void {
  for (let rounds = 0; rounds < 200; rounds++) {
    for (const client of world.clients) if (client.socket === undefined) client.connect();
    world.catchUp();
    for (const client of world.clients) client.read();
    if (!world.hub.isBehind && !world.hub.hasWaiting && world.clients.every(({ inbox }) => inbox.length === 0)) return;
  }
  const left = world.clients.map((c) => ({
    closes: c.closes.slice(-3),
    inbox: c.inbox.length,
    watches: [...c.watches.values()].map((w) => w.next),
  }));
  throw new Error(
    `it does not settle: ${JSON.stringify({ left, behind: world.hub.isBehind, waiting: world.hub.hasWaiting, unread: world.hub.unreadBytes, at: world.revision })}`,
  );
}

function play(seed: number, actions: number): Run {
  const random = new Random(seed);
  const isTight = seed % 2 === 0;
  const world = new World(
    isTight
      ? {
          tailBytes: 20_000,
          windowBytes: 8000,
          unreadBytes: 30_000,
          leastUnmarkedBytes: 200,
          mostUnmarkedBytes: 1500,
          sliceBytes: 3000,
          sliceRevisions: 3,
        }
      : { tailBytes: 60_000, sliceRevisions: 8 },
  );
  const run: Run = { world, watches: [], compactions: new Set() };
  for (let count = 0; count < 4; count++) world.client();
  for (let round = 0; round < actions; round++) {
    act(random, run);
    if (round % 50 === 0) check(run);
  }
  settle(run);
  check(run);
  for (const { watch } of run.watches) {
    // Nothing is missing at the end: it got all, or is told to be ahead of the keyspace.
    const all = comparable(world.expected(watch, Number.POSITIVE_INFINITY), run.compactions);
    expect(comparable(watch.got, run.compactions)).toEqual(all);
  }
  return run;
}

describe("watch hub", () => {
  for (let seed = 1; seed <= 40; seed++) {
    it(`[CF-41] [CF-42] [CF-43] every watch has the history of its range, whatever breaks (seed ${seed})`, () => {
      const { world, watches } = play(seed, 600);
      expect(watches.length).toBeGreaterThan(5);
      expect(world.history.length).toBeGreaterThan(50);
    });
  }
});
