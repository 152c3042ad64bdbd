// The RPC surfaces of the object classes, as their callers see them. One place, so that gateway, cluster and objects agree.
// Methods take and return plain data or bytes: a stub cannot travel between processes (DESIGN 1).

import type { LeaseAsk, LeaseGrant } from "../src/access/rate-authority.ts";
import type { Caller, DirectoryView, QuotaExcess, TenantView } from "../src/access/types.ts";
import type { DamagedPlace } from "../src/config/record.ts";
import type { Intact } from "../src/config/repair.ts";
import type { FeedAsk, FeedPage } from "../src/config/webhook-types.ts";
import type { KeyScan } from "../src/replication/healer.ts";
import type { HintSpan } from "../src/replication/purge-round.ts";
import type { RingSync, TenantSync } from "../src/replication/sync-runner.ts";
import type { SyncState } from "../src/replication/sync-state.ts";
import type {
  AcquireAnswer,
  AcquireRequest,
  AnswerHeader,
  BinaryKey,
  ConfigFailure,
  Ownership,
  ReleaseRequest,
} from "../src/wire/config.ts";
import type { ErrorCode } from "../src/wire/error-codes.ts";
import type { CopyAge } from "../src/wire/session.ts";
import type { Head, Place, ShippedRecord } from "../src/wire/shipment.ts";
import type { SnapshotAnswer, SnapshotAsk } from "./keyspace-snapshots.ts";

export interface ExportPage {
  /** `answer` = one answer of wire/session.ts, kind `value`. */
  readonly rows: readonly { readonly key: string; readonly answer: Uint8Array }[];
  /** Null = that was the last page. */
  readonly cursor: Uint8Array | null;
  readonly skipped?: Skipped;
}

/** What an export went past. */
export interface Skipped {
  /** Where keys may stand that nobody can name; tokens as 16 hex digits, both ends inclusive. */
  readonly ranges: readonly { readonly nodeId: string; readonly fromToken: string; readonly toToken: string }[];
  /** Keys that are known, but not what stands under them. */
  readonly keys: readonly string[];
}

export interface ExportAsk {
  /** Null = from the beginning. */
  readonly cursor: Uint8Array | null;
  readonly limitRows: number;
  /** Go on past what no intact copies are left of. */
  readonly skipCorrupt: boolean;
}

/** An error that the client must see travels as a value: a thrown one loses its code between objects. */
export interface ExportFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** What a configuration keyspace or a shard of vectors counts (objects/keyspace-metrics.ts). */
export interface KeyspaceReport {
  /** Since the last report. */
  readonly counters: Record<string, number>;
  /** Null = it is gone. */
  readonly gauges: Record<string, number> | null;
}

/** `Coordinator`: one per zone process. Name: the zone's, `z1` on a single node. */
export interface CoordinatorRpc {
  /** A request frame of wire/session.ts in, the answer frame out (every request answered, errors included). */
  call(caller: Caller, frame: Uint8Array): Promise<Uint8Array>;
  /** Takes what waits in the mailbox of its name (objects/mailbox.ts); returns when all of it is answered. */
  work(): Promise<void>;
  /** The process is about to be stopped: sessions are told (objects/leaving.ts). */
  leave(): Promise<void>;
  /** WebSocket upgrade of a session; the gateway authenticated it and sets the header `jade-caller` to the JSON of Caller. */
  fetch(request: Request): Promise<Response>;
  /** One page of all of the tenant's keys, from `cursor` on. `error` in place of rows: a public error. */
  exportPage(caller: Caller, ask: ExportAsk): Promise<ExportPage | ExportFailure>;
  /** Counters and gauges: Prometheus sample lines' names with labels → value, e.g. `jade_kv_hints_stored_total{node="n1"}`. */
  metrics(): Promise<Record<string, number>>;
  /** Adds what a gateway isolate counted since its last report. */
  reportGatewayMetrics(delta: Record<string, number>): Promise<void>;
  /** `id`: the keyspace object's. */
  reportKeyspaceMetrics(id: string, report: KeyspaceReport): Promise<void>;
  /** `id`: of the object of a shard of vectors, or of its copy. */
  reportVectorMetrics(id: string, report: KeyspaceReport): Promise<void>;
}

/** `KeyValueReplica`: one per storage node. Name: the node id (`n1`). */
export interface KeyValueReplicaRpc {
  /** A replica frame of replication/frames.ts. */
  call(frame: Uint8Array): Promise<Uint8Array>;
  /** The same of the frame that lies under this number in memory (objects/handover.ts). False = there is none: nothing was done. */
  callHanded(number: number): Promise<boolean>;
  /**
   * A page of one tenant's rows after a position (objects/export.ts), as a frame of replication/scan-frames.ts. Throws while the node
   * is being rebuilt, and when it knows of a newer route than `routeRevision`: the caller would count by the old replicas.
   */
  scan(tenant: number, after: Uint8Array | null, limitRows: number, routeRevision: number): Promise<Uint8Array>;
  /** A page request of replication/sync-frames.ts, and the page. */
  page(request: Uint8Array): Promise<Uint8Array>;
  /** Begins a node's part in a change of a tenant's replicas, where it has not begun, and says how far it is. */
  sync(work: TenantSync): Promise<SyncState>;
  /** The same for a change of the ring. */
  syncRing(sync: RingSync): Promise<SyncState>;
  /** Whether it keeps what one of these missed. */
  keepsHints(nodeIds: readonly string[]): Promise<boolean>;
  /** It is no part of the ring any more: its store is deleted. The call fails, as the object ends with it. */
  retire(): Promise<void>;
  /** Begins the node's part of a repair, where it has not begun, and says how far it is. */
  repair(repairId: number, isIncremental?: boolean): Promise<SyncState>;
  /** Gives up what is left of a change's work, and begins to delete what the node is no replica of. */
  endSync(tenant: number): Promise<void>;
  /** Durably promises that no stamp of this store has the time of now, or an earlier one (hybrid time). */
  promiseFloor(): Promise<{ readonly incarnation: number; readonly floor: number }>;
  hintSpan(): Promise<HintSpan>;
  /** From now on deleted states up to `horizon` are absent here, and rows of those up to `drop` may be dropped. Durable. */
  recordHorizon(marks: { readonly horizon: number; readonly drop: number }): Promise<void>;
  /** A page of keys in a token range, of all tenants, without their values, as a frame of replication/scan-frames.ts. */
  scanKeys(scan: KeyScan): Promise<Uint8Array>;
  /** Durably forgets a tenant; true when nothing of it is left (rows, hints, records, blobs). Call again until true. */
  eraseTenant(tenant: number): Promise<boolean>;
  /** Writes and reads back a probe in its SQLite and its blob store; throws with what fails. */
  probe(): Promise<void>;
  metrics(): Promise<Record<string, number>>;
  /** What this node holds of a tenant: live keys and values. As of the last writes; after a crash up to a second's are missing. */
  tenantUsage(tenant: number): Promise<{ readonly storedBytes: number; readonly keys: number }>;
}

/** `ConfigKeyspace`: one per tenant and namespace. Name: `c<tenant>/<namespace>`. */
export interface ConfigKeyspaceRpc {
  /** As of {@link CoordinatorRpc}: watches are told. */
  leave(): Promise<void>;
  /** A frame of wire/config-requests.ts in, one of wire/config-answers.ts out: every call answered, refusals included. */
  call(frame: Uint8Array): Promise<Uint8Array>;
  /** Resolves when the lock or election is owned, or the wait is over; a refusal is a value. */
  acquire(request: AcquireRequest): Promise<AcquireAnswer | ConfigFailure>;
  release(request: ReleaseRequest): Promise<{ readonly header: AnswerHeader } | ConfigFailure>;
  /** Who owns a lock or an election. */
  ownership(name: BinaryKey): Promise<Ownership | ConfigFailure>;
  /** WebSocket upgrade of a watch connection; the gateway authenticated it and sets the header `jade-watch` (watch-desk.ts). */
  fetch(request: Request): Promise<Response>;
  /** How far the owner is, durably. */
  head(): Promise<Head>;
  /** A shipment of src/config/shipping.ts; waits up to `waitMs` for what is not there yet. */
  pull(place: Place, waitMs: number): Promise<Uint8Array>;
  /** Changes for a webhook; waits up to `waitMs` for the first one that is asked for. */
  feed(ask: FeedAsk): Promise<FeedPage>;
  /** What a copy that begins now is a copy of. */
  beginCopy(): Promise<{ readonly head: Head; readonly chain: number }>;
  copyPage(after: BinaryKey, revision: number): Promise<CopiedPage>;
  /** A step of a snapshot or a restore. */
  snapshots(ask: SnapshotAsk): Promise<SnapshotAnswer | ConfigFailure>;
  /**
   * Forgets everything, unless this is a later incarnation; the namespace begins anew at revision 1. Where there was something, the
   * object restarts and the call fails: ask again until it does not.
   */
  erase(incarnation: number): Promise<void>;
  metrics(): Promise<Record<string, number>>;
}

/** Keys of a state that a follower copies. `lastKey` null = that was the last page. */
export interface CopiedPage {
  readonly records: readonly ShippedRecord[];
  readonly lastKey: BinaryKey | null;
}

/** How new a follower's answer must be. */
export interface FollowerReadOptions extends CopyAge {
  /** At least as the owner is when the read comes. */
  readonly isLinearizable?: boolean;
  /** At least this revision: what the caller has seen already. */
  readonly minRevision?: number;
}

/** `ConfigFollower`: one per zone and keyspace. Name: `<zone>/c<tenant>/<namespace>`. */
export interface ConfigFollowerRpc {
  /** As of {@link CoordinatorRpc}: watches are told. */
  leave(): Promise<void>;
  /** A frame of ranges of wire/config-requests.ts in, one of wire/config-answers.ts out. */
  read(frame: Uint8Array, options: FollowerReadOptions): Promise<Uint8Array>;
  /** As `ConfigKeyspaceRpc.fetch`; 421 = the owner is to be asked. */
  fetch(request: Request): Promise<Response>;
  /** What it holds of a place that is damaged at the owner; null = nothing. One that does not follow does not begin to. */
  intact(place: DamagedPlace): Promise<Intact | null>;
  /** Forgets everything and restarts; the call may fail with "erased". */
  erase(): Promise<void>;
  metrics(): Promise<Record<string, number>>;
}

/** What a node whose storage is new is told. */
export interface Registration {
  readonly nodeNumber: number;
  readonly incarnation: number;
  readonly mustRebuild: boolean;
  /** What its lost store promised, and was told of the purge of deletes (hybrid times). */
  readonly floor: number;
  readonly horizon: number;
}

/** One keyspace of all that had the name. */
export interface NamespaceOf {
  readonly namespace: string;
  readonly incarnation: number;
}

/** Of living keys and values, one copy. */
export interface StoredAmount {
  readonly storedBytes: number;
  readonly keys: number;
}

/** `Directory`: one per deployment. Name: `system`. */
/** Keeps the ring as it is while a tenant's replication factor changes. */
export interface RingHold {
  readonly tenant: number;
  /** The greatest that the tenant has now. */
  readonly replicationFactor: number;
  /** Of the change: names it. */
  readonly startedAtMs: number;
}

export interface DirectoryRpc {
  view(): Promise<DirectoryView>;
  /** The view, when it is newer than `revision` or `waitMs` are over. */
  viewAfter(revision: number, waitMs: number): Promise<DirectoryView>;
  /**
   * Called by a replica whose storage is new: a fresh incarnation that no dot was ever stamped with. `mustRebuild`: the node served
   * before, so that others rely on what its lost store held. `zone`: where the store is, in a cluster; rejects when the node belongs elsewhere.
   */
  registerIncarnation(nodeId: string, zone?: string): Promise<Registration>;
  /** A change of a tenant's replication factor (begun then) wants the ring as it is; `isHeld` false = the ring changes, and it must wait. */
  holdRing(hold: RingHold): Promise<{ readonly isHeld: boolean; readonly view: DirectoryView }>;
  releaseRing(hold: RingHold): Promise<void>;
  /** Called by a replica before it serves for the first time, and when it was rebuilt. */
  nodeServes(nodeId: string, incarnation: number): Promise<void>;
}

/** A view as it was last seen in a zone. */
export interface KeptView<View> {
  readonly view: View;
  readonly asOfMs: number;
}

/** `ZoneViews`: one per zone, on its own disk. Null = nothing is kept that could still be used. */
export interface ZoneViewsRpc {
  /** An older view than the one that is kept changes nothing. */
  keepTenant(view: TenantView, asOfMs: number): Promise<void>;
  tenant(tenantId: string): Promise<KeptView<TenantView> | null>;
  forgetTenant(tenantId: string): Promise<void>;
  keepDirectory(view: DirectoryView, asOfMs: number): Promise<void>;
  directory(): Promise<KeptView<DirectoryView> | null>;
  /** The deployment that the zone's disk belongs to: `id` where it belonged to none. For ever. */
  claimDeployment(id: string): Promise<string>;
}

/** `Tenant`: one per tenant number. Name: `t<number>`. */
export interface TenantRpc {
  view(): Promise<TenantView>;
  /** The view when it is newer than `revision` (null = any); null = there is no such tenant. */
  viewSince(revision: number | null, waitMs?: number): Promise<TenantView | "unchanged" | null>;
  /** Parts of the tenant's and its keys' token buckets for `member`, a gateway or Coordinator; one grant an ask, in order. */
  lease(member: string, asks: readonly LeaseAsk[]): Promise<readonly LeaseGrant[]>;
  /** Called by a keyspace before its first write: durably the tenant's from now on. */
  registerNamespace(namespace: string): Promise<RegisteredNamespace | NamespaceRefusal>;
  /** False = a read of it need not start its keyspace: it was never written to, or is erased. */
  hasNamespace(namespace: string): Promise<boolean>;
  /** Called by a keyspace after writes: what it holds. Gives the quota that is used up, or null. */
  noteKeyspace(keyspace: NamespaceOf, amount: StoredAmount): Promise<QuotaExcess | null>;
  /** Called by a webhook's sender when it starts: false = it was deleted and has to go. */
  isWebhook(id: string): Promise<boolean>;
}

export interface RegisteredNamespace {
  readonly ok: true;
  /** Above those of earlier namespaces of this name. */
  readonly incarnation: number;
}

export interface NamespaceRefusal {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}
