// Removes what no read can ask for any more: versions that ended at or before the compacted revision, and old deletions.
// Guarantees: walks the log once, in slices; the place it has reached is durable in the same turn; repeating a slice is harmless.
// Must not: touch a version that is alive at the compacted revision. The log of that revision itself stays, for watches from it.
import { COMPACTION_SLICE_RECORDS } from "./limits.ts";
import type { ConfigStore } from "./store.ts";

const PLACE = "compactionSeq";

export class Compactor {
  readonly #store: ConfigStore;
  #place: number;
  /** Up to where nothing is left to do. */
  #doneRevision = 0;
  removedTotal = 0;

  constructor(store: ConfigStore) {
    this.#store = store;
    this.#place = store.fact(PLACE);
  }

  /** One slice; true when nothing is left to do up to `compactedRevision`. */
  step(compactedRevision: number): boolean {
    if (compactedRevision === this.#doneRevision) return true;
    const isDone = this.#slice(compactedRevision);
    if (isDone) this.#doneRevision = compactedRevision;
    return isDone;
  }

  #slice(compactedRevision: number): boolean {
    // The index is read from the log at a start: what is not in its tables yet must not lose records.
    this.#store.flush();
    const isMore = this.#store.dropOldestEnded(compactedRevision);
    const records = this.#store.log(this.#place, COMPACTION_SLICE_RECORDS);
    let place = this.#place;
    for (const { seq, record } of records) {
      if (record.revision > compactedRevision) {
        this.#moveTo(place);
        return !isMore;
      }
      if (record.endedSeq > 0) {
        this.#store.dropRecord(record.endedSeq);
        this.removedTotal++;
      }
      // The place stays at the first record of the compacted revision: its deletions go with the next compaction.
      if (record.revision === compactedRevision) continue;
      if (record.type === "delete") this.#store.dropRecord(seq);
      place = seq + 1;
    }
    this.#moveTo(place);
    return !isMore && records.length < COMPACTION_SLICE_RECORDS;
  }

  #moveTo(place: number): void {
    if (place === this.#place) return;
    this.#place = place;
    this.#store.setFact(PLACE, place);
  }
}
