// The one owner of a shard of a vector database: a thin shell of SQLite, timers and RPC around src/vector/shard/shard-desk.ts.
// Guarantees: an answer to a `sync` write leaves when the write is durable (one commit for all calls of a turn, behind the output
// gate); seals and merges go on in slices between calls. Must not: decide anything about rows.
import { DurableObject } from "cloudflare:workers";
import storageModule from "../dist/wasm/storage.wasm";
import vectorModule from "../dist/wasm/vector.wasm";
import { STORAGE_MIGRATIONS } from "../migrations/storage.ts";
import { VECTOR_MIGRATIONS } from "../migrations/vector.ts";
import { parseSettings, type Settings } from "../src/cluster/settings.ts";
import { drain } from "../src/storage/drain.ts";
import { createKernels } from "../src/storage/kernels.ts";
import { SqliteBlobStore } from "../src/storage/sqlite-blob-store.ts";
import type { SqlStorage as ObjectSql } from "../src/storage/types.ts";
import { createLogger, type Logger } from "../src/telemetry/logger.ts";
import { createVectorCore } from "../src/vector/kernels.ts";
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
  type VectorAnswer,
  type VectorCall,
  type VectorFailure,
} from "../src/wire/vector.ts";
import { writeVectorAnswer } from "../src/wire/vector-answers.ts";
import { readVectorCall } from "../src/wire/vector-requests.ts";
import { configSql } from "./config-sql.ts";
import type { Env } from "./env.ts";
import { applyMigrations } from "./migrate.ts";
import type { VectorShardRpc } from "./vector-rpc.ts";

const kernels = createKernels(storageModule);
const crc32c = (bytes: Uint8Array, seed?: number): number => kernels.crc32c(bytes, seed);
const MIB = 1024 * 1024;
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

interface Waiting {
  readonly call: VectorCall;
  readonly done: (ran: Ran) => void;
  readonly fail: (error: unknown) => void;
}

export class VectorShard extends DurableObject<Env> implements VectorShardRpc {
  readonly #settings: Settings;
  readonly #log: Logger;
  #desk: ShardDesk | undefined;
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
    const config = this.#storedConfig();
    if (config) this.#open(config);
  }

  /** Undefined = it was not created, or erased; an object that was only asked leaves no tables behind. */
  #storedConfig(): ShardConfig | undefined {
    const { sql } = this.ctx.storage;
    const [table] = sql.exec("SELECT name FROM sqlite_master WHERE name = 'vector_facts'").toArray();
    if (!table) return undefined;
    const [row] = sql
      .exec<{ bytes: ArrayBuffer; crc: number }>("SELECT bytes, crc FROM vector_facts WHERE name = 'config'")
      .toArray();
    if (!row) return undefined;
    const bytes = new Uint8Array(row.bytes);
    if (crc32c(bytes) !== row.crc) throw new CorruptSegment("the shard's configuration fails its CRC32C");
    return JSON.parse(new TextDecoder().decode(bytes)) as ShardConfig;
  }

  #open(config: ShardConfig): ShardDesk {
    const { ctx } = this;
    applyMigrations(ctx.storage, "storage", STORAGE_MIGRATIONS);
    applyMigrations(ctx.storage, "vector", VECTOR_MIGRATIONS);
    const sql: ObjectSql = configSql(ctx.storage);
    this.#desk = new ShardDesk({
      sql,
      blobs: new SqliteBlobStore(sql),
      crc32c,
      core: createVectorCore(vectorModule, { budgetBytes: this.#settings.vectors.memoryMiB * MIB }),
      config,
      name: ctx.id.name ?? ctx.id.toString(),
      random: (count) => crypto.getRandomValues(new Uint8Array(count)),
      now: Date.now,
      resultCacheBytes: this.#settings.vectors.resultCacheMiB * MIB,
      onMissing: (what) => this.#log.warn("a segment has to do without an index", what),
    });
    this.#maintain();
    this.#import();
    return this.#desk;
  }

  async configure(config: ShardConfig): Promise<string | undefined> {
    const stored = this.#storedConfig();
    const bytes = new TextEncoder().encode(JSON.stringify(config));
    if (stored && JSON.stringify(stored) === JSON.stringify(config)) return undefined;
    if (stored && (stored.dimension !== config.dimension || stored.metric !== config.metric))
      return "a shard keeps its dimension and metric";
    const { storage } = this.ctx;
    applyMigrations(storage, "storage", STORAGE_MIGRATIONS);
    applyMigrations(storage, "vector", VECTOR_MIGRATIONS);
    const sql = configSql(storage);
    drain(
      sql.exec("INSERT OR REPLACE INTO vector_facts (name, crc, bytes) VALUES ('config', ?, ?)", crc32c(bytes), bytes),
    );
    if (!this.#desk) this.#open(config);
    else this.#desk.reconfigure(config);
    this.#maintain();
    return undefined;
  }

  async call(bytes: Uint8Array): Promise<Uint8Array> {
    const call = readVectorCall(bytes);
    const desk = this.#desk;
    if (!desk) return writeVectorAnswer(NO_SUCH_SHARD);
    if (call.request.kind === "within") return writeVectorAnswer(await this.#inSlices(desk, call));
    if (!isVectorWrite(call.request)) return writeVectorAnswer(desk.run(call).answer);
    if (this.#waiting.length >= MAX_WAITING_WRITES) return writeVectorAnswer(QUEUE_FULL);
    const { promise, resolve, reject } = Promise.withResolvers<Ran>();
    if (this.#waiting.length === 0) setTimeout(() => this.#turn(), 0);
    this.#waiting.push({ call, done: resolve, fail: reject });
    const { answer } = await promise;
    return writeVectorAnswer(answer);
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
      const isSync = ran.some(({ durability }) => durability === "sync");
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
      if (error instanceof CorruptSegment) for (const input of inputs) this.#damaged.add(input);
      throw error;
    }
  }

  async erase(): Promise<void> {
    if (this.#logTimer !== undefined) clearTimeout(this.#logTimer);
    this.#logTimer = undefined;
    this.#desk = undefined;
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
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
