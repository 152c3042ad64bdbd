// Merges adjacent runs into one, in slices: compaction, and the rewriting that erases a tenant.
// Guarantees: newest version wins. It happens in parts, in row order: one transaction adds a part's tables to the newest run, removes
// the input tables that gave all their rows and clips those that gave some, so that the space of a merge is that of a part, and a
// crash or a stop between parts leaves whole runs behind, and orphans for the sweep. Rows of erased tenants are dropped; `shouldDrop` is asked only when nothing older than the inputs exists.
// Must not: merge runs that are not adjacent in age (an older version would come back).

import type { Job } from "./flush-job.ts";
import { MAX_MERGE_PARTS, ROW_COST_BYTES } from "./limits.ts";
import { MergeSource } from "./merge-source.ts";
import { aim, createProbe, decodeKey, rowHi, rowKeyBytes, rowLo, rowTenant, rowValue } from "./row-format.ts";
import { Run, type RunSet } from "./run-set.ts";
import type { EngineState } from "./state.ts";
import { Table } from "./table.ts";
import { TableWriter } from "./table-writer.ts";
import type { MergeRequest, MergeResult } from "./types.ts";

export interface MergeOptions {
  readonly kind: "row" | "record";
  /** Newest first, adjacent in age. */
  readonly runs: readonly Run[];
  /** Asked between parts, with what the runs have become: true = something else must be done first. */
  readonly shouldStop?: (runs: readonly Run[]) => boolean;
}

/** Merges `runs`. Ends early, with all that was merged so far in the manifest, when `shouldStop` says so after a part. */
export async function* mergeJob(state: EngineState, options: MergeOptions): Job {
  const merge = new Merge(state, options);
  if (state.atFailPoint) await state.atFailPoint("merge.begun");
  try {
    yield* merge.run();
    state.counters.compactions++;
  } catch (error) {
    merge.abandon();
    throw error;
  }
}

/** Tables of the newest run that end before every other run begins: an interrupted merge wrote them, and they are merged already. */
function mergedBefore(runs: readonly Run[]): number {
  const [newest, ...others] = runs;
  if (newest === undefined || others.length === 0) return 0;
  const isBefore = ({ info }: Table): boolean =>
    others.every(({ tables }) => {
      const { hi, lo } = tables[0]!.first;
      return info.lastHi < hi || (info.lastHi === hi && info.lastLo < lo);
    });
  const count = newest.tables.findIndex((table) => !isBefore(table));
  return count < 0 ? newest.tables.length : count;
}

class Merge {
  readonly #state: EngineState;
  readonly #options: MergeOptions;
  readonly #writer: TableWriter;
  readonly #set: RunSet;
  readonly #sources: readonly MergeSource[];
  readonly #mayPurge: boolean;
  /** Bytes of tables that make a part: so many that the parts are few, and their space a small share. */
  readonly #partBytes: number;
  /** The merged tables, before those of the newest run that are still to be merged. */
  #merged: Table[];
  /** What is in no filter in one of the inputs, is in none in the output. */
  readonly #seenFrom: number;
  #firstRow: MergeRequest["firstRow"] = "check";
  #sliceBytes = 0;

  constructor(state: EngineState, options: MergeOptions) {
    const { kind, runs } = options;
    this.#state = state;
    this.#options = options;
    this.#set = kind === "row" ? state.rows : state.records;
    this.#writer = new TableWriter(state, {
      job: "merge",
      kind,
      runOrder: runs[0]!.order,
      minMs: Math.min(...runs.map((run) => run.minMs)),
      maxMs: Math.max(...runs.map((run) => run.maxMs)),
    });
    this.#seenFrom = Math.min(...runs.map((run) => run.seenFrom));
    const skipped = mergedBefore(runs);
    this.#merged = runs[0]!.tables.slice(0, skipped);
    this.#sources = runs.map((run, index) => new MergeSource(state, run, index === 0 ? skipped : 0));
    this.#partBytes = runs.reduce((sum, run) => sum + run.sizeBytes, 0) / MAX_MERGE_PARTS;
    const oldest = kind === "row" ? state.rows.runs.at(-1) : undefined;
    this.#mayPurge = state.shouldDrop !== undefined && oldest !== undefined && runs.includes(oldest);
  }

  async *run(): Job {
    const { counters, limits, atFailPoint } = this.#state;
    for (;;) {
      for (const source of this.#sources) {
        const read = await source.refill();
        counters.compactionBytesRead += read;
        this.#sliceBytes += read;
      }
      const sources = this.#sources.filter((source) => !source.used);
      if (sources.length === 0) break;
      this.#step(sources);
      if (this.#writer.full) {
        yield* this.#write();
        if (this.#writer.writtenBytes >= this.#partBytes) {
          this.#apply();
          if (atFailPoint) await atFailPoint("merge.partApplied");
          if (this.#options.shouldStop?.(this.#runs())) return;
        }
        this.#sliceBytes = limits.sliceBytes;
      }
      if (this.#sliceBytes >= limits.sliceBytes) {
        this.#sliceBytes = 0;
        yield;
      }
    }
    yield* this.#write();
    this.#apply();
    if (atFailPoint) await atFailPoint("merge.applied");
  }

  async *#write(): Job {
    this.#state.counters.compactionBytesWritten += yield* this.#writer.writeTable();
  }

  #runs(): Run[] {
    return this.#sources.flatMap(({ run }) => (run === undefined ? [] : [run]));
  }

  /**
   * Makes what was merged so far true, when nothing that was read is unwritten: the new tables take their place before what is left
   * of the newest run, and every input begins where the merge has come to. So both parts are whole runs, whatever happens next.
   */
  #apply(): void {
    const rests = this.#sources.map((source) => source.rest());
    const added = this.#writer.takeTables();
    const retired = rests.flatMap(({ removed }) => removed);
    const clipped = rests.flatMap((rest) => rest.clipped);
    this.#state.manifest.apply({ added, removed: retired.map(({ info }) => info), clipped });
    const merged = added.map((info) => new Table(info, this.#state.clock()));
    for (const table of merged) table.seenFrom = this.#seenFrom;
    this.#merged = [...this.#merged, ...merged];
    const removed = this.#runs();
    rests.forEach((rest, index) => {
      const tables = index === 0 ? [...this.#merged, ...rest.tables] : rest.tables;
      this.#sources[index]!.keep(rest, tables.length === 0 ? undefined : new Run(tables));
    });
    this.#set.replace({ removed, added: this.#runs(), retired });
  }

  /** The job failed. What was applied stands. */
  abandon(): void {
    this.#writer.abandon();
  }

  #step(sources: readonly MergeSource[]): void {
    const { builder } = this.#writer;
    const { kernels, erased } = this.#state;
    const result = kernels.mergeBlocks({
      inputs: sources.map(({ block, nextRow, last }) => ({ bytes: block!.u8, nextRow, last })),
      limitBytes: builder.blockRoomBytes,
      force: builder.blockEmpty,
      dropTenants: Uint32Array.from(erased.pending).sort(),
      stopAtFlagged: this.#mayPurge,
      firstRow: this.#firstRow,
    });
    builder.appendMerged(result);
    this.#sliceBytes += result.offsets.length * ROW_COST_BYTES;
    if (result.stop === "limit") builder.cutBlock();
    // An answer given to a flagged row is used by the first row the kernel passes; before that it stands.
    if (result.offsets.length > 0 || result.stop === "flagged" || moved(sources, result)) this.#firstRow = "check";
    sources.forEach((source, index) => {
      source.nextRow = result.nextRows[index]!;
    });
    if (result.stop === "flagged") this.#firstRow = this.#judge(sources[result.flaggedInput]!);
  }

  #judge({ block, nextRow }: MergeSource): "keep" | "drop" {
    const offset = block!.offsetAt(nextRow);
    const tenant = rowTenant(block!, offset);
    const key = decodeKey(rowKeyBytes(block!, offset));
    const token = { hi: rowHi(block!, offset), lo: rowLo(block!, offset) };
    const row = { token, tenant, key };
    if (!this.#state.shouldDrop!(row, rowValue(block!, offset))) return "keep";
    this.#state.rowCache.remove(token);
    const probe = aim(createProbe(key.length * 3), row);
    for (const memtable of this.#state.kept) memtable.forget(probe);
    this.#state.counters.purgedRows++;
    return "drop";
  }
}

function moved(sources: readonly MergeSource[], result: MergeResult): boolean {
  return sources.some((source, index) => source.nextRow !== result.nextRows[index]);
}
