// The healer over a real engine, with a network made by hand.
import { describe, expect, it } from "vitest";
import { FailingBlobStore } from "../../test/unit/storage/failing-blob-store.ts";
import { bytesOf, Fixture, textOf } from "../../test/unit/storage/fixture.ts";
import type { StorageNode, TenantRoute } from "../access/types.ts";
import { Ring } from "../cluster/ring.ts";
import { tokenOf } from "../cluster/token.ts";
import { EMPTY_STATE, encodeState } from "../kv/key-state.ts";
import { MemoryBlobStore } from "../storage/memory-blob-store.ts";
import { CorruptBlock, type RowKey, type ScanPage } from "../storage/types.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import { type ReplicaOp, readResult, writeOp } from "./frames.ts";
import { Healer, type HealingNetwork, type KeyScan } from "./healer.ts";
import { Replica, readAnswerHeader } from "./replica.ts";
import { compareRows } from "./scan-frames.ts";

const NODES: readonly StorageNode[] = ["n1", "n2", "n3"].map((id, i) => ({
  id,
  number: i + 1,
  incarnation: 1,
  zone: `z${i + 1}`,
  weight: 1,
  state: "active",
}));
const KEYS = 40;
const rowOf = (key: string, tenant = 1): RowKey => ({ tenant, key, token: tokenOf(tenant, key) });
const newest = (i: number): string => `newest-${i}-${"x".repeat(50)}`;

function flip(fixture: Fixture): void {
  fixture.sql.endTurn();
  fixture.sql.database.exec(
    `UPDATE storage_pieces SET bytes = CAST(substr(bytes, 1, 40) || x'ffff' || substr(bytes, 43) AS BLOB) WHERE id = 268435456 *
     (SELECT b.id FROM storage_tables t JOIN storage_blobs b ON b.name = t.name WHERE t.kind = 'row' ORDER BY t.runOrder DESC, t.position LIMIT 1)`,
  );
}

async function flush(fixture: Fixture): Promise<void> {
  fixture.commit();
  fixture.engine.put(rowOf("filler", 2), new Uint8Array(9000));
  fixture.commit();
  await fixture.settle();
}

/** n1 with an unreadable block in its newest run, an older version below, and the rows that n2 and n3 hold. */
class Bench implements HealingNetwork {
  readonly fixture = new Fixture();
  readonly peers = new Map<string, Map<string, string>>([
    ["n2", new Map()],
    ["n3", new Map()],
  ]);
  factors = new Map<number, number | undefined>([
    [1, 3],
    [2, 3],
  ]);
  away = new Set<string>();
  reads = 0;
  pageRows = 2;
  readonly passed: string[] = [];
  readonly healer: Healer;

  constructor() {
    this.healer = new Healer({
      nodeId: "n1",
      engine: this.engine,
      network: this,
      atFailPoint: async (point) => void this.passed.push(point),
    });
  }

  get engine() {
    const { fixture } = this;
    return new Proxy(fixture.engine, {
      get: (_, name) => {
        const value = Reflect.get(fixture.engine, name);
        return typeof value === "function" ? value.bind(fixture.engine) : value;
      },
    });
  }

  async fill(): Promise<void> {
    const { fixture } = this;
    for (let i = 0; i < KEYS; i++) fixture.engine.put(rowOf(`key-${i}`), bytesOf(`older-${i}-${"x".repeat(50)}`));
    await flush(fixture);
    for (let i = 0; i < KEYS; i++) {
      fixture.engine.put(rowOf(`key-${i}`), bytesOf(newest(i)));
      for (const held of this.peers.values()) held.set(`key-${i}`, newest(i));
      fixture.engine.put(rowOf(`other-${i}`, 2), new Uint8Array(20));
    }
    await flush(fixture);
    flip(fixture);
    fixture.restart();
  }

  /** Keys of tenant 1 that cannot be read on n1. */
  unreadable(): string[] {
    return Array.from({ length: KEYS }, (_, i) => `key-${i}`).filter((key) => {
      try {
        this.fixture.engine.get(rowOf(key));
        return false;
      } catch (error) {
        if (error instanceof CorruptBlock) return true;
        throw error;
      }
    });
  }

  async view() {
    return { revision: 1, nodes: NODES };
  }

  async scanKeys(nodeId: string, { fromTokenHi, toTokenHi, after }: KeyScan): Promise<ScanPage> {
    if (this.away.has(nodeId)) throw new Error(`${nodeId} is away`);
    const rows = [...this.peers.get(nodeId)!.keys()].map((key) => rowOf(key)).sort(compareRows);
    const due = rows.filter(
      (row) => row.token.hi >= fromTokenHi && row.token.hi <= toTokenHi && (!after || compareRows(row, after) > 0),
    );
    const page = due.slice(0, this.pageRows);
    return { rows: page.map((row) => ({ row, value: new Uint8Array(0) })), done: page.length === due.length };
  }

  /** As the coordinator does: what both others hold takes the place of what is unreadable. */
  async read(_: number, rows: readonly RowKey[]): Promise<void> {
    this.reads += rows.length;
    if (this.away.size > 0) return;
    for (const row of rows) {
      const held = this.peers.get("n2")!.get(row.key);
      this.fixture.engine.put(row, held === undefined ? encodeState(EMPTY_STATE) : bytesOf(held));
    }
    this.fixture.commit();
  }

  async route(tenant: number): Promise<TenantRoute | undefined> {
    const replicationFactor = this.factors.get(tenant);
    return replicationFactor === undefined ? undefined : { replicationFactor };
  }

  async tenants(): Promise<readonly number[]> {
    return [...this.factors.keys()];
  }
}

describe("healer", () => {
  it("[RP-61] restores the rows of an unreadable block page by page, and gives the block up", async () => {
    const bench = new Bench();
    await bench.fill();
    const lost = bench.unreadable();
    expect(lost.length).toBeGreaterThan(2);
    expect(await bench.healer.run()).toBe(true);
    expect(bench.reads).toBe(lost.length);
    expect(bench.passed).toContain("heal.listed");
    expect(bench.passed.at(-1)).toBe("heal.restored");
    await bench.fixture.settle();
    for (const engine of [bench.fixture.engine, bench.fixture.restart()]) {
      for (let i = 0; i < KEYS; i++) expect(textOf(engine.get(rowOf(`key-${i}`)))).toBe(newest(i));
      expect(engine.corruptRanges()).toEqual([]);
    }
    expect(await bench.healer.run()).toBe(true);
    expect(bench.reads).toBe(lost.length);
  });

  it("[RP-61] a row that the others hold no more does not come back in an older version", async () => {
    const bench = new Bench();
    await bench.fill();
    const [gone] = bench.unreadable() as [string];
    for (const held of bench.peers.values()) held.delete(gone);
    expect(await bench.healer.run()).toBe(true);
    await bench.fixture.settle();
    const engine = bench.fixture.restart();
    expect([...engine.get(rowOf(gone))!]).toEqual([...encodeState(EMPTY_STATE)]);
  });

  it("[RP-61] while another node is away the block stays, and its rows stay errors", async () => {
    const bench = new Bench();
    await bench.fill();
    const lost = bench.unreadable();
    bench.away.add("n3");
    await expect(bench.healer.run()).rejects.toThrow("away");
    expect(bench.unreadable()).toEqual(lost);
    expect(bench.fixture.engine.corruptRanges().length).toBe(1);
    bench.away.clear();
    expect(await bench.healer.run()).toBe(true);
    expect(bench.unreadable()).toEqual([]);
  });

  it("[RP-61] a block with rows of a tenant of a single copy is never given up", async () => {
    const bench = new Bench();
    await bench.fill();
    bench.factors.set(2, 1);
    expect(bench.unreadable().length).toBeGreaterThan(0);
    expect(await bench.healer.run()).toBe(false);
    expect(bench.fixture.engine.corruptRanges().length).toBe(1);
    expect(bench.unreadable()).toEqual([]); // tenant 1 is healed all the same
    bench.factors.set(2, undefined); // deleted
    expect(await bench.healer.run()).toBe(true);
  });

  it("[RP-92] a block in ranges where no single copy is this node's is given up, whoever shares the table", async () => {
    const ring = new Ring(NODES);
    const owner = (hi: number) => ring.replicas({ hi, lo: 0 }, 1).write[0];
    const counts: number[] = [];
    for (const [nodeId, ranges] of Object.entries(Object.groupBy(ring.ranges(), ({ toHi }) => owner(toHi)!))) {
      const { fromHi, toHi } = ranges!.sort((a, b) => b.toHi - b.fromHi - (a.toHi - a.fromHi))[0]!;
      const bench = new Bench();
      bench.factors.set(2, 1);
      for (let i = 0, count = 0; count < 30; i++) {
        const row = rowOf(`key-${i}`);
        if (row.token.hi < fromHi || row.token.hi > toHi) continue;
        count++;
        bench.fixture.engine.put(row, bytesOf(newest(i)));
        bench.fixture.engine.put(
          { ...row, tenant: 2, key: "copy" },
          bytesOf("the only copy, or what an older route left"),
        );
        for (const held of bench.peers.values()) held.set(row.key, newest(i));
      }
      await bench.fixture.settle();
      bench.fixture.commit();
      bench.fixture.engine.eraseTenant(9); // a flush
      bench.fixture.commit();
      await bench.fixture.settle();
      flip(bench.fixture);
      bench.fixture.restart();
      const { rows } = await bench.scanKeys("n2", { fromTokenHi: 0, toTokenHi: 0xffff_ffff });
      expect(() => rows.map(({ row }) => bench.fixture.engine.get(row))).toThrow(CorruptBlock);
      expect(await bench.healer.run()).toBe(nodeId !== "n1");
      counts.push(bench.fixture.engine.corruptRanges().length);
    }
    expect(counts.sort()).toEqual([0, 0, 1]);
  });

  it("[RP-61] a table whose index is lost is healed when no tenant at all keeps a single copy", async () => {
    const bench = new Bench();
    await bench.fill();
    bench.fixture.sql.database.exec("UPDATE storage_tables SET id = id");
    const newestRow = "SELECT name FROM storage_tables WHERE kind = 'row' ORDER BY runOrder DESC, position LIMIT 1";
    bench.fixture.sql.database.exec(`DELETE FROM storage_blobs WHERE name = (${newestRow})`);
    bench.fixture.restart();
    expect(bench.unreadable().length).toBeGreaterThan(0);
    expect(bench.fixture.engine.corruptRanges()[0]!.tenants).toBeUndefined();
    bench.factors.set(50, 1);
    expect(await bench.healer.run()).toBe(false);
    bench.factors.delete(50);
    expect(await bench.healer.run()).toBe(true);
    await bench.fixture.settle();
    for (let i = 0; i < KEYS; i++) expect(textOf(bench.fixture.restart().get(rowOf(`key-${i}`)))).toBe(newest(i));
  });

  it("[RP-61] rows of other nodes that fall into the range are left alone", async () => {
    const bench = new Bench();
    await bench.fill();
    bench.fixture.sql.database.exec("DELETE FROM storage_blobs");
    bench.fixture.restart();
    // With a factor of 2, n1 is not a replica of every key.
    bench.factors.set(1, 2);
    const lost = bench.unreadable();
    const here = lost.filter((key) => new Ring(NODES).replicas(rowOf(key).token, 2).write.includes("n1"));
    expect(here.length).toBeGreaterThan(0);
    expect(here.length).toBeLessThan(lost.length);
    // The first try finds that the older run is gone, too.
    expect(await bench.healer.run()).toBe(false);
    expect(await bench.healer.run()).toBe(true);
    expect(bench.reads).toBe(here.length);
  });
});

describe("replica over blobs that are not readable within a turn", () => {
  function frame(...ops: readonly ReplicaOp[]): Uint8Array {
    const writer = new ByteWriter(256);
    for (const op of ops) writeOp(writer, op);
    return writer.take();
  }

  it("[RP-23] [RP-32] an unreadable copy is refused as corrupt, again and again, heals, and the store's recovery is seen", async () => {
    const blobs = new FailingBlobStore(new MemoryBlobStore());
    const fixture = new Fixture({ blobs });
    const held = encodeState({ ...EMPTY_STATE, clock: { vector: [{ actor: 4097, counter: 1 }], dots: [], time: 5 } });
    for (let i = 0; i < 100; i++) fixture.engine.put(rowOf(`key-${i}`), i === 5 ? held : new Uint8Array(90));
    await flush(fixture);
    const replica = new Replica({
      engine: fixture.engine,
      facts: {
        reservedCounter: () => 0,
        reserveCounter: () => undefined,
        isErased: () => false,
        routeRevision: () => 0,
        isRebuilding: () => false,
        isFilling: () => false,
        isFilled: () => true,
        stampFloor: () => 0,
        purgeHorizon: () => 0,
      },
      hints: { add: () => true },
      actor: 4097,
      now: () => fixture.nowMs,
      timeOriginMs: 0,
      counterBlock: 16,
      mayWait: true,
    });
    const ask = async (op: ReplicaOp) => {
      const reader = new ByteReader(await replica.handle(frame(op)));
      readAnswerHeader(reader);
      fixture.sql.endTurn();
      return readResult(reader);
    };
    const get: ReplicaOp = { kind: "get", row: rowOf("key-5") };
    blobs.onGet = (bytes) => bytes.map((byte) => byte ^ 1);
    for (let i = 0; i < 3; i++) expect(await ask(get)).toMatchObject({ kind: "refused", code: "corrupt" });
    blobs.onGet = (bytes) => bytes;
    expect(await ask(get)).toEqual({ kind: "state", state: held });
    blobs.onGet = (bytes) => bytes.map((byte) => byte ^ 1);
    const other: ReplicaOp = { kind: "get", row: rowOf("key-50") };
    expect(await ask(other)).toMatchObject({ kind: "refused", code: "corrupt" });
    expect(await ask({ kind: "heal", row: rowOf("key-50"), state: held })).toEqual({ kind: "done" });
    expect(await ask(other)).toEqual({ kind: "state", state: held });
  });
});
