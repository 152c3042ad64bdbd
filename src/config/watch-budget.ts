// How much watches may hold: of the past in memory, of what clients have not read, of the log in one slice.
// Guarantees: what nobody was asked about yet is at most a quarter of what all may leave unread, while connections are few enough.
import * as limits from "./limits.ts";

/** Tests use smaller ones. Bytes; `sliceRevisions` counts. */
export interface WatchBounds {
  readonly tailBytes: number;
  readonly windowBytes: number;
  readonly unreadBytes: number;
  readonly leastUnmarkedBytes: number;
  readonly mostUnmarkedBytes: number;
  readonly sliceBytes: number;
  readonly sliceRevisions: number;
}

export const WATCH_BOUNDS: WatchBounds = {
  tailBytes: limits.CHANGE_TAIL_BYTES,
  windowBytes: limits.WATCH_WINDOW_BYTES,
  unreadBytes: limits.MAX_UNREAD_WATCH_BYTES,
  leastUnmarkedBytes: limits.LEAST_UNMARKED_BYTES,
  mostUnmarkedBytes: limits.MOST_UNMARKED_BYTES,
  sliceBytes: limits.WATCH_SLICE_BYTES,
  sliceRevisions: limits.WATCH_SLICE_REVISIONS,
};

/** What all connections leave unread, and how often each is asked what it has read. */
export class UnreadBudget {
  readonly bounds: WatchBounds;
  unreadBytes = 0;
  connectionCount = 0;

  constructor(bounds: WatchBounds) {
    this.bounds = bounds;
  }

  get isFull(): boolean {
    return this.unreadBytes >= this.bounds.unreadBytes;
  }

  /** Connections that wait for others to read may go on: not at the first byte, or they would come and go one by one. */
  get isRoomy(): boolean {
    return this.unreadBytes < this.bounds.unreadBytes * 0.75;
  }

  /** A connection is asked what it has read after so many bytes. */
  get unmarkedBytes(): number {
    const { unreadBytes, leastUnmarkedBytes, mostUnmarkedBytes } = this.bounds;
    const share = unreadBytes / 4 / Math.max(1, this.connectionCount);
    return Math.max(leastUnmarkedBytes, Math.min(mostUnmarkedBytes, share));
  }
}
