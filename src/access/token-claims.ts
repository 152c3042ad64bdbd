// What the claims of a signed token (JWT) grant, once its signature, times, issuer and audience have been verified.
// Guarantees: a token opens exactly the tenant that its claim names, with the highest scope that it and its issuer allow; nothing
// is taken for granted: without tenant or scope there is no grant. Must not: verify signatures or read a clock. Pure.
import { TENANT_ID_PATTERN } from "./limits.ts";
import { scopeAllows } from "./scope.ts";
import type { Scope } from "./types.ts";

/** How an issuer's claims are read. */
export interface ClaimRules {
  readonly tenantClaim: string;
  readonly scopeClaim: string;
  readonly scopePrefix: string;
  readonly maxScope: Scope;
  /** Undefined = every tenant. */
  readonly tenants?: readonly string[] | undefined;
}

export interface TokenGrant {
  readonly tenantId: string;
  readonly scope: Scope;
}

/** Why a token grants nothing; for the operator's log and counters, never for the caller. */
export type TokenRefusal =
  | "malformed"
  | "issuer"
  | "algorithm"
  | "key"
  | "signature"
  | "audience"
  | "expired"
  | "notYet"
  | "claims"
  | "tenant"
  | "scope";

const SCOPES: readonly Scope[] = ["admin", "read-write", "read-only"];

function words(claim: unknown): readonly string[] {
  if (typeof claim === "string") return claim.split(" ");
  return Array.isArray(claim) ? claim.filter((word) => typeof word === "string") : [];
}

export function grantOf(rules: ClaimRules, claims: Readonly<Record<string, unknown>>): TokenGrant | TokenRefusal {
  const tenantId = Object.hasOwn(claims, rules.tenantClaim) ? claims[rules.tenantClaim] : undefined;
  if (typeof tenantId !== "string" || !TENANT_ID_PATTERN.test(tenantId)) return "tenant";
  if (rules.tenants && !rules.tenants.includes(tenantId)) return "tenant";
  const given = words(Object.hasOwn(claims, rules.scopeClaim) ? claims[rules.scopeClaim] : undefined);
  const held = SCOPES.find((scope) => given.includes(rules.scopePrefix + scope));
  if (!held) return "scope";
  return { tenantId, scope: scopeAllows(held, rules.maxScope) ? rules.maxScope : held };
}

/** What a verified token holds besides its grant. */
export interface TokenTimes {
  /** The tolerance is in it already. Ms. */
  readonly expiresAtMs: number;
  /** Null = the token does not say. Ms. */
  readonly issuedAtMs: number | null;
}

/** True while a verified token opens a tenant that refuses those issued before `tokensValidAfterMs`. */
export function isTokenLive(token: TokenTimes, tokensValidAfterMs: number | null, nowMs: number): boolean {
  if (nowMs >= token.expiresAtMs) return false;
  return tokensValidAfterMs === null || (token.issuedAtMs !== null && token.issuedAtMs >= tokensValidAfterMs);
}
