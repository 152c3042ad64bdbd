// A tenant's tables: its settings and its API keys (hashes only).
// Guarantees: synchronous; the revision grows with every change that a gateway must see. Must not: read a clock or do I/O.
import { TENANT_DATABASE_MIGRATIONS } from "../migrations/databases.ts";
import { TENANT_MIGRATIONS } from "../migrations/tenancy.ts";
import { TENANT_WEBHOOK_MIGRATIONS } from "../migrations/webhooks.ts";
import { DEAD_KEY_RETENTION_MS, MAX_KEYS_PER_TENANT } from "../src/access/limits.ts";
import { TENANT_BUCKET } from "../src/access/rate-authority.ts";
import type {
  ApiKeyRecord,
  ConflictPolicy,
  FactorChange,
  QuotaExcess,
  RateLimit,
  Scope,
  TenantQuotas,
  TenantRoute,
  TenantView,
} from "../src/access/types.ts";
import { beginChange, type ChangeState, type Changing, cancelChange } from "../src/replication/route-change.ts";
import type { Consistency } from "../src/wire/session.ts";
import { CheckedTable } from "./checked-rows.ts";
import { applyMigrations } from "./migrate.ts";
import {
  failure,
  type KeyInfo,
  type RpcFailure,
  type RpcResult,
  type TenantChanges,
  type TenantInfo,
  type TenantLimits,
  type TenantStart,
} from "./tenancy-rpc.ts";

type TenantRow = {
  one: number;
  crc: number | null;
  tenant: number;
  tenant_id: string;
  display_name: string;
  state: string;
  replication_factor: number;
  default_consistency: string;
  conflict_policy: string;
  revision: number;
  created_at_ms: number;
  sealing_secret: ArrayBuffer;
  limits: string;
  route_revision: number;
  route_change: string | null;
  change_state: string | null;
};
type KeyRow = {
  crc: number | null;
  key_id: string;
  name: string;
  scope: string;
  hash: string;
  created_at_ms: number;
  expires_at_ms: number | null;
  revoked_at_ms: number | null;
  rate_limit: string | null;
};

const recordOf = (row: KeyRow): ApiKeyRecord => ({
  keyId: row.key_id,
  name: row.name,
  scope: row.scope as Scope,
  hash: row.hash,
  createdAtMs: row.created_at_ms,
  expiresAtMs: row.expires_at_ms,
  revokedAtMs: row.revoked_at_ms,
  rateLimit: row.rate_limit === null ? null : (JSON.parse(row.rate_limit) as RateLimit),
});

function routeOf(row: TenantRow): TenantRoute {
  const change = row.route_change === null ? undefined : (JSON.parse(row.route_change) as FactorChange);
  return { replicationFactor: row.replication_factor, routeRevision: row.route_revision, change };
}

/** A key as it may be shown. */
export function keyInfoOf({ hash: _, ...info }: ApiKeyRecord): KeyInfo {
  return info;
}

function limitsOf({ rateLimit, quotas, tokensValidAfterMs }: TenantLimits): TenantLimits {
  return { rateLimit: rateLimit ?? null, quotas: quotas ?? {}, tokensValidAfterMs: tokensValidAfterMs ?? null };
}

/** The limits of tenants and keys without their own. */
export interface DefaultLimits {
  readonly tenantRate: RateLimit | null;
  readonly keyRate: RateLimit | null;
  readonly quotas: TenantQuotas;
}

/** Tables of a tenant and what tells their rows apart. */
const CHECKED = [
  ["tenant", "one"],
  ["api_keys", "key_id"],
  ["namespaces", "incarnation"],
  ["webhooks", "id"],
  ["databases", "generation"],
] as const;

export class TenantStore {
  readonly #defaults: DefaultLimits;
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  readonly #tenants: CheckedTable<TenantRow>;
  readonly #keyRows: CheckedTable<KeyRow>;

  constructor(storage: DurableObjectStorage, defaults: DefaultLimits) {
    this.#defaults = defaults;
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#tenants = new CheckedTable(storage.sql, "tenant", "one");
    this.#keyRows = new CheckedTable(storage.sql, "api_keys", "key_id");
    if (this.exists) this.#migrate();
  }

  #migrate(): void {
    applyMigrations(this.#storage, "tenant", TENANT_MIGRATIONS);
    applyMigrations(this.#storage, "tenant-webhooks", TENANT_WEBHOOK_MIGRATIONS);
    applyMigrations(this.#storage, "tenant-databases", TENANT_DATABASE_MIGRATIONS);
    // Rows that earlier builds wrote.
    for (const [table, key] of CHECKED) new CheckedTable(this.#sql, table, key).seal();
  }

  /** False before the first start and after the erasure: an object that someone merely asked leaves nothing on disk. */
  get exists(): boolean {
    return this.#sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'tenant'").toArray().length > 0;
  }

  initialize(start: TenantStart): void {
    this.#migrate();
    this.#storage.transactionSync(() => {
      if (this.row()) return;
      this.#tenants.insert({
        one: 1,
        tenant: start.tenant,
        tenant_id: start.tenantId,
        display_name: start.displayName,
        state: "active",
        replication_factor: start.replicationFactor,
        default_consistency: start.defaultConsistency,
        conflict_policy: start.conflictPolicy,
        revision: 1,
        created_at_ms: start.createdAtMs,
        sealing_secret: start.sealingSecret.slice().buffer as ArrayBuffer,
        limits: JSON.stringify(limitsOf(start)),
      });
      this.#insertKey(start.firstKey);
    });
  }

  row(): TenantRow | undefined {
    return this.exists ? this.#tenants.select("")[0] : undefined;
  }

  /** One that is damaged opens nothing. */
  #keys(): ApiKeyRecord[] {
    return this.#keyRows.selectWhole("ORDER BY key_id").map(recordOf);
  }

  /** Of the tenant's own bucket (TENANT_BUCKET) or a key's; undefined = there is no such key. */
  rateLimit(bucket: string): RateLimit | null | undefined {
    if (bucket === TENANT_BUCKET) return this.#limits().rateLimit ?? this.#defaults.tenantRate;
    const [row] = this.#keyRows.select("WHERE key_id = ?", bucket);
    if (!row) return undefined;
    return row.rate_limit === null ? this.#defaults.keyRate : (JSON.parse(row.rate_limit) as RateLimit);
  }

  /** The quotas that hold. */
  quotas(): TenantQuotas {
    return { ...this.#defaults.quotas, ...this.#limits().quotas };
  }

  #limits(): TenantLimits {
    return JSON.parse(this.row()?.limits ?? "{}") as TenantLimits;
  }

  get apiKeyCount(): number {
    return this.#sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM api_keys").one().count;
  }

  /** What gateways compare views by: `excess` comes and goes without a change here. */
  viewRevision(excess: QuotaExcess | undefined): number | undefined {
    const row = this.row();
    return row && row.revision * 2 + (excess ? 1 : 0);
  }

  view(excess?: QuotaExcess): TenantView | null {
    const row = this.row();
    if (!row) return null;
    const isActive = row.state === "active";
    const withDefault = (key: ApiKeyRecord): ApiKeyRecord => ({
      ...key,
      rateLimit: key.rateLimit ?? this.#defaults.keyRate,
    });
    return {
      tenantId: row.tenant_id,
      tenant: row.tenant,
      revision: this.viewRevision(excess) ?? 0,
      state: isActive ? "active" : "deleting",
      ...routeOf(row),
      defaultConsistency: row.default_consistency as Consistency,
      conflictPolicy: row.conflict_policy as ConflictPolicy,
      keys: isActive
        ? this.#keys()
            .filter((key) => key.revokedAtMs === null)
            .map(withDefault)
        : [],
      rateLimit: this.rateLimit(TENANT_BUCKET) ?? null,
      tokensValidAfterMs: this.#limits().tokensValidAfterMs ?? null,
      excess: excess ?? null,
    };
  }

  info(): TenantInfo | null {
    const row = this.row();
    if (row?.state !== "active") return null;
    return {
      tenantId: row.tenant_id,
      displayName: row.display_name,
      createdAtMs: row.created_at_ms,
      ...routeOf(row),
      changeState: row.change_state === null ? null : (JSON.parse(row.change_state) as ChangeState),
      defaultConsistency: row.default_consistency as Consistency,
      conflictPolicy: row.conflict_policy as ConflictPolicy,
      ...limitsOf(JSON.parse(row.limits) as TenantLimits),
    };
  }

  #bump(): void {
    this.#tenants.update({ set: "revision = revision + 1", where: "1" });
  }

  update(changes: TenantChanges, nowMs: number): RpcResult<TenantInfo> {
    const held = this.info();
    if (!held) return failure("notFound", "there is no such tenant");
    const refusal =
      changes.replicationFactor === undefined ? null : this.#changeFactor(changes.replicationFactor, nowMs);
    if (refusal) return refusal;
    const next = { ...held, ...changes, quotas: { ...held.quotas, ...changes.quotas } };
    this.#tenants.update({
      set: "display_name = ?, default_consistency = ?, conflict_policy = ?, limits = ?",
      to: [next.displayName, next.defaultConsistency, next.conflictPolicy, JSON.stringify(limitsOf(next))],
      where: "1",
    });
    this.#bump();
    return { ok: true, value: this.info()! };
  }

  /** Begins a change, calls it off (back to what holds), or refuses a second one. */
  #changeFactor(to: number, nowMs: number): RpcFailure | null {
    const held = this.changing();
    const { change } = held;
    if (!change) {
      if (to !== held.route.replicationFactor) this.saveChanging(beginChange(held, to, nowMs));
    } else if (to === change.from) {
      this.saveChanging(cancelChange(held));
    } else if (to !== change.to || change.isCancelled) {
      const message = `replicationFactor is being changed from ${change.from} to ${change.isCancelled ? change.from : change.to}; wait for its end, or set ${change.from} to call it off`;
      return failure("conflict", message, { field: "replicationFactor", from: change.from, to: change.to });
    }
    return null;
  }

  /** The published route and the change that is under way. Only of an active tenant. */
  changing(): Changing {
    const row = this.row()!;
    const change = row.change_state === null ? undefined : (JSON.parse(row.change_state) as ChangeState);
    return { route: routeOf(row), change };
  }

  get isChanging(): boolean {
    const row = this.row();
    return row?.state === "active" && row.change_state !== null;
  }

  /** One commit. */
  saveChanging({ route, change }: Changing): void {
    const before = this.row()!;
    const [phase, state] = [route.change, change].map((part) => (part ? JSON.stringify(part) : null));
    this.#tenants.update({
      set: "replication_factor = ?, route_revision = ?, route_change = ?, change_state = ?",
      to: [route.replicationFactor, route.routeRevision ?? 0, phase!, state!],
      where: "1",
    });
    if ((route.routeRevision ?? 0) !== before.route_revision) this.#bump();
  }

  #insertKey(key: ApiKeyRecord): void {
    const { keyId, name, scope, hash, createdAtMs, expiresAtMs, revokedAtMs, rateLimit } = key;
    this.#keyRows.insert({
      ...{ key_id: keyId, name, scope, hash, created_at_ms: createdAtMs, expires_at_ms: expiresAtMs },
      ...{ revoked_at_ms: revokedAtMs, rate_limit: rateLimit ? JSON.stringify(rateLimit) : null },
    });
  }

  addKey(key: ApiKeyRecord): RpcResult<KeyInfo> {
    if (!this.info()) return failure("notFound", "there is no such tenant");
    const used = this.apiKeyCount;
    const limit = Math.min(this.quotas().apiKeys ?? MAX_KEYS_PER_TENANT, MAX_KEYS_PER_TENANT);
    if (used >= limit) {
      const message = `the tenant has ${used} API keys, the limit is ${limit}; revoked ones count for 30 days`;
      return failure("quotaExceeded", message, { quota: "apiKeys", used, limit });
    }
    this.#insertKey(key);
    this.#bump();
    return { ok: true, value: keyInfoOf(key) };
  }

  revokeKey(keyId: string, nowMs: number): RpcResult<KeyInfo> {
    const set = "revoked_at_ms = COALESCE(revoked_at_ms, ?)";
    // A damaged one too.
    this.#keyRows.updateUnchecked({ set, to: [nowMs], where: "key_id = ?", of: [keyId] });
    const [row] = this.#keyRows.select("WHERE key_id = ?", keyId);
    if (!row || !this.info()) return failure("notFound", `there is no key "${keyId}"`);
    this.#bump();
    return { ok: true, value: keyInfoOf(recordOf(row)) };
  }

  listKeys(after: string, limit: number): KeyInfo[] {
    if (!this.info()) return [];
    return this.#keyRows
      .select("WHERE key_id > ? ORDER BY key_id LIMIT ?", after, limit)
      .map((row) => keyInfoOf(recordOf(row)));
  }

  beginErasure(): void {
    if (!this.exists) return;
    const set = "state = 'deleting', revision = revision + 1";
    this.#tenants.updateUnchecked({ set, where: "state = 'active'" });
    this.#sql.exec("DELETE FROM api_keys");
  }

  #deadAtMs = "MIN(COALESCE(revoked_at_ms, expires_at_ms), COALESCE(expires_at_ms, revoked_at_ms))";

  /** When the oldest dead key's row may go; null when none is dead or will be. */
  nextKeyPurgeAtMs(): number | null {
    const [row] = this.#sql.exec<{ at: number | null }>(`SELECT MIN(${this.#deadAtMs}) AS at FROM api_keys`).toArray();
    return row?.at === null || row === undefined ? null : row.at + DEAD_KEY_RETENTION_MS;
  }

  purgeKeys(nowMs: number): void {
    this.#sql.exec(`DELETE FROM api_keys WHERE ${this.#deadAtMs} <= ?`, nowMs - DEAD_KEY_RETENTION_MS);
  }
}
