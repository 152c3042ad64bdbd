// Brings the Directory's tables of earlier builds into its keyspace, once. Guarantees: one transaction; numbers go on where they were.
import type { StorageNode } from "../src/access/types.ts";
import type { PurgeState } from "../src/replication/purge-round.ts";
import { type DueRecord, KEYS, type NodeRecord, type RepairRecord, type TenantRecord } from "./directory-keys.ts";
import type { DirectoryRecords } from "./directory-records.ts";
import type { RepairProgress, RepairPurge } from "./tenancy-rpc.ts";

type OldTenant = {
  number: number;
  tenant_id: string;
  state: string;
  created_at_ms: number;
  start: string;
  initialized: number;
  failures: number;
  next_attempt_ms: number | null;
};

type OldRepair = {
  id: number;
  started_at_ms: number;
  finished_at_ms: number | null;
  progress: string;
  purge: string | null;
  begun: number;
};

const TABLES = ["facts", "nodes", "tenants", "repairs", "repair_state"];

/** False = there is nothing: the Directory is new. Drops the tables either way. */
export function upgradeDirectory(sql: SqlStorage, records: DirectoryRecords): boolean {
  const rows = <T>(query: string): T[] => sql.exec(query).toArray() as unknown as T[];
  const facts = new Map(
    rows<{ name: string; value: unknown }>("SELECT * FROM facts").map((row) => [row.name, row.value]),
  );
  const secret = facts.get("secret") as ArrayBuffer | undefined;
  if (secret) {
    records.write(
      { key: KEYS.secret, value: [...new Uint8Array(secret)] },
      { key: KEYS.view, value: Number(facts.get("revision")) },
    );
    for (const node of rows<StorageNode & { served: number }>("SELECT * FROM nodes")) {
      const value: NodeRecord = { ...node, served: node.served === 1 };
      records.write({ key: KEYS.node(node.id), value });
    }
    for (const tenant of rows<OldTenant>("SELECT * FROM tenants ORDER BY number")) upgradeTenant(records, tenant);
    for (const repair of rows<OldRepair>("SELECT * FROM repairs ORDER BY id")) upgradeRepair(records, repair);
    for (const { name, state } of rows<{ name: "purge" | "since"; state: string }>("SELECT * FROM repair_state"))
      records.write({ key: KEYS.state(name), value: JSON.parse(state) as PurgeState | number });
    upgradeNumbers(sql, records);
  }
  for (const table of TABLES) sql.exec(`DROP TABLE ${table}`);
  return secret !== undefined;
}

function upgradeTenant(records: DirectoryRecords, row: OldTenant): void {
  const {
    number: tenant,
    tenant_id: tenantId,
    created_at_ms: createdAtMs,
    failures,
    next_attempt_ms: nextAttemptMs,
  } = row;
  const state = row.state as TenantRecord["state"];
  const plan = JSON.parse(row.start) as TenantRecord["plan"];
  const value: TenantRecord = { tenantId, state, createdAtMs, plan, isInitialized: row.initialized === 1 };
  records.write({ key: KEYS.tenant(tenant), value });
  if (state === "active") records.write({ key: KEYS.name(tenantId), value: { tenant, createdAtMs } });
  const due: DueRecord = { failures, nextAttemptMs: nextAttemptMs ?? 0 };
  if (nextAttemptMs !== null) records.write({ key: KEYS.due(tenant), value: due });
}

function upgradeRepair(records: DirectoryRecords, row: OldRepair): void {
  const value: RepairRecord = {
    startedAtMs: row.started_at_ms,
    finishedAtMs: row.finished_at_ms,
    progress: JSON.parse(row.progress) as RepairProgress,
    purge: row.purge === null ? null : (JSON.parse(row.purge) as RepairPurge),
    hasBegun: row.begun === 1,
  };
  records.write({ key: KEYS.repair(row.id), value });
}

/** What AUTOINCREMENT gave last is told by giving one more, which nobody gets. */
function upgradeNumbers(sql: SqlStorage, records: DirectoryRecords): void {
  const tenant = sql
    .exec<{ n: number }>(
      `INSERT INTO tenants (tenant_id, state, created_at_ms, start, initialized, failures) VALUES ('', 'deleting', 0, '', 0, 0)
       RETURNING number AS n`,
    )
    .one().n;
  const repair = sql
    .exec<{ n: number }>("INSERT INTO repairs (started_at_ms, progress) VALUES (0, '') RETURNING id AS n")
    .one().n;
  records.write({ key: KEYS.lastTenant, value: tenant }, { key: KEYS.lastRepair, value: repair });
}
