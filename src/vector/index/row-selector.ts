// What tells which rows may be near a query without comparing them: lists of an IVF index, or hash tables.

import type { Arena, Pointer } from "../arena.ts";
import type { IndexSection, PreparedQuery } from "./segment-index.ts";

export interface Selection {
  /** Lists or buckets to read; undefined = the default. */
  readonly probes: number | undefined;
  /** Live rows wanted at least. */
  readonly least: number;
  /** Bitmaps, 0 where there is none. */
  readonly allowed: Pointer;
  readonly deleted: Pointer;
  /** The bitmap of the selected rows, cleared before. */
  readonly marked: Pointer;
}

export interface RowSelector {
  readonly count: number;
  readonly memoryBytes: number;
  /** Sets the bits of live rows that may be near. Returns how many it set. */
  select(query: PreparedQuery, selection: Selection): number;
  /** The first section is its header. */
  save(): readonly IndexSection[];
  release(): void;
}

/** Sets the bits of those rows that are live. Returns how many were not set before. */
export function markRows({ u32 }: Arena, rows: Uint32Array, { allowed, deleted, marked }: Selection): number {
  const [allow, gone, mark] = [allowed / 4, deleted / 4, marked / 4];
  let count = 0;
  for (const row of rows) {
    const [word, bit] = [row >> 5, 1 << (row & 31)];
    if (allow !== 0 && (u32[allow + word]! & bit) === 0) continue;
    if (gone !== 0 && (u32[gone + word]! & bit) !== 0) continue;
    if ((u32[mark + word]! & bit) !== 0) continue;
    u32[mark + word]! |= bit;
    count++;
  }
  return count;
}
