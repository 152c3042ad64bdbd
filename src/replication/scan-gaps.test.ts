// Which keys of a page too few replicas can tell: marks of one node, judgement over all.
import { describe, expect, it } from "vitest";
import { Ring } from "../cluster/ring.ts";
import { tokenOf } from "../cluster/token.ts";
import {
  compareRows,
  type Gap,
  type GappyPage,
  joinPages,
  readScanPage,
  UNREADABLE,
  writeScanPage,
} from "./scan-frames.ts";
import { lostOf } from "./scan-gaps.ts";

const TENANT = 7;
const ring = new Ring(
  [1, 2, 3].map((number) => ({
    number,
    id: `n${number}`,
    zone: `z${number}`,
    weight: 1,
    state: "active" as const,
    incarnation: 1,
  })),
);
const rows = Array.from({ length: 300 }, (_, i) => `k${i}`)
  .map((key) => ({ tenant: TENANT, token: tokenOf(TENANT, key), key }))
  .sort(compareRows);
// A state of format 1 is not needed here: what is judged is who can tell, so every value is one byte that nobody decodes.
const VALUE = Uint8Array.of(1);
const WHOLE: Gap = { from: { hi: 0, lo: 0 }, to: { hi: 0xffff_ffff, lo: 0xffff_ffff } };

function pagesOf(factor: number, damaged: Readonly<Record<string, readonly Gap[]>>): Map<string, GappyPage> {
  const inGap = (gaps: readonly Gap[], hi: number) => gaps.some(({ from, to }) => from.hi <= hi && hi <= to.hi);
  return new Map(
    ["n1", "n2", "n3"].map((id) => {
      const gaps = damaged[id] ?? [];
      const held = rows.filter(({ token }) => ring.replicas(token, factor).read.includes(id));
      return [
        id,
        {
          rows: held.filter(({ token }) => !inGap(gaps, token.hi)).map((row) => ({ row, value: VALUE })),
          done: true,
          gaps,
        },
      ];
    }),
  );
}

function judge(factor: number, pages: Map<string, GappyPage>) {
  const all = [...new Map([...pages.values()].flatMap((page) => page.rows).map(({ row }) => [row.key, row])).values()];
  const joined = { rows: all.map((row) => ({ row, state: undefined as never })), after: undefined };
  return lostOf({ pages, joined, after: undefined, ring, replicationFactor: factor });
}

describe("what an export lacks", () => {
  it("[RP-91] nothing while no node has a gap, nor where a majority of each key's replicas can tell", () => {
    expect(judge(1, pagesOf(1, {}))).toBeUndefined();
    expect(judge(3, pagesOf(3, { n1: [WHOLE] }))).toBeUndefined();
    const apart: Gap[] = [
      { from: { hi: 0, lo: 0 }, to: { hi: 0x4000_0000, lo: 0 } },
      { from: { hi: 0xc000_0000, lo: 0 }, to: WHOLE.to },
    ];
    expect(judge(3, pagesOf(3, { n1: [apart[0]!], n2: [apart[1]!] }))).toBeUndefined();
  });

  it("[RP-91] with one replica: the node's own range, and no key of another node", () => {
    const lost = judge(1, pagesOf(1, { n2: [WHOLE] }))!;
    expect(lost.rows.size).toBe(0);
    expect(lost.ranges).toEqual([{ nodeId: "n2", ...WHOLE }]);
  });

  it("[RP-91] keys that only too few replicas tell are named and not shown", () => {
    const pages = pagesOf(3, { n1: [WHOLE], n2: [WHOLE] });
    expect(judge(3, pages)!.rows.size).toBe(rows.length);
    // Two of three tell again of one key: it was written since.
    pages.set("n1", { ...pages.get("n1")!, rows: [{ row: rows[0]!, value: VALUE }] });
    const lost = judge(3, pages)!;
    expect(lost.rows.size).toBe(rows.length - 1);
    expect([...lost.rows].some(({ key }) => key === rows[0]!.key)).toBe(false);
    expect(lost.ranges.map(({ nodeId }) => nodeId).sort()).toEqual(["n1", "n2"]);
  });

  it("[RP-91] a gap and a node that is away add up", () => {
    const pages = pagesOf(3, { n1: [WHOLE] });
    pages.delete("n3");
    expect(judge(3, pages)!.rows.size).toBe(rows.length);
  });

  it("[RP-91] a page carries its gaps, and rows that the node cannot read end a page as others do", () => {
    const page = { rows: [{ row: rows[0]!, value: UNREADABLE }], done: false, gaps: [WHOLE] };
    expect(readScanPage(writeScanPage(page))).toEqual(page);
    const joined = joinPages([page]);
    expect(joined.after).toEqual(rows[0]);
    expect(joined.rows[0]!.state.versions).toEqual([]);
  });
});
