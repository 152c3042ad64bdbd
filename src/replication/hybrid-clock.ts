// Hybrid logical clock: physical milliseconds and a counter in one safe integer (ms * 2048 + count, good until the year 2109).
// Source: Kulkarni et al., "Logical Physical Clocks" (2014). Guarantees: `next` is above everything returned, observed or passed
// in before. Must not: follow a clock that is further ahead than the caller allows.
export const TICKS_PER_MS = 2048;

export class HybridClock {
  readonly #now: () => number;
  #last = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** The latest time returned or observed. */
  get last(): number {
    return this.#last;
  }

  /** Physical time plus `leadMs`, as hybrid time. */
  physical(leadMs: number): number {
    return (this.#now() + leadMs) * TICKS_PER_MS;
  }

  next(above: number): number {
    this.#last = Math.max(this.#last + 1, above + 1, this.physical(0));
    return this.#last;
  }

  /** Takes note of a time stamped elsewhere, unless it is absurdly ahead. */
  observe(time: number, maxLeadMs: number): void {
    if (time > this.#last && time <= this.physical(maxLeadMs)) this.#last = time;
  }
}
