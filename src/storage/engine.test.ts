import { describe, expect, it } from "vitest";
import { bytesOf, Fixture, rowKey, textOf, writeId } from "../../test/unit/storage/fixture.ts";

describe("engine", () => {
  it("[ST-1] a read in the same turn sees the write, before and after commit", () => {
    const fixture = new Fixture();
    fixture.engine.put(rowKey(1, "a"), bytesOf("one"));
    expect(textOf(fixture.engine.get(rowKey(1, "a")))).toBe("one");
    fixture.commit();
    fixture.engine.put(rowKey(1, "a"), bytesOf("two"));
    expect(textOf(fixture.engine.get(rowKey(1, "a")))).toBe("two");
    expect(fixture.engine.get(rowKey(2, "a"))).toBeUndefined();
  });

  it("[ST-2] committed rows and records survive a restart, uncommitted ones a crash do not", () => {
    const fixture = new Fixture();
    fixture.engine.put(rowKey(1, "a"), bytesOf("one"));
    fixture.engine.addRecord(1, writeId(7), bytesOf("answer"));
    fixture.commit();
    fixture.engine.put(rowKey(1, "a"), bytesOf("two"));
    fixture.engine.commit();
    fixture.crash();
    expect(textOf(fixture.engine.get(rowKey(1, "a")))).toBe("one");
    expect(textOf(fixture.engine.findRecord(1, writeId(7)))).toBe("answer");
  });

  it("[ST-3] rows pass from memtable to tables and through merges, newest first", async () => {
    const fixture = new Fixture();
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 50; i++) {
        fixture.engine.put(rowKey(i % 3, `key-${i}`), bytesOf(`value-${round}-${i}-${"x".repeat(40)}`));
        fixture.engine.addRecord(i % 3, writeId(round * 50 + i), bytesOf(`answer-${round}-${i}`));
      }
      fixture.commit();
      if (round % 4 === 3) await fixture.settle();
    }
    await fixture.settle();
    const check = () => {
      for (let i = 0; i < 50; i++) {
        expect(textOf(fixture.engine.get(rowKey(i % 3, `key-${i}`)))).toMatch(`value-19-${i}-`);
        expect(textOf(fixture.engine.findRecord(i % 3, writeId(5 * 50 + i)))).toBe(`answer-5-${i}`);
      }
    };
    check();
    expect(fixture.engine.stats().compactionsTotal).toBeGreaterThan(0);
    fixture.restart();
    check();
  });

  it("[ST-4] a value larger than a log row and a block comes back whole", async () => {
    const fixture = new Fixture();
    const value = new Uint8Array(5 * 1024 * 1024).map((_, i) => (i * 31) & 0xff);
    fixture.engine.put(rowKey(1, "big"), value);
    fixture.engine.put(rowKey(1, "small"), bytesOf("s"));
    fixture.commit();
    fixture.restart();
    expect(Buffer.compare(fixture.engine.get(rowKey(1, "big"))!, value)).toBe(0);
    await fixture.settle();
    expect(Buffer.compare(fixture.engine.get(rowKey(1, "big"))!, value)).toBe(0);
    fixture.restart();
    expect(Buffer.compare(fixture.engine.get(rowKey(1, "big"))!, value)).toBe(0);
    expect(textOf(fixture.engine.get(rowKey(1, "small")))).toBe("s");
  });
});
