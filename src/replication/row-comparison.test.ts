// Which copies of a row are read and mended: rule RP-134.
import { describe, expect, it } from "vitest";
import { compareRanges } from "./row-comparison.ts";
import type { Page } from "./sync-frames.ts";

const NODES = ["n1", "n2", "n3", "n4"];

const digest = (lo: number, hash: number): Page["rows"][number] => ({
  row: { tenant: 7, key: `k${lo}`, token: { hi: 1, lo } },
  hi: hash,
  lo: hash,
});

/** Of one node: the hash of each row that it holds, by the row's number. */
function page(held: Readonly<Record<number, number>>, done = true): Page {
  const rows = Object.entries(held).map(([lo, hash]) => digest(Number(lo), hash));
  return { rows, done, routes: [], records: [], actor: 1, horizon: 0, isRebuilding: false } as unknown as Page;
}

const membersOf = async () => ({ old: NODES, joining: [], all: NODES });
const range = (...pages: Page[]) => ({ kind: "join" as const, nodes: NODES, pages, membersOf });

describe("comparison of rows", () => {
  it("[RP-134] a row that some lack is told by one of those who hold it alike, each row by another; one that differs is read at all", async () => {
    const full = { 0: 5, 1: 6, 2: 7, 3: 8 };
    const { different, rowCount } = await compareRanges([
      range(page(full), page({ ...full, 3: 9 }), page(full), page({ 0: 5 })),
    ]);
    expect(rowCount).toBe(4);
    expect(different.map(({ row, nodes }) => [row.key, nodes])).toEqual([
      ["k1", ["n2", "n4"]],
      ["k2", ["n3", "n4"]],
      ["k3", NODES],
    ]);
  });

  it("[RP-135] ranges asked for at once are taken in order, up to the first whose page does not reach its end", async () => {
    const same = (held: Readonly<Record<number, number>>, done = true) =>
      range(page(held, done), page(held), page(held), page({}));
    const taken = await compareRanges([same({ 1: 1 }), same({ 2: 1, 3: 1 }, false), same({ 4: 1 })]);
    expect([taken.ranges, taken.rowCount, taken.after?.key]).toEqual([2, 3, "k3"]);
  });
});
