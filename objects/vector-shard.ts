// The one owner of a shard of a vector database: a thin shell of SQLite, timers and RPC around src/vector/shard/shard-desk.ts.
// Guarantees: an answer to a `sync` write leaves when the write is durable (one commit for all calls of a turn, behind the output
// gate); seals and merges go on in slices between calls. Must not: decide anything about rows.
import { DurableObject } from "cloudflare:workers";
import storageModule from "../dist/wasm/storage.wasm";
import vectorModule from "../dist/wasm/vector.wasm";
import { parseSettings, type Settings } from "../src/cluster/settings.ts";
import { createKernels } from "../src/storage/kernels.ts";
import { SqliteBlobStore } from "../src/storage/sqlite-blob-store.ts";
import type { SqlStorage as ObjectSql } from "../src/storage/types.ts";
import { createLogger, type Logger } from "../src/telemetry/logger.ts";
import { createVectorCore } from "../src/vector/kernels.ts";
import type { BlobAsk } from "../src/vector/replica/blob-checks.ts";
import type { CopyPlace } from "../src/vector/replica/frames.ts";
import { damagedIn } from "../src/vector/replica/leader.ts";
import { CorruptSegment } from "../src/vector/segment/directory.ts";
import type { Segment } from "../src/vector/segment/segment.ts";
import { LOG_DELAY_MS, MAX_UNLOGGED_BYTES } from "../src/vector/shard/limits.ts";
import { mergeDue } from "../src/vector/shard/merge-policy.ts";
import type { ShardConfig } from "../src/vector/shard/shard-config.ts";
import { type Ran, ShardDesk } from "../src/vector/shard/shard-desk.ts";
import type { VectorStore } from "../src/vector/shard/vector-store.ts";
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
import type { Env } from "./env.ts";
import { ShardCopies } from "./shard-copies.ts";
import { ShardRepair } from "./shard-repair.ts";
import { migrateVectors, storeConfig, storedConfig } from "./vector-facts.ts";
import { VectorMeter } from "./vector-metrics.ts";
import type { VectorShardRpc } from "./vector-rpc.ts";

const kernels = createKernels(storageModule);
const crc32c = (bytes: Uint8Array, seed?: number): number => kernels.crc32c(bytes, seed);
const MIB = 1024 * 1024;
/** Damaged places that are put right for one call. */
const MOST_REPAIRS = 64;
/** While indexes are built the alarm is due so soon again. Ms. */
const WAKE_MS = 5000;
/** Rows of an import that find no room are tried again after this. Ms. */
const IMPORT_RETRY_MS = 200;
/** Writes that wait for the turn's end; more means that the object cannot keep up. */
const MAX_WAITING_WRITES = 10_000;

/** Scans for a threshold that go on in slices at a time: each holds what it has found. */
const MAX_SCANS = 16;

const QUEUE_FULL: VectorFailure = {
  kind: "error",
  code: "overloaded",
  message: `${MAX_WAITING_WRITES} writes wait for the shard; nothing was done`,
};

const UNREADABLE: VectorFailure = {
  kind: "error",
  code: "dataCorrupt",
  message: "stored rows are damaged, and no other copy has them",
};

interface Waiting {
  readonly call: VectorCall;
  readonly done: (ran: Ran) => void;
  readonly fail: (error: unknown) => void;
}

export class VectorShard extends DurableObject<Env> implements VectorShardRpc {
  readonly #settings: Settings;
  readonly #log: Logger;
  #desk: ShardDesk | undefined;
  #config: ShardConfig | undefined;
  readonly #copies: ShardCopies;
  readonly #start = crypto.getRandomValues(new Uint32Array(1))[0]!;
  readonly #repair: ShardRepair;
  readonly #meter: VectorMeter;
  /** Why it could not be opened. */
  #unopened: unknown;
  #mending: Promise<void> | undefined;
  #waiting: Waiting[] = [];
  #isMaintaining = false;
  #isImporting = false;
  #scans = 0;
  #logTimer: ReturnType<typeof setTimeout> | undefined;
  #logDueMs = 0;
  /** The alarm is set. */
  #isWaking = false;
  /** Merges and index builds take turns, so that steady writes hold up neither. */
  #hasMerged = false;
  /** Segments with rows that cannot be read: merging them would lose what can be. */
  readonly #damaged = new WeakSet<Segment>();

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
    this.#config = storedConfig(ctx.storage, crc32c);
    if (!this.#config) return;
    try {
      this.#open(this.#config);
    } catch (error) {
      this.#broken(error);
    }
  }

  /** It cannot be opened: the next call tries to have it put right. */
  #broken(error: unknown): void {
    this.#unopened = error;
    this.#log.error("a vector shard cannot be opened", {}, error);
  }

  /** One at a time. */
  #mend(): Promise<void> {
    this.#mending ??= this.#mendAll().finally(() => {
      this.#mending = undefined;
    });
    return this.#mending;
  }

  async #mendAll(): Promise<void> {
    for (let repairs = 0; repairs < MOST_REPAIRS && this.#unopened !== undefined; repairs++) {
      if (!(await this.#repair.heal(this.#unopened)) || !this.#config) return;
      try {
        this.#unopened = undefined;
        this.#open(this.#config);
      } catch (error) {
        this.#broken(error);
      }
    }
  }

  #open(config: ShardConfig): ShardDesk {
    const { ctx } = this;
    migrateVectors(ctx.storage);
    const sql: ObjectSql = configSql(ctx.storage);
    const blobs = new SqliteBlobStore(sql);
    this.#desk = new ShardDesk({
      sql,
      blobs,
      crc32c,
      core: createVectorCore(vectorModule, { budgetBytes: this.#settings.vectors.memoryMiB * MIB }),
      config,
      name: ctx.id.name ?? ctx.id.toString(),
      random: (count) => crypto.getRandomValues(new Uint8Array(count)),
      now: Date.now,
      resultCacheBytes: this.#settings.vectors.resultCacheMiB * MIB,
      onMissing: (what) => this.#log.warn("a segment has to do without an index", what),
    });
    this.#follow(this.#desk, config);
    this.#maintain();
    this.#import();
    return this.#desk;
  }

  #follow({ store }: ShardDesk, config: ShardConfig): void {
    this.#config = config;
    const blobs = new SqliteBlobStore(configSql(this.ctx.storage));
    const onLogged = (): void => this.#copies.logged();
    this.#copies.opened({ store, blobs, crc32c, start: this.#start, onLogged }, config.replication);
  }

  async configure(config: ShardConfig): Promise<string | undefined> {
    if (this.#unopened !== undefined) await this.#mend();
    this.#mustBeOpen();
    const stored = storedConfig(this.ctx.storage, crc32c);
    if (stored && JSON.stringify(stored) === JSON.stringify(config)) return undefined;
    if (stored && (stored.dimension !== config.dimension || stored.metric !== config.metric))
      return "a shard keeps its dimension and metric";
    storeConfig(this.ctx.storage, crc32c, config);
    if (!this.#desk) this.#open(config);
    else {
      this.#desk.reconfigure(config);
      this.#follow(this.#desk, config);
    }
    this.#maintain();
    return undefined;
  }

  async call(bytes: Uint8Array): Promise<Uint8Array> {
    const call = readVectorCall(bytes);
    if (this.#unopened !== undefined) await this.#mend();
    let ran = await this.#run(call);
    for (let repairs = 0; repairs < MOST_REPAIRS && ran.damaged; repairs++) {
      if (!(await this.#repair.block(ran.damaged))) break;
      ran = await this.#run(call);
    }
    this.#meter.answered(call, ran.answer);
    return writeVectorAnswer((await this.#copies.unconfirmed(ran.answer)) ?? this.#copies.withReplicas(ran.answer));
  }

  async #run(call: VectorCall): Promise<Ran> {
    const desk = this.#desk;
    if (this.#unopened !== undefined) return { answer: UNREADABLE, durability: "sync" };
    if (!desk) return { answer: NO_SUCH_SHARD, durability: "sync" };
    if (call.request.kind === "within") return { answer: await this.#inSlices(desk, call), durability: "sync" };
    if (!isVectorWrite(call.request)) return desk.run(call);
    if (this.#waiting.length >= MAX_WAITING_WRITES) return { answer: QUEUE_FULL, durability: "sync" };
    const { promise, resolve, reject } = Promise.withResolvers<Ran>();
    if (this.#waiting.length === 0) setTimeout(() => this.#turn(), 0);
    this.#waiting.push({ call, done: resolve, fail: reject });
    return await promise;
  }

  /** What is damaged is not gone: its copies must not take it for that. */
  #mustBeOpen(): void {
    if (this.#unopened !== undefined) throw new Error("the shard cannot be opened");
  }

  async pull(zone: string, place: CopyPlace, waitMs: number): Promise<Uint8Array | null> {
    this.#mustBeOpen();
    return this.#copies.pull(zone, place, waitMs);
  }

  async manifest(): Promise<Uint8Array | null> {
    this.#mustBeOpen();
    return this.#copies.manifest();
  }

  /** What a follower is given must be whole: it may be what another one is put right from. */
  async blobs(asks: readonly BlobAsk[]): Promise<Uint8Array | null> {
    this.#mustBeOpen();
    const blobs = new SqliteBlobStore(configSql(this.ctx.storage));
    const store = this.#desk?.store;
    for (const damaged of store ? damagedIn({ store, blobs, crc32c }, asks) : []) await this.#repair.block(damaged);
    return this.#copies.blobs(asks);
  }

  async head(): Promise<ShardPlace | null> {
    this.#mustBeOpen();
    const store = this.#desk?.store;
    if (!store) return null;
    // What waits to be logged was acknowledged, too.
    store.endTurn();
    return { term: store.term, revision: store.revision };
  }

  /** A scan of all rows must not hold up the searches beside it. */
  async #inSlices(desk: ShardDesk, call: VectorCall): Promise<VectorAnswer> {
    if (this.#scans >= MAX_SCANS) return { ...QUEUE_FULL, message: `${MAX_SCANS} scans are under way at the shard` };
    this.#scans++;
    const work = desk.runInSlices(call);
    try {
      for (;;) {
        const step = work.next();
        if (step.done) return step.value;
        await new Promise((next) => setTimeout(next, 0));
        if (this.#desk !== desk) return NO_SUCH_SHARD;
      }
    } finally {
      work.return(NO_SUCH_SHARD);
      this.#scans--;
      // What waited for it may be swept now.
      this.#maintain();
    }
  }

  /** All writes that came since the last turn: one commit for those that ask for one. */
  #turn(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const desk = this.#desk;
    if (!desk) {
      for (const { done } of waiting) done({ answer: NO_SUCH_SHARD, durability: "sync" });
      return;
    }
    try {
      const ran = waiting.map(({ call }) => desk.run(call));
      // Followers are given what is logged only.
      const isSync = this.#config?.replication?.sync || ran.some(({ durability }) => durability === "sync");
      if (isSync || desk.store.unloggedBytes >= MAX_UNLOGGED_BYTES) desk.store.endTurn();
      else this.#logLater(ran);
      for (const [at, { done }] of waiting.entries()) done(ran[at]!);
    } catch (error) {
      // Half a turn may be in memory: what is stored is the truth.
      for (const { fail } of waiting) fail(error);
      this.#log.error("a turn failed; the shard starts anew", {}, error);
      this.ctx.abort("a turn of the vector shard failed");
    }
    this.#maintain();
    this.#import();
  }

  /** The earliest promise counts: an eventual write that waits must not hold up a periodic one. */
  #logLater(ran: readonly Ran[]): void {
    const isPeriodic = ran.some(({ durability }) => durability === "periodic");
    const delayMs = LOG_DELAY_MS[isPeriodic ? "periodic" : "eventual"];
    const dueMs = Date.now() + delayMs;
    if (this.#logTimer !== undefined && this.#logDueMs <= dueMs) return;
    if (this.#logTimer !== undefined) clearTimeout(this.#logTimer);
    this.#logDueMs = dueMs;
    this.#logTimer = setTimeout(() => this.#logNow(), delayMs);
  }

  #logNow(): void {
    this.#logTimer = undefined;
    try {
      this.#desk?.store.endTurn();
    } catch (error) {
      // What was acknowledged is still in memory: it is tried again, and told.
      this.#log.error("writes of a vector shard could not be logged; tried again", {}, error);
      this.#logLater([]);
    }
  }

  /** Seals, merges and sweeps what is due, a slice a turn. */
  #maintain(): void {
    if (this.#isMaintaining || !this.#desk) return;
    const desk = this.#desk;
    const work = this.#workDue(desk);
    if (!work) return;
    this.#wakeLater();
    this.#isMaintaining = true;
    const slice = (): void => {
      // Configured anew or erased meanwhile: what was begun is forgotten, its blobs are swept at the next start.
      if (this.#desk !== desk) return this.#finishMaintaining(true);
      try {
        if (work.next().done) return this.#finishMaintaining(true);
      } catch (error) {
        this.#log.error("maintenance of a vector shard failed", {}, error);
        return this.#finishMaintaining(error instanceof CorruptSegment);
      }
      setTimeout(slice, 0);
    };
    setTimeout(slice, 0);
  }

  /** Imports go on behind calls, one commit a turn; what must wait is tried again. */
  #import(): void {
    const desk = this.#desk;
    if (this.#isImporting || !desk?.imports.isDue) return;
    this.#isImporting = true;
    this.#wakeLater();
    const slice = (): void => {
      this.#isImporting = false;
      if (this.#desk !== desk) return;
      let delayMs = 0;
      try {
        if (!desk.importNext()) delayMs = IMPORT_RETRY_MS;
      } catch (error) {
        // Half a turn may be in memory: what is stored is the truth.
        this.#log.error("a turn of an import failed; the shard starts anew", {}, error);
        return this.ctx.abort("a turn of an import failed");
      }
      this.#maintain();
      if (!desk.imports.isDue) return;
      this.#isImporting = true;
      setTimeout(slice, delayMs);
    };
    setTimeout(slice, 0);
  }

  /** A restart may find nobody who calls: what was begun goes on by the alarm. */
  #wakeLater(): void {
    if (this.#isWaking || !this.#desk) return;
    if (this.#desk.indexes.isSettled && !this.#desk.imports.isDue) return;
    this.#isWaking = true;
    this.ctx.waitUntil(this.ctx.storage.setAlarm(Date.now() + WAKE_MS));
  }

  override async alarm(): Promise<void> {
    this.#isWaking = false;
    this.#maintain();
    this.#import();
    this.#wakeLater();
  }

  #finishMaintaining(goOn: boolean): void {
    this.#isMaintaining = false;
    this.#copies.wakeAll();
    if (goOn) this.#maintain();
  }

  #workDue(desk: ShardDesk): Iterator<void, void> | undefined {
    const { store } = desk;
    if (store.sealDue) return store.seal();
    const inputs = mergeDue(store.sealed.filter((segment) => !this.#damaged.has(segment)));
    if (inputs && !this.#hasMerged) return this.#merge(desk, inputs);
    this.#hasMerged = false;
    const indexing = store.indexing();
    if (indexing) return besideSeals(store, indexing);
    if (inputs) return this.#merge(desk, inputs);
    return store.sweepDue ? sweeps(desk) : undefined;
  }

  *#merge({ store }: ShardDesk, inputs: readonly Segment[]): Generator<void, void> {
    this.#hasMerged = true;
    try {
      yield* store.merge(inputs);
    } catch (error) {
      if (error instanceof CorruptSegment) {
        for (const input of inputs) this.#damaged.add(input);
        void this.#mergeLater(inputs, error);
      }
      throw error;
    }
  }

  async #mergeLater(inputs: readonly Segment[], error: CorruptSegment): Promise<void> {
    if (!(await this.#repair.heal(error))) return;
    for (const input of inputs) this.#damaged.delete(input);
    this.#maintain();
  }

  async erase(): Promise<void> {
    const told = this.#desk && this.#meter.end();
    this.#unopened = undefined;
    this.#config = undefined;
    if (this.#logTimer !== undefined) clearTimeout(this.#logTimer);
    this.#logTimer = undefined;
    this.#desk = undefined;
    this.#copies.closed();
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
    await told;
  }
}

/** Rows that come meanwhile must not wait for an index of a million others. */
function* besideSeals(store: VectorStore, work: Generator<void, void>): Generator<void, void> {
  for (const slice of work) {
    if (store.sealDue) yield* store.seal();
    yield slice;
  }
}

function* sweeps({ store }: ShardDesk): Generator<void, void> {
  while (store.sweep()) yield;
}
