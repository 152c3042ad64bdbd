// Membership at work: the pure rules (cluster/gossip) with a clock, a network and a file.
// Guarantees: an incarnation is on disk before anybody hears of it; what arrives is judged at once. Must not: decide who is there.
import { setTimeout as sleep } from "node:timers/promises";
import { Gossip } from "../../cluster/gossip/gossip.ts";
import { GOSSIP_LIMITS, type GossipLimits, type GossipMessage, type Send } from "../../cluster/gossip/types.ts";
import type { ToldMember } from "../../cluster/told.ts";
import type { Incarnation } from "./incarnation.ts";

/** Several times a period. */
const TICKS_PER_PERIOD = 5;
/** How long good-byes may take. Ms. */
const LEAVE_MS = 500;

export interface GossipRunnerOptions {
  readonly zone: string;
  /** Of all instances: who is asked for the others at the start. */
  readonly zones: readonly string[];
  readonly incarnation: Incarnation;
  readonly post: (zone: string, message: GossipMessage) => Promise<void>;
  readonly report: (line: string) => void;
  readonly limits?: GossipLimits;
  /** Monotonic. Ms. */
  readonly now?: () => number;
}

export class GossipRunner {
  readonly #options: GossipRunnerOptions;
  readonly #gossip: Gossip;
  readonly #limits: GossipLimits;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: GossipRunnerOptions) {
    this.#options = options;
    this.#limits = options.limits ?? GOSSIP_LIMITS;
    this.#now = options.now ?? (() => performance.now());
    const { zone, incarnation } = options;
    // Its zone is its address: each instance has its own table of ways.
    const self = { id: zone, address: zone, zone };
    this.#gossip = new Gossip({
      ...{ self, limits: this.#limits, random: Math.random, nowMs: this.#now() },
      incarnation: incarnation.value,
    });
  }

  start(): void {
    this.#send(this.#gossip.join(this.#options.zones));
    this.#timer = setInterval(() => this.tick(), this.#limits.periodMs / TICKS_PER_PERIOD);
    this.#timer.unref();
  }

  tick(): void {
    this.#act(() => this.#gossip.tick(this.#now()));
  }

  /** Of zones that this instance's table does not have nothing is heard: they come with a longer table, or went with a shorter one. */
  receive(message: GossipMessage): void {
    const { zones } = this.#options;
    if (!zones.includes(message.from)) return;
    const updates = message.updates.filter(({ zone }) => zones.includes(zone));
    this.#act(() => this.#gossip.receive({ ...message, updates }, this.#now()));
  }

  /** Says good-bye to all, and nothing afterwards. */
  async leave(): Promise<void> {
    clearInterval(this.#timer);
    const said = this.#gossip.leave().map(({ to, message }) => this.#options.post(to, message));
    await Promise.race([Promise.all(said), sleep(LEAVE_MS, undefined, { ref: false })]);
  }

  get members(): readonly ToldMember[] {
    const [nowMs, epochMs] = [this.#now(), Date.now()];
    const seen = this.#gossip.seen.map(({ zone, state, incarnation, sinceMs, isTrusted }) => {
      return { zone, state, incarnation, sinceMs: Math.round(epochMs - (nowMs - sinceMs)), isTrusted };
    });
    return seen.sort((a, b) => a.zone.length - b.zone.length || (a.zone < b.zone ? -1 : 1));
  }

  /** Zones that this instance has part in the cluster with, its own among them. */
  get together(): readonly string[] {
    return this.#gossip.together(this.#now());
  }

  #act(act: () => readonly Send[]): void {
    const sends = act();
    this.#options.incarnation.save(this.#gossip.incarnation);
    for (const { kind, member } of this.#gossip.takeEvents())
      if (kind !== "suspect") this.#options.report(`${member.zone} is ${kind} (incarnation ${member.incarnation})`);
    this.#send(sends);
  }

  #send(sends: readonly Send[]): void {
    for (const { to, message } of sends) void this.#options.post(to, message);
  }
}
