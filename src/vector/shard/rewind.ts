// A shard's manifest goes back to the segments of a snapshot; and what segments are made of, for those who replace them.
// Guarantees: called in one transaction it is all or nothing; no blob that the manifest or a snapshot names is buried.
import { Segment } from "../segment/segment.ts";
import type { BlobNames } from "./blob-names.ts";
import { DELETED_PAGE_WORDS } from "./limits.ts";
import type { Manifest } from "./manifest.ts";
import type { Rewritten, RowSource } from "./rewrite.ts";
import type { Origin } from "./shard-indexes.ts";
import type { SnapshotSegment } from "./snapshots.ts";

export interface Rewinding {
  readonly manifest: Manifest;
  readonly names: BlobNames;
  /** Segments of the manifest now. */
  readonly held: readonly Segment[];
  readonly back: readonly SnapshotSegment[];
  /** What of the log is covered then, and the revision of it. */
  readonly through: { readonly logThrough: number; readonly revision: number };
}

export function rewind({ manifest, names, held, back, through }: Rewinding): void {
  for (const { number } of held) manifest.remove(number);
  const again = new Set(back.flatMap(blobsOf));
  names.bury(held.flatMap(blobsOf).filter((name) => !again.has(name)));
  names.takeBack(again);
  for (const { directory, deleted } of back) {
    const number = manifest.nextNumber();
    manifest.add(number, directory);
    const pages = Math.ceil(deleted.words.length / DELETED_PAGE_WORDS);
    for (let page = 0; page < pages; page++) manifest.storeDeleted(number, page, deleted);
  }
  manifest.set("logThrough", through.logThrough);
  manifest.set("revision", through.revision);
}

export function blobsOf({ directory }: Pick<Segment, "directory">): readonly string[] {
  return [...directory.sections.values()].flatMap(({ parts }) => parts);
}

/** Where the rows of a new segment were. */
export function originsOf(sources: readonly RowSource[], { rowOf }: Rewritten): readonly Origin[] {
  return sources.flatMap((source, at) =>
    source instanceof Segment ? [{ segment: source.number, rowOf: rowOf[at]! }] : [],
  );
}
