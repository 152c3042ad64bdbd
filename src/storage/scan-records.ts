// Records in the order of their ids' hashes across memtables and runs, page by page, for streaming to another store.
// Guarantees: each record that was there when the page began, once, as its latest answer; a page is bounded in records.
// Must not: fill the block cache.

import type { Memtable } from "./memtable.ts";
import { recordHi, recordLo, WRITE_ID_BYTES } from "./record-index.ts";
import {
  type Buffer,
  compareRows,
  compareToProbe,
  createProbe,
  type Probe,
  rowHi,
  rowKeyBytes,
  rowTenant,
  rowValue,
} from "./row-format.ts";
import { leastOf, RunSource, type Source, stepPast } from "./scan.ts";
import type { EngineState } from "./state.ts";
import type { RecordKey, RecordPage, RecordScanOptions } from "./types.ts";

/** The records of one memtable within a range of hashes, sorted once: a narrow range keeps it small. */
class MemtableRecords implements Source {
  readonly #found: { readonly buffer: Buffer; readonly offset: number }[] = [];
  #next = 0;
  buffer!: Buffer;
  offset = 0;

  constructor({ arena, records }: Memtable, fromHash: number, toHash: number) {
    for (let slot = 0; slot < records.slotCount; slot++) {
      const position = records.positionAt(slot);
      if (position < 0) continue;
      const buffer = arena.bufferAt(position);
      const offset = arena.offsetAt(position);
      const hi = rowHi(buffer, offset);
      if (hi >= fromHash && hi <= toHash) this.#found.push({ buffer, offset });
    }
    this.#found.sort((a, b) => compareRows(a.buffer, a.offset, b.buffer, b.offset));
  }

  step(): boolean {
    const found = this.#found[this.#next++];
    if (found === undefined) return false;
    this.buffer = found.buffer;
    this.offset = found.offset;
    return true;
  }
}

function startOf(after: RecordKey | undefined, fromHash: number): Probe {
  const from = createProbe(WRITE_ID_BYTES);
  from.hi = fromHash;
  if (after === undefined) return from;
  from.hi = recordHi(after.writeId);
  from.lo = recordLo(after.writeId);
  from.tenant = after.tenant;
  from.key.set(after.writeId);
  from.keyBytes = WRITE_ID_BYTES;
  return from;
}

/** One page. Throws CorruptBlock, or the blob store's error. */
export async function recordPage(state: EngineState, options: RecordScanOptions): Promise<RecordPage> {
  const { after, fromHash, toHash, limitRows } = options;
  const from = startOf(after, fromHash);
  const memtables = [state.active, ...[...state.frozen].reverse()];
  const candidates: Source[] = [
    ...memtables.map((memtable) => new MemtableRecords(memtable, from.hi, toHash)),
    ...state.records.runs.map((run) => new RunSource(state, run, { from, pastCorrupt: undefined })),
  ];
  const sources: Source[] = [];
  for (const source of candidates) if (await source.step()) sources.push(source);
  const records: RecordPage["records"][number][] = [];
  for (;;) {
    const best = leastOf(sources);
    if (best === undefined || rowHi(best.buffer, best.offset) > toHash) return { records, done: true };
    const { buffer, offset } = best;
    const order = compareToProbe(buffer, offset, from);
    const tenant = rowTenant(buffer, offset);
    if ((order > 0 || (order === 0 && after === undefined)) && !state.erased.all.has(tenant)) {
      if (records.length >= limitRows) return { records, done: false };
      const writeId = rowKeyBytes(buffer, offset).slice();
      records.push({ key: { tenant, writeId }, answer: rowValue(buffer, offset).slice() });
    }
    await stepPast(sources, buffer, offset);
  }
}
