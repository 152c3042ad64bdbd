// What happens in a simulated run, drawn from its seed before it begins: who writes and reads what and when, and what fails.
// A schedule is data, so that a failing one can be cut down (shrink.ts). Every event has its own stream of randomness, and so has
// every message: leaving one event out changes nothing for the others.
import type { ConflictPolicy } from "../../src/access/types.ts";
import type { Consistency } from "../../src/wire/session.ts";
import { mix, Random } from "./random.ts";
import type { Faults } from "./world.ts";

export const ACTIVE_MS = 6000;
export const PLACE_COUNT = 3;
const CLIENT_COUNT = 3;
export const MAX_SKEW_MS = 120_000;
const ZONES: readonly (string | undefined)[] = [undefined, "z1", "z2", "z3"];

/**
 * `plain`: a bit of everything. `storm`: one key, many writes that know nothing of each other. `late`: one key, writes without a clock through
 * different stampers, and nodes that do not answer in time: what comes late finds the world changed.
 */
type Style = "plain" | "storm" | "late";
const EPISODES = 4;
/** The chance that a write has a context. */
const KNOWING: Readonly<Record<Style, number>> = { plain: 0.7, storm: 0.97, late: 0.25 };

export interface WriteStep {
  readonly kind: "write";
  readonly client: number;
  readonly key: string;
  readonly level: Consistency;
  readonly isDelete: boolean;
  /** `seen`: with the clock that the client last learned, where it has one. `empty`: as one that has seen nothing. */
  readonly context: "none" | "seen" | "empty";
  /** The client's own Idempotency-Key: voted on. */
  readonly hasOwnId: boolean;
  /** After this much another body is sent under the same Idempotency-Key. */
  readonly reuseAfterMs: number | undefined;
}

export interface ReadStep {
  readonly kind: "read";
  readonly client: number;
  readonly key: string;
  readonly level: Consistency;
}

/** Operations that reach the coordinator in one turn, as a batch does. */
export interface BatchStep {
  readonly kind: "batch";
  readonly items: readonly (WriteStep | ReadStep)[];
}

/** Whose replicas a coordinator prefers, and how far its clock is off. */
export interface PlaceOptions {
  readonly readZone?: string;
  readonly stampZone?: string;
  readonly skewMs?: number;
}

export type FaultStep =
  | { readonly kind: "network"; readonly faults: Faults }
  | ({ readonly kind: "coordinator"; readonly place: number } & PlaceOptions)
  | { readonly kind: "clock"; readonly node: string; readonly skewMs: number }
  | { readonly kind: "disk"; readonly node: string }
  | { readonly kind: "unlink"; readonly from: string; readonly node: string; readonly forMs: number }
  | { readonly kind: "slow"; readonly node: string; readonly forMs: number; readonly byMs: number }
  | { readonly kind: "crash" | "stall" | "cut" | "mute" | "busy"; readonly node: string; readonly forMs: number };

export type Step = WriteStep | ReadStep | BatchStep | FaultStep;

export interface ScheduledEvent {
  /** Its place in the schedule that the seed gives; keeps it when others are left out. */
  readonly id: number;
  readonly atMs: number;
  readonly step: Step;
}

export interface Schedule {
  readonly seed: number;
  readonly nodeCount: number;
  readonly replicationFactor: number;
  readonly policy: ConflictPolicy;
  readonly keys: readonly string[];
  readonly events: readonly ScheduledEvent[];
}

export function isFault(step: Step): step is FaultStep {
  return step.kind !== "write" && step.kind !== "read" && step.kind !== "batch";
}

class Draw {
  readonly #random: Random;
  readonly #keys: readonly string[];
  readonly #nodes: readonly string[];
  readonly #spreadsStamps: boolean;
  readonly #style: Style;
  readonly #mayLoseDisk: boolean;
  readonly events: ScheduledEvent[] = [];

  constructor(
    random: Random,
    options: { keys: readonly string[]; nodes: readonly string[]; style: Style; mayLoseDisk: boolean },
  ) {
    this.#random = random;
    this.#keys = options.keys;
    this.#nodes = options.nodes;
    this.#style = options.style;
    this.#mayLoseDisk = options.mayLoseDisk;
    this.#spreadsStamps = options.style !== "plain" || random.chance(0.4);
  }

  add(atMs: number, step: Step): void {
    this.events.push({ id: this.events.length, atMs, step });
  }

  #level(): Consistency {
    const roll = this.#random.next();
    if (this.#style === "storm") return roll < 0.7 ? "one" : "quorum";
    return roll < 0.12 ? "one" : roll < 0.9 ? "quorum" : "all";
  }

  #read(): ReadStep {
    const client = this.#random.between(0, CLIENT_COUNT - 1);
    return { kind: "read", client, key: this.#random.pick(this.#keys), level: this.#level() };
  }

  #write(): WriteStep {
    const random = this.#random;
    const hasOwnId = random.chance(0.2);
    const knows = this.#style === "storm" || random.chance(0.07) ? "empty" : "seen";
    return {
      kind: "write",
      client: random.between(0, CLIENT_COUNT - 1),
      key: random.pick(this.#keys),
      level: this.#level(),
      isDelete: random.chance(0.25),
      context: random.chance(KNOWING[this.#style]) ? knows : "none",
      hasOwnId,
      reuseAfterMs: hasOwnId && random.chance(0.3) ? random.between(0, 800) : undefined,
    };
  }

  operation(): WriteStep | ReadStep | BatchStep {
    const one = (): WriteStep | ReadStep =>
      this.#random.chance(this.#style === "storm" ? 0.1 : 0.4) ? this.#read() : this.#write();
    if (!this.#random.chance(0.08)) return one();
    return { kind: "batch", items: Array.from({ length: this.#random.between(2, 5) }, one) };
  }

  place(place: number): FaultStep {
    const random = this.#random;
    const readZone = random.pick(ZONES);
    const stampZone = this.#spreadsStamps ? random.pick(ZONES) : undefined;
    const skewMs = random.between(-MAX_SKEW_MS, MAX_SKEW_MS);
    return { kind: "coordinator", place, skewMs, ...(readZone && { readZone }), ...(stampZone && { stampZone }) };
  }

  network(): FaultStep {
    const random = this.#random;
    const faults: Faults = {
      lose: random.pick([0, 0, 0.01, 0.05, 0.15]),
      repeat: random.pick([0, 0.05, 0.3]),
      minDelayMs: 1,
      maxDelayMs: random.pick([1, 5, 40, 120]),
      straggle: random.pick([0, 0.05, 0.2]),
      straggleMs: 2500,
      dieBeforeCommit: random.pick([0, 0, 0.01]),
    };
    return { kind: "network", faults };
  }

  fault(atMs: number): void {
    const node = this.#random.pick(this.#nodes);
    const step = this.#fault(node);
    this.add(atMs, step);
    // The hardest case for what a disk held: another node missed it, and has not been told yet.
    if (step.kind !== "disk" || this.#random.chance(0.4)) return;
    const other = this.#nodes[(this.#nodes.indexOf(node) + 1) % this.#nodes.length]!;
    const beforeMs = this.#random.between(100, 1200);
    this.add(Math.max(0, atMs - beforeMs), {
      kind: "cut",
      node: other,
      forMs: beforeMs + this.#random.between(0, 300),
    });
  }

  /**
   * What random faults seldom hit: a node that stamps while it is alone, is met by a later write, and goes away; or one that takes its
   * stamps late, after others have taken its place.
   */
  episode(atMs: number): void {
    const random = this.#random;
    const node = random.pick(this.#nodes);
    const write = (offsetMs: number): void =>
      this.add(atMs + offsetMs, { ...this.#write(), context: "none", level: "quorum" });
    if (random.chance(0.5)) {
      const stalledMs = random.between(150, 900);
      this.add(atMs, { kind: "stall", node, forMs: stalledMs });
      write(random.between(0, 30));
      write(random.between(120, stalledMs));
      return;
    }
    const aloneMs = random.between(150, 500);
    for (const other of this.#nodes) if (other !== node) this.add(atMs, { kind: "cut", node: other, forMs: aloneMs });
    write(random.between(5, 60));
    write(aloneMs + random.between(20, 200));
    this.add(atMs + aloneMs + random.between(150, 600), { kind: "crash", node, forMs: random.between(300, 2500) });
  }

  #fault(node: string): FaultStep {
    const random = this.#random;
    const forMs = random.between(20, random.chance(0.3) ? 2500 : 300);
    switch (this.#style === "late" && random.chance(0.5) ? random.between(1, 4) : random.between(0, 11)) {
      case 0:
        return this.network();
      case 1:
        return { kind: "crash", node, forMs };
      case 2:
        return { kind: "stall", node, forMs };
      case 3:
        return { kind: "cut", node, forMs };
      case 4:
        return { kind: "mute", node, forMs };
      case 5:
        return { kind: "clock", node, skewMs: random.between(-MAX_SKEW_MS, MAX_SKEW_MS) };
      case 6:
        return this.place(random.between(0, PLACE_COUNT - 1));
      case 7:
        return { kind: "slow", node, forMs: forMs * 2, byMs: random.pick([30, 90, 200]) };
      case 8: {
        const from = random.chance(0.3) ? random.pick(this.#nodes) : `c${random.between(0, PLACE_COUNT - 1)}`;
        return { kind: "unlink", from, node, forMs: forMs * 2 };
      }
      case 9:
        return { kind: "busy", node, forMs };
      default:
        return this.#mayLoseDisk ? { kind: "disk", node } : { kind: "cut", node, forMs };
    }
  }
}

export function makeSchedule(seed: number): Schedule {
  const random = new Random(mix(seed, 1));
  const nodeCount = random.pick([3, 3, 3, 3, 3, 4, 5]);
  const replicationFactor = nodeCount === 4 ? 3 : nodeCount;
  const policy = random.pick(["siblings", "siblings", "siblings", "lastWriteWins", "jsonMerge"] as const);
  const style: Style = random.chance(0.04) ? "storm" : random.chance(0.3) ? "late" : "plain";
  const keys = ["a", "b", "c"].slice(0, style === "plain" ? random.between(1, 3) : 1);
  const nodes = Array.from({ length: nodeCount }, (_, i) => `n${i + 1}`);
  // A node without its disk comes back among those that hold its keys. Where there are more nodes, that is a move of ranges.
  const draw = new Draw(random, { keys, nodes, style, mayLoseDisk: nodeCount === replicationFactor });
  for (let place = 0; place < PLACE_COUNT; place++) draw.add(0, draw.place(place));
  for (const node of nodes) draw.add(0, { kind: "clock", node, skewMs: random.between(-MAX_SKEW_MS, MAX_SKEW_MS) });
  draw.add(0, draw.network());
  const operationCount = style === "storm" ? 120 : random.pick(style === "late" ? [8, 20, 40] : [15, 30, 60]);
  for (let i = 0; i < operationCount; i++) draw.add(random.between(0, ACTIVE_MS), draw.operation());
  for (let i = style === "late" ? EPISODES : 0; i > 0; i--) draw.episode(random.between(0, ACTIVE_MS - 1500));
  for (let i = random.between(0, 14); i > 0; i--) draw.fault(random.between(0, ACTIVE_MS));
  return { seed, nodeCount, replicationFactor, policy, keys, events: draw.events };
}

/** The same schedule with only these events. */
export function only(schedule: Schedule, ids: readonly number[]): Schedule {
  const kept = new Set(ids);
  return { ...schedule, events: schedule.events.filter((event) => kept.has(event.id)) };
}

/** One line for each event, for people. */
export function describe(event: ScheduledEvent): string {
  const { kind, ...rest } = event.step;
  return `#${event.id} at ${event.atMs}: ${kind} ${JSON.stringify(rest)}`;
}
