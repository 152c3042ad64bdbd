// The RPC surfaces of Directory and Tenant beyond what the data path needs (objects/rpc.ts): administration.
// An error that the client must see travels as a value: a thrown one loses its code between objects.
import type {
  ApiKeyRecord,
  CopyZones,
  RateLimit,
  Scope,
  TenantQuotas,
  TenantSettings,
  TenantView,
} from "../src/access/types.ts";
import type { ClusterEventKind } from "../src/cluster/event-kinds.ts";
import type { NodePlan } from "../src/cluster/replacement-plan.ts";
import type { RingRequest } from "../src/cluster/ring-operations.ts";
import type { RingChangeKind } from "../src/cluster/ring-target.ts";
import type { MembershipView } from "../src/cluster/told.ts";
import type { PurgeRound } from "../src/replication/purge-round.ts";
import type { ChangeState } from "../src/replication/route-change.ts";
import { type ErrorCode, PublicError } from "../src/wire/error-codes.ts";
import type { DirectoryRpc, TenantRpc } from "./rpc.ts";

export interface RpcFailure {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}
export type RpcResult<T> = { readonly ok: true; readonly value: T } | RpcFailure;

/** Names a mutation: the same id with the same body gets the first answer again, with another body it is refused. */
export interface Mutation {
  /** 16 bytes. */
  readonly writeId: Uint8Array;
  /** Hex. */
  readonly bodyHash: string;
}

/** What a tenant may use; absent or null = the deployment's default. */
export interface TenantLimits {
  readonly rateLimit?: RateLimit | null;
  readonly quotas?: Partial<TenantQuotas>;
  /** Signed tokens issued before are refused. Ms. */
  readonly tokensValidAfterMs?: number | null;
}

export interface TenantInfo extends TenantSettings, TenantLimits {
  readonly tenantId: string;
  readonly displayName: string;
  readonly createdAtMs: number;
  /** A change of the replication factor that is under way; missing or null = none. */
  readonly changeState?: ChangeState | null;
}

export interface NewTenant extends TenantSettings, TenantLimits {
  readonly tenantId: string;
  readonly displayName: string;
}

export interface CreatedTenant extends TenantInfo {
  readonly keyId: string;
  readonly apiKey: string;
}

export interface TenantRow {
  readonly tenantId: string;
  readonly tenant: number;
  readonly createdAtMs: number;
}

export interface RepairProgress {
  readonly nodesDone: number;
  readonly nodeCount: number;
  readonly rowsCompared: number;
  readonly rowsRepaired: number;
  /** Rows that stay different because a copy fails its checksum. */
  readonly rowsUnreadable: number;
  /** Rows that were read for it, of each range at the replica that read most; absent = as before this was counted. */
  readonly rowsRead?: number | undefined;
  /** Ranges that an incremental repair left out, for a replica of them was away. */
  readonly rangesLeftOut?: number | undefined;
  /** Why nodes do not get on; empty = they do. */
  readonly waitingFor: string;
}

/** `full`: all is read and compared. `incremental`: what was written since the last one, where all replicas answer. */
export type RepairKind = "full" | "incremental";

/** What a full repair lets go: rows of keys that were deleted before `beforeMs`. */
export interface RepairPurge {
  readonly state: PurgeRound["step"] | "finished";
  readonly beforeMs: number;
  /** Why it does not get on; empty = it does. */
  readonly waitingFor: string;
}

/** All replicas of all keys are brought to agreement. */
export interface RepairInfo {
  readonly repairId: number;
  readonly kind: RepairKind;
  readonly startedAtMs: number;
  readonly finishedAtMs: number | null;
  readonly progress: RepairProgress;
  /** Null = it is not over, or no delete is older than the grace period. */
  readonly purge: RepairPurge | null;
}

/** What a client asks for. */
export interface RingOrder extends RingRequest {
  readonly graceSeconds?: number | undefined;
  readonly keysPerSecond?: number | undefined;
}

/** `waiting` for another, or for what must end first; then `filling`, `joint`, `switching` (data moves), `cleaning`, and an end. */
export type RingOperationState =
  | ("waiting" | "filling" | "joint" | "switching" | "cleaning")
  | ("finished" | "cancelled" | "rolledBack" | "failed");

/** A change of the storage nodes. */
export interface RingOperationInfo {
  readonly operationId: number;
  readonly kind: RingChangeKind;
  readonly nodeId: string;
  /** Nodes that leave with it. */
  readonly otherIds: readonly string[];
  /** The node that is new; null = none. */
  readonly joiningId: string | null;
  readonly weight: number | null;
  readonly state: RingOperationState;
  readonly createdAtMs: number;
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
  /** Why it was called off, or failed. */
  readonly reason: string;
  /** Why it does not get on; empty = it does. */
  readonly waitingFor: string;
  readonly graceSeconds: number;
  readonly keysPerSecond: number | null;
  /** Nodes that could not be reached to delete what they are no replicas of. */
  readonly uncleaned: readonly string[];
  readonly progress: {
    readonly nodesDone: number;
    readonly nodeCount: number;
    readonly rangesDone: number;
    readonly rangeCount: number;
    readonly keysCompared: number;
    readonly keysMoved: number;
    readonly bytesMoved: number;
  };
}

/** `begun` = its storage nodes are being removed from the ring, so that others take their ranges; `notPossible` = they can not be. */
export type ReplacementOutcome = "observed" | "planned" | "begun" | "notPossible";

/** What happened to the instances and the storage nodes of a cluster. */
export interface ClusterEvent {
  readonly number: number;
  readonly atMs: number;
  readonly kind: ClusterEventKind;
  readonly zone: string;
  /** Of the instance; 0 = it is not about one. */
  readonly incarnation: number;
  readonly message: string;
  /** The change of the storage nodes that it is about, or that was begun because of it. */
  readonly operationId?: number | undefined;
  /** Of what was due. */
  readonly outcome?: ReplacementOutcome | undefined;
  readonly plan: readonly NodePlan[];
}

export interface DirectoryAdminRpc extends DirectoryRpc {
  /** The number of the active tenant of this name. */
  lookupTenant(tenantId: string): Promise<number | null>;
  createTenant(input: NewTenant, mutation: Mutation): Promise<RpcResult<CreatedTenant>>;
  deleteTenant(
    tenantId: string,
    mutation: Mutation,
  ): Promise<RpcResult<{ readonly tenantId: string; readonly erasure: "running" }>>;
  /** One at a time: a second one is refused while the first is under way. */
  startRepair(mutation: Mutation, kind?: RepairKind): Promise<RpcResult<RepairInfo>>;
  describeRepair(repairId: number): Promise<RepairInfo | null>;
  /** Newest first; the last hundred. */
  listRepairs(): Promise<readonly RepairInfo[]>;
  /** At most two are open: one moves data, one waits. */
  changeRing(order: RingOrder, mutation: Mutation): Promise<RpcResult<RingOperationInfo>>;
  cancelOperation(operationId: number, mutation: Mutation): Promise<RpcResult<RingOperationInfo>>;
  describeOperation(operationId: number): Promise<RingOperationInfo | null>;
  /** Newest first; the last hundred. */
  listOperations(): Promise<readonly RingOperationInfo[]>;
  /** What one instance sees of all, by gossip. */
  noteView(view: MembershipView): Promise<void>;
  /** Newest first, those below the number `before`. */
  listEvents(page: { readonly before: number; readonly limit: number }): Promise<readonly ClusterEvent[]>;
  /** Active ones after the name `after`, by name. */
  listTenants(page: { readonly after: string; readonly limit: number }): Promise<readonly TenantRow[]>;
  metrics(): Promise<Record<string, number>>;
}

/** What the Directory hands to a Tenant object; the same again after a crash in between. */
export interface TenantStart extends TenantInfo {
  readonly tenant: number;
  readonly sealingSecret: Uint8Array;
  readonly firstKey: ApiKeyRecord;
}

export interface NewKey {
  readonly name: string;
  readonly scope: Scope;
  readonly expiresAtMs: number | null;
  readonly rateLimit?: RateLimit | null;
}

/** What a tenant holds now, as far as its storage nodes say (see objects/tenant-usage.ts). */
export interface TenantUsageInfo {
  readonly storedBytes: number;
  readonly keys: number;
  /** How much of it configuration keyspaces hold, as they said last. */
  readonly config: { readonly storedBytes: number; readonly keys: number };
  readonly apiKeys: number;
  /** The ones that hold; null = no bound. */
  readonly quotas: TenantQuotas;
}

export type KeyInfo = Omit<ApiKeyRecord, "hash">;

export interface CreatedKey extends KeyInfo {
  readonly apiKey: string;
}

export type TenantChanges = Partial<Omit<NewTenant, "tenantId" | "routeRevision" | "change">>;

export interface NamespaceRow {
  readonly namespace: string;
  readonly createdAtMs: number;
}

export interface DeletedNamespace {
  readonly namespace: string;
  readonly erasure: "running" | "done";
}

export interface TenantAdminRpc extends TenantRpc {
  /** `unchanged` when the revision is still `revision` after `waitMs`; null when there is no such tenant (any more). */
  viewSince(revision: number | null, waitMs?: number): Promise<TenantView | "unchanged" | null>;
  initialize(start: TenantStart): Promise<void>;
  describe(): Promise<TenantInfo | null>;
  update(changes: TenantChanges, mutation: Mutation): Promise<RpcResult<TenantInfo>>;
  createKey(input: NewKey, mutation: Mutation): Promise<RpcResult<CreatedKey>>;
  revokeKey(keyId: string, mutation: Mutation): Promise<RpcResult<KeyInfo>>;
  listKeys(page: { readonly after: string; readonly limit: number }): Promise<readonly KeyInfo[]>;
  usage(): Promise<RpcResult<TenantUsageInfo>>;
  /** Namespaces of the configuration store after the name `after`, by name. */
  listNamespaces(page: { readonly after: string; readonly limit: number }): Promise<readonly NamespaceRow[]>;
  deleteNamespace(namespace: string, mutation: Mutation): Promise<RpcResult<DeletedNamespace>>;
  /** One round of erasing all webhooks and keyspaces; true when none is left. After {@link beginErasure}. */
  eraseNamespaces(): Promise<boolean>;
  /** Copies of its vectors may stand in these zones from now on. Gives how many are on their way; they go on behind the answer. Idempotent. */
  placeCopies(known: CopyZones): Promise<number>;
  /** From now on no key is admitted. Idempotent. */
  beginErasure(): Promise<void>;
  /** Forgets everything. Idempotent. */
  erase(): Promise<void>;
}

export function failure(code: ErrorCode, message: string, details?: Readonly<Record<string, unknown>>): RpcFailure {
  return details === undefined ? { ok: false, code, message } : { ok: false, code, message, details };
}

/** The value, or the failure as an error for the client. */
export function unwrap<T>(result: RpcResult<T>): T {
  if (result.ok) return result.value;
  throw new PublicError(result.code, result.message, result.details);
}
