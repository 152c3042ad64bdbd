// When work that goes on behind searches pauses: after a measured time, and after so many units where the clock stands still while code
// runs (Cloudflare). Pure; the clock is given.

/** Of one uninterrupted piece of work behind searches. Ms. */
export const SLICE_MS = 2;

export class Slice {
  readonly #now: () => number;
  readonly #most: number;
  #left = 0;
  #endMs = 0;

  /** `most`: units between two pauses, however fast they are. `now`: milliseconds. */
  constructor(now: () => number, most: number) {
    this.#now = now;
    this.#most = most;
  }

  /** Call after each unit: true = pause now. The time of the pause itself does not count. */
  isOver(): boolean {
    if (this.#left === 0) {
      this.#left = this.#most;
      this.#endMs = this.#now() + SLICE_MS;
    }
    this.#left--;
    if (this.#left > 0 && this.#now() < this.#endMs) return false;
    this.#left = 0;
    return true;
  }
}
