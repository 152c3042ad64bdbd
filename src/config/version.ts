// A version of a key, and what is asked of the index. Must not: do I/O.
import type { BinaryKey, KeyRange, LeaseId } from "../wire/config.ts";
import type { LogRecord } from "./record.ts";

/** A version's place and metadata, without its value. */
export interface Version {
  readonly key: BinaryKey;
  readonly seq: number;
  readonly modRevision: number;
  readonly createRevision: number;
  readonly version: number;
  readonly lease: LeaseId;
  /** The log row, where a scan brought it along. */
  readonly stored?: Uint8Array | undefined;
}

export interface Scan extends KeyRange {
  /** 0 = the living keys. */
  readonly revision: number;
  readonly limit: number;
  readonly descending?: boolean | undefined;
  /** Brings the values along, in the same statement. */
  readonly values?: boolean | undefined;
}

/** The version that a put made. */
export function versionOfRecord(seq: number, record: LogRecord): Version {
  const { key, revision, createRevision, version, lease } = record;
  return { key, seq, modRevision: revision, createRevision, version, lease };
}
