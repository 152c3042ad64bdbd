// Time of the tests with shards that place rows. Test only.
import { vi } from "vitest";

/** Timers in their order, without waiting: those of the test framework yield to the machine at each. */
export class Clock {
  #nowMs = 1_800_000_000_000;
  #next = 0;
  readonly #timers = new Map<number, { readonly atMs: number; readonly run: () => void }>();

  constructor() {
    vi.spyOn(Date, "now").mockImplementation(() => this.#nowMs);
    vi.stubGlobal("setTimeout", (run: () => void, ms = 0) => {
      this.#timers.set(++this.#next, { atMs: this.#nowMs + ms, run });
      return this.#next;
    });
    vi.stubGlobal("clearTimeout", (id: number) => void this.#timers.delete(id));
  }

  /** Runs until it is done. */
  async finished<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    done.catch(() => undefined);
    const until = this.#nowMs + 600_000;
    for (;;) {
      await new Promise((resolve) => void setImmediate(resolve));
      if (isDone) return done;
      const [first, ...others] = this.#timers;
      if (!first || this.#nowMs > until) throw new Error("it does not end");
      let [id, next] = first;
      for (const [other, timer] of others) if (timer.atMs < next.atMs) [id, next] = [other, timer];
      this.#timers.delete(id);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
    }
  }
}
