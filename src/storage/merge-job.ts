// Merges adjacent runs into one, in slices: compaction, and the rewriting that erases a tenant.
// Guarantees: newest version wins; readers see the old runs until the one transaction that swaps them; a crash leaves only
// orphans. Rows of erased tenants are dropped; `shouldDrop` is asked only when nothing older than the inputs exists.
// Must not: merge runs that are not adjacent in age (an older version would come back).

import type { Block } from "./block.ts";
import { BlockStream } from "./block-stream.ts";
import type { Job } from "./flush-job.ts";
import { ROW_COST_BYTES } from "./limits.ts";
import { aim, createProbe, decodeKey, rowHi, rowKeyBytes, rowLo, rowTenant, rowValue } from "./row-format.ts";
import { Run, type RunSet } from "./run-set.ts";
import type { EngineState } from "./state.ts";
import { Table } from "./table.ts";
import { TableWriter } from "./table-writer.ts";
import { CorruptBlock, type MergeRequest, type MergeResult } from "./types.ts";

export interface MergeOptions {
  readonly kind: "row" | "record";
  /** Newest first, adjacent in `set`. */
  readonly runs: readonly Run[];
}

/** One run being read: its current block and the next row in it. */
class MergeSource {
  readonly run: Run;
  readonly #stream: BlockStream;
  block: Block | undefined;
  nextRow = 0;

  constructor(state: EngineState, run: Run) {
    this.run = run;
    this.#stream = new BlockStream(state.reader, run);
  }

  /** Loads the next block when the current one is used up. Returns the bytes read. */
  async refill(): Promise<number> {
    if (this.block !== undefined && this.nextRow < this.block.rowCount) return 0;
    if (this.#stream.ended) return 0;
    let next: Block | undefined;
    try {
      next = await this.#stream.next();
    } catch (error) {
      if (error instanceof CorruptBlock) this.run.quarantined = true;
      throw error;
    }
    if (next === undefined) return 0;
    this.block = next;
    this.nextRow = 0;
    return next.sizeBytes;
  }

  get last(): boolean {
    return this.#stream.ended;
  }

  get used(): boolean {
    return this.last && (this.block === undefined || this.nextRow >= this.block.rowCount);
  }
}

export async function* mergeJob(state: EngineState, { kind, runs }: MergeOptions): Job {
  const set = kind === "row" ? state.rows : state.records;
  const writer = new TableWriter(state, {
    job: "merge",
    kind,
    runOrder: runs[0]!.order,
    minMs: Math.min(...runs.map((run) => run.minMs)),
    maxMs: Math.max(...runs.map((run) => run.maxMs)),
  });
  if (state.atFailPoint) await state.atFailPoint("merge.begun");
  try {
    yield* new Merge(state, { kind, runs }, writer).run();
  } catch (error) {
    writer.abandon();
    throw error;
  }
  swapRuns(state, { set, removed: runs, writer });
  state.counters.compactions++;
  if (state.atFailPoint) await state.atFailPoint("merge.applied");
}

function swapRuns(state: EngineState, change: { set: RunSet; removed: readonly Run[]; writer: TableWriter }): void {
  const { set, removed, writer } = change;
  const added = writer.tables();
  state.manifest.apply({ added, removed: removed.flatMap((run) => run.tables.map((table) => table.info)) });
  set.replace(removed, added.length === 0 ? undefined : new Run(added.map((info) => new Table(info))));
}

class Merge {
  readonly #state: EngineState;
  readonly #writer: TableWriter;
  readonly #sources: readonly MergeSource[];
  readonly #mayPurge: boolean;
  #firstRow: MergeRequest["firstRow"] = "check";
  #sliceBytes = 0;

  constructor(state: EngineState, { kind, runs }: MergeOptions, writer: TableWriter) {
    this.#state = state;
    this.#writer = writer;
    this.#sources = runs.map((run) => new MergeSource(state, run));
    const oldest = kind === "row" ? state.rows.runs.at(-1) : undefined;
    this.#mayPurge = state.shouldDrop !== undefined && oldest !== undefined && runs.includes(oldest);
  }

  async *run(): Job {
    const { counters, limits } = this.#state;
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
        yield;
        counters.compactionBytesWritten += await this.#writer.writeTable();
        this.#sliceBytes = limits.sliceBytes;
      }
      if (this.#sliceBytes >= limits.sliceBytes) {
        this.#sliceBytes = 0;
        yield;
      }
    }
    counters.compactionBytesWritten += await this.#writer.writeTable();
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
    this.#state.rowCache.remove(tenant, key);
    const probe = aim(createProbe(key.length * 3), row);
    for (const memtable of this.#state.kept) memtable.forget(probe);
    return "drop";
  }
}

function moved(sources: readonly MergeSource[], result: MergeResult): boolean {
  return sources.some((source, index) => source.nextRow !== result.nextRows[index]);
}
