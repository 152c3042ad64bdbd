// Routes of tenants: /v1/tenants and /v1/tenants/{id}.
import { z } from "@hono/zod-openapi";
import {
  type CreatedTenant,
  type NewTenant,
  type TenantChanges,
  type TenantInfo,
  unwrap,
} from "../../objects/tenancy-rpc.ts";
import { hexOf } from "../access/api-key.ts";
import { DEFAULT_REPLICATION_FACTOR } from "../access/limits.ts";
import { maxReplicationFactor } from "../access/ring-start.ts";
import { PublicError } from "../wire/error-codes.ts";
import { success } from "./answers.ts";
import type { Call } from "./call.ts";
import { afterCursor, pageOf, pageQuery } from "./cursor.ts";
import { reading, writing } from "./errors.ts";
import { DESCRIBE_AT_ONCE } from "./limits.ts";
import { defineRoute } from "./route.ts";
import {
  createdTenantShape,
  newTenantBody,
  pageShape,
  tenantChangesBody,
  tenantParams,
  tenantShape,
  usageShape,
} from "./schemas.ts";

/** Dates as ISO 8601. */
export function shownTenant(info: TenantInfo): Record<string, unknown> {
  const { tenantId, replicationFactor, defaultConsistency, conflictPolicy, displayName, createdAtMs } = info;
  const createdAt = new Date(createdAtMs).toISOString();
  const replicationFactorChange = shownChange(info);
  const settings = {
    ...{ tenantId, replicationFactor, replicationFactorChange, defaultConsistency, conflictPolicy, displayName },
    createdAt,
  };
  const { rateLimit = null, quotas = {}, tokensValidAfterMs } = info;
  const tokensValidAfter = tokensValidAfterMs ? new Date(tokensValidAfterMs).toISOString() : null;
  return { ...settings, rateLimit, quotas, tokensValidAfter };
}

/** How far a change of the replication factor is; null = none is under way. */
function shownChange({ change, changeState }: TenantInfo): Record<string, unknown> | null {
  if (!changeState) return null;
  const { from, to, isCancelled, startedAtMs, progress, waitingFor, announcing } = changeState;
  const phase = announcing === "ending" ? "ending" : (change?.phase ?? "starting");
  const startedAt = new Date(startedAtMs).toISOString();
  return { from, to: isCancelled ? from : to, phase, isCancelled, startedAt, ...progress, waitingFor };
}

/** Fields that a tenant's own administrator may not set: they would free it of what the operator grants. */
const ROOT_FIELDS = ["replicationFactor", "rateLimit", "quotas"] as const;

function shownCreation(created: CreatedTenant): Record<string, unknown> {
  return { ...shownTenant(created), keyId: created.keyId, apiKey: created.apiKey };
}

/** Without what was not given. */
function given<T extends object>(fields: T | undefined): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields ?? {}).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function timeOf(text: string | null): number | null {
  return text === null ? null : Date.parse(text);
}

/** The number of the tenant of this name, or `notFound`. */
export async function tenantNumber(call: Call, tenantId: string): Promise<number> {
  const { principal, services } = call;
  if (principal?.kind === "tenant" && principal.tenantId === tenantId) return principal.caller.tenant;
  const tenant = await reading(services.stubs.directory().lookupTenant(tenantId), "Directory");
  if (tenant === null) throw new PublicError("notFound", `there is no tenant "${tenantId}"`);
  return tenant;
}

async function defaultReplicationFactor(call: Call): Promise<number> {
  const { nodes } = await reading(call.services.stubs.directory().view(), "Directory");
  return Math.min(DEFAULT_REPLICATION_FACTOR, maxReplicationFactor(nodes));
}

/** With the deployment's defaults for what is not given. */
export async function newTenantOf(call: Call, body: z.output<typeof newTenantBody>): Promise<NewTenant> {
  return {
    tenantId: body.tenantId,
    replicationFactor: body.replicationFactor ?? (await defaultReplicationFactor(call)),
    defaultConsistency: body.defaultConsistency ?? call.services.settings.keyValue.defaultConsistency,
    conflictPolicy: body.conflictPolicy ?? "siblings",
    displayName: body.displayName ?? "",
    rateLimit: body.rateLimit ?? null,
    quotas: given(body.quotas),
  };
}

export const createTenant = defineRoute({
  method: "post",
  path: "/v1/tenants",
  summary: "Create a tenant and its first API key, which is shown once",
  access: "root",
  body: newTenantBody,
  data: createdTenantShape,
  successStatus: 201,
  errors: ["alreadyExists", "idempotencyKeyReused", "unknownOutcome", "malformedJson", "unsupportedMediaType"],
  async handle(call, { body, mutation }) {
    const { services } = call;
    const input = await newTenantOf(call, body);
    const work = services.stubs.directory().createTenant(input, mutation);
    const created = unwrap(await writing(work, "Directory", { writeIdHex: hexOf(mutation.writeId) }));
    await services.authenticator.forget(body.tenantId);
    return success(call, { status: 201, message: "created", data: shownCreation(created) });
  },
});

export const listTenants = defineRoute({
  method: "get",
  path: "/v1/tenants",
  summary: "List tenants by name",
  access: "root",
  query: pageQuery,
  data: pageShape(tenantShape),
  errors: [],
  async handle(call, { query }) {
    const { stubs } = call.services;
    const after = afterCursor(query.cursor);
    const rows = await reading(stubs.directory().listTenants({ after, limit: query.limit + 1 }), "Directory");
    const page = pageOf(rows, query.limit, { name: (row) => row.tenantId, item: (row) => row.tenant });
    const items: Record<string, unknown>[] = [];
    for (let start = 0; start < page.items.length; start += DESCRIBE_AT_ONCE) {
      const group = page.items.slice(start, start + DESCRIBE_AT_ONCE);
      const infos = await Promise.all(group.map((tenant) => reading(stubs.tenant(tenant).describe(), "Tenant")));
      // A tenant deleted or not yet started since the names were read has no description.
      for (const info of infos) if (info) items.push(shownTenant(info));
    }
    return success(call, { message: "listed", data: { items, cursor: page.cursor } });
  },
});

export const getTenant = defineRoute({
  method: "get",
  path: "/v1/tenants/{id}",
  summary: "Show a tenant",
  access: "ownTenant",
  params: tenantParams,
  data: tenantShape,
  errors: ["notFound"],
  async handle(call, { params }) {
    const tenant = await tenantNumber(call, params.id);
    const info = await reading(call.services.stubs.tenant(tenant).describe(), "Tenant");
    if (!info) throw new PublicError("notFound", `there is no tenant "${params.id}"`);
    return success(call, { message: "found", data: shownTenant(info) });
  },
});

export const tenantUsage = defineRoute({
  method: "get",
  path: "/v1/tenants/{id}/usage",
  summary: "How much a tenant holds now, and how much it may",
  access: "ownTenant",
  params: tenantParams,
  data: usageShape,
  errors: ["notFound"],
  async handle(call, { params }) {
    const tenant = await tenantNumber(call, params.id);
    const usage = unwrap(await reading(call.services.stubs.tenant(tenant).usage(), "Tenant"));
    return success(call, { message: "found", data: usage });
  },
});

export const changeTenant = defineRoute({
  method: "patch",
  path: "/v1/tenants/{id}",
  summary: "Change a tenant's settings",
  access: "ownTenant",
  params: tenantParams,
  body: tenantChangesBody,
  data: tenantShape,
  errors: ["notFound", "conflict", "idempotencyKeyReused", "unknownOutcome", "malformedJson", "unsupportedMediaType"],
  async handle(call, { params, body, mutation }) {
    const { services } = call;
    const { tokensValidAfter, quotas, ...settings } = body;
    for (const field of ROOT_FIELDS) {
      if (call.principal?.kind === "root" || body[field] === undefined) continue;
      throw new PublicError("forbidden", `${field} is set by the root key`, { requiredScope: "root" });
    }
    const tenant = await tenantNumber(call, params.id);
    const changes: TenantChanges = {
      ...given(settings),
      ...(quotas ? { quotas: given(quotas) } : {}),
      ...(tokensValidAfter === undefined ? {} : { tokensValidAfterMs: timeOf(tokensValidAfter) }),
    };
    const work = services.stubs.tenant(tenant).update(changes, mutation);
    const info = unwrap(await writing(work, "Tenant", { writeIdHex: hexOf(mutation.writeId) }));
    await services.authenticator.forget(params.id);
    return success(call, { message: "changed", data: shownTenant(info) });
  },
});

export const deleteTenant = defineRoute({
  method: "delete",
  path: "/v1/tenants/{id}",
  summary: "Delete a tenant with all its data; erasure goes on behind the answer",
  access: "root",
  params: tenantParams,
  data: z.object({ tenantId: z.string(), erasure: z.enum(["running", "done"]) }),
  errors: ["notFound", "idempotencyKeyReused", "unknownOutcome"],
  async handle(call, { params, mutation }) {
    const { services } = call;
    const work = services.stubs.directory().deleteTenant(params.id, mutation);
    const data = unwrap(await writing(work, "Directory", { writeIdHex: hexOf(mutation.writeId) }));
    await services.authenticator.forget(params.id);
    return success(call, { message: "deleted", data });
  },
});
