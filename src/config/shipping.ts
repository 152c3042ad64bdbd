// A keyspace's log as it is shipped to followers (src/wire/log-shipping.ts).

import { LogShipping, type ShippedLog } from "../wire/log-shipping.ts";
import type { Head } from "../wire/shipment.ts";
import type { Change, Keyspace } from "./keyspace.ts";
import { SHIPPED_PAGE_BYTES, SHIPPED_TAIL_BYTES } from "./limits.ts";
import type { ConfigStore } from "./store.ts";

/** Rows read at once. */
const MAX_ROWS = 500;

export class Shipping extends LogShipping {
  constructor(store: ConfigStore, keyspace: Keyspace) {
    super(logOf(store, keyspace), { tailBytes: SHIPPED_TAIL_BYTES, pageBytes: SHIPPED_PAGE_BYTES });
  }

  /** Every change of the keyspace passes here, in the turn that made it. */
  onChange(changes: readonly Change[]): void {
    for (const { seq, bytes, record } of changes)
      this.add({ seq, revision: record.revision, bytes, chain: record.chain });
    this.wake();
  }
}

function logOf(store: ConfigStore, keyspace: Keyspace): ShippedLog {
  return {
    get head(): Head {
      const { term, revision, lastSeq: seq, compactedRevision: compacted } = keyspace;
      return { term, revision, seq, compacted };
    },
    get chain(): number {
      return keyspace.chain;
    },
    chainAt: (seq) => store.record(seq)?.chain,
    recordsFrom: (seq, roomBytes) => store.rawLog(seq, store.recordsWithin(seq, MAX_ROWS, roomBytes)),
  };
}
