// What a replica holds of a key: read with what purging means for it, written with all that keeps count of it.
// Guarantees: a head (heads.ts) and the digests that are kept (range-digests.ts) are of what was put last. Must not: decide what is put.

import { coversAny } from "../kv/clock.ts";
import { decodeHead, decodeState, EMPTY_STATE, type KeyState } from "../kv/key-state.ts";
import { isDeleted, isPurgeable } from "../kv/purge.ts";
import type { UsageMeter } from "../kv/usage.ts";
import type { RowKey, StorageEngine } from "../storage/types.ts";
import type { Clock } from "../wire/clock.ts";
import type { ReplicaFacts } from "./facts.ts";
import { Heads } from "./heads.ts";
import { MAX_HEAD_VALUE_BYTES } from "./limits.ts";
import { RangeDigests } from "./range-digests.ts";

export interface HeldRowsOptions {
  readonly engine: StorageEngine;
  readonly facts: Pick<ReplicaFacts, "purgeHorizon">;
  readonly usage?: UsageMeter | undefined;
  readonly digestLeafBits?: number | undefined;
}

/** In place of a value that nobody will look at. */
const ZEROS = new Uint8Array(MAX_HEAD_VALUE_BYTES);

export class HeldRows {
  readonly #options: HeldRowsOptions;
  readonly #heads = new Heads();
  readonly digests: RangeDigests;

  constructor(options: HeldRowsOptions) {
    this.#options = options;
    this.digests = new RangeDigests(options.engine, options.digestLeafBits);
  }

  isPurged(bytes: Uint8Array): boolean {
    return isPurgeable(bytes, this.#options.facts.purgeHorizon());
  }

  /** What is held, where it is not purged. */
  seen(row: RowKey, willPut = false): Uint8Array | undefined {
    const bytes = this.#options.engine.get(row, willPut);
    return bytes && !this.isPurged(bytes) ? bytes : undefined;
  }

  /**
   * What a stamp is put upon. A purged state that is still stored is superseded by whatever is written: others may not have heard
   * that it is purged, and would keep it beside the new version.
   */
  state(row: RowKey, willPut = false): KeyState {
    const bytes = this.#options.engine.get(row, willPut);
    if (!bytes) return EMPTY_STATE;
    const state = decodeState(bytes);
    return this.isPurged(bytes) ? { clock: state.clock, unsettled: [], versions: [] } : state;
  }

  /** As {@link state}, with zeros for the value, where that is in memory and a write with this clock replaces all that is held. */
  replaced(row: RowKey, clock: Clock | undefined): KeyState | undefined {
    const head = this.#heads.find(row);
    if (!head) return undefined;
    const state = decodeHead(head, ZEROS);
    return !clock || coversAny(clock, state.versions[0]!.dots) ? state : undefined;
  }

  put(
    row: RowKey,
    bytes: Uint8Array,
    { before, after }: { readonly before: KeyState; readonly after: KeyState },
  ): void {
    this.#options.engine.put(row, bytes, isDeleted(after));
    this.digests.touch(row.token.hi);
    this.#options.usage?.changed(row, before, after);
    const [version, ...others] = after.versions;
    const valueBytes = version?.value?.length ?? 0;
    if (valueBytes === 0 || valueBytes > MAX_HEAD_VALUE_BYTES || others.length > 0) this.#heads.forget(row);
    else this.#heads.put(row, bytes.subarray(0, bytes.length - valueBytes), before.versions.length > 0);
  }

  /** In place of what is stored, whatever that is; its usage counts already, or no more. */
  replace(row: RowKey, bytes: Uint8Array, purgeable: boolean): void {
    this.#options.engine.put(row, bytes, purgeable);
    this.digests.touch(row.token.hi);
    this.#heads.forget(row);
  }
}
