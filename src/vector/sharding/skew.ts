// How unequal a database's shards are, and when rows are placed anew for it though nobody asked. Pure; `ask` reaches the shards.
import type { VectorAnswer, VectorRequest } from "../../wire/vector.ts";
import { RESPLIT_AGAIN_MS, RESPLIT_GROWTH } from "./limits.ts";

/** Rows of each shard. @throws where a shard does not answer */
export function rowCounts(
  ask: (shard: number, request: VectorRequest) => Promise<VectorAnswer>,
  shards: number,
): Promise<readonly number[]> {
  return Promise.all(
    Array.from({ length: shards }, async (_, shard) => {
      const answer = await ask(shard, { kind: "count" });
      if (answer.kind === "count") return answer.count;
      throw new Error(`shard ${shard} does not count: ${JSON.stringify(answer)}`);
    }),
  );
}

/** The greatest shard's rows by the mean of `shards`; of no rows 1. */
export function skewOf(counts: readonly number[], shards: number): number {
  const rows = sumOf(counts);
  return rows === 0 ? 1 : (Math.max(...counts) * shards) / rows;
}

export function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

/** When it was asked for last, and how many rows there were. */
export interface AskedResplit {
  readonly rows: number;
  readonly atMs: number;
}

/** It may have gained nothing (rows that are alike stay together): not again before there is reason to hope. */
export function isDueAgain(last: AskedResplit | undefined, rows: number, nowMs: number): boolean {
  if (!last || nowMs - last.atMs >= RESPLIT_AGAIN_MS) return true;
  return Math.abs(rows - last.rows) >= last.rows * RESPLIT_GROWTH;
}
