// A random run in which storage nodes join, leave, are replaced and weigh more or less under load, one change after the other, with
// changes called off and a Directory that dies between any two steps. It runs the shipped driver, comparisons and quorums.
import type { Caller, StorageNode } from "../../../src/access/types.ts";
import { positionsOf } from "../../../src/cluster/ring.ts";
import { joiningNode, nextOfWeight, type RingTarget } from "../../../src/cluster/ring-target.ts";
import { tokenOf } from "../../../src/cluster/token.ts";
import { isPurgeable } from "../../../src/kv/purge.ts";
import { RING_TENANT } from "../../../src/replication/fence.ts";
import { readOps } from "../../../src/replication/frames.ts";
import {
  beginRingChange,
  cancelRingChange,
  type RingChange,
  type RingChanging,
  type RingEnvironment,
  stepRingChange,
} from "../../../src/replication/ring-change.ts";
import { readPage, writePageRequest } from "../../../src/replication/sync-frames.ts";
import { newSync } from "../../../src/replication/sync-state.ts";
import { ACTIVE_MS, CALLER, type Circumstances, RandomRun, type RunResult } from "./random-run.ts";
import type { RouteSabotage } from "./route-run.ts";
import type { Observer, World } from "./world.ts";

const NODES = 4;
const ZONES = 3;
const RPC_TIMEOUT_MS = 200;
/** Where the driver's own pause is longer, time is cut short: nothing happens in it. */
const MAX_PAUSE_MS = 150;
const STALL_MS = 20_000;

export interface RingSabotage extends RouteSabotage {
  /** A node that joins is numbered as the oldest that ever was. */
  readonly reusesNumbers?: boolean;
}

export class RingRun implements Circumstances {
  readonly nodeCount = NODES;
  readonly mayLoseDisk: boolean;
  readonly #factor: number;
  readonly #sabotage: RingSabotage;
  #world!: World;
  #run!: RandomRun;
  #changing!: RingChanging;
  #life = 0;
  #isCalm = false;
  readonly #problems: string[] = [];
  finished = 0;
  cancelled = 0;

  constructor(factor: number, mayLoseDisk: boolean, sabotage: RingSabotage) {
    this.#factor = factor;
    this.mayLoseDisk = mayLoseDisk && factor > 1;
    this.#sabotage = sabotage;
  }

  caller(): Caller {
    return { ...CALLER, replicationFactor: this.#factor };
  }

  holders(key: string): readonly string[] {
    return this.#world.ring().replicas(tokenOf(CALLER.tenant, key), this.#factor).write;
  }

  spared(key: string): string | undefined {
    const holders = this.holders(key);
    return holders.length >= 3 ? holders[0] : undefined;
  }

  begin(run: RandomRun): void {
    this.#run = run;
    const world = run.world;
    this.#world = world;
    const { random } = world;
    world.observer = this.#watch(run.history);
    world.syncPauseMs = random.pick([1, 1, 20, 60]);
    world.routes.set(CALLER.tenant, { replicationFactor: this.#factor });
    // As many zones as replicas, and then some nodes in the same.
    const nodes = [...world.nodes.values()].map(
      ({ info }, i): StorageNode => ({ ...info, zone: `z${(i % ZONES) + 1}` }),
    );
    this.#publish({ nodes, ring: { revision: 0 }, change: undefined });
    world.ringLagMs = random.pick([0, 100, 500, 1500]);
    for (let i = random.between(1, 4); i > 0; i--)
      world.after(random.between(0, ACTIVE_MS - 2000), () => this.#change());
    if (random.chance(0.25)) world.after(random.between(500, ACTIVE_MS), () => this.#cancel());
    this.#drive();
  }

  calm(): void {
    this.#isCalm = true;
    this.#restart();
  }

  problems(): readonly string[] {
    const { change } = this.#changing;
    if (change)
      this.#problems.push(
        `the change did not end: ${change.step} ${change.waitingFor} ${JSON.stringify(change.progress)}`,
      );
    return this.#problems;
  }

  get #onRing(): StorageNode[] {
    return this.#changing.nodes.filter(({ state }) => state !== "removed" && state !== "leaving");
  }

  #target(): RingTarget | undefined {
    const { random } = this.#world;
    const nodes = this.#onRing;
    const { length } = this.#changing.nodes;
    const fresh = { id: `n${length + 1}`, number: this.#sabotage.reusesNumbers ? 1 : length + 1, weight: 0.05 };
    const node = random.pick(nodes);
    const isLast = ({ zone }: StorageNode): boolean => nodes.filter((other) => other.zone === zone).length === 1;
    const chance = (): number => random.next();
    switch (random.pick(["add", "add", "remove", "replace", "weigh"] as const)) {
      case "add":
        return {
          kind: "add",
          nodeId: fresh.id,
          joining: joiningNode(nodes, { ...fresh, zone: `z${random.between(1, ZONES)}` }, chance),
        };
      case "replace":
        return {
          kind: "replace",
          nodeId: node.id,
          joining: joiningNode(nodes, { ...fresh, zone: node.zone, inPlaceOf: node }, chance),
        };
      case "remove":
        return isLast(node) ? undefined : { kind: "remove", nodeId: node.id, others: this.#leavingWith(node, isLast) };
      case "weigh": {
        const held = positionsOf(node).length;
        const weight = node.weight * random.pick([0.5, 2]);
        return held < 2
          ? undefined
          : { kind: "weigh", nodeId: node.id, next: nextOfWeight(nodes, node, weight, chance) };
      }
    }
  }

  /** Sometimes one of another zone leaves, too, as all of an instance that stays away do. */
  #leavingWith(node: StorageNode, isLast: (node: StorageNode) => boolean): string[] {
    if (!this.#world.random.chance(0.4)) return [];
    const others = this.#onRing.filter((other) => other.zone !== node.zone && !isLast(other));
    return others.slice(0, 1).map(({ id }) => id);
  }

  #change(): void {
    if (this.#changing.change) return;
    const target = this.#target();
    if (!target) return;
    this.#run.note(
      `the ring is to change: ${target.kind} ${target.nodeId} ${target.others ?? ""} ${target.joining?.id ?? ""}`,
    );
    const graceMs = this.#world.random.between(0, 2000);
    this.#changing = beginRingChange(this.#changing, { target, graceMs }, this.#world.nowMs);
  }

  #cancel(): void {
    const before = this.#changing;
    this.#changing = cancelRingChange(before, "by hand");
    if (this.#changing === before) return;
    this.#run.note("the change is called off");
    this.cancelled++;
  }

  #publish(changing: RingChanging): void {
    const before = this.#changing as RingChanging | undefined;
    this.#changing = changing;
    if (before?.ring === changing.ring && before.nodes === changing.nodes) return;
    this.#world.publish(changing.nodes, changing.ring);
    this.#run.note(
      `ring ${JSON.stringify(changing.ring)} ${changing.nodes.map(({ id, state }) => `${id} ${state}`).join(", ")}`,
    );
  }

  #finish(changing: RingChanging, change: RingChange): void {
    this.finished++;
    this.#run.note(`the change is over${change.isCancelled ? ", called off" : ""}; not cleaned: ${change.uncleaned}`);
    this.#publish(changing);
    for (const { id, state } of changing.nodes) {
      const node = this.#world.node(id);
      if (node.isRetired) continue;
      const rows = node.engine.rows().filter((row) => !this.holders(row.key).includes(id));
      const strays = rows.filter(
        (row) => !isPurgeable(node.engine.get(row)!, 0) && this.#isFenced.has(`${id}/${row.key}`),
      );
      if (strays.length > 0 && !change.uncleaned.includes(id) && !node.standing.isRebuilding)
        this.#problems.push(`${id} is no replica of ${strays.map(({ key }) => key)} and holds it after the cleanup`);
      if (state !== "removed") continue;
      node.isRetired = true;
      if (node.isUp) node.crash();
    }
  }

  /** Node and key of rows that a coordinator wrote last; hints and comparisons may come late, and a removed node's store is dropped. */
  readonly #isFenced = new Set<string>();

  #watch(observer: Observer): Observer {
    let isFenced = false;
    return {
      frame: (nodeId, frame) => {
        isFenced = readOps(frame).some(({ kind }) => kind === "route");
        observer.frame(nodeId, frame);
      },
      put: (nodeId, row, before, after) => {
        if (isFenced) this.#isFenced.add(`${nodeId}/${row.key}`);
        else this.#isFenced.delete(`${nodeId}/${row.key}`);
        observer.put(nodeId, row, before, after);
      },
    };
  }

  #restart(): void {
    this.#life++;
    this.#drive();
  }

  #drive(): void {
    const life = this.#life;
    const next = (delayMs: number): void =>
      void this.#world.after(Math.min(delayMs, MAX_PAUSE_MS) + 1, () => life === this.#life && this.#drive());
    void stepRingChange(this.#environment(life)).then((delayMs) => {
      if (life !== this.#life) return;
      if (!this.#isCalm && this.#world.random.chance(0.05)) {
        this.#life++;
        this.#world.after(this.#world.random.between(50, 800), () => this.#restart());
      } else next(delayMs ?? 50);
    });
  }

  #environment(life: number): RingEnvironment {
    const world = this.#world;
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
      load: () => this.#changing,
      save: (changing) => {
        if (life === this.#life) this.#publish(changing);
      },
      finish: (changing, change) => {
        if (life === this.#life) this.#finish(changing, change);
      },
      record: async (nodeId, routeRevision) => {
        const request = writePageRequest({
          kind: "rows",
          tenant: RING_TENANT,
          routeRevision,
          from: 0,
          to: 0,
          limit: 0,
        });
        return !readPage(await alive(world.rpc(nodeId, (node) => node.page(request)))).isRebuilding;
      },
      sync: async (nodeId, { kind, work }) => {
        if (this.#sabotage.skipsSync && kind !== "release") return { ...newSync({ epoch: 0, kind }), phase: "done" };
        return alive(world.rpc(nodeId, async (node) => node.sync.runner.wantRing(kind, work)));
      },
      keepsHints: (nodeId) =>
        alive(world.rpc(nodeId, async (node) => node.hints.targets().some((id) => !world.node(id).isRetired))),
      isGone: () => false,
      factors: () => [this.#factor],
      now: () => world.nowMs,
      stallMs: STALL_MS,
    };
  }
}

export async function runRingSeed(
  seed: number,
  sabotage: RingSabotage = {},
): Promise<RunResult & { readonly finished: number; readonly cancelled: number }> {
  const circumstances = new RingRun(seed % 3 === 0 ? 1 + ((seed / 3) % 3) : 3, seed % 2 === 0, sabotage);
  const restore = sabotage.patch?.();
  const result = await new RandomRun(seed, sabotage, circumstances).run().finally(restore);
  return { ...result, finished: circumstances.finished, cancelled: circumstances.cancelled };
}
