// Which adjacent runs to merge next: size-tiered for rows, by age for records. Pure.
// Guarantees: only adjacent runs are chosen; the number of runs stays bounded. Must not: look inside tables.

/** What the policy sees of a run. */
export interface RunShape {
  readonly sizeBytes: number;
  readonly minMs: number;
  readonly maxMs: number;
  readonly quarantined: boolean;
}

/** Indexes [from, to) into the runs, newest first. */
export interface RunRange {
  readonly from: number;
  readonly to: number;
}

export interface RowPolicy {
  /** Least number of runs worth a merge. */
  readonly fanIn: number;
  readonly maxRuns: number;
}

/** A run joins a merge when it is at most this much larger than all newer ones in it together. */
const SIZE_RATIO = 1.25;

/**
 * Size-tiered: the newest stretch of ≥ fanIn runs where each is no larger than 1.25 × the newer ones together. Above maxRuns the
 * cheapest stretch that brings the number back.
 */
export function pickRowMerge(runs: readonly RunShape[], { fanIn, maxRuns }: RowPolicy): RunRange | undefined {
  for (let from = 0; from + fanIn <= runs.length; from++) {
    const to = similarUntil(runs, from);
    if (to - from >= fanIn) return { from, to };
  }
  if (runs.length <= maxRuns) return undefined;
  return cheapest(runs, Math.max(fanIn, runs.length - maxRuns + 1));
}

function similarUntil(runs: readonly RunShape[], from: number): number {
  if (runs[from]!.quarantined) return from;
  let sum = runs[from]!.sizeBytes;
  let to = from + 1;
  for (; to < runs.length; to++) {
    const { sizeBytes, quarantined } = runs[to]!;
    if (quarantined || sizeBytes > sum * SIZE_RATIO) break;
    sum += sizeBytes;
  }
  return to;
}

function cheapest(runs: readonly RunShape[], count: number): RunRange | undefined {
  let best: RunRange | undefined;
  let bestBytes = Number.POSITIVE_INFINITY;
  for (let from = 0; from + count <= runs.length; from++) {
    const window = runs.slice(from, from + count);
    if (window.some((run) => run.quarantined)) continue;
    const bytes = window.reduce((sum, run) => sum + run.sizeBytes, 0);
    if (bytes >= bestBytes) continue;
    bestBytes = bytes;
    best = { from, to: from + count };
  }
  return best;
}

export interface RecordPolicy {
  readonly fanIn: number;
  readonly retentionMs: number;
}

/** Merged record runs span at most this part of the retention, so that whole runs still expire in time. */
const RECORD_SPAN_PARTS = 8;

/** The newest stretch of ≥ fanIn similar record runs whose times together span at most an eighth of the retention. */
export function pickRecordMerge(runs: readonly RunShape[], { fanIn, retentionMs }: RecordPolicy): RunRange | undefined {
  for (let from = 0; from + fanIn <= runs.length; from++) {
    const similar = similarUntil(runs, from);
    let to = from;
    let minMs = Number.POSITIVE_INFINITY;
    let maxMs = Number.NEGATIVE_INFINITY;
    for (; to < similar; to++) {
      minMs = Math.min(minMs, runs[to]!.minMs);
      maxMs = Math.max(maxMs, runs[to]!.maxMs);
      if (maxMs - minMs > retentionMs / RECORD_SPAN_PARTS) break;
    }
    if (to - from >= fanIn) return { from, to };
  }
  return undefined;
}

/** Record runs all of whose records are older than the retention. */
export function expiredRuns<Shape extends RunShape>(
  runs: readonly Shape[],
  { retentionMs, nowMs }: { retentionMs: number; nowMs: number },
): Shape[] {
  return runs.filter((run) => run.maxMs + retentionMs < nowMs);
}
