// A deterministic world for the replication protocol: virtual time, seeded network, crashes. It runs the shipped classes
// (QuorumCoordinator, Replica, HintDelivery); only the disk, the wires and the clock are the simulator's.
import type { Caller, DirectoryView, RingState, StorageNode, TenantRoute } from "../../../src/access/types.ts";
import { type Preference, Ring } from "../../../src/cluster/ring.ts";
import type { ReplicaFacts } from "../../../src/replication/facts.ts";
import { type ReplicaOp, readOps, writeOp } from "../../../src/replication/frames.ts";
import { HintDelivery } from "../../../src/replication/hint-delivery.ts";
import type { Environment } from "../../../src/replication/link.ts";
import { QuorumCoordinator } from "../../../src/replication/quorum-coordinator.ts";
import { Replica } from "../../../src/replication/replica.ts";
import { answerPage } from "../../../src/replication/sync-source.ts";
import type { RowKey } from "../../../src/storage/types.ts";
import { ByteWriter } from "../../../src/wire/bytes.ts";
import { actorOf } from "../../../src/wire/clock.ts";
import type { SessionAnswer, SessionRequest } from "../../../src/wire/session.ts";
import { type Event, EventQueue } from "../event-queue.ts";
import { MemoryEngine } from "../memory-engine.ts";
import { MemoryHintLog } from "../memory-hint-log.ts";
import { Random } from "../random.ts";
import { MemoryStanding } from "./memory-standing.ts";
import { NodeSync } from "./node-sync.ts";
import type { Sabotage } from "./planted.ts";

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

export type { Sabotage };

/** Sees every frame that a replica is about to apply and every row it writes. */
export interface Observer {
  frame(nodeId: string, frame: Uint8Array): void;
  put(nodeId: string, row: RowKey, before: Uint8Array | undefined, after: Uint8Array): void;
}

const START_MS = 1_800_000_000_000;
/** Promises behind an event: comparisons await a few in a row. */
const TICKS = 12;
const COUNTER_BLOCK = 16;
/** Sixteen leaves, for the few keys of a run. */
const DIGEST_LEAF_BITS = 28;
/** Further apart than clocks step: no deadline of one life of a replica is one of another. Ms. */
const LIFE_ORIGIN_MS = 1_000_000_000;
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
  standing = new MemoryStanding();
  readonly sync: NodeSync;
  incarnation = 1;
  reserved = 0;
  isUp = true;
  isStalled = false;
  /** It left the ring for good, and its store is gone. */
  isRetired = false;
  /** Its disk is gone: only a rebuild may start it. */
  hasLostDisk = false;
  skewMs = 0;
  #lives = 0;
  replica: Replica;
  delivery: HintDelivery;

  constructor(world: World, info: StorageNode) {
    this.world = world;
    this.info = info;
    this.engine = this.#disk();
    this.hints = new MemoryHintLog();
    this.replica = this.#boot();
    this.delivery = this.#bootDelivery();
    this.sync = new NodeSync(this);
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
      digestLeafBits: DIGEST_LEAF_BITS,
      facts: this.#facts(),
    });
  }

  #facts(): ReplicaFacts {
    return {
      reservedCounter: () => this.reserved,
      reserveCounter: (upTo) => {
        this.reserved = upTo;
      },
      isErased: () => false,
      routeRevision: (tenant) => this.standing.routeRevision(tenant),
      isRebuilding: () => this.standing.isRebuilding,
      isFilling: (tenant, hi) => this.standing.isFilling(tenant, hi),
      isFilled: (epoch) => this.world.sabotage.believesAtOnce || this.standing.isFilled(epoch),
      stampFloor: () => this.standing.floor,
      purgeHorizon: () => this.standing.horizon,
    };
  }

  /** Answers a page request of another node's comparison. */
  page(request: Uint8Array): Promise<Uint8Array> {
    const { engine, actor } = this;
    const recordRoute = (tenant: number, revision: number): void => {
      if (!this.world.sabotage.forgetsRoutes) this.standing.recordRoute(tenant, revision);
    };
    const { digests } = this.replica;
    const held = { engine, actor, digests, facts: this.#facts() };
    return answerPage({ ...held, recordRoute, routes: () => this.standing.routes() }, request);
  }

  #bootDelivery(): HintDelivery {
    const { world } = this;
    const call = (nodeId: string, frame: Uint8Array): Promise<Uint8Array> =>
      new Promise((resolve, reject) => {
        const timer = world.after(PEER_TIMEOUT_MS, () => reject(new Error(`${nodeId} is late`)));
        world
          .call(nodeId, frame)
          .then(resolve, reject)
          .finally(() => {
            timer.cancelled = true;
          });
      });
    return new HintDelivery({ log: this.hints, call, now: () => this.world.nowMs });
  }

  crash(): void {
    this.isUp = false;
    this.sync.stop();
    this.engine.rollback();
  }

  /** After a crash; not where the disk was lost with it. */
  restart(): void {
    if (!this.isUp && !this.hasLostDisk && !this.isRetired) this.start();
  }

  start(): void {
    this.isUp = true;
    if (this.hasLostDisk) this.world.register?.(this);
    this.hasLostDisk = false;
    this.reserved = this.world.sabotage.reservedAtStart?.(this.reserved) ?? this.reserved;
    this.replica = this.#boot();
    this.delivery = this.#bootDelivery();
    this.sync.start();
  }

  /** The disk is lost; the node stays down. It will start as an empty one with a new incarnation. */
  loseDisk(): void {
    this.isUp = false;
    this.hasLostDisk = true;
    this.engine = this.#disk();
    this.hints = new MemoryHintLog();
    this.standing = new MemoryStanding();
    this.standing.isRebuilding = !this.world.sabotage.countsWhileEmpty;
    this.sync.stop();
    this.incarnation = this.world.sabotage.incarnationOnRebuild?.(this.incarnation) ?? this.incarnation + 1;
    this.reserved = 0;
  }

  /** Applies a frame; with `dies`, the process is gone after the work and before its commit. */
  handle(frame: Uint8Array, dies = false): Uint8Array | undefined {
    const { reserved } = this;
    const hints = dies ? this.hints.copy() : this.hints;
    this.engine.failsCommit = dies;
    try {
      return this.replica.handle(frame) as Uint8Array;
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
  readonly sabotage: Sabotage;
  observer: Observer | undefined;
  /** Tells a node whose store is new what the Directory would. */
  register: ((node: SimulatedNode) => void) | undefined;
  #revision = 1;
  readonly #coordinators: QuorumCoordinator[] = [];
  #nextId = 1;

  constructor(seed: number, nodeCount = 3, sabotage: Sabotage = {}) {
    super(START_MS, TICKS);
    this.sabotage = sabotage;
    this.random = new Random(seed);
    for (let i = 1; i <= nodeCount; i++) {
      // A larger world has fewer ranges a node, so that comparing all of them takes no longer than its clients write.
      const weight = nodeCount > 3 ? 0.05 : 1;
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
    for (const node of this.nodes.values()) if (node.isUp) void node.delivery.run();
    for (const node of this.nodes.values()) if (node.isUp) node.sync.tick();
    this.after(HINT_TICK_MS, () => this.#tickHints());
  }

  #delay(): number {
    const { minDelayMs, maxDelayMs, straggle = 0, straggleMs = 0 } = this.faults;
    const late = this.random.chance(straggle) ? this.random.between(0, straggleMs) : 0;
    return late + this.random.between(minDelayMs, maxDelayMs);
  }

  /** A frame to a node and its answer back, through the faulty network. Lost = never settles; the caller's timer decides. */
  call(nodeId: string, frame: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const copies = this.random.chance(this.faults.repeat) ? 2 : 1;
      const sent = this.sabotage.request?.(frame, nodeId) ?? frame;
      for (let i = 0; i < copies; i++) {
        if (this.cut.has(nodeId) || this.random.chance(this.faults.lose)) {
          const made = this.sabotage.unreached?.(frame, nodeId);
          if (made) resolve(made);
          continue;
        }
        const arrive = (): void => void this.after(this.#delay(), () => this.#arrive(nodeId, sent, resolve, reject));
        if (this.holds?.(nodeId, readOps(sent))) this.#held.push(arrive);
        else arrive();
      }
    });
  }

  /** Any other call of a node, through the same network. */
  rpc<T>(nodeId: string, run: (node: SimulatedNode) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.cut.has(nodeId) || this.random.chance(this.faults.lose)) return;
      this.after(this.#delay(), () => {
        const node = this.node(nodeId);
        if (!node.isUp || node.isStalled) return reject(new Error(`${nodeId} is away`));
        run(node).then((answer) => {
          if (this.cut.has(nodeId) || this.random.chance(this.faults.lose)) return;
          this.after(this.#delay(), () => resolve(answer));
        }, reject);
      });
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

  #arrive(
    nodeId: string,
    frame: Uint8Array,
    resolve: (answer: Uint8Array) => void,
    reject: (error: Error) => void,
  ): void {
    const node = this.node(nodeId);
    if (!node.isUp) {
      const made = this.sabotage.unreached?.(frame, nodeId);
      this.after(1, () => (made ? resolve(made) : reject(new Error(`${nodeId} is down`))));
      return;
    }
    if (node.isStalled) {
      this.after(20, () => this.#arrive(nodeId, frame, resolve, reject));
      return;
    }
    this.observer?.frame(nodeId, frame);
    const plain = node.handle(frame.slice(), this.random.chance(this.faults.dieBeforeCommit ?? 0));
    if (!plain) {
      this.trace.push(`${this.nowMs} ${nodeId} died before its commit`);
      this.after(this.random.between(20, 500), () => node.restart());
      this.after(1, () => reject(new Error(`${nodeId} died`)));
      return;
    }
    const answer = this.sabotage.answer?.(plain, frame, nodeId) ?? plain;
    if (this.cut.has(nodeId) || this.random.chance(this.faults.lose)) return;
    this.after(this.#delay(), () => resolve(answer));
  }

  /** `isAlive` turning false = the coordinator's process is gone: nothing of it goes on. */
  coordinator(isAlive: () => boolean = () => true, preference: Preference = {}): QuorumCoordinator {
    const never = new Promise<never>(() => undefined);
    const environment: Environment = {
      call: (nodeId, frame) => (isAlive() ? this.call(nodeId, frame) : never),
      now: () => this.nowMs,
      schedule: (run) => void this.after(0, () => isAlive() && run()),
      setTimer: (delayMs, run) => this.after(delayMs, () => isAlive() && run()),
      clearTimer: (timer) => {
        (timer as Event).cancelled = true;
      },
      replicaTimeoutMs: REPLICA_TIMEOUT_MS,
      reloadRoute: (tenant) => (isAlive() ? this.routeOf(tenant) : never),
      reloadView: () => (isAlive() ? this.#laterView() : never),
    };
    const coordinator = new QuorumCoordinator(environment, preference);
    coordinator.useView(this.sabotage.view?.(this.#view()) ?? this.#view());
    this.#coordinators.push(coordinator);
    return coordinator;
  }

  /** Tenants' routes as their owners tell them; a tenant that never changed has none here. */
  readonly routes = new Map<number, TenantRoute>();
  /** Between two steps of a comparison. */
  syncPauseMs = 1;

  routeOf(tenant: number): Promise<TenantRoute> {
    const unchanged = { replicationFactor: 3 };
    return new Promise((resolve) => this.after(this.#delay(), () => resolve(this.routes.get(tenant) ?? unchanged)));
  }

  #ring: { readonly ring: Ring; readonly revision: number } | undefined;

  /** How old the ring may be that a node compares by, and how late coordinators hear of a new one, ms. */
  ringLagMs = 0;
  ringState: RingState | undefined;
  readonly #ringsSeen = new Map<string, { readonly ring: Ring; readonly atMs: number }>();

  ring(): Ring {
    if (this.#ring?.revision !== this.#revision) {
      const { nodes, ring } = this.#view();
      this.#ring = { ring: new Ring(nodes, {}, ring), revision: this.#revision };
    }
    return this.#ring.ring;
  }

  /** As a node that keeps it for a while sees it. */
  ringSeenBy(nodeId: string): Ring {
    const seen = this.#ringsSeen.get(nodeId);
    if (seen && this.nowMs - seen.atMs < this.ringLagMs) return seen.ring;
    this.#ringsSeen.set(nodeId, { ring: this.ring(), atMs: this.nowMs });
    return this.ring();
  }

  #view(): DirectoryView {
    const nodes = [...this.nodes.values()].map((node) => ({ ...node.info, incarnation: node.incarnation }));
    return { revision: this.#revision, nodes, ring: this.ringState };
  }

  #laterView(): Promise<DirectoryView> {
    return new Promise((resolve) =>
      this.after(this.#delay(), () => resolve(this.sabotage.view?.(this.#view()) ?? this.#view())),
    );
  }

  /** What the Directory publishes: coordinators hear of it one after the other, or not at all until they are refused. */
  publish(nodes: readonly StorageNode[], ring: RingState): void {
    for (const info of nodes) {
      const node = this.nodes.get(info.id);
      if (node) node.info = { ...info, incarnation: node.incarnation };
      else this.nodes.set(info.id, new SimulatedNode(this, { ...info, incarnation: 1 }));
    }
    this.ringState = ring;
    this.#revision++;
    for (const coordinator of this.#coordinators) {
      if (this.ringLagMs > 0 && this.random.chance(0.3)) continue;
      const tell = (): void => coordinator.useView(this.sabotage.view?.(this.#view()) ?? this.#view());
      if (this.ringLagMs > 0) this.after(this.random.between(0, this.ringLagMs), tell);
      else tell();
    }
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
