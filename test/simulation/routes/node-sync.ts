// Runs the shipped comparisons (SyncJob) of one simulated node, one step at a time, as its object does with timers and alarms.
// Guarantees: what a crashed process began goes no further. Must not: be a second implementation of any of it.
import { RING_TENANT } from "../../../src/replication/fence.ts";
import { SyncRunner } from "../../../src/replication/sync-runner.ts";
import type { SimulatedNode } from "./world.ts";

/** Turns of the microtask queue in which an answer is read, and a comparison goes on with it: some dozens of promises in a row. */
const PAGE_TICKS = 40;
/** As the object does: a source that does not answer must not hold the work up for ever. */
const SOURCE_TIMEOUT_MS = 150;

export class NodeSync {
  readonly #node: SimulatedNode;
  /** Grows with every start and stop: what an earlier process began must not act. */
  #life = 0;
  #running = false;
  runner: SyncRunner;
  /** Told when a rebuild is complete. */
  onRebuilt: (() => void) | undefined;

  constructor(node: SimulatedNode) {
    this.#node = node;
    this.runner = this.#boot();
  }

  stop(): void {
    this.#life++;
    this.#running = false;
  }

  start(): void {
    this.stop();
    this.runner = this.#boot();
    if (this.#node.standing.isRebuilding) this.runner.rebuild(() => true);
  }

  /** A step where none is under way. */
  tick(): void {
    if (this.#running || !this.runner.isDue) return;
    this.#running = true;
    this.#step(this.#life);
  }

  #step(life: number): void {
    const wasRebuilding = this.#node.standing.isRebuilding;
    void this.runner.step().then((result) => {
      if (life !== this.#life) return;
      if (wasRebuilding && !this.#node.standing.isRebuilding) this.onRebuilt?.();
      if (result === "more")
        this.#node.world.after(this.#node.world.syncPauseMs, () => life === this.#life && this.#step(life));
      else this.#running = false;
    });
  }

  #boot(): SyncRunner {
    const { world, info, standing } = this.#node;
    const life = this.#life;
    const alive = <T>(work: Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        const timer = world.after(SOURCE_TIMEOUT_MS, () => life === this.#life && reject(new Error("late")));
        const end = (run: () => void): void => {
          timer.cancelled = true;
          world.settles(PAGE_TICKS);
          if (life === this.#life) run();
        };
        work.then(
          (value) => end(() => resolve(value)),
          (error) => end(() => reject(error)),
        );
      });
    const self = info.id;
    const environment: ConstructorParameters<typeof SyncRunner>[0] = {
      self,
      recordWindows: 2,
      // One, so that most happens between them.
      ringPages: 1,
      digestRows: { read: 3, compared: 1 },
      ring: () => alive(Promise.resolve(world.ringSeenBy(self))),
      routeOf: (tenant) => alive(world.routeOf(tenant)),
      page: (id, request) => {
        const read = (node: SimulatedNode): Promise<Uint8Array> => {
          world.settles(PAGE_TICKS);
          return node.page(request);
        };
        return alive(id === self ? read(this.#node) : world.rpc(id, read));
      },
      call: (id, frame) =>
        alive(id === self ? Promise.resolve(this.#node.handle(frame.slice())!) : world.call(id, frame)),
      horizon: () => standing.horizon,
      own: {
        scan: (options) => this.#node.engine.scan(options),
        forget: (rows) => {
          if (!world.sabotage.keepsStrays) this.#node.replica.forget(rows);
        },
        changedTenants: () => standing.routes().flatMap(({ tenant }) => (tenant === RING_TENANT ? [] : [tenant])),
        routeRevision: (tenant) => standing.routeRevision(tenant),
        recordRoute: (tenant, revision) => standing.recordRoute(tenant, revision),
      },
      takeRecords: (epoch, records) => {
        for (const { key, record } of records) this.#node.replica.importRecord(epoch, key, record);
        this.#node.engine.commit();
      },
      takeRoutes: (routes) => {
        for (const { tenant, revision } of routes) standing.recordRoute(tenant, revision);
      },
    };
    return new SyncRunner(environment, standing);
  }
}
