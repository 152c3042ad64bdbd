// The one owner of a configuration keyspace: a thin shell of SQLite, alarms and RPC around src/config/desk.ts.
// Guarantees: what `call` answers is durable (one commit for all calls of a turn, behind the output gate); calls run in the order
// they came. Must not: decide anything about revisions, leases or versions.
import { DurableObject } from "cloudflare:workers";
import kernelModule from "../dist/wasm/storage.wasm";
import { CONFIG_MIGRATIONS } from "../migrations/config.ts";
import { parseSettings, type Settings } from "../src/cluster/settings.ts";
import { mostAnswerBytes } from "../src/config/answer-bound.ts";
import { Desk, failureOf } from "../src/config/desk.ts";
import { ConfigRefusal } from "../src/config/failure.ts";
import { MAX_FRAME_ANSWER_BYTES, PENDING_INDEX_MS } from "../src/config/limits.ts";
import { LockWaits } from "../src/config/lock-waits.ts";
import { type Head, type Place, Shipping, writeShipment } from "../src/config/shipping.ts";
import { WatchRows } from "../src/config/watch-rows.ts";
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
import { writeConfigAnswer } from "../src/wire/config-answers.ts";
import { type ConfigCall, isWriting, readConfigCalls } from "../src/wire/config-requests.ts";
import { configSql } from "./config-sql.ts";
import type { Env } from "./env.ts";
import { KeyspaceMeter } from "./keyspace-metrics.ts";
import { KeyspaceRegistration } from "./keyspace-registration.ts";
import { applyMigrations } from "./migrate.ts";
import type { ConfigKeyspaceRpc, CopiedPage, TenantRpc } from "./rpc.ts";
import { WatchDesk } from "./watch-desk.ts";
import { withDeadline } from "./with-deadline.ts";

/** What may wait for the turn's end; more means that the object cannot keep up. */
const MAX_WAITING_JOBS = 10_000;
const MIB = 1024 * 1024;
/** Compaction goes on after each slice with what waits in between. Ms. */
const COMPACTION_PAUSE_MS = 0;

/** How long a look at watchers' credentials may take. Ms. */
const GUARD_DEADLINE_MS = 1000;

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
}

export class ConfigKeyspace extends DurableObject<Env> implements ConfigKeyspaceRpc {
  readonly #settings: Settings;
  readonly #log: Logger;
  readonly #writer = new ByteWriter(64 * 1024);
  readonly #meter: KeyspaceMeter;
  /** Undefined = erased, and not asked since: there are no tables. */
  #opened: Opened | undefined;
  #jobs: Job[] = [];
  #isCompacting = false;
  #isFlushing = false;
  #alarmAtMs = Number.POSITIVE_INFINITY;
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
      read: () => this.#opened && this.#samples(),
      waitUntil: (work) => ctx.waitUntil(work),
    });
    this.#opened = this.#open();
    ctx.blockConcurrencyWhile(async () => {
      await this.#schedule();
      await this.#watches.begin();
    });
  }

  /** What is on disk, or the tables of a keyspace without anything. */
  #open(): Opened {
    const { ctx, env } = this;
    const { config } = this.#settings;
    applyMigrations(ctx.storage, "config", CONFIG_MIGRATIONS);
    const desk = new Desk({
      sql: configSql(ctx.storage),
      crc32c: (bytes, seed) => kernels.crc32c(bytes, seed),
      now: Date.now,
      random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
      cacheBytes: config.cacheMiB * MIB,
      retention: { keepMs: config.keepHistoryHours * 3_600_000, keepRevisions: config.keepRevisions },
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
    const watches = this.#openWatches(desk);
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
    return { desk, waits, shipping, watches, registration, feed };
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

  #openWatches({ keyspace, store }: Desk): WatchDesk {
    const settings = this.#settings;
    const tenant = (number: number): TenantRpc => this.env.TENANT.get(this.env.TENANT.idFromName(`t${number}`));
    return new WatchDesk({
      ctx: this.ctx,
      source: watchSource({ keyspace, store }, (error) => this.#log.error("a previous version is damaged", {}, error)),
      rows: new WatchRows(configSql(this.ctx.storage), (bytes, seed) => kernels.crc32c(bytes, seed)),
      viewSince: (number, revision) => withDeadline(tenant(number).viewSince(revision), GUARD_DEADLINE_MS, "Tenant"),
      staleMs: settings.auth.staleTenantViewMinutes * 60_000,
      maxConnections: settings.config.maxWatchConnections,
      hibernateAfterMs: settings.config.hibernateAfterSeconds * 1000,
      now: Date.now,
      later: (delayMs, run) => void setTimeout(run, delayMs),
    });
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
    if (!calls.some(({ request }) => isWriting(request))) return this.#answer(calls);
    const { registration } = this.#parts;
    const refusal = registration.isNeeded ? await registration.ensure() : undefined;
    if (refusal) return this.#refuse(calls, refusal);
    const answered = await refusalsAsValues(() => this.#inTurn(() => this.#answer(calls)));
    return answered instanceof Uint8Array ? answered : this.#refuse(calls, answered);
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

  async ownership(name: BinaryKey): Promise<Ownership> {
    const { locks, header } = this.#desk;
    return { header, owner: locks.owner(name), waiting: locks.waiting(name) };
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

  async copyPage(after: BinaryKey, revision: number, limit: number): Promise<CopiedPage> {
    if (revision < this.#desk.keyspace.compactedRevision)
      throw new Error("the state was compacted while it was copied");
    const versions = this.#desk.store.copyPage(after, revision, limit);
    const records = versions.map(({ seq, modRevision, stored }) => ({ seq, revision: modRevision, bytes: stored! }));
    return { records, lastKey: versions.length < limit ? null : versions.at(-1)!.key };
  }

  async feed(ask: FeedAsk): Promise<FeedPage> {
    const { feed } = this.#parts;
    const page = feed.read(ask);
    if (page.kind === "compacted" || page.events.length > 0 || !page.isEnd || ask.waitMs === 0) return page;
    await atMost(ask.waitMs, (wake) => feed.atNextMatch(ask, wake));
    return feed.read({ ...ask, from: page.next });
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
    this.ctx.abort("erased");
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
      ...this.#watches.metrics(),
    };
  }

  override async alarm(): Promise<void> {
    this.#alarmAtMs = Number.POSITIVE_INFINITY;
    if (!this.#opened) return;
    await this.#watches.wake();
    this.#guarded(() => {
      while (this.#desk.expireLeases());
      this.#desk.endTurn();
    });
    this.#watches.flush();
    await this.#schedule();
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
          if (!(error instanceof ConfigRefusal)) throw error;
          result = { refusal: error };
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
    } catch (error) {
      for (const { fail } of jobs) fail(error);
    }
    void this.#schedule();
  }

  #refuse(calls: readonly ConfigCall[], refusal: ConfigFailure): Uint8Array {
    const body = new ByteWriter(256);
    writeConfigAnswer(body, refusal);
    const writer = new ByteWriter(256);
    for (const { id } of calls) {
      writer.u32(id);
      writer.bytes(body.view());
    }
    return writer.take();
  }

  #answer(calls: readonly ConfigCall[]): Uint8Array {
    const writer = this.#writer;
    writer.reset();
    this.#meter.touch();
    for (const call of calls) {
      this.#callsTotal++;
      const isTooMuch = writer.length > 0 && writer.length + mostAnswerBytes(call.request) > MAX_FRAME_ANSWER_BYTES;
      writer.u32(call.id);
      writer.bytes(isTooMuch ? TOO_MUCH_AT_ONCE : this.#desk.run(call));
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

  /** The one alarm rings for what is due first; compaction goes on in timers of its own. */
  async #schedule(): Promise<void> {
    if (this.#desk.mustCompact && !this.#isCompacting) {
      this.#isCompacting = true;
      setTimeout(() => this.#compact(), COMPACTION_PAUSE_MS);
    }
    if (this.#desk.store.pendingRows > 0 && !this.#isFlushing) {
      this.#isFlushing = true;
      setTimeout(() => this.#flush(), PENDING_INDEX_MS);
    }
    const at = this.#desk.nextDueMs;
    if (at >= this.#alarmAtMs) return;
    this.#alarmAtMs = at;
    await this.ctx.storage.setAlarm(at);
  }

  /** Once writing pauses the index is whole. */
  #flush(): void {
    this.#isFlushing = false;
    if (this.#opened) this.#guarded(() => this.#desk.store.flush());
  }

  #compact(): void {
    this.#isCompacting = false;
    if (!this.#opened) return;
    this.#guarded(() => this.#desk.compactStep());
    void this.#schedule();
  }
}

const kernels = createKernels(kernelModule);

/** Not run: its answer might not fit into the message any more. */
const TOO_MUCH_AT_ONCE = ((): Uint8Array => {
  const message = "the calls that came with this one answer too much for one message; nothing was done, ask again";
  const body = new ByteWriter(256);
  writeConfigAnswer(body, { kind: "error", code: "overloaded", message });
  return body.take();
})();

async function refusalsAsValues<T>(run: () => Promise<T>): Promise<T | ConfigFailure> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof ConfigRefusal) return failureOf(error);
    throw error;
  }
}

/** Waits for a call of `wake`. `until` asks for it, and its result takes that back. */
function atMost(waitMs: number, until: (wake: () => void) => () => void): Promise<void> {
  return new Promise((resolve) => {
    const cancel = until(() => {
      clearTimeout(timer);
      resolve();
    });
    const timer = setTimeout(() => {
      cancel();
      resolve();
    }, waitMs);
  });
}
