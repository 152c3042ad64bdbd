// The public types of `client.config`. Pure types.
import type { CallOptions } from "./types.ts";

/** Text, or bytes for keys that are no UTF-8. Bytes that are UTF-8 come back as text. */
export type ConfigKey = string | Uint8Array;

/**
 * How values are given: `json` (default) as JSON values, and as bytes where they are no JSON; `bytes` always as bytes; `text` as the stored
 * text, which for JSON is its exact text.
 */
export type ValueForm = "json" | "bytes" | "text";

export interface ConfigMeta {
  readonly key: ConfigKey;
  /** The revision that created it. */
  readonly createRevision: number;
  /** The revision of its last change. */
  readonly modRevision: number;
  /** Changes since it was created; 1 = just created. */
  readonly version: number;
  /** The lease that it ends with. */
  readonly leaseId?: string | undefined;
}

export interface ConfigEntry<T = unknown> extends ConfigMeta {
  /** Undefined when only keys were asked for. */
  readonly value: T;
}

/** A missing key is no error: `found` is false. `revision` is that of the state that was read. */
export type ConfigGetResult<T = unknown> =
  | ({ readonly found: true; readonly revision: number } & ConfigEntry<T>)
  | { readonly found: false; readonly revision: number; readonly key: ConfigKey; readonly value: undefined };

export interface ConfigReadOptions extends CallOptions {
  /** The state as of then. Default: now. */
  readonly revision?: number | undefined;
  readonly keysOnly?: boolean | undefined;
  readonly as?: ValueForm | undefined;
  /** `serializable` allows an answer that is a little old. */
  readonly consistency?: "linearizable" | "serializable" | undefined;
  readonly maxStalenessMs?: number | undefined;
}

export interface ConfigWriteOptions extends CallOptions {
  /** 32 hex digits. Writes with one write id are applied once. Default: random, kept over this call's retries. */
  readonly writeId?: string | undefined;
}

export interface ConfigConditions {
  /** 0 = only if the key is absent. */
  readonly ifModRevision?: number | undefined;
  readonly ifVersion?: number | undefined;
  /** Bytes, or JSON whose text must be the stored one. */
  readonly ifValue?: unknown;
}

export interface ConfigPutOptions extends ConfigWriteOptions, ConfigConditions, PutFields {
  /** True: only if there is no such key; false: only if there is one. Left out: either way. */
  readonly ifAbsent?: boolean | undefined;
  readonly as?: ValueForm | undefined;
}

export interface PutFields {
  readonly leaseId?: string | undefined;
  /** Appends the revision in 16 digits to the key. */
  readonly sequential?: boolean | undefined;
  /** Gives back what was there before. */
  readonly prevKv?: boolean | undefined;
  /** Keeps the lease that the key has. */
  readonly ignoreLease?: boolean | undefined;
}

export interface ConfigPutResult extends ConfigMeta {
  readonly revision: number;
  readonly prevKv?: ConfigEntry | undefined;
}

export interface ConfigDeleteOptions extends ConfigWriteOptions, ConfigConditions {
  readonly prevKv?: boolean | undefined;
  readonly as?: ValueForm | undefined;
}

export interface ConfigDeleteResult {
  /** 0 = there was no such key. */
  readonly deleted: number;
  readonly revision: number;
  readonly prevKv?: ConfigEntry | undefined;
}

/** `prefix`, or `start` and `end`; nothing = all keys. */
export interface ConfigRange {
  readonly prefix?: ConfigKey | undefined;
  readonly start?: ConfigKey | undefined;
  /** Keys before this one. */
  readonly end?: ConfigKey | undefined;
}

export interface ConfigRangeFields extends ConfigRange {
  readonly limit?: number | undefined;
  readonly keysOnly?: boolean | undefined;
  readonly countOnly?: boolean | undefined;
  readonly withCount?: boolean | undefined;
  readonly sort?: "key" | "version" | "createRevision" | "modRevision" | "value" | undefined;
  readonly order?: "asc" | "desc" | undefined;
  readonly revision?: number | undefined;
  readonly minModRevision?: number | undefined;
  readonly maxModRevision?: number | undefined;
  readonly minCreateRevision?: number | undefined;
  readonly maxCreateRevision?: number | undefined;
  /** One level of a hierarchy: deeper keys are told once, as a common prefix. */
  readonly delimiter?: ConfigKey | undefined;
}

export interface ConfigRangeOptions extends ConfigRangeFields, Omit<ConfigReadOptions, "revision" | "keysOnly"> {
  readonly cursor?: string | undefined;
}

export interface ConfigPage<T = unknown> {
  /** Of the state that was read: a watch from the next one on misses nothing. */
  readonly revision: number;
  readonly items: readonly ConfigEntry<T>[];
  readonly commonPrefixes?: readonly ConfigKey[] | undefined;
  readonly count?: number | undefined;
  readonly more: boolean;
  readonly cursor: string | null;
}

export interface ConfigStatus {
  readonly namespace: string;
  readonly revision: number;
  readonly term: number;
  readonly compactedRevision: number;
  readonly keys: number;
  readonly leases: number;
  readonly watches: number;
  readonly databaseBytes: number;
}

export interface NamespaceInfo {
  readonly namespace: string;
  /** ISO 8601. */
  readonly createdAt: string;
}

export interface LeaseInfo {
  readonly leaseId: string;
  /** What is left. */
  readonly ttlSeconds: number;
}

export interface LeaseDetails extends LeaseInfo {
  readonly grantedTtlSeconds: number;
  readonly keys?: readonly ConfigKey[] | undefined;
}
