// The control plane of a deployment: which tenants and storage nodes there are, under numbers never given twice.
// Guarantees: an incarnation or a tenant's number is durable before anyone hears of it; a deletion that was answered is carried
// through whatever crashes (reconciler); mutations are answered once per write id. Must not: stand in the way of the data path.
import { DurableObject } from "cloudflare:workers";
import { deriveApiKey, deriveTenantSecret, recordIdOf } from "../src/access/api-key.ts";
import { maxReplicationFactor } from "../src/access/ring-start.ts";
import { nextAlarmAt, retryDelayMs } from "../src/access/schedule.ts";
import type { DirectoryView } from "../src/access/types.ts";
import { clusterPlace } from "../src/cluster/placement.ts";
import { parseSettings, type Settings } from "../src/cluster/settings.ts";
import type { MembershipView } from "../src/cluster/told.ts";
import { createLogger, type Logger } from "../src/telemetry/logger.ts";
import { type AbsenceSettings, DirectoryAbsences } from "./directory-absences.ts";
import { ensureBorn } from "./directory-birth.ts";
import { DirectoryCopies } from "./directory-copies.ts";
import { DirectoryEventFeed } from "./directory-event-feed.ts";
import type { TenantPlan } from "./directory-keys.ts";
import { DirectoryRebalance, type RebalanceSettings } from "./directory-rebalance.ts";
import { DirectoryRepairs } from "./directory-repairs.ts";
import { DirectoryRing } from "./directory-ring.ts";
import { DirectoryStore, type DueTenant } from "./directory-store.ts";
import { refusedZone } from "./directory-zones.ts";
import type { Env } from "./env.ts";
import type { Registration, RingHold } from "./rpc.ts";
import type {
  ClusterEvent,
  CreatedTenant,
  DirectoryAdminRpc,
  Mutation,
  NewTenant,
  RepairInfo,
  RepairKind,
  RingOperationInfo,
  RingOrder,
  RpcResult,
  TenantAdminRpc,
  TenantRow,
} from "./tenancy-rpc.ts";
import { failure } from "./tenancy-rpc.ts";
import { TurnQueue } from "./turn-queue.ts";
import { ViewWaits } from "./view-waits.ts";
import { withDeadline } from "./with-deadline.ts";
import { WriteRecords } from "./write-records.ts";

/** One call to a Tenant or a replica. Ms. */
const CALL_TIMEOUT_MS = 5000;
/** Tenants one alarm works on; the rest has an alarm of its own at once. */
const TENANTS_PER_ALARM = 20;
/** A replica that still merges its tables is asked again after this. Ms. */
const ERASURE_POLL_MS = 1000;
/** Longest page. */
const MAX_PAGE_ITEMS = 1001;
const MIB = 1024 * 1024;

interface Created {
  readonly tenant: number;
  readonly createdAtMs: number;
}

export class Directory extends DurableObject<Env> implements DirectoryAdminRpc {
  readonly #store: DirectoryStore;
  readonly #records: WriteRecords;
  readonly #turns: TurnQueue;
  readonly #repairs: DirectoryRepairs;
  readonly #ring: DirectoryRing;
  readonly #log: Logger;
  readonly #waits = new ViewWaits();
  readonly #absences: DirectoryAbsences;
  readonly #feed: DirectoryEventFeed;
  readonly #rebalance: DirectoryRebalance;
  readonly #copies: DirectoryCopies;
  #parsed: { readonly text: string | undefined; readonly settings: Settings } | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const settings = parseSettings(env.JADE_CONFIG);
    const { nodes, zones } = settings.storage;
    const random = (bytes: number): Uint8Array => crypto.getRandomValues(new Uint8Array(bytes));
    this.#store = new DirectoryStore(ctx.storage, { nodes, zones, random });
    this.#records = new WriteRecords(ctx.storage.sql, settings.keyValue.idempotencyRetentionHours * 3_600_000);
    this.#turns = new TurnQueue((run) => {
      try {
        ctx.storage.transactionSync(run);
        this.#waits.wake();
      } catch (error) {
        this.#store.reopen();
        throw error;
      }
    });
    this.#repairs = new DirectoryRepairs({ env, store: this.#store, turns: this.#turns, settings: settings.keyValue });
    this.#ring = new DirectoryRing({
      ...{ store: this.#store, turns: this.#turns },
      env: () => this.env,
      settings: () => this.#settings(),
    });
    const write = (_: string, line: string): void => console.log(line);
    this.#log = createLogger({ level: settings.log.level, now: Date.now, write, fields: { part: "directory" } });
    this.#absences = new DirectoryAbsences({
      ...{ store: this.#store, turns: this.#turns, ring: this.#ring, log: this.#log },
      rules: () => this.#absenceRules(),
    });
    this.#feed = new DirectoryEventFeed({
      ...{ env: () => this.env, store: this.#store, turns: this.#turns, log: this.#log },
      tenantId: () => this.#settings().cluster.eventsTenant,
    });
    this.#rebalance = new DirectoryRebalance({
      ...{ env: () => this.env, store: this.#store, turns: this.#turns, ring: this.#ring, log: this.#log },
      rules: () => this.#rebalanceRules(),
    });
    this.#copies = new DirectoryCopies({
      ...{ env: () => this.env, store: this.#store, turns: this.#turns, log: this.#log },
      policy: () => this.#settings().cluster.replacePolicy,
    });
    ctx.blockConcurrencyWhile(async () => {
      await ensureBorn({ env, store: this.#store, storage: ctx.storage, log: this.#log });
      await this.#schedule();
    });
  }

  /** As the bindings say now. */
  #settings(): Settings {
    const text = this.env.JADE_CONFIG;
    const held = this.#parsed;
    if (held && held.text === text) return held.settings;
    const settings = parseSettings(text);
    this.#parsed = { text, settings };
    return settings;
  }

  #absenceRules(): AbsenceSettings {
    const { replaceAfterSeconds, replacePolicy: policy } = this.#settings().cluster;
    const zones = clusterPlace(this.env.JADE_CLUSTER)?.zones ?? [];
    return { zones, policy, replaceAfterMs: replaceAfterSeconds * 1000 };
  }

  #rebalanceRules(): RebalanceSettings {
    const { rebalancePolicy: policy, rebalanceAbove: above, ...bounds } = this.#settings().cluster;
    const { rebalanceEverySeconds, rebalanceKeysPerSecond: keysPerSecond, rebalanceLeastMiB } = bounds;
    return { policy, above, everyMs: rebalanceEverySeconds * 1000, keysPerSecond, leastBytes: rebalanceLeastMiB * MIB };
  }

  async view(): Promise<DirectoryView> {
    return this.#view();
  }

  #view(): DirectoryView {
    const { revision, deployment, ring } = this.#store;
    const copyZones = this.#copies.zones;
    return { revision, deployment: deployment.id, nodes: this.#store.nodes(), ring: ring.state, copyZones };
  }

  async viewAfter(revision: number, waitMs: number): Promise<DirectoryView> {
    const untilMs = Date.now() + waitMs;
    for (let leftMs = waitMs; this.#store.revision <= revision && leftMs > 0; leftMs = untilMs - Date.now())
      await this.#waits.next(leftMs);
    return this.view();
  }

  async registerIncarnation(nodeId: string, zone?: string): Promise<Registration> {
    const node = this.#store.nodes().find(({ id }) => id === nodeId);
    // By a wrong table it would be a second, empty one.
    if (node && zone !== undefined && node.zone !== zone)
      throw new Error(
        `the storage node ${nodeId} belongs to ${node.zone}, not to ${zone}: this instance's cluster.firstZones is wrong`,
      );
    return this.#turns.run(() => this.#store.nextIncarnation(nodeId));
  }

  nodeServes(nodeId: string, incarnation: number): Promise<void> {
    return this.#turns.run(() => this.#store.nodeServes(nodeId, incarnation));
  }

  async lookupTenant(tenantId: string): Promise<number | null> {
    return this.#store.activeTenant(tenantId);
  }

  async createTenant(input: NewTenant, mutation: Mutation): Promise<RpcResult<CreatedTenant>> {
    const limit = maxReplicationFactor(this.#store.nodes());
    if (input.replicationFactor > limit) {
      const message = `replicationFactor is ${input.replicationFactor}; with the storage nodes in ${limit} zones the limit is ${limit}`;
      const issue = { path: "replicationFactor", message, value: input.replicationFactor, limit };
      return failure("invalidRequest", message, { issues: [issue] });
    }
    const key = await deriveApiKey(this.#store.secret, input.tenantId, mutation.writeId);
    const recordId = await recordIdOf(mutation.writeId);
    const result = await this.#turns.run(() => {
      const nowMs = Date.now();
      const plan: TenantPlan = {
        ...input,
        firstKey: {
          keyId: key.keyId,
          name: "first",
          scope: "admin",
          hash: key.hash,
          createdAtMs: nowMs,
          expiresAtMs: null,
          revokedAtMs: null,
        },
      };
      return this.#records.once<Created>({
        recordId,
        mutation,
        nowMs,
        mutate: () => this.#store.addTenant(plan, nowMs),
      });
    });
    if (!result.ok) return result;
    await this.#schedule();
    try {
      await this.#startTenant(result.value.tenant);
    } catch (error) {
      this.#log.warn("tenant start failed", { tenant: result.value.tenant }, error);
      return failure("unknownOutcome", "the tenant was registered but its object could not be started yet; retry");
    }
    const created = { ...input, createdAtMs: result.value.createdAtMs, keyId: key.keyId, apiKey: key.text };
    return { ok: true, value: created };
  }

  async deleteTenant(
    tenantId: string,
    mutation: Mutation,
  ): Promise<RpcResult<{ tenantId: string; erasure: "running" }>> {
    const recordId = await recordIdOf(mutation.writeId);
    const result = await this.#turns.run(() => {
      const nowMs = Date.now();
      return this.#records.once({ recordId, mutation, nowMs, mutate: () => this.#store.markDeleting(tenantId, nowMs) });
    });
    if (!result.ok) return result;
    await this.#schedule();
    try {
      // Answered only when the tenant's keys are refused at their source; the reconciler goes on alone otherwise.
      await withDeadline(this.#tenant(result.value.tenant).beginErasure(), CALL_TIMEOUT_MS, "Tenant");
    } catch (error) {
      this.#log.warn("tenant erasure not begun", { tenant: result.value.tenant }, error);
      return failure("unknownOutcome", "the tenant is marked for deletion; its keys may be accepted a little longer");
    }
    return { ok: true, value: { tenantId, erasure: "running" } };
  }

  async startRepair(mutation: Mutation, kind: RepairKind = "full"): Promise<RpcResult<RepairInfo>> {
    return this.#mutate(mutation, (nowMs) => this.#store.addRepair(nowMs, kind));
  }

  async describeRepair(repairId: number): Promise<RepairInfo | null> {
    return this.#store.repair(repairId) ?? null;
  }

  async listRepairs(): Promise<readonly RepairInfo[]> {
    return this.#store.repairs();
  }

  async changeRing(order: RingOrder, mutation: Mutation): Promise<RpcResult<RingOperationInfo>> {
    const refused = order.kind === "add" && (await refusedZone(this.env, this.#store.nodes(), order.zone));
    if (refused) return refused;
    return this.#mutate(mutation, (nowMs) => this.#ring.order(order, nowMs));
  }

  async cancelOperation(operationId: number, mutation: Mutation): Promise<RpcResult<RingOperationInfo>> {
    return this.#mutate(mutation, (nowMs) => this.#ring.cancel(operationId, nowMs));
  }

  async #mutate<T>(mutation: Mutation, change: (nowMs: number) => RpcResult<T>): Promise<RpcResult<T>> {
    const recordId = await recordIdOf(mutation.writeId);
    const result = await this.#turns.run(() => {
      const nowMs = Date.now();
      return this.#records.once({ recordId, mutation, nowMs, mutate: () => change(nowMs) });
    });
    await this.#schedule();
    return result;
  }

  async describeOperation(operationId: number): Promise<RingOperationInfo | null> {
    return this.#store.ring.operation(operationId) ?? null;
  }

  async listOperations(): Promise<readonly RingOperationInfo[]> {
    return this.#store.ring.operations();
  }

  holdRing(hold: RingHold): Promise<{ isHeld: boolean; view: DirectoryView }> {
    return this.#turns.run(() => this.#ring.holdRing(hold, () => this.#view()));
  }

  releaseRing(hold: RingHold): Promise<void> {
    return this.#turns.run(() => this.#ring.releaseRing(hold));
  }

  async noteView(view: MembershipView): Promise<void> {
    await this.#absences.note(view);
    await this.#schedule();
  }

  async listEvents({ before, limit }: { before: number; limit: number }): Promise<readonly ClusterEvent[]> {
    return this.#store.events(before, Math.min(limit, MAX_PAGE_ITEMS));
  }

  async listTenants({ after, limit }: { after: string; limit: number }): Promise<readonly TenantRow[]> {
    return this.#store.list(after, Math.min(limit, MAX_PAGE_ITEMS));
  }

  async metrics(): Promise<Record<string, number>> {
    const tenants = this.#store.counts();
    const samples: Record<string, number> = {
      'jade_directory_tenants{state="active"}': tenants.active,
      'jade_directory_tenants{state="deleting"}': tenants.deleting,
      jade_directory_commits_total: this.#turns.commitsTotal,
      jade_directory_damaged_total: this.#store.damagedTotal,
    };
    for (const node of this.#store.nodes()) {
      const name = `jade_directory_nodes{state="${node.state}"}`;
      samples[name] = (samples[name] ?? 0) + 1;
    }
    return samples;
  }

  override async alarm(): Promise<void> {
    const nowMs = Date.now();
    for (const due of this.#store.dueTenants(nowMs, TENANTS_PER_ALARM)) await this.#reconcile(due);
    await this.#repairs.step();
    await this.#ring.step();
    await this.#rebalance.step();
    await this.#copies.step();
    await this.#feed.step();
    await this.#turns.run(() => this.#records.purge(Date.now()));
    await this.#schedule();
  }

  /** One step towards what the registry says; a failure waits longer each time. */
  async #reconcile(due: DueTenant): Promise<void> {
    try {
      if (due.state === "active") return await this.#startTenant(due.tenant);
      if (await this.#eraseTenant(due.tenant)) {
        await this.#turns.run(() => this.#store.forget(due.tenant));
        this.#log.info("tenant erased", { tenant: due.tenant });
        return;
      }
      await this.#turns.run(() => this.#store.postpone(due.tenant, 0, Date.now() + ERASURE_POLL_MS));
    } catch (error) {
      const failures = due.failures + 1;
      this.#log.warn("tenant reconciliation failed", { tenant: due.tenant, state: due.state, failures }, error);
      await this.#turns.run(() => this.#store.postpone(due.tenant, failures, Date.now() + retryDelayMs(failures)));
    }
  }

  /** True when no replica and no keyspace holds anything of the tenant and its object is empty. */
  async #eraseTenant(tenant: number): Promise<boolean> {
    const object = this.#tenant(tenant);
    await withDeadline(object.beginErasure(), CALL_TIMEOUT_MS, "Tenant");
    const namespace = this.env.KEY_VALUE_REPLICA;
    const nodes = this.#store.nodes().filter((node) => node.state !== "removed");
    const done = await Promise.all(
      nodes.map((node) =>
        withDeadline(namespace.get(namespace.idFromName(node.id)).eraseTenant(tenant), CALL_TIMEOUT_MS, node.id),
      ),
    );
    if (!done.every(Boolean)) return false;
    // A round of many keyspaces may outlast the deadline: it goes on, and the next one finds less to do.
    if (!(await withDeadline(object.eraseNamespaces(), CALL_TIMEOUT_MS, "Tenant"))) return false;
    await withDeadline(object.erase(), CALL_TIMEOUT_MS, "Tenant");
    return true;
  }

  async #startTenant(tenant: number): Promise<void> {
    if (this.#store.isInitialized(tenant)) return;
    const due = this.#store.tenant(tenant);
    if (due?.state !== "active") return;
    const { plan, createdAtMs } = due;
    const sealingSecret = await deriveTenantSecret(this.#store.secret, tenant);
    const start = { ...plan, tenant, createdAtMs, sealingSecret };
    await withDeadline(this.#tenant(tenant).initialize(start), CALL_TIMEOUT_MS, "Tenant");
    await this.#turns.run(() => this.#store.markInitialized(tenant));
  }

  #tenant(tenant: number): TenantAdminRpc {
    const namespace = this.env.TENANT;
    return namespace.get(namespace.idFromName(`t${tenant}`)) as TenantAdminRpc;
  }

  /** The one alarm rings for whatever is due first. */
  async #schedule(): Promise<void> {
    const nowMs = Date.now();
    const parts = [this.#repairs, this.#ring, this.#rebalance, this.#copies, this.#feed];
    const dues = parts.map((part) => part.nextAtMs(nowMs));
    const at = nextAlarmAt([this.#store.nextDueAtMs(), this.#records.nextPurgeAtMs(), ...dues]);
    if (at === null) return;
    const held = await this.ctx.storage.getAlarm();
    if (held === null || at < held) await this.ctx.storage.setAlarm(at);
  }
}
