import { describe, expect, it } from "vitest";
import { bytesOf, Fixture, rowKey, TINY_LIMITS, writeId } from "../../test/unit/storage/fixture.ts";
import { SCRUB_PAUSE_MS } from "./limits.ts";
import type { CorruptRange } from "./types.ts";

const DAY_MS = 24 * 3_600_000;
const PERIOD_MS = 14 * DAY_MS;

async function filled(options: ConstructorParameters<typeof Fixture>[0] = {}): Promise<Fixture> {
  const limits = { ...TINY_LIMITS, scrubPeriodMs: PERIOD_MS, recordRetentionMs: 100 * PERIOD_MS };
  const fixture = new Fixture({ limits, ...options });
  for (let i = 0; i < 300; i++) {
    fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`${i}:${"x".repeat(60)}`));
    fixture.engine.addRecord(1, writeId(i), bytesOf(`answer ${i}`));
  }
  fixture.commit();
  await fixture.settle();
  return fixture;
}

/** Maintenance with the clock going on; gives the tables read. */
async function scrubFor(fixture: Fixture, ms: number): Promise<void> {
  for (const end = fixture.nowMs + ms; fixture.nowMs < end; fixture.nowMs += SCRUB_PAUSE_MS) await fixture.settle();
}

const tablesOf = ({ engine }: Fixture) => engine.stats().tableCount + engine.stats().recordSegmentCount;

describe("scrubbing", () => {
  it("[ST-100] a block that nobody reads is found damaged within the period, of rows and of records, index included", async () => {
    for (const [kind, at] of [
      ["row", 10],
      ["record", 10],
      ["row", -20],
    ] as const) {
      const found: CorruptRange[] = [];
      const fixture = await filled({ onCorrupt: (range) => found.push(range) });
      const query = "SELECT p.id AS id, p.bytes AS bytes FROM storage_pieces p, storage_blobs b, storage_tables t";
      const where = `WHERE t.name = b.name AND p.id / 268435456 = b.id AND t.kind = '${kind}' ORDER BY p.id`;
      const pieces = [...fixture.sql.exec<{ id: number; bytes: ArrayBuffer }>(`${query} ${where}`)];
      const piece = at < 0 ? pieces.findLast(({ bytes }) => bytes.byteLength > 40)! : pieces[1]!;
      const bytes = new Uint8Array(piece.bytes);
      bytes[at < 0 ? bytes.length + at : at]! ^= 4;
      [...fixture.sql.exec("UPDATE storage_pieces SET bytes = ? WHERE id = ?", bytes, piece.id)];
      fixture.sql.endTurn();
      await scrubFor(fixture, DAY_MS / 1000);
      expect(found).toEqual([]);
      fixture.nowMs += PERIOD_MS;
      await scrubFor(fixture, (tablesOf(fixture) + 2) * SCRUB_PAUSE_MS);
      expect(found.map((range) => range.kind)).toEqual([kind]);
      expect(fixture.engine.stats().corruptRanges).toBe(1);
    }
  });

  it("[ST-101] every table is read once a period, one at a time with a pause, and where it stands survives a restart", async () => {
    const fixture = await filled();
    const tables = tablesOf(fixture);
    expect(tables).toBeGreaterThan(6);
    const read = () => fixture.engine.stats().scrubbedBytesTotal;
    await scrubFor(fixture, 10 * SCRUB_PAUSE_MS);
    expect(read()).toBe(0);
    fixture.nowMs += PERIOD_MS;
    expect(fixture.engine.maintenanceDue).toBe(true);
    await fixture.settle();
    const first = read();
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThanOrEqual(TINY_LIMITS.tableBytes * 1.5);
    await fixture.settle();
    expect(read()).toBe(first);
    await scrubFor(fixture, 3 * SCRUB_PAUSE_MS);
    expect(read()).toBeGreaterThan(first);
    const untilRestart = read();
    fixture.restart();
    await scrubFor(fixture, (tables + 2) * SCRUB_PAUSE_MS);
    const { tableBytes, recordSegmentBytes, scrubbedBlocksTotal } = fixture.engine.stats();
    // Blocks only: indexes and filters are not counted.
    expect(untilRestart + read()).toBeLessThan(tableBytes + recordSegmentBytes);
    expect(untilRestart + read()).toBeGreaterThan((tableBytes + recordSegmentBytes) * 0.6);
    expect(scrubbedBlocksTotal).toBeGreaterThan(tables);
    expect(fixture.engine.nextScrubMs).toBeGreaterThan(fixture.nowMs + PERIOD_MS / 2);
    expect(fixture.engine.stats().scrubOldestAgeSeconds).toBeLessThan(60);
  });

  it("[ST-101] a period of 0 never scrubs; flushes and merges go first", async () => {
    const never = await filled({ limits: { ...TINY_LIMITS, scrubPeriodMs: 0 } });
    never.nowMs += 100 * PERIOD_MS;
    expect(never.engine.nextScrubMs).toBeUndefined();
    const fixture = await filled();
    fixture.nowMs += PERIOD_MS;
    for (let i = 0; i < 100; i++) fixture.engine.put(rowKey(1, `new-${i}`), new Uint8Array(100));
    fixture.commit();
    while (fixture.engine.stats().memtableRows > 30) {
      expect(fixture.engine.stats().scrubbedBlocksTotal).toBe(0);
      await fixture.engine.runMaintenance();
      fixture.sql.endTurn();
    }
  });
});
