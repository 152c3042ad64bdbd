// Counters of one engine, bumped where things happen and read by stats(). Must not: be reset.

/** Totals since the engine opened. */
export interface Counters {
  blockCacheHits: number;
  blockCacheMisses: number;
  bloomSkips: number;
  commits: number;
  commitBytes: number;
  flushes: number;
  flushBytes: number;
  compactions: number;
  compactionBytesRead: number;
  compactionBytesWritten: number;
  corruptBlocks: number;
  purgedRows: number;
  scrubbedBlocks: number;
  scrubbedBytes: number;
}

export function createCounters(): Counters {
  return {
    blockCacheHits: 0,
    blockCacheMisses: 0,
    bloomSkips: 0,
    commits: 0,
    commitBytes: 0,
    flushes: 0,
    flushBytes: 0,
    compactions: 0,
    compactionBytesRead: 0,
    compactionBytesWritten: 0,
    corruptBlocks: 0,
    purgedRows: 0,
    scrubbedBlocks: 0,
    scrubbedBytes: 0,
  };
}
