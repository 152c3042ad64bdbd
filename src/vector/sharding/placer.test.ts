// The shard that places rows, on node:sqlite with shards that are maps, over crashes and lost answers at every call it makes.
import { describe, expect, it } from "vitest";
import { VECTOR_MIGRATIONS } from "../../../migrations/vector.ts";
import { NodeSql } from "../../../test/unit/storage/node-sql.ts";
import type { VectorAnswer, VectorInput, VectorRequest, VectorStamp } from "../../wire/vector.ts";
import type { Holds } from "../shard/shard-config.ts";
import { LATE_MOVE_MS } from "./limits.ts";
import { Placements } from "./placements.ts";
import { Placer } from "./placer.ts";
import type { ShardMap } from "./shard-map.ts";

const OWN = 1;
const MAP: ShardMap = { kind: "range", key: "n", points: [10, 20] };

class Crash extends Error {}

/** Ids are a letter and a number. */
const hashOf = (id: string, shards: number): number => Number(id.slice(1)) % shards;

interface Held extends VectorInput {
  readonly stamp: VectorStamp;
}

/** A world of three shards; `failAt`: the call that fails, before or after it was applied; `isCrash`: the placing shard dies of it. */
class World {
  readonly sql = new NodeSql();
  readonly shards = [0, 1, 2].map(() => new Map<string, Held>());
  readonly kept = new Map<string, VectorAnswer>();
  nowMs = 1000;
  calls = 0;
  failAt = -1;
  isApplied = false;
  isCrash = true;
  isDead = false;
  isRefusing = false;
  holds: Holds | undefined;
  map: ShardMap | undefined = MAP;
  placer: Placer;

  constructor() {
    for (const statements of VECTOR_MIGRATIONS) this.sql.database.exec(statements);
    this.sql.endTurn();
    this.placer = this.open();
  }

  open(): Placer {
    return new Placer({
      ...{ own: OWN, dimension: 1, map: () => this.map, homeOf: () => OWN, hashOf, now: () => this.nowMs },
      holds: () => this.holds,
      placements: new Placements(this.sql, (bytes) => bytes.reduce((sum, byte) => (sum * 31 + byte) >>> 0, 7), OWN),
      ask: (shard, request) => this.ask(shard, request),
      kept: ({ writeId }) => this.kept.get(String(writeId)),
      keep: ({ writeId }, answer) => void this.kept.set(String(writeId), answer),
      place: () => ({ term: 1, revision: 1 }),
    });
  }

  async ask(shard: number, request: VectorRequest): Promise<VectorAnswer> {
    if (this.isDead) throw new Crash();
    // The output gate: what was written is durable before a call leaves.
    this.sql.endTurn();
    const isFailing = this.calls++ === this.failAt;
    const answer = !isFailing || this.isApplied ? this.apply(this.shards[shard]!, request) : undefined;
    if (answer && !isFailing) return answer;
    this.isDead = this.isCrash;
    throw new Error("lost");
  }

  apply(rows: Map<string, Held>, request: VectorRequest): VectorAnswer {
    const place = { term: 1, revision: 1 };
    switch (request.kind) {
      case "get":
        return {
          kind: "rows",
          ...place,
          cursor: new Uint8Array(0),
          rows: request.ids.map((id) => rows.get(id) ?? null),
        };
      case "list":
        return { kind: "rows", ...place, cursor: new Uint8Array(0), rows: [...rows.values()] };
      case "delete":
        return { kind: "written", ...place, results: request.ids.map((id) => deleted(rows, id)) };
      case "upsert":
        if (this.isRefusing) return { kind: "error", code: "invalidRequest", message: "bad" };
        return { kind: "written", ...place, results: request.rows.map((row) => stored(rows, row)) };
      default:
        throw new Error(request.kind);
    }
  }

  /** Starts anew from what was durable, and waits until nothing of before can arrive. */
  async restart(): Promise<void> {
    this.sql.crash();
    this.failAt = -1;
    this.isDead = false;
    this.placer = this.open();
    this.nowMs += LATE_MOVE_MS + 1;
    expect(await this.placer.settle()).toBe(true);
    this.sql.endTurn();
  }

  put(id: string, n: number, writeId = 0): Promise<VectorAnswer | "crashed"> {
    const metadata = new TextEncoder().encode(JSON.stringify({ n }));
    const row = { id, values: new Uint8Array(4), metadata };
    const identity = writeId === 0 ? {} : { writeId: Uint8Array.of(writeId), bodyHash: Uint8Array.of(1) };
    return this.placer.run({ ...identity, request: { kind: "upsert", rows: [row] } }).catch((): "crashed" => "crashed");
  }

  /** What a reader of the id gets, and how many shards hold it. */
  async look(id: string): Promise<{ n: number | undefined; version: number | undefined; copies: number }> {
    const answer = await this.placer.run({ request: { kind: "get", ids: [id], shown: { metadata: true } } });
    if (answer.kind !== "rows") throw new Error("no rows");
    const [row] = answer.rows;
    const n = row ? (JSON.parse(new TextDecoder().decode(row.metadata)) as { n: number }).n : undefined;
    return { n, version: row?.stamp.version, copies: this.shards.filter((rows) => rows.has(id)).length };
  }
}

function deleted(rows: Map<string, Held>, id: string): VectorStamp | null {
  const held = rows.get(id);
  rows.delete(id);
  return held?.stamp ?? null;
}

function stored(rows: Map<string, Held>, row: VectorInput): VectorStamp {
  const before = rows.get(row.id)?.stamp ?? row.before ?? { version: 0, createdMs: 5 };
  const stamp = { revision: 1, version: before.version + 1, createdMs: before.createdMs, updatedMs: 9 };
  rows.set(row.id, { ...row, stamp });
  return stamp;
}

/** Applied, and nothing about it is open. */
const ok = (answer: VectorAnswer | "crashed"): boolean =>
  answer !== "crashed" && answer.kind === "written" && answer.results.every((result) => result && "version" in result);

it("[VE-237] a crash, or a lost answer, at any call of a move leaves the row once, as before or as after; an acknowledged one as after", async () => {
  let acknowledged = 0;
  let undone = 0;
  for (const isCrash of [true, false]) {
    for (const isApplied of [true, false]) {
      for (let failAt = 0; failAt < 6; failAt++) {
        for (const [from, to] of [
          [15, 25],
          [25, 5],
          [5, 15],
          [15, 16],
          [25, 26],
        ] as const) {
          const world = new World();
          expect(ok(await world.put("a", from))).toBe(true);
          Object.assign(world, { isCrash, isApplied, failAt: world.calls + failAt });
          const answer = await world.put("a", to, 1);
          if (world.isDead) await world.restart();
          world.failAt = -1;
          const seen = await world.look("a");
          if (ok(answer)) acknowledged++;
          else if (seen.n === from) undone++;
          expect(ok(answer) ? [to] : [from, to], JSON.stringify({ failAt, from, to, isCrash, isApplied })).toContain(
            seen.n,
          );
          expect(seen.version).toBe(seen.n === from ? 1 : 2);
          world.nowMs += LATE_MOVE_MS + 1;
          expect(await world.placer.settle()).toBe(true);
          expect(await world.look("a")).toMatchObject({ copies: 1, n: seen.n });
          // The same write again is one write; another one goes on.
          expect(ok(await world.put("a", to, 1))).toBe(true);
          expect(await world.look("a")).toMatchObject({ n: to, copies: 1 });
          expect(ok(await world.put("a", from, 2))).toBe(true);
          expect(await world.look("a")).toMatchObject({ n: from, copies: 1 });
        }
      }
    }
  }
  expect(acknowledged).toBeGreaterThan(10);
  expect(undone).toBeGreaterThan(10);
});

it("[VE-237] until a cut-off move is settled the id is refused; others go on, and reads give the row", async () => {
  const world = new World();
  await world.put("a", 15);
  await world.put("b", 15);
  // Asked for its version, stored at its new shard: that answer is lost.
  Object.assign(world, { isCrash: false, isApplied: true, failAt: world.calls + 1 });
  expect(await world.put("a", 25)).toMatchObject({ kind: "error", code: "unknownOutcome" });
  expect(await world.look("a")).toMatchObject({ n: 15, copies: 2 });
  expect(await world.put("a", 17)).toMatchObject({ kind: "error", code: "unavailable" });
  expect(ok(await world.put("b", 25))).toBe(true);
  expect(await world.placer.settle()).toBe(false);
  world.nowMs += LATE_MOVE_MS + 1;
  expect(await world.placer.settle()).toBe(true);
  expect(await world.look("a")).toMatchObject({ n: 15, copies: 1 });
});

it("[VE-238] rows that were here before it was known where they belong are moved as they were", async () => {
  const world = new World();
  world.map = undefined;
  for (let n = 0; n < 30; n++) await world.put(`v${n}`, n);
  expect(world.shards.map(({ size }) => size)).toEqual([0, 30, 0]);
  world.map = MAP;
  world.failAt = world.calls + 2;
  world.isCrash = false;
  let cursor: Uint8Array | undefined = new Uint8Array(0);
  for (let round = 0; cursor && round < 10; round++) {
    cursor = await world.placer.spread(cursor);
    world.nowMs += LATE_MOVE_MS + 1;
    await world.placer.settle();
  }
  expect(cursor).toBeUndefined();
  expect(world.shards.map(({ size }) => size)).toEqual([10, 10, 10]);
  for (const n of [0, 12, 29]) expect(await world.look(`v${n}`)).toMatchObject({ n, copies: 1 });
});

it("[VE-308][VE-310] while a snapshot is taken no row leaves its shard, and all else goes on; while one is restored nothing is written", async () => {
  const world = new World();
  await world.put("a", 15);
  await world.put("b", 15);
  // One whose move was cut off is not settled meanwhile.
  Object.assign(world, { isCrash: false, isApplied: true, failAt: world.calls + 1 });
  await world.put("b", 25);
  world.nowMs += LATE_MOVE_MS + 1;
  world.holds = "moves";
  expect(await world.placer.settle()).toBe(false);
  expect(await world.put("a", 25, 1)).toMatchObject({ kind: "error", code: "unavailable" });
  expect(await world.look("a")).toMatchObject({ n: 15, version: 1, copies: 1 });
  for (const [id, n] of [
    ["a", 16],
    ["c", 25],
    ["c", 26],
  ] as const)
    expect(ok(await world.put(id, n))).toBe(true);
  world.map = { kind: "hash", shards: 1 };
  const [start, after] = [new Uint8Array(0), ""];
  expect([await world.placer.spread(start), await world.placer.spreadPlaced(after)]).toEqual([start, after]);
  world.holds = "all";
  expect([await world.placer.spread(start), await world.placer.spreadPlaced(after)]).toEqual([start, after]);
  for (const holds of ["all", "writes"] as const) {
    world.holds = holds;
    expect(await world.put("a", 17)).toMatchObject({
      kind: "error",
      code: "unavailable",
      details: { state: "restoring" },
    });
  }
  expect(await world.look("a")).toMatchObject({ n: 16, copies: 1 });
  world.holds = undefined;
  world.map = MAP;
  expect(await world.placer.settle()).toBe(true);
  // A move that had begun is over before anything is kept.
  const begun = world.put("a", 25, 1);
  const copies = (): number => world.shards.filter((rows) => rows.has("a")).length;
  for (let turns = 0; copies() < 2 && turns < 1000; turns++) await Promise.resolve();
  expect(copies()).toBe(2);
  world.holds = "moves";
  await world.placer.quiet();
  expect(copies()).toBe(1);
  world.holds = undefined;
  if (!ok(await begun)) expect(ok(await world.put("a", 25, 1))).toBe(true);
  expect(await world.look("a")).toMatchObject({ n: 25, version: 3, copies: 1 });
});

describe("another number of shards", () => {
  const ROWS = 24;
  const IDS = Array.from({ length: ROWS }, (_, n) => `v${n}`);

  /** All pages, as the shard asks for them; false = one did not come through. */
  async function once(world: World): Promise<boolean> {
    let cursor: Uint8Array | undefined = new Uint8Array(0);
    while (cursor) {
      const next: Uint8Array | undefined = await world.placer.spread(cursor);
      if (next === cursor) return false;
      cursor = next;
    }
    let after: string | undefined = "";
    while (after !== undefined) {
      const next: string | undefined = await world.placer.spreadPlaced(after);
      if (next === after) return false;
      after = next;
    }
    return true;
  }

  /** Until all rows are where the map says; gives false where the placing shard died. */
  async function spread(world: World): Promise<boolean> {
    for (let round = 0; round < 20; round++) {
      const isOnce = await once(world).catch(() => false);
      if (world.isDead) return false;
      world.sql.endTurn();
      world.nowMs += LATE_MOVE_MS + 1;
      const isSettled = await world.placer.settle();
      world.sql.endTurn();
      if (isOnce && isSettled && round > 0) return true;
    }
    throw new Error("it does not end");
  }

  const sizes = (world: World): readonly number[] => world.shards.map((rows) => rows.size);

  it("[VE-280][VE-281] cut off, or unanswered, at any call it goes on: every row once, as it was last written, where it belongs; and back", async () => {
    let [deaths, losses] = [0, 0];
    for (const isCrash of [true, false]) {
      for (const isApplied of [true, false]) {
        for (let failAt = 0; failAt < 14; failAt++) {
          const world = new World();
          world.map = { kind: "hash", shards: 2 };
          const truth = new Map<string, number>();
          const put = async (id: string, n: number): Promise<void> => {
            if (ok(await world.put(id, n))) truth.set(id, n);
          };
          for (const [n, id] of IDS.entries()) await put(id, n);
          expect(sizes(world)).toEqual([12, 12, 0]);
          const steps = [3, 2, 3, 1];
          for (const [at, shards] of steps.entries()) {
            world.map = { kind: "hash", shards };
            if (at === 0) Object.assign(world, { isCrash, isApplied, failAt: world.calls + failAt });
            const before = world.calls;
            if (!(await spread(world))) {
              deaths++;
              await world.restart();
            } else if (at === 0 && world.calls - before > failAt) losses++;
            world.failAt = -1;
            // Clients go on: changed, deleted, new.
            await put(`v${at}`, 100 + at);
            await put(`w${at * 5}`, 200 + at);
            const gone = `v${ROWS - 1 - at}`;
            await world.placer.run({ request: { kind: "delete", ids: [gone] } });
            truth.delete(gone);
            expect(await spread(world)).toBe(true);
            const said = JSON.stringify({ isCrash, isApplied, failAt, at });
            for (const [shard, rows] of world.shards.entries())
              for (const id of rows.keys()) expect(hashOf(id, shards), said).toBe(shard);
            expect(
              sizes(world).reduce((sum, size) => sum + size, 0),
              said,
            ).toBe(truth.size);
            for (const [id, n] of truth) expect(await world.look(id), said).toMatchObject({ n, copies: 1 });
            expect((await world.look(gone)).n).toBeUndefined();
          }
          expect(sizes(world)).toEqual([truth.size, 0, 0]);
        }
      }
    }
    expect(
      [deaths, losses].every((count) => count > 8),
      String([deaths, losses]),
    ).toBe(true);
  });

  it("[VE-304] an atomic write is one commit of one shard, or refused: its vectors belong to several, or one is in another", async () => {
    const world = new World();
    world.map = { kind: "hash", shards: 2 };
    const atomic = (ids: readonly string[], isBad = false) => {
      world.isRefusing = isBad;
      const rows = ids.map((id) => ({ id, values: new Uint8Array(4), metadata: new TextEncoder().encode('{"n":0}') }));
      return world.placer.run({ request: { kind: "upsert", rows, atomic: true } });
    };
    expect(ok(await atomic(["v2", "v4"]))).toBe(true);
    expect(ok(await atomic(["v4", "v6", "v4"]))).toBe(true);
    expect(sizes(world)).toEqual([3, 0, 0]);
    expect(await world.look("v4")).toMatchObject({ copies: 1, version: 3 });
    expect(await atomic(["v8", "v1"])).toMatchObject({
      kind: "error",
      message: expect.stringContaining("belong to 2"),
    });
    expect(await atomic(["v8", "v10"], true)).toMatchObject({ kind: "error", code: "invalidRequest", message: "bad" });
    // What was refused left nothing: a new row goes where it belongs then.
    world.isRefusing = false;
    world.map = { kind: "hash", shards: 3 };
    expect(ok(await world.put("v8", 1))).toBe(true);
    expect(sizes(world)).toEqual([3, 0, 1]);
    expect(await atomic(["v4", "v10"])).toMatchObject({ kind: "error", code: "conflict", details: { id: "v4" } });
    expect((await world.look("v10")).copies).toBe(0);
    // An answer that is lost may have been applied; again it is one write.
    Object.assign(world, { isCrash: false, isApplied: true, failAt: world.calls + 1 });
    expect(await atomic(["v14", "v11"])).toMatchObject({ kind: "error", code: "unknownOutcome" });
    world.failAt = -1;
    expect(ok(await atomic(["v14", "v11"]))).toBe(true);
    expect(await world.look("v14")).toMatchObject({ copies: 1 });
  });
});
