// The commits in a shard's log as they are shipped to its followers: by revision, each with a chain value that stands for all before it.
// Guarantees: the chain of a revision is the same at every copy that has the same commits, whatever their groups in the log and their seals.
// Must not: hold commits; what is asked for is read from the log.
import type { CommitLog } from "../../storage/commit-log.ts";
import { ByteReader } from "../../wire/bytes.ts";
import type { ChainedRecord } from "../../wire/log-shipping.ts";
import type { ShippedRecord } from "../../wire/shipment.ts";
import type { Crc32c } from "../segment/directory.ts";
import { readCommit } from "./log-entries.ts";

export interface ChainPlace {
  readonly revision: number;
  readonly chain: number;
}

/** A group of the log: its last row, its last commit, and the chain value of that. */
interface Mark extends ChainPlace {
  readonly lastSeq: number;
}

/** A commit as the log holds it. */
export interface CommitBytes {
  readonly revision: number;
  readonly bytes: Uint8Array;
}

export class CommitChain {
  readonly #crc32c: Crc32c;
  /** Told of each commit that is logged, in the turn that logs it. */
  onCommit: ((commit: ChainedRecord) => void) | undefined;
  #base: Mark;
  #marks: Mark[] = [];

  /** `base`: what segments cover. */
  constructor(base: ChainPlace & { readonly lastSeq: number }, crc32c: Crc32c) {
    this.#base = base;
    this.#crc32c = crc32c;
  }

  /** The last commit in the log. */
  get last(): ChainPlace {
    return this.#marks.at(-1) ?? this.#base;
  }

  /** What segments cover: commits up to it may be gone from the log. */
  get base(): ChainPlace {
    return this.#base;
  }

  /** A group was logged. */
  add(lastSeq: number, commits: readonly CommitBytes[]): void {
    let { chain } = this.last;
    let revision = 0;
    for (const commit of commits) {
      chain = this.#crc32c(commit.bytes, chain);
      revision = commit.revision;
      this.onCommit?.({ seq: revision, revision, bytes: commit.bytes.slice(), chain });
    }
    this.#marks.push({ lastSeq, revision, chain });
  }

  /** The row of the log that the base ends with. */
  get lastSeq(): number {
    return this.#base.lastSeq;
  }

  /** The last row of the log that is not needed where segments cover all up to `revision`. */
  lastSeqCovered(revision: number): number {
    let { lastSeq } = this.#base;
    for (const mark of this.#marks) {
      if (mark.revision > revision) break;
      lastSeq = mark.lastSeq;
    }
    return lastSeq;
  }

  /** Segments cover the log up to this commit. */
  cover(place: ChainPlace): void {
    const lastSeq = this.lastSeqCovered(place.revision);
    this.#marks = this.#marks.filter(({ revision }) => revision > place.revision);
    this.#base = { ...place, lastSeq };
  }

  /** Undefined = it is not in the log any more, or not yet. @throws CorruptLog */
  chainAt(log: CommitLog, revision: number): number | undefined {
    if (revision === this.#base.revision) return this.#base.chain;
    const at = this.#markOf(revision);
    if (at === undefined) return undefined;
    if (this.#marks[at]!.revision === revision) return this.#marks[at]!.chain;
    let { chain } = this.#before(at);
    for (const commit of this.#read(log, at)) {
      chain = this.#crc32c(commit.bytes, chain);
      if (commit.revision === revision) return chain;
    }
    return undefined;
  }

  /** At least one, at most about `limit`; none = they are not in the log any more, or not yet. @throws CorruptLog */
  recordsFrom(log: CommitLog, revision: number, limit: number): readonly ShippedRecord[] {
    const records: ShippedRecord[] = [];
    const first = this.#markOf(revision);
    if (first === undefined) return records;
    for (let at = first; at < this.#marks.length && records.length < limit && at < first + MAX_GROUPS; at++) {
      for (const commit of this.#read(log, at))
        if (commit.revision >= revision) records.push({ seq: commit.revision, ...commit });
    }
    return records;
  }

  /** The group that holds a revision. */
  #markOf(revision: number): number | undefined {
    if (revision <= this.#base.revision || revision > this.last.revision) return undefined;
    let [low, high] = [0, this.#marks.length - 1];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#marks[middle]!.revision < revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #before(at: number): Mark {
    return at === 0 ? this.#base : this.#marks[at - 1]!;
  }

  /** Commits of a group behind the base. */
  #read(log: CommitLog, at: number): readonly CommitBytes[] {
    const base = this.#base.revision;
    const { lastSeq: through } = this.#marks[at]!;
    return [...log.read(this.#before(at).lastSeq, through)]
      .flatMap(({ bytes }) => commitsIn(bytes))
      .filter(({ revision }) => revision > base);
  }
}

/** Groups read at once: a page of commits is a few. */
const MAX_GROUPS = 16;

/** The commits of a group. */
export function commitsIn(bytes: Uint8Array): readonly CommitBytes[] {
  const reader = new ByteReader(bytes);
  const commits: CommitBytes[] = [];
  while (!reader.done) {
    const start = reader.offset;
    const { revision } = readCommit(reader);
    commits.push({ revision, bytes: bytes.subarray(start, reader.offset) });
  }
  return commits;
}
