// A deterministic world for the replication protocol: virtual time, seeded network, crashes. It runs the shipped classes
// (QuorumCoordinator, Replica, HintDelivery); only the disk, the wires and the clock are the simulator's.
import type { Caller, DirectoryView, StorageNode } from "../../src/access/types.ts";
import type { Preference } from "../../src/cluster/ring.ts";
import { decodeState } from "../../src/kv/key-state.ts";
import { type ReplicaOp, readOps, writeOp } from "../../src/replication/frames.ts";
import { HintDelivery } from "../../src/replication/hint-delivery.ts";
import type { Environment } from "../../src/replication/link.ts";
import { QuorumCoordinator } from "../../src/replication/quorum-coordinator.ts";
import { Replica } from "../../src/replication/replica.ts";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { actorOf } from "../../src/wire/clock.ts";
import type { SessionAnswer, SessionRequest } from "../../src/wire/session.ts";
import { type Event, EventQueue } from "./event-queue.ts";
import type { Observer, Sabotage } from "./hooks.ts";
import { MemoryEngine } from "./memory-engine.ts";
import { MemoryHintLog } from "./memory-hint-log.ts";
import { mix, Random } from "./random.ts";

export interface Faults {
  /** Chances in 0..1. */
  readonly lose: number;
  readonly repeat: number;
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  /** Chance that a frame is delayed by up to this much more. */
  readonly straggle?: number;
  readonly straggleMs?: number;
  /** Chance that the node dies between a frame's work and its commit. */
  readonly dieBeforeCommit?: number;
}

export const CALM: Faults = { lose: 0, repeat: 0, minDelayMs: 1, maxDelayMs: 1 };

interface Message {
  readonly nodeId: string;
  readonly frame: Uint8Array;
  /** `from>to`. */
  readonly link: string;
  readonly resolve: (answer: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

/** Replicas that do not change and are never filled: test/simulation/routes is about those that do. */
const ALWAYS_THERE = {
  routeRevision: () => 0,
  isFilling: () => false,
  isFilled: () => true,
  stampFloor: () => 0,
  purgeHorizon: () => 0,
};
const START_MS = 1_800_000_000_000;
const COUNTER_BLOCK = 16;
/** Further apart than clocks step: no deadline of one life of a replica is one of another. Ms. */
const LIFE_ORIGIN_MS = 1_000_000_000;
/** Promises behind an answer: few in a link, more in the delivery of hints. */
const LINK_TICKS = 4;
const DELIVERY_TICKS = 14;
const HINT_TICK_MS = 200;
export const REPLICA_TIMEOUT_MS = 100;
/** As the object does: a target that does not answer must not hold up the hints of others. */
const PEER_TIMEOUT_MS = 100;

/** One storage node: what survives a crash (disk, hints, facts) and what does not (the Replica). */
export class SimulatedNode {
  readonly world: World;
  info: StorageNode;
  engine: MemoryEngine;
  hints: MemoryHintLog;
  incarnation = 1;
  reserved = 0;
  isUp = true;
  isStalled = false;
  /** It works, and takes this much longer for every frame. */
  slowMs = 0;
  isErased: (tenant: number) => boolean = () => false;
  #hintsOfTurn: (() => void)[] = [];
  /** Its disk is gone: only a rebuild may start it. */
  hasLostDisk = false;
  /** From then until it holds what the others do. */
  isRebuilding = false;
  skewMs = 0;
  #lives = 0;
  replica: Replica;
  delivery: HintDelivery;

  constructor(world: World, info: StorageNode) {
    this.world = world;
    this.info = info;
    this.engine = this.#disk();
    this.hints = this.#hintLog();
    this.replica = this.#boot();
    this.delivery = this.#bootDelivery();
  }

  #hintLog(): MemoryHintLog {
    return new MemoryHintLog({
      onAdd: (target, row, state) =>
        this.#hintsOfTurn.push(() => this.world.observer?.hint?.(this.info.id, target, row, state)),
      loses: this.world.sabotage.losesHints ?? false,
    });
  }

  #disk(): MemoryEngine {
    return new MemoryEngine({
      onPut: (row, before, after) => this.world.observer?.put(this.info.id, row, before, after),
      forgetsRecords: this.world.sabotage.forgetsRecords ?? false,
    });
  }

  get actor(): number {
    return actorOf(this.info.number, this.incarnation);
  }

  #boot(): Replica {
    return new Replica({
      engine: this.engine,
      hints: this.hints,
      actor: actorOf(this.info.number, this.incarnation),
      now: () => this.world.nowMs + this.skewMs,
      timeOriginMs: this.#lives++ * LIFE_ORIGIN_MS,
      counterBlock: COUNTER_BLOCK,
      healAfterMs: this.world.healAfterMs,
      facts: {
        reservedCounter: () => this.reserved,
        reserveCounter: (upTo) => {
          this.reserved = upTo;
        },
        isErased: (tenant) => this.isErased(tenant),
        isRebuilding: () => this.isRebuilding && !this.world.sabotage.countsWhileRebuilding,
        ...ALWAYS_THERE,
      },
    });
  }

  #bootDelivery(): HintDelivery {
    const { world } = this;
    const call = (nodeId: string, frame: Uint8Array): Promise<Uint8Array> =>
      new Promise((resolve, reject) => {
        const timer = world.after(PEER_TIMEOUT_MS, () => {
          world.settles(DELIVERY_TICKS);
          reject(new Error(`${nodeId} is late`));
        });
        world
          .call(nodeId, frame, this.info.id)
          .then(resolve, reject)
          .finally(() => {
            timer.cancelled = true;
          });
      });
    return new HintDelivery({ log: this.hints, call, now: () => this.world.nowMs });
  }

  crash(): void {
    this.isUp = false;
    this.engine.rollback();
  }

  /** After a crash; not where the disk was lost with it. */
  restart(): void {
    if (!this.isUp && !this.hasLostDisk) this.start();
  }

  start(): void {
    this.isUp = true;
    this.hasLostDisk = false;
    if (this.world.sabotage.purgesDeleted)
      this.engine.drop((state) => decodeState(state).versions.every(({ value }) => !value));
    this.reserved = this.world.sabotage.reservedAtStart?.(this.reserved) ?? this.reserved;
    this.replica = this.#boot();
    this.delivery = this.#bootDelivery();
  }

  /** The disk is lost; the node stays down. It will start as an empty one with a new incarnation. */
  loseDisk(): void {
    this.isUp = false;
    this.hasLostDisk = true;
    this.isRebuilding = true;
    this.world.observer?.diskLost?.(this.info.id, this.engine);
    this.engine = this.#disk();
    this.hints = this.#hintLog();
    this.incarnation = this.world.sabotage.incarnationOnRebuild?.(this.incarnation) ?? this.incarnation + 1;
    this.reserved = 0;
  }

  /** Applies a frame; with `dies`, the process is gone after the work and before its commit. */
  handle(frame: Uint8Array, dies = false): Uint8Array | undefined {
    const { reserved } = this;
    const hints = dies ? this.hints.copy() : this.hints;
    this.engine.failsCommit = dies;
    this.#hintsOfTurn = [];
    try {
      const answer = this.replica.handle(frame) as Uint8Array;
      for (const tell of this.#hintsOfTurn) tell();
      return answer;
    } catch (error) {
      if (!dies) throw error;
      this.reserved = reserved;
      this.hints = hints;
      this.crash();
      return undefined;
    } finally {
      this.engine.failsCommit = false;
    }
  }
}

export class World extends EventQueue {
  readonly random: Random;
  readonly nodes = new Map<string, SimulatedNode>();
  readonly trace: string[] = [];
  faults: Faults = CALM;
  /** Frames that this says yes to wait in the network until `release`. */
  holds: ((nodeId: string, ops: readonly ReplicaOp[]) => boolean) | undefined;
  #held: (() => void)[] = [];
  /** Node ids that calls do not reach. */
  readonly cut = new Set<string>();
  /** Node ids that calls reach, and whose answers are lost. */
  readonly mute = new Set<string>();
  /** `from>to` pairs that do not reach each other. */
  readonly cutLinks = new Set<string>();
  /** See ReplicaOptions; read when a node starts. */
  healAfterMs = 0;
  /** Of coordinators made from then on: they ask another replica where one is late (Environment.leastPatienceMs). */
  leastPatienceMs: number | undefined;
  readonly sabotage: Sabotage;
  observer: Observer | undefined;
  #revision = 1;
  readonly #coordinators: QuorumCoordinator[] = [];
  #nextId = 1;
  readonly #seed: number;
  readonly #fate = new Random(0);
  #fateMs = 0;
  #fateCount = 0;

  constructor(seed: number, nodeCount = 3, sabotage: Sabotage = {}, weight = 1) {
    super(START_MS, 1);
    this.sabotage = sabotage;
    this.#seed = seed;
    this.random = new Random(seed);
    for (let i = 1; i <= nodeCount; i++) {
      const info: StorageNode = { id: `n${i}`, number: i, incarnation: 1, zone: `z${i}`, weight, state: "active" };
      this.nodes.set(info.id, new SimulatedNode(this, info));
    }
    this.after(HINT_TICK_MS, () => this.#tickHints());
  }

  node(id: string): SimulatedNode {
    const node = this.nodes.get(id);
    if (!node) throw new Error(`no node ${id}`);
    return node;
  }

  #tickHints(): void {
    for (const node of this.nodes.values()) if (node.isUp && node.hints.count > 0) void node.delivery.run();
    this.after(HINT_TICK_MS, () => this.#tickHints());
  }

  /**
   * What befalls the next message: by seed, receiver and time, so that leaving out an event of a schedule changes nothing for messages
   * at other times. A schedule shrinks better for it.
   */
  #fateOf(nodeId: string): Random {
    if (this.#fateMs !== this.nowMs) this.#fateCount = 0;
    this.#fateMs = this.nowMs;
    const number = this.node(nodeId).info.number * 64 + this.#fateCount++;
    this.#fate.reset(mix(this.#seed, this.nowMs % 2 ** 32, number));
    return this.#fate;
  }

  #delay(fate: Random, node: SimulatedNode): number {
    const { minDelayMs, maxDelayMs, straggle = 0, straggleMs = 0 } = this.faults;
    const late = fate.chance(straggle) ? fate.between(0, straggleMs) : 0;
    return late + fate.between(minDelayMs, maxDelayMs) + (node.slowMs > 0 ? fate.between(0, node.slowMs) : 0);
  }

  /** A frame to a node and its answer back, through the faulty network. Lost = never settles; the caller's timer decides. */
  call(nodeId: string, frame: Uint8Array, from = ""): Promise<Uint8Array> {
    return new Promise((resolvePromise, rejectPromise) => {
      const ticks = this.nodes.has(from) ? DELIVERY_TICKS : LINK_TICKS;
      const resolve = (answer: Uint8Array): void => {
        this.settles(ticks);
        resolvePromise(answer);
      };
      const reject = (error: Error): void => {
        this.settles(ticks);
        rejectPromise(error);
      };
      const copies = this.#fateOf(nodeId).chance(this.faults.repeat) ? 2 : 1;
      if (copies === 2) this.observer?.repeated?.(frame);
      const sent = this.sabotage.request?.(frame, nodeId) ?? frame;
      const link = `${from}>${nodeId}`;
      for (let i = 0; i < copies; i++) {
        const fate = this.#fateOf(nodeId);
        if (this.cut.has(nodeId) || this.cutLinks.has(link) || fate.chance(this.faults.lose)) {
          const made = this.sabotage.unreached?.(frame, nodeId);
          if (made) resolve(made);
          continue;
        }
        const delayMs = this.#delay(fate, this.node(nodeId));
        const arrive = (): void =>
          void this.after(delayMs, () => this.#arrive({ nodeId, frame: sent, link, resolve, reject }));
        if (this.holds?.(nodeId, readOps(sent))) this.#held.push(arrive);
        else arrive();
      }
    });
  }

  /** Operations that reached a node; whoever sent them never hears of it. */
  deliver(nodeId: string, ops: readonly ReplicaOp[]): void {
    const writer = new ByteWriter(256);
    for (const op of ops) writeOp(writer, op);
    this.node(nodeId).handle(writer.take());
  }

  /** The held frames arrive now, in the order they were sent. */
  release(): void {
    const held = this.#held;
    this.#held = [];
    for (const arrive of held) arrive();
  }

  #arrive(message: Message): void {
    const { nodeId, frame, link, resolve, reject } = message;
    const node = this.node(nodeId);
    if (!node.isUp) {
      const made = this.sabotage.unreached?.(frame, nodeId);
      this.after(1, () => (made ? resolve(made) : reject(new Error(`${nodeId} is down`))));
      return;
    }
    if (node.isStalled) {
      this.after(20, () => this.#arrive(message));
      return;
    }
    this.observer?.frame(nodeId, frame);
    const fate = this.#fateOf(nodeId);
    const plain = node.handle(frame.slice(), fate.chance(this.faults.dieBeforeCommit ?? 0));
    if (!plain) {
      this.trace.push(`${this.nowMs - START_MS} ${nodeId} died before its commit`);
      this.after(fate.between(20, 500), () => node.restart());
      this.after(1, () => reject(new Error(`${nodeId} died`)));
      return;
    }
    const answer = this.sabotage.answer?.(plain, frame, nodeId) ?? plain;
    const isLost = this.cut.has(nodeId) || this.mute.has(nodeId) || this.cutLinks.has(link);
    if (isLost || fate.chance(this.faults.lose)) return;
    this.after(this.#delay(fate, node), () => resolve(answer));
  }

  /** `isAlive` turning false = the coordinator's process is gone: nothing of it goes on. */
  coordinator(
    isAlive: () => boolean = () => true,
    preference: Preference = {},
    { name = "", skewMs = 0 }: { name?: string; skewMs?: number } = {},
  ): QuorumCoordinator {
    const never = new Promise<never>(() => undefined);
    const environment: Environment = {
      call: (nodeId, frame) => (isAlive() ? this.call(nodeId, frame, name) : never),
      now: () => this.nowMs + skewMs,
      schedule: (run) => void this.after(0, () => isAlive() && run()),
      setTimer: (delayMs, run) => this.after(delayMs, () => isAlive() && run()),
      clearTimer: (timer) => {
        (timer as Event).cancelled = true;
      },
      replicaTimeoutMs: REPLICA_TIMEOUT_MS,
      leastPatienceMs: this.leastPatienceMs,
    };
    const coordinator = new QuorumCoordinator(environment, preference);
    coordinator.useView(this.#view());
    this.#coordinators.push(coordinator);
    return coordinator;
  }

  #view(): DirectoryView {
    const nodes = [...this.nodes.values()].map((node) => ({
      ...node.info,
      incarnation: node.incarnation,
      state: this.sabotage.stateShown?.(node.info.state) ?? node.info.state,
    }));
    return { revision: this.#revision, nodes };
  }

  /** Changes a node's state on the ring, for every coordinator at once. */
  setState(nodeId: string, state: StorageNode["state"]): void {
    const node = this.node(nodeId);
    node.info = { ...node.info, state };
    this.#revision++;
    for (const coordinator of this.#coordinators) coordinator.useView(this.#view());
  }

  /** Submits and returns a cell that holds the answer once there is one. */
  submit(
    coordinator: QuorumCoordinator,
    caller: Caller,
    request: Omit<SessionRequest, "id">,
  ): { answer?: SessionAnswer } {
    const cell: { answer?: SessionAnswer } = {};
    coordinator.submit(caller, { id: this.#nextId++, ...request }, (answer) => {
      cell.answer = answer;
    });
    return cell;
  }

  /** Submits and runs the world until it is answered. */
  async ask(
    coordinator: QuorumCoordinator,
    caller: Caller,
    request: Omit<SessionRequest, "id">,
  ): Promise<SessionAnswer> {
    const cell = this.submit(coordinator, caller, request);
    for (let i = 0; i < 5000 && !cell.answer; i++) await this.run(2);
    if (!cell.answer) throw new Error("no answer within 10 s of virtual time");
    return cell.answer;
  }
}
