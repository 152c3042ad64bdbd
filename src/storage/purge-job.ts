// Looks through all tables for rows that may be dropped, and merges the tables into one without them where that is worth it.
// Guarantees: as for any merge; a slice is bounded. Must not: begin while a memtable is being flushed.

import { BlockStream } from "./block-stream.ts";
import type { Job } from "./flush-job.ts";
import { PURGE_ROWS_PART } from "./limits.ts";
import { mergeJob } from "./merge-job.ts";
import { decodeKey, FLAG_PURGEABLE, rowHi, rowKeyBytes, rowLo, rowTenant, rowValue } from "./row-format.ts";
import type { Run } from "./run-set.ts";
import type { EngineState } from "./state.ts";
import { CorruptBlock } from "./types.ts";

/** Rows of the tables that `shouldDrop` would drop. (One that a newer table overwrites counts too.) */
async function* countDroppable(state: EngineState): AsyncGenerator<void, number, void> {
  const { reader, rows, shouldDrop, limits } = state;
  let count = 0;
  let sliceBytes = 0;
  for (const run of rows.runs) {
    const stream = new BlockStream(reader, run);
    for (let block = await readNext(stream, run); block !== undefined; block = await readNext(stream, run)) {
      for (let row = 0; row < block.rowCount; row++) {
        const offset = block.offsetAt(row);
        if ((block.u8[offset + 1]! & FLAG_PURGEABLE) === 0) continue;
        const token = { hi: rowHi(block, offset), lo: rowLo(block, offset) };
        const key = decodeKey(rowKeyBytes(block, offset));
        if (shouldDrop!({ token, tenant: rowTenant(block, offset), key }, rowValue(block, offset))) count++;
      }
      sliceBytes += block.sizeBytes;
      if (sliceBytes < limits.sliceBytes) continue;
      sliceBytes = 0;
      yield;
    }
  }
  return count;
}

async function readNext(stream: BlockStream, run: Run): ReturnType<BlockStream["next"]> {
  try {
    return await stream.next();
  } catch (error) {
    if (error instanceof CorruptBlock) run.quarantined = true;
    throw error;
  }
}

/** `shouldStop`: as for a merge. */
export async function* purgeJob(state: EngineState, shouldStop: (left: readonly Run[]) => boolean): Job {
  const { rows, limits } = state;
  // What cannot be read may hide an older version: its rows go with a later purge, once it is healed.
  if (state.shouldDrop === undefined || rows.runs.length === 0 || rows.runs.some((run) => run.quarantined)) return;
  const count = yield* countDroppable(state);
  const isWorthIt = count * PURGE_ROWS_PART >= rows.rowCount || rows.sizeBytes <= limits.purgeAlwaysBytes;
  if (count > 0 && isWorthIt) yield* mergeJob(state, { kind: "row", runs: [...rows.runs], shouldStop });
}
