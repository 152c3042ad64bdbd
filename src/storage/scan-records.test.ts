// Pages of records: every record once, wherever it lies.
import { describe, expect, it } from "vitest";
import { bytesOf, Fixture, textOf, writeId } from "../../test/unit/storage/fixture.ts";
import type { RecordKey, RecordPage } from "./types.ts";

async function readAll(fixture: Fixture, windows: number, limitRows: number): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const width = 2 ** 32 / windows;
  for (let i = 0; i < windows; i++) {
    let after: RecordKey | undefined;
    for (let page: RecordPage | undefined; !page?.done; ) {
      page = await fixture.engine.scanRecords({
        fromHash: i * width,
        toHash: (i + 1) * width - 1,
        limitRows,
        ...(after ? { after } : {}),
      });
      for (const { key, answer } of page.records) {
        const name = `${key.tenant}/${Buffer.from(key.writeId).toString("hex")}`;
        expect(found.has(name)).toBe(false);
        found.set(name, textOf(answer)!);
      }
      after = page.records.at(-1)?.key;
    }
  }
  return found;
}

describe("record pages", () => {
  it("[ST-72] give each record once with its latest answer, from memtables and segments, in pages of any size", async () => {
    const fixture = new Fixture();
    const expected = new Map<string, string>();
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 60; i++) {
        const id = writeId((round % 3) * 1000 + i);
        fixture.engine.addRecord(i % 4, id, bytesOf(`answer ${round} ${i}`));
        expected.set(`${i % 4}/${Buffer.from(id).toString("hex")}`, `answer ${round} ${i}`);
      }
      fixture.commit();
      if (round % 4 === 1) await fixture.settle();
    }
    expect(fixture.engine.stats().recordSegmentCount).toBeGreaterThan(0);
    expect(fixture.engine.stats().memtableBytes).toBeGreaterThan(0);
    for (const [windows, limit] of [
      [1, 7],
      [16, 1000],
      [64, 1],
    ] as const)
      expect(await readAll(fixture, windows, limit)).toEqual(expected);
  });

  it("[ST-72] [ST-50] leave out erased tenants", async () => {
    const fixture = new Fixture();
    fixture.engine.addRecord(1, writeId(1), bytesOf("kept"));
    fixture.engine.addRecord(2, writeId(1), bytesOf("erased"));
    fixture.commit();
    fixture.engine.eraseTenant(2);
    expect([...(await readAll(fixture, 1, 10)).values()]).toEqual(["kept"]);
  });
});
