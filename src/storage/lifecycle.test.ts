import { describe, expect, it } from "vitest";
import { bytesOf, Fixture, rowKey, TINY_LIMITS, textOf, writeId } from "../../test/unit/storage/fixture.ts";
import { MAX_KEY_BYTES, MAX_RECORD_ANSWER_BYTES, PURGE_ROWS_PART } from "./limits.ts";
import type { RowKey } from "./types.ts";

const HOUR_MS = 3_600_000;

function fill(fixture: Fixture, { tenant, count, from = 0 }: { tenant: number; count: number; from?: number }): void {
  for (let i = from; i < from + count; i++) {
    fixture.engine.put(rowKey(tenant, `key-${i}`), bytesOf(`T${tenant}!${i}:${"x".repeat(60)}`));
    fixture.engine.addRecord(tenant, writeId(i), bytesOf(`T${tenant}!${i}`));
  }
  fixture.commit();
}

function stored(fixture: Fixture, marker: string): boolean {
  const rows = ["storage_log", "storage_pieces"].flatMap((table) => [
    ...fixture.sql.exec<{ bytes: ArrayBuffer }>(`SELECT bytes FROM ${table}`),
  ]);
  return rows.some(({ bytes }) => Buffer.from(bytes).includes(marker));
}

describe("erasure", () => {
  it("[ST-50] an erased tenant is unseen at once, even after a crash of the next turn, and stays so", async () => {
    const fixture = new Fixture();
    fill(fixture, { tenant: 1, count: 100 });
    fill(fixture, { tenant: 2, count: 100 });
    fixture.engine.eraseTenant(1);
    expect(fixture.engine.get(rowKey(1, "key-1"))).toBeUndefined();
    expect(fixture.engine.findRecord(1, writeId(1))).toBeUndefined();
    fixture.sql.endTurn();
    fixture.crash();
    expect(fixture.engine.get(rowKey(1, "key-1"))).toBeUndefined();
    fixture.engine.put(rowKey(1, "key-1"), bytesOf("late"));
    expect(fixture.engine.get(rowKey(1, "key-1"))).toBeUndefined();
    expect(textOf(fixture.engine.get(rowKey(2, "key-1")))).toMatch("T2!1:");
    const { rows } = await fixture.engine.scan({ limitRows: 1000, limitBytes: 1e6 });
    expect(rows.every(({ row }) => row.tenant === 2)).toBe(true);
  });

  it("[ST-51] an erasure finishes only when no blob and no log row holds a byte of the tenant", async () => {
    const fixture = new Fixture();
    for (let round = 0; round < 6; round++) {
      fill(fixture, { tenant: 1, count: 50, from: round * 50 });
      fill(fixture, { tenant: 2, count: 50, from: round * 50 });
      await fixture.settle();
    }
    fill(fixture, { tenant: 1, count: 5 });
    expect(stored(fixture, "T1!")).toBe(true);
    fixture.engine.eraseTenant(1);
    expect(fixture.engine.erasuresPending()).toEqual([1]);
    await fixture.settle();
    expect(fixture.engine.erasuresPending()).toEqual([]);
    expect(stored(fixture, "T1!")).toBe(false);
    expect(stored(fixture, "T2!")).toBe(true);
    expect(textOf(fixture.engine.get(rowKey(2, "key-299")))).toMatch("T2!299:");
  });

  it("[ST-52] an erasure waits for uncommitted writes of its turn, and survives a restart half way", async () => {
    const fixture = new Fixture();
    fill(fixture, { tenant: 1, count: 200 });
    fixture.engine.put(rowKey(1, "uncommitted"), bytesOf("T1!"));
    fixture.engine.eraseTenant(1);
    for (let i = 0; i < 50; i++) await fixture.engine.runMaintenance();
    expect(fixture.engine.erasuresPending()).toEqual([1]);
    fixture.commit();
    await fixture.engine.runMaintenance();
    fixture.restart();
    expect(fixture.engine.erasuresPending()).toEqual([1]);
    await fixture.settle();
    expect(fixture.engine.erasuresPending()).toEqual([]);
    expect(stored(fixture, "T1!")).toBe(false);
  });
});

describe("records", () => {
  it("[ST-60] a record is kept for the retention and gone after it, with its blob", async () => {
    const fixture = new Fixture({ limits: { ...TINY_LIMITS, recordRetentionMs: 24 * HOUR_MS } });
    for (let hour = 0; hour < 30; hour++) {
      for (let i = 0; i < 150; i++) fixture.engine.addRecord(1, writeId(hour * 1000 + i), bytesOf(`answer of ${hour}`));
      fixture.commit();
      fixture.nowMs += HOUR_MS;
      await fixture.settle();
      for (let age = 0; age < Math.min(hour + 1, 24); age++) {
        expect(textOf(fixture.engine.findRecord(1, writeId((hour - age) * 1000 + 7)))).toBe(`answer of ${hour - age}`);
      }
    }
    fixture.nowMs += 30 * HOUR_MS;
    fixture.engine.addRecord(1, writeId(1e6), bytesOf("x".repeat(9000)));
    fixture.commit();
    await fixture.settle();
    expect(fixture.engine.findRecord(1, writeId(7))).toBeUndefined();
    expect(fixture.engine.stats().recordSegmentCount).toBeLessThan(4);
    const blobs = [...fixture.sql.exec<{ n: number }>("SELECT count(*) AS n FROM storage_blobs")][0]!.n;
    expect(blobs).toBe(fixture.engine.stats().recordSegmentCount);
  });

  it("[ST-61] the latest record of a write id wins, in memory and in segments; tenants do not see each other's", async () => {
    const fixture = new Fixture();
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 300; i++) fixture.engine.addRecord(1, writeId(i), bytesOf(`round ${round}`));
      fixture.engine.addRecord(2, writeId(1), bytesOf("two"));
      expect(textOf(fixture.engine.findRecord(1, writeId(9)))).toBe(`round ${round}`);
      fixture.commit();
      await fixture.settle();
      expect(textOf(fixture.engine.findRecord(1, writeId(9)))).toBe(`round ${round}`);
      expect(textOf(fixture.engine.findRecord(2, writeId(1)))).toBe("two");
      expect(fixture.engine.findRecord(2, writeId(9))).toBeUndefined();
    }
  });
});

describe("scan", () => {
  async function scanAll(fixture: Fixture, options: { tenant?: number; fromTokenHi?: number; toTokenHi?: number }) {
    const rows: RowKey[] = [];
    for (let after: RowKey | undefined; ; ) {
      const page = await fixture.engine.scan({ ...options, ...(after && { after }), limitRows: 7, limitBytes: 1e6 });
      rows.push(...page.rows.map(({ row }) => row));
      expect(page.rows.length).toBeLessThanOrEqual(7);
      if (page.done) return rows;
      after = rows.at(-1);
    }
  }

  it("[ST-70] pages give each row once in token order, across memtables and tables, by tenant and by range", async () => {
    const fixture = new Fixture();
    for (let round = 0; round < 4; round++) {
      fill(fixture, { tenant: 1 + (round & 1), count: 80, from: round * 20 });
      if (round < 3) await fixture.settle();
    }
    const all = await scanAll(fixture, {});
    expect(all).toHaveLength(240);
    expect(new Set(all.map((row) => `${row.tenant}/${row.key}`)).size).toBe(240);
    const his = all.map((row) => row.token.hi);
    expect(his).toEqual([...his].sort((a, b) => a - b));
    expect(await scanAll(fixture, { tenant: 2 })).toEqual(all.filter((row) => row.tenant === 2));
    const [fromTokenHi, toTokenHi] = [his[60]!, his[150]!];
    const part = await scanAll(fixture, { fromTokenHi, toTokenHi });
    expect(part).toEqual(all.filter((row) => row.token.hi >= fromTokenHi && row.token.hi <= toTokenHi));
  });

  it("[ST-71] rows whose tokens collide are ordered by tenant and key bytes and found one by one", async () => {
    const fixture = new Fixture();
    const token = { hi: 0xffff_ffff, lo: 0x8000_0000 };
    const keys = ["", "a", "ab", "b", "é", "ключ", "\u{1F600}", "\uFFFD"];
    for (const tenant of [3, 1])
      for (const key of keys) fixture.engine.put({ token, tenant, key }, bytesOf(`${tenant}${key}`));
    fixture.engine.put(rowKey(9, "filler"), new Uint8Array(9000));
    fixture.commit();
    const check = async () => {
      for (const tenant of [1, 3]) {
        for (const key of keys) expect(textOf(fixture.engine.get({ token, tenant, key }))).toBe(`${tenant}${key}`);
      }
      const rows = (await scanAll(fixture, {})).filter((row) => row.tenant !== 9);
      const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect(rows.map((row) => row.key)).toEqual([...sorted, ...sorted]);
    };
    await check();
    await fixture.settle();
    expect(fixture.engine.stats().tableRows).toBe(17);
    await check();
  });
});

describe("bounds", () => {
  it("[ST-80] overloaded is true while several frozen memtables wait, and false after maintenance", async () => {
    const fixture = new Fixture();
    for (let i = 0; !fixture.engine.overloaded; i++) {
      expect(i).toBeLessThan(100);
      fill(fixture, { tenant: 1, count: 50, from: i * 50 });
    }
    await fixture.settle();
    expect(fixture.engine.overloaded).toBe(false);
    expect(textOf(fixture.engine.get(rowKey(1, "key-3")))).toMatch("T1!3:");
  });

  it("[ST-80] [ST-51] erasures that follow each other faster than a flush do not make it overloaded, and are all finished", async () => {
    const fixture = new Fixture();
    for (let tenant = 1; tenant <= 20; tenant++) {
      fill(fixture, { tenant, count: 2 });
      fixture.engine.eraseTenant(tenant);
      fill(fixture, { tenant: 100, count: 1, from: tenant });
      expect(fixture.engine.overloaded).toBe(false);
    }
    await fixture.settle();
    expect(fixture.engine.erasuresPending()).toEqual([]);
    expect(stored(fixture, "T7!")).toBe(false);
    expect(textOf(fixture.engine.get(rowKey(100, "key-20")))).toMatch("T100!20:");
  });

  it("[ST-81] caches keep their byte limits", async () => {
    const fixture = new Fixture();
    fill(fixture, { tenant: 1, count: 2000 });
    await fixture.settle();
    for (let i = 0; i < 2000; i++) fixture.engine.get(rowKey(1, `key-${i}`));
    expect(fixture.engine.stats().rowCacheBytes).toBeLessThanOrEqual(TINY_LIMITS.rowCacheBytes);
    expect(fixture.engine.stats().blockCacheBytes).toBeLessThanOrEqual(TINY_LIMITS.blockCacheBytes);
  });

  it("[ST-84] flushed memtables that are kept answer reads, and hide what was overwritten, erased or purged", async () => {
    let purge = false;
    const fixture = new Fixture({
      limits: { ...TINY_LIMITS, keptMemtables: 2 },
      shouldDrop: () => purge,
    });
    fixture.engine.put(rowKey(1, "gone"), bytesOf("tombstone"), true);
    fill(fixture, { tenant: 1, count: 100 });
    fill(fixture, { tenant: 2, count: 100 });
    await fixture.settle();
    const before = fixture.engine.stats();
    expect(textOf(fixture.engine.get(rowKey(2, "key-99")))).toMatch("T2!99:");
    expect(fixture.engine.stats().blockCacheMissesTotal).toBe(before.blockCacheMissesTotal);
    expect(before.rowCacheBytes).toBeGreaterThan(TINY_LIMITS.memtableBytes);
    expect(before.rowCacheBytes).toBeLessThan(TINY_LIMITS.memtableBytes * 6);

    fixture.engine.put(rowKey(2, "key-99"), bytesOf("newer"));
    fixture.engine.eraseTenant(1);
    fixture.commit();
    expect(textOf(fixture.engine.get(rowKey(2, "key-99")))).toBe("newer");
    expect(fixture.engine.get(rowKey(1, "key-3"))).toBeUndefined();
    await fixture.settle();
    expect(textOf(fixture.engine.get(rowKey(2, "key-99")))).toBe("newer");

    fixture.engine.put(rowKey(2, "gone"), bytesOf("tombstone"), true);
    fixture.commit();
    purge = true;
    for (let i = 0; i < 6 && fixture.engine.get(rowKey(2, "gone")) !== undefined; i++) {
      fill(fixture, { tenant: 2, count: 200, from: 100 + i * 200 });
      await fixture.settle();
    }
    expect(fixture.engine.get(rowKey(2, "gone"))).toBeUndefined();
  });

  it("[ST-82] what breaks a bound is refused with the value and the limit", () => {
    const { engine } = new Fixture();
    expect(() => engine.put(rowKey(1, "k".repeat(MAX_KEY_BYTES + 1)), bytesOf(""))).toThrow(`${MAX_KEY_BYTES}`);
    expect(() => engine.put(rowKey(1, "\ud800"), bytesOf(""))).toThrow("well-formed");
    expect(() => engine.put(rowKey(-1, "a"), bytesOf(""))).toThrow("-1");
    expect(() => engine.addRecord(1, new Uint8Array(15), bytesOf(""))).toThrow("15");
    expect(() => engine.addRecord(1, writeId(1), new Uint8Array(MAX_RECORD_ANSWER_BYTES + 1))).toThrow(
      `${MAX_RECORD_ANSWER_BYTES}`,
    );
    expect(() => new Fixture({ limits: { memtableBytes: 0 } })).toThrow("memtableBytes");
    expect(() => new Fixture({ objectName: "a/b" })).toThrow("a/b");
  });

  it("[CL-73] opens for a node that was added in a cluster", () => {
    expect(() => new Fixture({ objectName: "n4@z2" })).not.toThrow();
  });

  it("[ST-83] a purgeable row is dropped when asked, only by a merge with the oldest run, and not before", async () => {
    let purge = false;
    const fixture = new Fixture({ shouldDrop: (row) => purge && row.key.startsWith("key-1") });
    for (let round = 0; round < 8; round++) {
      for (let i = 0; i < 100; i++) {
        fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`${round}:${"x".repeat(60)}`), i < 50);
      }
      fixture.commit();
      await fixture.settle();
      if (round === 3) expect(textOf(fixture.engine.get(rowKey(1, "key-11")))).toMatch("3:");
      if (round === 3) purge = true;
    }
    for (let round = 0; round < 8; round++) {
      fill(fixture, { tenant: 2, count: 100, from: round * 100 });
      await fixture.settle();
    }
    expect(fixture.engine.get(rowKey(1, "key-11"))).toBeUndefined();
    expect(textOf(fixture.engine.get(rowKey(1, "key-60")))).toMatch("7:");
    expect(textOf(fixture.engine.get(rowKey(1, "key-21")))).toMatch("7:");
  });

  it("[ST-110] a purge drops what may be dropped from memory and all tables, without waiting for a merge", async () => {
    let purge = false;
    const fixture = new Fixture({ shouldDrop: (row) => purge && row.key.startsWith("gone") });
    const { engine } = fixture;
    for (let i = 0; i < 20; i++) engine.put(rowKey(1, `gone-${i}`), bytesOf("value"));
    engine.put(rowKey(1, "kept"), bytesOf("value"));
    fixture.commit();
    engine.purge();
    await fixture.settle();
    for (let i = 0; i < 20; i++) engine.put(rowKey(1, `gone-${i}`), bytesOf("tombstone"), true);
    engine.put(rowKey(1, "gone-alive"), bytesOf("alive"));
    fixture.commit();
    engine.purge();
    expect(engine.purgePending).toBe(true);
    await fixture.settle();
    expect(textOf(engine.get(rowKey(1, "gone-3")))).toBe("tombstone");
    purge = true;
    engine.purge();
    await fixture.settle();
    expect(engine.purgePending).toBe(false);
    expect(engine.stats()).toMatchObject({ tableRows: 2, memtableRows: 0 });
    expect(engine.get(rowKey(1, "gone-3"))).toBeUndefined();
    expect(textOf(engine.get(rowKey(1, "gone-alive")))).toBe("alive");
    fixture.restart();
    expect(fixture.engine.get(rowKey(1, "gone-3"))).toBeUndefined();
    expect(textOf(fixture.engine.get(rowKey(1, "kept")))).toBe("value");
  });

  it("[ST-111] a purge that would drop few rows of large tables waits for a merge", async () => {
    let purge = false;
    const fixture = new Fixture({ shouldDrop: () => purge, limits: { purgeAlwaysBytes: 1 } });
    const { engine } = fixture;
    for (let i = 0; i < 2 * PURGE_ROWS_PART; i++) engine.put(rowKey(1, `key-${i}`), bytesOf("row"), i === 0);
    fixture.commit();
    const purged = (): Promise<void> => {
      engine.purge();
      return fixture.settle();
    };
    await purged();
    purge = true;
    await purged();
    expect(engine.stats().tableRows).toBe(2 * PURGE_ROWS_PART);
    for (const key of ["key-1", "key-2"]) engine.put(rowKey(1, key), bytesOf("row"), true);
    fixture.commit();
    await purged();
    expect(engine.stats()).toMatchObject({ tableRows: 2 * PURGE_ROWS_PART - 3, purgedRowsTotal: 3 });
  });
});
