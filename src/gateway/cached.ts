// A costly observation, made at most once in a while however often it is asked for.
// Guarantees: while one request observes, others get the last result or wait for this one by polling: a promise of another
// request cannot be awaited in workerd. Must not: be used for anything that may differ between callers.

const POLL_MS = 25;

export class Cached<T> {
  readonly #ttlMs: number;
  readonly #now: () => number;
  #held: { readonly value: T; readonly atMs: number } | undefined;
  #runningUntilMs = 0;

  constructor(ttlMs: number, now: () => number) {
    this.#ttlMs = ttlMs;
    this.#now = now;
  }

  /** `limitMs` = the longest that `observe` takes by its own deadlines. */
  async get(limitMs: number, observe: () => Promise<T>): Promise<T> {
    if (this.#isFresh()) return this.#held!.value;
    while (this.#now() < this.#runningUntilMs) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      if (this.#isFresh()) return this.#held!.value;
    }
    this.#runningUntilMs = this.#now() + limitMs;
    try {
      const value = await observe();
      this.#held = { value, atMs: this.#now() };
      return value;
    } finally {
      this.#runningUntilMs = 0;
    }
  }

  #isFresh(): boolean {
    return this.#held !== undefined && this.#now() - this.#held.atMs < this.#ttlMs;
  }
}
