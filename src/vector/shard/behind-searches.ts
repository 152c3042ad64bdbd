// What a shard does beside searches, a piece at a time: turns of large writes, and what seals, merges and builds.
// Guarantees: one piece a timer, so that all that came meanwhile goes first; while searches come, all pieces together take a bounded share
// of the thread; of the two kinds neither waits for the other to end. Must not: know what a piece does.
import { BEHIND_SHARE, PIECES_A_WRITE_IF_BEHIND, SEARCHED_LATELY_MS } from "./limits.ts";

export type Lane = "write" | "upkeep";

export interface BehindSearchesOptions {
  /** Milliseconds. Where it stands still while code runs (Cloudflare) pieces cost nothing, and only give way to what waits. */
  readonly now: () => number;
  readonly later: (run: () => void, delayMs: number) => void;
  /** Seals and merges do not keep up with what is written. */
  readonly isBehind: () => boolean;
}

export class BehindSearches {
  readonly #options: BehindSearchesOptions;
  readonly #lanes: Readonly<Record<Lane, (() => void)[]>> = { write: [], upkeep: [] };
  #isTimed = false;
  #searchedMs = Number.NEGATIVE_INFINITY;
  /** No piece is begun before. */
  #freeMs = Number.NEGATIVE_INFINITY;
  /** Pieces of upkeep since the last write. */
  #sinceWrite = 0;

  constructor(options: BehindSearchesOptions) {
    this.#options = options;
  }

  /** A search was asked. */
  searched(): void {
    this.#searchedMs = this.#options.now();
  }

  /** `piece` must not throw. */
  add(lane: Lane, piece: () => void): void {
    this.#lanes[lane].push(piece);
    this.#time();
  }

  #time(): void {
    if (this.#isTimed) return;
    this.#isTimed = true;
    const nowMs = this.#options.now();
    const isSearched = nowMs - this.#searchedMs <= SEARCHED_LATELY_MS;
    this.#options.later(() => this.#run(), isSearched ? Math.max(0, this.#freeMs - nowMs) : 0);
  }

  #run(): void {
    const beganMs = this.#options.now();
    this.#next()?.();
    const endedMs = this.#options.now();
    this.#freeMs = endedMs + (endedMs - beganMs) * (1 / BEHIND_SHARE - 1);
    this.#isTimed = false;
    if (this.#lanes.write.length + this.#lanes.upkeep.length > 0) this.#time();
  }

  #next(): (() => void) | undefined {
    const { write, upkeep } = this.#lanes;
    const most = this.#options.isBehind() ? PIECES_A_WRITE_IF_BEHIND : 1;
    if (write.length > 0 && (upkeep.length === 0 || this.#sinceWrite >= most)) {
      this.#sinceWrite = 0;
      return write.shift();
    }
    this.#sinceWrite++;
    return upkeep.shift();
  }
}
