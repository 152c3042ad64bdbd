// Lets requests in as fast as their tenant's and their key's limit allow. One in each gateway isolate and each Coordinator (for its
// sessions); what all of them let in together keeps the limit, because it is leased from one authority.
// Guarantees: within a lease a request costs no call and no wait; an empty bucket refuses from memory; one call at a time for each
// tenant; without the authority the last share goes on. Must not: read a clock or do I/O of its own.
// A request whose call was cut off (its client left) must not stop the others: they wait by polling, never for its promise.
import { PublicError } from "../wire/error-codes.ts";
import { LEASE_DEADLINE_MS, MAX_RATE_POOLS } from "./limits.ts";
import { type LeaseAsk, type LeaseGrant, TENANT_BUCKET } from "./rate-authority.ts";
import { RatePool } from "./rate-pool.ts";
import type { RateLimit } from "./types.ts";

export interface RateGateOptions {
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** `Tenant.lease` under a deadline of LEASE_DEADLINE_MS; one grant an ask, in order. */
  readonly lease: (tenant: number, asks: readonly LeaseAsk[]) => Promise<readonly LeaseGrant[]>;
  readonly onRefused: () => void;
}

/** Whose limits hold for a caller. */
export interface RateSubject {
  readonly group: TenantPools;
  /** The key's first: what it refuses must not count as the tenant's demand. */
  readonly pools: readonly RatePool[];
}

interface TenantPools {
  readonly tenant: number;
  readonly pools: Map<string, RatePool>;
  /** A call for leases is under way; it is given up then. */
  askingUntilMs: number;
}

export interface RateLimits {
  readonly tenant: number;
  readonly tenantLimit: RateLimit | null | undefined;
  readonly keyId: string | null;
  readonly keyLimit: RateLimit | null | undefined;
}

type WaitUntil = (work: Promise<unknown>) => void;

const POLL_MS = 2;
/** Longest that a request waits for calls of its own and of others, none of which may be cut short. Ms. */
const MAX_WAIT_MS = 4 * LEASE_DEADLINE_MS;

export class RateGate {
  readonly #options: RateGateOptions;
  readonly #tenants = new Map<number, TenantPools>();
  #poolCount = 0;

  constructor(options: RateGateOptions) {
    this.#options = options;
  }

  /** Undefined = unlimited. To be kept with the caller for as long as its settings stay. */
  subjectOf({ tenant, tenantLimit, keyId, keyLimit }: RateLimits): RateSubject | undefined {
    if (!tenantLimit && !keyLimit) return undefined;
    let group = this.#tenants.get(tenant);
    if (!group) {
      group = { tenant, pools: new Map(), askingUntilMs: 0 };
      this.#tenants.set(tenant, group);
    }
    const pools: RatePool[] = [];
    if (keyLimit && keyId !== null) pools.push(this.#poolOf(group, keyId, keyLimit));
    if (tenantLimit) pools.push(this.#poolOf(group, TENANT_BUCKET, tenantLimit));
    if (pools.length === 0) return undefined;
    return { group, pools };
  }

  /**
   * `counted` = how much of the request was admitted before, for the bound of the burst.
   * Undefined = admitted at once. Throws `rateLimited`, or `invalidRequest` for what no bucket can ever hold.
   */
  admit(subject: RateSubject, cost: number, waitUntil: WaitUntil, counted = 0): Promise<void> | undefined {
    const nowMs = this.#options.now();
    let isThere = true;
    let wantsLease = false;
    for (const pool of subject.pools) {
      if (cost + counted > pool.limit.burst) throw tooLarge(pool, cost + counted);
      pool.want(cost);
      if (pool.canSpend(cost, nowMs)) continue;
      this.#refuseIfEmpty(pool, cost, nowMs);
      isThere = false;
    }
    if (!isThere) return this.#admitLater(subject, cost);
    for (const pool of subject.pools) {
      pool.spend(cost);
      wantsLease ||= pool.wantsLease(nowMs);
    }
    if (wantsLease && nowMs >= subject.group.askingUntilMs) waitUntil(this.#ask(subject, 0));
    return undefined;
  }

  async #admitLater(subject: RateSubject, cost: number): Promise<void> {
    const endMs = this.#options.now() + MAX_WAIT_MS;
    for (let nowMs = endMs - MAX_WAIT_MS; nowMs < endMs; nowMs = this.#options.now()) {
      if (subject.pools.every((pool) => pool.canSpend(cost, nowMs))) {
        for (const pool of subject.pools) pool.spend(cost);
        return;
      }
      for (const pool of subject.pools) if (!pool.canSpend(cost, nowMs)) this.#refuseIfEmpty(pool, cost, nowMs);
      if (nowMs < subject.group.askingUntilMs) await this.#options.sleep(POLL_MS);
      else await this.#ask(subject, cost);
    }
    throw this.#refusal(subject.pools[0]!, LEASE_DEADLINE_MS);
  }

  /** Never throws. */
  async #ask({ group, pools }: RateSubject, cost: number): Promise<void> {
    const { now, lease } = this.#options;
    const askedMs = now();
    group.askingUntilMs = askedMs + 2 * LEASE_DEADLINE_MS;
    const asks = pools.map((pool) => pool.ask(pool.lacking(cost, askedMs), askedMs));
    try {
      const grants = await lease(group.tenant, asks);
      for (const [index, pool] of pools.entries()) pool.granted(grants[index]!, now());
    } catch {
      // The tenant's owner is away: its callers go on with what they had (see RatePool).
      for (const pool of pools) pool.failed(now());
    } finally {
      group.askingUntilMs = 0;
    }
  }

  #refuseIfEmpty(pool: RatePool, cost: number, nowMs: number): void {
    const pauseMs = pool.pauseMs(cost, nowMs);
    if (pauseMs > 0) throw this.#refusal(pool, pauseMs);
  }

  #refusal({ bucket, limit }: RatePool, pauseMs: number): PublicError {
    this.#options.onRefused();
    const whose = bucket === TENANT_BUCKET ? "tenant" : "key";
    const { requestsPerSecond, burst } = limit;
    const message = `the ${whose} may make ${requestsPerSecond} requests a second, ${burst} at once`;
    const retryAfterSeconds = Math.max(1, Math.ceil(pauseMs / 1000));
    return new PublicError("rateLimited", message, { limitOf: whose, requestsPerSecond, burst, retryAfterSeconds });
  }

  #poolOf(group: TenantPools, bucket: string, limit: RateLimit): RatePool {
    let pool = group.pools.get(bucket);
    if (pool) {
      pool.limit = limit;
      return pool;
    }
    // Whoever holds an old pool goes on with it: the authority sees the same member.
    if (++this.#poolCount > MAX_RATE_POOLS) {
      this.#tenants.clear();
      this.#tenants.set(group.tenant, group);
      group.pools.clear();
      this.#poolCount = 1;
    }
    pool = new RatePool(bucket, limit, this.#options.now());
    group.pools.set(bucket, pool);
    return pool;
  }
}

function tooLarge({ bucket, limit }: RatePool, cost: number): PublicError {
  const whose = bucket === TENANT_BUCKET ? "tenant" : "key";
  const issue = { path: "operations", message: `are ${cost}`, value: cost, limit: limit.burst };
  return new PublicError("invalidRequest", `${cost} operations at once; the ${whose}'s burst is ${limit.burst}`, {
    issues: [issue],
  });
}
