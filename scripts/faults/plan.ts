// What is done to a cluster, drawn from a seed. Pure.
// Guarantees: one seed gives one sequence; every kind comes before any comes twice.
import { seededRandom } from "../lib/seeded.mjs";
import type { Part } from "./deployment.ts";
import type { Own } from "./machines.ts";
import type { Cut } from "./network.ts";

/** Past the lease in the bucket, after which others take over. Ms. */
const PAST_LEASE_MS = 25_000;
/** Past the time after which an instance that its peers do not reach hands its leaders over. Ms. */
const CUT_MS = 30_000;
const SLOW_MS = 200;
const SLOW_FOR_MS = 20_000;
const FULL_MS = 15_000;
const STEP_FOR_MS = 20_000;
/** Of leaders' takeovers. Ms. */
const TAKEOVER = { fromMs: 10_000, toMs: 20_000 };

export type Fault =
  /** `kill -9`, of all zones at once, or each so long after the one before. */
  | { readonly kind: "kill"; readonly part: Part; readonly zones: readonly string[]; readonly apartMs?: number }
  /** Asked to end, one after the other, each back before the next. */
  | { readonly kind: "term"; readonly zones: readonly string[] }
  /** Stopped, and continued after `forMs`. */
  | { readonly kind: "pause"; readonly part: Part; readonly zones: readonly string[]; readonly forMs: number }
  | { readonly kind: "cut"; readonly zones: readonly string[]; readonly from: Cut; readonly forMs: number }
  | { readonly kind: "slow bucket"; readonly ms: number; readonly forMs: number }
  | { readonly kind: "bad PUT"; readonly how: "fail" | "reset" }
  /** A PUT of leaders that are killed arrives so much later. */
  | { readonly kind: "late PUT"; readonly forMs: number }
  | { readonly kind: "full disk"; readonly zones: readonly string[]; readonly forMs: number }
  | { readonly kind: "clock"; readonly zones: readonly string[]; readonly ms: number; readonly forMs: number };

export const KINDS = [
  "kill an instance",
  "kill a zone's process",
  "kill a leaders' process",
  "kill two instances",
  "kill one during another's takeover",
  "kill all instances",
  "kill the bucket",
  "stop an instance politely",
  "stop each instance politely",
  "pause leaders past the lease",
  "pause an instance past the lease",
  "pause an instance for 3 s",
  "bucket away for 5 s",
  "bucket away for 15 s",
  "bucket away for 60 s",
  "slow bucket",
  "a PUT answered 500",
  "a PUT reset",
  "a PUT delayed past a takeover",
  "cut from the bucket",
  "cut from the peers",
  "cut from both",
  "full disk",
  "clock 3 s ahead",
  "clock 3 s behind",
  "clock 8 s ahead",
  "clock 8 s behind",
] as const;

export type Kind = (typeof KINDS)[number];

/** What a kind needs of the instances' own. */
export function needOf(kind: Kind): keyof Own | undefined {
  if (kind.startsWith("cut ")) return "network";
  if (kind.startsWith("clock ")) return "clock";
  return kind === "full disk" ? "disk" : undefined;
}

export interface Drawn {
  readonly kind: Kind;
  /** The one that is hurt, where one is. */
  readonly zone: string;
  /** Another one. */
  readonly other: string;
  /** In [0, 1): when, where that is open. */
  readonly share: number;
  /** Of quiet before it. */
  readonly afterMs: number;
}

/** `all`: the zones that there are. */
export function faultOf({ kind, zone, other, share }: Omit<Drawn, "afterMs">, all: readonly string[]): Fault {
  const zones = [zone];
  switch (kind) {
    case "kill an instance":
      return { kind: "kill", part: "instance", zones };
    case "kill a zone's process":
      return { kind: "kill", part: "zone", zones };
    case "kill a leaders' process":
      return { kind: "kill", part: "leaders", zones };
    case "kill two instances":
      return { kind: "kill", part: "instance", zones: [zone, other] };
    case "kill one during another's takeover": {
      const apartMs = TAKEOVER.fromMs + share * (TAKEOVER.toMs - TAKEOVER.fromMs);
      return { kind: "kill", part: "instance", zones: [zone, other], apartMs };
    }
    case "kill all instances":
      return { kind: "kill", part: "instance", zones: all };
    case "kill the bucket":
      return { kind: "kill", part: "bucket", zones };
    case "stop an instance politely":
      return { kind: "term", zones };
    case "stop each instance politely":
      return { kind: "term", zones: all };
    case "pause leaders past the lease":
      return { kind: "pause", part: "leaders", zones, forMs: PAST_LEASE_MS };
    case "pause an instance past the lease":
      return { kind: "pause", part: "instance", zones, forMs: PAST_LEASE_MS };
    case "pause an instance for 3 s":
      return { kind: "pause", part: "instance", zones, forMs: 3000 };
    case "bucket away for 5 s":
      return { kind: "pause", part: "bucket", zones, forMs: 5000 };
    case "bucket away for 15 s":
      return { kind: "pause", part: "bucket", zones, forMs: 15_000 };
    case "bucket away for 60 s":
      return { kind: "pause", part: "bucket", zones, forMs: 60_000 };
    case "slow bucket":
      return { kind: "slow bucket", ms: SLOW_MS, forMs: SLOW_FOR_MS };
    case "a PUT answered 500":
      return { kind: "bad PUT", how: "fail" };
    case "a PUT reset":
      return { kind: "bad PUT", how: "reset" };
    case "a PUT delayed past a takeover":
      return { kind: "late PUT", forMs: PAST_LEASE_MS + 5000 };
    case "cut from the bucket":
      return { kind: "cut", zones, from: "bucket", forMs: CUT_MS };
    case "cut from the peers":
      return { kind: "cut", zones, from: "peers", forMs: CUT_MS };
    case "cut from both":
      return { kind: "cut", zones, from: "both", forMs: CUT_MS };
    case "full disk":
      return { kind: "full disk", zones, forMs: FULL_MS };
    case "clock 3 s ahead":
      return { kind: "clock", zones, ms: 3000, forMs: STEP_FOR_MS };
    case "clock 3 s behind":
      return { kind: "clock", zones, ms: -3000, forMs: STEP_FOR_MS };
    case "clock 8 s ahead":
      return { kind: "clock", zones, ms: 8000, forMs: STEP_FOR_MS };
    case "clock 8 s behind":
      return { kind: "clock", zones, ms: -8000, forMs: STEP_FOR_MS };
    default:
      return kind satisfies never;
  }
}

/** Without an end. */
export function* drawn(seed: number, zones: readonly string[], kinds: readonly Kind[] = KINDS): Generator<Drawn> {
  const random = seededRandom(seed);
  const below = (count: number): number => Math.floor(random() * count);
  for (;;) {
    const left = [...kinds];
    while (left.length > 0) {
      const [kind] = left.splice(below(left.length), 1);
      const zone = zones[below(zones.length)]!;
      const others = zones.filter((each) => each !== zone);
      const other = others[below(others.length)] ?? zone;
      yield { kind: kind!, zone, other, share: random(), afterMs: 1000 + below(2000) };
    }
  }
}
