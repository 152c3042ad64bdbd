// The rows of a shard in pages: by the hash of their ids, which neither writes nor seals nor merges change.
// Guarantees: a row that lives all through a listing is given once; one that comes or goes meanwhile at most once.
import { ByteReader, ByteWriter } from "../../wire/bytes.ts";
import type { BitSet } from "../metadata/bit-set.ts";
import { compareText } from "../metadata/values.ts";
import type { Located, VectorStore } from "./vector-store.ts";

/** The last row that was given. */
export interface ListingPlace {
  readonly hash: number;
  readonly id: string;
}

interface Entry extends Located, ListingPlace {}

export interface Page {
  readonly rows: readonly Located[];
  /** Undefined = these were the last. */
  readonly next: ListingPlace | undefined;
}

export interface PageAsk {
  readonly after: ListingPlace | undefined;
  readonly limit: number;
  /** Rows of a segment that may be given; absent = all. */
  readonly allowed?: (segment: Located["segment"]) => BitSet;
}

export function listPage(store: VectorStore, ask: PageAsk): Page {
  const entries = store.segments.flatMap((segment) => pageOf(segment, ask)).sort(inOrder);
  const rows = entries.slice(0, ask.limit);
  const last = rows.at(-1);
  return { rows, next: entries.length > ask.limit && last ? { hash: last.hash, id: last.id } : undefined };
}

function inOrder(a: ListingPlace, b: ListingPlace): number {
  return a.hash - b.hash || compareText(a.id, b.id);
}

/** The first rows of one segment after the place, one more than the page holds, and all that share the last hash. */
function pageOf(segment: Located["segment"], { after, limit, allowed }: PageAsk): readonly Entry[] {
  const entries: Entry[] = [];
  const rows = allowed?.(segment);
  for (const [hash, row] of segment.byHash(after?.hash ?? 0)) {
    if (entries.length > limit && entries.at(-1)!.hash !== hash) break;
    if (segment.isDeleted(row) || rows?.has(row) === false) continue;
    const entry = { segment, row, hash, id: segment.idOf(row).id };
    if (!after || inOrder(after, entry) < 0) entries.push(entry);
  }
  return entries;
}

export function writePlace(place: ListingPlace | undefined): Uint8Array {
  if (!place) return new Uint8Array(0);
  const writer = new ByteWriter(64);
  writer.u32(place.hash);
  writer.string(place.id);
  return writer.take();
}

/** @throws MalformedBytes */
export function readPlace(bytes: Uint8Array): ListingPlace | undefined {
  if (bytes.length === 0) return undefined;
  const reader = new ByteReader(bytes);
  return { hash: reader.u32(), id: reader.string() };
}
