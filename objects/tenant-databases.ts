// A tenant's vector databases: which there are, their beginning, their changes and their end.
// Guarantees: a database is in the table before any shard of it exists, and leaves it only when all its shards are empty and no call that
// could fill one is under way; what a crash interrupts goes on by the tenant's alarm. Must not: know vectors.
import { nextAlarmAt } from "../src/access/schedule.ts";
import type { CopyZones } from "../src/access/types.ts";
import type { IndexChange } from "../src/vector/database/indexes.ts";
import { NO_LIFECYCLE, type ShardDamage } from "../src/vector/database/lifecycle.ts";
import { MAX_DATABASES_PER_TENANT } from "../src/vector/database/limits.ts";
import { placementIn, steppedPlacement, withOwed } from "../src/vector/database/placement.ts";
import { copiedConfigOf, type DatabaseRecord, shardConfigOf } from "../src/vector/database/record.ts";
import { isOpen, modelsAfter, type Reembedding } from "../src/vector/database/reembedding.ts";
import { nextPhase, shardCountOf, surplusOf } from "../src/vector/database/resharding.ts";
import { CheckedTable } from "./checked-rows.ts";
import { configureCopies, eraseCopies } from "./database-copies.ts";
import { lifecycleAfter } from "./database-phases.ts";
import { DatabasePlacing, OWED_RETRY_MS } from "./database-placing.ts";
import { DatabaseReembeddings } from "./database-reembeddings.ts";
import { infoOf, type DatabaseRow as Row, readable, recordOf } from "./database-rows.ts";
import type { DatabaseChanges, DatabaseInfo, DatabaseTask, NamedDatabase, NewReembedding } from "./database-rpc.ts";
import { AT_ONCE, eachShard } from "./database-shards.ts";
import { afterTask, DEFAULT_CHANGE, indexed, refusedChange, refusedTask, reshardOf } from "./database-tasks.ts";
import type { Env } from "./env.ts";
import { newReembedding, refusedReembedding } from "./reembedding.ts";
import { failure, type RpcResult } from "./tenancy-rpc.ts";

/** In SQL: the record tells of what is done in phases. One that is damaged may be no JSON. */
const IN_PHASES =
  "CASE WHEN json_valid(record) THEN json_extract(record, '$.sharding.reshard', '$.lifecycle.underWay') <> '[null,null]' ELSE 0 END";
/** What did not come through is tried again after this. Ms. */
const RETRY_MS = 1000;
/** Between two slices of a re-embedding. Ms. */
const REEMBED_MS = 20;
/** A call that configures a shard and was not answered may still arrive for so long, even though its caller died. Ms. */
export const LATE_CALL_MS = 30_000;

export class TenantDatabases {
  readonly #sql: SqlStorage;
  readonly #rows: CheckedTable<Row>;
  readonly #env: Env;
  /** Work on one database goes in order: no shard is configured after it was erased. */
  readonly #work = new Map<number, Promise<void>>();
  readonly #reembeddings: DatabaseReembeddings;
  readonly placing: DatabasePlacing;

  /** Its table is the TenantStore's to make: a tenant that does not exist leaves nothing on disk. */
  constructor(sql: SqlStorage, env: Env) {
    this.#sql = sql;
    this.#rows = new CheckedTable(sql, "databases", "generation");
    this.#env = env;
    this.#reembeddings = new DatabaseReembeddings({
      env,
      rows: this.#rows,
      store: (generation, record, nowMs) => this.#store(generation, record, nowMs),
      configure: async (tenant, generation) => {
        if (!this.isConfigured(generation) || this.#row(generation)?.state === "deleting")
          await this.settle(tenant, generation);
        return this.isConfigured(generation);
      },
      end: (name, message) => void this.#endReembedding(name, { state: "failed", message }, Date.now()),
    });
    this.placing = new DatabasePlacing({
      ...{ env, rows: this.#rows, settle: (tenant, generation) => this.settle(tenant, generation) },
      store: (generation, record, nowMs) => this.#store(generation, record, nowMs),
    });
  }

  #held({ namespace, databaseId }: NamedDatabase): Row | undefined {
    return this.#rows.select("WHERE namespace = ? AND database_id = ? AND state <> 'erased'", namespace, databaseId)[0];
  }

  #only({ generation }: Pick<Row, "generation">) {
    return { where: "generation = ?", of: [generation] };
  }

  #row(generation: number): Row | undefined {
    return this.#rows.select("WHERE generation = ?", generation)[0];
  }

  find(name: NamedDatabase): RpcResult<DatabaseInfo | null> {
    return readable(() => {
      const row = this.#held(name);
      return { ok: true, value: row && row.state !== "deleting" ? infoOf(row) : null };
    });
  }

  list(page: { namespace: string; after: string; limit: number }): RpcResult<readonly DatabaseInfo[]> {
    return readable(() => ({ ok: true, value: this.#list(page) }));
  }

  #list({ namespace, after, limit }: { namespace: string; after: string; limit: number }): readonly DatabaseInfo[] {
    const rest = `WHERE namespace = ? AND database_id > ? AND state IN ('creating', 'ready') AND instr(database_id, '~') = 0
      ORDER BY database_id LIMIT ?`;
    return this.#rows.select(rest, namespace, after, limit).map(infoOf);
  }

  add(
    { namespace, record, known }: { namespace: string; record: DatabaseRecord; known: CopyZones },
    nowMs: number,
  ): RpcResult<DatabaseInfo> {
    const placed = { ...record, placement: placementIn(known, record.replication.factor) };
    return readable(() => this.#insert({ namespace, databaseId: record.databaseId }, placed, nowMs));
  }

  #insert({ namespace, databaseId }: NamedDatabase, record: DatabaseRecord, nowMs: number): RpcResult<DatabaseInfo> {
    const held = this.#held({ namespace, databaseId });
    if (held?.state === "deleting")
      return failure("unavailable", `the database "${databaseId}" is being deleted; try again in a moment`);
    if (held) return failure("alreadyExists", `there is a database "${databaseId}"`);
    const used = this.#sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM databases").one().n;
    if (used >= MAX_DATABASES_PER_TENANT) {
      const details = { quota: "databases", used, limit: MAX_DATABASES_PER_TENANT };
      return failure("quotaExceeded", `the tenant has ${used} databases, which is the limit`, details);
    }
    this.#rows.insert({
      namespace,
      database_id: databaseId,
      state: "creating",
      record: JSON.stringify(record),
      is_configured: 0,
      late_until_ms: nowMs + LATE_CALL_MS,
      created_at_ms: nowMs,
      updated_at_ms: nowMs,
    });
    return { ok: true, value: infoOf(this.#held({ namespace, databaseId })!) };
  }

  /** `known`: where copies may stand; of a change of how many there are. */
  change(name: NamedDatabase, changes: DatabaseChanges, nowMs: number, known?: CopyZones): RpcResult<DatabaseInfo> {
    return this.#change(name, nowMs, (record) => {
      const refused = refusedChange(record, changes);
      if (refused) return refused;
      const { indexParameters } = changes;
      const rebuilt = indexParameters && indexed(record, { ...DEFAULT_CHANGE, indexParameters }, nowMs);
      if (rebuilt && !rebuilt.ok) return rebuilt;
      const next = { ...record, ...changes, ...rebuilt?.value };
      if (!known) return { ok: true, value: next };
      const step = { shardCount: shardCountOf(record.sharding), known, filled: new Map() };
      const placement = steppedPlacement(record, { ...step, factor: next.replication.factor });
      return { ok: true, value: { ...next, placement } };
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
    return readable(() => this.#changed(name, nowMs, by));
  }

  #changed(
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
    this.#store(row.generation, after.value, nowMs);
    return { ok: true, value: infoOf(this.#row(row.generation)!) };
  }

  /** The shards are brought to it behind this. */
  #store(generation: number, record: DatabaseRecord, nowMs: number): void {
    this.#rows.update({
      set: "record = ?, is_configured = 0, late_until_ms = ?, updated_at_ms = ?",
      to: [JSON.stringify(record), nowMs + LATE_CALL_MS, nowMs],
      ...this.#only({ generation }),
    });
  }

  /** Null: cancels. */
  reembedding(name: NamedDatabase, asked: NewReembedding | null, nowMs: number): RpcResult<DatabaseInfo> {
    if (!asked) return this.#endReembedding(name, { state: "cancelled", message: "" }, nowMs);
    return this.#beginReembedding(name, asked, nowMs);
  }

  /** New rows get shards of their own, in a row of the table that no name reaches. */
  #beginReembedding(name: NamedDatabase, asked: NewReembedding, nowMs: number): RpcResult<DatabaseInfo> {
    return this.#change(name, nowMs, (record) => {
      const refused = refusedReembedding(record, asked);
      if (refused) return refused;
      const aside = { ...name, databaseId: `${name.databaseId}~` };
      if (this.#held(aside))
        return failure("unavailable", "an earlier one is being cleared away; try again in a moment");
      const { vectorDimension, modelId } = asked;
      const embeddingModels = modelsAfter(record.embeddingModels, modelId);
      const next = { ...record, vectorDimension, embeddingModels, reembedding: undefined };
      const added = this.#insert(aside, next, nowMs);
      if (!added.ok) return added;
      return { ok: true, value: { ...record, reembedding: newReembedding(asked, added.value.generation, nowMs) } };
    });
  }

  /** What was made is erased; a switch cannot be undone. */
  #endReembedding(
    name: NamedDatabase,
    end: Pick<Reembedding, "state" | "message">,
    nowMs: number,
  ): RpcResult<DatabaseInfo> {
    return this.#change(name, nowMs, (record) => {
      const { reembedding } = record;
      if (!isOpen(reembedding)) return failure("conflict", "no re-embedding is under way");
      this.#rows.update({ set: "state = 'deleting'", ...this.#only({ generation: reembedding.target }) });
      return { ok: true, value: { ...record, reembedding: { ...reembedding, ...end, endedAtMs: nowMs } } };
    });
  }

  /** Goes on with those that are under way. */
  reembed(tenant: number): Promise<void> {
    return this.#reembeddings.work(tenant, this.#reembedded());
  }

  #reembedded(): readonly Row[] {
    const rows = this.#rows.selectWhole("WHERE state = 'ready' AND instr(record, '\"reembedding\"') > 0");
    return rows.filter((row) => isOpen(recordOf(row).reembedding));
  }

  /** Decides a task; the shards are brought to it as to any change. */
  begin(name: NamedDatabase, task: DatabaseTask, nowMs: number): RpcResult<DatabaseInfo> {
    return this.#change(name, nowMs, (record) => {
      const refused = refusedTask(record, task);
      if (refused) return refused;
      const next = afterTask(record, task, nowMs);
      return next.ok ? { ok: true, value: { ...record, lifecycle: next.value } } : next;
    });
  }

  /** Decides on another number of shards, or another place for rows; the shards are brought to it behind the answer. */
  reshard(name: NamedDatabase, shards: number | "anew" | "back", nowMs: number): RpcResult<DatabaseInfo> {
    return this.#change(name, nowMs, (record) => {
      const sharding = reshardOf(record, shards);
      return sharding.ok ? { ok: true, value: { ...record, sharding: sharding.value } } : sharding;
    });
  }

  markDeleting(name: NamedDatabase): RpcResult<{ generation: number }> {
    return readable(() => this.#markDeleting(name));
  }

  #markDeleting(name: NamedDatabase): RpcResult<{ generation: number }> {
    const row = this.#held(name);
    if (!row || row.state === "deleting") return noSuch(name);
    this.#rows.update({ set: "state = 'deleting'", ...this.#only(row) });
    const { reembedding } = recordOf(row);
    if (isOpen(reembedding))
      this.#rows.update({ set: "state = 'deleting'", ...this.#only({ generation: reembedding.target }) });
    return { ok: true, value: { generation: row.generation } };
  }

  markAllDeleting(): void {
    this.#rows.updateUnchecked({ set: "state = 'deleting'", where: "state <> 'erased'" });
  }

  /** The shards have what the record says, and it is no phase of something. */
  isConfigured(generation: number): boolean {
    const row = this.#row(generation);
    return row?.is_configured === 1 && !recordOf(row).lifecycle?.underWay;
  }

  /** Nothing of it is left that is known of. */
  isErased(generation: number): boolean {
    const row = this.#row(generation);
    return row === undefined || (row.state === "erased" && row.is_configured === 1);
  }

  /** When there is something to go on with; null = all is as it should be. */
  nextWorkAtMs(nowMs: number): number | null {
    const [row] = this.#sql
      .exec<{ busy: number; late: number | null }>(
        `SELECT COALESCE(SUM(state = 'deleting' OR (state <> 'erased' AND (is_configured = 0 OR ${IN_PHASES}))), 0) AS busy,
           MIN(CASE WHEN state = 'erased' THEN late_until_ms END) AS late FROM databases`,
      )
      .toArray();
    if (this.#reembedded().length > 0) return nowMs + REEMBED_MS;
    if (row!.busy > 0) return nowMs + RETRY_MS;
    const lateMs = row!.late === null ? null : Math.max(row!.late, nowMs + 1);
    return nextAlarmAt([lateMs, this.placing.nextAtMs(nowMs)]);
  }

  /** Goes on with all that is not settled; true when nothing of a deleted database is left. */
  async settleAll(tenant: number): Promise<boolean> {
    // A damaged row stops no other: what it names is asked for, and refused, one by one.
    const rows = this.#rows.selectWhole(`WHERE state IN ('deleting', 'erased') OR is_configured = 0 OR ${IN_PHASES}`);
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
    const now = this.#row(generation);
    if (now?.state !== "ready" || now.is_configured === 0) return;
    if (await this.#keep(tenant, now)) await this.#step(tenant, generation);
    else await this.#reshard(tenant, now);
  }

  /** Goes on with a snapshot or a restore in phases. True = the shards are to be told of the next one. */
  async #keep(tenant: number, row: Row): Promise<boolean> {
    const record = recordOf(row);
    const lifecycle = await lifecycleAfter(record, (run) => this.#eachShard(tenant, row, run));
    if (!lifecycle || this.#row(row.generation)?.record !== row.record) return false;
    this.#store(row.generation, { ...record, lifecycle }, Date.now());
    return true;
  }

  /** Goes on with a change of shards: every shard has what the record says. */
  async #reshard(tenant: number, row: Row): Promise<void> {
    const record = JSON.parse(row.record) as DatabaseRecord;
    const { sharding } = record;
    const phase = sharding.reshard?.phase;
    if (!phase) return;
    if (phase === "moving" && !(await this.#haveMoved(tenant, row))) return;
    if (phase === "ending" && !(await this.#eraseSurplus(tenant, row))) return;
    const next = nextPhase(sharding);
    this.#rows.update({
      set: "record = ?, is_configured = ?, late_until_ms = ?",
      to: [
        JSON.stringify({ ...record, sharding: next }),
        next.reshard?.phase === "moving" ? 0 : 1,
        Date.now() + LATE_CALL_MS,
      ],
      where: "generation = ? AND record = ? AND state = 'ready'",
      of: [row.generation, row.record],
    });
    if (next.reshard?.phase === "moving") await this.#step(tenant, row.generation);
  }

  async #haveMoved(tenant: number, row: Row): Promise<boolean> {
    const { sharding } = JSON.parse(row.record) as DatabaseRecord;
    const topology = sharding.topology ?? 0;
    return this.#eachShard(tenant, row, async (shard) => {
      const state = await shard.reshardState(topology);
      if (!state?.isDone || state.topology !== topology) throw new Error("rows are under way");
    });
  }

  /** A shard that was told of its configuration late would be there again: not before that cannot be. */
  async #eraseSurplus(tenant: number, row: Row): Promise<boolean> {
    if (Date.now() < row.late_until_ms) return false;
    const { sharding } = JSON.parse(row.record) as DatabaseRecord;
    const surplus = new Set(surplusOf(sharding));
    return this.#eachShard(tenant, row, async (shard, copied) => {
      if (!surplus.has(copied.shard)) return;
      await shard.erase();
      if ((await eraseCopies(copied)).length > 0) throw new Error("a copy is left");
    });
  }

  async #configure(tenant: number, row: Row): Promise<void> {
    const record = JSON.parse(row.record) as DatabaseRecord;
    this.#rows.update({ set: "late_until_ms = ?", to: [Date.now() + LATE_CALL_MS], ...this.#only(row) });
    const damage: ShardDamage[] = [];
    const owed: string[] = [];
    const done = await this.#eachShard(tenant, row, async (shard, copied) => {
      const common = shardConfigOf(record, copied.database, copied.shard);
      const config = copiedConfigOf(record, copied.shard, common);
      const refusal = await shard.configure(config);
      if (typeof refusal === "string") throw new Error(`a shard refuses its configuration: ${refusal}`);
      if (refusal) damage.push({ shard: copied.shard, message: refusal.damaged });
      else owed.push(...(await configureCopies(copied, config)));
    });
    if (!done) return;
    if (damage.length > 0) return this.#backToArchive(tenant, row, damage);
    const { placement } = record;
    const placed = placement ? { ...record, placement: withOwed(placement, owed) } : record;
    this.#rows.update({
      set: "record = ?, is_configured = 1, late_until_ms = 0, state = CASE state WHEN 'creating' THEN 'ready' ELSE state END",
      to: [JSON.stringify(placed)],
      where: "generation = ? AND record = ?",
      of: [row.generation, row.record],
    });
  }

  /** What is damaged is damaged when it is tried again, too: all shards are archived again, and what was met is kept. */
  async #backToArchive(
    tenant: number,
    { generation, record: text }: Row,
    damage: readonly ShardDamage[],
  ): Promise<void> {
    const record = JSON.parse(text) as DatabaseRecord;
    const lifecycle = { ...(record.lifecycle ?? NO_LIFECYCLE), isArchived: true, damage };
    if (this.#row(generation)?.record !== text) return;
    this.#store(generation, { ...record, lifecycle }, Date.now());
    await this.#step(tenant, generation);
  }

  async #erase(tenant: number, row: Row): Promise<void> {
    const beganMs = Date.now();
    if (row.state === "erased" && beganMs < row.late_until_ms) return;
    const owed: string[] = [];
    const isDone = await this.#eachShard(tenant, row, async (shard, copied) => {
      await shard.erase();
      owed.push(...(await eraseCopies(copied)));
    });
    if (!isDone) return;
    if (owed.length === 0 && beganMs >= row.late_until_ms)
      return void this.#sql.exec("DELETE FROM databases WHERE generation = ?", row.generation);
    // Its name is free, also while a zone is away where it had copies.
    const lateMs = owed.length === 0 ? row.late_until_ms : Math.max(row.late_until_ms, Date.now() + OWED_RETRY_MS);
    this.#rows.update({
      set: "state = 'erased', is_configured = ?, late_until_ms = ?",
      to: [owed.length === 0 ? 1 : 0, lateMs],
      ...this.#only(row),
    });
  }

  #eachShard(tenant: number, row: Row, run: Parameters<typeof eachShard>[1]): Promise<boolean> {
    return eachShard({ env: this.#env, tenant, row }, run);
  }
}

function noSuch({ databaseId }: NamedDatabase): RpcResult<never> {
  return failure("notFound", `there is no database "${databaseId}"`);
}
