// One seeded run: clients that put, get, delete and retry through several coordinators while the world fails around them; then
// the faults stop and the checker judges. The same seed gives the same trace. Must not: read real time or real randomness.
import type { Caller } from "../../../src/access/types.ts";
import { hex } from "../../../src/replication/hex.ts";
import type { QuorumCoordinator } from "../../../src/replication/quorum-coordinator.ts";
import type { Clock } from "../../../src/wire/clock.ts";
import type { Consistency, SessionAnswer, SessionRequest } from "../../../src/wire/session.ts";
import { check } from "./checker.ts";
import { History, type WriteInfo } from "./history.ts";
import { CALM, type Faults, type Sabotage, World } from "./world.ts";

export const CALLER: Caller = {
  tenant: 7,
  canWrite: true,
  replicationFactor: 3,
  defaultConsistency: "quorum",
  conflictPolicy: "siblings",
};
const OPERATIONS = 70;
export const ACTIVE_MS = 6000;
/** Longer than the greatest pause before hints are offered again, and than every straggler. */
const QUIET_MS = 40_000;
const MAX_ATTEMPTS = 4;
/** A coordinator that died does not answer; its client gives up after this. */
const CLIENT_TIMEOUT_MS = 1500;
/** Down so long that no call sent before the loss can still be waited for. */
const REBUILD_PAUSE_MS = 1500;
const MAX_SKEW_MS = 120_000;

export interface RunResult {
  readonly problems: readonly string[];
  readonly trace: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

interface Place {
  core: QuorumCoordinator;
  life: { alive: boolean };
}

interface Known {
  readonly clock: Clock;
  readonly isStrong: boolean;
}

type Request = Omit<SessionRequest, "id">;

interface Attempt {
  readonly client: number;
  readonly write: WriteInfo;
  readonly request: Request;
  readonly number: number;
  /** Whom this one goes through; absent = any. */
  readonly gateway: QuorumCoordinator | undefined;
}

const encoder = new TextEncoder();

function briefClock(clock: Clock): string {
  const dots = (list: Clock["dots"]): string => list.map((dot) => `${dot.actor}:${dot.counter}`).join(",");
  return `{${dots(clock.vector)}|${dots(clock.dots)}}`;
}

function brief(answer: SessionAnswer): string {
  if (answer.kind === "error") return `${answer.code} ${answer.message}`;
  if (!("clock" in answer)) return answer.kind;
  const shown = answer.kind !== "value" ? "" : answer.siblings ? `${answer.siblings.length} siblings` : "value";
  return `${answer.kind} ${shown} ${briefClock(answer.clock)}`;
}

/** What a run with other circumstances changes. */
export interface Circumstances {
  readonly nodeCount: number;
  /** A key with one replica does not survive the loss of its disk. */
  readonly mayLoseDisk: boolean;
  /** For how long things happen, ms, and how many of the writes are deletes; absent = as usual. */
  readonly activeMs?: number;
  readonly quietMs?: number;
  readonly deletes?: number;
  readonly operations?: number;
  /** When a client's operation begins. */
  operationAtMs?(): number;
  /** The latest that a frame straggles by, and the longest that a node stalls, ms. */
  readonly maxLateMs?: number;
  /** What of a held state is seen: nothing of a purged one. */
  seen?(nodeId: string, state: Uint8Array | undefined): Uint8Array | undefined;
  /** Settings as the gateway of a request knows them. */
  caller(): Caller;
  /** The nodes that must agree on a key in the end. */
  holders(key: string): readonly string[];
  /** A node that the last quorum read of a key must do without; undefined where that cannot be. */
  spared(key: string): string | undefined;
  /** Called once before the run, and once when the faults stop. */
  begin(run: RandomRun): void;
  calm(run: RandomRun): void;
  /** Replicas must agree before the last reads bring them to agreement: a repair has just done it. */
  readonly agreesUnread?: boolean;
  /** What is wrong in the end, beside what the checker says. */
  problems(): readonly string[];
}

export class RandomRun {
  readonly world: World;
  readonly history: History;
  readonly #places: Place[] = [];
  readonly #known = new Map<string, Known>();
  readonly #keys: readonly string[];
  readonly counts: Record<string, number> = {};
  /** Coordinators prefer different stampers, as they do where one is sole in its zone, or where breakers differ. */
  readonly #spreadStamps: boolean;
  #isQuiet = false;
  #step = 0;
  #rebuilding = false;

  readonly #circumstances: Circumstances | undefined;

  constructor(seed: number, sabotage: Sabotage, circumstances?: Circumstances) {
    this.#circumstances = circumstances;
    this.world = new World(seed, circumstances?.nodeCount ?? 3, sabotage);
    const { world } = this;
    this.history = new History({ actorOf: (nodeId) => world.node(nodeId).actor, now: () => world.nowMs - START_MS });
    world.observer = this.history;
    this.#spreadStamps = world.random.chance(0.4);
    this.#keys = ["a", "b", "c"].slice(0, world.random.between(1, 3));
    for (const node of world.nodes.values()) node.skewMs = world.random.between(-MAX_SKEW_MS, MAX_SKEW_MS);
    for (let i = 0; i < 3; i++) this.#places.push(this.#place());
  }

  #place(): Place {
    const life = { alive: true };
    const { random } = this.world;
    const zone = (): string | undefined => random.pick([undefined, "z1", "z2", "z3"]);
    const preference = { readZone: zone(), stampZone: this.#spreadStamps ? zone() : undefined };
    return { core: this.world.coordinator(() => life.alive, preference), life };
  }

  note(line: string): void {
    this.#note(line);
  }

  get elapsedMs(): number {
    return this.world.nowMs - START_MS;
  }

  /** Steps of clients so far. */
  get step(): number {
    return this.#step;
  }

  get #caller(): Caller {
    return this.#circumstances?.caller() ?? CALLER;
  }

  #note(line: string): void {
    this.world.trace.push(`${this.world.nowMs - START_MS} ${line}`);
  }

  #count(name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
  }

  // Clients

  #submit(
    request: Request,
    gateway: QuorumCoordinator | undefined,
    done: (answer: SessionAnswer | undefined) => void,
  ): void {
    const core = gateway ?? this.#places[this.world.random.between(0, this.#places.length - 1)]!.core;
    let open = true;
    const once = (answer: SessionAnswer | undefined): void => {
      if (!open) return;
      open = false;
      this.#step++;
      done(answer);
    };
    core.submit(this.#caller, { id: 1, ...request }, once);
    this.world.after(CLIENT_TIMEOUT_MS, () => once(undefined));
  }

  #level(): Consistency {
    const roll = this.world.random.next();
    return roll < 0.12 ? "one" : roll < 0.9 ? "quorum" : "all";
  }

  #operate(): void {
    const { random } = this.world;
    const client = random.between(0, 2);
    const key = random.pick(this.#keys);
    if (random.chance(0.4)) this.#read(client, key);
    else this.#write(client, key);
  }

  #read(client: number, key: string): void {
    const level = this.#level();
    const startStep = ++this.#step;
    this.#note(`client ${client} reads ${key} at ${level}, step ${startStep}`);
    this.#submit({ op: "get", key, consistency: level }, undefined, (answer) => {
      this.#note(`  read ${startStep} of ${key}: ${answer ? brief(answer) : "no answer"}`);
      this.#count(`read ${answer?.kind === "error" ? answer.code : (answer?.kind ?? "none")}`);
      if (!answer || !("clock" in answer)) return;
      this.history.readDone({ key, level, startStep, endStep: this.#step }, answer);
      this.#learn(client, key, { clock: answer.clock, isStrong: level !== "one" });
    });
  }

  #learn(client: number, key: string, known: Known): void {
    if (this.world.random.chance(0.7)) this.#known.set(`${client}/${key}`, known);
  }

  /** A client that never read the key writes it now, through a gateway that has it stamped in this zone. */
  writeUnread(key: string, zone: string): void {
    const gateway = this.world.coordinator(undefined, { readZone: zone, stampZone: zone });
    if (!this.#isQuiet) this.#write(this.world.random.between(0, 2), key, gateway);
  }

  #write(client: number, key: string, gateway?: QuorumCoordinator): void {
    const { random } = this.world;
    const writeId = random.bytes(16);
    const isDelete = random.chance(this.#circumstances?.deletes ?? 0.25);
    const known = !gateway && random.chance(0.7) ? this.#known.get(`${client}/${key}`) : undefined;
    if (known && !known.isStrong) this.history.expose(key, known.clock);
    const level = this.#level();
    const isOwnId = random.chance(0.2);
    const id = hex(writeId);
    const write = this.history.begin({ id, key, isDelete, clock: known?.clock, strict: level !== "one" || isOwnId });
    const request: Request = {
      op: isDelete ? "delete" : "put",
      key,
      consistency: level,
      writeId,
      clock: known?.clock,
      value: isDelete ? undefined : encoder.encode(id),
      bodyHash: isOwnId ? writeId.slice(0, 8) : undefined,
    };
    this.#note(
      `client ${client} ${request.op}s ${key} as ${id} at ${level}${isOwnId ? " with its own id" : ""} knowing ${known ? briefClock(known.clock) : "nothing"}`,
    );
    this.#attempt({ client, write, request, number: 1, gateway });
  }

  #attempt(attempt: Attempt): void {
    const { client, write, request, number, gateway } = attempt;
    const { random } = this.world;
    // Of a client's own id the house does not know which attempt it is: the vote says.
    const isVoted = request.bodyHash !== undefined;
    const again = (delayMs: number): void => {
      if (number >= MAX_ATTEMPTS) return;
      this.world.after(delayMs, () =>
        this.#attempt({
          ...attempt,
          gateway: undefined,
          request: { ...request, isRetry: !isVoted },
          number: number + 1,
        }),
      );
    };
    if (number > 1) this.#note(`client ${client} retries ${write.id}, attempt ${number}`);
    if (random.chance(0.08)) again(random.between(1, 150));
    this.#submit(request, gateway, (answer) => {
      this.#note(`  ${write.id} of ${write.key}: ${answer ? brief(answer) : "no answer"}`);
      this.#count(`write ${answer?.kind === "error" ? answer.code : (answer?.kind ?? "none")}`);
      if (answer?.kind === "written") {
        write.answers.push(answer.clock);
        const isStrong = request.consistency !== "one" || request.bodyHash !== undefined;
        if (isStrong) write.acknowledged.push({ endStep: this.#step, clock: answer.clock });
        this.#learn(client, write.key, { clock: answer.clock, isStrong });
        if (random.chance(0.15)) again(random.between(1, 3000));
      } else if (random.chance(0.7)) {
        again(random.between(1, random.chance(0.3) ? 3000 : 300));
      }
    });
  }

  // Faults

  #fault(): void {
    if (this.#isQuiet) return;
    const { world } = this;
    const { random } = world;
    const node = world.node(random.pick([...world.nodes.keys()]));
    const name = node.info.id;
    const forMs = random.between(20, random.chance(0.3) ? 2500 : 300);
    switch (random.between(0, 7)) {
      case 0:
        this.#network();
        break;
      case 1:
        if (!node.isUp) break;
        this.#note(`${name} crashes for ${forMs}`);
        node.crash();
        world.after(forMs, () => node.restart());
        break;
      case 2:
        node.isStalled = true;
        this.#note(`${name} stalls for ${forMs}`);
        world.after(Math.min(forMs, this.#circumstances?.maxLateMs ?? forMs), () => {
          node.isStalled = false;
        });
        break;
      case 3:
      case 4:
        world.cut.add(name);
        this.#note(`${name} is cut off for ${forMs}`);
        world.after(forMs, () => world.cut.delete(name));
        break;
      case 5:
        // Forward only: a clock that steps back takes back the protection against late stamps.
        node.skewMs = random.between(node.skewMs, MAX_SKEW_MS);
        this.#note(`${name} has a clock ${node.skewMs} off`);
        break;
      case 6: {
        const at = random.between(0, this.#places.length - 1);
        this.#note(`coordinator ${at} dies`);
        this.#places[at]!.life.alive = false;
        this.#places[at] = this.#place();
        break;
      }
      default:
        if (random.chance(0.5)) this.#loseDisk(name);
    }
  }

  #network(): void {
    const { random } = this.world;
    const faults: Faults = {
      lose: random.pick([0, 0, 0.01, 0.05, 0.15]),
      repeat: random.pick([0, 0.05, 0.3]),
      minDelayMs: 1,
      maxDelayMs: random.pick([1, 5, 40, 120]),
      straggle: random.pick([0, 0.02, 0.1]),
      straggleMs: this.#circumstances?.maxLateMs ?? 2500,
      dieBeforeCommit: random.pick([0, 0, 0.01]),
    };
    this.world.faults = faults;
    this.#note(`network ${JSON.stringify(faults)}`);
  }

  /** The node starts empty under a new incarnation, and counts again only when it was filled from the others. */
  #loseDisk(name: string): void {
    if (this.#rebuilding || this.#circumstances?.mayLoseDisk === false) return;
    this.#rebuilding = true;
    const { world } = this;
    const node = world.node(name);
    this.#note(`${name} loses its disk`);
    node.loseDisk();
    node.sync.onRebuilt = () => {
      this.#rebuilding = false;
      this.#count("rebuilt");
      this.#note(`${name} is rebuilt`);
    };
    world.after(REBUILD_PAUSE_MS, () => {
      this.#note(`${name} starts empty`);
      node.start();
    });
  }

  // The run

  async run(): Promise<RunResult> {
    const { world } = this;
    const { random } = world;
    const activeMs = this.#circumstances?.activeMs ?? ACTIVE_MS;
    this.#network();
    this.#circumstances?.begin(this);
    for (let i = 0; i < (this.#circumstances?.operations ?? OPERATIONS); i++) {
      const atMs = this.#circumstances?.operationAtMs?.() ?? random.between(0, activeMs);
      world.after(atMs, () => this.#operate());
    }
    for (let i = random.between(0, 14); i > 0; i--) world.after(random.between(0, activeMs), () => this.#fault());
    world.after(activeMs, () => this.#stopFaults());
    await world.run(activeMs + (this.#circumstances?.quietMs ?? QUIET_MS));
    if (this.#circumstances?.agreesUnread) this.#agreed("before the last read");
    const finals = await this.#readAll();
    const more = this.#circumstances?.problems() ?? [];
    return { problems: check(this.history, finals).concat(this.#late, more), trace: world.trace, counts: this.counts };
  }

  #stopFaults(): void {
    this.#isQuiet = true;
    this.#note("the faults stop");
    this.#circumstances?.calm(this);
    this.world.faults = CALM;
    this.world.cut.clear();
    for (const node of this.world.nodes.values()) {
      node.isStalled = false;
      node.restart();
    }
  }

  readonly #late: string[] = [];

  /** The last reads, at quorum and then at all; afterwards the replicas hold the same bytes. */
  async #readAll(): Promise<ReadonlyMap<string, Uint8Array>> {
    const { world } = this;
    for (const level of ["quorum", "all"] as const) {
      const { core } = this.#place();
      for (const key of this.#keys) {
        const startStep = ++this.#step;
        const spared = level === "quorum" ? this.#circumstances?.spared(key) : undefined;
        if (spared) world.cut.add(spared);
        const answer = await world.ask(core, this.#caller, { op: "get", key, consistency: level });
        world.cut.clear();
        this.#note(`last read of ${key} at ${level}: ${brief(answer)}`);
        this.#step++;
        if (answer.kind === "error") this.#late.push(`the last read of ${key} at ${level} fails: ${answer.message}`);
        else this.history.readDone({ key, level, startStep, endStep: this.#step }, answer);
      }
    }
    await world.run(500);
    return this.#agreed("after the last read");
  }

  /** What all of a key's replicas hold, key by key. */
  #agreed(when: string): ReadonlyMap<string, Uint8Array> {
    const { world } = this;
    const finals = new Map<string, Uint8Array>();
    const rows = new Map([...world.nodes.values()].flatMap(({ engine }) => engine.rows().map((row) => [row.key, row])));
    for (const row of rows.values()) {
      const holders = this.#circumstances?.holders(row.key) ?? [...world.nodes.keys()];
      const states = holders.map((id) => {
        const state = world.node(id).engine.get(row);
        return this.#circumstances?.seen ? this.#circumstances.seen(id, state) : state;
      });
      const texts = new Set(states.map((state) => (state ? hex(state) : "absent")));
      if (texts.size > 1) this.#late.push(`the replicas hold ${texts.size} different states of ${row.key} ${when}`);
      if (states[0]) finals.set(row.key, states[0].slice());
    }
    return finals;
  }
}

const START_MS = 1_800_000_000_000;

export function runSeed(seed: number, sabotage: Sabotage = {}): Promise<RunResult> {
  return new RandomRun(seed, sabotage).run();
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
