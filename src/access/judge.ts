// Whether a credential opens a tenant, and whether its scope allows an action.
// Guarantees: the only places where these are decided; unknown tenant, unknown key, wrong secret, revoked, expired and deleted
// are one answer to the outside. Must not: do I/O or read a clock. Pure.
import { sameHash } from "./api-key.ts";
import type { ApiKeyRecord, Caller, Scope, TenantView } from "./types.ts";

const RANK: Readonly<Record<Scope, number>> = { "read-only": 1, "read-write": 2, admin: 3 };

export function scopeAllows(held: Scope, required: Scope): boolean {
  return RANK[held] >= RANK[required];
}

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
  const { tenant, replicationFactor, routeRevision, change, defaultConsistency, conflictPolicy } = view;
  const canWrite = scopeAllows(scope, "read-write");
  return { tenant, replicationFactor, routeRevision, change, defaultConsistency, conflictPolicy, canWrite };
}

/** For sessions that stay open: what the bearer may do now, or undefined when the session must end. */
export function sessionCaller(view: TenantView | undefined, keyId: string, nowMs: number): Caller | undefined {
  const record = view?.state === "active" ? view.keys.find((candidate) => candidate.keyId === keyId) : undefined;
  return view && record && isKeyLive(record, nowMs) ? callerOf(view, record.scope) : undefined;
}
