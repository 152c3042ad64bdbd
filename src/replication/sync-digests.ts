// The digests of several replicas' pages, row by row. Pure.
import type { RowKey } from "../storage/types.ts";
import { compareRows } from "./scan-frames.ts";
import type { Page, RowDigest } from "./sync-frames.ts";

export function sameDigest(a: RowDigest | undefined, b: RowDigest | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a.hi === b.hi && a.lo === b.lo);
}

export interface JoinedDigests {
  /** For each row the digests in the order of the pages; undefined where it is missing. */
  readonly rows: readonly (readonly (RowDigest | undefined)[])[];
  /** Where the next page starts after; undefined = nothing follows. */
  readonly after: RowKey | undefined;
}

/** A page ends where the slowest one ends, so that nothing is passed over. */
export function joinDigests(pages: readonly Page[]): JoinedDigests {
  let after: RowKey | undefined;
  for (const page of pages) {
    const last = page.rows.at(-1)?.row;
    if (!page.done && last && (!after || compareRows(last, after) < 0)) after = last;
  }
  const rows: (RowDigest | undefined)[][] = [];
  const at = pages.map(() => 0);
  for (;;) {
    let least: RowKey | undefined;
    for (const [i, page] of pages.entries()) {
      const row = page.rows[at[i]!]?.row;
      if (row && (!least || compareRows(row, least) < 0)) least = row;
    }
    if (!least || (after && compareRows(least, after) > 0)) return { rows, after };
    const key = least;
    rows.push(
      pages.map((page, i) => {
        const digest = page.rows[at[i]!];
        if (!digest || compareRows(digest.row, key) !== 0) return undefined;
        at[i]!++;
        return digest;
      }),
    );
  }
}
