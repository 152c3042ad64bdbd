// Who calls and what a tenant is, as every layer sees it. Pure types. Secrets never appear here, only their hashes.
import type { Consistency } from "../wire/session.ts";

export type Scope = "read-only" | "read-write" | "admin";

/** What happens to concurrent versions of a key when they are read. */
export type ConflictPolicy = "siblings" | "lastWriteWins" | "jsonMerge";

/**
 * A change of a tenant's replication factor under way (spec RP-39). `filling`: the replicas that join get writes and count nowhere.
 * `joint`: reads and writes need a quorum of the old replicas and one of the new ones.
 */
export interface FactorChange {
  readonly to: number;
  readonly phase: "filling" | "joint";
}

/** How many replicas hold a tenant's keys, under a revision that grows with every change of it. */
export interface TenantRoute {
  readonly replicationFactor: number;
  /** Missing = 0: never changed. */
  readonly routeRevision?: number | undefined;
  readonly change?: FactorChange | undefined;
}

/** Settings of a tenant that the data path needs. */
export interface TenantSettings extends TenantRoute {
  readonly defaultConsistency: Consistency;
  readonly conflictPolicy: ConflictPolicy;
}

/** A token bucket: so many requests a second in the long run, `burst` of them at once. Invariant: burst ≥ requestsPerSecond. */
export interface RateLimit {
  readonly requestsPerSecond: number;
  readonly burst: number;
}

/** What a tenant may hold; null = no bound of its own. */
export interface TenantQuotas {
  /** Bytes of keys and values, of one copy. */
  readonly storedBytes: number | null;
  /** Keys of the key-value store. */
  readonly keys: number | null;
  /** API keys, revoked ones of the last 30 days included. */
  readonly apiKeys: number | null;
}

/** A quota that is used up: what answers to writes name. */
export interface QuotaExcess {
  readonly quota: keyof TenantQuotas;
  readonly used: number;
  readonly limit: number;
}

/** How a caller has shown who it is, for as long as it stays. */
export type Credential =
  | { readonly kind: "key"; readonly keyId: string }
  /** None was asked for: the operator lets anybody be this tenant with this scope. */
  | { readonly kind: "none"; readonly scope: Scope }
  /** A signed token. Ms; `issuedAtMs` null = it does not say. */
  | {
      readonly kind: "token";
      readonly scope: Scope;
      readonly expiresAtMs: number;
      readonly issuedAtMs: number | null;
    };

/** Travels with every call from the gateway to the Coordinator. `tenant` is the Directory's number, never reused. */
export interface Caller extends TenantSettings {
  readonly tenant: number;
  readonly canWrite: boolean;
  /** Absent = false. */
  readonly isAdmin?: boolean;
  /** Present while a quota is used up: what stores more is refused. */
  readonly excess?: QuotaExcess;
}

/**
 * The state of a storage node of the ring (DESIGN 4). Replica sets are derived from it: writes include `bootstrapping`, reads do not.
 * `rebuilding` = it lost its disk: it keeps its places, so that quorums stay as large, and counts nowhere until it was filled.
 * `leaving` = it has no places any more, and still holds what it held.
 */
export type NodeState = "active" | "bootstrapping" | "rebuilding" | "draining" | "leaving" | "removed" | "failed";

export interface StorageNode {
  /** `n1`, `n2`, …; the number is what dots carry. */
  readonly id: string;
  readonly number: number;
  readonly incarnation: number;
  readonly zone: string;
  readonly weight: number;
  readonly state: NodeState;
  /** Where it stands on the ring (high words of tokens). Absent: where hashes of its number say. */
  readonly positions?: readonly number[] | undefined;
  /** What a change under way gives it. */
  readonly next?: { readonly weight: number; readonly positions: readonly number[] } | undefined;
}

/** Under which revision the nodes divide the ring, and how far a change of that is (spec RP-116). */
export interface RingState {
  readonly revision: number;
  /** Absent: the ring does not change. As for a {@link FactorChange}. */
  readonly phase?: FactorChange["phase"] | undefined;
  /** Nodes keep what they are no replicas of: a change ended a short time ago (spec RP-120). */
  readonly keepsStrays?: boolean | undefined;
}

/** Where copies of vectors may stand (cluster/copy-zones.ts), in order. */
export interface CopyZones {
  /** They may stay there. */
  readonly zones: readonly string[];
  /** Of them, those whose instance is there now: a new copy can be filled. */
  readonly fresh: readonly string[];
}

/** What the gateway and the Coordinator need of the Directory; replaced whole when `revision` grows. */
export interface DirectoryView {
  readonly revision: number;
  /** Made once, with the deployment. Left out by earlier builds. */
  readonly deployment?: string;
  readonly nodes: readonly StorageNode[];
  /** Absent: it never changed. */
  readonly ring?: RingState | undefined;
  /** As of now, whatever the revision. Left out by earlier builds. */
  readonly copyZones?: CopyZones;
}

/** What the gateway authenticates from: one tenant's settings and the hashes of its keys. */
export interface TenantView extends TenantSettings {
  readonly tenantId: string;
  readonly tenant: number;
  readonly revision: number;
  readonly state: "active" | "deleting";
  readonly keys: readonly ApiKeyRecord[];
  /** Of all its credentials together; absent or null = unlimited. */
  readonly rateLimit?: RateLimit | null;
  /** Signed tokens issued before are refused. Ms. */
  readonly tokensValidAfterMs?: number | null;
  readonly excess?: QuotaExcess | null;
}

export interface ApiKeyRecord {
  readonly keyId: string;
  readonly name: string;
  readonly scope: Scope;
  /** Hex SHA-256 of the whole key text. */
  readonly hash: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
  /** Absent or null = only the tenant's limit holds. */
  readonly rateLimit?: RateLimit | null;
}
