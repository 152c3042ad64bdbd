// A deterministic world for the replication protocol: virtual time, seeded network, crashes. It runs the shipped classes
// (QuorumCoordinator, Replica, HintDelivery); only the disk, the wires and the clock are the simulator's.
import type { Caller, StorageNode } from "../../src/access/types.ts";
import { HintDelivery } from "../../src/replication/hint-delivery.ts";
import type { Environment } from "../../src/replication/link.ts";
import { QuorumCoordinator } from "../../src/replication/quorum-coordinator.ts";
import { Replica } from "../../src/replication/replica.ts";
import { actorOf } from "../../src/wire/clock.ts";
import type { SessionAnswer, SessionRequest } from "../../src/wire/session.ts";
import { MemoryEngine } from "./memory-engine.ts";
import { MemoryHintLog } from "./memory-hint-log.ts";
import { Random } from "./random.ts";

export interface Faults {
  /** Chances in 0..1. */
  readonly lose: number;
  readonly repeat: number;
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
}

export const CALM: Faults = { lose: 0, repeat: 0, minDelayMs: 1, maxDelayMs: 1 };

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

const COUNTER_BLOCK = 16;
const HINT_TICK_MS = 200;
const REPLICA_TIMEOUT_MS = 100;

/** One storage node: what survives a crash (disk, hints, facts) and what does not (the Replica). */
export class SimulatedNode {
  readonly world: World;
  readonly info: StorageNode;
  engine = new MemoryEngine();
  hints: MemoryHintLog;
  incarnation = 1;
  reserved = 0;
  isUp = true;
  isStalled = false;
  skewMs = 0;
  replica: Replica;
  delivery: HintDelivery;

  constructor(world: World, info: StorageNode) {
    this.world = world;
    this.info = info;
    this.hints = new MemoryHintLog();
    this.replica = this.#boot();
    this.delivery = this.#bootDelivery();
  }

  #boot(): Replica {
    return new Replica({
      engine: this.engine,
      hints: this.hints,
      actor: actorOf(this.info.number, this.incarnation),
      now: () => this.world.nowMs + this.skewMs,
      counterBlock: COUNTER_BLOCK,
      facts: {
        reservedCounter: () => this.reserved,
        reserveCounter: (upTo) => {
          this.reserved = upTo;
        },
        isErased: () => false,
      },
    });
  }

  #bootDelivery(): HintDelivery {
    const call = (nodeId: string, frame: Uint8Array): Promise<Uint8Array> => this.world.call(nodeId, frame);
    return new HintDelivery({ log: this.hints, call, now: () => this.world.nowMs });
  }

  crash(): void {
    this.isUp = false;
    this.engine.rollback();
  }

  start(): void {
    this.isUp = true;
    this.replica = this.#boot();
    this.delivery = this.#bootDelivery();
  }

  /** The disk is lost: an empty node with a new incarnation. */
  rebuild(): void {
    this.engine = new MemoryEngine();
    this.hints = new MemoryHintLog();
    this.incarnation++;
    this.reserved = 0;
    this.start();
  }
}

export class World {
  readonly random: Random;
  readonly nodes = new Map<string, SimulatedNode>();
  readonly trace: string[] = [];
  faults: Faults = CALM;
  /** Node ids that calls do not reach. */
  readonly cut = new Set<string>();
  nowMs = 1_800_000_000_000;
  #events: Event[] = [];
  #order = 0;
  #nextId = 1;

  constructor(seed: number, nodeCount = 3) {
    this.random = new Random(seed);
    for (let i = 1; i <= nodeCount; i++) {
      const info: StorageNode = { id: `n${i}`, number: i, incarnation: 1, zone: `z${i}`, weight: 1, state: "active" };
      this.nodes.set(info.id, new SimulatedNode(this, info));
    }
    this.after(HINT_TICK_MS, () => this.#tickHints());
  }

  node(id: string): SimulatedNode {
    const node = this.nodes.get(id);
    if (!node) throw new Error(`no node ${id}`);
    return node;
  }

  after(delayMs: number, run: () => void): Event {
    const event = { atMs: this.nowMs + delayMs, order: this.#order++, run };
    let at = this.#events.length;
    while (at > 0 && this.#events[at - 1]!.atMs > event.atMs) at--;
    this.#events.splice(at, 0, event);
    return event;
  }

  #tickHints(): void {
    for (const node of this.nodes.values()) if (node.isUp) void node.delivery.run();
    this.after(HINT_TICK_MS, () => this.#tickHints());
  }

  /** Runs events until `untilMs` of virtual time has passed. */
  async run(forMs: number): Promise<void> {
    const endMs = this.nowMs + forMs;
    for (let event = this.#events[0]; event && event.atMs <= endMs; event = this.#events[0]) {
      this.#events.shift();
      this.nowMs = event.atMs;
      event.run();
      for (let i = 0; i < 12; i++) await null;
    }
    this.nowMs = endMs;
  }

  #delay(): number {
    return this.random.between(this.faults.minDelayMs, this.faults.maxDelayMs);
  }

  /** A frame to a node and its answer back, through the faulty network. Lost = never settles; the caller's timer decides. */
  call(nodeId: string, frame: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const copies = this.random.chance(this.faults.repeat) ? 2 : 1;
      for (let i = 0; i < copies; i++) {
        if (this.cut.has(nodeId) || this.random.chance(this.faults.lose)) continue;
        this.after(this.#delay(), () => this.#arrive(nodeId, frame, resolve, reject));
      }
    });
  }

  #arrive(nodeId: string, frame: Uint8Array, resolve: (answer: Uint8Array) => void, reject: (error: Error) => void): void {
    const node = this.node(nodeId);
    if (!node.isUp) {
      this.after(1, () => reject(new Error(`${nodeId} is down`)));
      return;
    }
    if (node.isStalled) {
      this.after(20, () => this.#arrive(nodeId, frame, resolve, reject));
      return;
    }
    const answer = node.replica.handle(frame.slice()) as Uint8Array;
    if (this.cut.has(nodeId) || this.random.chance(this.faults.lose)) return;
    this.after(this.#delay(), () => resolve(answer));
  }

  coordinator(): QuorumCoordinator {
    const environment: Environment = {
      call: (nodeId, frame) => this.call(nodeId, frame),
      now: () => this.nowMs,
      schedule: (run) => void this.after(0, run),
      setTimer: (delayMs, run) => this.after(delayMs, run),
      clearTimer: (timer) => {
        this.#events = this.#events.filter((event) => event !== timer);
      },
      replicaTimeoutMs: REPLICA_TIMEOUT_MS,
    };
    const coordinator = new QuorumCoordinator(environment);
    coordinator.useView({ revision: 1, nodes: [...this.nodes.values()].map((node) => ({ ...node.info, incarnation: node.incarnation })) });
    return coordinator;
  }

  /** Submits and returns a cell that holds the answer once there is one. */
  submit(coordinator: QuorumCoordinator, caller: Caller, request: Omit<SessionRequest, "id">): { answer?: SessionAnswer } {
    const cell: { answer?: SessionAnswer } = {};
    coordinator.submit(caller, { id: this.#nextId++, ...request }, (answer) => {
      cell.answer = answer;
    });
    return cell;
  }

  /** Submits and runs the world until it is answered. */
  async ask(coordinator: QuorumCoordinator, caller: Caller, request: Omit<SessionRequest, "id">): Promise<SessionAnswer> {
    const cell = this.submit(coordinator, caller, request);
    for (let i = 0; i < 5000 && !cell.answer; i++) await this.run(2);
    if (!cell.answer) throw new Error("no answer within 10 s of virtual time");
    return cell.answer;
  }
}
