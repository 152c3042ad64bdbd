// What of a turn goes to the log: entries of the arena, and rows of the engine over them.
import { describe, expect, it } from "vitest";
import { bytesOf, Fixture, rowKey, textOf, writeId } from "../../test/unit/storage/fixture.ts";
import { Arena } from "./arena.ts";

function write(arena: Arena, text: string): number {
  const position = arena.reserve(text.length);
  arena.bufferAt(position).u8.set(bytesOf(text), arena.offsetAt(position));
  arena.commit(position, text.length);
  return position;
}

const logged = (arena: Arena): string =>
  arena
    .takeRegions()
    .map(({ buffer, start, end }) => textOf(buffer.u8.subarray(start, end)))
    .join("");

describe("superseded within a turn", () => {
  it("[ST-120] entries are left out of the log, wherever they stand; those of earlier turns are left alone", () => {
    const arena = new Arena();
    const old = write(arena, "old.");
    expect(logged(arena)).toBe("old.");
    const [first, second, third] = ["one.", "two.", "three."].map((text) => write(arena, text));
    arena.supersede(second!, 4);
    arena.supersede(old, 4);
    const last = write(arena, "four.");
    arena.supersede(last, 5);
    write(arena, "five.");
    arena.supersede(first!, 4);
    expect(logged(arena)).toBe("three.five.");
    arena.supersede(third!, 6);
    write(arena, "six.");
    expect(logged(arena)).toBe("six.");
    expect(textOf(arena.bufferAt(second!).u8.subarray(arena.offsetAt(second!), arena.offsetAt(second!) + 4))).toBe(
      "two.",
    );
  });

  it("[ST-120] many left pieces become few log rows, in order", () => {
    const arena = new Arena();
    let expected = "";
    for (let i = 0; i < 1000; i++) {
      const superseded = write(arena, `gone ${i};`);
      expected += `kept ${i};`;
      write(arena, `kept ${i};`);
      arena.supersede(superseded, `gone ${i};`.length);
    }
    const regions = arena.takeRegions();
    expect(regions.length).toBe(1);
    const { buffer, start, end } = regions[0]!;
    expect(textOf(buffer.u8.subarray(start, end))).toBe(expected);
  });

  it("[ST-120] a row written a thousand times in a turn is logged once, its records all; views of before stay what they were", () => {
    const opened = new Fixture();
    const row = rowKey(1, "hot");
    const filler = "x".repeat(500);
    const value = (i: number): string => `${i} ${filler}`;
    opened.engine.put(row, bytesOf(value(-1)));
    opened.commit();
    const before = opened.engine.stats().commitBytesTotal;
    const views: Uint8Array[] = [];
    for (let i = 0; i < 10; i++) {
      opened.engine.put(row, bytesOf(value(i)));
      opened.engine.addRecord(1, writeId(i), bytesOf(`answer ${i}`));
      views.push(opened.engine.get(row)!);
    }
    opened.commit();
    expect(opened.engine.stats().commitBytesTotal - before).toBeLessThan(2 * filler.length);
    expect(views.map(textOf)).toEqual(Array.from({ length: 10 }, (_, i) => value(i)));
    for (const reopened of [opened.engine, opened.crash()]) {
      expect(textOf(reopened.get(row))).toBe(value(9));
      for (let i = 0; i < 10; i++) expect(textOf(reopened.findRecord(1, writeId(i)))).toBe(`answer ${i}`);
    }
  });
});
