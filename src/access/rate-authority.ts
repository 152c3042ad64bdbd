// The token buckets of one tenant: its own and its API keys'. Gateways and Coordinators lease parts of them ahead of need.
// Guarantees: what is given out of a bucket in any time is at most its burst plus its rate times that time, whoever asks; what is
// scarce is shared in proportion to what each asks for. Must not: be stored (a restart costs one burst more) or read a clock. Pure.
import { DEMAND_MEMORY_MS, LEASE_PAUSE_MS, MAX_LEASE_MEMBERS } from "./limits.ts";
import type { RateLimit } from "./types.ts";

/** The tenant's own bucket; others are named by their key's id. */
export const TENANT_BUCKET = "";

export interface LeaseAsk {
  readonly bucket: string;
  /** For the request at hand: all of it is given, or nothing. */
  readonly need: number;
  /** For those to come: as much of it as is there. */
  readonly more: number;
  /** Leased earlier and not used. */
  readonly returned: number;
}

export interface LeaseGrant {
  readonly granted: number;
  /** 0 = all was given; else asking again earlier is useless. Ms. */
  readonly pauseMs: number;
  /** The asker's part of all demand, 0 to 1: what it may go on with while nobody answers. */
  readonly share: number;
}

interface Bucket {
  level: number;
  atMs: number;
  /** What each member asked for last. */
  readonly demand: Map<string, { readonly amount: number; readonly atMs: number }>;
}

export class RateAuthority {
  readonly #buckets = new Map<string, Bucket>();

  /** `limit` null = unlimited. */
  lease(member: string, ask: LeaseAsk, limit: RateLimit | null, nowMs: number): LeaseGrant {
    const { need, more } = ask;
    if (!limit) {
      this.#buckets.delete(ask.bucket);
      return { granted: need + more, pauseMs: 0, share: 1 };
    }
    const bucket = this.#refilled(ask.bucket, limit, nowMs);
    bucket.level = Math.min(limit.burst, bucket.level + Math.max(0, ask.returned));
    const share = shareOf(bucket, member, need + more, nowMs);
    if (bucket.level < need) {
      const waitMs = ((need - bucket.level) / limit.requestsPerSecond) * 1000;
      return { granted: 0, pauseMs: Math.max(LEASE_PAUSE_MS, Math.ceil(waitMs)), share };
    }
    const granted = need + Math.min(more, Math.floor((bucket.level - need) * share));
    bucket.level -= granted;
    return { granted, pauseMs: granted < need + more ? LEASE_PAUSE_MS : 0, share };
  }

  /** A key that is gone. */
  forget(bucket: string): void {
    this.#buckets.delete(bucket);
  }

  #refilled(name: string, { requestsPerSecond, burst }: RateLimit, nowMs: number): Bucket {
    let bucket = this.#buckets.get(name);
    if (!bucket) {
      bucket = { level: burst, atMs: nowMs, demand: new Map() };
      this.#buckets.set(name, bucket);
    }
    const earned = (Math.max(0, nowMs - bucket.atMs) / 1000) * requestsPerSecond;
    bucket.level = Math.min(burst, bucket.level + earned);
    bucket.atMs = nowMs;
    return bucket;
  }
}

function shareOf({ demand }: Bucket, member: string, amount: number, nowMs: number): number {
  if (demand.has(member) || demand.size < MAX_LEASE_MEMBERS) demand.set(member, { amount, atMs: nowMs });
  let total = demand.has(member) ? 0 : amount;
  for (const [name, entry] of demand) {
    if (nowMs - entry.atMs > DEMAND_MEMORY_MS) demand.delete(name);
    else total += entry.amount;
  }
  return total > 0 ? amount / total : 1;
}
