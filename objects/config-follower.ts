// A zone's copy of a configuration keyspace: a thin shell of SQLite, timers and RPC around src/config/follower.ts.
// Guarantees: what it shows was durable at the owner first; a linearizable read shows at least what the owner had when the read came; no read
// is older than the caller allows; its watches hear of every revision once, and of none before the owner had it durably.
// Must not: write what its owner did not.
import { DurableObject } from "cloudflare:workers";
import kernelModule from "../dist/wasm/storage.wasm";
import { CONFIG_MIGRATIONS } from "../migrations/config.ts";
import { parseSettings } from "../src/cluster/settings.ts";
import { ConfigRefusal } from "../src/config/failure.ts";
import { Follower } from "../src/config/follower.ts";
import { WATCH_ELSEWHERE_MS } from "../src/config/limits.ts";
import { CorruptRecord, type DamagedPlace } from "../src/config/record.ts";
import { type Intact, intactOf } from "../src/config/repair.ts";
import { ConfigStore } from "../src/config/store.ts";
import { createKernels } from "../src/storage/kernels.ts";
import { createLogger, type Logger } from "../src/telemetry/logger.ts";
import { ByteWriter } from "../src/wire/bytes.ts";
import type { ConfigFailure } from "../src/wire/config.ts";
import { writeConfigAnswer } from "../src/wire/config-answers.ts";
import { readConfigCalls } from "../src/wire/config-requests.ts";
import { readShipment, type Shipment } from "../src/wire/shipment.ts";
import { configSql } from "./config-sql.ts";
import type { Env } from "./env.ts";
import { leaveWatches, openWatches } from "./keyspace-watches.ts";
import { applyMigrations } from "./migrate.ts";
import type { ConfigFollowerRpc, ConfigKeyspaceRpc, FollowerReadOptions } from "./rpc.ts";
import type { WatchDesk } from "./watch-desk.ts";
import { withDeadline } from "./with-deadline.ts";

const MIB = 1024 * 1024;
/** After records, before the next are asked for, unless somebody waits: what is written meanwhile comes by one call and one commit. Ms. */
const PULL_GATHER_MS = 5;
/** How long the owner holds a request for what is not there yet. Ms. */
const PULL_WAIT_MS = 10_000;
/** Beyond it the owner is away. Ms. */
const PULL_DEADLINE_MS = PULL_WAIT_MS + 5000;
/** A call to the owner that does not wait. Ms. */
const HEAD_DEADLINE_MS = 5000;
/** How long a read waits for the follower to catch up. Ms. */
const CATCH_UP_MS = 5000;
/** A follower that nobody asked for this long stops following. Ms. */
const IDLE_MS = 120_000;
/** How long a read of any age waits for a follower that nobody had asked for long. Ms. */
const RESUME_WAIT_MS = 500;
/** Pause after the owner did not answer. Ms. */
const RETRY_MS = 500;
const MISDIRECTED = 421;

export class ConfigFollower extends DurableObject<Env> implements ConfigFollowerRpc {
  readonly #follower: Follower;
  readonly #store: ConfigStore;
  readonly #log: Logger;
  readonly #writer = new ByteWriter(16 * 1024);
  /** `c<tenant>/<namespace>` */
  readonly #keyspaceName: string;
  #copying: Promise<void> | undefined;
  #damagedTotal = 0;
  #isPulling = false;
  /** It has not heard of its owner yet since it was asked again. */
  #isResuming = false;
  #hurry: () => void = () => undefined;
  #isCompacting = false;
  readonly #watches: WatchDesk;
  #elsewhereUntilMs = 0;
  #askedMs = 0;
  /** When the owner was last known to have nothing that is not here. Ms. */
  #freshMs = 0;
  /** Called when something was applied or became known. */
  #waiting = new Set<() => void>();
  /** The read-index call under way, and the one that follows it: a read may only rely on one that began after it came. */
  #heads: { current: Promise<number> | undefined; next: Promise<number> | undefined } = {
    current: undefined,
    next: undefined,
  };

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const settings = parseSettings(env.JADE_CONFIG);
    const write = (_: string, line: string): void => console.log(line);
    this.#log = createLogger({ level: settings.log.level, now: Date.now, write, fields: { part: "config-follower" } });
    const name = ctx.id.name ?? "";
    this.#keyspaceName = name.slice(name.indexOf("/") + 1);
    applyMigrations(ctx.storage, "config", CONFIG_MIGRATIONS);
    const crc32c = (bytes: Uint8Array, seed?: number): number => kernels.crc32c(bytes, seed);
    this.#store = new ConfigStore(configSql(ctx.storage), crc32c);
    this.#follower = new Follower({
      store: this.#store,
      crc32c,
      cacheBytes: settings.config.cacheMiB * MIB,
      onChange: (revision, changes) => this.#watches.hub.changed(revision, changes),
    });
    this.#watches = openWatches({
      ...{ ctx, env, settings, crc32c, source: this.#follower.watchSource },
      holder: "CONFIG_FOLLOWER",
      // It asks its owner all the while, so it does not sleep.
      hibernateAfterMs: Number.POSITIVE_INFINITY,
      copy: {
        caughtUp: () => this.#isAsOwner(),
        elsewhere: () => {
          this.#elsewhereUntilMs = Date.now() + WATCH_ELSEWHERE_MS;
        },
      },
    });
    if (this.#store.damage) this.#damaged(this.#store.damage);
    if (this.#watches.hub.connectionCount === 0) return;
    ctx.blockConcurrencyWhile(() => this.#watches.begin());
    this.#startPulling();
  }

  /** The upgrade of a watch connection, as at the owner. 421: the owner is to be asked. */
  override async fetch(request: Request): Promise<Response> {
    if (Date.now() < this.#elsewhereUntilMs) return new Response(null, { status: MISDIRECTED });
    const response = this.#watches.open(request);
    this.#startPulling();
    return response;
  }

  override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    this.#watches.message(socket, data);
  }

  override webSocketClose(socket: WebSocket): void {
    this.#watches.closed(socket);
    // Unanswered, the client would wait until the object sleeps.
    socket.close();
  }

  override webSocketError(socket: WebSocket): void {
    this.#watches.closed(socket);
  }

  /** For watches: what is told from now on is at least as new as what its client has seen of the owner. */
  async #isAsOwner(): Promise<boolean> {
    this.#startPulling();
    try {
      if ((await this.#caughtUp({ isLinearizable: true })) === undefined) return true;
    } catch (error) {
      this.#log.warn("keyspace's revision not learnt", {}, error);
    }
    if (!this.#follower.isFollowing) this.#watches.endAll("this copy is being filled: connect again", "resume");
    return false;
  }

  async read(frame: Uint8Array, options: FollowerReadOptions): Promise<Uint8Array> {
    this.#askedMs = Date.now();
    this.#startPulling();
    const refusal = await this.#caughtUp(options);
    try {
      return this.#answers(frame, refusal);
    } catch (error) {
      if (!(error instanceof CorruptRecord)) throw error;
      this.#damaged(error);
    }
    this.#guarded(() => this.#follower.distrust());
    await this.#copy().catch((error: unknown) => this.#log.warn("a keyspace is not copied", {}, error));
    return this.#answers(frame, await this.#caughtUp(options));
  }

  /** Its copy is made anew: what that skips cannot be told. */
  #damaged(error: CorruptRecord): void {
    this.#damagedTotal++;
    this.#log.error("a follower's copy is damaged and made anew", {}, error);
    this.#watches.endAll("this copy begins anew: connect again", "resume");
  }

  #answers(frame: Uint8Array, refusal: ConfigFailure | undefined): Uint8Array {
    const writer = this.#writer;
    const answers = readConfigCalls(frame).map(({ id, request }) => {
      writer.reset();
      writeConfigAnswer(writer, refusal ?? this.#answer(request));
      return { id, body: writer.take() };
    });
    writer.reset();
    for (const { id, body } of answers) {
      writer.u32(id);
      writer.bytes(body);
    }
    return writer.take();
  }

  /** A living version may have ended since: only what has caught up with its owner can tell. */
  async intact(place: DamagedPlace): Promise<Intact | null> {
    if (!this.#follower.isFollowing) return null;
    if (place.kind === "version") {
      this.#askedMs = Date.now();
      this.#startPulling();
      if (await this.#caughtUp({ isLinearizable: true })) return null;
    }
    return intactOf(this.#store, place) ?? null;
  }

  async metrics(): Promise<Record<string, number>> {
    return {
      jade_config_follower_revision: this.#follower.revision,
      jade_config_damaged_total: this.#damagedTotal,
      ...this.#watches.metrics(),
    };
  }

  async leave(): Promise<void> {
    leaveWatches(this.ctx, this.#watches);
  }

  async erase(): Promise<void> {
    this.#watches.endAll("the namespace is deleted");
    await this.ctx.storage.deleteAll();
    await this.ctx.storage.sync();
    // What is in memory goes by a restart, after the answer.
    setTimeout(() => this.ctx.abort("erased"), 0);
  }

  #answer(request: Parameters<typeof isRange>[0]) {
    if (!isRange(request))
      return { kind: "error", code: "invalidRequest", message: "followers answer ranges only" } as const;
    try {
      const { revision, term } = this.#follower;
      return { ...this.#follower.range(request), header: { revision, term } };
    } catch (error) {
      if (!(error instanceof ConfigRefusal)) throw error;
      return { kind: "error", code: error.code, message: error.message, details: error.details } as const;
    }
  }

  /** Waits until what is shown is as new as the caller asks. The result says that it did not come to that. */
  async #caughtUp({
    minRevision = 0,
    maxStalenessMs,
    isLinearizable,
  }: FollowerReadOptions): Promise<ConfigFailure | undefined> {
    const isFresh = maxStalenessMs === undefined || Date.now() - this.#freshMs <= maxStalenessMs;
    const least = isLinearizable || !isFresh ? Math.max(minRevision, await this.#ownerRevision()) : minRevision;
    // Of any age is not of minutes ago because nobody asked since.
    if (this.#isResuming) await this.#nextApplied(RESUME_WAIT_MS);
    const untilMs = Date.now() + CATCH_UP_MS;
    while (!this.#follower.isFollowing || this.#follower.revision < least) {
      const leftMs = untilMs - Date.now();
      if (leftMs <= 0) return { kind: "error", code: "unavailable", message: "the follower has not caught up" };
      await this.#nextApplied(leftMs);
    }
    return undefined;
  }

  /** What the owner has durably, asked for after now. Reads that come while a call is under way share the next one. */
  #ownerRevision(): Promise<number> {
    const heads = this.#heads;
    const ask = async (): Promise<number> => {
      try {
        return (await withDeadline(this.#owner().head(), HEAD_DEADLINE_MS, "ConfigKeyspace")).revision;
      } finally {
        heads.current = heads.next;
        heads.next = undefined;
      }
    };
    if (!heads.current) {
      heads.current = ask();
      return heads.current;
    }
    heads.next ??= heads.current.then(ask, ask);
    return heads.next;
  }

  /** Until somebody waits, at most a moment. */
  #gather(): Promise<void> {
    return new Promise((resolve) => {
      this.#hurry = resolve;
      setTimeout(resolve, PULL_GATHER_MS);
    });
  }

  #nextApplied(ms: number): Promise<void> {
    this.#hurry();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#waiting.add(done);
    });
  }

  #startPulling(): void {
    if (this.#isPulling) return;
    this.#isPulling = true;
    this.#isResuming = true;
    void this.#pullWhileAsked();
  }

  async #pullWhileAsked(): Promise<void> {
    try {
      await this.#pullOnce(0);
      this.#isResuming = false;
      while (this.#watches.hub.connectionCount > 0 || Date.now() - this.#askedMs < IDLE_MS)
        await this.#pullOnce(PULL_WAIT_MS);
    } finally {
      this.#isPulling = false;
    }
  }

  async #pullOnce(waitMs: number): Promise<void> {
    try {
      const frame = await withDeadline(
        // One that does not follow yet must hear at once that there is nothing to copy.
        this.#owner().pull(this.#follower.place, this.#follower.isFollowing ? waitMs : 0),
        PULL_DEADLINE_MS,
        "ConfigKeyspace",
      );
      const shipment = readShipment(frame);
      this.#endWatchesUnlessContinued(shipment);
      const isTaken = this.#guarded(() => this.#follower.take(shipment));
      this.#watches.flush();
      if (!isTaken) await this.#copy();
      else if (this.#follower.revision >= shipment.head.revision) this.#freshMs = Date.now();
      this.#wake();
      this.#compact();
      if (shipment.kind === "records" && this.#waiting.size === 0) await this.#gather();
    } catch (error) {
      this.#log.warn("keyspace not followed", {}, error);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** What a copy skips cannot be told. An owner that is behind what was shown is another keyspace under the same name. */
  #endWatchesUnlessContinued({ kind, head }: Shipment): void {
    // One that does not follow has not told anybody anything.
    if (kind === "records" || !this.#follower.isFollowing) return;
    const { revision, term } = this.#follower;
    if (head.revision < revision || head.term < term) this.#watches.endAll("the namespace began anew");
    else this.#watches.endAll("this copy begins anew: connect again", "resume");
  }

  /** A copy of the owner's state of one revision. One at a time. */
  #copy(): Promise<void> {
    this.#copying ??= this.#copyAll().finally(() => {
      this.#copying = undefined;
    });
    return this.#copying;
  }

  async #copyAll(): Promise<void> {
    while (!this.#guarded(() => this.#follower.wipe())) await new Promise((resolve) => setTimeout(resolve, 0));
    const { head, chain } = await withDeadline(this.#owner().beginCopy(), HEAD_DEADLINE_MS, "ConfigKeyspace");
    let after = "";
    for (;;) {
      const page = this.#owner().copyPage(after, head.revision);
      const { records, lastKey } = await withDeadline(page, HEAD_DEADLINE_MS, "ConfigKeyspace");
      this.#guarded(() => this.#follower.copy(records));
      if (lastKey === null) break;
      after = lastKey;
    }
    this.#guarded(() => this.#follower.endCopy(head, chain));
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #compact(): void {
    if (this.#isCompacting || !this.#follower.isFollowing) return;
    this.#isCompacting = true;
    const step = (): void => {
      const isDone = this.#guarded(() => this.#follower.compactStep());
      if (isDone) this.#isCompacting = false;
      else setTimeout(step, 0);
    };
    step();
  }

  #owner(): ConfigKeyspaceRpc {
    const objects = this.env.CONFIG_KEYSPACE;
    return objects.get(objects.idFromName(this.#keyspaceName));
  }

  /** After an exception memory may be ahead of storage: the object starts anew from what is durable. */
  #guarded<T>(run: () => T): T {
    try {
      return this.ctx.storage.transactionSync(run);
    } catch (error) {
      this.#log.error("follower restarts", {}, error);
      this.ctx.abort(String(error));
      throw error;
    }
  }
}

type AnyRequest = ReturnType<typeof readConfigCalls>[number]["request"];

function isRange(request: AnyRequest): request is Extract<AnyRequest, { kind: "range" }> {
  return request.kind === "range";
}

const kernels = createKernels(kernelModule);
