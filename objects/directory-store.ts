// What the Directory holds: tenants with numbers never given twice, storage nodes with their incarnations, the deployment's secret.
// Guarantees: synchronous; every method is one step of a turn. Must not: call other objects or read a clock.
import { DIRECTORY_MIGRATIONS } from "../migrations/tenancy.ts";
import { hexOf } from "../src/access/api-key.ts";
import { firstNodes } from "../src/access/ring-start.ts";
import { retryDelayMs } from "../src/access/schedule.ts";
import type { StorageNode } from "../src/access/types.ts";
import type { Absence } from "../src/cluster/absences.ts";
import { MAX_EVENTS } from "../src/cluster/events.ts";
import { NEVER_LOOKED, type RebalanceRecord } from "../src/cluster/rebalance.ts";
import { NOTHING_PURGED, type PurgeState } from "../src/replication/purge-round.ts";
import { INCARNATIONS_PER_NODE } from "../src/wire/clock.ts";
import {
  type CopiesRecord,
  type DeploymentRecord,
  type DueRecord,
  type EventRecord,
  KEYS,
  type NameRecord,
  type NodeRecord,
  numberOf,
  type RepairRecord,
  type TenantPlan,
  type TenantRecord,
} from "./directory-keys.ts";
import { DirectoryRecords, type RecordWrite } from "./directory-records.ts";
import { DirectoryRingStore } from "./directory-ring-store.ts";
import { upgradeDirectory } from "./directory-upgrade.ts";
import { applyMigrations } from "./migrate.ts";
import type { Registration } from "./rpc.ts";
import {
  type ClusterEvent,
  failure,
  type RepairInfo,
  type RepairKind,
  type RepairProgress,
  type RepairPurge,
  type RpcResult,
  type TenantRow,
} from "./tenancy-rpc.ts";

/** A tenant that waits for the reconciler. */
export interface DueTenant {
  readonly tenant: number;
  readonly state: "active" | "deleting";
  readonly failures: number;
  readonly plan: TenantPlan;
  readonly createdAtMs: number;
}

function repairOf(repairId: number, record: RepairRecord): RepairInfo {
  const { kind = "full", startedAtMs, finishedAtMs, progress, purge } = record;
  return { repairId, kind, startedAtMs, finishedAtMs, progress, purge };
}

const NO_REPAIR_PROGRESS: RepairProgress = {
  ...{ nodesDone: 0, nodeCount: 0, rowsCompared: 0, rowsRepaired: 0, rowsUnreadable: 0 },
  waitingFor: "",
};
export type NewEvent = EventRecord;

/** Repairs that are remembered. */
const MAX_REPAIRS = 100;
const SECRET_BYTES = 32;
const DEPLOYMENT_ID_BYTES = 16;

export class DirectoryStore {
  readonly #records: DirectoryRecords;
  readonly ring: DirectoryRingStore;
  #factors: readonly number[] | undefined;

  constructor(
    storage: DurableObjectStorage,
    first: { nodes: number; zones: number; random: (bytes: number) => Uint8Array },
  ) {
    applyMigrations(storage, "directory", DIRECTORY_MIGRATIONS);
    this.#records = new DirectoryRecords(storage);
    this.ring = new DirectoryRingStore(this.#records, {
      nodes: () => this.#nodeRecords(),
      note: (event) => this.addEvents([event]),
    });
    if (this.#records.get(KEYS.deployment) !== undefined) return;
    storage.transactionSync(() => {
      const hasHistory = this.#records.get(KEYS.secret) !== undefined || upgradeDirectory(storage.sql, this.#records);
      const id = hexOf(first.random(DEPLOYMENT_ID_BYTES));
      const writes: RecordWrite[] = [
        { key: KEYS.deployment, value: { id, isBorn: hasHistory } satisfies DeploymentRecord },
      ];
      if (!hasHistory) {
        const nodes = firstNodes(first.nodes, first.zones);
        for (const node of nodes) this.#records.write({ key: KEYS.node(node.id), value: { ...node, served: false } });
        writes.push({ key: KEYS.view, value: 1 }, { key: KEYS.secret, value: [...first.random(SECRET_BYTES)] });
      }
      this.#records.write(...writes);
    });
  }

  get deployment(): DeploymentRecord {
    return this.#records.get<DeploymentRecord>(KEYS.deployment)!;
  }

  markBorn(): void {
    this.#records.write({
      key: KEYS.deployment,
      value: { ...this.deployment, isBorn: true } satisfies DeploymentRecord,
    });
  }

  /** After a transaction was rolled back. */
  reopen(): void {
    this.#factors = undefined;
    this.#records.reopen();
  }

  get damagedTotal(): number {
    return this.#records.damagedTotal;
  }

  get secret(): Uint8Array {
    return Uint8Array.from(this.#records.get<number[]>(KEYS.secret)!);
  }

  get revision(): number {
    return this.#records.get<number>(KEYS.view)!;
  }

  #nodeRecords(): NodeRecord[] {
    return this.#records.list<NodeRecord>(KEYS.nodes).map(({ value }) => value);
  }

  /** In the order of their numbers. */
  nodes(): StorageNode[] {
    const nodes = this.#nodeRecords().map(({ served: _, ...node }): StorageNode => node);
    return nodes.sort((a, b) => a.number - b.number);
  }

  /** Replication factors that tenants have, or have had during a change that is not over. */
  factors(): readonly number[] {
    this.#factors ??= [
      ...new Set(
        this.#records
          .list<TenantRecord>(KEYS.tenants)
          .flatMap(({ value: { state, plan, replicationFactor } }) =>
            state === "active" ? [replicationFactor ?? plan.replicationFactor] : [],
          ),
      ),
    ].sort((a, b) => a - b);
    return this.#factors;
  }

  saveFactor(tenant: number, replicationFactor: number): void {
    const held = this.#record(tenant);
    if (!held || (held.replicationFactor ?? held.plan.replicationFactor) === replicationFactor) return;
    this.#factors = undefined;
    this.#records.write({ key: KEYS.tenant(tenant), value: { ...held, replicationFactor } satisfies TenantRecord });
  }

  #saveNode(node: NodeRecord): void {
    this.#records.write({ key: KEYS.node(node.id), value: node }, { key: KEYS.view, value: this.revision + 1 });
  }

  /**
   * Raises the node's incarnation; what was stamped under the earlier ones stays distinct. A node that served before has lost its
   * disk: it must be rebuilt before it counts.
   */
  nextIncarnation(nodeId: string): Registration {
    const held = this.#records.get<NodeRecord>(KEYS.node(nodeId));
    if (!held || held.state === "removed") throw new Error(`there is no storage node "${nodeId}" any more`);
    const incarnation = held.incarnation + 1;
    if (incarnation >= INCARNATIONS_PER_NODE) {
      throw new Error(
        `node ${nodeId} has used its ${INCARNATIONS_PER_NODE - 1} incarnations: replace it by a new node`,
      );
    }
    this.#saveNode({ ...held, incarnation, state: held.served && held.state === "active" ? "rebuilding" : held.state });
    const { floors, horizon } = this.purgeState();
    const floor = floors.at(-1)?.time ?? 0;
    return { nodeNumber: held.number, incarnation, mustRebuild: held.served, floor, horizon };
  }

  /** The node's store holds what it should, and from now on others may rely on it. */
  nodeServes(nodeId: string, incarnation: number): void {
    const held = this.#records.get<NodeRecord>(KEYS.node(nodeId));
    if (held?.incarnation !== incarnation || (held.served && held.state !== "rebuilding")) return;
    this.#saveNode({ ...held, served: true, state: held.state === "rebuilding" ? "active" : held.state });
  }

  activeTenant(tenantId: string): number | null {
    return this.#records.get<NameRecord>(KEYS.name(tenantId))?.tenant ?? null;
  }

  addTenant(plan: TenantPlan, nowMs: number): RpcResult<{ tenant: number; createdAtMs: number }> {
    const { tenantId } = plan;
    if (this.activeTenant(tenantId) !== null)
      return failure("alreadyExists", `a tenant "${tenantId}" exists`, { tenantId });
    this.#factors = undefined;
    const tenant = (this.#records.get<number>(KEYS.lastTenant) ?? 0) + 1;
    const record: TenantRecord = { tenantId, state: "active", createdAtMs: nowMs, plan, isInitialized: false };
    const due: DueRecord = { failures: 0, nextAttemptMs: nowMs + retryDelayMs(1) };
    const name: NameRecord = { tenant, createdAtMs: nowMs };
    this.#records.write(
      { key: KEYS.lastTenant, value: tenant },
      { key: KEYS.tenant(tenant), value: record },
      { key: KEYS.name(tenantId), value: name },
      { key: KEYS.due(tenant), value: due },
    );
    return { ok: true, value: { tenant, createdAtMs: nowMs } };
  }

  markDeleting(tenantId: string, nowMs: number): RpcResult<{ tenant: number }> {
    const tenant = this.activeTenant(tenantId);
    const held = tenant === null ? undefined : this.#record(tenant);
    if (tenant === null || !held) return failure("notFound", `there is no tenant "${tenantId}"`);
    const due: DueRecord = { failures: 0, nextAttemptMs: nowMs };
    this.#records.write(
      { key: KEYS.name(tenantId) },
      { key: KEYS.tenant(tenant), value: { ...held, state: "deleting" } satisfies TenantRecord },
      { key: KEYS.due(tenant), value: due },
    );
    return { ok: true, value: { tenant } };
  }

  #record(tenant: number): TenantRecord | undefined {
    return this.#records.get<TenantRecord>(KEYS.tenant(tenant));
  }

  isInitialized(tenant: number): boolean {
    return this.#record(tenant)?.isInitialized === true;
  }

  markInitialized(tenant: number): void {
    const held = this.#record(tenant);
    if (!held) return;
    const writes: RecordWrite[] = [{ key: KEYS.tenant(tenant), value: { ...held, isInitialized: true } }];
    // A tenant that is being deleted meanwhile keeps its appointment with the reconciler.
    if (held.state === "active") writes.push({ key: KEYS.due(tenant) });
    this.#records.write(...writes);
  }

  postpone(tenant: number, failures: number, atMs: number): void {
    const due: DueRecord = { failures, nextAttemptMs: atMs };
    if (this.#record(tenant)) this.#records.write({ key: KEYS.due(tenant), value: due });
  }

  forget(tenant: number): void {
    if (this.#record(tenant)?.state !== "deleting") return;
    this.#records.write({ key: KEYS.tenant(tenant) }, { key: KEYS.due(tenant) });
  }

  tenant(number: number): DueTenant | undefined {
    const held = this.#record(number);
    if (!held) return undefined;
    const { state, plan, createdAtMs } = held;
    const failures = this.#records.get<DueRecord>(KEYS.due(number))?.failures ?? 0;
    return { tenant: number, state, failures, plan, createdAtMs };
  }

  /** Tenants that wait, the first due first. */
  #dues(): { readonly tenant: number; readonly nextAttemptMs: number }[] {
    const dues = this.#records.list<DueRecord>(KEYS.dues);
    const waiting = dues.map(({ key, value }) => ({ tenant: numberOf(key), nextAttemptMs: value.nextAttemptMs }));
    return waiting.sort((a, b) => a.nextAttemptMs - b.nextAttemptMs);
  }

  dueTenants(nowMs: number, limit: number): DueTenant[] {
    const due = this.#dues().filter(({ nextAttemptMs }) => nextAttemptMs <= nowMs);
    return due.slice(0, limit).flatMap(({ tenant }) => this.tenant(tenant) ?? []);
  }

  nextDueAtMs(): number | null {
    return this.#dues()[0]?.nextAttemptMs ?? null;
  }

  list(after: string, limit: number): TenantRow[] {
    const names = this.#records.list<NameRecord>(KEYS.names, { after: KEYS.name(after), limit });
    return names.map(({ key, value }) => ({ tenantId: key.slice(KEYS.names.length), ...value }));
  }

  counts(): Record<"active" | "deleting", number> {
    const active = this.#records.count(KEYS.names);
    return { active, deleting: this.#records.count(KEYS.tenants) - active };
  }

  // Repairs

  /** One at a time; a full one ends an incremental one. */
  addRepair(nowMs: number, kind: RepairKind = "full"): RpcResult<RepairInfo> {
    const running = this.runningRepair();
    if (running && (kind === "incremental" || running.kind === "full")) {
      const message = `repair ${running.repairId} is under way; wait for its end`;
      return failure("conflict", message, { repairId: running.repairId });
    }
    const id = (this.#records.get<number>(KEYS.lastRepair) ?? 0) + 1;
    const [progress, purge] = [NO_REPAIR_PROGRESS, null];
    const record: RepairRecord = { kind, startedAtMs: nowMs, finishedAtMs: null, progress, purge, hasBegun: false };
    if (running) {
      const waitingFor = `given up: the full repair ${id} does all of it`;
      this.saveRepair(running.repairId, { ...running.progress, waitingFor }, nowMs);
    }
    this.#records.write(
      { key: KEYS.state(`${kind}RepairAt`), value: nowMs },
      { key: KEYS.lastRepair, value: id },
      { key: KEYS.repair(id), value: record },
      { key: KEYS.repair(Math.max(0, id - MAX_REPAIRS)) },
    );
    return { ok: true, value: repairOf(id, record) };
  }

  #repairRecord(repairId: number): RepairRecord | undefined {
    return this.#records.get<RepairRecord>(KEYS.repair(repairId));
  }

  #changeRepair(repairId: number, changes: Partial<RepairRecord>): void {
    const held = this.#repairRecord(repairId);
    if (held) this.#records.write({ key: KEYS.repair(repairId), value: { ...held, ...changes } });
  }

  saveRepair(repairId: number, progress: RepairProgress, finishedAtMs: number | null): void {
    this.#changeRepair(repairId, { progress, finishedAtMs });
  }

  runningRepair(): RepairInfo | undefined {
    return this.repairs().find(({ finishedAtMs }) => finishedAtMs === null);
  }

  repair(repairId: number): RepairInfo | undefined {
    const held = this.#repairRecord(repairId);
    return held && repairOf(repairId, held);
  }

  /** Newest first. */
  repairs(): RepairInfo[] {
    const held = this.#records.list<RepairRecord>(KEYS.repairs);
    return held.map(({ key, value }) => repairOf(numberOf(key), value)).reverse();
  }

  /** Every node promised its floor: the nodes may begin. */
  hasBegun(repairId: number): boolean {
    return this.#repairRecord(repairId)?.hasBegun === true;
  }

  beginRepair(repairId: number): void {
    this.#changeRepair(repairId, { hasBegun: true });
  }

  savePurge(repairId: number, purge: RepairPurge): void {
    this.#changeRepair(repairId, { purge });
  }

  // Instances that are away

  absences(): Absence[] {
    return this.#records.list<Absence>(KEYS.absences).map(({ value }) => value);
  }

  saveAbsence(absence: Absence): void {
    this.#records.write({ key: KEYS.absence(absence.zone), value: absence });
  }

  forgetAbsence(zone: string): void {
    this.#records.write({ key: KEYS.absence(zone) });
  }

  /** 0 = there was none. */
  get lastEvent(): number {
    return this.#records.get<number>(KEYS.lastEvent) ?? 0;
  }

  addEvents(events: readonly NewEvent[]): void {
    let number = this.lastEvent;
    for (const event of events) {
      number++;
      this.#records.write(
        { key: KEYS.lastEvent, value: number },
        { key: KEYS.event(number), value: event },
        { key: KEYS.event(Math.max(0, number - MAX_EVENTS)) },
      );
    }
  }

  /** Newest first, those below the number `before`. */
  events(before: number, limit: number): ClusterEvent[] {
    const last = Math.min(before - 1, this.lastEvent);
    const after = KEYS.event(Math.max(0, last - limit));
    const held = this.#records.list<EventRecord>(KEYS.events, { after, limit });
    const found = held.map(({ key, value }) => ({ number: numberOf(key), ...value }));
    return found.filter(({ number }) => number <= last).reverse();
  }

  /** Oldest first. */
  eventsAfter(number: number, limit: number): ClusterEvent[] {
    const held = this.#records.list<EventRecord>(KEYS.events, { after: KEYS.event(number), limit });
    return held.map(({ key, value }) => ({ number: numberOf(key), ...value }));
  }

  /** Up to which number events are keys of a tenant. */
  get toldEvent(): number {
    return this.#records.get<number>(KEYS.toldEvent) ?? 0;
  }

  saveToldEvent(number: number): void {
    this.#records.write({ key: KEYS.toldEvent, value: number });
  }

  get rebalance(): RebalanceRecord {
    return this.#records.get<RebalanceRecord>(KEYS.rebalance) ?? NEVER_LOOKED;
  }

  saveRebalance(record: RebalanceRecord): void {
    this.#records.write({ key: KEYS.rebalance, value: record });
  }

  /** Undefined = nobody was ever told. */
  get copies(): CopiesRecord | undefined {
    return this.#records.get<CopiesRecord>(KEYS.copies);
  }

  saveCopies(record: CopiesRecord): void {
    this.#records.write({ key: KEYS.copies, value: record });
  }

  /** Numbers of active tenants behind `after`, the lowest first. */
  tenantsAfter(after: number, limit: number): number[] {
    const held = this.#records.list<TenantRecord>(KEYS.tenants, { after: KEYS.tenant(after), limit });
    return held.map(({ key }) => numberOf(key));
  }

  purgeState(): PurgeState {
    return this.#records.get<PurgeState>(KEYS.state("purge")) ?? NOTHING_PURGED;
  }

  savePurgeState(state: PurgeState): void {
    this.#records.write({ key: KEYS.state("purge"), value: state });
  }

  /** When the last repair of the kind began; `nowMs` where none ever did, from the first time this is asked on. */
  lastRepairAtMs(nowMs: number, kind: RepairKind): number {
    let since = this.#records.get<number>(KEYS.state("since"));
    if (since === undefined) {
      since = nowMs;
      this.#records.write({ key: KEYS.state("since"), value: since });
    }
    const lastMs = this.#records.get<number>(KEYS.state(`${kind}RepairAt`)) ?? since;
    // Those of earlier builds, which wrote down nothing else.
    const ofKind = this.repairs().filter((repair) => repair.kind === kind);
    return Math.max(since, lastMs, ...ofKind.map(({ startedAtMs }) => startedAtMs));
  }
}
