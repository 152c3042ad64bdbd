// Runs the comparisons of one storage node (replication/sync-runner.ts) over the other nodes' RPC: rebuild, joining, repair.
// Guarantees: one step at a time with a pause between, so that reads and writes go on; resumed from SQLite after a restart.
// Must not: decide anything.
import { Ring } from "../src/cluster/ring.ts";
import { parseSettings } from "../src/cluster/settings.ts";
import { RING_TENANT } from "../src/replication/fence.ts";
import type { HintLog } from "../src/replication/hint-log.ts";
import {
  DIGEST_ROWS_COMPARED,
  REBUILD_PAUSE_MS,
  SYNC_DIGEST_ROWS,
  SYNC_RECORD_WINDOWS,
  SYNC_RING_PAGES,
} from "../src/replication/limits.ts";
import type { Replica } from "../src/replication/replica.ts";
import type { Standing } from "../src/replication/standing.ts";
import { type RunnerEnvironment, SyncRunner } from "../src/replication/sync-runner.ts";
import { answerPage } from "../src/replication/sync-source.ts";
import { restMs } from "../src/replication/throttle.ts";
import type { StorageEngine } from "../src/storage/types.ts";
import type { Env } from "./env.ts";
import { withDeadline } from "./with-deadline.ts";

/** Longest a source may take for a page or a frame. Ms. */
const SOURCE_TIMEOUT_MS = 5000;
/** How old the ring may be by which ranges are compared. Ms. */
const RING_TTL_MS = 2000;
/** Between two steps: a page of 512 rows each is at most some 50 000 rows a second. Ms. */
const STEP_PAUSE_MS = 10;
/** Of a page that is compared slowly on purpose. Ms. */
const MAX_THROTTLE_MS = 60_000;
/** Before a step that failed is tried again. Ms. */
const RETRY_MS = 500;

export interface ReplicaSyncOptions {
  readonly env: Env;
  readonly nodeId: string;
  readonly engine: StorageEngine;
  readonly replica: Replica;
  readonly standing: Standing;
  readonly hints: HintLog;
  readonly waitUntil: (work: Promise<unknown>) => void;
  /** Steps went by; a rebuild may be complete. */
  readonly afterStep: () => void;
  readonly onError: (error: unknown) => void;
}

function isEmpty(engine: StorageEngine): boolean {
  const { tableRows, memtableRows } = engine.stats();
  return tableRows + memtableRows === 0;
}

export class ReplicaSync {
  readonly runner: SyncRunner;
  readonly environment: RunnerEnvironment;
  readonly #options: ReplicaSyncOptions;
  readonly #startedAtMs = Date.now();
  readonly #repairKeysPerSecond: number;
  #ring: { readonly ring: Ring; readonly atMs: number } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStepping = false;

  constructor(options: ReplicaSyncOptions) {
    this.#options = options;
    const { engine, standing, env } = options;
    const { repairKeysPerSecond } = parseSettings(env.JADE_CONFIG ?? "{}").keyValue;
    this.#repairKeysPerSecond = repairKeysPerSecond || Number.POSITIVE_INFINITY;
    this.environment = this.#environment();
    this.runner = new SyncRunner(this.environment, standing);
    if (standing.isRebuilding) this.runner.rebuild(() => isEmpty(engine));
  }

  #environment(): RunnerEnvironment {
    const { env, nodeId, replica, engine, standing } = this.#options;
    const peer = (id: string) => env.KEY_VALUE_REPLICA.get(env.KEY_VALUE_REPLICA.idFromName(id));
    return {
      self: nodeId,
      recordWindows: SYNC_RECORD_WINDOWS,
      ringPages: SYNC_RING_PAGES,
      digestRows: { read: SYNC_DIGEST_ROWS, compared: DIGEST_ROWS_COMPARED },
      ring: () => this.#currentRing(),
      routeOf: async (tenant) => {
        const stub = env.TENANT.get(env.TENANT.idFromName(`t${tenant}`));
        const view = await withDeadline(stub.viewSince(null), SOURCE_TIMEOUT_MS, "Tenant");
        return view === null || view === "unchanged" ? undefined : view;
      },
      page: (id, request) =>
        id === nodeId ? this.page(request) : withDeadline(peer(id).page(request), SOURCE_TIMEOUT_MS, id),
      call: async (id, frame) =>
        id === nodeId ? await replica.handle(frame) : await withDeadline(peer(id).call(frame), SOURCE_TIMEOUT_MS, id),
      horizon: () => standing.purgeHorizon(),
      own: {
        scan: (scan) => engine.scan(scan),
        forget: (rows) => replica.forget(rows),
        changedTenants: () =>
          standing
            .routes()
            .flatMap(({ tenant }) => (tenant === RING_TENANT ? [] : [tenant]))
            .sort((a, b) => a - b),
        routeRevision: (tenant) => standing.routeRevision(tenant),
        recordRoute: (tenant, revision) => standing.recordRoute(tenant, revision),
      },
      takeRecords: (epoch, records) => {
        for (const { key, record } of records) replica.importRecord(epoch, key, record);
        engine.commit();
      },
      takeRoutes: (routes) => {
        for (const { tenant, revision } of routes) standing.recordRoute(tenant, revision);
      },
    };
  }

  page(request: Uint8Array): Promise<Uint8Array> {
    const { engine, replica, standing } = this.#options;
    const facts = {
      isRebuilding: () => standing.isRebuilding,
      isFilled: (epoch: number) => standing.isFilled(epoch),
      purgeHorizon: () => standing.purgeHorizon(),
      routeRevision: (tenant: number) => standing.routeRevision(tenant),
    };
    const recordRoute = (tenant: number, revision: number): void => standing.recordRoute(tenant, revision);
    const { actor, digests } = replica;
    return answerPage({ engine, actor, digests, facts, recordRoute, routes: () => standing.routes() }, request);
  }

  /** Goes on with what is due, unless it is going on. */
  wake(delayMs = 0): void {
    const { standing, hints } = this.#options;
    if (this.#timer !== undefined || this.#isStepping) return;
    if (hints.hasDirtyRanges && !this.runner.isRepairingRange) {
      const dirty = hints.takeDirtyRange();
      if (dirty) this.runner.repairRange(dirty);
    }
    if (!standing.hasOpenJobs) return;
    // What the lost disk answered last must not be waited for any more (spec RP-47).
    const pauseMs = standing.isRebuilding ? this.#startedAtMs + REBUILD_PAUSE_MS - Date.now() : 0;
    this.#timer = setTimeout(() => this.#options.waitUntil(this.#step()), Math.max(delayMs, pauseMs, 0));
  }

  async #step(): Promise<void> {
    this.#timer = undefined;
    this.#isStepping = true;
    let delayMs = RETRY_MS;
    let throttleMs = 0;
    const { standing } = this.#options;
    const before = { compared: standing.rowsComparedTotal, read: standing.rowsReadTotal };
    try {
      const { keysPerSecond = Number.POSITIVE_INFINITY } = this.runner;
      const result = await this.runner.step();
      // What was compared, or read for digests, too fast is waited for.
      throttleMs = restMs([
        { count: standing.rowsComparedTotal - before.compared, perSecond: keysPerSecond },
        { count: standing.rowsReadTotal - before.read, perSecond: this.#repairKeysPerSecond },
      ]);
      delayMs = result === "waiting" ? RETRY_MS : Math.max(STEP_PAUSE_MS, Math.min(throttleMs, MAX_THROTTLE_MS));
    } catch (error) {
      this.#options.onError(error);
    } finally {
      this.#isStepping = false;
    }
    // What follows of a step wakes this at once.
    if (throttleMs > STEP_PAUSE_MS) this.wake(delayMs);
    this.#options.afterStep();
    this.wake(delayMs);
  }

  async #currentRing(): Promise<Ring> {
    const held = this.#ring;
    if (held && Date.now() - held.atMs < RING_TTL_MS) return held.ring;
    const { env } = this.#options;
    const directory = env.DIRECTORY.get(env.DIRECTORY.idFromName("system"));
    const { nodes, ring: state } = await withDeadline(directory.view(), SOURCE_TIMEOUT_MS, "Directory");
    const ring = new Ring(nodes, {}, state);
    this.#ring = { ring, atMs: Date.now() };
    return ring;
  }
}
