// Instances that gossip over a network that loses and delays, in virtual time.
// Guarantees: the shipped module; the same seed gives the same run.

import { Gossip } from "../../../src/cluster/gossip/gossip.ts";
import { GOSSIP_LIMITS, type GossipEvent, type GossipLimits, type Send } from "../../../src/cluster/gossip/types.ts";
import { EventQueue } from "../event-queue.ts";
import { Random } from "../random.ts";

const TICK_MS = 100;

export interface Seen extends GossipEvent {
  readonly atMs: number;
  readonly by: string;
}

interface Instance {
  gossip: Gossip;
  isUp: boolean;
  isPaused: boolean;
  /** Only instances of the same side hear each other. */
  side: number;
  waiting: Send["message"][];
}

export interface GossipWorldOptions {
  readonly seed: number;
  readonly count: number;
  readonly loss?: number;
  readonly limits?: Partial<GossipLimits>;
}

export class GossipWorld {
  readonly random: Random;
  readonly events: Seen[] = [];
  loss: number;
  messages = 0;
  bytes = 0;
  readonly #queue = new EventQueue(0, 0);
  readonly #limits: GossipLimits;
  readonly #instances = new Map<string, Instance>();

  constructor({ seed, count, loss = 0, limits }: GossipWorldOptions) {
    this.random = new Random(seed);
    this.loss = loss;
    this.#limits = { ...GOSSIP_LIMITS, ...limits };
    for (let i = 0; i < count; i++) this.start(`i${i}`);
  }

  get nowMs(): number {
    return this.#queue.nowMs;
  }

  get ids(): string[] {
    return [...this.#instances.keys()];
  }

  get up(): string[] {
    return this.ids.filter((id) => this.#instances.get(id)!.isUp);
  }

  gossip(id: string): Gossip {
    return this.#instances.get(id)!.gossip;
  }

  /** How `by` sees `id`. */
  view(by: string, id: string): string {
    return this.gossip(by).members.find((member) => member.id === id)?.state ?? "unknown";
  }

  /** All that are up, each seen so by every other one. */
  agree(ids: readonly string[], state: string): boolean {
    return this.up.every((by) => ids.every((id) => by === id || this.view(by, id) === state));
  }

  run(forMs: number): Promise<void> {
    return this.#queue.run(forMs);
  }

  /** Runs until it holds; gives how long it took, undefined when it does not within `mostMs`. */
  async until(holds: () => boolean, mostMs: number): Promise<number | undefined> {
    const beganMs = this.nowMs;
    while (!holds()) {
      if (this.nowMs - beganMs > mostMs) return undefined;
      await this.run(TICK_MS);
    }
    return this.nowMs - beganMs;
  }

  /** A process with nothing in its memory. */
  start(id: string): void {
    const self = { id, address: id, zone: `z${id}` };
    const random = () => this.random.next();
    const gossip = new Gossip({ self, limits: this.#limits, random, nowMs: this.nowMs });
    const instance = { gossip, isUp: true, isPaused: false, side: 0, waiting: [] };
    this.#instances.set(id, instance);
    this.#send(id, gossip.join(["i0", "i1", "i2"]));
    const tick = (): void => {
      if (this.#instances.get(id) !== instance || !instance.isUp) return;
      if (!instance.isPaused) this.#act(id, (nowMs) => gossip.tick(nowMs));
      this.#queue.after(TICK_MS, tick);
    };
    this.#queue.after(this.random.between(1, TICK_MS), tick);
  }

  kill(id: string): void {
    this.#instances.get(id)!.isUp = false;
  }

  leave(id: string): void {
    this.#act(id, () => this.gossip(id).leave());
    this.kill(id);
  }

  pause(id: string): void {
    this.#instances.get(id)!.isPaused = true;
  }

  /** What came meanwhile is read first. */
  resume(id: string): void {
    const instance = this.#instances.get(id)!;
    instance.isPaused = false;
    for (const message of instance.waiting.splice(0)) this.#deliver(id, message);
  }

  cut(ids: readonly string[], side: number): void {
    for (const id of ids) this.#instances.get(id)!.side = side;
  }

  #act(id: string, act: (nowMs: number) => readonly Send[]): void {
    this.#send(id, act(this.nowMs));
    for (const event of this.gossip(id).takeEvents()) this.events.push({ ...event, atMs: this.nowMs, by: id });
  }

  #send(from: string, sends: readonly Send[]): void {
    for (const { to, message } of sends) {
      this.messages++;
      this.bytes += JSON.stringify(message).length;
      if (this.random.chance(this.loss)) continue;
      const sender = this.#instances.get(from)!;
      this.#queue.after(this.random.between(1, 20), () => {
        const receiver = this.#instances.get(to);
        if (receiver?.isUp && receiver.side === sender.side) this.#deliver(to, message);
      });
    }
  }

  #deliver(to: string, message: Send["message"]): void {
    const instance = this.#instances.get(to)!;
    if (instance.isPaused) instance.waiting.push(message);
    else this.#act(to, (nowMs) => instance.gossip.receive(message, nowMs));
  }
}
