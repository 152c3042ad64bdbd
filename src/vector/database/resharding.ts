// A change of the number of shards of a database, or of where its rows belong among them, as its record tells it. Pure.
// The shards of a database's creation stay its homes: each speaks for the ids whose hash is its own, and knows where their rows are. What changes
// is where rows belong, and with it the topology: calls of a gateway that knows an older one are refused while rows move.
// Telling: all shards, new ones too, are told of the homes; nothing moves. Moving: when all shards know the new topology, the first one says where
// rows belong (by a hash among so many, or by what it learns of them), and they go there. Ending: shards that hold nothing any more are erased.
import type { SplitPoint } from "../sharding/shard-map.ts";

export interface Sharding {
  readonly strategy: "hash" | "range" | "centroid";
  readonly numShards: number;
  /** `range` only: the metadata field, and its split points; absent = learned. */
  readonly key?: string | undefined;
  readonly splitPoints?: readonly SplitPoint[] | undefined;
  /** `centroid` only: shards that a search asks which does not say; absent = as many as the learned recall takes. */
  readonly shardProbes?: number | undefined;
  readonly targetRecall?: number | undefined;
  /** Rows after which split points or centroids are learned. */
  readonly learnRows?: number | undefined;
  /** Once there was a change: shards that speak for ids; which change it was, from 1. */
  readonly homes?: number | undefined;
  readonly topology?: number | undefined;
  /** Under way. */
  readonly reshard?: Resharding | undefined;
}

export interface Resharding {
  readonly from: number;
  readonly to: number;
  /** Shards that may hold rows until it has ended. */
  readonly span: number;
  /** Of them, those that are there for certain: what gateways ask. */
  readonly asked: number;
  readonly phase: "telling" | "moving" | "ending";
  readonly isCancelled?: boolean | undefined;
}

/** Shards that speak for ids. */
export function homesOf({ homes, numShards }: Sharding): number {
  return homes ?? numShards;
}

/** Shards that there are, or are about to be. */
export function shardCountOf(sharding: Sharding): number {
  return Math.max(homesOf(sharding), sharding.numShards, sharding.reshard?.span ?? 0);
}

/** Shards that a gateway asks. */
export function askedShardsOf(sharding: Sharding): number {
  return Math.max(homesOf(sharding), sharding.numShards, sharding.reshard?.asked ?? 0);
}

/** What gateways say they know; calls with less are refused. */
export function topologyOf({ topology = 0, reshard }: Sharding): number {
  return reshard?.phase === "telling" ? topology - 1 : topology;
}

/** One under way is turned back to where it came from, or to another number: rows that moved already move once more. */
export function begunReshard(sharding: Sharding, to: number, isCancelled = false): Sharding {
  const { numShards, topology = 0 } = sharding;
  const span = Math.max(shardCountOf(sharding), to);
  const reshard: Resharding = {
    from: numShards,
    to,
    span,
    asked: askedShardsOf(sharding),
    phase: "telling",
    isCancelled,
  };
  // One that was told and did not begin has used its number.
  return { ...sharding, homes: homesOf(sharding), topology: topology + 1, reshard };
}

/** Every shard was told what the phase is; or, moving, has no row left that belongs elsewhere; or, ending, was erased. */
export function nextPhase(sharding: Sharding): Sharding {
  const { reshard, ...rest } = sharding;
  switch (reshard?.phase) {
    case "telling":
      // Points that were given are those of the first topology.
      return {
        ...withoutPoints(rest),
        numShards: reshard.to,
        reshard: { ...reshard, asked: reshard.span, phase: "moving" },
      };
    case "moving": {
      const left = Math.max(homesOf(rest), rest.numShards);
      return reshard.span > left ? { ...rest, reshard: { ...reshard, asked: left, phase: "ending" } } : rest;
    }
    case "ending":
    case undefined:
      return rest;
    default:
      return reshard!.phase satisfies never;
  }
}

function withoutPoints({ splitPoints: _, ...sharding }: Sharding): Sharding {
  return sharding;
}

/** Those that hold nothing any more, and are nobody's home. */
export function surplusOf(sharding: Sharding): readonly number[] {
  const from = Math.max(homesOf(sharding), sharding.numShards);
  return Array.from({ length: Math.max(0, shardCountOf(sharding) - from) }, (_, at) => from + at);
}
