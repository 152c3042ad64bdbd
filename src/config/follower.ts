// A copy of a keyspace in a zone, fed by its owner's log.
// Guarantees: shows whole revisions of its owner's log, each state one that the owner had, never an older one than before; records that do
// not continue what it has are refused. Must not: wait, know time or the way to the owner.
//
// It is `empty` (serves nothing), `copying` a state as of one revision, or `following`: place = the last record it has applied.
import type { KeyValue, RangeAnswer, RangeRequest } from "../wire/config.ts";
import type { Head, Place, Shipment, ShippedRecord } from "../wire/shipment.ts";
import { Compactor } from "./compactor.ts";
import { ConfigRefusal } from "./failure.ts";
import type { Change } from "./keyspace.ts";
import { FOLLOWER_PENDING_ROWS } from "./limits.ts";
import { Reader } from "./reader.ts";
import { CorruptRecord, type Crc32c, chainOfRecord, decodeRecord, type LogRecord } from "./record.ts";
import type { ConfigStore } from "./store.ts";
import { checkOperation } from "./txn.ts";
import { versionOfRecord } from "./version.ts";
import type { WatchSource } from "./watch-hub-options.ts";

/** Rows of a wipe's slice. */
const WIPE_ROWS = 1000;

export interface FollowerOptions {
  readonly store: ConfigStore;
  readonly crc32c: Crc32c;
  readonly cacheBytes: number;
  readonly onChange: (revision: number, changes: readonly Change[]) => void;
}

export class Follower {
  readonly #store: ConfigStore;
  readonly #crc32c: Crc32c;
  readonly #onChange: FollowerOptions["onChange"];
  readonly #compactor: Compactor;
  readonly #cacheBytes: number;
  #reader: Reader;
  #state: "empty" | "copying" | "following";
  #seq: number;
  #chain: number;
  #revision: number;
  #compacted: number;
  #term: number;

  constructor({ store, crc32c, cacheBytes, onChange }: FollowerOptions) {
    this.#store = store;
    this.#crc32c = crc32c;
    this.#onChange = onChange;
    this.#cacheBytes = cacheBytes;
    this.#compactor = new Compactor(store);
    this.#seq = store.fact("seq");
    this.#chain = store.fact("chain");
    this.#revision = store.fact("revision");
    this.#reader = new Reader(store, cacheBytes, this.#revision);
    this.#compacted = store.fact("compacted");
    this.#term = store.fact("term");
    // What a copy left behind that did not end must go first, and what is damaged.
    const isWhole = store.fact("following") === 1 && !store.damage;
    this.#state = isWhole ? "following" : store.isEmpty() ? "empty" : "copying";
  }

  get isFollowing(): boolean {
    return this.#state === "following";
  }

  get place(): Place {
    return this.isFollowing ? { seq: this.#seq, chain: this.#chain } : { seq: 0, chain: 0 };
  }

  get revision(): number {
    return this.#revision;
  }

  get term(): number {
    return this.#term;
  }

  get compactedRevision(): number {
    return this.#compacted;
  }

  /**
   * As its watches see it. A copy holds the living versions of its first revision, not what that one deleted: what can be told begins
   * behind it.
   */
  get watchSource(): WatchSource {
    const follower = this;
    return {
      get revision() {
        return follower.#revision;
      },
      get term() {
        return follower.#term;
      },
      get compactedRevision() {
        return follower.#compacted === 0 ? 0 : follower.#compacted + 1;
      },
      get lastSeq() {
        return follower.#seq;
      },
      log: (seq, limit) => this.#store.log(seq, limit),
      endedBy: (change) => this.endedBy(change),
    };
  }

  /** Takes what the owner gave for {@link place}. False = a copy is needed. */
  take(shipment: Shipment): boolean {
    if (shipment.kind === "startOver") return false;
    if (!this.isFollowing) return this.#begin(shipment);
    this.#take(shipment);
    return true;
  }

  /** Throws what the owner would for a revision it cannot read, and `unavailable` where nothing is served. */
  range(request: RangeRequest): RangeAnswer {
    checkOperation(request);
    if (!this.isFollowing) throw new ConfigRefusal("unavailable", "the follower is being filled");
    const { revision = 0 } = request;
    if (revision > this.#revision)
      throw new ConfigRefusal(
        "futureRevision",
        `revision ${revision} is in the future; this follower is at ${this.#revision}`,
        {
          revision: this.#revision,
        },
      );
    if (revision > 0 && revision < this.#compacted)
      throw new ConfigRefusal(
        "compacted",
        `revision ${revision} is compacted; the oldest that can be read is ${this.#compacted}`,
        {
          compactedRevision: this.#compacted,
        },
      );
    return this.#reader.range(request, revision === this.#revision ? 0 : revision);
  }

  /** What it holds is damaged: it serves nothing until it was copied anew. */
  distrust(): void {
    if (!this.isFollowing) return;
    this.#store.setFact("following", 0);
    this.#state = "copying";
  }

  /** One slice of forgetting everything; true when it is empty. First step of a copy. */
  wipe(): boolean {
    this.distrust();
    this.#state = "copying";
    this.#reader = new Reader(this.#store, this.#cacheBytes, 0);
    return this.#store.wipe(WIPE_ROWS);
  }

  /** Versions of the state that is copied, with their log rows. */
  copy(records: readonly ShippedRecord[]): void {
    for (const { seq, bytes } of records) {
      const record = decodeRecord(this.#crc32c, bytes);
      this.#store.load(versionOfRecord(seq, record), bytes);
    }
  }

  /** The copy is whole: the state of `head.revision`, whose last record has this chain value. History before it is not held. */
  endCopy(head: Head, chain: number): void {
    this.#seq = head.seq;
    this.#chain = chain;
    this.#revision = head.revision;
    this.#reader.counts.reset(head.revision);
    this.#compacted = head.revision;
    this.#store.setFact("compacted", head.revision);
    this.#store.setFact("compactionSeq", head.seq + 1);
    this.#state = "following";
    this.#store.indexedTo(head.seq);
    this.#store.setFact("following", 1);
    this.#savePlace();
    this.#sawTerm(head);
    this.#saw(head);
  }

  /** One slice of removing what is compacted; true when nothing is left to do. */
  compactStep(): boolean {
    return this.#compactor.step(this.#compacted);
  }

  /** The version that a change ended, with its value, while it is held. */
  endedBy({ record, ended }: Pick<Change, "record" | "ended">): KeyValue | undefined {
    if (ended) return { ...ended.version, value: ended.value } as KeyValue;
    const past = record.endedSeq > 0 ? this.#store.record(record.endedSeq) : undefined;
    if (past?.key !== record.key) return undefined;
    const { key, createRevision, revision: modRevision, version, lease, value } = past;
    return { key, createRevision, modRevision, version, lease, value };
  }

  /** A log that begins at its beginning needs no copy. */
  #begin({ records, head }: Extract<Shipment, { kind: "records" }>): boolean {
    if (this.#state === "copying" || (records[0] && records[0].seq !== 1)) return false;
    this.#state = "following";
    this.#revision = Math.max(1, this.#revision);
    this.#store.indexedTo(0);
    this.#store.setFact("following", 1);
    this.#take({ records, head });
    return true;
  }

  /** What is told of the records names the owner's present term. */
  #take({ records, head }: Pick<Extract<Shipment, { kind: "records" }>, "records" | "head">): void {
    this.#sawTerm(head);
    this.#apply(records);
    this.#store.writeRecords();
    if (records.length === 0 || this.#store.pendingRows >= FOLLOWER_PENDING_ROWS) this.#store.flush();
    this.#saw(head);
  }

  #apply(records: readonly ShippedRecord[]): void {
    let changes: Change[] = [];
    let revision = 0;
    const told: { revision: number; changes: readonly Change[] }[] = [];
    for (const { seq, bytes } of records) {
      const record = decodeRecord(this.#crc32c, bytes);
      if (seq !== this.#seq + 1 || chainOfRecord(this.#crc32c, this.#chain, bytes) !== record.chain)
        throw new CorruptRecord(`record ${seq} does not continue the log at ${this.#seq}`);
      if (record.revision !== revision) {
        if (changes.length > 0) told.push({ revision, changes });
        changes = [];
        revision = record.revision;
      }
      changes.push(this.#applyOne(seq, bytes, record));
      this.#seq = seq;
      this.#chain = record.chain;
    }
    if (changes.length > 0) told.push({ revision, changes });
    if (revision === 0) return;
    this.#revision = revision;
    this.#savePlace();
    for (const each of told) this.#onChange(each.revision, each.changes);
  }

  #applyOne(seq: number, bytes: Uint8Array, record: LogRecord): Change {
    const previous = record.endedSeq > 0 ? this.#reader.findHeld(record.key) : undefined;
    if (record.endedSeq > 0 && previous?.version.seq !== record.endedSeq)
      throw new CorruptRecord(`record ${seq} ends a version that this follower does not hold`);
    this.#store.append(seq, bytes.slice());
    if (previous) this.#store.addEnded(previous.version, record.revision);
    if (record.type === "delete") {
      this.#store.removeCurrent(record.key);
      this.#reader.counts.changed(record.key, -1, record.revision);
      this.#reader.cache.delete(record.key);
    } else {
      const version = versionOfRecord(seq, record);
      this.#store.setCurrent(version, !previous);
      if (!previous) this.#reader.counts.changed(record.key, 1, record.revision);
      this.#reader.cache.set({ version, value: record.value.slice() });
    }
    const ended = previous?.value ? { version: previous.version, value: previous.value } : undefined;
    return { seq, bytes, record, ended };
  }

  #sawTerm({ term }: Head): void {
    if (term !== this.#term) this.#store.setFact("term", term);
    this.#term = term;
  }

  #saw({ compacted }: Head): void {
    // What is applied so far bounds it: compaction walks records that are here.
    const target = Math.min(compacted, this.#revision);
    if (target <= this.#compacted) return;
    this.#compacted = target;
    this.#store.setFact("compacted", target);
  }

  #savePlace(): void {
    this.#store.setFact("seq", this.#seq);
    this.#store.setFact("chain", this.#chain);
    this.#store.setFact("revision", this.#revision);
  }
}
