// Puts a leader's list of segments in place of a copy's own. Call within one transaction; the store is opened anew after it.
// Guarantees: blobs that only the old list names are buried; those of the new one are orphans no more.
import { drain } from "../../storage/drain.ts";
import type { SqlStorage } from "../../storage/types.ts";
import { BitSet } from "../metadata/bit-set.ts";
import { type Crc32c, type Directory, readDirectory } from "../segment/directory.ts";
import { DELETED_PAGE_WORDS } from "../shard/limits.ts";
import { Manifest } from "../shard/manifest.ts";
import { blobsOf } from "./blob-checks.ts";
import type { ShippedManifest, ShippedSegment } from "./frames.ts";

/**
 * Revisions that no copy reaches: as `asOf` they say that nothing is shown before the leader's segments were taken over, and that the copy
 * has what its leader never had (DIVERGED), or has lost what followed its segments (LOST_LOG).
 */
export const DIVERGED = Number.MAX_SAFE_INTEGER;
export const LOST_LOG = DIVERGED - 1;

/** For a copy whose log is damaged: its segments stay, what followed them is given again. Before the store is opened, in one turn. */
export function forgetLog(sql: SqlStorage, crc32c: Crc32c): void {
  drain(sql.exec("DELETE FROM storage_log"));
  new Manifest(sql, crc32c).set("asOf", LOST_LOG);
}

export interface HeldSegment {
  readonly number: number;
  /** As stored. */
  readonly directory: Uint8Array;
}

export function heldSegments(sql: SqlStorage): readonly HeldSegment[] {
  const rows = sql.exec<{ number: number; directory: ArrayBuffer }>("SELECT number, directory FROM vector_segments");
  return [...rows].map(({ number, directory }) => ({ number, directory: new Uint8Array(directory) }));
}

/** The same segment: its number may have been given another directory, with more sections. */
export function isSame(a: HeldSegment, b: HeldSegment): boolean {
  const [left, right] = [a.directory, b.directory];
  return a.number === b.number && left.length === right.length && left.every((byte, at) => byte === right[at]);
}

export interface Adoption {
  readonly manifest: ShippedManifest;
  /** The last row of the copy's log that the segments cover. */
  readonly logThrough: number;
}

/** @throws CorruptSegment */
export function storeManifest(sql: SqlStorage, crc32c: Crc32c, { manifest: shipped, logThrough }: Adoption): void {
  const manifest = new Manifest(sql, crc32c);
  const held = heldSegments(sql);
  const gone = held.filter((old) => !shipped.segments.some((segment) => isSame(old, segment)));
  const names = new Set<string>();
  for (const { number, directory } of gone) {
    manifest.remove(number);
    for (const { name } of blobsOf(readDirectory(directory, crc32c))) names.add(name);
  }
  for (const segment of shipped.segments) {
    const directory = readDirectory(segment.directory, crc32c);
    for (const { name } of blobsOf(directory)) {
      names.delete(name);
      drain(sql.exec("DELETE FROM storage_intents WHERE name = ?", name));
    }
    if (!held.some((old) => isSame(old, segment))) manifest.add(segment.number, directory);
    storeDeleted(sql, manifest, { segment, directory });
  }
  for (const name of names) drain(sql.exec("INSERT OR IGNORE INTO storage_dead (name) VALUES (?)", name));
  manifest.set("logThrough", logThrough);
  manifest.set("revision", shipped.revision);
  manifest.set("chain", shipped.chain);
  manifest.set("asOf", shipped.asOf);
}

function storeDeleted(
  sql: SqlStorage,
  manifest: Manifest,
  { segment, directory }: { segment: ShippedSegment; directory: Directory },
): void {
  const words = new Uint32Array(segment.deleted.slice().buffer);
  const deleted = new BitSet(directory.rowCount, words);
  drain(sql.exec("DELETE FROM vector_deleted WHERE segment = ?", segment.number));
  for (let page = 0; page * DELETED_PAGE_WORDS < words.length; page++) {
    const from = page * DELETED_PAGE_WORDS;
    if (words.subarray(from, from + DELETED_PAGE_WORDS).some((word) => word !== 0))
      manifest.storeDeleted(segment.number, page, deleted);
  }
}
