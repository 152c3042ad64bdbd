// What a storage node durably knows of its own standing: routes it was told of, what it is filled with, and whether it counts.
// Guarantees: what a call changes is in one commit; a finished filling and what follows of it become true together. Must not: decide when
// anything is finished.
import type { TokenRange } from "../cluster/ring.ts";
import { holds, unionOf, without } from "../cluster/token-ranges.ts";
import { firstOf } from "../storage/drain.ts";
import type { Kernels, SqlStorage } from "../storage/types.ts";
import type { ReplicaFacts } from "./facts.ts";
import { StandingTables, sealStanding } from "./standing-check.ts";
import type { SyncStore } from "./sync-runner.ts";
import type { SyncState } from "./sync-state.ts";

/** Finished repairs that are remembered for whoever asks how they ended. */
const MAX_FINISHED_REPAIRS = 64;

interface PurgeMarks {
  /** See {@link Standing.promiseFloor}. */
  readonly floor: number;
  readonly horizon: number;
  readonly drop: number;
  readonly swept: number;
}

export class Standing
  implements SyncStore, Pick<ReplicaFacts, "routeRevision" | "isFilling" | "isFilled" | "stampFloor" | "purgeHorizon">
{
  readonly #sql: SqlStorage;
  readonly #now: () => number;
  readonly #kernels: Pick<Kernels, "crc32c">;
  readonly #tables: StandingTables;
  readonly #routes = new Map<number, number>();
  readonly #filling = new Map<number, readonly TokenRange[]>();
  readonly #filled = new Set<number>();
  readonly #jobs = new Map<number, SyncState>();
  #isRebuilding: boolean;
  /** The Directory knows that the node serves. */
  isConfirmed: boolean;
  #lastEpoch: number;
  #purge: PurgeMarks = { floor: 0, horizon: 0, drop: 0, swept: 0 };
  #hasMarks = false;
  /** Some work is not done: known without looking, since every turn asks. */
  hasOpenJobs = false;
  rowsComparedTotal = 0;
  rowsReadTotal = 0;
  rowsRepairedTotal = 0;

  constructor(options: { sql: SqlStorage; now: () => number; kernels: Pick<Kernels, "crc32c"> }) {
    this.#sql = options.sql;
    this.#kernels = options.kernels;
    this.#tables = new StandingTables(options.sql, options.kernels);
    this.#now = options.now;
    const facts = firstOf(
      this.#sql.exec<{ rebuilding: number; last_epoch: number; confirmed: number }>(
        "SELECT rebuilding, last_epoch, confirmed FROM replica_facts",
      ),
    );
    this.isConfirmed = facts?.confirmed === 1;
    this.#isRebuilding = facts?.rebuilding === 1;
    this.#lastEpoch = facts?.last_epoch ?? 0;
    for (const row of this.#sql.exec<{ tenant: number; revision: number }>("SELECT tenant, revision FROM routes"))
      this.#routes.set(row.tenant, row.revision);
    for (const row of this.#sql.exec<{ tenant: number; ranges: string }>("SELECT tenant, ranges FROM filling"))
      this.#filling.set(row.tenant, JSON.parse(row.ranges) as TokenRange[]);
    for (const { epoch } of this.#sql.exec<{ epoch: number }>("SELECT epoch FROM filled")) this.#filled.add(epoch);
    for (const row of this.#sql.exec<{ state: string }>("SELECT state FROM syncs ORDER BY epoch")) {
      const state = JSON.parse(row.state) as SyncState;
      this.#jobs.set(state.epoch, state);
    }
    for (const marks of this.#sql.exec<PurgeMarks>(
      'SELECT floor, horizon, drop_up_to AS "drop", swept FROM purge_marks',
    )) {
      this.#purge = { ...marks };
      this.#hasMarks = true;
    }
    this.#recount();
  }

  #recount(): void {
    this.hasOpenJobs = this.jobs().some((job) => job.phase !== "done");
  }

  /** This store replaces a lost one and was not filled yet. */
  get isRebuilding(): boolean {
    return this.#isRebuilding;
  }

  routeRevision(tenant: number): number {
    return this.#routes.size === 0 ? 0 : (this.#routes.get(tenant) ?? 0);
  }

  recordRoute(tenant: number, revision: number): void {
    const before = this.routeRevision(tenant);
    if (revision <= before) return;
    this.#routes.set(tenant, revision);
    this.#sql.exec("INSERT OR REPLACE INTO routes (tenant, revision) VALUES (?, ?)", tenant, revision);
    this.#tables.change(before > 0 ? ["route", tenant, before] : undefined, ["route", tenant, revision]);
  }

  routes(): { tenant: number; revision: number }[] {
    return [...this.#routes].map(([tenant, revision]) => ({ tenant, revision }));
  }

  isFilling(tenant: number, hi: number): boolean {
    if (this.#isRebuilding) return true;
    if (this.#filling.size === 0) return false;
    return holds(this.#filling.get(tenant) ?? [], hi);
  }

  isFilled(epoch: number): boolean {
    return this.#filled.has(epoch);
  }

  jobs(): readonly SyncState[] {
    return [...this.#jobs.values()];
  }

  put(state: SyncState): void {
    const before = this.#jobs.get(state.epoch);
    this.rowsComparedTotal += Math.max(0, state.rowsCompared - (before?.rowsCompared ?? 0));
    this.rowsReadTotal += Math.max(0, (state.rowsRead ?? 0) - (before?.rowsRead ?? 0));
    this.rowsRepairedTotal += Math.max(0, state.rowsRepaired - (before?.rowsRepaired ?? 0));
    this.#jobs.set(state.epoch, state);
    this.#recount();
    const { epoch } = state;
    const text = JSON.stringify(state);
    this.#sql.exec("INSERT OR REPLACE INTO syncs (epoch, state) VALUES (?, ?)", epoch, text);
    this.#tables.change(before && ["sync", epoch, JSON.stringify(before)], ["sync", epoch, text]);
  }

  remove(epoch: number): void {
    const before = this.#jobs.get(epoch);
    this.#jobs.delete(epoch);
    this.#recount();
    this.#sql.exec("DELETE FROM syncs WHERE epoch = ?", epoch);
    if (before) this.#tables.change(["sync", epoch, JSON.stringify(before)], undefined);
  }

  nextEpoch(): number {
    this.#lastEpoch++;
    this.#sql.exec("UPDATE replica_facts SET last_epoch = ?", this.#lastEpoch);
    sealStanding(this.#sql, this.#kernels);
    return this.#lastEpoch;
  }

  beginFilling(tenant: number, ranges: readonly TokenRange[]): void {
    const held = this.#filling.get(tenant) ?? [];
    this.#setFilling(tenant, unionOf(held, ranges));
  }

  endFilling(tenant: number, ranges: readonly TokenRange[]): void {
    this.#setFilling(tenant, without(this.#filling.get(tenant) ?? [], ranges));
  }

  fillingTenants(): number[] {
    return [...this.#filling.keys()].sort((a, b) => a - b);
  }

  #setFilling(tenant: number, ranges: readonly TokenRange[]): void {
    const before = JSON.stringify(this.#filling.get(tenant) ?? []);
    const text = JSON.stringify(ranges);
    if (text === before) return;
    if (ranges.length === 0) {
      this.#filling.delete(tenant);
      this.#sql.exec("DELETE FROM filling WHERE tenant = ?", tenant);
    } else {
      this.#filling.set(tenant, ranges);
      this.#sql.exec("INSERT OR REPLACE INTO filling (tenant, ranges) VALUES (?, ?)", tenant, text);
    }
    const isNew = before === "[]";
    this.#tables.change(
      isNew ? undefined : ["filling", tenant, before],
      ranges.length === 0 ? undefined : ["filling", tenant, text],
    );
  }

  // What may be purged

  stampFloor(): number {
    return this.#purge.floor;
  }

  purgeHorizon(): number {
    return this.#purge.horizon;
  }

  /** Rows of deleted states up to this hybrid time may be dropped: every node knows that they are purged. */
  get dropHorizon(): number {
    return this.#purge.drop;
  }

  /** The tables were last merged to drop what may be dropped up to here. */
  get sweptHorizon(): number {
    return this.#purge.swept;
  }

  /** Promises that no stamp has this time or an earlier one (spec RP-72); returns what was promised. */
  promiseFloor(time: number): number {
    return this.#mark({ floor: Math.max(time, this.#purge.floor) }).floor;
  }

  /** Neither goes back. */
  recordHorizon(horizon: number, drop: number): void {
    this.#mark({ horizon: Math.max(horizon, this.#purge.horizon), drop: Math.max(drop, this.#purge.drop) });
  }

  swept(upTo: number): void {
    this.#mark({ swept: upTo });
  }

  #mark(change: Partial<PurgeMarks>): PurgeMarks {
    const before = this.#hasMarks ? this.#purge : undefined;
    this.#purge = { ...this.#purge, ...change };
    this.#hasMarks = true;
    const { floor, horizon, drop, swept } = this.#purge;
    this.#sql.exec("INSERT OR REPLACE INTO purge_marks VALUES (1, ?, ?, ?, ?)", floor, horizon, drop, swept);
    this.#tables.change(before && ["purge", 1, before.floor, before.horizon, before.drop, before.swept], [
      "purge",
      1,
      floor,
      horizon,
      drop,
      swept,
    ]);
    return this.#purge;
  }

  complete(state: SyncState): void {
    this.put(state);
    const { kind, epoch, tenant } = state;
    if (kind === "rebuild" || kind === "join") {
      if (!this.#filled.has(epoch)) this.#tables.change(undefined, ["filled", epoch]);
      this.#filled.add(epoch);
      this.#sql.exec("INSERT OR REPLACE INTO filled (epoch, at_ms) VALUES (?, ?)", epoch, this.#now());
    }
    if (kind === "rebuild") {
      this.#isRebuilding = false;
      this.isConfirmed = false;
      this.#sql.exec("UPDATE replica_facts SET rebuilding = 0, confirmed = 2");
      sealStanding(this.#sql, this.#kernels);
    }
    if (kind === "join" && tenant !== undefined) {
      const held = this.#filling.get(tenant) ?? [];
      this.#setFilling(tenant, state.joining ? without(held, state.joining) : []);
    }
    if (kind === "repair") this.#forgetOldRepairs();
  }

  #forgetOldRepairs(): void {
    const finished = this.jobs().filter(({ kind, phase }) => kind === "repair" && phase === "done");
    for (const { epoch } of finished.slice(0, -MAX_FINISHED_REPAIRS)) this.remove(epoch);
  }

  /** Nothing of the tenant is needed any more. */
  eraseTenant(tenant: number): void {
    for (const job of this.jobs()) if (job.tenant === tenant) this.remove(job.epoch);
    this.#setFilling(tenant, []);
  }
}
