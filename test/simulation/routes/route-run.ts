// A random run in which the tenant's replication factor changes under load, up and down, with changes called off and drivers that
// die between any two steps. It runs the shipped driver, comparisons and quorums.
import type { Caller, TenantRoute } from "../../../src/access/types.ts";
import { tokenOf } from "../../../src/cluster/token.ts";
import {
  beginChange,
  type ChangeEnvironment,
  type Changing,
  cancelChange,
  stepChange,
} from "../../../src/replication/route-change.ts";
import { writePageRequest } from "../../../src/replication/sync-frames.ts";
import { newSync } from "../../../src/replication/sync-state.ts";
import { ACTIVE_MS, CALLER, type Circumstances, RandomRun, type RunResult } from "./random-run.ts";
import type { Sabotage, World } from "./world.ts";

const NODES = 5;
const RPC_TIMEOUT_MS = 200;
/** Where the driver's own pause is longer, time is cut short: nothing happens in it. */
const MAX_PAUSE_MS = 150;

/** Mistakes planted into the driver's surroundings. */
export interface RouteSabotage extends Sabotage {
  /** Comparisons are said to be done, and are not begun. */
  readonly skipsSync?: boolean;
  /** Changes shipped code for the run; returns the way back. */
  readonly patch?: () => () => void;
}

export class RouteRun implements Circumstances {
  readonly nodeCount = NODES;
  readonly mayLoseDisk: boolean;
  readonly #sabotage: RouteSabotage;
  protected world!: World;
  protected run!: RandomRun;
  #changing: Changing;
  /** Every route that was ever published: a gateway may know any of them. */
  readonly #published: TenantRoute[];
  #life = 0;
  protected isCalm = false;
  finished = 0;
  cancelled = 0;

  constructor(factor: number, mayLoseDisk: boolean, sabotage: RouteSabotage) {
    this.#sabotage = sabotage;
    this.mayLoseDisk = mayLoseDisk;
    const route = { replicationFactor: mayLoseDisk ? Math.max(2, factor) : factor };
    this.#changing = { route, change: undefined };
    this.#published = [route];
  }

  #seen(route: TenantRoute): TenantRoute {
    return this.#sabotage.route?.(route) ?? route;
  }

  caller(): Caller {
    const { random } = this.world;
    const isOld = !this.isCalm && random.chance(0.3);
    const route = isOld ? random.pick(this.#published) : this.#changing.route;
    return { ...CALLER, ...this.#seen(route) };
  }

  holders(key: string): readonly string[] {
    return this.world.ring().replicas(tokenOf(CALLER.tenant, key), this.#changing.route.replicationFactor).write;
  }

  /** Its first replica: what only that one knows was acknowledged by too few. */
  spared(key: string): string | undefined {
    const holders = this.holders(key);
    return holders.length >= 3 ? holders[0] : undefined;
  }

  begin(run: RandomRun, changesFactor = true): void {
    this.run = run;
    this.world = run.world;
    const { random } = run.world;
    // Some fillings are so long that much happens during them.
    run.world.syncPauseMs = random.pick([1, 1, 20, 60]);
    this.#publish(this.#changing);
    for (let i = changesFactor ? random.between(1, 4) : 0; i > 0; i--)
      run.world.after(random.between(0, ACTIVE_MS - 2000), () => this.#change());
    if (random.chance(0.25)) run.world.after(random.between(500, ACTIVE_MS), () => this.#cancel());
    this.#drive();
  }

  calm(): void {
    this.isCalm = true;
    // A driver that died is started by its next alarm.
    this.#restart();
  }

  problems(): readonly string[] {
    const { change } = this.#changing;
    return change
      ? [`the change to ${change.to} did not end: ${change.waitingFor} ${JSON.stringify(change.progress)}`]
      : [];
  }

  #change(): void {
    if (this.#changing.change) return;
    const from = this.#changing.route.replicationFactor;
    const to = this.world.random.pick(
      [1, 2, 3, 4, 5].filter((factor) => factor !== from && !(this.mayLoseDisk && factor === 1)),
    );
    this.run.note(`the replication factor is to change from ${from} to ${to}`);
    this.#changing = beginChange(this.#changing, to, this.world.nowMs);
  }

  #cancel(): void {
    if (!this.#changing.change || this.#changing.change.announcing === "ending") return;
    this.run.note("the change is called off");
    this.cancelled++;
    this.#changing = cancelChange(this.#changing);
  }

  #publish(changing: Changing): void {
    if (changing.change === undefined && this.#changing.change !== undefined) this.finished++;
    const isNew = changing.route.routeRevision !== this.#changing.route.routeRevision;
    this.#changing = changing;
    this.world.routes.set(CALLER.tenant, this.#seen(changing.route));
    if (!isNew) return;
    this.#published.push(changing.route);
    this.run.note(`route ${JSON.stringify(changing.route)}`);
  }

  #restart(): void {
    this.#life++;
    this.#drive();
  }

  #drive(): void {
    const life = this.#life;
    const next = (delayMs: number): void =>
      void this.world.after(Math.min(delayMs, MAX_PAUSE_MS) + 1, () => life === this.#life && this.#drive());
    void stepChange(this.#environment(life)).then((delayMs) => {
      if (life !== this.#life) return;
      if (!this.isCalm && this.world.random.chance(0.05)) {
        this.#life++;
        this.world.after(this.world.random.between(50, 800), () => this.#restart());
      } else next(delayMs ?? 50);
    });
  }

  #environment(life: number): ChangeEnvironment {
    const world = this.world;
    const { tenant } = CALLER;
    const alive = <T>(work: Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        const timer = world.after(RPC_TIMEOUT_MS, () => life === this.#life && reject(new Error("late")));
        const end = (run: () => void): void => {
          timer.cancelled = true;
          if (life === this.#life) run();
        };
        work.then(
          (value) => end(() => resolve(value)),
          (error) => end(() => reject(error)),
        );
      });
    return {
      tenant,
      ring: () => alive(Promise.resolve(world.ring())),
      recordRoute: (nodeId, routeRevision) => {
        const request = writePageRequest({ kind: "rows", tenant, routeRevision, from: 0, to: 0, limit: 0 });
        return alive(world.rpc(nodeId, async (node) => void (await node.page(request))));
      },
      sync: async (nodeId, work) => {
        if (this.#sabotage.skipsSync) return { ...newSync({ epoch: 0, ...work }), phase: "done" };
        return alive(world.rpc(nodeId, (node) => node.sync.runner.want(work)));
      },
      endSync: (nodeId) => alive(world.rpc(nodeId, async (node) => node.sync.runner.release(tenant))),
      now: () => world.nowMs,
      load: () => this.#changing,
      save: (changing) => {
        if (life === this.#life) this.#publish(changing);
      },
    };
  }
}

export async function runRouteSeed(
  seed: number,
  sabotage: RouteSabotage = {},
): Promise<RunResult & { readonly finished: number; readonly cancelled: number }> {
  const circumstances = new RouteRun(seed % 3 === 0 ? 3 : 1 + (seed % NODES), seed % 2 === 0, sabotage);
  const restore = sabotage.patch?.();
  const result = await new RandomRun(seed, sabotage, circumstances).run().finally(restore);
  return { ...result, finished: circumstances.finished, cancelled: circumstances.cancelled };
}
