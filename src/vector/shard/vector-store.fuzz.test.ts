// A shard's rows against a plain map, over random writes, seals, merges and crashes between any two slices.
// A failing run prints its seed: set JADE_VECTOR_SEED to run it alone.
import { describe, expect, it } from "vitest";
import { Random } from "../../../test/simulation/random.ts";
import { type OpenStore, openStore, valuesOf } from "../../../test/unit/vector/open-store.ts";
import type { StoreChange } from "./vector-store.ts";

const SEEDS = process.env["JADE_VECTOR_SEED"]
  ? [Number(process.env["JADE_VECTOR_SEED"])]
  : Array.from({ length: 25 }, (_, index) => index + 1);
const encoder = new TextEncoder();

interface Expected {
  readonly values: Uint8Array;
  readonly metadata: Uint8Array;
  readonly version: number;
  readonly createdMs: number;
}

class World {
  readonly random: Random;
  readonly opened: OpenStore = openStore();
  /** What a crash may leave: the last commit, or what was there when a turn ended that may have written the log (a seal does). */
  committed: ReadonlyMap<string, Expected>[] = [new Map()];
  /** … and what is in memory. */
  live = new Map<string, Expected>();
  job: Generator<void, void> | undefined;
  seals = 0;
  merges = 0;
  sealsBeside = 0;
  isMerging = false;
  crashes = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  id(): string {
    return `id-${this.random.between(0, 120)}`;
  }

  change(): StoreChange {
    if (this.random.chance(0.2)) return { kind: "delete", id: this.id() };
    const n = this.random.between(0, 1000);
    const metadata = this.random.chance(0.2)
      ? new Uint8Array(0)
      : encoder.encode(JSON.stringify({ n, text: "x".repeat(n / 4) }));
    return { kind: "put", row: { id: this.id(), values: valuesOf(n, n / 7), metadata } };
  }

  write(): void {
    const changes = Array.from({ length: this.random.between(1, 20) }, () => this.change());
    const { store, clock } = this.opened;
    clock.ms++;
    const applied = store.apply(changes);
    for (const [at, change] of changes.entries()) {
      const id = change.kind === "put" ? change.row.id : change.id;
      const before = this.live.get(id);
      if (change.kind === "delete") {
        expect(applied[at]?.version).toBe(before?.version);
        this.live.delete(id);
        continue;
      }
      const { values, metadata } = change.row;
      const version = (before?.version ?? 0) + 1;
      expect(applied[at]).toMatchObject({ version, updatedMs: clock.ms });
      this.live.set(id, { values, metadata, version, createdMs: before?.createdMs ?? clock.ms });
    }
  }

  commit(): void {
    this.opened.endTurn();
    this.committed = [new Map(this.live)];
  }

  /** Work that goes on in the background, a slice at a time. */
  maintain(): void {
    const { store } = this.opened;
    if (!this.job) {
      const inputs = store.sealed.filter(() => this.random.chance(0.6));
      const isMerge = inputs.length > 0 && this.random.chance(0.5);
      this.job = isMerge ? store.merge(inputs) : store.seal();
      this.isMerging = isMerge;
      if (isMerge) this.merges++;
      else this.seals++;
    }
    for (let slices = this.random.between(1, 12); slices > 0 && this.job; slices--) {
      if (this.job.next().done) this.job = undefined;
      else if (this.isMerging && this.random.chance(0.3)) this.sealBeside();
    }
    if (this.random.chance(0.3)) store.sweep();
  }

  /** A seal between two slices of a merge, with writes in it. */
  sealBeside(): void {
    this.sealsBeside++;
    for (const _ of this.opened.store.seal()) if (this.random.chance(0.3)) this.write();
  }

  crash(): void {
    this.crashes++;
    this.job = undefined;
    this.opened.crash();
    const left = this.committed.find((expected) => this.differences(expected).length === 0);
    expect(left, this.differences(this.committed[0]!).join("\n")).toBeDefined();
    this.live = new Map(left);
  }

  step(): void {
    const kind = this.random.between(0, 9);
    if (kind < 4) this.write();
    else if (kind < 8) this.maintain();
    else if (kind < 9 || this.random.chance(0.7)) this.check();
    else this.crash();
    if (this.random.chance(0.6)) this.commit();
    else if (this.random.chance(0.5)) this.endTurnOnly();
  }

  /** The platform commits what was written; what waits for a later commit (durability `periodic`) is not logged by it. */
  endTurnOnly(): void {
    this.opened.sql.endTurn();
    this.committed.push(new Map(this.live));
  }

  check(): void {
    expect(this.differences(this.live)).toEqual([]);
  }

  /** One look at each byte: a deep comparison of arrays by the test runner costs more than all the rest. */
  differences(expected: ReadonlyMap<string, Expected>): readonly string[] {
    const { store } = this.opened;
    const found: string[] = store.liveCount === expected.size ? [] : [`${store.liveCount} rows, not ${expected.size}`];
    for (let at = 0; at <= 120; at++) {
      const id = `id-${at}`;
      const wanted = expected.get(id);
      const row = store.get(id);
      if (!wanted && !row) continue;
      const isSame =
        wanted &&
        row &&
        Buffer.compare(wanted.values, row.values) === 0 &&
        Buffer.compare(wanted.metadata, row.metadata) === 0 &&
        wanted.version === row.stamp.version &&
        wanted.createdMs === row.stamp.createdMs;
      if (!isSame) found.push(`${id}: ${JSON.stringify(row?.stamp)}, not version ${wanted?.version}`);
    }
    return found;
  }
}

describe("a shard's rows", () => {
  let sealsBeside = 0;
  it.each(SEEDS)("[VE-80][VE-81][VE-82][VE-253] random writes, seals, merges and crashes, seed %i", (seed) => {
    const world = new World(seed);
    for (let step = 0; step < 150; step++) world.step();
    world.check();
    world.crash();
    world.check();
    sealsBeside += world.sealsBeside;
  });

  it("[VE-253] seals went on beside merges in those runs", () => {
    expect(sealsBeside).toBeGreaterThan(SEEDS.length);
  });

  it("[VE-82] what nothing names any more is deleted: blobs, log rows, pages of deleted rows", () => {
    const world = new World(77);
    const { opened } = world;
    const drainAll = (job: Generator<void, void>): void => {
      while (!job.next().done) world.write();
    };
    for (let round = 0; round < 6; round++) {
      for (let writes = 0; writes < 30; writes++) world.write();
      drainAll(opened.store.seal());
    }
    drainAll(opened.store.merge(opened.store.sealed));
    world.commit();
    while (opened.store.sweep()) opened.endTurn();
    const count = (query: string): number => Number([...opened.sql.exec<{ n: number }>(query)][0]!.n);
    const named = opened.store.sealed.flatMap(({ directory }) =>
      [...directory.sections.values()].flatMap(({ parts }) => parts),
    );
    expect(count("SELECT count(*) AS n FROM storage_blobs")).toBe(named.length);
    expect(count("SELECT count(*) AS n FROM storage_intents")).toBe(0);
    expect(count("SELECT count(*) AS n FROM storage_dead")).toBe(0);
    expect(
      count("SELECT count(*) AS n FROM vector_deleted WHERE segment NOT IN (SELECT number FROM vector_segments)"),
    ).toBe(0);
    expect(opened.store.sealed).toHaveLength(1);
    world.check();
  });

  it("[VE-233] a log that a smaller budget does not hold is opened and read all the same; a seal makes room for writes", () => {
    const opened = openStore({ budgetBytes: 4_000_000 });
    const put = (from: number, count: number): void => {
      opened.store.apply(
        Array.from({ length: count }, (_, at) => ({
          kind: "put" as const,
          row: { id: `k${from + at}`, values: valuesOf(from + at), metadata: new Uint8Array(0) },
        })),
      );
    };
    put(0, 6000);
    opened.endTurn();
    opened.budgetBytes = 100_000;
    opened.crash();
    expect(opened.store.liveCount).toBe(6000);
    const ask = { values: [17, 17, 17, 17, 17], k: 1, effort: {}, index: "default" };
    expect(opened.searcher.search(ask).hits).toMatchObject([{ row: 17, distance: 0 }]);
    opened.store.apply(Array.from({ length: 2000 }, (_, at) => ({ kind: "delete", id: `k${at + 100}` })));
    expect(opened.store.sealDue).toBe(false);
    expect(() => put(6000, 1000)).toThrow("do not fit");
    expect(opened.store.sealDue).toBe(true);
    for (const _ of opened.store.seal());
    expect(opened.store.sealDue).toBe(false);
    put(6000, 1000);
    expect(opened.store.liveCount).toBe(5000);
    expect(opened.searcher.search(ask).hits).toHaveLength(1);
  });

  it("[VE-83] beyond the memory budget a write is refused and nothing of it is there; reads and deletes go on", () => {
    const opened = openStore({ budgetBytes: 300_000 });
    const put = (from: number): void => {
      const changes = Array.from({ length: 500 }, (_, at) => ({
        kind: "put" as const,
        row: { id: `k${from + at}`, values: valuesOf(at), metadata: new Uint8Array(0) },
      }));
      opened.store.apply(changes);
    };
    let written = 0;
    const fill = (): void => {
      for (;;) {
        put(written);
        written += 500;
      }
    };
    expect(fill).toThrow("do not fit");
    expect(opened.store.liveCount).toBe(written);
    expect(opened.store.get(`k${written}`)).toBeUndefined();
    opened.store.apply([{ kind: "delete", id: "k0" }]);
    expect(opened.store.liveCount).toBe(written - 1);
    for (const _ of opened.store.seal()) {
      // To its end: what is sealed leaves the arena.
    }
    put(written);
    expect(opened.store.liveCount).toBe(written + 499);
  });
});

describe("a seal that fails", () => {
  it("[VE-81] is tried again with the same rows; what was written meanwhile stays", () => {
    const world = new World(31);
    const { opened } = world;
    for (let writes = 0; writes < 20; writes++) world.write();
    world.commit();
    const exec = opened.sql.exec.bind(opened.sql);
    const seal = opened.store.seal();
    seal.next();
    opened.sql.exec = () => {
      throw new Error("database or disk is full");
    };
    expect(() => {
      while (!seal.next().done);
    }).toThrow("disk is full");
    opened.sql.exec = exec;
    for (let writes = 0; writes < 5; writes++) world.write();
    world.commit();
    world.check();
    expect(opened.store.sealDue).toBe(true);
    for (const _ of opened.store.seal()) world.write();
    world.commit();
    expect(opened.store.sealDue).toBe(false);
    world.check();
    world.crash();
    world.check();
  });
});

describe("damage", () => {
  it("[VE-84] a changed byte in any stored block, directory, page or number is found, never served", () => {
    const world = new World(5);
    const { opened } = world;
    for (let writes = 0; writes < 40; writes++) world.write();
    for (const _ of opened.store.seal()) {
      // To its end.
    }
    for (let writes = 0; writes < 5; writes++) world.write();
    for (const _ of opened.store.merge(opened.store.sealed)) world.write();
    world.commit();
    const { database } = opened.sql;
    const columns = [
      ["storage_pieces", "bytes"],
      ["vector_segments", "directory"],
      ["vector_deleted", "words"],
      ["storage_log", "bytes"],
    ] as const;
    let found = 0;
    for (const [table, column] of columns) {
      const rows = database
        .prepare(
          `SELECT rowid AS id, ${column} AS bytes FROM ${table}`.replace(
            "rowid AS id",
            table === "vector_deleted" ? "segment AS id" : "rowid AS id",
          ),
        )
        .all() as { id: number; bytes: Uint8Array }[];
      expect(rows.length, table).toBeGreaterThan(0);
      const key = table === "vector_deleted" ? "segment" : "rowid";
      for (const { id, bytes } of rows) {
        for (let tries = 0; tries < 3; tries++) {
          const flipped = bytes.slice();
          flipped[world.random.between(0, bytes.length - 1)]! ^= 1 << world.random.between(0, 7);
          database.prepare(`UPDATE ${table} SET ${column} = ? WHERE ${key} = ?`).run(flipped, id);
          try {
            world.crash();
            world.check();
          } catch (error) {
            expect((error as Error).name, `${table} ${(error as Error).message}`).toMatch(/^Corrupt(Segment|Log)$/);
            found++;
          }
          opened.sql.crash();
          database.prepare(`UPDATE ${table} SET ${column} = ? WHERE ${key} = ?`).run(bytes, id);
        }
      }
    }
    world.crash();
    world.check();
    expect(found).toBeGreaterThan(15);
  });
});
