// The leader's side of a shard's copies: what one that is at some place must be given, its segments and their blobs.
// Guarantees: nothing leaves that is not in the log; a copy is told when it has what this leader never had, under a term above its own.
// Must not: know followers; each names its place with every request.
import type { SyncBlobStore } from "../../storage/types.ts";
import { LogShipping, type ShippedLog } from "../../wire/log-shipping.ts";
import { forAll } from "../segment/away.ts";
import { type Crc32c, type DamagedBlock, writeDirectory } from "../segment/directory.ts";
import type { VectorStore } from "../shard/vector-store.ts";
import { type BlobAsk, blobsOf, damagedBlocks } from "./blob-checks.ts";
import type { CopyPlace, CopyShipment, ShippedManifest } from "./frames.ts";
import { MAX_SHIPPED_BYTES, SHIPPED_PAGE_BYTES, SHIPPED_TAIL_BYTES } from "./limits.ts";

/** Commits read from the log at once. */
const MAX_COMMITS = 500;

export interface CopyLeaderOptions {
  readonly store: VectorStore;
  readonly blobs: Pick<SyncBlobStore, "getSync">;
  readonly crc32c: Crc32c;
  /** A random number of 32 bits, of this start. */
  readonly start: number;
  /** Told of each commit that is logged. */
  readonly onLogged?: (() => void) | undefined;
}

export class CopyLeader {
  readonly #options: CopyLeaderOptions;
  readonly #shipping: LogShipping;

  constructor(options: CopyLeaderOptions) {
    this.#options = options;
    const { store } = options;
    this.#shipping = new LogShipping(logOf(store), { tailBytes: SHIPPED_TAIL_BYTES, pageBytes: SHIPPED_PAGE_BYTES });
    store.log.onCommit = (commit) => {
      this.#shipping.add(commit);
      this.#shipping.wake();
      options.onLogged?.();
    };
  }

  /** The list of segments has changed. */
  wake(): void {
    this.#shipping.wake();
  }

  /** Calls back once, when there is something new. The result takes that back. */
  atNextChange(wake: () => void): () => void {
    return this.#shipping.atNextChange(wake);
  }

  /** Nothing is new for it: it may wait. */
  isUpToDate({ seq, chain, manifestVersion, ...seen }: CopyPlace): boolean {
    const { store, start } = this.#options;
    const { last } = store.log;
    const isAtEnd = seq === last.revision && chain === last.chain;
    return isAtEnd && seen.term === store.term && seen.start === start && manifestVersion === store.manifestVersion;
  }

  /** What it has is a beginning of this log, as far as that can be told. */
  isOfThisLog({ seq, chain }: CopyPlace): boolean {
    return this.#shipping.isOfThisLog({ seq, chain });
  }

  next({ seq, chain, term, start: seen }: CopyPlace): CopyShipment {
    const { store, start, crc32c } = this.#options;
    const from = { seq, chain };
    const isDiverged = this.#isDiverged(from);
    // What it has of its term is not this leader's, or may not be: terms are counted on from there.
    const isOtherStart = term > store.term || (term === store.term && term > 0 && seen !== start);
    if (isOtherStart || (isDiverged && term >= store.term)) store.term = term + 1;
    const given = this.#shipping.next(from);
    const isTooLarge = given.kind === "records" && bytesOf(given.records) > MAX_SHIPPED_BYTES;
    const shipment = isTooLarge ? ({ kind: "startOver", head: given.head } as const) : given;
    const records = shipment.kind === "records" ? shipment.records : [];
    const end = records.reduce((value, { bytes }) => crc32c(bytes, value), chain);
    return { from, chain: end, manifestVersion: store.manifestVersion, start, isDiverged, shipment };
  }

  /** A place that is only too old to be compared is not diverged. */
  #isDiverged({ seq, chain }: { seq: number; chain: number }): boolean {
    const { log } = this.#options.store;
    if (seq > log.last.revision) return true;
    const known = log.chainAt(seq);
    return seq > 0 && known !== undefined && known !== chain;
  }

  /** Ends the turn: rows are marked as deleted by commits of the log only. */
  manifest(): ShippedManifest {
    const { store, crc32c, start } = this.#options;
    store.endTurn();
    const { revision, chain } = store.log.base;
    return {
      ...{ term: store.term, start, version: store.manifestVersion, revision, chain, asOf: store.revision },
      segments: store.sealed.map(({ number, directory, deleted }) => ({
        number,
        directory: writeDirectory(directory, crc32c),
        deleted: new Uint8Array(deleted.words.slice().buffer),
      })),
    };
  }

  blobs(asks: readonly BlobAsk[]): readonly (Uint8Array | undefined)[] {
    return forAll(asks, ({ name, bytes }) => this.#options.blobs.getSync(name, 0, bytes));
  }
}

/** Blocks of these blobs that are not what the segments' directories say: to be put right before the blobs are given. */
export function damagedIn(
  { store, blobs, crc32c }: Pick<CopyLeaderOptions, "store" | "blobs" | "crc32c">,
  asks: readonly BlobAsk[],
): readonly DamagedBlock[] {
  const asked = new Set(asks.map(({ name }) => name));
  const parts = store.sealed.flatMap(({ directory }) => blobsOf(directory)).filter(({ name }) => asked.has(name));
  return forAll(parts, (part) => damagedBlocks(part, blobs.getSync(part.name, 0, part.bytes), crc32c)).flat();
}

function bytesOf(records: readonly { readonly bytes: Uint8Array }[]): number {
  return records.reduce((sum, { bytes }) => sum + bytes.length, 0);
}

/** A commit is a record, its number is its revision. */
export function logOf(store: VectorStore): ShippedLog {
  return {
    get head() {
      const { revision } = store.log.last;
      return { term: store.term, revision, seq: revision, compacted: store.log.base.revision };
    },
    get chain() {
      return store.log.last.chain;
    },
    chainAt: (revision) => store.log.chainAt(revision),
    recordsFrom: (revision) => store.log.recordsFrom(revision, MAX_COMMITS),
  };
}
