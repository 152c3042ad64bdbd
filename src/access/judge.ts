// Whether a credential opens a tenant, and whether its scope allows an action.
// Guarantees: the only places where these are decided; unknown tenant, unknown key, wrong secret, revoked, expired and deleted
// are one answer to the outside. Must not: do I/O or read a clock. Pure.
import { sameHash } from "./api-key.ts";
import { scopeAllows } from "./scope.ts";
import { isTokenLive } from "./token-claims.ts";
import type { ApiKeyRecord, Caller, Credential, Scope, TenantView } from "./types.ts";

/** True while the record itself admits anyone. */
export function isKeyLive(record: ApiKeyRecord, nowMs: number): boolean {
  return record.revokedAtMs === null && (record.expiresAtMs === null || record.expiresAtMs > nowMs);
}

/** The record that the key with this id and hash belongs to, if it admits its bearer now. */
export function admittedKey(
  view: TenantView,
  presented: { readonly keyId: string; readonly hash: string },
  nowMs: number,
): ApiKeyRecord | undefined {
  if (view.state !== "active") return undefined;
  const record = view.keys.find((candidate) => candidate.keyId === presented.keyId);
  if (!record || !sameHash(record.hash, presented.hash)) return undefined;
  return isKeyLive(record, nowMs) ? record : undefined;
}

export function callerOf(view: TenantView, scope: Scope): Caller {
  const { tenant, replicationFactor, routeRevision, change, defaultConsistency, conflictPolicy, excess } = view;
  const canWrite = scopeAllows(scope, "read-write");
  const settings = { tenant, replicationFactor, routeRevision, change, defaultConsistency, conflictPolicy, canWrite };
  const caller = scope === "admin" ? { ...settings, isAdmin: true } : settings;
  return excess ? { ...caller, excess } : caller;
}

/** For sessions that stay open: what the bearer may do now, or undefined when the session must end. */
export function sessionCaller(view: TenantView | undefined, credential: Credential, nowMs: number): Caller | undefined {
  if (view?.state !== "active") return undefined;
  if (credential.kind === "none") return callerOf(view, credential.scope);
  if (credential.kind === "token") {
    const isLive = isTokenLive(credential, view.tokensValidAfterMs ?? null, nowMs);
    return isLive ? callerOf(view, credential.scope) : undefined;
  }
  const record = view.keys.find((candidate) => candidate.keyId === credential.keyId);
  return record && isKeyLive(record, nowMs) ? callerOf(view, record.scope) : undefined;
}
