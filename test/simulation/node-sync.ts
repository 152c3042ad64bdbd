// Runs the shipped comparisons (SyncJob) of one simulated node, one step at a time, as its object does with timers and alarms.
// Guarantees: what a crashed process began goes no further. Must not: be a second implementation of any of it.
import type { TenantRoute } from "../../src/access/types.ts";
import { Ring } from "../../src/cluster/ring.ts";
import { newSync, type SyncEnvironment, SyncJob, type SyncState } from "../../src/replication/sync-job.ts";
import type { SimulatedNode } from "./world.ts";

/** As the object does: a source that does not answer must not hold the work up for ever. */
const SOURCE_TIMEOUT_MS = 150;
/** Steps run one after the other within a tick of the world. */
const PAUSE_MS = 1;

export class NodeSync {
  readonly #node: SimulatedNode;
  /** Grows with every start and stop: what an earlier process began must not act. */
  #life = 0;
  #running = false;
  /** Told when a rebuild is complete. */
  onRebuilt: (() => void) | undefined;

  constructor(node: SimulatedNode) {
    this.#node = node;
  }

  stop(): void {
    this.#life++;
    this.#running = false;
  }

  start(): void {
    this.stop();
    const { standing } = this.#node;
    if (standing.isRebuilding && ![...standing.jobs.values()].some((job) => job.kind === "rebuild"))
      this.add(newSync({ epoch: standing.nextEpoch(), kind: "rebuild" }));
  }

  add(state: SyncState): void {
    this.#node.standing.jobs.set(state.epoch, state);
  }

  /** Goes on with the first job that is not done. */
  tick(): void {
    if (this.#running) return;
    const { standing } = this.#node;
    const due = [...standing.jobs.values()].filter((job) => job.phase !== "done");
    const job = due.find(({ kind }) => kind === "rebuild") ?? due[0];
    if (!job) return;
    this.#running = true;
    const life = this.#life;
    const environment = this.#environment(life, job.epoch);
    this.#run(new SyncJob(environment, job), life);
  }

  #run(job: SyncJob, life: number): void {
    void job.step().then((result) => {
      if (life !== this.#life) return;
      if (result === "more") return void this.#node.world.after(PAUSE_MS, () => life === this.#life && this.#run(job, life));
      this.#running = false;
      if (result === "done" && job.state.kind === "rebuild") this.onRebuilt?.();
    });
  }

  #environment(life: number, first: number): SyncEnvironment {
    const { world, info } = this.#node;
    let held = first;
    const must = (): void => {
      if (life !== this.#life) throw new Error("the process is gone");
    };
    const alive = <T>(work: Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        const timer = world.after(SOURCE_TIMEOUT_MS, () => life === this.#life && reject(new Error("late")));
        const end = (run: () => void): void => {
          timer.cancelled = true;
          if (life === this.#life) run();
        };
        work.then(
          (value) => end(() => resolve(value)),
          (error) => end(() => reject(error)),
        );
      });
    const self = info.id;
    return {
      self,
      ring: () => alive(Promise.resolve(new Ring(world.view().nodes))),
      routeOf: (tenant) => alive(world.routeOf(tenant).then((route) => route ?? this.defaultRoute)),
      page: (id, request) => alive(id === self ? this.#node.page(request) : world.page(id, request)),
      call: (id, frame) =>
        alive(id === self ? Promise.resolve(this.#node.handle(frame.slice())!) : world.call(id, frame)),
      takeRecords: (epoch, records) => {
        must();
        for (const { key, record } of records) this.#node.replica.importRecord(epoch, key, record);
        this.#node.engine.commit();
      },
      nextEpoch: () => this.#node.standing.nextEpoch(),
      save: (state) => {
        must();
        const { standing } = this.#node;
        standing.jobs.delete(held);
        standing.jobs.set(state.epoch, state);
        held = state.epoch;
        if (state.phase === "done") standing.complete(state);
      },
    };
  }

  /** Of tenants whose replication factor never changed. */
  defaultRoute: TenantRoute = { replicationFactor: 3 };
}
