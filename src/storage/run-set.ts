// The sorted runs of one kind (rows or records), newest first. A run is one or more tables with disjoint, ascending ranges.
// Guarantee: find returns the newest version. Must not: do SQL; the manifest is the truth, this is its image in memory.

import type { Probe } from "./row-format.ts";
import type { MissingSection, Table, TableReader } from "./table.ts";
import { compareKeyToProbe } from "./table-meta.ts";

export class Run {
  readonly order: number;
  /** Ascending ranges. */
  readonly tables: readonly Table[];
  /** High words of each table's first and last token: what a search looks at, close together in memory. */
  readonly #firstHis: Uint32Array;
  readonly #lastHis: Uint32Array;
  readonly sizeBytes: number;
  readonly rowCount: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** The least of its tables: see {@link Table.seenFrom}. */
  readonly seenFrom: number;
  /** Not merged any more since a block of it is unreadable (until the range was repaired or the engine opens again). */
  quarantined = false;

  constructor(tables: readonly Table[]) {
    const first = tables[0];
    if (first === undefined) throw new Error("a run has at least one table");
    this.order = first.info.runOrder;
    this.tables = tables;
    this.#firstHis = Uint32Array.from(tables, (table) => table.info.firstHi);
    this.#lastHis = Uint32Array.from(tables, (table) => table.info.lastHi);
    this.sizeBytes = tables.reduce((sum, table) => sum + table.info.sizeBytes, 0);
    this.rowCount = tables.reduce((sum, table) => sum + table.info.rowCount, 0);
    this.minMs = tables.reduce((least, table) => Math.min(least, table.info.minMs), Number.POSITIVE_INFINITY);
    this.maxMs = tables.reduce((most, table) => Math.max(most, table.info.maxMs), Number.NEGATIVE_INFINITY);
    this.seenFrom = tables.reduce((least, table) => Math.min(least, table.seenFrom), Number.POSITIVE_INFINITY);
  }

  /** The only table that can hold the probed row: the last one that does not begin after it. -1 when none. */
  tableFor(probe: Probe): number {
    const hi = probe.hi;
    const firstHis = this.#firstHis;
    let low = 0;
    let high = firstHis.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (firstHis[middle]! > hi) high = middle;
      else low = middle + 1;
    }
    return low > 0 && firstHis[low - 1] === hi ? this.#tableByKey(probe) : low - 1;
  }

  /** As {@link tableFor}, by the whole key: a table begins with the probed high word. */
  #tableByKey(probe: Probe): number {
    let low = 0;
    let high = this.tables.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (beginsAfter(this.tables[middle]!, probe)) high = middle;
      else low = middle + 1;
    }
    return low - 1;
  }

  /** True when the probed row is after the end of this table. */
  endsBefore(table: number, probe: Probe): boolean {
    const lastHi = this.#lastHis[table]!;
    return lastHi < probe.hi || (lastHi === probe.hi && this.tables[table]!.info.lastLo < probe.lo);
  }
}

function byFirstRow(a: Table, b: Table): number {
  return beginsAfter(a, b.first) ? 1 : -1;
}

function beginsAfter({ info }: Table, probe: Probe): boolean {
  if (info.firstHi !== probe.hi) return info.firstHi > probe.hi;
  if (info.firstLo !== probe.lo) return info.firstLo > probe.lo;
  if (info.firstTenant !== probe.tenant) return info.firstTenant > probe.tenant;
  return compareKeyToProbe(info.firstKey, probe) > 0;
}

export interface RunChange {
  readonly removed: readonly Run[];
  readonly added: readonly Run[];
  readonly retired: readonly Table[];
}

export class RunSet {
  readonly #reader: TableReader;
  /** Newest first. */
  runs: readonly Run[] = [];
  sizeBytes = 0;
  rowCount = 0;
  tableCount = 0;
  /** The least of its runs; Infinity where there is none. */
  seenFrom = Number.POSITIVE_INFINITY;

  constructor(reader: TableReader, tables: readonly Table[]) {
    this.#reader = reader;
    const byOrder = new Map<number, Table[]>();
    for (const table of tables) {
      const run = byOrder.get(table.info.runOrder);
      if (run === undefined) byOrder.set(table.info.runOrder, [table]);
      else run.push(table);
    }
    this.#set([...byOrder.values()].map((run) => new Run(run.sort(byFirstRow))));
  }

  #set(runs: Run[]): void {
    this.runs = runs.sort((a, b) => b.order - a.order);
    this.sizeBytes = runs.reduce((sum, run) => sum + run.sizeBytes, 0);
    this.rowCount = runs.reduce((sum, run) => sum + run.rowCount, 0);
    this.tableCount = runs.reduce((sum, run) => sum + run.tables.length, 0);
    this.seenFrom = runs.reduce((least, run) => Math.min(least, run.seenFrom), Number.POSITIVE_INFINITY);
  }

  /** Swaps runs for others and forgets tables that are in none any more. */
  replace({ removed, added, retired }: RunChange): void {
    this.#set([...this.runs.filter((run) => !removed.includes(run)), ...added]);
    for (const table of retired) this.#reader.retire(table);
  }

  /** See {@link TableReader.find}. Looks only into runs that began before `before`; see {@link SeenFilter.before}. */
  find(probe: Probe, before: number, missing?: MissingSection[]): Uint8Array | undefined {
    const runs = this.runs;
    for (let i = 0; i < runs.length; i++) {
      const run = runs[i]!;
      if (run.seenFrom >= before) continue;
      const index = run.tableFor(probe);
      if (index < 0 || run.endsBefore(index, probe)) continue;
      const table = run.tables[index]!;
      const missed = missing?.length;
      const value = this.#reader.find(table, probe, missing);
      if (value !== undefined) return value;
      if (missing !== undefined && missing.length !== missed) return undefined;
    }
    return undefined;
  }
}
