// One tenant: its settings and its API keys. A thin shell around tenant-store.ts.
// Guarantees: after `beginErasure` no view admits a key; a mutation and its answer by write id are one commit.
// Must not: hold a key's text; a repeated creation derives it again from the sealing secret and the write id.
import { DurableObject } from "cloudflare:workers";
import { deriveApiKey, deriveWebhookSecret, hexOf, recordIdOf } from "../src/access/api-key.ts";
import { type LeaseAsk, type LeaseGrant, RateAuthority } from "../src/access/rate-authority.ts";
import { maxReplicationFactor } from "../src/access/ring-start.ts";
import { nextAlarmAt } from "../src/access/schedule.ts";
import type { ApiKeyRecord, CopyZones, QuotaExcess, RateLimit, TenantView } from "../src/access/types.ts";
import { parseSettings, type Settings } from "../src/cluster/settings.ts";
import { secretText } from "../src/config/webhook-signature.ts";
import type { IndexChange } from "../src/vector/database/indexes.ts";
import type { DatabaseRecord } from "../src/vector/database/record.ts";
import { zonesForFactor } from "./copy-zones.ts";
import type {
  DatabaseChanges,
  DatabaseInfo,
  DatabaseTask,
  DeletedDatabase,
  NamedDatabase,
  NewReembedding,
  TenantDatabasesRpc,
} from "./database-rpc.ts";
import { damageOf } from "./database-tasks.ts";
import type { Env } from "./env.ts";
import type { NamespaceOf, NamespaceRefusal, RegisteredNamespace, StoredAmount } from "./rpc.ts";
import {
  type CreatedKey,
  type DeletedNamespace,
  failure,
  type KeyInfo,
  type Mutation,
  type NamespaceRow,
  type NewKey,
  type RpcFailure,
  type RpcResult,
  type TenantAdminRpc,
  type TenantChanges,
  type TenantInfo,
  type TenantStart,
  type TenantUsageInfo,
} from "./tenancy-rpc.ts";
import { TenantDatabases } from "./tenant-databases.ts";
import { NAMESPACE_RETRY_MS, TenantNamespaces } from "./tenant-namespaces.ts";
import { ROUTE_CHANGE_ALARM_MS, TenantRouteChange } from "./tenant-route-change.ts";
import { type DefaultLimits, keyInfoOf, TenantStore } from "./tenant-store.ts";
import { TenantUsage } from "./tenant-usage.ts";
import { TenantWebhooks, WEBHOOK_RETRY_MS } from "./tenant-webhooks.ts";
import { TurnQueue } from "./turn-queue.ts";
import { ViewWaits } from "./view-waits.ts";
import type { CreatedWebhook, NewWebhook, TenantWebhooksRpc, WebhookRow } from "./webhook-rpc.ts";
import { withDeadline } from "./with-deadline.ts";
import { WriteRecords } from "./write-records.ts";

/** One call to the Directory. Ms. */
const CALL_TIMEOUT_MS = 5000;
/** Longest page. */
const MAX_PAGE_ITEMS = 1001;
/** How long whoever asks for a key that is gone need not ask again. Ms. */
const GONE_PAUSE_MS = 1000;
const MIB = 1024 * 1024;

/** In the settings 0 stands for no limit. */
function rateOf(requestsPerSecond: number, burst: number): RateLimit | null {
  return requestsPerSecond === 0 ? null : { requestsPerSecond, burst: burst === 0 ? requestsPerSecond : burst };
}

function defaultLimits(limits: Settings["limits"]): DefaultLimits {
  const { tenantRequestsPerSecond, tenantBurst, keyRequestsPerSecond, keyBurst, tenantStoredMiB, tenantKeys } = limits;
  return {
    tenantRate: rateOf(tenantRequestsPerSecond, tenantBurst),
    keyRate: rateOf(keyRequestsPerSecond, keyBurst),
    quotas: { storedBytes: tenantStoredMiB * MIB || null, keys: tenantKeys || null, apiKeys: null },
  };
}

/** False = the embedder did not answer: the Directory asks again. */
async function eraseModels({ EMBEDDER }: Env, tenant: number): Promise<boolean> {
  const work = EMBEDDER && withDeadline(EMBEDDER.erase(tenant), CALL_TIMEOUT_MS, "embedder");
  return (await work?.catch(() => false)) !== false;
}

export class Tenant extends DurableObject<Env> implements TenantAdminRpc, TenantWebhooksRpc, TenantDatabasesRpc {
  readonly #store: TenantStore;
  readonly #records: WriteRecords;
  readonly #turns: TurnQueue;
  readonly #rates = new RateAuthority();
  readonly #waits = new ViewWaits();
  readonly #usage: TenantUsage;
  readonly #routeChange: TenantRouteChange;
  readonly #namespaces: TenantNamespaces;
  readonly #webhooks: TenantWebhooks;
  readonly #databases: TenantDatabases;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const { limits, keyValue } = parseSettings(env.JADE_CONFIG);
    this.#store = new TenantStore(ctx.storage, defaultLimits(limits));
    this.#records = new WriteRecords(ctx.storage.sql, keyValue.idempotencyRetentionHours * 3_600_000);
    this.#usage = new TenantUsage(env);
    this.#namespaces = new TenantNamespaces(ctx.storage.sql, env);
    this.#webhooks = new TenantWebhooks(ctx.storage.sql, env);
    this.#databases = new TenantDatabases(ctx.storage.sql, env);
    this.#turns = new TurnQueue((run) => {
      ctx.storage.transactionSync(run);
      this.#waits.wake();
    });
    this.#routeChange = new TenantRouteChange({
      env,
      store: this.#store,
      waitUntil: (work) => ctx.waitUntil(work),
      setAlarm: (atMs) => this.#ring(atMs),
    });
    ctx.blockConcurrencyWhile(async () => {
      this.#routeChange.wake();
      // A crash between a change and its alarm: whoever asks next sets it again.
      await this.#schedule();
    });
  }

  async view(): Promise<TenantView> {
    const view = this.#store.view(await this.#excess());
    if (!view) throw new Error("there is no such tenant");
    return view;
  }

  async viewSince(revision: number | null, waitMs = 0): Promise<TenantView | "unchanged" | null> {
    let excess = await this.#excess();
    const isSame = (): boolean => revision !== null && this.#store.viewRevision(excess) === revision;
    if (isSame() && waitMs > 0) {
      await this.#waits.next(waitMs);
      excess = await this.#excess();
    }
    return isSame() ? "unchanged" : this.#store.view(excess);
  }

  async lease(member: string, asks: readonly LeaseAsk[]): Promise<readonly LeaseGrant[]> {
    const isActive = this.#store.info() !== null;
    const nowMs = Date.now();
    return asks.map((ask) => {
      const limit = isActive ? this.#store.rateLimit(ask.bucket) : undefined;
      // A key or tenant that is gone: its requests are refused elsewhere, within two seconds.
      if (limit === undefined) return { granted: 0, pauseMs: GONE_PAUSE_MS, share: 0 };
      return this.#rates.lease(member, ask, limit, nowMs);
    });
  }

  async usage(): Promise<RpcResult<TenantUsageInfo>> {
    const row = this.#store.row();
    if (row?.state !== "active") return failure("notFound", "there is no such tenant");
    try {
      await this.#usage.refresh({ tenant: row.tenant, replicationFactor: row.replication_factor }, Date.now());
    } catch {
      return failure("unavailable", "no storage node says how much it holds");
    }
    const [kv, config] = [this.#usage.amount, this.#namespaces.stored];
    const amount = { storedBytes: kv.storedBytes + config.storedBytes, keys: kv.keys + config.keys };
    const value = { ...amount, config, apiKeys: this.#store.apiKeyCount, quotas: this.#store.quotas() };
    return { ok: true, value };
  }

  /** The quota that is used up. Storage nodes are only asked for tenants that have one. */
  async #excess(): Promise<QuotaExcess | undefined> {
    const row = this.#store.row();
    if (!row) return undefined;
    const quotas = this.#store.quotas();
    if (quotas.storedBytes === null && quotas.keys === null) return undefined;
    await this.#usage.keepFresh({ tenant: row.tenant, replicationFactor: row.replication_factor }, Date.now());
    return this.#usage.excessOf(quotas, this.#namespaces.stored);
  }

  async noteKeyspace(keyspace: NamespaceOf, amount: StoredAmount): Promise<QuotaExcess | null> {
    if (!this.#store.info()) return null;
    this.#namespaces.note(keyspace, amount);
    return (await this.#excess()) ?? null;
  }

  async initialize(start: TenantStart): Promise<void> {
    this.#store.initialize(start);
  }

  async describe(): Promise<TenantInfo | null> {
    return this.#store.info();
  }

  async update(changes: TenantChanges, mutation: Mutation): Promise<RpcResult<TenantInfo>> {
    const refusal = await this.#factorRefusal(changes.replicationFactor);
    if (refusal) return refusal;
    const result = await this.#mutate(mutation, (nowMs) => this.#store.update(changes, nowMs));
    this.#routeChange.wake();
    return result;
  }

  /** More replicas than there are zones with nodes cannot be had. */
  async #factorRefusal(to: number | undefined): Promise<RpcFailure | undefined> {
    if (to === undefined || to === this.#store.info()?.replicationFactor) return undefined;
    const directory = this.env.DIRECTORY.get(this.env.DIRECTORY.idFromName("system"));
    const { nodes } = await withDeadline(directory.view(), CALL_TIMEOUT_MS, "Directory");
    const limit = maxReplicationFactor(nodes);
    if (to <= limit) return undefined;
    const message = `replicationFactor is ${to}; with the storage nodes in ${limit} zones the limit is ${limit}`;
    return failure("invalidRequest", message, { issues: [{ path: "replicationFactor", message, value: to, limit }] });
  }

  async createKey(input: NewKey, mutation: Mutation): Promise<RpcResult<CreatedKey>> {
    const row = this.#store.row();
    if (!row) return failure("notFound", "there is no such tenant");
    const key = await deriveApiKey(new Uint8Array(row.sealing_secret), row.tenant_id, mutation.writeId);
    const result = await this.#mutate<KeyInfo>(mutation, (nowMs) => {
      const { name, scope, expiresAtMs, rateLimit = null } = input;
      if (expiresAtMs !== null && expiresAtMs <= nowMs) return failure("invalidRequest", "expiresAt is in the past");
      const { keyId, hash } = key;
      const times = { createdAtMs: nowMs, expiresAtMs, revokedAtMs: null };
      const record: ApiKeyRecord = { keyId, name, scope, hash, ...times, rateLimit };
      const added = this.#store.addKey(record);
      return added.ok ? { ok: true, value: keyInfoOf(record) } : added;
    });
    return result.ok ? { ok: true, value: { ...result.value, apiKey: key.text } } : result;
  }

  revokeKey(keyId: string, mutation: Mutation): Promise<RpcResult<KeyInfo>> {
    this.#rates.forget(keyId);
    return this.#mutate(mutation, (nowMs) => this.#store.revokeKey(keyId, nowMs));
  }

  async listKeys({ after, limit }: { after: string; limit: number }): Promise<readonly KeyInfo[]> {
    return this.#store.listKeys(after, Math.min(limit, MAX_PAGE_ITEMS));
  }

  async registerNamespace(namespace: string): Promise<RegisteredNamespace | NamespaceRefusal> {
    if (!this.#store.info()) return failure("notFound", "there is no such tenant");
    return this.#namespaces.register(namespace, Date.now());
  }

  async hasNamespace(namespace: string): Promise<boolean> {
    return this.#namespaces.has(namespace);
  }

  async listNamespaces({ after, limit }: { after: string; limit: number }): Promise<readonly NamespaceRow[]> {
    if (!this.#store.info()) return [];
    return this.#namespaces.list(after, Math.min(limit, MAX_PAGE_ITEMS));
  }

  async deleteNamespace(namespace: string, mutation: Mutation): Promise<RpcResult<DeletedNamespace>> {
    const result = await this.#mutate(mutation, () => {
      const marked = this.#namespaces.markDeleting(namespace);
      if (marked.ok) this.#webhooks.markNamespaceDeleting(namespace);
      return marked;
    });
    const row = this.#store.row();
    if (!result.ok || !row) return result.ok ? failure("notFound", "there is no such tenant") : result;
    await this.#eraseMarked(row.tenant);
    const erasure = this.#namespaces.isErased(namespace) ? "done" : "running";
    return { ok: true, value: { namespace, erasure } };
  }

  async eraseNamespaces(): Promise<boolean> {
    const row = this.#store.row();
    if (!row) return true;
    this.#webhooks.markAllDeleting();
    this.#namespaces.markAllDeleting();
    this.#databases.markAllDeleting();
    const areErased = await this.#databases.settleAll(row.tenant);
    const hasModels = !(await eraseModels(this.env, row.tenant));
    return (await this.#eraseMarked(row.tenant)) && areErased && !hasModels;
  }

  async createWebhook(input: NewWebhook, mutation: Mutation): Promise<RpcResult<CreatedWebhook>> {
    const row = this.#store.row();
    if (!row) return failure("notFound", "there is no such tenant");
    const made = secretText(await deriveWebhookSecret(new Uint8Array(row.sealing_secret), mutation.writeId));
    const newId = `wh_${hexOf(crypto.getRandomValues(new Uint8Array(8)))}`;
    const result = await this.#mutate<CreatedWebhook>(mutation, (nowMs) => {
      const excess = this.#webhooks.excess();
      if (excess) return excess;
      const registered = this.#namespaces.register(input.subscription.namespace, nowMs);
      if (!registered.ok) return registered;
      this.#webhooks.add(newId, input, input.secret ?? made, nowMs);
      return { ok: true, value: { id: newId } };
    });
    if (!result.ok) return result;
    await this.#webhooks.startAll(row.tenant);
    const { id } = result.value;
    if (this.#webhooks.has(id) && !this.#webhooks.isStarted(id))
      return failure("unknownOutcome", "the webhook is created, its sender did not answer yet: repeat the request");
    return { ok: true, value: input.secret === null ? { id, secret: made } : { id } };
  }

  async deleteWebhook(id: string, mutation: Mutation): Promise<RpcResult<{ id: string }>> {
    const result = await this.#mutate(mutation, () => this.#webhooks.markDeleting(id));
    const row = this.#store.row();
    if (result.ok && row) await this.#webhooks.erase(row.tenant);
    return result;
  }

  async listWebhooks({ after, limit }: { after: string; limit: number }): Promise<readonly WebhookRow[]> {
    return this.#store.info() ? this.#webhooks.list(after, Math.min(limit, MAX_PAGE_ITEMS)) : [];
  }

  async isWebhook(id: string): Promise<boolean> {
    return this.#store.exists && this.#webhooks.has(id);
  }

  async createDatabase(
    { namespace, record }: { namespace: string; record: DatabaseRecord },
    mutation: Mutation,
  ): Promise<RpcResult<DatabaseInfo>> {
    const zones = await zonesForFactor(this.env, record.replication.factor);
    if (!zones.ok) return zones;
    const asked = { namespace, record, known: zones.value };
    return this.#settled(await this.#mutate(mutation, (nowMs) => this.#databases.add(asked, nowMs)));
  }

  async updateDatabase(
    name: NamedDatabase,
    changes: DatabaseChanges,
    mutation: Mutation,
  ): Promise<RpcResult<DatabaseInfo>> {
    const zones = changes.replication && (await zonesForFactor(this.env, changes.replication.factor));
    if (zones && !zones.ok) return zones;
    const known = zones?.value;
    return this.#settled(await this.#mutate(mutation, (nowMs) => this.#databases.change(name, changes, nowMs, known)));
  }

  async placeCopies(known: CopyZones): Promise<number> {
    if (!this.#store.info()) return 0;
    const filling = await this.#turns.run(() => this.#databases.placing.decide(known, Date.now()));
    await this.#schedule();
    return filling;
  }

  async runDatabaseTask(name: NamedDatabase, task: DatabaseTask, mutation: Mutation): Promise<RpcResult<DatabaseInfo>> {
    const done = await this.#settled(await this.#mutate(mutation, (nowMs) => this.#databases.begin(name, task, nowMs)));
    return (done.ok && task.kind === "unarchive" && damageOf(done.value.record)) || done;
  }

  async reshardDatabase(name: NamedDatabase, to: number | "anew" | "back", mutation: Mutation) {
    return this.#settled(await this.#mutate(mutation, (nowMs) => this.#databases.reshard(name, to, nowMs)));
  }

  async changeIndex(name: NamedDatabase, change: IndexChange, mutation: Mutation): Promise<RpcResult<DatabaseInfo>> {
    return this.#settled(await this.#mutate(mutation, (nowMs) => this.#databases.changeIndex(name, change, nowMs)));
  }

  /** Waits until the shards have what was decided. */
  async #settled(result: RpcResult<DatabaseInfo>): Promise<RpcResult<DatabaseInfo>> {
    const row = this.#store.row();
    if (!result.ok || !row) return result;
    const { generation, namespace, record } = result.value;
    await this.#databases.settle(row.tenant, generation);
    const found = this.#databases.find({ namespace, databaseId: record.databaseId });
    if (!found.ok) return found;
    const now = found.value;
    // Repeated after it was deleted: answered as the first time.
    if (now?.generation !== generation) return { ok: true, value: { ...result.value, state: "ready" } };
    if (this.#databases.isConfigured(generation)) return { ok: true, value: now };
    return failure("unknownOutcome", "it is decided, but not all shards have answered yet: repeat the request");
  }

  async reembedDatabase(name: NamedDatabase, asked: NewReembedding | null, mutation: Mutation) {
    return this.#settled(await this.#mutate(mutation, (nowMs) => this.#databases.reembedding(name, asked, nowMs)));
  }

  async deleteDatabase(name: NamedDatabase, mutation: Mutation): Promise<RpcResult<DeletedDatabase>> {
    const result = await this.#mutate(mutation, () => this.#databases.markDeleting(name));
    const row = this.#store.row();
    if (!result.ok || !row) return result.ok ? failure("notFound", "there is no such tenant") : result;
    const { generation } = result.value;
    await this.#databases.settle(row.tenant, generation);
    const erasure = this.#databases.isErased(generation) ? "done" : "running";
    return { ok: true, value: { databaseId: name.databaseId, erasure } };
  }

  async findDatabase(name: NamedDatabase): Promise<RpcResult<DatabaseInfo | null>> {
    return this.#store.info() ? this.#databases.find(name) : { ok: true, value: null };
  }

  async listDatabases(page: {
    namespace: string;
    after: string;
    limit: number;
  }): Promise<RpcResult<readonly DatabaseInfo[]>> {
    if (!this.#store.info()) return { ok: true, value: [] };
    return this.#databases.list({ ...page, limit: Math.min(page.limit, MAX_PAGE_ITEMS) });
  }

  /** A namespace ends after its webhooks: they must not meet a later one of the name. */
  async #eraseMarked(tenant: number): Promise<boolean> {
    return (await this.#webhooks.erase(tenant)) && (await this.#namespaces.erase(tenant));
  }

  async beginErasure(): Promise<void> {
    this.#store.beginErasure();
    this.#waits.wake();
  }

  async erase(): Promise<void> {
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }

  override async alarm(): Promise<void> {
    if (!this.#store.exists) return;
    this.#routeChange.wake();
    const { tenant } = this.#store.row()!;
    await this.#webhooks.startAll(tenant);
    await this.#eraseMarked(tenant);
    await this.#databases.settleAll(tenant);
    await this.#databases.reembed(tenant);
    await this.#databases.placing.step(tenant);
    const nowMs = Date.now();
    await this.#turns.run(() => {
      this.#records.purge(nowMs);
      this.#store.purgeKeys(nowMs);
    });
    await this.#schedule();
  }

  async #mutate<T>(mutation: Mutation, mutate: (nowMs: number) => RpcResult<T>): Promise<RpcResult<T>> {
    if (!this.#store.info()) return failure("notFound", "there is no such tenant");
    const recordId = await recordIdOf(mutation.writeId);
    const result = await this.#turns.run(() => {
      const nowMs = Date.now();
      return this.#records.once({ recordId, mutation, nowMs, mutate: () => mutate(nowMs) });
    });
    await this.#schedule();
    return result;
  }

  async #schedule(): Promise<void> {
    if (!this.#store.exists) return;
    const changeAtMs = this.#store.isChanging ? Date.now() + ROUTE_CHANGE_ALARM_MS : null;
    const erasureAtMs = this.#namespaces.isErasing ? Date.now() + NAMESPACE_RETRY_MS : null;
    const webhooksAtMs = this.#webhooks.isBusy ? Date.now() + WEBHOOK_RETRY_MS : null;
    const purges = [this.#records.nextPurgeAtMs(), this.#store.nextKeyPurgeAtMs()];
    const databasesAtMs = this.#databases.nextWorkAtMs(Date.now());
    const at = nextAlarmAt([...purges, changeAtMs, erasureAtMs, webhooksAtMs, databasesAtMs]);
    if (at !== null) await this.#ring(at);
  }

  async #ring(atMs: number): Promise<void> {
    const held = await this.ctx.storage.getAlarm();
    if (held === null || atMs < held) await this.ctx.storage.setAlarm(atMs);
  }
}
