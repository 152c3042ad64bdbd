// The one owner of a shard of a vector database: a thin shell of SQLite, timers and RPC around src/vector/shard/shard-desk.ts.
// Guarantees: an answer to a `sync` write leaves when the write is durable (one commit for all calls of a turn, behind the output
// gate); seals and merges go on in slices between calls. Must not: decide anything about rows.
import { DurableObject } from "cloudflare:workers";
import vectorModule from "../dist/wasm/vector.wasm";
import { parseSettings, type Settings } from "../src/cluster/settings.ts";
import { SqliteBlobStore } from "../src/storage/sqlite-blob-store.ts";
import { createLogger, type Logger } from "../src/telemetry/logger.ts";
import { createVectorCore } from "../src/vector/kernels.ts";
import type { BlobAsk } from "../src/vector/replica/blob-checks.ts";
import type { CopyPlace } from "../src/vector/replica/frames.ts";
import { damagedIn } from "../src/vector/replica/leader.ts";
import { refusedCall } from "../src/vector/shard/access.ts";
import { BehindSearches } from "../src/vector/shard/behind-searches.ts";
import { THAW_TRIES } from "../src/vector/shard/limits.ts";
import { isBehind } from "../src/vector/shard/merge-policy.ts";
import { retentionDelayMs } from "../src/vector/shard/retention.ts";
import type { ShardConfig } from "../src/vector/shard/shard-config.ts";
import { type Ran, ShardDesk } from "../src/vector/shard/shard-desk.ts";
import type { SnapshotCheck, SnapshotInfo, SnapshotPage, SnapshotPlace } from "../src/vector/shard/snapshots.ts";
import { TieredBlobs } from "../src/vector/shard/tiered-blobs.ts";
import { isById } from "../src/vector/sharding/placer.ts";
import {
  isVectorWrite,
  NO_SUCH_SHARD,
  type ShardPlace,
  type VectorAnswer,
  type VectorCall,
  type VectorFailure,
} from "../src/wire/vector.ts";
import { writeVectorAnswer } from "../src/wire/vector-answers.ts";
import { readVectorCall } from "../src/wire/vector-requests.ts";
import { configSql } from "./config-sql.ts";
import { crc32c } from "./crc32c.ts";
import type { Env } from "./env.ts";
import { ShardCold } from "./shard-cold.ts";
import { ShardCopies } from "./shard-copies.ts";
import { ShardExpired } from "./shard-expired.ts";
import { ShardImports } from "./shard-imports.ts";
import { keepWhatIsAsked, letGo } from "./shard-lifecycle.ts";
import { ShardMaintenance } from "./shard-maintenance.ts";
import { MOST_REPAIRS, ShardMending } from "./shard-mending.ts";
import { ARCHIVED, isDamage, isLate, refusedNow, UNREADABLE } from "./shard-refusals.ts";
import { ShardRepair } from "./shard-repair.ts";
import { ShardScans } from "./shard-scans.ts";
import { heatBoundsOf, ShardTier } from "./shard-tier.ts";
import { ShardTurns } from "./shard-turns.ts";
import { sharedAnswers } from "./shared-answers.ts";
import { migrateVectors, VectorFacts } from "./vector-facts.ts";
import { VectorMeter } from "./vector-metrics.ts";
import { VectorPlacing } from "./vector-placing.ts";
import type { ArchiveDamage, RelocationAsk, ReshardState, ShardMapState, VectorShardRpc } from "./vector-rpc.ts";

const MIB = 1024 * 1024;
/** While indexes are built the alarm is due so soon again. Ms. */
const WAKE_MS = 5000;

export class VectorShard extends DurableObject<Env> implements VectorShardRpc {
  readonly #settings: Settings;
  readonly #log: Logger;
  readonly #facts: VectorFacts;
  #desk: ShardDesk | undefined;
  /** Where rows are not placed by a hash of their ids. */
  #placing: VectorPlacing | undefined;
  #config: ShardConfig | undefined;
  readonly #copies: ShardCopies;
  readonly #start = crypto.getRandomValues(new Uint32Array(1))[0]!;
  readonly #repair: ShardRepair;
  readonly #meter: VectorMeter;
  readonly #maintenance: ShardMaintenance;
  readonly #imports: ShardImports;
  readonly #mending: ShardMending;
  readonly #behind: BehindSearches;
  readonly #turns: ShardTurns;
  readonly #scans: ShardScans;
  readonly #local: SqliteBlobStore;
  #tiered: TieredBlobs | undefined;
  readonly #cold: ShardCold;
  readonly #tier: ShardTier;
  readonly #expired: ShardExpired;
  /** The alarm is set. */
  #isWaking = false;
  #alarmSet: Promise<void> = Promise.resolve();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#settings = parseSettings(env.JADE_CONFIG);
    const write = (_: string, line: string): void => console.log(line);
    this.#log = createLogger({ level: this.#settings.log.level, now: Date.now, write, fields: { part: "vectors" } });
    this.#copies = new ShardCopies({ env, shardName: ctx.id.name ?? "", now: Date.now });
    this.#repair = new ShardRepair({
      ...{ storage: ctx.storage, crc32c, log: this.#log },
      follower: (zone) => this.#copies.follower(zone),
      zones: () => this.#config?.replication?.zones ?? [],
    });
    const desk = (): ShardDesk | undefined => this.#desk;
    this.#meter = new VectorMeter({ env, ctx, isCopy: false, desk, repair: () => this.#repair });
    this.#behind = new BehindSearches({
      now: Date.now,
      later: (run, delayMs) => void setTimeout(run, delayMs),
      isBehind: () => this.#desk !== undefined && isBehind(this.#desk.store),
    });
    this.#turns = new ShardTurns({
      ...{ log: this.#log, behind: this.#behind, desk, absent: () => this.#absent },
      // Followers are given what is logged only.
      isAlwaysSync: () => this.#config?.replication?.sync ?? false,
      holdsWrites: () => this.#config?.lifecycle?.holdsWrites === true,
      onFailed: (error) => this.#startAnew("a turn of the vector shard failed", error),
      onTurn: () => {
        this.#maintenance.goOn();
        this.#imports.goOn();
      },
    });
    this.#maintenance = new ShardMaintenance({
      ...{ log: this.#log, behind: this.#behind, desk, heal: (error) => this.#repair.heal(error) },
      bringBack: (segments) => this.#tier.bringBackSoon(segments),
      onBegun: () => this.#wakeLater(),
      onDone: () => {
        this.#copies.wakeAll();
        this.#tier.look();
      },
    });
    this.#imports = new ShardImports({
      ...{ desk, behind: this.#behind, onBegun: () => this.#wakeLater(), onTurn: () => this.#maintenance.goOn() },
      place: () => this.#placing && ((call) => this.#placing?.run(call) ?? Promise.resolve(NO_SUCH_SHARD)),
      onFailed: (error) => this.#startAnew("a turn of an import failed", error),
    });
    this.#scans = new ShardScans({
      desk,
      fetch: (away) => this.#tier.fetch(away),
      onDone: () => this.#maintenance.goOn(),
    });
    this.#facts = new VectorFacts(ctx.storage, crc32c);
    this.#config = this.#facts.config;
    this.#local = new SqliteBlobStore(configSql(ctx.storage));
    const { archiveStore } = this.#settings.vectors;
    this.#cold = new ShardCold({
      ...{ env, storage: ctx.storage, crc32c, archiveStore, local: this.#local, tiered: () => this.#tiered },
      isArchived: () => this.#config?.lifecycle?.isArchived ?? false,
    });
    this.#tier = new ShardTier({
      ...{ log: this.#log, cold: this.#cold, facts: this.#facts, now: Date.now, desk, tiered: () => this.#tiered },
      bounds: archiveStore === "none" ? undefined : heatBoundsOf(this.#settings.vectors),
      isMerging: (segment) => this.#maintenance.isMerging(segment),
      onReturned: () => this.#maintenance.goOn(),
      wakeAt: (atMs) => ctx.waitUntil(this.#wakeAt(atMs)),
    });
    this.#mending = new ShardMending({
      ...{ log: this.#log, heal: (error) => this.#repair.heal(error) },
      open: () => this.#config && this.#open(this.#config),
    });
    this.#expired = new ShardExpired({
      ...{ storage: ctx.storage, crc32c, name: ctx.id.name ?? ctx.id.toString(), cold: this.#cold },
      isThere: () => this.#config !== undefined,
    });
    if (!this.#config || this.#config.lifecycle?.isArchived) return;
    this.#mending.tryToOpen();
  }

  /** Memory may be ahead of what is stored. */
  #startAnew(why: string, error: unknown): void {
    this.#log.error(`${why}; the shard starts anew`, {}, error);
    this.ctx.abort(why);
  }

  #open(config: ShardConfig): ShardDesk {
    const { ctx } = this;
    migrateVectors(ctx.storage);
    const sql = configSql(ctx.storage);
    const { storedMiB } = this.#settings.vectors;
    this.#tiered = new TieredBlobs({ local: this.#local, sql });
    this.#desk = new ShardDesk({
      sql,
      blobs: this.#tiered,
      crc32c,
      core: createVectorCore(vectorModule, { budgetBytes: this.#settings.vectors.memoryMiB * MIB }),
      config,
      name: ctx.id.name ?? ctx.id.toString(),
      random: (count) => crypto.getRandomValues(new Uint8Array(count)),
      now: Date.now,
      disk:
        storedMiB === 0 ? undefined : { limitBytes: storedMiB * MIB, usedBytes: () => ctx.storage.sql.databaseSize },
      resultCacheBytes: this.#settings.vectors.resultCacheMiB * MIB,
      onMissing: (what) => this.#log.warn("a segment has to do without an index", what),
    });
    this.#follow(this.#desk, config);
    this.#place(config, this.#desk);
    if (config.retention) ctx.waitUntil(this.#wakeAt(Date.now() + retentionDelayMs(config.retention)));
    this.#tier.opened();
    this.#maintenance.goOn();
    this.#imports.goOn();
    return this.#desk;
  }

  /** `open`: writes of an id go in one line, so what places rows stays while the shard is open. */
  #place(config: ShardConfig, desk: ShardDesk, open?: VectorPlacing): void {
    const { sharding } = config;
    if (open && sharding) return open.reconfigure({ ...config, sharding });
    this.#placing?.stop();
    this.#placing = undefined;
    if (!sharding) return;
    this.#placing = new VectorPlacing({
      ...{ env: this.env, sql: configSql(this.ctx.storage), crc32c, log: this.#log, config: { ...config, sharding } },
      skewBound: this.#settings.vectors.reshardSkew,
      ...{ desk: () => this.#desk ?? desk, runHere: (request) => this.#runHere({ request }) },
      wakeAt: (atMs) => this.ctx.waitUntil(this.#wakeAt(atMs)),
    });
  }

  /** One after the other: each must see what the one before has set. */
  #wakeAt(atMs: number): Promise<void> {
    const set = this.#alarmSet.then(async () => {
      const held = await this.ctx.storage.getAlarm();
      if (held === null || atMs < held) await this.ctx.storage.setAlarm(atMs);
    });
    this.#alarmSet = set.catch(() => undefined);
    return set;
  }

  /** Deletes what the database's retention no longer allows, and sets the next look for it. */
  async #retain(): Promise<void> {
    const desk = this.#desk;
    const config = this.#config;
    const retention = config?.retention;
    if (!desk || !retention) return;
    try {
      // What is done with rows that expire follows the configuration at once.
      await letGo(desk, config, {
        isOpen: () => this.#desk === desk && this.#config === config,
        keep: (rows) => this.#expired.keep(rows),
        fetch: (away) => this.#tier.fetch(away),
      });
    } catch (error) {
      this.#log.error("rows that are too old could not be deleted; tried again", {}, error);
    } finally {
      this.#maintenance.goOn();
      if (this.#desk) await this.#wakeAt(Date.now() + retentionDelayMs(retention));
    }
  }

  async shardMap(): Promise<ShardMapState | null> {
    return this.#placing?.mapState ?? null;
  }

  async adoptShardMap(map: Uint8Array, topology = 0): Promise<boolean> {
    return this.#placing?.adopt(map, topology) ?? false;
  }

  async reshardState(allHave?: number): Promise<ReshardState | null> {
    return this.#placing?.reshardState(allHave) ?? null;
  }

  async relocation(ask: RelocationAsk): Promise<boolean> {
    return (await this.#placing?.relocation(ask)) ?? false;
  }

  #follow({ store }: ShardDesk, config: ShardConfig): void {
    this.#config = config;
    const blobs = this.#tiered ?? this.#local;
    const onLogged = (): void => this.#copies.logged();
    this.#copies.opened({ store, blobs, crc32c, start: this.#start, onLogged }, config.replication);
  }

  async configure(config: ShardConfig): Promise<string | ArchiveDamage | undefined> {
    await this.#mending.mend();
    this.#mending.mustBeOpen();
    const stored = this.#facts.config;
    if (isLate(config, stored)) return undefined;
    const isBack = stored?.lifecycle?.isArchived === true && !config.lifecycle?.isArchived;
    const damaged = isBack ? await this.#cold.thaw() : undefined;
    if (damaged) return damaged;
    if (stored && JSON.stringify(stored) === JSON.stringify(config)) return this.#placing?.held();
    if (stored && (stored.dimension !== config.dimension || stored.metric !== config.metric))
      return "a shard keeps its dimension and metric";
    migrateVectors(this.ctx.storage);
    // What was not placed by anybody is stored before rows may move.
    this.#turns.flush();
    try {
      this.ctx.storage.transactionSync(() => this.#bringTo(config));
    } catch (error) {
      if (!isBack || !isDamage(error)) this.#startAnew("a vector shard could not be configured", error);
      this.#close();
      this.#config = stored;
      return { damaged: (error as Error).message };
    }
    if (config.lifecycle?.isArchived) await this.#wakeAt(Date.now());
    else if (config.retention) await this.#wakeAt(Date.now() + retentionDelayMs(config.retention));
    this.#maintenance.goOn();
    return this.#placing?.held();
  }

  /** In one transaction with the configuration. */
  #bringTo(config: ShardConfig): void {
    this.#desk?.store.endTurn();
    this.#facts.set("config", JSON.stringify(config));
    this.#config = config;
    if (config.lifecycle?.isArchived) return this.#close();
    if (this.#desk) this.#desk.reconfigure(config);
    const open = this.#desk;
    const desk = open ?? this.#open(config);
    this.#follow(desk, config);
    if (open) this.#place(config, open, this.#placing);
    keepWhatIsAsked(desk, config, { facts: this.#facts, reopen: () => this.#open(config) });
  }

  /** Nothing of it stays in memory. */
  #close(): void {
    this.#turns.closed();
    this.#desk = undefined;
    this.#tiered = undefined;
    this.#copies.closed();
    this.#placing?.stop();
    this.#placing = undefined;
  }

  async snapshotInfo(snapshotId: string): Promise<SnapshotInfo | null> {
    return this.#desk?.store.snapshots.info(snapshotId) ?? null;
  }

  async snapshotPage(snapshotId: string, place: SnapshotPlace): Promise<SnapshotPage | null> {
    return await this.#tier.here(() => this.#desk?.store.snapshots.page(snapshotId, place) ?? null);
  }

  checkSnapshot(snapshotId: string, place: SnapshotPlace): Promise<SnapshotCheck | null> {
    return this.#tier.checked(() => this.#desk?.store.snapshots.check(snapshotId, place) ?? null);
  }

  async expiredInfo(through?: number) {
    return this.#expired.info(through);
  }

  async expiredPage(after: number) {
    return await this.#expired.page(after);
  }

  async dropExpired(through: number): Promise<void> {
    this.#expired.drop(through);
    await this.#wakeAt(Date.now());
  }

  async call(bytes: Uint8Array): Promise<Uint8Array> {
    const call = readVectorCall(bytes);
    await this.#mending.mend();
    const refused = refusedCall(call, this.#config?.access) ?? refusedNow(call, this.#config);
    if (refused) return writeVectorAnswer(refused);
    const placing = call.isPlaced || !isById(call.request) ? undefined : this.#placing;
    const answer = await (placing ? placing.run(call) : this.#runHere(call));
    this.#meter.answered(call, answer);
    return writeVectorAnswer((await this.#copies.unconfirmed(answer)) ?? this.#copies.withReplicas(call, answer));
  }

  callMany(calls: readonly Uint8Array[], mayLeaveOut = false): Promise<readonly (Uint8Array | null)[]> {
    return sharedAnswers(calls, (bytes) => this.call(bytes), mayLeaveOut);
  }

  /** On this shard's own rows. */
  async #runHere(call: VectorCall): Promise<VectorAnswer> {
    let ran = await this.#run(call);
    for (let repairs = 0; repairs < MOST_REPAIRS && ran.damaged; repairs++) {
      // What does not fit its checksum may have been changed on its way only.
      const isFetched = this.#tier.again(ran.damaged.blob);
      if (isFetched ? repairs + 1 >= THAW_TRIES : !(await this.#repair.block(ran.damaged))) break;
      ran = await this.#run(call);
    }
    return ran.answer;
  }

  /** There are no rows. */
  get #absent(): VectorFailure {
    return this.#config?.lifecycle?.isArchived ? ARCHIVED : NO_SUCH_SHARD;
  }

  #run(call: VectorCall): Promise<Ran> {
    return this.#tier.run(() => this.#runOnce(call));
  }

  async #runOnce(call: VectorCall): Promise<Ran> {
    const desk = this.#desk;
    if (this.#mending.isBroken) return { answer: UNREADABLE, durability: "sync" };
    if (!desk) return { answer: this.#absent, durability: "sync" };
    if (call.request.kind === "within") return { answer: await this.#scans.run(desk, call), durability: "sync" };
    if (isVectorWrite(call.request)) return await this.#turns.run(call);
    if (call.request.kind === "search") this.#behind.searched();
    return desk.run(call);
  }

  async pull(zone: string, place: CopyPlace, waitMs: number): Promise<Uint8Array | null> {
    this.#mending.mustBeOpen();
    return this.#copies.pull(zone, place, waitMs);
  }

  async manifest(): Promise<Uint8Array | null> {
    this.#mending.mustBeOpen();
    return this.#copies.manifest();
  }

  /** What a follower is given must be whole: it may be what another one is put right from. */
  async blobs(asks: readonly BlobAsk[]): Promise<Uint8Array | null> {
    this.#mending.mustBeOpen();
    const { store } = this.#desk ?? {};
    const blobs = this.#tiered ?? this.#local;
    const damaged = await this.#tier.here(() => (store ? damagedIn({ store, blobs, crc32c }, asks) : []));
    for (const each of damaged) await this.#repair.block(each);
    return await this.#tier.here(() => this.#copies.blobs(asks));
  }

  async head(): Promise<ShardPlace | null> {
    this.#mending.mustBeOpen();
    const store = this.#desk?.store;
    if (!store) return null;
    // What waits to be logged was acknowledged, too.
    store.endTurn();
    return { term: store.term, revision: store.revision };
  }

  /** A restart may find nobody who calls: what was begun goes on by the alarm. */
  #wakeLater(): void {
    if (this.#isWaking || !this.#desk) return;
    if (this.#desk.indexes.isSettled && !this.#desk.imports.isDue) return;
    this.#isWaking = true;
    this.ctx.waitUntil(this.#wakeAt(Date.now() + WAKE_MS));
  }

  override async alarm(): Promise<void> {
    this.#isWaking = false;
    this.#maintenance.goOn();
    this.#imports.goOn();
    await this.#placing?.alarm();
    await this.#retain();
    await this.#tier.alarm();
    this.#wakeLater();
  }

  async erase(): Promise<void> {
    const told = this.#desk && this.#meter.end();
    this.#mending.forget();
    this.#config = undefined;
    this.#close();
    await this.#cold.erase();
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
    await told;
  }
}
