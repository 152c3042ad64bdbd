// A tenant's vector databases: which there are, their beginning, their changes and their end.
// Guarantees: a database is in the table before any shard of it exists, and leaves it only when all its shards are empty and no call that
// could fill one is under way; what a crash interrupts goes on by the tenant's alarm. Must not: know vectors.
import { changedIndexes, DEFAULT_INDEX, type IndexChange, type IndexFields } from "../src/vector/database/indexes.ts";
import { MAX_DATABASES_PER_TENANT } from "../src/vector/database/limits.ts";
import { type DatabaseRecord, shardConfigOf, shardName } from "../src/vector/database/record.ts";
import type { DatabaseChanges, DatabaseInfo, DatabaseState, NamedDatabase } from "./database-rpc.ts";
import type { Env } from "./env.ts";
import { failure, type RpcResult } from "./tenancy-rpc.ts";
import type { VectorShardRpc } from "./vector-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

type Row = {
  generation: number;
  namespace: string;
  database_id: string;
  state: DatabaseState | "erased";
  record: string;
  is_configured: number;
  late_until_ms: number;
  created_at_ms: number;
  updated_at_ms: number;
};

const CALL_TIMEOUT_MS = 5000;
/** Shards asked at once. */
const AT_ONCE = 16;
/** What did not come through is tried again after this. Ms. */
const RETRY_MS = 1000;
/** A call that configures a shard and was not answered may still arrive for so long, even though its caller died. Ms. */
export const LATE_CALL_MS = 30_000;

export class TenantDatabases {
  readonly #sql: SqlStorage;
  readonly #env: Env;
  /** Work on one database goes in order: no shard is configured after it was erased. */
  readonly #work = new Map<number, Promise<void>>();

  /** Its table is the TenantStore's to make: a tenant that does not exist leaves nothing on disk. */
  constructor(sql: SqlStorage, env: Env) {
    this.#sql = sql;
    this.#env = env;
  }

  #held({ namespace, databaseId }: NamedDatabase): Row | undefined {
    const query = "SELECT * FROM databases WHERE namespace = ? AND database_id = ? AND state <> 'erased'";
    return this.#sql.exec<Row>(query, namespace, databaseId).toArray()[0];
  }

  #row(generation: number): Row | undefined {
    return this.#sql.exec<Row>("SELECT * FROM databases WHERE generation = ?", generation).toArray()[0];
  }

  find(name: NamedDatabase): DatabaseInfo | null {
    const row = this.#held(name);
    return row && row.state !== "deleting" ? infoOf(row) : null;
  }

  list({ namespace, after, limit }: { namespace: string; after: string; limit: number }): readonly DatabaseInfo[] {
    const query = `SELECT * FROM databases WHERE namespace = ? AND database_id > ? AND state IN ('creating', 'ready')
      ORDER BY database_id LIMIT ?`;
    return this.#sql.exec<Row>(query, namespace, after, limit).toArray().map(infoOf);
  }

  add(namespace: string, record: DatabaseRecord, nowMs: number): RpcResult<DatabaseInfo> {
    const { databaseId } = record;
    const held = this.#held({ namespace, databaseId });
    if (held?.state === "deleting")
      return failure("unavailable", `the database "${databaseId}" is being deleted; try again in a moment`);
    if (held) return failure("alreadyExists", `there is a database "${databaseId}"`);
    const used = this.#sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM databases").one().n;
    if (used >= MAX_DATABASES_PER_TENANT) {
      const details = { quota: "databases", used, limit: MAX_DATABASES_PER_TENANT };
      return failure("quotaExceeded", `the tenant has ${used} databases, which is the limit`, details);
    }
    const row = this.#sql
      .exec<Row>(
        `INSERT INTO databases (namespace, database_id, state, record, is_configured, late_until_ms, created_at_ms, updated_at_ms)
         VALUES (?, ?, 'creating', ?, 0, ?, ?, ?) RETURNING *`,
        ...[namespace, databaseId, JSON.stringify(record), nowMs + LATE_CALL_MS, nowMs, nowMs],
      )
      .one();
    return { ok: true, value: infoOf(row) };
  }

  change(name: NamedDatabase, changes: DatabaseChanges, nowMs: number): RpcResult<DatabaseInfo> {
    return this.#change(name, nowMs, (record) => {
      const { indexParameters } = changes;
      const rebuilt = indexParameters && indexed(record, { ...DEFAULT, indexParameters }, nowMs);
      if (rebuilt && !rebuilt.ok) return rebuilt;
      return { ok: true, value: { ...record, ...changes, ...rebuilt?.value } };
    });
  }

  changeIndex(name: NamedDatabase, change: IndexChange, nowMs: number): RpcResult<DatabaseInfo> {
    return this.#change(name, nowMs, (record) => {
      const fields = indexed(record, change, nowMs);
      return fields.ok ? { ok: true, value: { ...record, ...fields.value } } : fields;
    });
  }

  #change(
    name: NamedDatabase,
    nowMs: number,
    by: (record: DatabaseRecord) => RpcResult<DatabaseRecord>,
  ): RpcResult<DatabaseInfo> {
    const row = this.#held(name);
    if (!row || row.state === "deleting") return noSuch(name);
    if (row.state === "creating")
      return failure("unavailable", `the database "${name.databaseId}" is being created; try again in a moment`);
    const after = by(JSON.parse(row.record) as DatabaseRecord);
    if (!after.ok) return after;
    const changed = this.#sql
      .exec<Row>(
        `UPDATE databases SET record = ?, is_configured = 0, late_until_ms = ?, updated_at_ms = ? WHERE generation = ?
         RETURNING *`,
        ...[JSON.stringify(after.value), nowMs + LATE_CALL_MS, nowMs, row.generation],
      )
      .one();
    return { ok: true, value: infoOf(changed) };
  }

  markDeleting(name: NamedDatabase): RpcResult<{ generation: number }> {
    const row = this.#held(name);
    if (!row || row.state === "deleting") return noSuch(name);
    this.#sql.exec("UPDATE databases SET state = 'deleting' WHERE generation = ?", row.generation);
    return { ok: true, value: { generation: row.generation } };
  }

  markAllDeleting(): void {
    this.#sql.exec("UPDATE databases SET state = 'deleting' WHERE state <> 'erased'");
  }

  /** The shards have what the record says. */
  isConfigured(generation: number): boolean {
    return this.#row(generation)?.is_configured === 1;
  }

  isErased(generation: number): boolean {
    const state = this.#row(generation)?.state;
    return state === undefined || state === "erased";
  }

  /** When there is something to go on with; null = all is as it should be. */
  nextWorkAtMs(nowMs: number): number | null {
    const [row] = this.#sql
      .exec<{ busy: number; late: number | null }>(
        `SELECT COALESCE(SUM(state = 'deleting' OR (state <> 'erased' AND is_configured = 0)), 0) AS busy,
           MIN(CASE WHEN state = 'erased' THEN late_until_ms END) AS late FROM databases`,
      )
      .toArray();
    if (row!.busy > 0) return nowMs + RETRY_MS;
    return row!.late === null ? null : Math.max(row!.late, nowMs + 1);
  }

  /** Goes on with all that is not settled; true when nothing of a deleted database is left. */
  async settleAll(tenant: number): Promise<boolean> {
    const query = "SELECT * FROM databases WHERE state IN ('deleting', 'erased') OR is_configured = 0";
    const rows = this.#sql.exec<Row>(query).toArray();
    for (let from = 0; from < rows.length; from += AT_ONCE)
      await Promise.all(rows.slice(from, from + AT_ONCE).map(({ generation }) => this.settle(tenant, generation)));
    return (
      this.#sql.exec("SELECT 1 FROM databases WHERE state IN ('deleting', 'erased') LIMIT 1").toArray().length === 0
    );
  }

  /** Brings one database's shards to where its row says they must be, or leaves it to the alarm. Never throws. */
  async settle(tenant: number, generation: number): Promise<void> {
    const before = this.#work.get(generation) ?? Promise.resolve();
    const work = before.then(() => this.#step(tenant, generation));
    this.#work.set(generation, work);
    await work;
    if (this.#work.get(generation) === work) this.#work.delete(generation);
  }

  async #step(tenant: number, generation: number): Promise<void> {
    const row = this.#row(generation);
    if (!row) return;
    if (row.state === "deleting" || row.state === "erased") await this.#erase(tenant, row);
    else if (row.is_configured === 0) await this.#configure(tenant, row);
  }

  async #configure(tenant: number, row: Row): Promise<void> {
    const config = shardConfigOf(JSON.parse(row.record) as DatabaseRecord);
    this.#sql.exec(
      "UPDATE databases SET late_until_ms = ? WHERE generation = ?",
      ...[Date.now() + LATE_CALL_MS, row.generation],
    );
    const done = await this.#eachShard(tenant, row, async (shard) => {
      const refusal = await shard.configure(config);
      if (refusal) throw new Error(`a shard refuses its configuration: ${refusal}`);
    });
    if (!done) return;
    this.#sql.exec(
      `UPDATE databases SET is_configured = 1, late_until_ms = 0,
         state = CASE state WHEN 'creating' THEN 'ready' ELSE state END WHERE generation = ? AND record = ?`,
      ...[row.generation, row.record],
    );
  }

  async #erase(tenant: number, row: Row): Promise<void> {
    const beganMs = Date.now();
    if (row.state === "erased" && beganMs < row.late_until_ms) return;
    if (!(await this.#eachShard(tenant, row, (shard) => shard.erase()))) return;
    if (beganMs >= row.late_until_ms) this.#sql.exec("DELETE FROM databases WHERE generation = ?", row.generation);
    else this.#sql.exec("UPDATE databases SET state = 'erased' WHERE generation = ?", row.generation);
  }

  /** False = not all of them answered. */
  async #eachShard(tenant: number, row: Row, run: (shard: VectorShardRpc) => Promise<void>): Promise<boolean> {
    const { sharding } = JSON.parse(row.record) as DatabaseRecord;
    const { namespace, database_id: databaseId, generation } = row;
    const objects = this.#env.VECTOR_SHARD;
    const ask = (shard: number): Promise<boolean> => {
      const name = shardName({ tenant, namespace, databaseId, generation }, shard);
      const asked = run(objects.get(objects.idFromName(name)));
      return withDeadline(asked, CALL_TIMEOUT_MS, "VectorShard").then(
        () => true,
        () => false,
      );
    };
    const shards = Array.from({ length: sharding.numShards }, (_, shard) => shard);
    let isDone = true;
    for (let from = 0; from < shards.length; from += AT_ONCE) {
      const answers = await Promise.all(shards.slice(from, from + AT_ONCE).map(ask));
      isDone &&= answers.every(Boolean);
    }
    return isDone;
  }
}

const DEFAULT = { kind: "update", indexId: DEFAULT_INDEX, rebuild: false } as const;

function indexed(record: DatabaseRecord, change: IndexChange, nowMs: number): RpcResult<IndexFields> {
  const fields = changedIndexes(record, change, nowMs);
  return "refused" in fields ? failure(fields.refused, fields.message) : { ok: true, value: fields };
}

function noSuch({ databaseId }: NamedDatabase): RpcResult<never> {
  return failure("notFound", `there is no database "${databaseId}"`);
}

function infoOf(row: Row): DatabaseInfo {
  const { namespace, generation, state, created_at_ms, updated_at_ms } = row;
  const record = JSON.parse(row.record) as DatabaseRecord;
  if (state === "erased") throw new Error("an erased database has no description");
  return { namespace, generation, state, record, createdAtMs: created_at_ms, updatedAtMs: updated_at_ms };
}
