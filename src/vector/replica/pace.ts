// How fast a copy that is being filled takes its leader's segments: not faster than it may, so that whoever writes and searches hardly notices.

export interface PaceOptions {
  /** 0 = as fast as it can. */
  readonly bytesPerSecond: number;
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

/** To be told of each part that came; resolves when the next one may. */
export function paceOf({ bytesPerSecond, now, sleep }: PaceOptions): (bytes: number) => Promise<void> {
  const sinceMs = now();
  let sum = 0;
  return async (bytes) => {
    if (bytesPerSecond === 0) return;
    sum += bytes;
    const leftMs = sinceMs + (sum * 1000) / bytesPerSecond - now();
    if (leftMs > 0) await sleep(leftMs);
  };
}
