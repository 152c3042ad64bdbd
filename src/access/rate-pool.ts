// What a gateway isolate or Coordinator has leased of one token bucket (rate-authority.ts).
// Guarantees: only what was leased is spent, and only for LEASE_LIFETIME_MS; while the authority is away the last share of the limit
// goes on, never more than the limit itself. Must not: do I/O or read a clock. Pure.
import { LEASE_AHEAD_MS, LEASE_LIFETIME_MS, LEASE_RETRY_MS } from "./limits.ts";
import type { LeaseAsk, LeaseGrant } from "./rate-authority.ts";
import type { RateLimit } from "./types.ts";

/** Demand is measured over no less. Ms. */
const SHORTEST_MEASURE_MS = 50;
/** A lease is renewed when less than this part of what is wanted ahead is left. */
const RENEW_BELOW = 0.5;

export class RatePool {
  readonly bucket: string;
  limit: RateLimit;
  #available = 0;
  #expiresAtMs = 0;
  #returned = 0;
  /** Not asked before, for it gave less than was asked for. */
  #emptyUntilMs = 0;
  /** The authority is away; asked again then. 0 = it answers. */
  #awayUntilMs = 0;
  #share = 1;
  /** Wanted since `#measuredFromMs`. */
  #wanted = 0;
  #measuredFromMs: number;
  /** What to ask for ahead. */
  #ahead = 0;
  /** Of the last lease, for what goes on without the authority. */
  #filledAtMs = Number.NEGATIVE_INFINITY;

  constructor(bucket: string, limit: RateLimit, nowMs: number) {
    this.bucket = bucket;
    this.limit = limit;
    this.#measuredFromMs = nowMs;
  }

  /** Counts a request towards what is asked for ahead, whether or not there is something for it. */
  want(cost: number): void {
    this.#wanted += cost;
  }

  canSpend(cost: number, nowMs: number): boolean {
    if (nowMs >= this.#expiresAtMs && this.#available > 0) {
      this.#returned += this.#available;
      this.#available = 0;
    }
    if (this.#available < cost && this.#awayUntilMs > 0) this.#goOnAlone(nowMs);
    return this.#available >= cost;
  }

  /** What must be leased before `cost` can be spent. */
  lacking(cost: number, nowMs: number): number {
    return this.canSpend(cost, nowMs) ? 0 : Math.ceil(cost - this.#available);
  }

  spend(cost: number): void {
    this.#available -= cost;
  }

  /** True = a lease should be asked for behind the present request. */
  wantsLease(nowMs: number): boolean {
    if (nowMs < this.#emptyUntilMs || nowMs < this.#awayUntilMs) return false;
    return this.#awayUntilMs > 0 || (this.#ahead >= 1 && this.#available < this.#ahead * RENEW_BELOW);
  }

  /** How long nothing will be there for `cost`; 0 = asking is worth it. */
  pauseMs(cost: number, nowMs: number): number {
    if (this.#awayUntilMs > 0) return Math.ceil((cost / (this.limit.requestsPerSecond * this.#share)) * 1000);
    return Math.max(0, this.#emptyUntilMs - nowMs);
  }

  /** What to ask for. */
  ask(need: number, nowMs: number): LeaseAsk {
    const elapsedMs = nowMs - this.#measuredFromMs;
    // Beside the one at hand: who comes once a second takes nothing away that another could use.
    const ahead = Math.floor(((this.#wanted - need) / Math.max(SHORTEST_MEASURE_MS, elapsedMs)) * LEASE_AHEAD_MS);
    if (elapsedMs >= SHORTEST_MEASURE_MS) {
      this.#ahead = ahead;
      this.#wanted = 0;
      this.#measuredFromMs = nowMs;
    } else {
      this.#ahead = Math.max(this.#ahead, ahead);
    }
    const returned = this.#returned;
    this.#returned = 0;
    const more = Math.min(this.limit.burst, Math.max(0, Math.floor(this.#ahead - this.#available)));
    return { bucket: this.bucket, need, more, returned };
  }

  granted({ granted, pauseMs, share }: LeaseGrant, nowMs: number): void {
    this.#available += granted;
    this.#expiresAtMs = nowMs + LEASE_LIFETIME_MS;
    this.#emptyUntilMs = pauseMs > 0 ? nowMs + pauseMs : 0;
    this.#share = share;
    this.#awayUntilMs = 0;
    this.#filledAtMs = nowMs;
  }

  failed(nowMs: number): void {
    this.#awayUntilMs = nowMs + LEASE_RETRY_MS;
  }

  /** The last share of the rate, by the time since the last lease; at first as much of the burst. */
  #goOnAlone(nowMs: number): void {
    const { requestsPerSecond, burst } = this.limit;
    const earned = (requestsPerSecond * (nowMs - this.#filledAtMs)) / 1000;
    this.#available += Math.min(burst, earned) * this.#share;
    this.#filledAtMs = nowMs;
    this.#expiresAtMs = nowMs + LEASE_LIFETIME_MS;
  }
}
