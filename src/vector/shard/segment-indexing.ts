// Indexes of segments that are there already: built behind searches, written beside the columns, taken away when nothing asks for them.
// Guarantees: a segment's directory names either all sections of a build or none; blobs of a build that did not come to its end, or is not
// wanted any more, are deleted. Must not: touch rows.
import type { SqlStorage, SyncBlobStore } from "../../storage/types.ts";
import type { Crc32c, Section } from "../segment/directory.ts";
import { SectionWriter } from "../segment/sections.ts";
import type { Segment } from "../segment/segment.ts";
import type { BlobNames } from "./blob-names.ts";
import { type IndexSpec, keyOf } from "./index-kinds.ts";
import type { Manifest } from "./manifest.ts";
import { placeOf, saveIndex } from "./saved-indexes.ts";
import type { BuiltIndex, ShardIndexes } from "./shard-indexes.ts";

export interface SegmentIndexingOptions {
  readonly sql: SqlStorage;
  readonly blobs: Pick<SyncBlobStore, "putSync">;
  readonly crc32c: Crc32c;
  /** Milliseconds. */
  readonly now: () => number;
  readonly manifest: Manifest;
  readonly names: BlobNames;
  readonly indexes: ShardIndexes;
  readonly isThere: (segment: Segment) => boolean;
  /** A segment has another directory. */
  readonly onReplaced: () => void;
}

export class SegmentIndexing {
  readonly #options: SegmentIndexingOptions;

  constructor(options: SegmentIndexingOptions) {
    this.#options = options;
  }

  /** The next thing to do, in slices; undefined = every segment whose values are here has what is wanted, and nothing else. */
  next(segments: readonly Segment[]): Generator<void, void> | undefined {
    const { indexes } = this.#options;
    if (indexes.isSettled) return undefined;
    for (const segment of segments) {
      const surplus = indexes.surplusOf(segment);
      if (surplus.length > 0) return this.#strip(segment, surplus);
    }
    const due = indexes.nextToBuild(segments.filter((segment) => !segment.isAway));
    if (!due) indexes.isSettled = true;
    return due && this.#add(due.segment, due.spec);
  }

  *#add(segment: Segment, spec: IndexSpec): Generator<void, void> {
    const { blobs, crc32c, names, indexes, sql, isThere, now } = this.#options;
    const key = keyOf(spec);
    const written: string[] = [];
    const added: Section[] = [];
    const nextName = (): string => {
      const name = names.next();
      written.push(name);
      return name;
    };
    let built: BuiltIndex | undefined;
    try {
      built = yield* indexes.buildBehind(segment, spec);
      if (!built) return;
      const sink = {
        section: (name: string) => new SectionWriter({ name, blobs, crc32c, nextName }),
        addSection: (section: Section) => added.push(section),
      };
      yield* saveIndex(built, key, { sink, now });
      if (!isThere(segment) || !indexes.isWanted(key)) return;
      sql.transactionSync(() => {
        this.#replace(segment, [key], added);
        names.used(written.splice(0));
      });
      indexes.attach(segment, new Map([[key, built]]));
      built = undefined;
    } finally {
      built?.index.release();
      if (written.length > 0) sql.transactionSync(() => names.bury(written));
    }
  }

  *#strip(segment: Segment, keys: readonly string[]): Generator<void, void> {
    this.#options.sql.transactionSync(() => this.#replace(segment, keys, []));
    yield;
  }

  /** In a transaction. */
  #replace(segment: Segment, keys: readonly string[], added: readonly Section[]): void {
    const { manifest, names, onReplaced } = this.#options;
    const { rowCount, dimension, sections } = segment.directory;
    const isGone = (name: string): boolean => keys.some((key) => name.startsWith(placeOf(key)));
    const kept = [...sections].filter(([name]) => !isGone(name));
    const dead = [...sections].filter(([name]) => isGone(name)).flatMap(([, { parts }]) => parts);
    const after = new Map([...kept, ...added.map((section) => [section.name, section] as const)]);
    segment.directory = { rowCount, dimension, sections: after };
    manifest.replace(segment.number, segment.directory);
    names.bury(dead);
    onReplaced();
  }
}
