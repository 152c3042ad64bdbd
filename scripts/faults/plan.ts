// What is done to a cluster, drawn from a seed. Pure.
// Guarantees: one seed gives one sequence; every kind comes before any comes twice.
import { seededRandom } from "../lib/seeded.mjs";
import type { Part } from "./cluster.ts";

/** Past the lease in the bucket, after which others take over. Ms. */
const PAST_LEASE_MS = 25_000;

export type Fault =
  /** `kill -9`, of all zones at once where `zones` names several. */
  | { readonly kind: "kill"; readonly part: Part; readonly zones: readonly string[] }
  /** Asked to end, one after the other, each back before the next. */
  | { readonly kind: "term"; readonly zones: readonly string[] }
  /** Stopped, and continued after `forMs`. */
  | { readonly kind: "pause"; readonly part: Part; readonly zones: readonly string[]; readonly forMs: number };

export const KINDS = [
  "kill an instance",
  "kill a zone's process",
  "kill a leaders' process",
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
] as const;

export type Kind = (typeof KINDS)[number];

/** `zone`: the one that is hurt, where one is. */
export function faultOf(kind: Kind, zone: string, all: readonly string[]): Fault {
  const zones = [zone];
  switch (kind) {
    case "kill an instance":
      return { kind: "kill", part: "instance", zones };
    case "kill a zone's process":
      return { kind: "kill", part: "zone", zones };
    case "kill a leaders' process":
      return { kind: "kill", part: "leaders", zones };
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
    default:
      return kind satisfies never;
  }
}

export interface Drawn {
  readonly kind: Kind;
  readonly zone: string;
  /** Of quiet before it. */
  readonly afterMs: number;
}

/** Without an end. */
export function* drawn(seed: number, zones: readonly string[], kinds: readonly Kind[] = KINDS): Generator<Drawn> {
  const random = seededRandom(seed);
  const below = (count: number): number => Math.floor(random() * count);
  for (;;) {
    const left = [...kinds];
    while (left.length > 0) {
      const [kind] = left.splice(below(left.length), 1);
      yield { kind: kind!, zone: zones[below(zones.length)]!, afterMs: 1000 + below(2000) };
    }
  }
}
