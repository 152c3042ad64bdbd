// Who waits for a change of an object's view.
// Guarantees: each wait ends, by a change or by its time. Must not: know what changed.
import { atMost } from "./keyspace-answers.ts";

/** Questions that may wait at once; one more is answered as if its time were over. */
const MAX_WAITS = 10_000;

export class ViewWaits {
  readonly #waiting = new Set<() => void>();

  /** Something may have changed. */
  wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Until `wake`. */
  next(waitMs: number): Promise<void> {
    if (this.#waiting.size >= MAX_WAITS) return Promise.resolve();
    return atMost(waitMs, (wake) => {
      const done = (): void => {
        this.#waiting.delete(done);
        wake();
      };
      this.#waiting.add(done);
      return () => this.#waiting.delete(done);
    });
  }
}
