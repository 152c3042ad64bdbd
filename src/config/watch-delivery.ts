// The changes of one revision, to the watches of an index that want them. Watches that want the same share a batch, so that its bytes
// are made once. Guarantees: one queued batch a watch and revision. Must not: send.
import type { KeyValue } from "../wire/config.ts";
import type { RevisionChanges } from "./change-tail.ts";
import type { Change } from "./keyspace.ts";
import { Batch } from "./watch-batch.ts";
import type { Watch, WatchConnection } from "./watch-connection.ts";
import type { WatchIndex } from "./watch-index.ts";

export interface DeliverySource {
  readonly term: number;
  endedBy(change: Change): KeyValue | undefined;
}

export class WatchDelivery {
  readonly #source: DeliverySource;
  /** Connections with events to send. */
  readonly dirty = new Set<WatchConnection>();
  eventsTotal = 0;

  constructor(source: DeliverySource) {
    this.#source = source;
  }

  deliver(index: WatchIndex<Watch>, { revision, changes }: RevisionChanges): void {
    const batches = new Map<string, Batch>();
    if (changes.length === 1) {
      const [change] = changes;
      index.match(change!.record.key, (watch) => {
        if (wants(watch, change!, revision)) this.#queue(watch, batches, { revision, changes, of: "" });
      });
      return;
    }
    const found = new Map<Watch, number[]>();
    for (const [at, change] of changes.entries()) {
      index.match(change.record.key, (watch) => {
        if (!wants(watch, change, revision)) return;
        const places = found.get(watch);
        if (places) places.push(at);
        else found.set(watch, [at]);
      });
    }
    for (const [watch, places] of found) {
      const isAll = places.length === changes.length;
      const own = isAll ? changes : places.map((at) => changes[at]!);
      this.#queue(watch, batches, { revision, changes: own, of: isAll ? "" : places.join() });
    }
  }

  /** `of`: names the events within the revision. */
  #queue(watch: Watch, batches: Map<string, Batch>, found: RevisionChanges & { readonly of: string }): void {
    const { prevKv, fragment, connection } = watch;
    const name = `${prevKv ? "p" : ""}${fragment ? "f" : ""}${found.of}`;
    let batch = batches.get(name);
    if (!batch) {
      const header = { revision: found.revision, term: this.#source.term };
      const endedBy = (change: Change): KeyValue | undefined => this.#source.endedBy(change);
      batch = new Batch({ header, changes: found.changes, prevKv, fragment, endedBy });
      batches.set(name, batch);
    }
    this.eventsTotal += found.changes.length;
    if (connection.queue(batch, watch.id)) this.dirty.add(connection);
  }
}

function wants(watch: Watch, { record }: Change, revision: number): boolean {
  return revision >= watch.next && !(record.type === "put" ? watch.noPut : watch.noDelete);
}
