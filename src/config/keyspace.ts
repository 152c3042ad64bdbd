// A configuration keyspace: versions of keys under one revision counter.
// Guarantees: one revision a change, in order; a request is applied whole or refused before anything is written; reads see one
// revision; `onChange` hears every change once, in order, in the turn that wrote it. Must not: do I/O of its own, know time or callers.
//
// Not guarded: an exception that is neither ConfigRefusal nor CorruptRecord may leave memory ahead of storage. The object must restart
// then. Those two leave nothing behind: what can throw them is done before the first write, or taken back.
import type {
  BinaryKey,
  DeleteRangeAnswer,
  DeleteRangeRequest,
  KeyRange,
  KeyValue,
  LeaseId,
  OperationAnswer,
  PutAnswer,
  PutRequest,
  RangeAnswer,
  RangeRequest,
  TxnAnswer,
  TxnOperation,
  TxnRequest,
} from "../wire/config.ts";
import { ConfigRefusal, invalid } from "./failure.ts";
import {
  MAX_ANSWER_BYTES,
  MAX_DELETED_KEYS,
  MAX_LEASE_KEYS,
  MAX_REVISION,
  SEQUENCE_DIGITS,
  UNCOUNTED_READS,
} from "./limits.ts";
import { readRange } from "./range.ts";
import { type MaybeHeld, Reader, shown } from "./reader.ts";
import { type Crc32c, encodeRecord, type LogRecord } from "./record.ts";
import type { ConfigStore } from "./store.ts";
import { checkOperation, compareHolds } from "./txn.ts";
import { keysPut, type Plan, type PlannedSize, type Step } from "./txn-plan.ts";
import type { Held } from "./value-cache.ts";
import type { Version } from "./version.ts";

/** One change of one key, as watchers and followers see it. */
export interface Change {
  readonly seq: number;
  /** As stored. */
  readonly bytes: Uint8Array;
  readonly record: LogRecord;
  /** The version that it ended, where it was at hand; otherwise it can be read from the log by `record.endedSeq`. */
  readonly ended?: Held | undefined;
}

export interface KeyspaceOptions {
  readonly store: ConfigStore;
  readonly crc32c: Crc32c;
  /** This owner's start. */
  readonly term: number;
  readonly cacheBytes: number;
  readonly isLease: (lease: LeaseId) => boolean;
  /** All changes of one revision. */
  readonly onChange: (revision: number, changes: readonly Change[]) => void;
}

/** A request under way: all of its writes have one revision. */
interface Writing {
  readonly revision: number;
  readonly changes: Change[];
}

/** etcd's: the first change makes revision 2. */
const FIRST_REVISION = 1;
/** The fact's name. 0 = never written. */
export const LIVING_BYTES = "livingBytes";
const NO_VALUE = new Uint8Array(0);

export class Keyspace {
  readonly #options: KeyspaceOptions;
  readonly #store: ConfigStore;
  readonly #reader: Reader;
  #revision = FIRST_REVISION;
  #seq = 0;
  #chain = 0;
  #compacted = 0;
  #livingBytes: number;

  constructor(options: KeyspaceOptions) {
    this.#options = options;
    this.#store = options.store;
    // Where a restore left off: its revision is above those of what it brought, which may be nothing.
    this.#seq = options.store.fact("restoredSeq");
    this.#revision = Math.max(FIRST_REVISION, options.store.fact("restoredRevision"));
    this.#chain = options.store.fact("restoredChain");
    const last = options.store.lastRecord();
    if (last) {
      this.#seq = Math.max(this.#seq, last.seq);
      this.#revision = Math.max(this.#revision, last.record.revision);
      this.#chain = last.record.chain;
    }
    this.#compacted = options.store.fact("compacted");
    this.#reader = new Reader(options.store, options.cacheBytes, this.#revision);
    // 0 = there are none, or they were never counted.
    this.#livingBytes = options.store.fact(LIVING_BYTES) || options.store.countBytes();
  }

  get revision(): number {
    return this.#revision;
  }

  get compactedRevision(): number {
    return this.#compacted;
  }

  get term(): number {
    return this.#options.term;
  }

  /** Of the last record: what a follower must have to be this log's. */
  get chain(): number {
    return this.#chain;
  }

  get lastSeq(): number {
    return this.#seq;
  }

  get keyCount(): number {
    return this.#store.keyCount;
  }

  /** Of living keys and their values. */
  get livingBytes(): number {
    return this.#livingBytes;
  }

  range(request: RangeRequest): RangeAnswer {
    checkOperation(request);
    const state = this.stateOf(request.revision);
    return this.#reader.range(request, state);
  }

  put(request: PutRequest): PutAnswer {
    checkOperation(request);
    return this.#write((writing) => this.#put(writing, request));
  }

  deleteRange(request: DeleteRangeRequest): DeleteRangeAnswer {
    checkOperation(request);
    if (request.prevKv) refuseLongAnswer(this.#judge(request));
    return this.#write((writing) => this.#delete(writing, request));
  }

  txn(request: TxnRequest): TxnAnswer {
    checkOperation(request);
    const size: PlannedSize = { answer: 0, written: 0, reads: 0 };
    const plan = this.#plan(request, size);
    refuseLongAnswer(size.answer);
    // One operation alone reads before it writes.
    const isAlone = plan.steps.length <= 1 && plan.steps[0]?.kind !== "plan";
    if (isAlone) return this.#write((writing) => this.#run(writing, plan));
    return this.#reader.lookedUp(keysPut(plan), () => this.#write((writing) => this.#undone(writing, plan)));
  }

  apply(request: TxnOperation): OperationAnswer {
    switch (request.kind) {
      case "range":
        return this.range(request);
      case "put":
        return this.put(request);
      case "deleteRange":
        return this.deleteRange(request);
      case "txn":
        return this.txn(request);
      default:
        return request satisfies never;
    }
  }

  /** Deletes all keys of a lease, in one revision. */
  deleteLeased(lease: LeaseId): number {
    return this.#write((writing) => {
      const versions = this.#store.leased(lease, MAX_LEASE_KEYS);
      for (const version of versions) this.#end(writing, version);
      return versions.length;
    });
  }

  leasedKeys(lease: LeaseId, limit: number): readonly BinaryKey[] {
    return this.#store.leased(lease, limit).map(({ key }) => key);
  }

  /** Refuses reads below `revision` from now on. What is no longer needed goes by the Compactor. */
  compact(revision: number): void {
    if (revision <= this.#compacted) {
      const message = `revision ${revision} is compacted; the keyspace is compacted up to ${this.#compacted}`;
      throw new ConfigRefusal("compacted", message, { compactedRevision: this.#compacted });
    }
    this.#refuseFuture(revision);
    this.#compacted = revision;
    this.#store.setFact("compacted", revision);
  }

  /** The version that a change ended, with its value, while it is not compacted. */
  endedBy(change: Pick<Change, "record" | "ended">): KeyValue | undefined {
    const { endedSeq, key } = change.record;
    if (change.ended) return shown(change.ended);
    if (endedSeq === 0) return undefined;
    const ended = this.#store.record(endedSeq);
    if (!ended || ended.key !== key) return undefined;
    const { createRevision, revision, version, lease, value } = ended;
    return { key, createRevision, modRevision: revision, version, lease, value };
  }

  /** What to read for a revision that was asked for: 0 = the present. Throws where it is compacted or not reached. */
  stateOf(revision = 0): number {
    if (revision <= 0 || revision === this.#revision) return 0;
    this.#refuseFuture(revision);
    if (revision < this.#compacted) {
      const message = `revision ${revision} is compacted; the oldest that can be read is ${this.#compacted}`;
      throw new ConfigRefusal("compacted", message, { compactedRevision: this.#compacted });
    }
    return revision;
  }

  #refuseFuture(revision: number): void {
    if (revision <= this.#revision) return;
    const message = `revision ${revision} is in the future; the keyspace is at ${this.#revision}`;
    throw new ConfigRefusal("futureRevision", message, { revision: this.#revision });
  }

  /** Runs one request's writes; the revision is used up only when something changed. */
  #write<T>(run: (writing: Writing) => T): T {
    if (this.#revision >= MAX_REVISION) throw new Error("the keyspace has used up its revisions");
    const writing: Writing = { revision: this.#revision + 1, changes: [] };
    const answer = run(writing);
    if (writing.changes.length > 0) {
      this.#revision = writing.revision;
      this.#options.onChange(writing.revision, writing.changes);
    }
    return answer;
  }

  /** A step may meet damage after others have written: then none of them happened. */
  #undone(writing: Writing, plan: Plan): TxnAnswer {
    const [seq, chain, bytes] = [this.#seq, this.#chain, this.#livingBytes];
    try {
      return this.#store.atomically(() => this.#run(writing, plan));
    } catch (error) {
      [this.#seq, this.#chain, this.#livingBytes] = [seq, chain, bytes];
      this.#reader.counts.reset(this.#revision);
      for (const { record } of writing.changes) this.#reader.cache.delete(record.key);
      throw error;
    }
  }

  #put(writing: Writing, request: PutRequest): PutAnswer {
    const key = request.sequential ? sequentialKey(request.key, writing.revision) : request.key;
    const lease = request.lease ?? "";
    if (lease !== "" && !this.#options.isLease(lease)) throw leaseNotFound(lease);
    const previous = this.#reader.findHeld(key);
    if ((request.ignoreValue || request.ignoreLease) && !previous)
      throw new ConfigRefusal("keyNotFound", "ignoreValue and ignoreLease need a key that exists");
    const value = request.ignoreValue ? this.#reader.held(previous!).value : request.value.slice();
    // Read before anything is written: it may be damaged.
    const prevKv = request.prevKv && previous ? shown(this.#reader.held(previous)) : undefined;
    const put = {
      key,
      createRevision: previous?.version.createRevision ?? writing.revision,
      version: (previous?.version.version ?? 0) + 1,
      lease: request.ignoreLease ? previous!.version.lease : lease,
    };
    const change = this.#append(writing, { type: "put", ...put, value }, previous);
    const version: Version = { ...put, seq: change.seq, modRevision: writing.revision };
    this.#store.setCurrent(version, !previous);
    this.#reader.cache.set({ version, value });
    if (!previous) this.#reader.counts.changed(key, 1, writing.revision);
    const answer: PutAnswer = { kind: "put", ...put };
    return prevKv ? { ...answer, prevKv } : answer;
  }

  #delete(writing: Writing, request: DeleteRangeRequest): DeleteRangeAnswer {
    const versions = this.#versionsOf(request);
    if (versions.length > MAX_DELETED_KEYS) {
      const message = `the range holds more than ${MAX_DELETED_KEYS} keys, which is the limit of one deletion; delete it in parts`;
      throw new ConfigRefusal("payloadTooLarge", message, { limit: MAX_DELETED_KEYS });
    }
    const prevKvs = request.prevKv ? versions.map((version) => this.#reader.valueOf(version)) : [];
    for (const version of versions) this.#end(writing, version);
    return { kind: "deleteRange", deleted: versions.length, prevKvs };
  }

  #versionsOf(range: KeyRange): readonly Version[] {
    if (range.rangeEnd !== "") return this.#store.scan({ ...range, revision: 0, limit: MAX_DELETED_KEYS + 1 });
    const version = this.#reader.find(range.key);
    return version ? [version] : [];
  }

  #end(writing: Writing, version: Version): void {
    const { key } = version;
    const held = this.#reader.cache.get(key);
    const gone = { key, createRevision: 0, version: 0, lease: "", value: NO_VALUE };
    this.#append(writing, { type: "delete", ...gone }, { version, value: held?.value });
    this.#store.removeCurrent(key);
    this.#reader.cache.delete(key);
    this.#reader.counts.changed(key, -1, writing.revision);
  }

  /** Writes the record, and moves the version that it ends into the history. */
  #append(
    writing: Writing,
    change: Pick<LogRecord, "type" | "key" | "createRevision" | "version" | "lease" | "value">,
    previous: MaybeHeld | undefined,
  ): Change {
    const seq = ++this.#seq;
    const ended = previous?.version;
    const record = {
      ...change,
      term: this.#options.term,
      revision: writing.revision,
      endedMod: ended?.modRevision ?? 0,
      endedSeq: ended?.seq ?? 0,
    };
    const { bytes, chain } = encodeRecord(this.#options.crc32c, this.#chain, record);
    this.#chain = chain;
    this.#store.append(seq, bytes);
    if (change.type === "put") this.#livingBytes += change.key.length + change.value.length;
    if (previous) this.#livingBytes -= change.key.length + this.#valueBytes(previous);
    if (ended) this.#store.addEnded(ended, writing.revision);
    const held = previous?.value ? { version: previous.version, value: previous.value } : undefined;
    const written: Change = { seq, bytes, record: { ...record, chain }, ended: held };
    writing.changes.push(written);
    return written;
  }

  /** 0 where it is damaged: what is left of it goes all the same. */
  #valueBytes(held: MaybeHeld): number {
    return held.value?.length ?? this.#store.valueBytes(held.version.seq);
  }

  /** The branches that a transaction takes, decided before anything is written; its reads and leases are judged too. */
  #plan(txn: TxnRequest, size: PlannedSize): Plan {
    const succeeded = txn.compare.every((compare) =>
      compareHolds(
        { each: (range) => this.#versionsOf(range), valueOf: (version) => this.#reader.valueOf(version) },
        compare,
      ),
    );
    const steps = (succeeded ? txn.success : txn.failure).map((operation): Step => {
      if (operation.kind === "txn") return { kind: "plan", plan: this.#plan(operation, size) };
      size.answer += this.#judge(operation, size);
      // A read may see what was written before it.
      if (operation.kind === "range") size.answer += size.written;
      if (operation.kind === "put") size.written += operation.key.length + operation.value.length;
      return { kind: "operation", operation };
    });
    return { succeeded, steps };
  }

  /** Throws what would otherwise stop a transaction in its middle. Gives the bytes of what it will answer, as far as is known now. */
  #judge(operation: Exclude<TxnOperation, TxnRequest>, size?: PlannedSize): number {
    if (operation.kind === "range") {
      const state = this.stateOf(operation.revision);
      // A read that is refused for its size must be so before the first write: it is done once for that.
      if (operation.countOnly) return 0;
      if (operation.rangeEnd === "" && size && ++size.reads <= UNCOUNTED_READS) return 0;
      return bytesOf(readRange(this.#reader, operation, state).kvs);
    }
    if (operation.kind === "deleteRange") {
      if (operation.rangeEnd !== "" && this.#reader.count(operation, 0) > MAX_DELETED_KEYS)
        throw invalid("rangeEnd", `the range holds more than ${MAX_DELETED_KEYS} keys, the limit of one deletion`);
      return operation.prevKv ? this.#bytesOf(this.#versionsOf(operation)) : 0;
    }
    const { lease = "", key } = operation;
    if (lease !== "" && !this.#options.isLease(lease)) throw leaseNotFound(lease);
    if ((operation.ignoreValue || operation.ignoreLease) && !this.#reader.find(key))
      throw new ConfigRefusal("keyNotFound", "ignoreValue and ignoreLease need a key that exists");
    if (operation.sequential && this.#reader.find(sequentialKey(key, this.#revision + 1)))
      throw new ConfigRefusal("conflict", "the next sequential key exists already");
    const previous = operation.prevKv ? this.#reader.find(key) : undefined;
    return previous ? this.#bytesOf([previous]) : 0;
  }

  #bytesOf(versions: readonly Version[]): number {
    let bytes = 0;
    for (const version of versions) {
      bytes += bytesOf([this.#reader.valueOf(version)]);
      if (bytes > MAX_ANSWER_BYTES) break;
    }
    return bytes;
  }

  #run(writing: Writing, plan: Plan): TxnAnswer {
    const responses = plan.steps.map((step): OperationAnswer => {
      if (step.kind === "plan") return this.#run(writing, step.plan);
      const { operation } = step;
      switch (operation.kind) {
        case "range": {
          // What was the present before this transaction is past as soon as it has written.
          const isPast = writing.changes.length > 0 && (operation.revision ?? 0) > 0;
          return readRange(this.#reader, operation, isPast ? operation.revision! : this.stateOf(operation.revision));
        }
        case "put":
          return this.#put(writing, operation);
        case "deleteRange":
          return this.#delete(writing, operation);
        default:
          return operation satisfies never;
      }
    });
    return { kind: "txn", succeeded: plan.succeeded, responses };
  }
}

function bytesOf(kvs: readonly KeyValue[]): number {
  let bytes = 0;
  for (const { key, value } of kvs) bytes += key.length + value.length;
  return bytes;
}

/** Before anything is written: an answer that is no message would leave its caller without one. */
function refuseLongAnswer(bytes: number): void {
  if (bytes <= MAX_ANSWER_BYTES) return;
  const message = `the request would give back more than ${MAX_ANSWER_BYTES} bytes of keys and values; ask for less at once`;
  throw new ConfigRefusal("payloadTooLarge", message, { limit: MAX_ANSWER_BYTES });
}

/** Sorts as its revision does. */
export function sequentialKey(prefix: BinaryKey, revision: number): BinaryKey {
  return prefix + String(revision).padStart(SEQUENCE_DIGITS, "0");
}

export function leaseNotFound(lease: LeaseId): ConfigRefusal {
  return new ConfigRefusal("leaseNotFound", `there is no lease ${lease}; it may have expired`, { leaseId: lease });
}
