// The comparisons that one node has to do, one step at a time: a rebuild before all else, then the others in turns.
// Guarantees: the same work asked for twice is one job; a job that waits for its sources does not hold up the others; finished jobs are
// remembered until their tenant's next change, so that whoever drives that change can ask how they ended. Must not: own a timer.
import type { TenantRoute } from "../access/types.ts";
import type { TokenRange } from "../cluster/ring.ts";
import { GivenUp, type StepResult, type SyncEnvironment, SyncJob } from "./sync-job.ts";
import { joiningRanges, type SyncKind } from "./sync-plan.ts";
import { newSync, type RingWork, type SyncState } from "./sync-state.ts";

/** Where the jobs are kept; every call is durable before the next step begins. */
export interface SyncStore {
  jobs(): readonly SyncState[];
  put(state: SyncState): void;
  remove(epoch: number): void;
  /** As `put`, with what follows of it in the same commit: the node counts, or what it heard is known. */
  complete(state: SyncState): void;
  nextEpoch(): number;
  /** In these ranges of the tenant too this node may not hold, or hold any more, what others do. */
  beginFilling(tenant: number, ranges: readonly TokenRange[]): void;
  /** It holds there what others do. */
  endFilling(tenant: number, ranges: readonly TokenRange[]): void;
  /** Tenants of which anything is being filled. */
  fillingTenants(): readonly number[];
}

/** What the driver of a tenant's change asks of a node. */
export interface TenantSync {
  readonly kind: Exclude<SyncKind, "rebuild" | "repair" | "release">;
  readonly tenant: number;
  readonly route: TenantRoute;
}

/** What the driver of a change of the ring asks of a node. */
export interface RingSync {
  readonly kind: "fill" | "join" | "release";
  readonly work: RingWork;
}

export type RunnerEnvironment = Omit<
  SyncEnvironment,
  "save" | "nextEpoch" | "beginFilling" | "endFilling" | "fillingTenants"
>;

export class SyncRunner {
  readonly #environment: RunnerEnvironment;
  readonly #store: SyncStore;
  readonly #running = new Map<number, SyncJob>();
  #turn = 0;

  constructor(environment: RunnerEnvironment, store: SyncStore) {
    this.#environment = environment;
    this.#store = store;
  }

  get isDue(): boolean {
    return this.#store.jobs().some((job) => job.phase !== "done");
  }

  /** Why the job's last step failed; empty = it did not. */
  errorOf(epoch: number): string {
    return this.#running.get(epoch)?.lastError ?? "";
  }

  /** The job for this work, begun now where there is none. Older work for the tenant is given up. */
  async want({ kind, tenant, route }: TenantSync): Promise<SyncState> {
    const ring = await this.#environment.ring();
    const isSame = (job: SyncState): boolean =>
      job.kind === kind && job.tenant === tenant && job.route?.routeRevision === route.routeRevision;
    const held = this.#store.jobs().find(isSame);
    if (held) return held;
    this.forget(tenant);
    const joining = joiningRanges(ring, this.#environment.self, route);
    if (kind === "fill") this.#store.beginFilling(tenant, joining);
    const job = newSync({ epoch: this.#store.nextEpoch(), kind, tenant, route, joining });
    this.#store.put(job);
    return job;
  }

  /** As `want`, for a change of the ring: of all tenants at once. */
  wantRing(kind: RingSync["kind"], ringWork: RingWork): SyncState {
    const ofRing = this.#store.jobs().filter((job) => job.ringWork !== undefined);
    const held = ofRing.find((job) => job.kind === kind && job.ringWork!.revision === ringWork.revision);
    if (held) return held;
    for (const { epoch } of ofRing) {
      this.#store.remove(epoch);
      this.#running.delete(epoch);
    }
    const job = newSync({ epoch: this.#store.nextEpoch(), kind, ringWork });
    this.#store.put(job);
    return job;
  }

  /** The least that any work under way may compare in a second. */
  get keysPerSecond(): number | undefined {
    const bounds = this.#store
      .jobs()
      .flatMap(({ phase, ringWork }) => (phase === "done" ? [] : (ringWork?.keysPerSecond ?? [])));
    return bounds.length > 0 ? Math.min(...bounds) : undefined;
  }

  /** Gives up what is under way for the tenant's change. */
  forget(tenant: number): void {
    for (const job of this.#store.jobs()) {
      if (job.tenant !== tenant || job.kind === "repair") continue;
      this.#store.remove(job.epoch);
      this.#running.delete(job.epoch);
    }
  }

  /** Deletes what this node holds of the tenant's keys and is no replica of; what is under way for its change is given up. */
  release(tenant: number): void {
    this.forget(tenant);
    this.#store.put(newSync({ epoch: this.#store.nextEpoch(), kind: "release", tenant }));
  }

  /** `startedEmpty`: the store holds nothing yet; asked only where no rebuild is under way. */
  rebuild(startedEmpty: () => boolean): void {
    if (this.#store.jobs().some(({ kind }) => kind === "rebuild")) return;
    this.#store.put(newSync({ epoch: this.#store.nextEpoch(), kind: "rebuild", startedEmpty: startedEmpty() }));
  }

  /** Compares a range of all tenants with all replicas of it. */
  repairRange(range: TokenRange): SyncState {
    const job = newSync({ epoch: this.#store.nextEpoch(), kind: "repair", range });
    this.#store.put(job);
    return job;
  }

  /** This node's part of a repair, full or incremental; asked for again it tells how far it is. */
  repair(repairId: number, isIncremental = false): SyncState {
    const held = this.#store.jobs().find((job) => job.repairId === repairId);
    if (held) return held;
    const of = isIncremental ? { repairId, isIncremental } : { repairId };
    const job = newSync({ epoch: this.#store.nextEpoch(), kind: "repair", ...of });
    this.#store.put(job);
    return job;
  }

  /** A range is being repaired because hints for it were lost. */
  get isRepairingRange(): boolean {
    return this.#store.jobs().some(({ kind, range, phase }) => kind === "repair" && range && phase !== "done");
  }

  /** One step of what is due first. `idle` = nothing is. */
  async step(): Promise<StepResult | "idle"> {
    const due = this.#store.jobs().filter((job) => job.phase !== "done");
    const next = due.find(({ kind }) => kind === "rebuild") ?? due[this.#turn % Math.max(1, due.length)];
    if (!next) return "idle";
    const job = this.#running.get(next.epoch) ?? new SyncJob(this.#environmentOf(next.epoch), next);
    this.#running.set(next.epoch, job);
    const result = await job.step().catch((error: unknown): StepResult => {
      if (error instanceof GivenUp) return "waiting";
      throw error;
    });
    if (result === "waiting") this.#turn++;
    if (result === "done") this.#running.delete(job.state.epoch);
    return result;
  }

  /** Saves under the epoch that the job has now; what was given up meanwhile stays given up. */
  #environmentOf(epoch: number): SyncEnvironment {
    let held = epoch;
    const save = (state: SyncState): void => {
      if (!this.#store.jobs().some((job) => job.epoch === held)) throw new GivenUp(`the work ${held} was given up`);
      if (state.epoch !== held) {
        this.#store.remove(held);
        const job = this.#running.get(held);
        this.#running.delete(held);
        if (job) this.#running.set(state.epoch, job);
        held = state.epoch;
      }
      if (state.phase === "done" && state.kind === "release" && !state.ringWork) this.#store.remove(state.epoch);
      else if (state.phase === "done") this.#store.complete(state);
      else this.#store.put(state);
    };
    const beginFilling = (tenant: number, ranges: readonly TokenRange[]): void =>
      this.#store.beginFilling(tenant, ranges);
    return {
      ...this.#environment,
      ...{ save, beginFilling },
      endFilling: (tenant, ranges) => this.#store.endFilling(tenant, ranges),
      fillingTenants: () => this.#store.fillingTenants(),
      nextEpoch: () => this.#store.nextEpoch(),
    };
  }
}
