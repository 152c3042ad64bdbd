// Who is behind a bearer token.
// Guarantees: a known key costs two map lookups and no hash; unknown tenant, unknown key, wrong secret, expired, revoked and
// deleted are one and the same answer; unknown tokens cannot cause more than a bounded rate of look-ups. Must not: log tokens.
import { parseApiKey, sameHash, sha256Hex } from "../access/api-key.ts";
import { admittedKey, callerOf } from "../access/judge.ts";
import {
  MAX_REFUSED_TOKENS,
  MAX_TOKEN_CHARACTERS,
  MAX_VERIFIED_KEYS,
  TENANT_VIEW_TTL_MS,
  UNKNOWN_TOKENS_BURST,
  UNKNOWN_TOKENS_PER_SECOND,
} from "../access/limits.ts";
import type { ApiKeyRecord, Caller, Scope, TenantView } from "../access/types.ts";
import { PublicError } from "../wire/error-codes.ts";
import { BoundedMap } from "./bounded-map.ts";
import type { TenantViews } from "./tenant-views.ts";

export interface RootPrincipal {
  readonly kind: "root";
}

export interface TenantPrincipal {
  readonly kind: "tenant";
  readonly tenantId: string;
  readonly keyId: string;
  readonly scope: Scope;
  readonly caller: Caller;
  /** Ms; null = never. */
  readonly expiresAtMs: number | null;
  readonly view: TenantView;
}

export type Principal = RootPrincipal | TenantPrincipal;
type WaitUntil = (work: Promise<unknown>) => void;

export interface AuthenticatorOptions {
  readonly views: TenantViews;
  readonly now: () => number;
  /** Hex SHA-256; undefined = there is no root key. */
  readonly rootKeyHash: () => Promise<string | undefined>;
  readonly count: (metric: string) => void;
}

const ROOT: RootPrincipal = { kind: "root" };

const refusal = (): PublicError =>
  new PublicError("unauthenticated", "the API key is missing, unknown, expired or revoked");

export class Authenticator {
  readonly #options: AuthenticatorOptions;
  /** By the token's text: saves a SHA-256 per request. Valid only with the very view it was verified against. */
  readonly #verified = new BoundedMap<string, Principal>(MAX_VERIFIED_KEYS);
  /** Token → until when it is refused unasked. */
  readonly #refused = new BoundedMap<string, number>(MAX_REFUSED_TOKENS);
  #lookupsLeft = UNKNOWN_TOKENS_BURST;
  #lookupsAtMs = 0;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** Throws `unauthenticated`, `rateLimited` or `unavailable`. Answers at once when the key is known. */
  authenticate(token: string | undefined, waitUntil: WaitUntil): Principal | Promise<Principal> {
    if (token === undefined || token.length > MAX_TOKEN_CHARACTERS) throw refusal();
    const known = this.#verified.get(token);
    if (known) {
      if (known.kind === "root") return known;
      const { views, now, count } = this.#options;
      const held = views.peek(known.tenantId);
      const nowMs = now();
      const isLive = known.expiresAtMs === null || known.expiresAtMs > nowMs;
      if (held?.view === known.view && views.isFresh(held, nowMs) && isLive) {
        count("jade_auth_cache_hits_total");
        views.refreshBehind(known.tenantId, held, waitUntil);
        return known;
      }
    }
    return this.#verify(token);
  }

  /** After a change made here. */
  forget(tenantId: string): void {
    this.#options.views.forget(tenantId);
    this.#refused.clear();
  }

  async #verify(token: string): Promise<Principal> {
    const { now, rootKeyHash, count } = this.#options;
    count("jade_auth_cache_misses_total");
    if ((this.#refused.get(token) ?? 0) > now()) throw refusal();
    const hash = await sha256Hex(token);
    const root = await rootKeyHash();
    if (root !== undefined && sameHash(hash, root)) {
      this.#verified.set(token, ROOT);
      return ROOT;
    }
    const parsed = parseApiKey(token);
    const found = parsed && (await this.#find(parsed.tenantId, { keyId: parsed.keyId, hash }));
    if (!found) {
      this.#verified.delete(token);
      this.#refused.set(token, now() + TENANT_VIEW_TTL_MS);
      throw refusal();
    }
    const { view, record } = found;
    const { keyId, scope, expiresAtMs } = record;
    const caller = callerOf(view, scope);
    const principal: Principal = { kind: "tenant", tenantId: view.tenantId, keyId, scope, caller, expiresAtMs, view };
    this.#verified.set(token, principal);
    return principal;
  }

  async #find(
    tenantId: string,
    presented: { readonly keyId: string; readonly hash: string },
  ): Promise<{ view: TenantView; record: ApiKeyRecord } | undefined> {
    const { views, now } = this.#options;
    const before = views.peek(tenantId);
    if (!before) this.#spendLookup();
    const view = await views.get(tenantId);
    const record = view && admittedKey(view, presented, now());
    if (view && record) return { view, record };
    // The key may be younger than the view in memory.
    if (!before || before.view !== view) return undefined;
    this.#spendLookup();
    const newer = await views.fetch(tenantId);
    const newRecord = newer && admittedKey(newer, presented, now());
    return newer && newRecord ? { view: newer, record: newRecord } : undefined;
  }

  /** One bucket for all: whether a tenant exists cannot be told from being limited. */
  #spendLookup(): void {
    const nowMs = this.#options.now();
    const earned = ((nowMs - this.#lookupsAtMs) / 1000) * UNKNOWN_TOKENS_PER_SECOND;
    this.#lookupsLeft = Math.min(UNKNOWN_TOKENS_BURST, this.#lookupsLeft + Math.max(0, earned));
    this.#lookupsAtMs = nowMs;
    if (this.#lookupsLeft < 1) {
      throw new PublicError("rateLimited", "too many requests with unknown API keys", { retryAfterSeconds: 1 });
    }
    this.#lookupsLeft--;
  }
}
