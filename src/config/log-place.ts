// Where a revision begins in the log, and the log from there on in whole revisions. Records carry their revision and their order is
// that of the revisions, so it is found by bisection: an index would cost each write a row.
// Guarantees: whole revisions, in order, in slices of bounded size (one revision at least).

import type { RevisionChanges } from "./change-tail.ts";
import type { Change } from "./keyspace.ts";
import type { LogRecord } from "./record.ts";

export interface LogSource {
  readonly lastSeq: number;
  /** Records in order from `seq` on. */
  log(seq: number, limit: number): readonly { readonly seq: number; readonly record: LogRecord }[];
}

/** Values are up to 1 MiB: the first query takes few records, the next as many as will likely fit. */
const FIRST_RECORDS = 16;
const MOST_RECORDS = 64;
const RECORD_BYTES = 100;
const NO_BYTES = new Uint8Array(0);

/** The sequence number of the first record of a revision ≥ `revision`; lastSeq + 1 = there is none. */
export function placeOf(source: LogSource, revision: number): number {
  let low = 1;
  let high = source.lastSeq + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const [found] = source.log(middle, 1);
    if (!found || found.record.revision >= revision) high = middle;
    // Compaction leaves gaps: nothing lies between `middle` and what was found.
    else low = found.seq + 1;
  }
  return low;
}

export interface LogSlice {
  readonly revisions: readonly RevisionChanges[];
  /** Where the next slice begins. */
  readonly nextSeq: number;
}

/** The whole revisions that begin at `seq`. Empty only at the end of the log. */
export function readSlice(source: LogSource, seq: number, sliceBytes: number): LogSlice {
  const revisions: { revision: number; changes: Change[] }[] = [];
  let place = seq;
  let bytes = 0;
  let limit = FIRST_RECORDS;
  for (;;) {
    const records = source.log(place, limit);
    for (const { seq: at, record } of records) {
      const last = revisions.at(-1);
      const isNew = last?.revision !== record.revision;
      // A revision is complete once the next begins.
      if (isNew && bytes >= sliceBytes) return { revisions, nextSeq: at };
      const change: Change = { seq: at, bytes: NO_BYTES, record };
      if (isNew) revisions.push({ revision: record.revision, changes: [change] });
      else last!.changes.push(change);
      bytes += record.key.length + record.value.length + RECORD_BYTES;
      place = at + 1;
    }
    if (records.length < limit) return { revisions, nextSeq: source.lastSeq + 1 };
    const average = bytes / revisions.reduce((sum, { changes }) => sum + changes.length, 0);
    limit = Math.max(FIRST_RECORDS, Math.min(MOST_RECORDS, Math.ceil(sliceBytes / average)));
  }
}
