// The Directory's tables: tenants with numbers never given twice, storage nodes with their incarnations, the deployment's secret.
// Guarantees: synchronous; every method is one step of a turn. Must not: call other objects or read a clock.
import { DIRECTORY_MIGRATIONS } from "../migrations/tenancy.ts";
import { firstNodes } from "../src/access/ring-start.ts";
import { retryDelayMs } from "../src/access/schedule.ts";
import type { ApiKeyRecord, NodeState, StorageNode } from "../src/access/types.ts";
import { NOTHING_PURGED, type PurgeState } from "../src/replication/purge-round.ts";
import { INCARNATIONS_PER_NODE } from "../src/wire/clock.ts";
import { applyMigrations } from "./migrate.ts";
import type { Registration } from "./rpc.ts";
import {
  failure,
  type NewTenant,
  type RepairInfo,
  type RepairProgress,
  type RepairPurge,
  type RpcResult,
  type TenantRow,
} from "./tenancy-rpc.ts";

/** What a Tenant object is started with, kept until it was. */
export interface TenantPlan extends NewTenant {
  readonly firstKey: ApiKeyRecord;
}

/** A tenant that waits for the reconciler. */
export interface DueTenant {
  readonly tenant: number;
  readonly state: "active" | "deleting";
  readonly failures: number;
  readonly plan: TenantPlan;
  readonly createdAtMs: number;
}

type NodeRow = { number: number; id: string; zone: string; weight: number; state: string; incarnation: number };
type TenantRowSql = {
  number: number;
  tenant_id: string;
  state: string;
  created_at_ms: number;
  start: string;
  failures: number;
};

type RepairRow = {
  id: number;
  started_at_ms: number;
  finished_at_ms: number | null;
  progress: string;
  purge: string | null;
  begun: number;
};

function repairOf(row: RepairRow): RepairInfo {
  const progress = JSON.parse(row.progress) as RepairProgress;
  const purge = row.purge === null ? null : (JSON.parse(row.purge) as RepairPurge);
  return { repairId: row.id, startedAtMs: row.started_at_ms, finishedAtMs: row.finished_at_ms, progress, purge };
}

const NO_REPAIR_PROGRESS: RepairProgress = {
  ...{ nodesDone: 0, nodeCount: 0, rowsCompared: 0, rowsRepaired: 0, rowsUnreadable: 0 },
  waitingFor: "",
};
/** Repairs that are remembered. */
const MAX_REPAIRS = 100;
const SECRET_BYTES = 32;

export class DirectoryStore {
  readonly #sql: SqlStorage;

  constructor(
    storage: DurableObjectStorage,
    first: { nodes: number; zones: number; random: (bytes: number) => Uint8Array },
  ) {
    applyMigrations(storage, "directory", DIRECTORY_MIGRATIONS);
    this.#sql = storage.sql;
    storage.transactionSync(() => {
      if (this.#fact("secret") !== undefined) return;
      this.#sql.exec("INSERT INTO facts VALUES ('secret', ?)", first.random(SECRET_BYTES));
      this.#sql.exec("INSERT INTO facts VALUES ('revision', 1)");
      for (const node of firstNodes(first.nodes, first.zones)) {
        const { number, id, zone, weight, state, incarnation } = node;
        this.#sql.exec(
          "INSERT INTO nodes (number, id, zone, weight, state, incarnation) VALUES (?, ?, ?, ?, ?, ?)",
          ...[number, id, zone, weight, state, incarnation],
        );
      }
    });
  }

  #fact(name: string): SqlStorageValue | undefined {
    return this.#sql.exec<{ value: SqlStorageValue }>("SELECT value FROM facts WHERE name = ?", name).toArray()[0]
      ?.value;
  }

  get secret(): Uint8Array {
    return new Uint8Array(this.#fact("secret") as ArrayBuffer);
  }

  get revision(): number {
    return Number(this.#fact("revision"));
  }

  nodes(): StorageNode[] {
    const rows = this.#sql.exec<NodeRow>(
      "SELECT number, id, zone, weight, state, incarnation FROM nodes ORDER BY number",
    );
    return rows.toArray().map((row) => ({ ...row, state: row.state as NodeState }));
  }

  /**
   * Raises the node's incarnation; what was stamped under the earlier ones stays distinct. A node that served before has lost its
   * disk: it must be rebuilt before it counts.
   */
  nextIncarnation(nodeId: string): Registration {
    const [row] = this.#sql
      .exec<{ number: number; incarnation: number; served: number }>(
        `UPDATE nodes SET incarnation = incarnation + 1, state = CASE WHEN served AND state = 'active' THEN 'rebuilding' ELSE state END
         WHERE id = ? RETURNING number, incarnation, served`,
        nodeId,
      )
      .toArray();
    if (!row) throw new Error(`there is no storage node "${nodeId}"`);
    if (row.incarnation >= INCARNATIONS_PER_NODE) {
      throw new Error(
        `node ${nodeId} has used its ${INCARNATIONS_PER_NODE - 1} incarnations: replace it by a new node`,
      );
    }
    this.#bump();
    const { floors, horizon } = this.purgeState();
    const floor = floors.at(-1)?.time ?? 0;
    return { nodeNumber: row.number, incarnation: row.incarnation, mustRebuild: row.served === 1, floor, horizon };
  }

  /** The node's store holds what it should, and from now on others may rely on it. */
  nodeServes(nodeId: string, incarnation: number): void {
    const changed = this.#sql
      .exec(
        `UPDATE nodes SET served = 1, state = CASE state WHEN 'rebuilding' THEN 'active' ELSE state END
         WHERE id = ? AND incarnation = ? AND (served = 0 OR state = 'rebuilding') RETURNING number`,
        nodeId,
        incarnation,
      )
      .toArray();
    if (changed.length > 0) this.#bump();
  }

  #bump(): void {
    this.#sql.exec("UPDATE facts SET value = value + 1 WHERE name = 'revision'");
  }

  activeTenant(tenantId: string): number | null {
    const query = "SELECT number FROM tenants WHERE tenant_id = ? AND state = 'active'";
    return this.#sql.exec<{ number: number }>(query, tenantId).toArray()[0]?.number ?? null;
  }

  addTenant(plan: TenantPlan, nowMs: number): RpcResult<{ tenant: number; createdAtMs: number }> {
    if (this.activeTenant(plan.tenantId) !== null) {
      return failure("alreadyExists", `a tenant "${plan.tenantId}" exists`, { tenantId: plan.tenantId });
    }
    const [row] = this.#sql
      .exec<{ number: number }>(
        `INSERT INTO tenants (tenant_id, state, created_at_ms, start, initialized, failures, next_attempt_ms)
         VALUES (?, 'active', ?, ?, 0, 0, ?) RETURNING number`,
        plan.tenantId,
        nowMs,
        JSON.stringify(plan),
        nowMs + retryDelayMs(1),
      )
      .toArray();
    return { ok: true, value: { tenant: row!.number, createdAtMs: nowMs } };
  }

  markDeleting(tenantId: string, nowMs: number): RpcResult<{ tenant: number }> {
    const [row] = this.#sql
      .exec<{ number: number }>(
        `UPDATE tenants SET state = 'deleting', failures = 0, next_attempt_ms = ?
         WHERE tenant_id = ? AND state = 'active' RETURNING number`,
        nowMs,
        tenantId,
      )
      .toArray();
    if (!row) return failure("notFound", `there is no tenant "${tenantId}"`);
    return { ok: true, value: { tenant: row.number } };
  }

  isInitialized(tenant: number): boolean {
    return this.#sql.exec("SELECT 1 FROM tenants WHERE number = ? AND initialized = 1", tenant).toArray().length > 0;
  }

  markInitialized(tenant: number): void {
    // A tenant that is being deleted meanwhile keeps its appointment with the reconciler.
    this.#sql.exec(
      `UPDATE tenants SET initialized = 1, failures = 0,
         next_attempt_ms = CASE state WHEN 'active' THEN NULL ELSE next_attempt_ms END WHERE number = ?`,
      tenant,
    );
  }

  postpone(tenant: number, failures: number, atMs: number): void {
    this.#sql.exec("UPDATE tenants SET failures = ?, next_attempt_ms = ? WHERE number = ?", failures, atMs, tenant);
  }

  forget(tenant: number): void {
    this.#sql.exec("DELETE FROM tenants WHERE number = ? AND state = 'deleting'", tenant);
  }

  #dueOf(row: TenantRowSql): DueTenant {
    return {
      tenant: row.number,
      state: row.state as DueTenant["state"],
      failures: row.failures,
      plan: JSON.parse(row.start) as TenantPlan,
      createdAtMs: row.created_at_ms,
    };
  }

  tenant(number: number): DueTenant | undefined {
    const rows = this.#sql.exec<TenantRowSql>("SELECT * FROM tenants WHERE number = ?", number).toArray();
    return rows[0] && this.#dueOf(rows[0]);
  }

  dueTenants(nowMs: number, limit: number): DueTenant[] {
    const query = "SELECT * FROM tenants WHERE next_attempt_ms <= ? ORDER BY next_attempt_ms LIMIT ?";
    return this.#sql
      .exec<TenantRowSql>(query, nowMs, limit)
      .toArray()
      .map((row) => this.#dueOf(row));
  }

  nextDueAtMs(): number | null {
    const query = "SELECT MIN(next_attempt_ms) AS at FROM tenants WHERE next_attempt_ms IS NOT NULL";
    return this.#sql.exec<{ at: number | null }>(query).toArray()[0]?.at ?? null;
  }

  list(after: string, limit: number): TenantRow[] {
    const query =
      "SELECT number, tenant_id, created_at_ms FROM tenants WHERE state = 'active' AND tenant_id > ? ORDER BY tenant_id LIMIT ?";
    return this.#sql
      .exec<TenantRowSql>(query, after, limit)
      .toArray()
      .map((row) => ({ tenantId: row.tenant_id, tenant: row.number, createdAtMs: row.created_at_ms }));
  }

  counts(): Record<"active" | "deleting", number> {
    const counts = { active: 0, deleting: 0 };
    for (const row of this.#sql.exec<{ state: string; count: number }>(
      "SELECT state, COUNT(*) AS count FROM tenants GROUP BY state",
    )) {
      counts[row.state as keyof typeof counts] = row.count;
    }
    return counts;
  }

  // Full repairs

  /** One at a time. */
  addRepair(nowMs: number): RpcResult<RepairInfo> {
    const running = this.runningRepair();
    if (running) {
      const message = `repair ${running.repairId} is under way; wait for its end`;
      return failure("conflict", message, { repairId: running.repairId });
    }
    const [row] = this.#sql
      .exec<RepairRow>(
        "INSERT INTO repairs (started_at_ms, progress, begun) VALUES (?, ?, 0) RETURNING *",
        nowMs,
        JSON.stringify(NO_REPAIR_PROGRESS),
      )
      .toArray();
    this.#sql.exec("DELETE FROM repairs WHERE id <= ?", row!.id - MAX_REPAIRS);
    return { ok: true, value: repairOf(row!) };
  }

  saveRepair(repairId: number, progress: RepairProgress, finishedAtMs: number | null): void {
    this.#sql.exec(
      "UPDATE repairs SET progress = ?, finished_at_ms = ? WHERE id = ?",
      JSON.stringify(progress),
      finishedAtMs,
      repairId,
    );
  }

  runningRepair(): RepairInfo | undefined {
    return this.#sql.exec<RepairRow>("SELECT * FROM repairs WHERE finished_at_ms IS NULL").toArray().map(repairOf)[0];
  }

  repair(repairId: number): RepairInfo | undefined {
    return this.#sql.exec<RepairRow>("SELECT * FROM repairs WHERE id = ?", repairId).toArray().map(repairOf)[0];
  }

  /** Newest first. */
  repairs(): RepairInfo[] {
    return this.#sql.exec<RepairRow>("SELECT * FROM repairs ORDER BY id DESC").toArray().map(repairOf);
  }

  /** Every node promised its floor: the nodes may begin. */
  hasBegun(repairId: number): boolean {
    return this.#sql.exec("SELECT 1 FROM repairs WHERE id = ? AND begun = 1", repairId).toArray().length > 0;
  }

  beginRepair(repairId: number): void {
    this.#sql.exec("UPDATE repairs SET begun = 1 WHERE id = ?", repairId);
  }

  savePurge(repairId: number, purge: RepairPurge): void {
    this.#sql.exec("UPDATE repairs SET purge = ? WHERE id = ?", JSON.stringify(purge), repairId);
  }

  purgeState(): PurgeState {
    const rows = this.#sql.exec<{ state: string }>("SELECT state FROM repair_state WHERE name = 'purge'").toArray();
    return rows[0] ? (JSON.parse(rows[0].state) as PurgeState) : NOTHING_PURGED;
  }

  savePurgeState(state: PurgeState): void {
    this.#sql.exec("INSERT OR REPLACE INTO repair_state VALUES ('purge', ?)", JSON.stringify(state));
  }

  /** When the last full repair began; `nowMs` where none ever did, from the first time this is asked on. */
  lastRepairAtMs(nowMs: number): number {
    this.#sql.exec("INSERT OR IGNORE INTO repair_state VALUES ('since', ?)", JSON.stringify(nowMs));
    const query = `SELECT MAX((SELECT CAST(state AS REAL) FROM repair_state WHERE name = 'since'),
        (SELECT COALESCE(MAX(started_at_ms), 0) FROM repairs)) AS at`;
    return this.#sql.exec<{ at: number }>(query).one().at;
  }
}
