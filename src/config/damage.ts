// What of a keyspace's storage was found damaged, and not repaired yet.
// Guarantees: bounded; each damaged place once. Must not: repair (the object does), read storage.
import { CorruptRecord, type DamagedPlace } from "./record.ts";

/** A lease that could not be ended for a damaged key is tried again after this. Ms. */
export const DAMAGED_LEASE_RETRY_MS = 5000;
/** More are found again by the next call that meets them. */
const MAX_PLACES = 1000;

export class Damage {
  readonly #onFound: (error: CorruptRecord) => void;
  #places = new Map<string, DamagedPlace>();
  foundTotal = 0;
  repairedTotal = 0;

  constructor(onFound: (error: CorruptRecord) => void = () => undefined) {
    this.#onFound = onFound;
  }

  found(error: CorruptRecord): void {
    this.foundTotal++;
    const { place } = error;
    if (place && this.#places.size < MAX_PLACES) this.#places.set(JSON.stringify(place), place);
    this.#onFound(error);
  }

  /** Of what has no place to be restored from elsewhere: its row says nothing any more. */
  lost(message: string): void {
    this.found(new CorruptRecord(message));
  }

  takePlaces(): readonly DamagedPlace[] {
    const places = [...this.#places.values()];
    this.#places = new Map();
    return places;
  }
}
