// What the gateway's tests share: requests to the real Worker, tenants of their own, and a count of all that was written.
import { env, exports } from "cloudflare:workers";
import { expect } from "vitest";
import type { DirectoryAdminRpc, TenantAdminRpc } from "../../objects/tenancy-rpc.ts";

export const ROOT_KEY = "jdb.root.test";
export const ORIGIN = "http://jade.test";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The parsed envelope. */
  readonly json: Envelope;
}

export interface Envelope {
  readonly status: string;
  readonly code?: string;
  readonly message: string;
  readonly data: { readonly apiKey: string; readonly vectorClock: object; readonly [field: string]: unknown };
  readonly details: Readonly<Record<string, unknown>>;
  readonly timestamp: string;
}

export interface Ask {
  readonly key?: string | undefined;
  readonly body?: unknown;
  /** Sent as it is, instead of `body`. */
  readonly raw?: BodyInit;
  readonly headers?: Readonly<Record<string, string>>;
}

export async function ask(method: string, path: string, { key, body, raw, headers }: Ask = {}): Promise<Answer> {
  const sent = raw ?? (body === undefined ? null : JSON.stringify(body));
  const response = await exports.default.fetch(ORIGIN + path, {
    method,
    headers: {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(sent === null ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    body: sent,
    redirect: "manual",
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type") === "application/json" && text !== "";
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : {} };
}

let tenantCount = 0;

/** A tenant nobody else uses; gives its name and its admin key. */
export async function newTenant(settings: object = {}): Promise<{ tenantId: string; key: string }> {
  const tenantId = `t${Date.now().toString(36)}-${tenantCount++}`;
  const answer = await ask("POST", "/v1/tenants", { key: ROOT_KEY, body: { tenantId, ...settings } });
  expect(answer.status, answer.text).toBe(201);
  return { tenantId, key: answer.json.data["apiKey"] };
}

export async function newKey(tenantId: string, body: object): Promise<string> {
  const answer = await ask("POST", `/v1/tenants/${tenantId}/keys`, { key: ROOT_KEY, body });
  expect(answer.status, answer.text).toBe(201);
  return answer.json.data["apiKey"];
}

export function directory(): DirectoryAdminRpc {
  return env.DIRECTORY.get(env.DIRECTORY.idFromName("system")) as DirectoryAdminRpc;
}

export function tenantObject(tenant: number): TenantAdminRpc {
  return env.TENANT.get(env.TENANT.idFromName(`t${tenant}`)) as TenantAdminRpc;
}

/** Grows with everything written anywhere: versions stamped or merged, tenants, keys, settings. */
export async function writtenSoFar(tenantId: string): Promise<string> {
  const counts: unknown[] = [await directory().listTenants({ after: "", limit: 1000 })];
  const { nodes } = await directory().view();
  for (const node of nodes) {
    const metrics = await env.KEY_VALUE_REPLICA.get(env.KEY_VALUE_REPLICA.idFromName(node.id)).metrics();
    for (const name of ["kv_stamps_total", "kv_merges_total"]) counts.push(metrics[`jade_${name}{node="${node.id}"}`]);
  }
  const tenant = await directory().lookupTenant(tenantId);
  if (tenant !== null) counts.push(await tenantObject(tenant).viewSince(null));
  return JSON.stringify(counts);
}
