// What can be asked of a configuration keyspace, and what it answers: the types that gateway, sessions, objects and SDK share.
// The words and meanings are etcd's (v3), because its face stands on the same operations. Must not: do anything.
// Bytes of keys travel as *binary strings*: one char a byte. Their order as strings is the order of the bytes, and a Map can hold them.

/** A key: one char (0-255) for each byte. See config-keys.ts. */
export type BinaryKey = string;

/** A lease's int64 as a decimal string; "" = none. */
export type LeaseId = string;

export interface KeyValue {
  readonly key: BinaryKey;
  /** Revision that created the key; it was absent before. */
  readonly createRevision: number;
  /** Revision of its last change. */
  readonly modRevision: number;
  /** Changes since it was created; 1 = just created. */
  readonly version: number;
  readonly lease: LeaseId;
  /** Empty when only keys were asked for. */
  readonly value: Uint8Array;
}

export type SortTarget = "key" | "version" | "create" | "mod" | "value";
export const SORT_TARGETS: readonly SortTarget[] = ["key", "version", "create", "mod", "value"];

/** `rangeEnd`: "" = the one key; "\0" = all keys from `key` on; else keys in [key, rangeEnd). */
export interface KeyRange {
  readonly key: BinaryKey;
  readonly rangeEnd: BinaryKey;
}

export interface RangeRequest extends KeyRange {
  readonly kind: "range";
  /** 0 = no limit but the size of an answer. */
  readonly limit?: number | undefined;
  /** A page in the order of keys ends before the key that passes this, but holds one. Bytes; 0 = no limit but the size of an answer. */
  readonly maxBytes?: number | undefined;
  /** The state as of this revision; 0 = now. */
  readonly revision?: number | undefined;
  readonly sortTarget?: SortTarget | undefined;
  readonly descending?: boolean | undefined;
  readonly keysOnly?: boolean | undefined;
  readonly countOnly?: boolean | undefined;
  /** Counting all keys of the range costs a walk over them; left out, `count` is what is known without it. */
  readonly withCount?: boolean | undefined;
  readonly minModRevision?: number | undefined;
  readonly maxModRevision?: number | undefined;
  readonly minCreateRevision?: number | undefined;
  readonly maxCreateRevision?: number | undefined;
  /** One level of a hierarchy: keys that hold it after the first `delimiterFrom` bytes are told as their common prefix only. */
  readonly delimiter?: BinaryKey | undefined;
  readonly delimiterFrom?: number | undefined;
}

export interface PutRequest {
  readonly kind: "put";
  readonly key: BinaryKey;
  readonly value: Uint8Array;
  readonly lease?: LeaseId | undefined;
  readonly prevKv?: boolean | undefined;
  /** Keeps the value and changes only the lease. The key must exist. */
  readonly ignoreValue?: boolean | undefined;
  readonly ignoreLease?: boolean | undefined;
  /** Appends the revision, zero-padded to 16 digits, to the key. */
  readonly sequential?: boolean | undefined;
}

export interface DeleteRangeRequest extends KeyRange {
  readonly kind: "deleteRange";
  readonly prevKv?: boolean | undefined;
}

export type CompareTarget = "version" | "create" | "mod" | "value" | "lease";
export const COMPARE_TARGETS: readonly CompareTarget[] = ["version", "create", "mod", "value", "lease"];
export type CompareResult = "equal" | "notEqual" | "greater" | "less";
export const COMPARE_RESULTS: readonly CompareResult[] = ["equal", "notEqual", "greater", "less"];

/** True when it holds for every key of the range. An absent key has version, revisions and lease 0, and no value compares to it. */
export interface Compare extends KeyRange {
  readonly target: CompareTarget;
  readonly result: CompareResult;
  /** `value`: bytes; `lease`: a LeaseId; else a revision or version. */
  readonly operand: number | string | Uint8Array;
}

export type TxnOperation = RangeRequest | PutRequest | DeleteRangeRequest | TxnRequest;

export interface TxnRequest {
  readonly kind: "txn";
  readonly compare: readonly Compare[];
  readonly success: readonly TxnOperation[];
  readonly failure: readonly TxnOperation[];
}

export interface CompactRequest {
  readonly kind: "compact";
  readonly revision: number;
}

export interface LeaseGrantRequest {
  readonly kind: "leaseGrant";
  /** "" = the keyspace chooses. */
  readonly lease: LeaseId;
  readonly ttlSeconds: number;
}

export interface LeaseRevokeRequest {
  readonly kind: "leaseRevoke";
  readonly lease: LeaseId;
}

export interface LeaseKeepAliveRequest {
  readonly kind: "leaseKeepAlive";
  readonly lease: LeaseId;
}

export interface LeaseTimeToLiveRequest {
  readonly kind: "leaseTimeToLive";
  readonly lease: LeaseId;
  readonly withKeys?: boolean | undefined;
}

export interface LeasesRequest {
  readonly kind: "leases";
}

export interface StatusRequest {
  readonly kind: "status";
}

export type ConfigRequest =
  | TxnOperation
  | CompactRequest
  | LeaseGrantRequest
  | LeaseRevokeRequest
  | LeaseKeepAliveRequest
  | LeaseTimeToLiveRequest
  | LeasesRequest
  | StatusRequest;

/**
 * Takes a lock, or stands for an election: the key `<name>/<lease in hex>` is made, as etcd's clients do it, and owns the name when
 * no older one is there.
 */
export interface AcquireRequest {
  readonly name: BinaryKey;
  readonly lease: LeaseId;
  /** What the key holds: an election's candidates say who they are. */
  readonly value: Uint8Array;
  /** 0 = do not stand in line. */
  readonly waitMs: number;
  /** A wait that ends by its time keeps its place, for the next one of the same lease. */
  readonly keepPlace?: boolean;
}

export interface AcquireAnswer {
  readonly kind: "acquired";
  readonly header: AnswerHeader;
  readonly key: BinaryKey;
  /** The fencing token: the key's createRevision. Grows with every holder; what it protects should refuse lower ones. */
  readonly fencingToken: number;
}

/** Who owns a lock or an election. */
export interface Ownership {
  readonly header: AnswerHeader;
  readonly owner?: KeyValue | undefined;
  /** Keys that stand in line behind the owner. */
  readonly waiting: number;
}

/** `fencingToken` or `lease` says whose hold is meant. */
export interface ReleaseRequest {
  readonly name: BinaryKey;
  readonly lease?: LeaseId | undefined;
  readonly fencingToken?: number | undefined;
  /** Not released, but this value put in place of the owner's (an election's proclamation). */
  readonly proclaim?: Uint8Array | undefined;
}

/** Who answers, and how far it is. */
export interface AnswerHeader {
  readonly revision: number;
  /** Grows with every start of the owner. */
  readonly term: number;
}

export interface RangeAnswer {
  readonly kind: "range";
  readonly kvs: readonly KeyValue[];
  /** Keys of the range, whatever the limit, when the count was asked for; else those of this answer. */
  readonly count: number;
  /** There are more keys than the limit let through. */
  readonly more: boolean;
  readonly commonPrefixes?: readonly BinaryKey[] | undefined;
}

export interface PutAnswer {
  readonly kind: "put";
  /** As stored: differs from the request's for a sequential key. */
  readonly key: BinaryKey;
  readonly createRevision: number;
  readonly version: number;
  readonly lease: LeaseId;
  readonly prevKv?: KeyValue | undefined;
}

export interface DeleteRangeAnswer {
  readonly kind: "deleteRange";
  readonly deleted: number;
  readonly prevKvs: readonly KeyValue[];
}

export interface TxnAnswer {
  readonly kind: "txn";
  readonly succeeded: boolean;
  readonly responses: readonly OperationAnswer[];
}

export type OperationAnswer = RangeAnswer | PutAnswer | DeleteRangeAnswer | TxnAnswer;

export interface CompactAnswer {
  readonly kind: "compact";
}

export interface LeaseAnswer {
  readonly kind: "lease";
  readonly lease: LeaseId;
  /** Left, or granted; -1 = there is no such lease (as etcd answers keep-alive and time-to-live). */
  readonly ttlSeconds: number;
  readonly grantedTtlSeconds: number;
  readonly keys: readonly BinaryKey[];
}

export interface LeasesAnswer {
  readonly kind: "leases";
  readonly leases: readonly LeaseId[];
}

export interface StatusAnswer {
  readonly kind: "status";
  readonly compactedRevision: number;
  readonly keys: number;
  readonly leases: number;
  readonly watches: number;
  readonly databaseBytes: number;
  /** The chain value of the last record (CRC32C over all records): copies of one log agree in it. */
  readonly chain: number;
}

export type ConfigAnswer = (OperationAnswer | CompactAnswer | LeaseAnswer | LeasesAnswer | StatusAnswer) & {
  readonly header: AnswerHeader;
};

/** An error for the client, as a value: a thrown one loses its code between objects. */
export interface ConfigFailure {
  readonly kind: "error";
  readonly code: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

export interface ConfigEvent {
  readonly type: "put" | "delete";
  /** Of a delete: the key and, as modRevision, the revision that deleted it. */
  readonly kv: KeyValue;
  /** Where it was asked for and is not compacted. */
  readonly prevKv?: KeyValue | undefined;
}
