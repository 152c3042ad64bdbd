import { describe, expect, it } from "vitest";
import { FailingBlobStore } from "../../test/unit/storage/failing-blob-store.ts";
import { bytesOf, Fixture, rowKey, textOf, writeId } from "../../test/unit/storage/fixture.ts";
import { MemoryBlobStore } from "./memory-blob-store.ts";
import { CorruptBlock, CorruptLog, type CorruptRange, NotResident } from "./types.ts";

function logged(): Fixture {
  const fixture = new Fixture();
  for (let i = 0; i < 5; i++) {
    fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`value-${i}`));
    fixture.commit();
  }
  return fixture;
}

describe("commit log corruption", () => {
  it("[ST-10] any flipped byte of any log row is refused at the start", () => {
    const fixture = logged();
    const read = fixture.sql.database.prepare("SELECT seq, bytes FROM storage_log");
    const write = fixture.sql.database.prepare("UPDATE storage_log SET bytes = ? WHERE seq = ?");
    for (const { seq, bytes } of read.all() as { seq: number; bytes: Uint8Array }[]) {
      for (let at = 0; at < bytes.length; at++) {
        const flipped = bytes.slice();
        flipped[at]! ^= 1 << (at & 7);
        write.run(flipped, seq);
        expect(() => fixture.open(), `row ${seq} byte ${at}`).toThrow(CorruptLog);
      }
      write.run(bytes, seq);
    }
    fixture.open();
  });

  it("[ST-11] a missing row, a row in another's place and a torn group are refused at the start", () => {
    const damage = [
      "DELETE FROM storage_log WHERE seq = 3",
      "DELETE FROM storage_log WHERE seq = 1",
      "UPDATE storage_log SET bytes = (SELECT bytes FROM storage_log WHERE seq = 2), crc = (SELECT crc FROM storage_log WHERE seq = 2) WHERE seq = 3",
      "UPDATE storage_log SET parts = 2 WHERE seq = 5",
      "UPDATE storage_log SET atMs = atMs + 1 WHERE seq = 2",
    ];
    for (const statement of damage) {
      const fixture = logged();
      fixture.sql.database.exec(statement);
      expect(() => fixture.open(), statement).toThrow(CorruptLog);
    }
    const torn = new Fixture();
    torn.engine.put(rowKey(1, "big"), new Uint8Array(3 * 1024 * 1024));
    torn.commit();
    torn.sql.database.exec("DELETE FROM storage_log WHERE seq = (SELECT max(seq) FROM storage_log)");
    expect(() => torn.open()).toThrow(CorruptLog);
  });
});

describe("table corruption", () => {
  it("[ST-12] a flipped byte of a table gives the right value or CorruptBlock, never another value", async () => {
    const fixture = new Fixture();
    for (let i = 0; i < 30; i++) fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`value-${i}`));
    fixture.engine.put(rowKey(1, "filler"), new Uint8Array(8000));
    fixture.commit();
    await fixture.settle();
    const read = fixture.sql.database.prepare("SELECT id, bytes FROM storage_pieces");
    const write = fixture.sql.database.prepare("UPDATE storage_pieces SET bytes = ? WHERE id = ?");
    let corrupt = 0;
    for (const { id, bytes } of read.all() as { id: number; bytes: Uint8Array }[]) {
      for (let at = 0; at < bytes.length; at += 3) {
        const flipped = bytes.slice();
        flipped[at]! ^= 1 << (at & 7);
        write.run(flipped, id);
        const engine = fixture.open();
        for (let i = 0; i < 30; i += 5) {
          try {
            expect(textOf(engine.get(rowKey(1, `key-${i}`)))).toBe(`value-${i}`);
          } catch (error) {
            if (!(error instanceof CorruptBlock)) throw error;
            corrupt++;
          }
        }
        write.run(bytes, id);
      }
    }
    expect(corrupt).toBeGreaterThan(100);
  });

  it("[ST-13] a corrupt block is counted and reported once with the rows it held; other rows are served; a put heals", async () => {
    const ranges: CorruptRange[] = [];
    const fixture = new Fixture({ onCorrupt: (range) => ranges.push(range) });
    for (let i = 0; i < 200; i++) fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`value-${i}-${"x".repeat(60)}`));
    fixture.commit();
    await fixture.settle();
    fixture.restart();
    const flip = fixture.sql.database.prepare(
      "UPDATE storage_pieces SET bytes = CAST(substr(bytes, 1, 40) || x'ffff' || substr(bytes, 43) AS BLOB) WHERE id = (SELECT min(id) FROM storage_pieces)",
    );
    flip.run();
    const lost: number[] = [];
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 200; i++) {
        try {
          expect(textOf(fixture.engine.get(rowKey(1, `key-${i}`)))).toMatch(`value-${i}-`);
        } catch (error) {
          if (!(error instanceof CorruptBlock)) throw error;
          if (round === 0) lost.push(i);
        }
      }
    }
    expect(lost.length).toBeGreaterThan(0);
    expect(lost.length).toBeLessThan(20);
    expect(fixture.engine.stats().corruptBlocksTotal).toBe(1);
    expect(ranges).toHaveLength(1);
    const { from, to } = ranges[0]!;
    for (const i of lost) {
      const { token } = rowKey(1, `key-${i}`);
      expect(token.hi).toBeGreaterThanOrEqual(from!.token.hi);
      expect(token.hi).toBeLessThanOrEqual(to!.token.hi);
    }
    fixture.engine.put(rowKey(1, `key-${lost[0]}`), bytesOf("healed"));
    expect(textOf(fixture.engine.get(rowKey(1, `key-${lost[0]}`)))).toBe("healed");
  });

  it("[ST-14] maintenance sets an unreadable run aside and goes on", async () => {
    const fixture = new Fixture();
    const fill = async (round: number) => {
      for (let i = 0; i < 100; i++) fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`${round}-${"x".repeat(80)}`));
      fixture.commit();
      await fixture.settle();
    };
    await fill(1);
    fixture.sql.database.exec("UPDATE storage_pieces SET bytes = zeroblob(length(bytes))");
    fixture.restart();
    for (let round = 2; round < 12; round++) await fill(round);
    expect(fixture.engine.maintenanceDue).toBe(false);
    expect(textOf(fixture.engine.get(rowKey(1, "key-7")))).toMatch("11-");
    fixture.engine.eraseTenant(1);
    await fixture.settle();
    expect(fixture.engine.erasuresPending()).toEqual([1]);
  });

  it("[ST-19] rows of a block given up after repair read as absent, and maintenance rewrites the run without it", async () => {
    const ranges: CorruptRange[] = [];
    const fixture = new Fixture({ onCorrupt: (range) => ranges.push(range) });
    for (let i = 0; i < 100; i++) fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`${i}-${"x".repeat(80)}`));
    fixture.commit();
    await fixture.settle();
    fixture.sql.database.exec(
      "UPDATE storage_pieces SET bytes = CAST(substr(bytes, 1, 40) || x'ffff' || substr(bytes, 43) AS BLOB) WHERE id = (SELECT min(id) FROM storage_pieces)",
    );
    fixture.restart();
    fixture.engine.eraseTenant(2);
    for (let i = 0; i < 100; i++) {
      try {
        fixture.engine.get(rowKey(1, `key-${i}`));
      } catch {
        fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`${i}-repaired`));
      }
    }
    fixture.commit();
    for (const range of ranges) fixture.engine.discardCorrupt(range);
    fixture.engine.eraseTenant(3);
    for (let round = 0; round < 8; round++) {
      for (let i = 100; i < 200; i++) fixture.engine.put(rowKey(1, `key-${i}`), bytesOf("x".repeat(80)));
      fixture.commit();
      await fixture.settle();
    }
    fixture.restart();
    for (let i = 0; i < 100; i++) expect(textOf(fixture.engine.get(rowKey(1, `key-${i}`)))).toMatch(`${i}-`);
    expect(fixture.engine.erasuresPending()).toEqual([]);
    expect(fixture.engine.stats().corruptBlocksTotal).toBe(0);
  });
});

describe("asynchronous blobs", () => {
  async function remote() {
    const blobs = new FailingBlobStore(new MemoryBlobStore());
    const fixture = new Fixture({ blobs });
    for (let i = 0; i < 100; i++) {
      fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`value-${i}-${"x".repeat(80)}`));
      fixture.engine.addRecord(1, writeId(i), bytesOf(`answer-${i}`));
    }
    fixture.commit();
    await fixture.settle();
    return { blobs, fixture };
  }

  it("[ST-15] get throws NotResident until prepare has loaded the block; then it answers", async () => {
    const { fixture } = await remote();
    const row = rowKey(1, "key-5");
    expect(() => fixture.engine.get(row)).toThrow(NotResident);
    expect(() => fixture.engine.findRecord(1, writeId(5))).toThrow(NotResident);
    await fixture.engine.prepare([row], [{ tenant: 1, writeId: writeId(5) }]);
    expect(textOf(fixture.engine.get(row))).toMatch("value-5-");
    expect(textOf(fixture.engine.findRecord(1, writeId(5)))).toBe("answer-5");
    expect(fixture.engine.prepare([row])).toBeUndefined();
    await fixture.engine.prepare([rowKey(2, "never written")]);
    expect(fixture.engine.get(rowKey(2, "never written"))).toBeUndefined();
  });

  it("[ST-16] prepare keeps many blocks for the read that asked, whatever the cache size", async () => {
    const { fixture } = await remote();
    const rows = Array.from({ length: 100 }, (_, i) => rowKey(1, `key-${i}`));
    await fixture.engine.prepare(rows);
    rows.forEach((row, i) => {
      expect(textOf(fixture.engine.get(row))).toMatch(`value-${i}-`);
    });
  });

  it("[ST-17] one bad answer is read again; a lasting one is CorruptBlock for its rows only, and heals", async () => {
    const { blobs, fixture } = await remote();
    const rows = Array.from({ length: 100 }, (_, i) => rowKey(1, `key-${i}`));
    let bad = 1;
    blobs.onGet = (bytes) => (bad-- > 0 ? bytes.map((byte) => byte ^ 1) : bytes);
    await fixture.engine.prepare([rows[0]!]);
    expect(textOf(fixture.engine.get(rows[0]!))).toMatch("value-0-");
    fixture.restart();
    bad = 1_000;
    await fixture.engine.prepare([rows[0]!]);
    expect(() => fixture.engine.get(rows[0]!)).toThrow(CorruptBlock);
    bad = 0;
    await fixture.engine.prepare([rows[0]!]);
    expect(textOf(fixture.engine.get(rows[0]!))).toMatch("value-0-");
  });

  it("[ST-18] a failing store fails prepare and maintenance, and loses nothing", async () => {
    const { blobs, fixture } = await remote();
    blobs.before = () => {
      throw new Error("away");
    };
    await expect(fixture.engine.prepare([rowKey(1, "key-1")])).rejects.toThrow("away");
    for (let i = 0; i < 100; i++) fixture.engine.put(rowKey(1, `more-${i}`), bytesOf("x".repeat(100)));
    fixture.commit();
    await expect(fixture.settle()).rejects.toThrow("away");
    expect(fixture.engine.maintenanceDue).toBe(true);
    blobs.before = () => undefined;
    await fixture.settle();
    await fixture.engine.prepare([rowKey(1, "more-1")]);
    expect(textOf(fixture.engine.get(rowKey(1, "more-1")))).toBe("x".repeat(100));
  });
});
