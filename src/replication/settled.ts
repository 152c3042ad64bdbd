// Stamps known to have reached a majority: the latest of each actor.
// Guarantees: of each actor the last MAX_SETTLED_REMEMBERED / 2 that were added are known, and never more than MAX_SETTLED_REMEMBERED
// are held. Must not: forget one by one; the front of a large Set is slow to reach once much was deleted there.
import { MAX_SETTLED_REMEMBERED } from "../kv/limits.ts";
import type { Dot } from "../wire/clock.ts";

const GENERATION = MAX_SETTLED_REMEMBERED / 2;

interface Generations {
  young: Set<number>;
  old: Set<number>;
}

export class SettledStamps {
  readonly #byActor = new Map<number, Generations>();

  add(actor: number, counters: readonly number[]): void {
    let known = this.#byActor.get(actor);
    if (!known) {
      known = { young: new Set(), old: new Set() };
      this.#byActor.set(actor, known);
    }
    for (const counter of counters) {
      if (known.young.size >= GENERATION) {
        known.old = known.young;
        known.young = new Set();
      }
      known.young.add(counter);
    }
  }

  has({ actor, counter }: Dot): boolean {
    const known = this.#byActor.get(actor);
    return known !== undefined && (known.young.has(counter) || known.old.has(counter));
  }
}
