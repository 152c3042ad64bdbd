// Byte-bounded cache bookkeeping by the CLOCK algorithm: a hit sets one flag, nothing moves.
// Guarantees: bytes held ≤ limit after every add, except for pinned entries. Must not: look entries up (the owner does).

/** What the cache keeps track of. The owner finds it by its own structure and forgets it in `evicted`. */
export interface CacheEntry {
  readonly sizeBytes: number;
  /** Set by the owner on a hit. */
  touched: boolean;
  /** Not evicted before this time; 0 = not pinned. */
  pinnedUntilMs: number;
  /** Kept by the cache. */
  cacheIndex: number;
  evicted(): void;
}

export class ClockCache<Entry extends CacheEntry> {
  readonly #limitBytes: number;
  readonly #clock: () => number;
  readonly #ring: Entry[] = [];
  #hand = 0;
  bytes = 0;

  constructor(limitBytes: number, clock: () => number) {
    this.#limitBytes = limitBytes;
    this.#clock = clock;
  }

  /** Largest entry worth keeping: one entry must not push out most others. */
  get maxEntryBytes(): number {
    return this.#limitBytes / 4;
  }

  add(entry: Entry): void {
    entry.cacheIndex = this.#ring.push(entry) - 1;
    this.bytes += entry.sizeBytes;
    if (this.bytes > this.#limitBytes) this.#shrink(entry);
  }

  /** Forgets an entry without calling its `evicted`. */
  remove(entry: Entry): void {
    const last = this.#ring.pop()!;
    if (last !== entry) {
      this.#ring[entry.cacheIndex] = last;
      last.cacheIndex = entry.cacheIndex;
    }
    entry.cacheIndex = -1;
    this.bytes -= entry.sizeBytes;
  }

  #shrink(added: Entry): void {
    // Two rounds: the first clears the flags, the second evicts; pinned entries survive both.
    for (let steps = this.#ring.length * 2; steps > 0 && this.bytes > this.#limitBytes; steps--) {
      if (this.#hand >= this.#ring.length) this.#hand = 0;
      const entry = this.#ring[this.#hand]!;
      if (entry === added || entry.touched || this.#pinned(entry)) {
        entry.touched = false;
        this.#hand++;
        continue;
      }
      this.remove(entry);
      entry.evicted();
    }
  }

  #pinned(entry: Entry): boolean {
    return entry.pinnedUntilMs !== 0 && entry.pinnedUntilMs > this.#clock();
  }
}
