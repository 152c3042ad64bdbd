// Puts damaged rows of a keyspace back, from its own log or from a follower's copy.
// Guarantees: nothing is put back that the rest of the log does not prove: a record must continue the chain of the one before it, or be continued by
// the one behind it; a version must be what its record says. Must not: ask anyone (the object does).
import {
  CorruptRecord,
  type Crc32c,
  chainOfRecord,
  type DamagedPlace,
  decodeRecord,
  type LogRecord,
} from "./record.ts";
import type { ConfigStore } from "./store.ts";
import type { Version } from "./version.ts";

/** What a follower holds of a damaged place. */
export type Intact =
  | { readonly kind: "record"; readonly bytes: Uint8Array }
  /** `ended`: the revision that ended it, 0 = it lives. */
  | { readonly kind: "version"; readonly version: Version; readonly ended: number };

/** Undefined = it is not held. Throws CorruptRecord where it is damaged too. */
export function intactOf(store: ConfigStore, place: DamagedPlace): Intact | undefined {
  if (place.kind === "record") {
    const bytes = store.recordBytes(place.seq);
    return bytes && { kind: "record", bytes };
  }
  const held = store.versionAt(place.key, place.modRevision);
  return held && { kind: "version", ...held };
}

/** True = the place is whole again. */
export function restore(store: ConfigStore, { place, intact }: Restored, crc32c: Crc32c): boolean {
  if (place.kind === "record") return intact.kind === "record" && restoreRecord(store, place.seq, { intact, crc32c });
  if (intact.kind !== "version" || intact.version.key !== place.key) return false;
  const { version, ended } = intact;
  if (place.modRevision === 0 ? ended !== 0 : ended === 0 || version.modRevision !== place.modRevision) return false;
  // Meanwhile it may have been written anew.
  if (isWhole(store, place)) return true;
  const record = store.record(version.seq);
  if (!record || !isVersionOf(record, version)) return false;
  store.putBack(version, ended);
  return true;
}

export interface Restored {
  readonly place: DamagedPlace;
  readonly intact: Intact;
}

function restoreRecord(
  store: ConfigStore,
  seq: number,
  { intact: { bytes }, crc32c }: { readonly intact: { readonly bytes: Uint8Array }; readonly crc32c: Crc32c },
): boolean {
  const record = decodeRecord(crc32c, bytes, seq);
  const before = store.record(seq - 1);
  const next = store.recordBytes(seq + 1);
  const follows = before !== undefined && chainOfRecord(crc32c, before.chain, bytes) === record.chain;
  const isFollowed =
    next !== undefined && chainOfRecord(crc32c, record.chain, next) === decodeRecord(crc32c, next, seq + 1).chain;
  const isFirst = seq === 1 && chainOfRecord(crc32c, 0, bytes) === record.chain;
  if (!follows && !isFollowed && !isFirst) return false;
  store.putBackRecord(seq, bytes);
  return true;
}

/**
 * A living version's row says the same as its record, but for what was damaged: where place and revision still agree with the record, the rest
 * is taken from there.
 */
export function restoreFromLog(store: ConfigStore, place: DamagedPlace): boolean {
  if (place.kind === "record" || place.modRevision !== 0) return false;
  const row = store.uncheckedCurrent(place.key);
  const record = row && store.record(row.seq);
  if (!row || record?.key !== place.key || record.type !== "put" || record.revision !== row.modRevision) return false;
  const { createRevision, version, lease } = record;
  store.putBack({ ...row, createRevision, version, lease }, 0);
  return true;
}

function isWhole(store: ConfigStore, { key, modRevision }: Extract<DamagedPlace, { kind: "version" }>): boolean {
  try {
    store.versionAt(key, modRevision);
    return true;
  } catch (error) {
    if (error instanceof CorruptRecord) return false;
    throw error;
  }
}

function isVersionOf(record: LogRecord, version: Version): boolean {
  return (
    record.type === "put" &&
    record.key === version.key &&
    record.revision === version.modRevision &&
    record.createRevision === version.createRevision &&
    record.version === version.version &&
    record.lease === version.lease
  );
}
