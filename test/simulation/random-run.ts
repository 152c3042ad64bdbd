// One run of a schedule: clients that put, get, delete and retry through several coordinators while the world fails around them; then
// the faults stop, and what is left is judged. The same schedule gives the same trace. Must not: read real time or real randomness.
import type { Caller } from "../../src/access/types.ts";
import { hex } from "../../src/replication/hex.ts";
import type { QuorumCoordinator } from "../../src/replication/quorum-coordinator.ts";
import type { SessionAnswer } from "../../src/wire/session.ts";
import { checkFinal } from "./checker.ts";
import { Clients } from "./clients.ts";
import { FaultMaker } from "./fault-maker.ts";
import { History } from "./history.ts";
import type { Sabotage } from "./hooks.ts";
import {
  ACTIVE_MS,
  describe,
  isFault,
  makeSchedule,
  PLACE_COUNT,
  type PlaceOptions,
  type Schedule,
} from "./schedule.ts";
import { World } from "./world.ts";

/** Longer than the greatest pause before hints are offered again, and than every straggler. */
const QUIET_MS = 40_000;
const START_MS = 1_800_000_000_000;
/** Few positions on the ring: it is built anew with every coordinator. */
const RING_WEIGHT = 1 / 16;

export interface RunResult {
  readonly problems: readonly string[];
  readonly trace: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

export interface RunOptions {
  readonly sabotage?: Sabotage | undefined;
  /** Off: the trace stays empty, and the run is faster. */
  readonly traced?: boolean;
  /** See World. */
  readonly leastPatienceMs?: number;
}

interface Place {
  readonly core: QuorumCoordinator;
  readonly life: { alive: boolean };
}

export class RandomRun {
  readonly world: World;
  readonly history: History;
  readonly schedule: Schedule;
  readonly caller: Caller;
  readonly counts: Record<string, number> = {};
  /** Grows with every request and answer: the order of what clients saw. */
  step = 0;
  /** Grows when a disk is lost and when its node counts again: odd while a node is rebuilt. */
  rebuilds = 0;
  readonly #places: Place[] = [];
  readonly #clients: Clients;
  readonly #faults: FaultMaker;
  readonly #traced: boolean;

  constructor(schedule: Schedule, { sabotage = {}, traced = true, leastPatienceMs }: RunOptions) {
    this.schedule = schedule;
    this.#traced = traced;
    this.world = new World(schedule.seed, schedule.nodeCount, sabotage, RING_WEIGHT);
    const { world } = this;
    world.leastPatienceMs = leastPatienceMs;
    const { replicationFactor, policy: conflictPolicy } = schedule;
    this.caller = { tenant: 7, canWrite: true, replicationFactor, defaultConsistency: "quorum", conflictPolicy };
    this.history = new History({ actorOf: (nodeId) => world.node(nodeId).actor, now: () => world.nowMs - START_MS });
    world.observer = this.history;
    world.isOver = () => this.history.problems.length > 0;
    for (let i = 0; i < PLACE_COUNT; i++) this.#places.push(this.#place(i));
    this.#clients = new Clients(this);
    this.#faults = new FaultMaker(this);
  }

  get placeCount(): number {
    return this.#places.length;
  }

  coreOf(place: number): QuorumCoordinator {
    return this.#places[place]!.core;
  }

  /** The coordinator dies, with all its requests; another one takes its place. */
  replacePlace(place: number, options: PlaceOptions): void {
    this.#places[place]!.life.alive = false;
    this.#places[place] = this.#place(place, options);
  }

  #place(place: number, { readZone, stampZone, skewMs = 0 }: PlaceOptions = {}): Place {
    const life = { alive: true };
    const preference = { readZone, stampZone };
    return { core: this.world.coordinator(() => life.alive, preference, { name: `c${place}`, skewMs }), life };
  }

  note(line: () => string): void {
    if (this.#traced) this.world.trace.push(`${this.world.nowMs - START_MS} ${line()}`);
  }

  count(what: string, answer: SessionAnswer | undefined): void {
    const name = `${what} ${answer?.kind === "error" ? answer.code : (answer?.kind ?? "none")}`;
    this.counts[name] = (this.counts[name] ?? 0) + 1;
  }

  async run(): Promise<RunResult> {
    const { world, history } = this;
    for (const event of this.schedule.events) {
      const { step } = event;
      const begin = (): void => {
        if (!isFault(step)) return this.#clients.perform({ ...event, step });
        this.note(() => describe(event));
        this.#faults.make(step);
      };
      // What is so from the start is so before anything else happens.
      if (event.atMs === 0 && isFault(step)) begin();
      else world.after(event.atMs, begin);
    }
    world.after(ACTIVE_MS, () => {
      this.note(() => "the faults stop");
      this.#faults.stop();
    });
    await world.run(ACTIVE_MS + QUIET_MS);
    if (history.problems.length === 0) this.#checkHints();
    if (history.problems.length === 0) await this.#readAll();
    return { problems: history.problems, trace: world.trace, counts: this.counts };
  }

  #checkHints(): void {
    const lost = this.history.lostHint((nodeId) => this.world.node(nodeId).engine);
    if (lost) this.history.problem(`a hint kept by ${lost.keeper} for ${lost.target} never came there`);
  }

  /** The last reads, at quorum and then at all; afterwards the replicas hold the same bytes. */
  async #readAll(): Promise<void> {
    const { world, history, schedule } = this;
    for (const level of ["quorum", "all"] as const) {
      const { core } = this.#place(0);
      for (const key of schedule.keys) {
        const startStep = ++this.step;
        const answer = await world.ask(core, this.caller, { op: "get", key, consistency: level });
        this.step++;
        const read = history.readInfo({ key, level, startStep, endStep: this.step }, answer);
        this.note(() => `last read of ${key} at ${level}: ${read ? read.shown.map(({ name }) => name) : answer.kind}`);
        if (read) this.#clients.judge(read);
        else history.problem(`the last read of ${key} at ${level} fails: ${JSON.stringify(answer)}`);
      }
    }
    await world.run(500);
    for (const text of checkFinal(history, this.#finals())) history.problem(text);
  }

  #finals(): ReadonlyMap<string, Uint8Array> {
    const finals = new Map<string, Uint8Array>();
    const { world, schedule, history } = this;
    for (const key of schedule.keys) {
      const states: Uint8Array[] = [];
      for (const { engine } of world.nodes.values()) {
        const state = engine.get({ tenant: this.caller.tenant, key, token: { hi: 0, lo: 0 } });
        if (state) states.push(state);
      }
      const [state] = states;
      if (!state) continue;
      finals.set(key, state);
      const differing = new Set(states.map(hex)).size;
      if (differing > 1 || states.length !== schedule.replicationFactor)
        history.problem(`${states.length} replicas hold ${differing} states of ${key} after the last read`);
    }
    return finals;
  }
}

export function runSchedule(schedule: Schedule, options: RunOptions = {}): Promise<RunResult> {
  return new RandomRun(schedule, options).run();
}

export function runSeed(seed: number, options: RunOptions = {}): Promise<RunResult> {
  return runSchedule(makeSchedule(seed), options);
}

/** FNV-1a of a trace: two runs of a seed must agree. */
export function traceHash(trace: readonly string[]): string {
  let hash = 0x811c9dc5;
  for (const line of trace) {
    for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193);
    hash = Math.imul(hash ^ 10, 0x01000193);
  }
  return (hash >>> 0).toString(16);
}
