// What a crash run of the configuration store counts, filled in by its loads.

export interface ConfigCrashResult {
  acknowledged: number;
  kills: number;
  /** From the kill to a server that answers. */
  slowestStartMs: number;
  revisions: number;
  webhookRequests: number;
  /** Events that came again. */
  webhookRepeats: number;
  leasesEnded: number;
  /** How long after its time the end of a lease was seen, at most and at least. */
  latestLeaseMs: number;
  earliestLeaseMs: number;
  locks: number;
  readonly problems: string[];
}
