// Routes of a tenant's API keys: /v1/tenants/{id}/keys.
import { type KeyInfo, unwrap } from "../../objects/tenancy-rpc.ts";
import { hexOf } from "../access/api-key.ts";
import { success } from "./answers.ts";
import { afterCursor, pageOf, pageQuery } from "./cursor.ts";
import { reading, writing } from "./errors.ts";
import { invalidRequest } from "./issues.ts";
import { defineRoute } from "./route.ts";
import { createdKeyShape, keyParams, keyShape, newKeyBody, pageShape, tenantParams } from "./schemas.ts";
import { tenantNumber } from "./tenants.ts";

function isoOrNull(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString();
}

function shownKey(key: KeyInfo): Record<string, unknown> {
  const { keyId, name, scope, createdAtMs, rateLimit = null } = key;
  const createdAt = new Date(createdAtMs).toISOString();
  const [expiresAt, revokedAt] = [isoOrNull(key.expiresAtMs), isoOrNull(key.revokedAtMs)];
  return { keyId, name, scope, createdAt, expiresAt, revokedAt, rateLimit };
}

function expiryOf(
  body: { readonly expiresInSeconds?: number | undefined; readonly expiresAt?: string | undefined },
  nowMs: number,
): number | null {
  if (body.expiresInSeconds !== undefined) return nowMs + body.expiresInSeconds * 1000;
  if (body.expiresAt === undefined) return null;
  const atMs = Date.parse(body.expiresAt);
  if (atMs > nowMs) return atMs;
  throw invalidRequest([{ path: "expiresAt", message: "is in the past", value: body.expiresAt }]);
}

export const createKey = defineRoute({
  method: "post",
  path: "/v1/tenants/{id}/keys",
  summary: "Create an API key, which is shown once",
  access: "ownTenant",
  params: tenantParams,
  body: newKeyBody,
  data: createdKeyShape,
  successStatus: 201,
  errors: [
    "notFound",
    "quotaExceeded",
    "idempotencyKeyReused",
    "unknownOutcome",
    "malformedJson",
    "unsupportedMediaType",
  ],
  async handle(call, { params, body, mutation }) {
    const { stubs, now, authenticator } = call.services;
    const tenant = await tenantNumber(call, params.id);
    const { name, scope, rateLimit = null } = body;
    const input = { name, scope, expiresAtMs: expiryOf(body, now()), rateLimit };
    const work = stubs.tenant(tenant).createKey(input, mutation);
    const created = unwrap(await writing(work, "Tenant", { writeIdHex: hexOf(mutation.writeId) }));
    await authenticator.forget(params.id);
    const data = { ...shownKey(created), apiKey: created.apiKey };
    return success(call, { status: 201, message: "created", data });
  },
});

export const listKeys = defineRoute({
  method: "get",
  path: "/v1/tenants/{id}/keys",
  summary: "List a tenant's API keys, without their secrets",
  access: "ownTenant",
  params: tenantParams,
  query: pageQuery,
  data: pageShape(keyShape),
  errors: ["notFound"],
  async handle(call, { params, query }) {
    const tenant = await tenantNumber(call, params.id);
    const after = afterCursor(query.cursor);
    const rows = await reading(
      call.services.stubs.tenant(tenant).listKeys({ after, limit: query.limit + 1 }),
      "Tenant",
    );
    const data = pageOf(rows, query.limit, { name: (row) => row.keyId, item: shownKey });
    return success(call, { message: "listed", data });
  },
});

export const revokeKey = defineRoute({
  method: "delete",
  path: "/v1/tenants/{id}/keys/{key}",
  summary: "Revoke an API key; refused everywhere within two seconds",
  access: "ownTenant",
  params: keyParams,
  data: keyShape,
  errors: ["notFound", "idempotencyKeyReused", "unknownOutcome"],
  async handle(call, { params, mutation }) {
    const { stubs, authenticator } = call.services;
    const tenant = await tenantNumber(call, params.id);
    const work = stubs.tenant(tenant).revokeKey(params.key, mutation);
    const revoked = unwrap(await writing(work, "Tenant", { writeIdHex: hexOf(mutation.writeId) }));
    await authenticator.forget(params.id);
    return success(call, { message: "revoked", data: shownKey(revoked) });
  },
});
