// What a keyspace does unasked: its one alarm, compaction and the index's batches.
// Guarantees: the alarm rings for what is due first; compaction goes on after each slice, with what waits in between; once writing pauses
// the index is whole. Must not: open a keyspace that is erased.
import type { Desk } from "../src/config/desk.ts";
import { PENDING_INDEX_MS } from "../src/config/limits.ts";

/** Ms. */
const COMPACTION_PAUSE_MS = 0;
/** An alarm further off is set anew when this one rings: the platform takes none behind the year 2189, and a lease may last 285 years. */
const LONGEST_ALARM_MS = 30 * 24 * 3_600_000;

export interface KeyspaceUpkeepOptions {
  readonly storage: DurableObjectStorage;
  /** Undefined = erased. */
  readonly desk: () => Desk | undefined;
  /** One commit; after an exception the object starts anew. */
  readonly write: (run: () => void) => void;
}

export class KeyspaceUpkeep {
  readonly #options: KeyspaceUpkeepOptions;
  #isCompacting = false;
  #isFlushing = false;
  #alarmAtMs = Number.POSITIVE_INFINITY;

  constructor(options: KeyspaceUpkeepOptions) {
    this.#options = options;
  }

  /** The alarm rang. */
  rang(): void {
    this.#alarmAtMs = Number.POSITIVE_INFINITY;
  }

  /** After everything that may have made something due. */
  async schedule(): Promise<void> {
    const desk = this.#options.desk();
    if (!desk) return;
    if (desk.mustCompact && !this.#isCompacting) {
      this.#isCompacting = true;
      setTimeout(() => this.#compact(), COMPACTION_PAUSE_MS);
    }
    if (desk.store.pendingRows > 0 && !this.#isFlushing) {
      this.#isFlushing = true;
      setTimeout(() => this.#flush(), PENDING_INDEX_MS);
    }
    const at = desk.nextDueMs;
    if (at >= this.#alarmAtMs) return;
    this.#alarmAtMs = at;
    await this.#options.storage.setAlarm(Math.min(at, Date.now() + LONGEST_ALARM_MS));
  }

  #flush(): void {
    this.#isFlushing = false;
    const desk = this.#options.desk();
    if (desk) this.#options.write(() => desk.store.flush());
  }

  #compact(): void {
    this.#isCompacting = false;
    const desk = this.#options.desk();
    if (!desk) return;
    this.#options.write(() => desk.compactStep());
    void this.schedule();
  }
}
