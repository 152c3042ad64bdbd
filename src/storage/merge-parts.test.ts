import { describe, expect, it } from "vitest";
import { FailingBlobStore } from "../../test/unit/storage/failing-blob-store.ts";
import { bytesOf, Fixture, rowKey, TINY_LIMITS, textOf } from "../../test/unit/storage/fixture.ts";
import type { FailPoint } from "./fail-points.ts";
import { MemoryBlobStore } from "./memory-blob-store.ts";

const VALUE = "x".repeat(80);

function put(fixture: Fixture, { round, from, to }: { round: number; from: number; to: number }): void {
  for (let i = from; i < to; i++) fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`${round}:${i}:${VALUE}`));
  fixture.commit();
}

function one(fixture: Fixture, query: string): number {
  return [...fixture.sql.exec<{ n: number | null }>(query)][0]!.n ?? 0;
}

/** SQLite pieces: what is stored of blobs, whole or not. */
const piecesBytes = (fixture: Fixture) => one(fixture, "SELECT sum(length(bytes)) AS n FROM storage_pieces");

/** Slices, each a turn, until `isReached`. */
async function runUntil(fixture: Fixture, isReached: () => boolean): Promise<void> {
  for (let slices = 0; !isReached(); slices++) {
    if (slices > 10_000) throw new Error("it was not reached in 10 000 slices");
    await fixture.engine.runMaintenance();
    fixture.sql.endTurn();
  }
}

describe("merges in parts", () => {
  it("[ST-95] while a merge runs the tables take little more space than before it", async () => {
    const excesses: number[] = [];
    let parts = 0;
    const fixture = new Fixture({
      atFailPoint: async (point) => {
        if (point === "merge.partApplied") parts++;
        // What no table of the manifest is: a part being written, and what waits for its sweep.
        const blobBytes = one(fixture, "SELECT sum(sizeBytes) AS n FROM storage_blobs");
        if (point.startsWith("merge.")) excesses.push(blobBytes - fixture.engine.stats().tableBytes);
      },
    });
    for (let round = 0; round < 32; round++) {
      put(fixture, { round, from: round * 200, to: round * 200 + 200 });
      await fixture.settle();
    }
    expect(parts).toBeGreaterThan(100);
    expect(fixture.engine.stats().tableBytes).toBeGreaterThan(100 * TINY_LIMITS.tableBytes);
    expect(Math.max(...excesses)).toBeLessThan((TINY_LIMITS.maxRuns + 3) * TINY_LIMITS.tableBytes);
    expect(one(fixture, "SELECT sum(rowCount) AS n FROM storage_tables")).toBeLessThan(32 * 200 * 1.1);
  });

  it("[ST-96] a crash after any part of a merge: newest versions, nothing purged or overwritten comes back", async () => {
    for (let crashAt = 0; ; crashAt++) {
      let parts = 0;
      let isDead = false;
      const fixture = new Fixture({
        shouldDrop: (row) => row.key.startsWith("gone"),
        atFailPoint: async (point) => {
          if (point !== "merge.partApplied" || parts++ !== crashAt) return;
          isDead = true;
          fixture.sql.endTurn();
        },
      });
      // The oldest run holds values; the newer ones overwrite most, and delete some for good.
      for (let round = 0; round < 4; round++) {
        for (let i = 0; i < 40; i++)
          fixture.engine.put(rowKey(1, `gone-${i}`), bytesOf(`${round}:${VALUE}`), round === 3);
        put(fixture, { round, from: 0, to: 300 - round * 20 });
        await fixture.engine.runMaintenance();
      }
      for (let slices = 0; fixture.engine.maintenanceDue && !isDead; slices++) {
        await fixture.engine.runMaintenance();
        if (!isDead) fixture.sql.endTurn();
        expect(slices).toBeLessThan(10_000);
      }
      if (isDead) fixture.crash();
      for (let again = 0; again < 2; again++) {
        for (let i = 0; i < 300; i++) {
          const newest = [3, 2, 1, 0].find((round) => i < 300 - round * 20);
          expect(textOf(fixture.engine.get(rowKey(1, `key-${i}`)))).toBe(`${newest}:${i}:${VALUE}`);
        }
        for (let i = 0; i < 40; i++)
          expect(textOf(fixture.engine.get(rowKey(1, `gone-${i}`))) ?? `3:${VALUE}`).toBe(`3:${VALUE}`);
        const { rows } = await fixture.engine.scan({ limitRows: 1000, limitBytes: 1e6 });
        expect(rows.filter(({ row }) => row.key.startsWith("key-")).length).toBe(300);
        await fixture.settle();
      }
      if (!isDead) {
        expect(crashAt).toBeGreaterThan(3);
        return;
      }
    }
  });

  it("[ST-97] a flush does not wait for a merge, nor a small merge for a large one, which goes on where it stopped", async () => {
    const passed: FailPoint[] = [];
    const fixture = new Fixture({ atFailPoint: async (point) => void passed.push(point) });
    for (let round = 0; round < 4; round++) {
      put(fixture, { round, from: 0, to: 1500 });
      // Only the flushes.
      while (
        fixture.engine.stats().memtableRows > 0 &&
        fixture.engine.maintenanceDue &&
        passed.at(-1) !== "merge.begun"
      )
        await fixture.engine.runMaintenance();
    }
    passed.length = 0;
    await runUntil(fixture, () => passed.includes("merge.partApplied"));
    const writtenBefore = fixture.engine.stats().compactionBytesWrittenTotal;
    passed.length = 0;
    for (let round = 4; round < 12; round++) {
      put(fixture, { round, from: 0, to: 70 });
      await runUntil(fixture, () => fixture.engine.stats().memtableRows <= 70);
    }
    await fixture.settle();
    const begun = passed.indexOf("merge.begun");
    expect(passed.indexOf("flush.applied")).toBeLessThan(begun);
    expect(begun).toBeLessThan(passed.indexOf("merge.applied"));
    const { tableBytes, compactionBytesWrittenTotal } = fixture.engine.stats();
    expect(compactionBytesWrittenTotal - writtenBefore).toBeLessThan(2.5 * tableBytes);
    for (let i = 0; i < 1500; i++)
      expect(textOf(fixture.engine.get(rowKey(1, `key-${i}`)))).toBe(`${i < 70 ? 11 : 3}:${i}:${VALUE}`);
  });

  it("[ST-98] a statement that is left before its end is caught", () => {
    const fixture = new Fixture();
    const [first] = fixture.sql.exec("SELECT 1 AS n UNION SELECT 2");
    expect(first).toEqual({ n: 1 });
    expect(() => fixture.sql.endTurn()).toThrow("not read to its end");
  });

  it("[ST-99] a table is written over several slices; a crash between them leaves nothing behind", async () => {
    const fixture = new Fixture({
      limits: { ...TINY_LIMITS, memtableBytes: 1024 * 1024, tableBytes: 2 * 1024 * 1024 },
    });
    put(fixture, { round: 0, from: 0, to: 12_000 });
    const sizes: number[] = [];
    while (fixture.engine.maintenanceDue && fixture.engine.stats().tableCount === 0) {
      await fixture.engine.runMaintenance();
      fixture.sql.endTurn();
      if (piecesBytes(fixture) > 0) sizes.push(piecesBytes(fixture));
    }
    expect(sizes.length).toBeGreaterThan(3);
    for (const [i, size] of sizes.entries()) expect(size - (sizes[i - 1] ?? 0)).toBeLessThan(300 * 1024);
    put(fixture, { round: 1, from: 0, to: 12_000 });
    const before = piecesBytes(fixture);
    await runUntil(fixture, () => piecesBytes(fixture) !== before);
    fixture.crash();
    await fixture.settle();
    expect(one(fixture, "SELECT count(*) AS n FROM storage_blobs")).toBe(fixture.engine.stats().tableCount);
    expect(textOf(fixture.engine.get(rowKey(1, "key-11999")))).toBe(`1:11999:${VALUE}`);
  });

  it("[ST-102] a merge asks an asynchronous store for many blocks at once, and finds the one that is damaged", async () => {
    const found: number[] = [];
    const memory = new MemoryBlobStore();
    const blobs = new FailingBlobStore(memory);
    const fixture = new Fixture({ blobs, onCorrupt: ({ section }) => found.push(section) });
    for (let round = 0; round < 3; round++) {
      put(fixture, { round, from: round * 400, to: round * 400 + 400 });
      await fixture.settle();
    }
    let gets = 0;
    blobs.before = (operation) => {
      if (operation === "get") gets++;
    };
    put(fixture, { round: 3, from: 0, to: 400 });
    await fixture.settle();
    const { compactionBytesReadTotal, compactionsTotal } = fixture.engine.stats();
    expect(compactionsTotal).toBe(1);
    expect(compactionBytesReadTotal).toBeGreaterThan(100_000);
    // Two requests a table: its index and its blocks.
    expect(gets).toBeLessThan(2 * (compactionBytesReadTotal / TINY_LIMITS.tableBytes + 8));
    const [name, whole] = [...memory.blobs][0]!;
    const bytes = whole.slice();
    bytes[1200]! ^= 1;
    memory.blobs.set(name, bytes);
    for (let round = 4; round < 16; round++) {
      put(fixture, { round, from: 0, to: 400 });
      await fixture.settle();
    }
    expect(found).toEqual([2]);
  });
});
