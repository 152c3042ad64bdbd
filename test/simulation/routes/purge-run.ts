// A random run in which deleted rows are purged while everything else fails and the replication factor may change: full repairs that
// begin and wait, a driver that dies between any two steps, nodes that drop rows when they like. It runs the shipped round, comparisons
// and replicas; the Directory is the simulator's. Incremental repairs run beside the full ones, and what nodes keep of digests is judged.
import { decodeState } from "../../../src/kv/key-state.ts";
import { isPurgeable } from "../../../src/kv/purge.ts";
import {
  NOTHING_PURGED,
  type PurgeEnvironment,
  type PurgeState,
  promiseFloors,
  repairEnded,
  stepPurge,
} from "../../../src/replication/purge-round.ts";
import { untrueDigests } from "./digest-checker.ts";
import { CALLER, RandomRun, type RunResult } from "./random-run.ts";
import { RouteRun, type RouteSabotage } from "./route-run.ts";
import type { SimulatedNode } from "./world.ts";

const ACTIVE_MS = 46_000;
const GRACE_MS = 9000;
/** Clients come in bursts, so that what is deleted in one may be purged before, or while, the next goes on. */
const BURST_EVERY_MS = 21_000;
const BURST_MS = 4000;
const RPC_TIMEOUT_MS = 200;
const POLL_MS = 100;
/** Above what a frame may be late in this world: straggling, on its way to a node that stalls. */
const SETTLE_MS = 3000;
/** After the faults stop: longer than the greatest pause before hints are offered again. */
const LAST_REPAIR_MS = 32_000;
/** Above the numbers of full repairs. */
const INCREMENTAL_IDS = 1_000_000;
const JUDGE_EVERY_MS = 500;

/** Mistakes planted into the purge. */
export interface PurgeSabotage extends RouteSabotage {
  readonly graceMs?: number;
  /** A full repair is said to be done, and is not begun. */
  readonly skipsRepair?: boolean;
  /** What a repair that has ended leads to. */
  readonly ended?: (state: PurgeState, nowMs: number) => PurgeState;
  readonly ignoresHints?: boolean;
  /** A node may drop rows as soon as it is told itself. */
  readonly dropsAtOnce?: boolean;
}

export class PurgeRun extends RouteRun {
  readonly activeMs = ACTIVE_MS;
  readonly quietMs = 55_000;
  readonly deletes = 0.45;
  readonly operations = 140;
  readonly maxLateMs = 1200;
  readonly agreesUnread = true;
  readonly #planted: PurgeSabotage;
  readonly #changesFactor: boolean;
  #state: PurgeState = NOTHING_PURGED;
  #repair: { readonly id: number; hasBegun: boolean } | undefined;
  #repairId = 0;
  #life = 0;
  /** The repair under way leads to no purge: what was begun before must end. */
  #isLast = false;
  purgedRows = 0;
  rounds = 0;

  constructor(seed: number, sabotage: PurgeSabotage) {
    super(seed % 3 === 0 ? 3 : 2 + (seed % 3), seed % 2 === 0, sabotage);
    this.#planted = sabotage;
    this.#changesFactor = seed % 4 < 2;
  }

  override begin(run: RandomRun): void {
    super.begin(run, this.#changesFactor);
    const { world } = this;
    const { random } = world;
    world.register = (node) => this.#register(node);
    for (let atMs = random.between(0, 8000); atMs < ACTIVE_MS; atMs += random.between(2000, 10_000))
      world.after(atMs, () => this.#startRepair());
    // One that is away for long: hints for it pile up, and are offered to it ever more rarely.
    if (random.chance(0.6)) {
      const name = random.pick([...world.nodes.keys()]);
      const isForLong = random.chance(0.4);
      const forMs = isForLong ? random.between(32_000, 38_000) : random.between(2000, 16_000);
      world.after(random.between(0, isForLong ? 2000 : ACTIVE_MS - 18_000), () => {
        this.run.note(`${name} is cut off for ${forMs}`);
        world.cut.add(name);
        world.after(forMs, () => world.cut.delete(name));
      });
    }
    this.#drivePurge();
    this.#dropLater();
    for (let i = random.between(1, 6); i > 0; i--)
      world.after(random.between(0, ACTIVE_MS), () => this.#compare(INCREMENTAL_IDS + i));
    for (let atMs = 0; atMs < ACTIVE_MS; atMs += JUDGE_EVERY_MS) world.after(atMs, () => this.#judgeDigests());
  }

  /** One node compares what was written since. */
  #compare(repairId: number): void {
    const node = this.world.node(this.world.random.pick([...this.world.nodes.keys()]));
    if (!node.isUp) return;
    this.run.note(`${node.info.id} compares incrementally`);
    node.sync.runner.repair(repairId, true);
  }

  #judgeDigests(): void {
    for (const node of this.world.nodes.values()) if (node.isUp) this.run.history.problems.push(...untrueDigests(node));
  }

  override calm(): void {
    super.calm();
    this.#life++;
    this.#startRepair();
    this.#drivePurge();
    this.world.after(GRACE_MS + 1000, () => this.#startRepair());
    // Once every hint has come, also to nodes that are no replicas any more.
    this.world.after(LAST_REPAIR_MS, () => {
      this.#startRepair();
      this.#isLast = true;
    });
  }

  operationAtMs(): number {
    const { random } = this.world;
    return random.between(0, 2) * BURST_EVERY_MS + random.between(0, BURST_MS);
  }

  /** By the horizon that every node has or is being told. */
  seen(_: string, state: Uint8Array | undefined): Uint8Array | undefined {
    return state && isPurgeable(state, this.#state.horizon) ? undefined : state;
  }

  override problems(): readonly string[] {
    const problems = [...super.problems()];
    for (const node of this.world.nodes.values()) {
      for (const row of node.engine.rows()) {
        if (this.holders(row.key).includes(node.info.id) || !this.seen(node.info.id, node.engine.get(row))) continue;
        problems.push(`${node.info.id} is no replica of ${row.key} and holds it still`);
      }
    }
    if (this.#repair) problems.push(`the repair ${this.#repair.id} did not end`);
    if (this.#state.round) problems.push(`the purge did not end: ${JSON.stringify(this.#state.round)}`);
    return problems;
  }

  #register(node: SimulatedNode): void {
    const { standing } = node;
    standing.floor = this.#state.floors.at(-1)?.time ?? 0;
    standing.horizon = this.#state.horizon;
  }

  #startRepair(): void {
    this.#repair ??= { id: ++this.#repairId, hasBegun: false };
  }

  /** A node takes what is purgeable for absent from now on: what it holds of it may be forgotten. */
  #told(node: SimulatedNode, horizon: number, drop: number): void {
    const { standing, engine } = node;
    const before = standing.horizon;
    standing.horizon = Math.max(standing.horizon, horizon);
    standing.drop = Math.max(standing.drop, drop);
    if (standing.horizon === before) return;
    const { history } = this.run;
    const { world } = this;
    const { random } = world;
    for (const row of engine.rows()) {
      const bytes = engine.get(row)!;
      if (isPurgeable(bytes, before) || !isPurgeable(bytes, standing.horizon)) continue;
      const state = decodeState(bytes);
      history.forget(row.key, state, this.run.step);
      const youngest = Math.max(
        ...state.versions.flatMap(({ dots }) => dots.map((dot) => history.stampedAtMs(dot))),
        0,
      );
      if (this.run.elapsedMs - youngest < GRACE_MS)
        history.problems.push(
          `a delete of ${row.key} was purged ${this.run.elapsedMs - youngest} ms after it was made`,
        );
      // While others have not been told: what is stamped here knows nothing of what they still hold.
      if (random.chance(0.25)) world.after(random.between(0, 500), () => this.run.writeUnread(row.key, node.info.zone));
    }
    if (this.#planted.dropsAtOnce) engine.drop((value) => isPurgeable(value, horizon));
  }

  #dropLater(): void {
    const { world } = this;
    world.after(world.random.between(50, 800), () => {
      const node = world.node(world.random.pick([...world.nodes.keys()]));
      const { drop } = node.standing;
      if (node.isUp && drop > 0) this.purgedRows += node.engine.drop((value) => isPurgeable(value, drop));
      if (!this.#isLast) this.#dropLater();
    });
  }

  #drivePurge(): void {
    const life = this.#life;
    void this.#step().then((delayMs) => {
      if (life !== this.#life || (this.#isLast && !this.#repair && !this.#state.round)) return;
      if (!this.isCalm && this.world.random.chance(0.03)) {
        // The driver dies; what it has written down stays.
        const next = ++this.#life;
        this.world.after(this.world.random.between(50, 500), () => next === this.#life && this.#drivePurge());
      } else this.world.after(Math.min(delayMs, POLL_MS) + 1, () => life === this.#life && this.#drivePurge());
    });
  }

  async #step(): Promise<number> {
    const environment = this.#purgeEnvironment();
    if (this.#repair) await this.#followRepair(environment, this.#repair).catch(() => undefined);
    const round = this.#state.round?.step;
    await stepPurge(environment);
    const { round: now } = this.#state;
    if (round !== now?.step) this.run.note(`purge ${JSON.stringify(now ?? this.#state)}`);
    if (round && !now) this.rounds++;
    return POLL_MS;
  }

  async #followRepair(environment: PurgeEnvironment, repair: { id: number; hasBegun: boolean }): Promise<void> {
    if (!repair.hasBegun) {
      await promiseFloors(environment);
      repair.hasBegun = true;
      this.run.note(`repair ${repair.id} begins, floors ${JSON.stringify(this.#state.floors)}`);
    }
    if (!this.#planted.skipsRepair) {
      const parts = await Promise.all(
        environment.nodes().map((id) => this.#call(id, async (node) => node.sync.runner.repair(repair.id))),
      );
      if (!parts.every((part) => part.phase === "done" && part.rowsUnreadable === 0)) return;
    }
    const nowMs = this.world.nowMs;
    this.run.note(`repair ${repair.id} ends`);
    this.#repair = undefined;
    if (this.#isLast) return;
    const graceMs = this.#planted.graceMs ?? GRACE_MS;
    const ended = this.#planted.ended?.(this.#state, nowMs);
    this.#state = ended ?? repairEnded(this.#state, { repairId: repair.id, nowMs, graceMs, settleMs: SETTLE_MS });
  }

  #call<T>(nodeId: string, run: (node: SimulatedNode) => Promise<T>): Promise<T> {
    const { world } = this;
    const life = this.#life;
    return new Promise((resolve, reject) => {
      const timer = world.after(RPC_TIMEOUT_MS, () => life === this.#life && reject(new Error("late")));
      const end = (settle: () => void): void => {
        timer.cancelled = true;
        if (life === this.#life) settle();
      };
      world.rpc(nodeId, run).then(
        (value) => end(() => resolve(value)),
        (error) => end(() => reject(error)),
      );
    });
  }

  #purgeEnvironment(): PurgeEnvironment {
    const { world } = this;
    const life = this.#life;
    return {
      graceMs: this.#planted.graceMs ?? GRACE_MS,
      settleMs: SETTLE_MS,
      now: () => world.nowMs,
      nodes: () => [...world.nodes.keys()],
      load: () => this.#state,
      update: async (change) => {
        if (life === this.#life) this.#state = change(this.#state);
      },
      incarnationOf: (nodeId) => world.node(nodeId).incarnation,
      promiseFloor: (nodeId) =>
        this.#call(nodeId, async (node) => {
          node.standing.floor = Math.max(node.standing.floor, node.replica.hybridNow);
          return { incarnation: node.incarnation, floor: node.standing.floor };
        }),
      hints: (nodeId) =>
        this.#call(nodeId, async (node) => (this.#planted.ignoresHints ? { first: null, last: 0 } : node.hints.span())),
      recordHorizon: async (nodeId, { horizon, drop }) => {
        // They hear of it at different times.
        await new Promise<void>((resolve) => world.after(world.random.pick([0, 50, 1000, 3000]), resolve));
        if (life !== this.#life) return new Promise<never>(() => undefined);
        return this.#call(nodeId, async (node) => this.#told(node, horizon, drop));
      },
    };
  }
}

export async function runPurgeSeed(
  seed: number,
  sabotage: PurgeSabotage = {},
): Promise<RunResult & { readonly purgedRows: number; readonly rounds: number }> {
  const circumstances = new PurgeRun(seed, sabotage);
  const restore = sabotage.patch?.();
  const result = await new RandomRun(seed, sabotage, circumstances).run().finally(restore);
  return { ...result, purgedRows: circumstances.purgedRows, rounds: circumstances.rounds };
}

export { CALLER };
