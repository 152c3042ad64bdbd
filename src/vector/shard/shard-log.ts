// The commit log of a shard: commits wait here for their turn's end, are logged as one group, and can be shipped from then on.
// Guarantees: what `endTurn` wrote comes back in order by `replay`; nothing is shipped that is not logged. Must not: know rows.
import { CommitLog, type LogGroup } from "../../storage/commit-log.ts";
import { bufferOf } from "../../storage/row-format.ts";
import type { Kernels, SqlStorage } from "../../storage/types.ts";
import { ByteReader, ByteWriter } from "../../wire/bytes.ts";
import type { ChainedRecord } from "../../wire/log-shipping.ts";
import type { ShippedRecord } from "../../wire/shipment.ts";
import { type ChainPlace, type CommitBytes, CommitChain } from "./commit-chain.ts";
import { type LogCommit, readCommit, writeCommit } from "./log-entries.ts";

export interface ShardLogOptions {
  readonly sql: SqlStorage;
  readonly kernels: Pick<Kernels, "crc32c">;
  /** What segments cover, and the last row of the log that it needs no more. */
  readonly base: ChainPlace & { readonly lastSeq: number };
}

export class ShardLog {
  readonly #log: CommitLog;
  readonly #chain: CommitChain;
  readonly #pending = new ByteWriter(64 * 1024);
  /** Where each commit in #pending ends. */
  #ends: { readonly revision: number; readonly end: number }[] = [];

  constructor({ sql, kernels, base }: ShardLogOptions) {
    this.#log = new CommitLog(sql, kernels as Kernels);
    this.#chain = new CommitChain(base, kernels.crc32c);
  }

  /** What the segments do not cover, oldest first. @throws CorruptLog, MalformedBytes */
  replay(take: (commit: LogCommit) => void): void {
    this.#log.replay(this.#chain.lastSeq, (group) => this.#replay(group, take));
  }

  #replay({ bytes, lastSeq }: LogGroup, take: (commit: LogCommit) => void): void {
    const reader = new ByteReader(bytes);
    const commits: CommitBytes[] = [];
    while (!reader.done) {
      const start = reader.offset;
      const commit = readCommit(reader);
      // A copy's groups end elsewhere than its owner's seals: the first commits of one may be in segments.
      if (commit.revision <= this.#chain.base.revision) continue;
      take(commit);
      commits.push({ revision: commit.revision, bytes: bytes.subarray(start, reader.offset) });
    }
    if (commits.length > 0) this.#chain.add(lastSeq, commits);
  }

  /** Bytes of what waits for the turn's end. */
  get pendingBytes(): number {
    return this.#pending.length;
  }

  /** Bytes that no segment covers, and of what waits. */
  get bytes(): number {
    return this.#log.bytes + this.#pending.length;
  }

  get lastSeq(): number {
    return this.#log.lastSeq;
  }

  add(commit: LogCommit): void {
    writeCommit(this.#pending, commit);
    this.#ends.push({ revision: commit.revision, end: this.#pending.length });
  }

  addBytes({ revision, bytes }: CommitBytes): void {
    this.#pending.raw(bytes);
    this.#ends.push({ revision, end: this.#pending.length });
  }

  /** Writes what waits, as one group. */
  endTurn(nowMs: number): void {
    if (this.#pending.length === 0) return;
    const bytes = this.#pending.view();
    this.#log.append([{ buffer: bufferOf(bytes), start: 0, end: bytes.length }], nowMs);
    let start = 0;
    const commits = this.#ends.map(({ revision, end }) => {
      const commit = { revision, bytes: bytes.subarray(start, end) };
      start = end;
      return commit;
    });
    this.#chain.add(this.#log.lastSeq, commits);
    this.#ends = [];
    this.#pending.reset();
  }

  /** The last commit that is logged. */
  get last(): ChainPlace {
    return this.#chain.last;
  }

  /** The last commit that segments cover. */
  get base(): ChainPlace {
    return this.#chain.base;
  }

  /** Told of each commit in the turn that logs it. */
  set onCommit(told: ((commit: ChainedRecord) => void) | undefined) {
    this.#chain.onCommit = told;
  }

  /** Undefined = it is not in the log any more, or not yet. @throws CorruptLog */
  chainAt(revision: number): number | undefined {
    return this.#chain.chainAt(this.#log, revision);
  }

  /** @throws CorruptLog */
  recordsFrom(revision: number, limit: number): readonly ShippedRecord[] {
    return this.#chain.recordsFrom(this.#log, revision, limit);
  }

  /** Segments cover all up to this commit, and the log's rows up to `lastSeq`. */
  cover(place: ChainPlace, lastSeq: number): void {
    this.#log.cover(lastSeq);
    this.#chain.cover(place);
  }

  /** The last row of the log that is not needed where segments cover all up to `revision`. */
  lastSeqCovered(revision: number): number {
    return this.#chain.lastSeqCovered(revision);
  }

  get trimDue(): boolean {
    return this.#log.trimDue;
  }

  trim(): void {
    this.#log.trim();
  }
}
