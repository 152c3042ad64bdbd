// Reads stored tables in their turn, so that a block which nobody asks for is found damaged while other replicas still hold its rows.
// Guarantees: every table is read whole within the period (or as fast as the rate allows); where it stands survives restarts.
// Must not: fill the caches, nor read what a merge took out of a table.

import type { Job } from "./flush-job.ts";
import { SCRUB_PAUSE_MS } from "./limits.ts";
import type { EngineState } from "./state.ts";
import type { Table } from "./table.ts";
import { CorruptBlock } from "./types.ts";

/** When to read which table. */
export class ScrubSchedule {
  readonly #state: EngineState;
  /** No table is due before this: those that come later are younger. */
  #nextMs: number;
  #startedMs = 0;

  constructor(state: EngineState) {
    this.#state = state;
    this.#nextMs = (this.#oldest()?.scrubbedMs ?? state.clock()) + state.limits.scrubPeriodMs;
  }

  /** When the next table may be due; undefined = never. */
  get nextMs(): number | undefined {
    const { limits, rows, records } = this.#state;
    if (limits.scrubPeriodMs === 0 || rows.tableCount + records.tableCount === 0) return undefined;
    return Math.max(this.#nextMs, this.#startedMs + SCRUB_PAUSE_MS);
  }

  get due(): boolean {
    const { nextMs } = this;
    return nextMs !== undefined && nextMs <= this.#state.clock();
  }

  /** Age of the oldest reading. Ms. */
  get oldestAgeMs(): number {
    const oldest = this.#oldest();
    return oldest === undefined ? 0 : Math.max(0, this.#state.clock() - oldest.scrubbedMs);
  }

  #oldest(): Table | undefined {
    let oldest: Table | undefined;
    for (const { runs } of [this.#state.rows, this.#state.records])
      for (const { tables } of runs)
        for (const table of tables) if (oldest === undefined || table.scrubbedMs < oldest.scrubbedMs) oldest = table;
    return oldest;
  }

  next(): Job | undefined {
    if (!this.due) return undefined;
    const { limits, clock } = this.#state;
    const oldest = this.#oldest();
    if (oldest === undefined) return undefined;
    this.#nextMs = oldest.scrubbedMs + limits.scrubPeriodMs;
    if (this.#nextMs > clock()) return undefined;
    this.#startedMs = clock();
    return scrubJob(this.#state, oldest);
  }
}

async function* scrubJob(state: EngineState, table: Table): Job {
  const { reader, counters, limits, clock, manifest } = state;
  const isReadable = await unlessCorrupt(() => reader.checkMeta(table));
  if (isReadable) {
    const meta = await reader.readMeta(table);
    let sliceBytes = 0;
    for (let block = Math.max(0, meta.blockFor(table.first)); block < meta.blockCount && !table.retired; block++) {
      if (table.discarded.has(block)) continue;
      await unlessCorrupt(() => reader.checkBlock(table, meta, block));
      counters.scrubbedBlocks++;
      counters.scrubbedBytes += meta.lengths[block]!;
      sliceBytes += meta.lengths[block]!;
      if (sliceBytes < limits.sliceBytes) continue;
      sliceBytes = 0;
      yield;
    }
  }
  if (table.retired) return;
  table.scrubbedMs = clock();
  manifest.scrubbed(table.info.name, table.scrubbedMs);
}

/** The reader counts and reports what it finds. */
async function unlessCorrupt(check: () => Promise<void>): Promise<boolean> {
  try {
    await check();
    return true;
  } catch (error) {
    if (!(error instanceof CorruptBlock)) throw error;
    return false;
  }
}
