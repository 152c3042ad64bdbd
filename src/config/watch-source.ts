// A keyspace as its watches see it. Must not: write.
import type { Keyspace } from "./keyspace.ts";
import { CorruptRecord } from "./record.ts";
import type { ConfigStore } from "./store.ts";
import type { WatchSource } from "./watch-hub-options.ts";

/** `onDamaged`: the previous version of a change cannot be read; the change is told without it. */
export function watchSource(
  { keyspace, store }: { readonly keyspace: Keyspace; readonly store: ConfigStore },
  onDamaged: (error: CorruptRecord) => void = () => undefined,
): WatchSource {
  return {
    get revision() {
      return keyspace.revision;
    },
    get term() {
      return keyspace.term;
    },
    get compactedRevision() {
      return keyspace.compactedRevision;
    },
    get lastSeq() {
      return keyspace.lastSeq;
    },
    log: (seq, limit) => store.log(seq, limit),
    endedBy: (change) => {
      try {
        return keyspace.endedBy(change);
      } catch (error) {
        if (!(error instanceof CorruptRecord)) throw error;
        onDamaged(error);
        return undefined;
      }
    },
  };
}
