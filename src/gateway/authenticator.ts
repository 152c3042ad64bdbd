// Who is behind a bearer token.
// Guarantees: a known key costs two map lookups and no hash; unknown tenant, unknown key, wrong secret, expired, revoked and
// deleted are one and the same answer; unknown tokens cannot cause more than a bounded rate of look-ups. Must not: log tokens.
import { parseApiKey, sameHash, sha256Hex } from "../access/api-key.ts";
import { BoundedMap } from "../access/bounded-map.ts";
import { admittedKey, callerOf } from "../access/judge.ts";
import {
  MAX_REFUSED_TOKENS,
  MAX_SIGNED_TOKEN_CHARACTERS,
  MAX_TOKEN_CHARACTERS,
  MAX_VERIFIED_KEYS,
  MAX_VERIFIED_TOKENS,
  TENANT_VIEW_TTL_MS,
  UNKNOWN_TOKENS_BURST,
  UNKNOWN_TOKENS_PER_SECOND,
} from "../access/limits.ts";
import type { RateGate, RateSubject } from "../access/rate-gate.ts";
import { isTokenLive } from "../access/token-claims.ts";
import type { ApiKeyRecord, Caller, Credential, Scope, TenantView } from "../access/types.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { TenantViews } from "./tenant-views.ts";
import { isTokenShaped, type TokenVerifier, type VerifiedToken } from "./token-verifier.ts";

export interface RootPrincipal {
  readonly kind: "root";
}

export interface TenantPrincipal {
  readonly kind: "tenant";
  readonly tenantId: string;
  readonly credential: Credential;
  readonly scope: Scope;
  readonly caller: Caller;
  /** Ms; null = never. */
  readonly expiresAtMs: number | null;
  readonly view: TenantView;
  /** Undefined = as many requests as it likes. */
  readonly rate: RateSubject | undefined;
}

export type Principal = RootPrincipal | TenantPrincipal;
type WaitUntil = (work: Promise<unknown>) => void;

export interface AuthenticatorOptions {
  readonly views: TenantViews;
  readonly now: () => number;
  /** Hex SHA-256; undefined = there is no root key. */
  readonly rootKeyHash: () => Promise<string | undefined>;
  readonly rates: RateGate;
  /** Of signed tokens. */
  readonly tokens: TokenVerifier;
  readonly count: (metric: string) => void;
}

const ROOT: RootPrincipal = { kind: "root" };

const refusal = (): PublicError =>
  new PublicError("unauthenticated", "the API key or token is missing, unknown, expired or revoked");

interface HeldToken {
  readonly token: VerifiedToken;
  readonly principal: TenantPrincipal;
}

export class Authenticator {
  readonly #options: AuthenticatorOptions;
  /** By the token's text: saves a SHA-256 per request. Valid only with the very view it was verified against. */
  readonly #verified = new BoundedMap<string, Principal>(MAX_VERIFIED_KEYS);
  /** Of signed tokens, likewise; valid only while the keys they were verified with are their issuer's. */
  readonly #verifiedTokens = new BoundedMap<string, HeldToken>(MAX_VERIFIED_TOKENS);
  /** Token → until when it is refused unasked. */
  readonly #refused = new BoundedMap<string, number>(MAX_REFUSED_TOKENS);
  #withoutKey: TenantPrincipal | undefined;
  #lookupsLeft = UNKNOWN_TOKENS_BURST;
  #lookupsAtMs = 0;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** Throws `unauthenticated`, `rateLimited` or `unavailable`. Answers at once when the key is known. */
  authenticate(token: string | undefined, waitUntil: WaitUntil): Principal | Promise<Principal> {
    if (token === undefined || token.length > MAX_SIGNED_TOKEN_CHARACTERS) throw refusal();
    const known = this.#verified.get(token);
    if (known) {
      if (known.kind === "root" || this.#isCurrent(known, waitUntil)) return known;
    } else {
      const held = this.#verifiedTokens.get(token);
      if (held?.token.keys.isTrusted(held.token.generation) && this.#isCurrent(held.principal, waitUntil)) {
        held.token.keys.refreshBehind(waitUntil);
        return held.principal;
      }
    }
    return this.#verify(token, waitUntil);
  }

  /** A tenant's caller where no key is asked for; undefined = there is no such tenant. Who may be one is the caller's to judge. */
  async withoutKey(tenantId: string): Promise<TenantPrincipal | undefined> {
    const view = await this.#options.views.get(tenantId);
    const held = this.#withoutKey;
    if (!view || held?.view === view) return view && held;
    const scope = "read-write";
    this.#withoutKey = this.#principalOf(view, { kind: "none", scope }, { scope, expiresAtMs: null, rateLimit: null });
    return this.#withoutKey;
  }

  /** True while nothing that a verified caller was judged by has changed. */
  #isCurrent(known: TenantPrincipal, waitUntil: WaitUntil): boolean {
    const { views, now, count } = this.#options;
    const held = views.peek(known.tenantId);
    const nowMs = now();
    const isLive = known.expiresAtMs === null || known.expiresAtMs > nowMs;
    if (!isLive || held?.view !== known.view || !views.isFresh(held, nowMs)) return false;
    count("jade_auth_cache_hits_total");
    views.refreshBehind(known.tenantId, held, waitUntil);
    return true;
  }

  /** After a change made here. */
  async forget(tenantId: string): Promise<void> {
    this.#refused.clear();
    await this.#options.views.forgetKept(tenantId);
  }

  async #verify(token: string, waitUntil: WaitUntil): Promise<Principal> {
    const { now, rootKeyHash, count, tokens } = this.#options;
    count("jade_auth_cache_misses_total");
    if (token.length > MAX_TOKEN_CHARACTERS) return this.#verifyToken(token, waitUntil);
    if ((this.#refused.get(token) ?? 0) > now()) throw refusal();
    const hash = await sha256Hex(token);
    const root = await rootKeyHash();
    if (root !== undefined && sameHash(hash, root)) {
      this.#verified.set(token, ROOT);
      return ROOT;
    }
    if (tokens.isOn && isTokenShaped(token)) return this.#verifyToken(token, waitUntil);
    const parsed = parseApiKey(token);
    const found = parsed && (await this.#find(parsed.tenantId, { keyId: parsed.keyId, hash }, waitUntil));
    if (!found) {
      this.#verified.delete(token);
      this.#refused.set(token, now() + TENANT_VIEW_TTL_MS);
      throw refusal();
    }
    const { view, record } = found;
    const principal = this.#principalOf(view, { kind: "key", keyId: record.keyId }, record);
    this.#verified.set(token, principal);
    return principal;
  }

  #principalOf(
    view: TenantView,
    credential: Credential,
    { scope, expiresAtMs, rateLimit }: Pick<ApiKeyRecord, "scope" | "expiresAtMs" | "rateLimit">,
  ): TenantPrincipal {
    const { tenantId, tenant, rateLimit: tenantLimit } = view;
    const keyId = credential.kind === "key" ? credential.keyId : null;
    const rate = this.#options.rates.subjectOf({ tenant, tenantLimit, keyId, keyLimit: rateLimit });
    return { kind: "tenant", tenantId, credential, scope, caller: callerOf(view, scope), expiresAtMs, view, rate };
  }

  /** Refused ones are not remembered by their text, which the sender chooses: what verifying them may cost is bounded instead. */
  async #verifyToken(text: string, waitUntil: WaitUntil): Promise<Principal> {
    const { tokens, now, views } = this.#options;
    this.#verifiedTokens.delete(text);
    if (!tokens.isOn || !isTokenShaped(text)) throw refusal();
    this.#requireLookup();
    const token = await tokens.verify(text);
    const view = token && (await views.get(token.tenantId, waitUntil));
    const isLive = view?.state === "active" && isTokenLive(token!, view.tokensValidAfterMs ?? null, now());
    if (!token || !view || !isLive) {
      this.#lookupsLeft--;
      throw refusal();
    }
    const { scope, expiresAtMs, issuedAtMs } = token;
    const principal = this.#principalOf(
      view,
      { kind: "token", scope, expiresAtMs, issuedAtMs },
      { scope, expiresAtMs },
    );
    this.#verifiedTokens.set(text, { token, principal });
    return principal;
  }

  async #find(
    tenantId: string,
    presented: { readonly keyId: string; readonly hash: string },
    waitUntil: WaitUntil,
  ): Promise<{ view: TenantView; record: ApiKeyRecord } | undefined> {
    const { views, now } = this.#options;
    const before = views.peek(tenantId);
    if (!before) this.#spendLookup();
    const view = await views.get(tenantId, waitUntil);
    const record = view && admittedKey(view, presented, now());
    if (view && record) return { view, record };
    // The key may be younger than the view in memory.
    if (!before || before.view !== view) return undefined;
    this.#spendLookup();
    const newer = await views.fetch(tenantId);
    const newRecord = newer && admittedKey(newer, presented, now());
    return newer && newRecord ? { view: newer, record: newRecord } : undefined;
  }

  #spendLookup(): void {
    this.#requireLookup();
    this.#lookupsLeft--;
  }

  /** One bucket for all: whether a tenant exists cannot be told from being limited. */
  #requireLookup(): void {
    const nowMs = this.#options.now();
    const earned = ((nowMs - this.#lookupsAtMs) / 1000) * UNKNOWN_TOKENS_PER_SECOND;
    this.#lookupsLeft = Math.min(UNKNOWN_TOKENS_BURST, this.#lookupsLeft + Math.max(0, earned));
    this.#lookupsAtMs = nowMs;
    if (this.#lookupsLeft < 1) {
      throw new PublicError("rateLimited", "too many requests with unknown API keys", { retryAfterSeconds: 1 });
    }
  }
}
