// The public types of the SDK: what calls take and what they give. Pure types.
import type { ConflictPolicy, Scope } from "../access/types.ts";
import type { ClockMap } from "../wire/clock.ts";
import type { Consistency } from "../wire/session.ts";
import type { JadeError } from "./errors.ts";

export type { ClockMap, ConflictPolicy, Consistency, Scope };

/** Any JSON document. Numbers that JavaScript cannot hold exactly (2^53+1, 1.0) survive only in the raw variants. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

/** Options of every call. */
export interface CallOptions {
  /** Cancels the call. The promise rejects with `signal.reason`; a write that was already sent may still be applied. */
  readonly signal?: AbortSignal | undefined;
  /** Longest time of the whole call with its retries. Default: the client's `timeoutMs`. */
  readonly timeoutMs?: number | undefined;
}

export interface ReadOptions extends CallOptions {
  /** How many replicas must answer. Default: the client's, else the tenant's. */
  readonly consistency?: Consistency | undefined;
}

export interface WriteOptions extends ReadOptions {
  /** The `vectorClock` of an earlier read or write of this key: exact causality. Without it the newest known version is superseded. */
  readonly clock?: ClockMap | undefined;
  /** 32 hex digits. Writes with one write id are applied once. Default: 16 random bytes, kept over this call's retries. */
  readonly writeId?: string | undefined;
  /**
   * Only with `writeId`: whether a write with it may have been sent before this call. True (the default) makes the server
   * ask a majority for the first answer; say false for a fresh id to save that.
   */
  readonly mayHaveBeenSent?: boolean | undefined;
}

export interface WriteResult {
  readonly key: string;
  /** The context after this write: give it back as `clock` to build on it. Opaque. */
  readonly vectorClock: ClockMap;
}

export interface SiblingValue<T> {
  /** Undefined = a delete that is concurrent with the other siblings. */
  readonly value: T | undefined;
  readonly vectorClock: ClockMap;
}

/**
 * The answer of a read. A missing key is no error: `found` is false, `value` undefined, and `vectorClock` still holds the
 * context (of the delete, if there was one) to write with.
 */
export type GetResult<T> =
  | {
      readonly found: true;
      readonly key: string;
      /** With a conflict: the newest sibling. */
      readonly value: T;
      readonly vectorClock: ClockMap;
      /** True: concurrent versions exist, all in `siblings`. Write a merged value with `vectorClock` to resolve it. */
      readonly conflict: boolean;
      readonly siblings: readonly SiblingValue<T>[];
    }
  | {
      readonly found: false;
      readonly key: string;
      readonly value: undefined;
      readonly vectorClock: ClockMap;
      readonly conflict: false;
      readonly siblings: readonly [];
    };

export type BatchOperation =
  | {
      readonly op: "put";
      readonly key: string;
      readonly value: unknown;
      readonly clock?: ClockMap;
      readonly consistency?: Consistency;
    }
  | {
      readonly op: "putRaw";
      readonly key: string;
      readonly json: string;
      readonly clock?: ClockMap;
      readonly consistency?: Consistency;
    }
  | { readonly op: "get"; readonly key: string; readonly consistency?: Consistency }
  | { readonly op: "delete"; readonly key: string; readonly clock?: ClockMap; readonly consistency?: Consistency };

/** One per operation, in their order. Operations of a batch succeed or fail each on its own. */
export type BatchResult =
  | { readonly ok: true; readonly op: "put" | "delete"; readonly result: WriteResult }
  | { readonly ok: true; readonly op: "get"; readonly result: GetResult<unknown> }
  | { readonly ok: false; readonly op: "put" | "get" | "delete"; readonly key: string; readonly error: JadeError };

export interface BatchOptions extends ReadOptions {
  /** As in {@link WriteOptions}; the operations' own write ids are derived from it. */
  readonly writeId?: string | undefined;
  readonly mayHaveBeenSent?: boolean | undefined;
}

/** One page of a list. `cursor` is null on the last one. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly cursor: string | null;
}

export interface ListOptions extends CallOptions {
  /** Entries a page. */
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}
