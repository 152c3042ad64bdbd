// Writes the oldest frozen memtable as tables, in slices. A yield ends a slice.
// Guarantees: reads see the memtable until the one transaction that adds the tables and covers the log rows.
// Must not: touch newer memtables.

import { BucketOrder } from "./bucket-order.ts";
import { ROW_COST_BYTES } from "./limits.ts";
import type { Memtable } from "./memtable.ts";
import { rowBytes, rowTenant } from "./row-format.ts";
import { Run, type RunSet } from "./run-set.ts";
import type { EngineState } from "./state.ts";
import { Table, type TableInfo } from "./table.ts";
import { TableWriter } from "./table-writer.ts";

/** Rows filed into buckets per slice (~50 ns each). */
const FILED_ROWS_PER_SLICE = 20_000;

/** A job of maintenance: each `next` is one slice. */
export type Job = AsyncGenerator<void, void, void>;

export async function* flushJob(state: EngineState, memtable: Memtable): Job {
  const { minMs, maxMs, lastSeq: runOrder } = memtable;
  const rows = new TableWriter(state, { job: "flush", kind: "row", runOrder, minMs, maxMs });
  const records = new TableWriter(state, { job: "flush", kind: "record", runOrder, minMs, maxMs });
  if (state.atFailPoint) await state.atFailPoint("flush.frozen");
  try {
    let order = memtable.ordered(FILED_ROWS_PER_SLICE);
    for (; order === undefined; order = memtable.ordered(FILED_ROWS_PER_SLICE)) yield;
    yield* writeOrdered(state, memtable, { order, writer: rows, positionOf: memtable.positionOf });
    const recordOrder = yield* orderRecords(memtable);
    yield* writeOrdered(state, memtable, { order: recordOrder, writer: records, positionOf: (position) => position });
  } catch (error) {
    rows.abandon();
    records.abandon();
    throw error;
  }
  const rowTables = rows.takeTables();
  const recordTables = records.takeTables();
  state.manifest.apply({ added: [...rowTables, ...recordTables], removed: [], logThrough: memtable.lastSeq });
  state.log.cover(memtable.lastSeq);
  addRun(state.rows, rowTables, { nowMs: state.clock(), seenFrom: memtable.seenRowsFrom });
  addRun(state.records, recordTables, { nowMs: state.clock(), seenFrom: memtable.seenRecordsFrom });
  state.frozen.splice(state.frozen.indexOf(memtable), 1);
  state.kept.push(memtable);
  if (state.kept.length > state.limits.keptMemtables) state.kept.shift();
  state.counters.flushes++;
  if (state.atFailPoint) await state.atFailPoint("flush.applied");
}

function addRun(set: RunSet, added: readonly TableInfo[], made: { nowMs: number; seenFrom: number }): void {
  if (added.length === 0) return;
  const tables = added.map((info) => new Table(info, made.nowMs));
  for (const table of tables) table.seenFrom = made.seenFrom;
  set.replace({ removed: [], added: [new Run(tables)], retired: [] });
}

interface OrderedRows {
  readonly order: BucketOrder;
  readonly writer: TableWriter;
  readonly positionOf: (item: number) => number;
}

async function* writeOrdered(state: EngineState, memtable: Memtable, options: OrderedRows): Job {
  const { order, writer, positionOf } = options;
  const { arena } = memtable;
  let sliceBytes = 0;
  for (let bucket = 0; bucket < order.bucketCount; bucket++) {
    for (const position of order.sorted(bucket, positionOf)) {
      const buffer = arena.bufferAt(position);
      const offset = arena.offsetAt(position);
      if (state.erased.all.has(rowTenant(buffer, offset))) continue;
      writer.builder.appendRow(buffer, offset);
      sliceBytes += rowBytes(buffer, offset) + ROW_COST_BYTES;
      if (writer.full) {
        state.counters.flushBytes += yield* writer.writeTable();
        sliceBytes = state.limits.sliceBytes;
      }
      if (sliceBytes >= state.limits.sliceBytes) {
        sliceBytes = 0;
        yield;
      }
    }
  }
  const lastBytes = yield* writer.writeTable();
  state.counters.flushBytes += lastBytes;
  if (lastBytes > 0) yield;
}

async function* orderRecords(memtable: Memtable): AsyncGenerator<void, BucketOrder, void> {
  const { records, arena } = memtable;
  const order = new BucketOrder(arena, Math.max(1, records.count));
  for (let slot = 0; slot < records.slotCount; slot++) {
    const position = records.positionAt(slot);
    if (position >= 0) order.add(position, position);
    if (slot % (FILED_ROWS_PER_SLICE * 2) === FILED_ROWS_PER_SLICE * 2 - 1) yield;
  }
  return order;
}
