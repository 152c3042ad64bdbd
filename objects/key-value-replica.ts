// One storage node of the key-value ring: a thin shell of SQLite, blobs, timers and RPC around replication/replica.ts.
// Guarantees: what `call` answers is durable (group commit of the turn behind the output gate); a node whose storage is new asks
// the Directory for an incarnation that never stamped a dot. Must not: decide anything about versions.
import { DurableObject } from "cloudflare:workers";
import kernelModule from "../dist/wasm/storage.wasm";
import { REPLICA_MIGRATIONS } from "../migrations/replica.ts";
import { STORAGE_MIGRATIONS } from "../migrations/storage.ts";
import { parseSettings, type Settings } from "../src/cluster/settings.ts";
import { sameBytes } from "../src/kv/key-state.ts";
import { COUNTER_BLOCK } from "../src/kv/limits.ts";
import type { Usage } from "../src/kv/usage.ts";
import { newerOf, RING_TENANT } from "../src/replication/fence.ts";
import type { KeyScan } from "../src/replication/healer.ts";
import { HintDelivery } from "../src/replication/hint-delivery.ts";
import { HintLog } from "../src/replication/hint-log.ts";
import { MAX_TIME_ORIGIN_MS } from "../src/replication/limits.ts";
import type { HintSpan } from "../src/replication/purge-round.ts";
import { Replica } from "../src/replication/replica.ts";
import { writeScanPage } from "../src/replication/scan-frames.ts";
import { markUnreadable } from "../src/replication/scan-gaps.ts";
import { Standing } from "../src/replication/standing.ts";
import { confirmStanding } from "../src/replication/standing-check.ts";
import type { RingSync, TenantSync } from "../src/replication/sync-runner.ts";
import type { SyncState } from "../src/replication/sync-state.ts";
import { createKernels } from "../src/storage/kernels.ts";
import { SqliteBlobStore } from "../src/storage/sqlite-blob-store.ts";
import type { AtFailPoint } from "../src/storage/state.ts";
import type { Kernels, RepairableEngine } from "../src/storage/types.ts";
import { createLogger, type Logger } from "../src/telemetry/logger.ts";
import { MalformedBytes } from "../src/wire/bytes.ts";
import { actorOf, MalformedClock } from "../src/wire/clock.ts";
import { blobStoreOf } from "./blob-store.ts";
import { configSql } from "./config-sql.ts";
import type { Env } from "./env.ts";
import { readCursor } from "./export.ts";
import { failPointsOf } from "./fail-points.ts";
import { handover } from "./handover.ts";
import { applyMigrations } from "./migrate.ts";
import { openReplicaEngine } from "./replica-engine.ts";
import { type Facts, loadFacts, registerNode } from "./replica-facts.ts";
import { ReplicaHeal } from "./replica-heal.ts";
import { replicaMetrics } from "./replica-metrics.ts";
import { ReplicaSync } from "./replica-sync.ts";
import type { KeyValueReplicaRpc } from "./rpc.ts";
import { UsageTable } from "./usage-table.ts";
import { withDeadline } from "./with-deadline.ts";

/** An alarm is the safety net for work that an eviction interrupted; timers do it while the object lives. Ms. */
const ALARM_DELAY_MS = 15_000;
const MIB = 1024 * 1024;

/** Slices of maintenance in a row while the engine refuses writes: ~40 ms of work. */
const OVERLOADED_SLICES = 8;
/** Pause after maintenance failed. Ms. */
const MAINTENANCE_RETRY_MS = 2000;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** A scan page stays far below what one RPC message may hold. */
const SCAN_PAGE_BYTES = 4 * MIB;
/** Keys of one page for the healer: a coordinator reads all of them at once. */
const SCAN_PAGE_KEYS = 500;
const NO_VALUE = new Uint8Array(0);
/** A write's way: the stamp, its shipping, and what a clock may differ by. In timeouts of one replica call. */
const HEAL_AFTER_TIMEOUTS = 3;
/** Longest a hint's target may take. Ms. */
const PEER_TIMEOUT_MS = 5000;
/** What tenants hold is written down this long after a change: a crash forgets what changed since. Ms. */
const USAGE_FLUSH_MS = 1000;
const PROBE_BYTES = new TextEncoder().encode("jade-db probe");

interface Parts {
  readonly engine: RepairableEngine;
  readonly replica: Replica;
  readonly hints: HintLog;
  readonly delivery: HintDelivery;
  readonly usage: UsageTable;
  readonly standing: Standing;
  readonly sync: ReplicaSync;
}

export class KeyValueReplica extends DurableObject<Env> implements KeyValueReplicaRpc {
  readonly #settings: Settings;
  readonly #nodeId: string;
  readonly #kernels = createKernels(kernelModule);
  readonly #log: Logger;
  readonly #atFailPoint: AtFailPoint | undefined;
  #parts: Parts | undefined;
  #maintaining = false;
  #hintTimer: ReturnType<typeof setTimeout> | undefined;
  #usageTimer: ReturnType<typeof setTimeout> | undefined;
  #scrubTimer: ReturnType<typeof setTimeout> | undefined;
  #alarmAtMs = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#settings = parseSettings(env.JADE_CONFIG ?? "{}");
    this.#nodeId = ctx.id.name ?? "";
    this.#atFailPoint = failPointsOf(env, this.#nodeId);
    this.#log = createLogger({
      level: this.#settings.log.level,
      now: Date.now,
      write: (_level, line) => console.log(line),
      fields: { part: "replica" },
    });
    ctx.blockConcurrencyWhile(async () => {
      this.#parts = await this.#open();
      this.#afterTurn();
    });
  }

  get #opened(): Parts {
    if (!this.#parts) throw new Error("the replica is not open");
    return this.#parts;
  }

  async #open(): Promise<Parts> {
    const { storage } = this.ctx;
    applyMigrations(storage, "storage", STORAGE_MIGRATIONS);
    applyMigrations(storage, "replica", REPLICA_MIGRATIONS);
    const kernels = this.#kernels;
    const { nodeNumber, incarnation, isConfirmed, erased, isDamaged, facts } = await this.#facts(kernels);
    this.#erased = erased;
    this.#incarnation = incarnation;
    this.#isStandingDamaged = isDamaged;
    // Before the first answer: a store that others rely on must be known as such when it is lost.
    if (!isConfirmed) await this.#confirm();
    const sql = configSql(storage);
    const standing = new Standing({ sql, now: Date.now, kernels });
    const { keyValue } = this.#settings;
    let heal: ReplicaHeal | undefined;
    const engine = openReplicaEngine({
      ...{ sql, kernels, standing, env: this.env, settings: this.#settings, nodeId: this.#nodeId },
      durable: () => storage.sync(),
      onCorrupt: (range) => heal?.found(range),
      atFailPoint: this.#atFailPoint,
    });
    if (standing.sweptHorizon < standing.dropHorizon) engine.purge();
    const hints = new HintLog({ sql, now: Date.now, ttlMs: keyValue.hintTtlSeconds * 1000, kernels });
    const usage = new UsageTable(storage.sql, engine);
    if (usage.isDamaged) this.ctx.waitUntil(usage.recount());
    const actor = actorOf(nodeNumber, incarnation);
    const healAfterMs = HEAL_AFTER_TIMEOUTS * keyValue.replicaTimeoutMs;
    const replica = new Replica({
      engine,
      facts: {
        ...facts,
        routeRevision: (tenant) => standing.routeRevision(tenant),
        isRebuilding: () => standing.isRebuilding,
        isFilling: (tenant, hi) => standing.isFilling(tenant, hi),
        isFilled: (epoch) => standing.isFilled(epoch),
        stampFloor: () => standing.stampFloor(),
        purgeHorizon: () => standing.purgeHorizon(),
      },
      hints,
      actor,
      now: Date.now,
      timeOriginMs: Math.floor((crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32) * MAX_TIME_ORIGIN_MS),
      counterBlock: COUNTER_BLOCK,
      healAfterMs,
      mayWait: this.#settings.storage.blobStore !== "sqlite",
      usage: usage.meter,
    });
    const delivery = new HintDelivery({
      log: hints,
      call: (nodeId, frame) => this.#callPeer(nodeId, frame),
      now: Date.now,
      atFailPoint: this.#atFailPoint,
    });
    const sync = new ReplicaSync({
      env: this.env,
      nodeId: this.#nodeId,
      engine,
      replica,
      standing,
      hints,
      waitUntil: (work) => this.ctx.waitUntil(work),
      afterStep: () => this.#afterTurn(),
      onError: (error) => this.#abort(error),
    });
    heal = new ReplicaHeal({
      ...{ env: this.env, nodeId: this.#nodeId, engine, replica, log: this.#log },
      sync: sync.environment,
      isRebuilding: () => standing.isRebuilding,
      healAfterMs,
      waitUntil: (work) => this.ctx.waitUntil(work),
      atFailPoint: this.#atFailPoint,
    });
    return { engine, replica, hints, delivery, usage, standing, sync };
  }

  /** The node's identity and counter reservation; a new storage gets a new incarnation. */
  #facts(kernels: Kernels): Promise<Facts> {
    return loadFacts({
      storage: this.ctx.storage,
      kernels,
      register: async () => {
        const registered = await registerNode(this.env, this.#nodeId);
        await this.#atFailPoint?.("node.registered");
        if (registered.mustRebuild)
          this.#log.warn("the store is new, and the node served before: it is rebuilt", { node: this.#nodeId });
        return registered;
      },
      onCorrupt: () =>
        this.#log.error("the node's facts failed their checksum: it takes a new incarnation, or is rebuilt", {
          node: this.#nodeId,
        }),
    });
  }

  #incarnation = 0;
  #isStandingDamaged = false;
  #confirming = false;
  #erased = new Set<number>();

  /** Tells the Directory that this store may be relied on. */
  async #confirm(): Promise<void> {
    const directory = this.env.DIRECTORY.get(this.env.DIRECTORY.idFromName("system"));
    await withDeadline(directory.nodeServes(this.#nodeId, this.#incarnation), PEER_TIMEOUT_MS, "Directory");
    confirmStanding(configSql(this.ctx.storage), this.#kernels);
    if (this.#parts) this.#parts.standing.isConfirmed = true;
  }

  #confirmBehind(): void {
    if (this.#confirming) return;
    this.#confirming = true;
    const done = (): void => {
      this.#confirming = false;
    };
    // The node serves already; when the Directory is away it is told after a later turn.
    this.ctx.waitUntil(this.#confirm().then(done, done));
  }

  async call(frame: Uint8Array): Promise<Uint8Array> {
    if (this.#atFailPoint) await this.#atFailPoint("frame.received");
    try {
      const handled = this.#opened.replica.handle(frame);
      const answer = handled instanceof Uint8Array ? handled : await handled;
      if (this.#atFailPoint) await this.#atFailPoint("frame.committed");
      return answer;
    } catch (error) {
      // What is in memory may now be ahead of the disk: only a fresh start from the disk is safe.
      const isRefused = error instanceof MalformedBytes || error instanceof MalformedClock;
      if (!isRefused) this.#abort(error);
      throw error;
    } finally {
      this.#afterTurn();
    }
  }

  async callHanded(number: number): Promise<boolean> {
    const handed = handover.take(number);
    if (handed) handed.answer = await this.call(handed.frame);
    return handed !== undefined;
  }

  #abort(error: unknown): void {
    this.ctx.abort(`replica ${this.#nodeId}: ${String(error)}`);
  }

  async page(request: Uint8Array): Promise<Uint8Array> {
    return this.#opened.sync.page(request);
  }

  async sync(work: TenantSync): Promise<SyncState> {
    return this.#begun(await this.#opened.sync.runner.want(work));
  }

  async syncRing({ kind, work }: RingSync): Promise<SyncState> {
    return this.#begun(this.#opened.sync.runner.wantRing(kind, work));
  }

  async keepsHints(nodeIds: readonly string[]): Promise<boolean> {
    return this.#opened.hints.targets().some((target) => nodeIds.includes(target));
  }

  async retire(): Promise<void> {
    await Promise.all([this.ctx.storage.deleteAlarm(), this.ctx.storage.deleteAll()]);
    this.ctx.abort(`${this.#nodeId} left the ring: its store is deleted`);
  }

  async repair(repairId: number, isIncremental = false): Promise<SyncState> {
    return this.#begun(this.#opened.sync.runner.repair(repairId, isIncremental));
  }

  #begun(state: SyncState): SyncState {
    this.#afterTurn();
    return state;
  }

  async endSync(tenant: number): Promise<void> {
    this.#opened.sync.runner.release(tenant);
    this.#afterTurn();
  }

  async promiseFloor(): Promise<{ incarnation: number; floor: number }> {
    const { replica, standing } = this.#opened;
    return { incarnation: this.#incarnation, floor: standing.promiseFloor(replica.hybridNow) };
  }

  async hintSpan(): Promise<HintSpan> {
    return this.#opened.hints.span();
  }

  async recordHorizon({ horizon, drop }: { horizon: number; drop: number }): Promise<void> {
    const { engine, standing } = this.#opened;
    standing.recordHorizon(horizon, drop);
    if (standing.sweptHorizon < standing.dropHorizon) engine.purge();
    this.#afterTurn();
  }

  async scan(tenant: number, after: Uint8Array | null, limitRows: number, fence: number): Promise<Uint8Array> {
    const { engine, standing } = this.#opened;
    if (standing.isRebuilding) throw new Error(`${this.#nodeId} is being rebuilt and cannot answer for its keys yet`);
    const known = { ring: standing.routeRevision(RING_TENANT), route: standing.routeRevision(tenant) };
    if (newerOf(fence, known) !== undefined)
      throw new Error(`${this.#nodeId} knows of a newer route or ring of tenant ${tenant} than ${fence}`);
    const from = after ? { after: readCursor(tenant, after) } : {};
    const page = await engine.scan({ tenant, limitRows, limitBytes: SCAN_PAGE_BYTES, ...from, pastCorrupt: true });
    return writeScanPage(await markUnreadable(engine, page, { tenant, after: from.after }));
  }

  async scanKeys(scan: KeyScan): Promise<Uint8Array> {
    const { engine } = this.#opened;
    const page = await engine.scan({ ...scan, limitRows: SCAN_PAGE_KEYS, limitBytes: SCAN_PAGE_BYTES });
    return writeScanPage({ ...page, rows: page.rows.map(({ row }) => ({ row, value: NO_VALUE })) });
  }

  async eraseTenant(tenant: number): Promise<boolean> {
    const { engine, hints, standing } = this.#opened;
    standing.eraseTenant(tenant);
    if (!this.#erased.has(tenant)) {
      this.#erased.add(tenant);
      engine.eraseTenant(tenant);
      this.#opened.usage.forget(tenant);
    }
    hints.eraseTenant(tenant);
    this.#afterTurn();
    await this.#atFailPoint?.("erase.marked");
    return !engine.erasuresPending().includes(tenant);
  }

  async probe(): Promise<void> {
    if (this.#opened.standing.isRebuilding)
      throw new Error(`${this.#nodeId} is being rebuilt: it counts in no quorum yet`);
    this.ctx.storage.sql.exec("SELECT node_number FROM replica_facts").one();
    const blobs = blobStoreOf(this.env, this.#settings, () => new SqliteBlobStore(configSql(this.ctx.storage)));
    const name = `probe-${this.#nodeId}-${crypto.randomUUID()}`;
    await blobs.put(name, PROBE_BYTES);
    const read = await blobs.get(name, 0, PROBE_BYTES.length);
    await blobs.delete(name);
    if (!read || !sameBytes(read, PROBE_BYTES))
      throw new Error(`the blob store did not return what was written to ${name}`);
  }

  async metrics(): Promise<Record<string, number>> {
    const { engine, replica, hints, delivery, standing } = this.#opened;
    return replicaMetrics({
      nodeId: this.#nodeId,
      databaseBytes: this.ctx.storage.sql.databaseSize,
      isStandingDamaged: this.#isStandingDamaged,
      engine,
      replica,
      hints,
      delivery,
      standing,
    });
  }

  async tenantUsage(tenant: number): Promise<Usage> {
    return this.#opened.usage.meter.of(tenant);
  }

  #writeUsage(): void {
    this.#usageTimer = undefined;
    this.#opened.usage.write();
  }

  override async alarm(): Promise<void> {
    this.#alarmAtMs = 0;
    await this.#maintain();
    await this.#opened.delivery.run();
    this.#afterTurn();
  }

  #callPeer(nodeId: string, frame: Uint8Array): Promise<Uint8Array> {
    const peer = this.env.KEY_VALUE_REPLICA.get(this.env.KEY_VALUE_REPLICA.idFromName(nodeId));
    // One that stalls must not hold up the hints for others; merging what arrives late changes nothing.
    return withDeadline(peer.call(frame), PEER_TIMEOUT_MS, nodeId);
  }

  /** Starts what the turn left to do: maintenance slices, hint delivery, and the alarm that would resume them. */
  #afterTurn(): void {
    const parts = this.#parts;
    if (!parts) return;
    if (parts.usage.meter.hasChanged) this.#usageTimer ??= setTimeout(() => this.#writeUsage(), USAGE_FLUSH_MS);
    if (parts.engine.maintenanceDue && !this.#maintaining) this.ctx.waitUntil(this.#maintain());
    parts.sync.wake();
    if (!parts.standing.isConfirmed) this.#confirmBehind();
    const hintsAtMs = parts.delivery.nextAtMs();
    if (hintsAtMs !== undefined && this.#hintTimer === undefined) {
      this.#hintTimer = setTimeout(() => this.#deliverHints(), Math.max(0, hintsAtMs - Date.now()));
    }
    const isDue = hintsAtMs !== undefined || parts.engine.maintenanceDue || parts.standing.hasOpenJobs;
    const { nextScrubMs } = parts.engine;
    this.#wakeAt(nextScrubMs);
    const soonMs = Date.now() + ALARM_DELAY_MS;
    const alarmAtMs = isDue ? soonMs : nextScrubMs && Math.max(soonMs, nextScrubMs);
    // Not moved for little: setting an alarm is a write.
    if (alarmAtMs === undefined || (this.#alarmAtMs !== 0 && this.#alarmAtMs <= alarmAtMs + ALARM_DELAY_MS)) return;
    this.#alarmAtMs = alarmAtMs;
    this.ctx.waitUntil(this.ctx.storage.setAlarm(alarmAtMs));
  }

  /** A timer for a scrub that is due before long; until then, and when the object is not in memory, there is the alarm. */
  #wakeAt(atMs: number | undefined): void {
    if (atMs === undefined || this.#scrubTimer !== undefined || atMs > Date.now() + ALARM_DELAY_MS) return;
    this.#scrubTimer = setTimeout(
      () => {
        this.#scrubTimer = undefined;
        this.#afterTurn();
      },
      Math.max(0, atMs - Date.now()),
    );
  }

  #deliverHints(): void {
    this.#hintTimer = undefined;
    this.ctx.waitUntil(this.#opened.delivery.run().finally(() => this.#afterTurn()));
  }

  /** Slices with a pause between them, so that reads and writes go on; fewer pauses while writes are refused for want of slices. */
  async #maintain(): Promise<void> {
    if (this.#maintaining) return;
    this.#maintaining = true;
    try {
      const { engine, standing } = this.#opened;
      for (let slices = 1; await engine.runMaintenance(); slices++)
        if (!engine.overloaded || slices % OVERLOADED_SLICES === 0) await pause(0);
      if (!engine.purgePending && standing.sweptHorizon < standing.dropHorizon) standing.swept(standing.dropHorizon);
    } catch (error) {
      // The blob store is away or full: what is committed is safe in the log; the next turn or the alarm tries again.
      this.#log.error("maintenance failed", { node: this.#nodeId }, error);
      await pause(MAINTENANCE_RETRY_MS);
    } finally {
      this.#maintaining = false;
      const { nextScrubMs } = this.#opened.engine;
      this.#wakeAt(nextScrubMs);
    }
  }
}
