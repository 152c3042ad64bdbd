// Watches by how far they are: one convoy of those that are up to date, and one for each revision at which others are behind.
// Guarantees: a convoy that is behind goes on in slices, from memory or from the log, until it meets the next one, which it joins; what
// it delivers has no gap to what it delivered before. Must not: send.
//
// Invariant: a watch is in exactly one convoy, or its connection waits. The live convoy got everything up to the keyspace's revision,
// every other one everything below its `next`.
import type { ChangeTail, RevisionChanges } from "./change-tail.ts";
import { type LogSource, placeOf, readSlice } from "./log-place.ts";
import type { WatchBounds } from "./watch-budget.ts";
import type { Convoy, Watch, WatchConnection } from "./watch-connection.ts";
import type { WatchDelivery } from "./watch-delivery.ts";
import { WatchIndex } from "./watch-index.ts";

export interface WatchConvoysOptions {
  readonly source: LogSource & { readonly revision: number };
  readonly tail: ChangeTail;
  readonly delivery: WatchDelivery;
  readonly bounds: WatchBounds;
  /** A watch of the connection fell behind (1) or is up to date again (-1). */
  readonly onLagging: (connection: WatchConnection, by: number) => void;
}

export class WatchConvoys {
  readonly live: Convoy = { next: Number.POSITIVE_INFINITY, seq: undefined, index: new WatchIndex() };
  readonly #options: WatchConvoysOptions;
  /** Those that are behind, by their `next`. */
  readonly #behind = new Map<number, Convoy>();
  #turn = 0;
  /** Slices read from the log. */
  logSlicesTotal = 0;

  constructor(options: WatchConvoysOptions) {
    this.#options = options;
  }

  get isBehind(): boolean {
    return this.#behind.size > 0;
  }

  /** Puts a watch where it has got everything below `next`. */
  place(watch: Watch, next: number): void {
    watch.next = next;
    if (next > this.#options.source.revision) {
      watch.convoy = this.live;
      return this.live.index.add(watch);
    }
    let convoy = this.#behind.get(next);
    if (!convoy) {
      convoy = { next, seq: undefined, index: new WatchIndex() };
      this.#behind.set(next, convoy);
    }
    watch.convoy = convoy;
    convoy.index.add(watch);
    this.#options.onLagging(watch.connection, 1);
  }

  /**
   * The convoy to go on with, until `settle`. Whoever can go on from memory comes first, the hindmost of them: it takes the others along.
   * Those that need the log have every other turn.
   */
  pick(): Convoy | undefined {
    let near: Convoy | undefined;
    let far: Convoy | undefined;
    for (const convoy of this.#behind.values()) {
      if (this.#options.tail.from(convoy.next, 0)) {
        if (!near || convoy.next < near.next) near = convoy;
      } else if (!far || convoy.next < far.next) far = convoy;
    }
    this.#turn++;
    const picked = (this.#turn % 2 === 0 ? near : far) ?? near ?? far;
    if (picked) this.#behind.delete(picked.next);
    return picked;
  }

  /** One slice. */
  advance(convoy: Convoy): void {
    let until = Number.POSITIVE_INFINITY;
    for (const next of this.#behind.keys()) if (next > convoy.next) until = Math.min(until, next);
    const begin = convoy.next;
    const { revisions, nextSeq } = this.#read(convoy);
    convoy.seq = nextSeq;
    const { sliceBytes } = this.#options.bounds;
    let bytes = 0;
    for (const entry of revisions) {
      if (entry.revision >= until || bytes >= sliceBytes) {
        convoy.seq = entry.changes[0]!.seq;
        break;
      }
      this.#options.delivery.deliver(convoy.index, entry);
      convoy.next = entry.revision + 1;
      for (const { record } of entry.changes) bytes += record.value.length;
    }
    if (convoy.next === begin) throw new Error(`the log has nothing from revision ${begin} on`);
  }

  /** Puts the picked convoy back where it is now; gives the connections with watches that are up to date now. */
  settle(convoy: Convoy): ReadonlySet<WatchConnection> {
    const caughtUp = new Set<WatchConnection>();
    if (convoy.index.size === 0) return caughtUp;
    const isLive = convoy.next > this.#options.source.revision;
    const into = isLive ? this.live : this.#behind.get(convoy.next);
    if (!into) {
      this.#behind.set(convoy.next, convoy);
      return caughtUp;
    }
    for (const watch of [...convoy.index.items()]) {
      watch.convoy = into;
      into.index.add(watch);
      if (!isLive) continue;
      this.#options.onLagging(watch.connection, -1);
      caughtUp.add(watch.connection);
    }
    return caughtUp;
  }

  #read(convoy: Convoy): { readonly revisions: readonly RevisionChanges[]; readonly nextSeq: number | undefined } {
    const { source, tail, bounds } = this.#options;
    const revisions = tail.from(convoy.next, bounds.sliceRevisions);
    if (revisions) return { revisions, nextSeq: undefined };
    this.logSlicesTotal++;
    return readSlice(source, convoy.seq ?? placeOf(source, convoy.next), bounds.sliceBytes);
  }
}
