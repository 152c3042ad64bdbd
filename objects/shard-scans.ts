// Scans of all rows of a shard, in slices between other calls.
// Guarantees: so many at a time; one whose shard is closed meanwhile ends. Must not: hold up the searches beside it.
import type { AwayBlocks } from "../src/vector/segment/away.ts";
import type { ShardDesk } from "../src/vector/shard/shard-desk.ts";
import { NO_SUCH_SHARD, type VectorAnswer, type VectorCall, type VectorFailure } from "../src/wire/vector.ts";
import { QUEUE_FULL } from "./shard-refusals.ts";

/** Scans for a threshold that go on in slices at a time: each holds what it has found. */
const MAX_SCANS = 16;

export interface ShardScansOptions {
  readonly desk: () => ShardDesk | undefined;
  /** What must be here before it goes on; gives why it cannot be. */
  readonly fetch: (away: AwayBlocks) => Promise<VectorFailure | undefined>;
  /** What waited for it may be swept now. */
  readonly onDone: () => void;
}

export class ShardScans {
  readonly #options: ShardScansOptions;
  #scans = 0;

  constructor(options: ShardScansOptions) {
    this.#options = options;
  }

  async run(desk: ShardDesk, call: VectorCall): Promise<VectorAnswer> {
    if (this.#scans >= MAX_SCANS) return { ...QUEUE_FULL, message: `${MAX_SCANS} scans are under way at the shard` };
    this.#scans++;
    const work = desk.runInSlices(call);
    try {
      for (;;) {
        const step = work.next();
        if (step.done) return step.value;
        if (step.value) {
          const lacking = await this.#options.fetch(step.value);
          if (lacking) return lacking;
          // Before what was fetched has to make room for what others fetch.
          if (this.#options.desk() === desk) continue;
        }
        await new Promise((next) => setTimeout(next, 0));
        if (this.#options.desk() !== desk) return NO_SUCH_SHARD;
      }
    } finally {
      work.return(NO_SUCH_SHARD);
      this.#scans--;
      this.#options.onDone();
    }
  }
}
