// The Directory's records and their keys. Numbers in keys have 16 digits, so that keys sort as numbers do.
import type { ApiKeyRecord, StorageNode } from "../src/access/types.ts";
import type { ClusterEvent, NewTenant, RepairKind, RepairProgress, RepairPurge } from "./tenancy-rpc.ts";

/** What a Tenant object is started with, kept until it was. */
export interface TenantPlan extends NewTenant {
  readonly firstKey: ApiKeyRecord;
}

/** A record a storage node. */
export interface NodeRecord extends StorageNode {
  /** Others rely on what its store holds. */
  readonly served: boolean;
}

export interface TenantRecord {
  readonly tenantId: string;
  readonly state: "active" | "deleting";
  readonly createdAtMs: number;
  readonly plan: TenantPlan;
  readonly isInitialized: boolean;
  /** The greatest that it has now; absent = as planned. */
  readonly replicationFactor?: number | undefined;
}

/** Of an active tenant, by its name. */
export interface NameRecord {
  readonly tenant: number;
  readonly createdAtMs: number;
}

/** Of a tenant that waits for the reconciler. */
export interface DueRecord {
  readonly failures: number;
  readonly nextAttemptMs: number;
}

export interface RepairRecord {
  /** Absent: full. */
  readonly kind?: RepairKind | undefined;
  readonly startedAtMs: number;
  readonly finishedAtMs: number | null;
  readonly progress: RepairProgress;
  readonly purge: RepairPurge | null;
  readonly hasBegun: boolean;
}

/** Which deployment this is. */
export interface DeploymentRecord {
  readonly id: string;
  /** Every zone has it on its disk: whoever finds the bucket without it knows that something is wrong. */
  readonly isBorn: boolean;
}

/** How far tenants are with where copies of their vectors may stand. */
export interface CopiesRecord {
  /** What they are told. */
  readonly zones: readonly string[];
  /** The last tenant that was told; null = all were. */
  readonly toldTo: number | null;
  /** Tenants whose copies are on their way, or that did not answer. */
  readonly open: readonly number[];
  /** `copiesMoving` was noted, its end not yet. */
  readonly isNoted: boolean;
  /** Rounds that changed nothing. */
  readonly waits: number;
  readonly dueMs: number;
}

/** By its number. */
export type EventRecord = Omit<ClusterEvent, "number">;

const DIGITS = 16;
const numbered = (prefix: string) => (number: number) => prefix + String(number).padStart(DIGITS, "0");

export const KEYS = {
  /** The deployment's secret, as bytes. */
  secret: "secret",
  deployment: "deployment",
  /** Counts the changes of the nodes. */
  view: "view",
  /** Numbers given last. */
  lastTenant: "numbers/tenant",
  lastRepair: "numbers/repair",
  lastEvent: "numbers/event",
  /** The last event that is a key of the tenant that is told of them. */
  toldEvent: "numbers/told-event",
  nodes: "nodes/",
  node: (id: string) => `nodes/${id}`,
  tenants: "tenants/",
  tenant: numbered("tenants/"),
  names: "names/",
  name: (tenantId: string) => `names/${tenantId}`,
  dues: "due/",
  due: numbered("due/"),
  repairs: "repairs/",
  repair: numbered("repairs/"),
  /** The ring's revision, and the change that is under way. */
  ring: "ring",
  lastNode: "numbers/node",
  lastOperation: "numbers/operation",
  operations: "operations/",
  operation: numbered("operations/"),
  /** Of tenants whose replication factor changes. */
  holds: "ring-holds/",
  hold: numbered("ring-holds/"),
  rebalance: "rebalance",
  /** Where copies of vectors may stand, and which tenants know. */
  copies: "copies",
  absences: "absences/",
  absence: (zone: string) => `absences/${zone}`,
  events: "events/",
  event: numbered("events/"),
  state: (name: "purge" | "since" | "fullRepairAt" | "incrementalRepairAt") => `repair-state/${name}`,
} as const;

/** The number in a key. */
export function numberOf(key: string): number {
  return Number(key.slice(-DIGITS));
}
