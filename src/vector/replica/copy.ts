// A copy of a shard, fed by its leader's log and segments.
// Guarantees: what it shows is a state that the leader had durably, all of it, never an older one of the same term than before; records that
// do not continue what it has, and answers of an earlier term, are not taken. After a crash at any point it goes on from what was committed.
// Must not: wait, know time or the way to the leader.
//
// It follows commits into its fresh rows, as the leader applies them, and never seals: when the leader has sealed or merged, it copies the
// blobs that it lacks and takes the leader's list of segments over. What the segments cover leaves its log then.
import { drain } from "../../storage/drain.ts";
import type { SqlStorage, SyncBlobStore } from "../../storage/types.ts";
import { ArenaFull } from "../arena.ts";
import { type Crc32c, readDirectory } from "../segment/directory.ts";
import type { ShardDesk } from "../shard/shard-desk.ts";
import type { ShardIndexes } from "../shard/shard-indexes.ts";
import { DIVERGED, heldSegments, isSame, LOST_LOG, storeManifest } from "./adopted.ts";
import { type BlobParts, blobsOf, isIntact, putBlob } from "./blob-checks.ts";
import type { CopyPlace, CopyShipment, ShippedManifest } from "./frames.ts";

export interface VectorCopyOptions {
  readonly sql: SqlStorage;
  readonly blobs: SyncBlobStore;
  readonly crc32c: Crc32c;
  /** Opens what is stored, as a copy; with the indexes that are loaded, if there are. */
  readonly open: (indexes: ShardIndexes | undefined) => ShardDesk;
}

/** What a shipment came to: taken; of no use; the leader's list of segments is another one; what follows can only come with it. */
export type Taken = "taken" | "stale" | "newManifest" | "startOver";

export class VectorCopy {
  readonly #options: VectorCopyOptions;
  #desk: ShardDesk;
  #manifestVersion = 0;
  /** It cannot take what follows: the leader's segments are taken over even where they skip commits. */
  #mustStartOver = false;
  /** Blobs copied for a list that is not taken over yet. */
  readonly #copied = new Set<string>();

  /** @throws CorruptSegment, CorruptLog */
  constructor(options: VectorCopyOptions) {
    this.#options = options;
    this.#desk = options.open(undefined);
  }

  get desk(): ShardDesk {
    return this.#desk;
  }

  get #store() {
    return this.#desk.store;
  }

  /** Durable when the turn that it was read in is. */
  get place(): CopyPlace {
    const { term, log } = this.#store;
    const { revision: seq, chain } = log.last;
    return { seq, chain, term, start: this.#store.start, manifestVersion: this.#manifestVersion };
  }

  get revision(): number {
    return this.#store.revision;
  }

  get term(): number {
    return this.#store.term;
  }

  /** What it shows is a state that the leader had. */
  get isWhole(): boolean {
    return this.revision >= this.#store.asOf;
  }

  /** It has what its leader never had: nothing is shown until the leader's segments are taken over, not after a restart either. */
  get #isDiverged(): boolean {
    return this.#store.asOf === DIVERGED;
  }

  /** It shows at least what the leader had at this place. */
  hasReached({ term, revision }: { readonly term: number; readonly revision: number }): boolean {
    return this.isWhole && this.term >= term && this.revision >= revision;
  }

  /** Takes what the leader gave for {@link place}. @throws CorruptSegment (a row that must be replaced cannot be read) */
  take({ from, chain, manifestVersion, start, isDiverged, shipment }: CopyShipment): Taken {
    const { head } = shipment;
    const { seq, chain: own } = this.place;
    const isEarlier =
      head.term < this.term || (head.term === this.term && start !== this.#store.start && this.term > 0);
    if (isEarlier || from.seq !== seq || from.chain !== own) return "stale";
    if (shipment.kind === "startOver") {
      if (isDiverged) this.#store.asOf = DIVERGED;
      this.#mustStartOver = true;
      // Its term is taken with its segments: what is here may be of another leader's.
      return "startOver";
    }
    const { crc32c } = this.#options;
    const { records } = shipment;
    const continues = records.every((record, at) => record.seq === seq + 1 + at);
    if (!continues || records.reduce((value, { bytes }) => crc32c(bytes, value), own) !== chain) return "stale";
    if (!this.#apply(records)) {
      this.#mustStartOver = true;
      return "startOver";
    }
    this.#sawTerm(head.term, start);
    return manifestVersion === this.#manifestVersion ? "taken" : "newManifest";
  }

  /** False: they do not fit the memory. */
  #apply(records: readonly { readonly bytes: Uint8Array }[]): boolean {
    try {
      for (const { bytes } of records) this.#store.applyShipped(bytes);
      return true;
    } catch (error) {
      if (error instanceof ArenaFull) return false;
      throw error;
    } finally {
      this.#store.endTurn();
    }
  }

  /** A version belongs to its term. */
  #sawTerm(term: number, start: number): void {
    if (term === this.term && start === this.#store.start) return;
    this.#store.term = term;
    this.#store.start = start;
    this.#manifestVersion = 0;
  }

  /** Blobs that must be there before the list can be taken over. @throws CorruptSegment */
  missing({ segments }: ShippedManifest): readonly BlobParts[] {
    const { sql, crc32c } = this.#options;
    const held = heldSegments(sql);
    const kept = new Set(held.flatMap(({ directory }) => blobsOf(readDirectory(directory, crc32c)).map(nameOf)));
    return segments
      .flatMap(({ directory }) => blobsOf(readDirectory(directory, crc32c)))
      .filter(({ name }) => !kept.has(name) && !this.#copied.has(name));
  }

  /** False: it is not what the directory says. */
  takeBlob(blob: BlobParts, bytes: Uint8Array): boolean {
    const { sql, blobs, crc32c } = this.#options;
    if (!isIntact(blob, bytes, crc32c)) return false;
    if (this.#copied.has(blob.name)) return true;
    this.#store.makeRoomFor(blob.name);
    drain(sql.exec("INSERT OR IGNORE INTO storage_intents (name) VALUES (?)", blob.name));
    putBlob(blobs, blob, bytes);
    this.#copied.add(blob.name);
    return true;
  }

  /**
   * Takes the leader's list over; nothing of it may be missing. `later`: once more commits were taken. `stale`: there is a newer one.
   * @throws CorruptSegment, CorruptLog
   */
  adopt(manifest: ShippedManifest): "adopted" | "later" | "stale" {
    const store = this.#store;
    if (manifest.term < store.term || (manifest.term === store.term && manifest.start !== store.start)) return "stale";
    const isBehind = manifest.revision < store.log.base.revision;
    if (isBehind && !this.#isDiverged) return "stale";
    const isContinuous =
      !isBehind &&
      !this.#isDiverged &&
      manifest.revision <= store.revision &&
      store.log.chainAt(manifest.revision) === manifest.chain;
    const mayWait = !this.#mustStartOver && store.asOf < LOST_LOG;
    if (mayWait && !(isContinuous && store.revision >= manifest.asOf)) return "later";
    // Within a term only forward: the list of before may come late.
    if (!isContinuous && !this.#isDiverged && manifest.revision < store.revision) return "stale";
    const logThrough = isContinuous ? store.log.lastSeqCovered(manifest.revision) : store.log.lastSeq;
    this.#replace(manifest, logThrough);
    return "adopted";
  }

  #replace(manifest: ShippedManifest, logThrough: number): void {
    const { sql, crc32c, open } = this.#options;
    const same = heldSegments(sql).filter((old) => manifest.segments.some((segment) => isSame(old, segment)));
    sql.transactionSync(() => storeManifest(sql, crc32c, { manifest, logThrough }));
    const { indexes, store } = this.#desk;
    this.#desk.close();
    indexes.keepOnly(new Set(same.map(({ number }) => number)));
    store.term = manifest.term;
    store.start = manifest.start;
    this.#desk = open(indexes);
    this.#copied.clear();
    this.#manifestVersion = manifest.version;
    this.#mustStartOver = false;
  }

  /** Deletes a bounded part of what is needed no more. True = there is more. */
  sweep(): boolean {
    return this.#store.sweep();
  }
}

const nameOf = ({ name }: BlobParts): string => name;
