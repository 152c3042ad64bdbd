// The one owner of a configuration keyspace: a thin shell of SQLite, alarms and RPC around src/config/desk.ts.
// Guarantees: what `call` answers is durable (one commit for all calls of a turn, behind the output gate); calls run in the order
// they came. Must not: decide anything about revisions, leases or versions.
import { DurableObject } from "cloudflare:workers";
import kernelModule from "../dist/wasm/storage.wasm";
import { CONFIG_MIGRATIONS } from "../migrations/config.ts";
import { parseSettings, type Settings } from "../src/cluster/settings.ts";
import { mostAnswerBytes } from "../src/config/answer-bound.ts";
import { Damage } from "../src/config/damage.ts";
import { Desk } from "../src/config/desk.ts";
import { ConfigRefusal } from "../src/config/failure.ts";
import { COPIED_PAGE_BYTES, MAX_FRAME_ANSWER_BYTES } from "../src/config/limits.ts";
import { LockWaits } from "../src/config/lock-waits.ts";
import { CorruptRecord } from "../src/config/record.ts";
import { Shipping } from "../src/config/shipping.ts";
import { ConfigStore } from "../src/config/store.ts";
import { watchSource } from "../src/config/watch-source.ts";
import { WebhookFeed } from "../src/config/webhook-feed.ts";
import type { FeedAsk, FeedPage } from "../src/config/webhook-types.ts";
import { createKernels } from "../src/storage/kernels.ts";
import { createLogger, type Logger } from "../src/telemetry/logger.ts";
import { ByteWriter } from "../src/wire/bytes.ts";
import type {
  AcquireAnswer,
  AcquireRequest,
  AnswerHeader,
  BinaryKey,
  ConfigFailure,
  Ownership,
  ReleaseRequest,
} from "../src/wire/config.ts";
import { type ConfigCall, isWriting, readConfigCalls } from "../src/wire/config-requests.ts";
import { type Head, type Place, writeShipment } from "../src/wire/shipment.ts";
import { BEGAN_ANEW } from "./began-anew.ts";
import { ConfigRepair } from "./config-repair.ts";
import { configSql } from "./config-sql.ts";
import type { Env } from "./env.ts";
import {
  atMost,
  corrupt,
  inOrder,
  refusalOf,
  refusalsAsValues,
  refuseAll,
  TOO_MUCH_AT_ONCE,
} from "./keyspace-answers.ts";
import { KeyspaceMeter } from "./keyspace-metrics.ts";
import { KeyspaceRegistration } from "./keyspace-registration.ts";
import { KeyspaceSnapshots, type SnapshotAnswer, type SnapshotAsk } from "./keyspace-snapshots.ts";
import { KeyspaceUpkeep } from "./keyspace-upkeep.ts";
import { KeyspaceUsage } from "./keyspace-usage.ts";
import { leaveWatches, openWatches } from "./keyspace-watches.ts";
import { applyMigrations } from "./migrate.ts";
import type { ConfigKeyspaceRpc, CopiedPage } from "./rpc.ts";
import type { WatchDesk } from "./watch-desk.ts";

/** What may wait for the turn's end; more means that the object cannot keep up. */
const MAX_WAITING_JOBS = 10_000;
const MIB = 1024 * 1024;

/** Work of the next turn. `run` writes; `done` answers, when all of the turn's work is written. */
interface Job {
  readonly run: () => void;
  readonly done: () => void;
  readonly fail: (error: unknown) => void;
}

/** What stands on the tables. */
interface Opened {
  readonly desk: Desk;
  readonly waits: LockWaits;
  readonly shipping: Shipping;
  readonly watches: WatchDesk;
  readonly registration: KeyspaceRegistration;
  readonly feed: WebhookFeed;
  readonly snapshots: KeyspaceSnapshots;
}

export class ConfigKeyspace extends DurableObject<Env> implements ConfigKeyspaceRpc {
  readonly #settings: Settings;
  readonly #log: Logger;
  readonly #writer = new ByteWriter(64 * 1024);
  readonly #meter: KeyspaceMeter;
  /** Undefined = erased, and not asked since: there are no tables. */
  #opened: Opened | undefined;
  /** What is read at the start is damaged, and nobody else holds it. */
  #unreadable: CorruptRecord | undefined;
  readonly #repair: ConfigRepair;
  readonly #usage: KeyspaceUsage;
  readonly #upkeep: KeyspaceUpkeep;
  #jobs: Job[] = [];
  #callsTotal = 0;
  #commitsTotal = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#settings = parseSettings(env.JADE_CONFIG);
    const write = (_: string, line: string): void => console.log(line);
    this.#log = createLogger({ level: this.#settings.log.level, now: Date.now, write, fields: { part: "config" } });
    const id = ctx.id.toString();
    this.#meter = new KeyspaceMeter({
      env,
      id,
      to: "reportKeyspaceMetrics",
      read: () => this.#opened && this.#samples(),
      waitUntil: (work) => ctx.waitUntil(work),
    });
    this.#usage = new KeyspaceUsage({
      read: () => ({ storedBytes: this.#desk.keyspace.livingBytes, keys: this.#desk.keyspace.keyCount }),
      report: () => this.#opened?.registration.reporter,
      waitUntil: (work) => ctx.waitUntil(work),
    });
    this.#upkeep = new KeyspaceUpkeep({
      storage: ctx.storage,
      desk: () => this.#opened?.desk,
      write: (run) => this.#guarded(run),
    });
    const inTurn = <T>(run: () => T): T => ctx.storage.transactionSync(run);
    this.#repair = new ConfigRepair({ env, name: ctx.id.name, crc32c, log: this.#log, now: Date.now, inTurn });
    ctx.blockConcurrencyWhile(() => this.#begin());
  }

  async #begin(): Promise<void> {
    try {
      this.#opened = this.#open();
    } catch (error) {
      if (!(error instanceof CorruptRecord)) throw error;
      this.#log.error("the keyspace cannot be opened: stored data is damaged", {}, error);
      // Of what is read at the start the newest record may be held by a follower.
      const damage = new Damage();
      damage.found(error);
      if (await this.#repair.all(new ConfigStore(configSql(this.ctx.storage), crc32c), damage)) return this.#begin();
      this.#unreadable = error;
      return;
    }
    await this.#upkeep.schedule();
    await this.#watches.begin();
    if (this.#parts.snapshots.isJustRestored) this.#usage.touch();
  }

  /** What is on disk, or the tables of a keyspace without anything. */
  #open(): Opened {
    const { ctx, env } = this;
    const { config } = this.#settings;
    applyMigrations(ctx.storage, "config", CONFIG_MIGRATIONS);
    const desk = new Desk({
      sql: configSql(ctx.storage),
      crc32c,
      now: Date.now,
      random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
      cacheBytes: config.cacheMiB * MIB,
      retention: { keepMs: config.keepHistoryHours * 3_600_000, keepRevisions: config.keepRevisions },
      excess: () => this.#usage.excess,
      onDamage: (error) => this.#log.error("stored data is damaged", {}, error),
      onChange: (revision, changes) => {
        waits.onChange(changes);
        shipping.onChange(changes);
        watches.hub.changed(revision, changes);
        feed.onChange(changes);
      },
      watchCount: () => watches.hub.watchCount,
      databaseBytes: () => ctx.storage.sql.databaseSize,
    });
    const shipping = new Shipping(desk.store, desk.keyspace);
    const watches = openWatches({
      ...{ ctx, env, crc32c, settings: this.#settings, hibernateAfterMs: config.hibernateAfterSeconds * 1000 },
      holder: "CONFIG_KEYSPACE",
      source: watchSource(desk, (error) => this.#log.error("a previous version is damaged", {}, error)),
    });
    const waits = new LockWaits({
      locks: desk.locks,
      inTurn: (job) => this.#inTurn(job),
      after: (ms, run) => {
        const timer = setTimeout(run, ms);
        return () => clearTimeout(timer);
      },
      now: Date.now,
    });
    const registration = new KeyspaceRegistration({ env, name: ctx.id.name, store: desk.store });
    const feed = new WebhookFeed(desk.keyspace, desk.store);
    const snapshots = new KeyspaceSnapshots({
      ctx,
      desk,
      crc32c,
      ensureRegistered: async () => (registration.isNeeded ? registration.ensure() : undefined),
      write: (run) => this.#guarded(run),
      onIdle: () => void this.#upkeep.schedule(),
    });
    return { desk, waits, shipping, watches, registration, feed, snapshots };
  }

  get #parts(): Opened {
    this.#opened ??= this.#open();
    return this.#opened;
  }

  get #desk(): Desk {
    return this.#parts.desk;
  }

  get #waits(): LockWaits {
    return this.#parts.waits;
  }

  get #watches(): WatchDesk {
    return this.#parts.watches;
  }

  get #shipping(): Shipping {
    return this.#parts.shipping;
  }

  /** The upgrade of a watch connection: wire/config-watch.ts. */
  override async fetch(request: Request): Promise<Response> {
    await this.#watches.wake();
    return this.#watches.open(request);
  }

  override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
    const waking = this.#watches.wake();
    if (waking) await waking;
    this.#watches.message(socket, data);
  }

  override webSocketClose(socket: WebSocket): void {
    this.#opened?.watches.closed(socket);
    // Unanswered, the client would wait until the object sleeps.
    socket.close();
  }

  override webSocketError(socket: WebSocket): void {
    this.#opened?.watches.closed(socket);
  }

  async call(frame: Uint8Array): Promise<Uint8Array> {
    const calls = readConfigCalls(frame);
    if (this.#unreadable) return refuseAll(calls, corrupt(this.#unreadable));
    if (calls.some(({ request }) => isWriting(request))) {
      const { registration } = this.#parts;
      const refusal = registration.isNeeded ? await registration.ensure() : undefined;
      if (refusal) return refuseAll(calls, refusal);
    }
    const damaged: ConfigCall[] = [];
    const answers = await this.#run(calls, damaged);
    if (damaged.length === 0) return answers;
    // What met damage did nothing: it is tried once more after the repair, whatever came of that.
    await this.#repair.all(this.#desk.store, this.#desk.damage);
    return inOrder(calls, [answers, await this.#run(damaged)]);
  }

  async #run(calls: readonly ConfigCall[], damaged?: ConfigCall[]): Promise<Uint8Array> {
    if (!calls.some(({ request }) => isWriting(request))) return this.#answer(calls, damaged);
    const answered = await refusalsAsValues(() => this.#inTurn(() => this.#answer(calls, damaged)));
    return answered instanceof Uint8Array ? answered : refuseAll(calls, answered);
  }

  /** Under a lease, which only a keyspace that is registered can have. */
  async acquire(request: AcquireRequest): Promise<AcquireAnswer | ConfigFailure> {
    return refusalsAsValues(async () => {
      const { key, token } = await this.#waits.acquire(request);
      return { kind: "acquired", header: this.#desk.header, key, fencingToken: token };
    });
  }

  async release(request: ReleaseRequest): Promise<{ readonly header: AnswerHeader } | ConfigFailure> {
    return refusalsAsValues(async () => {
      await this.#inTurn(() => this.#desk.locks.release(request));
      return { header: this.#desk.header };
    });
  }

  async ownership(name: BinaryKey): Promise<Ownership | ConfigFailure> {
    const { locks, header } = this.#desk;
    return refusalsAsValues(async () => ({ header, owner: locks.owner(name), waiting: locks.waiting(name) }));
  }

  async head(): Promise<Head> {
    return this.#shipping.head;
  }

  async pull(place: Place, waitMs: number): Promise<Uint8Array> {
    let shipment = this.#shipping.next(place);
    if (shipment.kind === "records" && shipment.records.length === 0 && waitMs > 0) {
      await atMost(waitMs, (wake) => this.#shipping.atNextChange(wake));
      shipment = this.#shipping.next(place);
    }
    const writer = new ByteWriter(4096);
    writeShipment(writer, shipment);
    return writer.take();
  }

  async beginCopy(): Promise<{ readonly head: Head; readonly chain: number }> {
    return { head: this.#shipping.head, chain: this.#desk.keyspace.chain };
  }

  async copyPage(after: BinaryKey, revision: number): Promise<CopiedPage> {
    if (revision < this.#desk.keyspace.compactedRevision)
      throw new Error("the state was compacted while it was copied");
    const { versions, isLast } = this.#desk.store.copyPage(after, revision, COPIED_PAGE_BYTES);
    const records = versions.map(({ seq, modRevision, stored }) => ({ seq, revision: modRevision, bytes: stored! }));
    return { records, lastKey: isLast ? null : versions.at(-1)!.key };
  }

  async snapshots(ask: SnapshotAsk): Promise<SnapshotAnswer | ConfigFailure> {
    return refusalsAsValues(() => this.#parts.snapshots.answer(ask));
  }

  async feed(ask: FeedAsk): Promise<FeedPage> {
    const { feed } = this.#parts;
    const page = feed.read(ask);
    if (page.kind === "compacted" || page.events.length > 0 || !page.isEnd || ask.waitMs === 0) return page;
    await atMost(ask.waitMs, (wake) => feed.atNextMatch(ask, wake));
    return feed.read({ ...ask, from: page.next });
  }

  async leave(): Promise<void> {
    leaveWatches(this.ctx, this.#watches);
  }

  async erase(incarnation: number): Promise<void> {
    const held = this.#parts.registration.incarnation;
    if (held > incarnation) return;
    await this.#meter.end();
    this.#watches.endAll("the namespace is deleted");
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
    if (held === 0) {
      this.#opened = undefined;
      return;
    }
    // What is in memory goes by a restart.
    await this.ctx.storage.sync();
    this.ctx.abort(BEGAN_ANEW.erased);
  }

  async metrics(): Promise<Record<string, number>> {
    return this.#samples();
  }

  #samples(): Record<string, number> {
    return {
      jade_config_calls_total: this.#callsTotal,
      jade_config_commits_total: this.#commitsTotal,
      jade_config_keys: this.#desk.keyspace.keyCount,
      jade_config_leases: this.#desk.leases.size,
      jade_config_damaged_total: this.#desk.damage.foundTotal,
      jade_config_repaired_total: this.#desk.damage.repairedTotal,
      ...this.#watches.metrics(),
    };
  }

  override async alarm(): Promise<void> {
    this.#upkeep.rang();
    if (!this.#opened) return;
    await this.#watches.wake();
    this.#guarded(() => {
      while (this.#desk.expireLeases());
      this.#desk.endTurn();
    });
    this.#watches.flush();
    await this.#upkeep.schedule();
  }

  /** Resolves in the turn that wrote; the output gate holds the answer until that is durable. A ConfigRefusal wrote nothing. */
  #inTurn<T>(job: () => T): Promise<T> {
    if (this.#jobs.length >= MAX_WAITING_JOBS)
      return Promise.reject(new ConfigRefusal("overloaded", `${MAX_WAITING_JOBS} writes wait for the keyspace`));
    return new Promise<T>((resolve, reject) => {
      let result: { readonly value: T } | { readonly refusal: ConfigRefusal };
      const run = (): void => {
        try {
          result = { value: job() };
        } catch (error) {
          result = { refusal: refusalOf(error) };
        }
      };
      const done = (): void => ("value" in result ? resolve(result.value) : reject(result.refusal));
      if (this.#jobs.length === 0) setTimeout(() => this.#turn(), 0);
      this.#jobs.push({ run, done, fail: reject });
    });
  }

  /** All work that came since the last turn, in one commit. */
  #turn(): void {
    const waking = this.#watches.wake();
    if (waking) {
      const go = (): void => this.#turn();
      return void waking.then(go, go);
    }
    const jobs = this.#jobs;
    this.#jobs = [];
    this.#commitsTotal++;
    try {
      this.#guarded(() => {
        for (const { run } of jobs) run();
        this.#desk.endTurn();
      });
      this.#watches.flush();
      for (const { done } of jobs) done();
      this.#usage.touch();
    } catch (error) {
      for (const { fail } of jobs) fail(error);
    }
    void this.#upkeep.schedule();
  }

  /** `damaged`: takes the calls that met damage, instead of their answers. */
  #answer(calls: readonly ConfigCall[], damaged?: ConfigCall[]): Uint8Array {
    const writer = this.#writer;
    writer.reset();
    this.#meter.touch();
    for (const call of calls) {
      this.#callsTotal++;
      const isTooMuch = writer.length > 0 && writer.length + mostAnswerBytes(call.request) > MAX_FRAME_ANSWER_BYTES;
      const answer = isTooMuch ? TOO_MUCH_AT_ONCE : this.#desk.run(call);
      if (damaged && !isTooMuch && this.#desk.metDamage) {
        damaged.push(call);
        continue;
      }
      writer.u32(call.id);
      writer.bytes(answer);
    }
    return writer.take();
  }

  /** After an exception memory may be ahead of storage: the object starts anew from what is durable. */
  #guarded(run: () => void): void {
    try {
      this.ctx.storage.transactionSync(run);
    } catch (error) {
      this.#log.error("keyspace restarts", {}, error);
      this.ctx.abort(String(error));
      throw error;
    }
  }
}

const kernels = createKernels(kernelModule);
const crc32c = (bytes: Uint8Array, seed?: number): number => kernels.crc32c(bytes, seed);
