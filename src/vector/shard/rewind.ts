// A shard's manifest goes back to the segments of a snapshot.
// Guarantees: called in one transaction it is all or nothing; no blob that the manifest or a snapshot names is buried.
import type { Crc32c } from "../segment/directory.ts";
import type { Segment } from "../segment/segment.ts";
import type { BlobNames } from "./blob-names.ts";
import { DELETED_PAGE_WORDS } from "./limits.ts";
import type { Manifest } from "./manifest.ts";
import type { ShardLog } from "./shard-log.ts";
import type { SnapshotSegment } from "./snapshots.ts";
import { blobsOf } from "./store-parts.ts";

export interface Rewinding {
  readonly manifest: Manifest;
  readonly names: BlobNames;
  /** Segments of the manifest now. */
  readonly held: readonly Segment[];
  readonly back: readonly SnapshotSegment[];
  /** What of the log is covered then, and the revision of it. */
  readonly through: RewoundPlace;
}

interface RewoundPlace {
  readonly logThrough: number;
  readonly revision: number;
  readonly chain: number;
}

/** Revisions go on; no copy has this place, what it has of the log before ends here. */
export function rewoundPlace(id: string, { last, lastSeq }: ShardLog, crc32c: Crc32c): RewoundPlace {
  const chain = crc32c(new TextEncoder().encode(`rewound to ${id}`), last.chain);
  return { logThrough: lastSeq, revision: last.revision + 1, chain };
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
  manifest.set("chain", through.chain);
}
