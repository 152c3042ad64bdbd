// The one owner of a configuration keyspace: a thin shell of SQLite, alarms and RPC around src/config/desk.ts.
// Guarantees: what `call` answers is durable (one commit for all calls of a turn, behind the output gate); calls run in the order
// they came. Must not: decide anything about revisions, leases or versions.
import { DurableObject } from "cloudflare:workers";
import kernelModule from "../dist/wasm/storage.wasm";
import { CONFIG_MIGRATIONS } from "../migrations/config.ts";
import { parseSettings } from "../src/cluster/settings.ts";
import { Desk } from "../src/config/desk.ts";
import { createKernels } from "../src/storage/kernels.ts";
import type { SqlStorage as ConfigSql } from "../src/storage/types.ts";
import { createLogger, type Logger } from "../src/telemetry/logger.ts";
import { ByteWriter } from "../src/wire/bytes.ts";
import { type ConfigCall, isWriting, readConfigCalls } from "../src/wire/config-requests.ts";
import type { Env } from "./env.ts";
import { applyMigrations } from "./migrate.ts";
import type { ConfigKeyspaceRpc } from "./rpc.ts";

/** Frames that may wait for the turn's end; more means that the object cannot keep up. */
const MAX_WAITING_FRAMES = 10_000;
const MIB = 1024 * 1024;
/** Memory for the versions used last. */
const CACHE_BYTES = 64 * MIB;
/** Compaction goes on after each slice with what waits in between. Ms. */
const COMPACTION_PAUSE_MS = 0;

interface Waiting {
  readonly calls: readonly ConfigCall[];
  readonly resolve: (frame: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

export class ConfigKeyspace extends DurableObject<Env> implements ConfigKeyspaceRpc {
  readonly #desk: Desk;
  readonly #log: Logger;
  readonly #writer = new ByteWriter(64 * 1024);
  #waiting: Waiting[] = [];
  #isCompacting = false;
  #alarmAtMs = Number.POSITIVE_INFINITY;
  #callsTotal = 0;
  #commitsTotal = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const settings = parseSettings(env.JADE_CONFIG);
    const write = (_: string, line: string): void => console.log(line);
    this.#log = createLogger({ level: settings.log.level, now: Date.now, write, fields: { part: "config" } });
    applyMigrations(ctx.storage, "config", CONFIG_MIGRATIONS);
    const sql = ctx.storage.sql;
    const storage: ConfigSql = {
      exec: <Row>(query: string, ...bindings: readonly (string | number | null | ArrayBuffer | Uint8Array)[]) =>
        sql.exec(query, ...(bindings as SqlStorageValue[])) as unknown as Iterable<Row>,
      transactionSync: (run) => ctx.storage.transactionSync(run),
    };
    this.#desk = new Desk({
      sql: storage,
      crc32c: (bytes, seed) => kernels.crc32c(bytes, seed),
      now: Date.now,
      random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
      cacheBytes: CACHE_BYTES,
      onChange: () => undefined,
      databaseBytes: () => sql.databaseSize,
    });
    ctx.blockConcurrencyWhile(() => this.#schedule());
  }

  async call(frame: Uint8Array): Promise<Uint8Array> {
    const calls = readConfigCalls(frame);
    if (!calls.some(({ request }) => isWriting(request))) return this.#answer(calls);
    if (this.#waiting.length >= MAX_WAITING_FRAMES) throw new Error(`${MAX_WAITING_FRAMES} frames wait`);
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setTimeout(() => this.#turn(), 0);
      this.#waiting.push({ calls, resolve, reject });
    });
  }

  async erase(): Promise<void> {
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
    this.ctx.abort("erased");
  }

  async metrics(): Promise<Record<string, number>> {
    return {
      jade_config_calls_total: this.#callsTotal,
      jade_config_commits_total: this.#commitsTotal,
      jade_config_keys: this.#desk.keyspace.keyCount,
    };
  }

  override async alarm(): Promise<void> {
    this.#alarmAtMs = Number.POSITIVE_INFINITY;
    this.#guarded(() => {
      while (this.#desk.expireLeases());
      this.#desk.endTurn();
    });
    await this.#schedule();
  }

  /** All calls that came since the last turn, in one commit. */
  #turn(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#commitsTotal++;
    try {
      this.#guarded(() => {
        const frames = waiting.map(({ calls }) => this.#answer(calls));
        this.#desk.endTurn();
        for (const [index, { resolve }] of waiting.entries()) resolve(frames[index]!);
      });
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
    void this.#schedule();
  }

  #answer(calls: readonly ConfigCall[]): Uint8Array {
    const writer = this.#writer;
    writer.reset();
    for (const call of calls) {
      this.#callsTotal++;
      writer.u32(call.id);
      writer.bytes(this.#desk.run(call));
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

  /** The one alarm rings for the lease that may end first; compaction goes on in timers of its own. */
  async #schedule(): Promise<void> {
    if (this.#desk.mustCompact && !this.#isCompacting) {
      this.#isCompacting = true;
      setTimeout(() => this.#compact(), COMPACTION_PAUSE_MS);
    }
    const at = this.#desk.leases.nextDueMs;
    if (at >= this.#alarmAtMs) return;
    this.#alarmAtMs = at;
    await this.ctx.storage.setAlarm(at);
  }

  #compact(): void {
    this.#isCompacting = false;
    this.#guarded(() => this.#desk.compactStep());
    void this.#schedule();
  }
}

const kernels = createKernels(kernelModule);
