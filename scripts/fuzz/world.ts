// Who takes part in a fuzz run: two tenants whose data is watched, keys of every kind, tenants that may be created, changed and deleted.
import type { Choices } from "./random.ts";

export const WATCHED = ["fuzz-a", "fuzz-b"] as const;
export const VICTIMS: readonly string[] = Array.from({ length: 8 }, (_, i) => `victim-${i}`);

/** `tenant`: whose key it is; undefined = the root's, or nobody's. */
export interface Credential {
  readonly name: string;
  readonly token: string | undefined;
  readonly tenant: string | undefined;
  readonly scope: "root" | "admin" | "read-write" | "read-only" | "none";
}

export interface World {
  readonly url: string;
  readonly credentials: readonly Credential[];
}

export function named(world: World, name: string): Credential {
  const found = world.credentials.find((credential) => credential.name === name);
  if (!found) throw new Error(`no credential ${name}`);
  return found;
}

/** One call of the setup; throws unless it succeeds. */
export async function administer(
  world: { readonly url: string; readonly rootKey: string },
  { method, path, body }: { readonly method: string; readonly path: string; readonly body?: unknown },
): Promise<Record<string, unknown>> {
  const headers: Record<string, string> = { authorization: `Bearer ${world.rootKey}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  const sent = body === undefined ? null : JSON.stringify(body);
  const response = await fetch(`${world.url}${path}`, { method, headers, body: sent });
  const json = (await response.json()) as { readonly data: Record<string, unknown> };
  if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(json)}`);
  return json.data;
}

export async function createWorld(server: { readonly url: string; readonly rootKey: string }): Promise<World> {
  const credentials: Credential[] = [
    { name: "root", token: server.rootKey, tenant: undefined, scope: "root" },
    { name: "none", token: undefined, tenant: undefined, scope: "none" },
    { name: "garbage", token: "jdb.fuzz-a.0123456789abcdef.x", tenant: undefined, scope: "none" },
    { name: "long", token: "x".repeat(3000), tenant: undefined, scope: "none" },
    { name: "signed", token: "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.AAAA", tenant: undefined, scope: "none" },
  ];
  for (const tenantId of WATCHED) {
    const created = await administer(server, { method: "POST", path: "/v1/tenants", body: { tenantId } });
    credentials.push({
      ...{ name: `${tenantId}.admin`, token: String(created["apiKey"]) },
      ...{ tenant: tenantId, scope: "admin" },
    });
    for (const scope of ["read-write", "read-only"] as const) {
      const path = `/v1/tenants/${tenantId}/keys`;
      const key = await administer(server, { method: "POST", path, body: { scope } });
      credentials.push({ name: `${tenantId}.${scope}`, token: String(key["apiKey"]), tenant: tenantId, scope });
    }
    const path = `/v1/tenants/${tenantId}/keys`;
    const revoked = await administer(server, { method: "POST", path, body: { scope: "admin" } });
    await administer(server, { method: "DELETE", path: `${path}/${revoked["keyId"]}` });
    const name = `${tenantId}.revoked`;
    credentials.push({ name, token: String(revoked["apiKey"]), tenant: undefined, scope: "none" });
  }
  for (const tenantId of VICTIMS.slice(0, 4))
    await administer(server, { method: "POST", path: "/v1/tenants", body: { tenantId } });
  const live = credentials.find(({ name }) => name === "fuzz-a.admin")!.token!;
  const wrongSecret = `${live.slice(0, -4)}${live.endsWith("AAAA") ? "BBBB" : "AAAA"}`;
  credentials.push({ name: "wrong secret", token: wrongSecret, tenant: undefined, scope: "none" });
  return { url: server.url, credentials };
}

const STYLES = ["Bearer ", "bearer ", "BEARER  "] as const;

/** The Authorization header; undefined = none. Other than `isSane` ones the server must refuse. */
export function authorization(
  { token }: Credential,
  choices: Choices,
): { readonly text: string; readonly isSane: boolean } | undefined {
  if (token === undefined) return undefined;
  if (choices.chance(0.97))
    return { text: `${choices.chance(0.9) ? "Bearer " : choices.pick(STYLES)}${token}`, isSane: true };
  const text = choices.pick([
    `Basic ${token}`,
    token,
    `Bearer ${token} x`,
    `Bearer${token}`,
    "Bearer",
    `Bearer "${token}"`,
  ]);
  return { text, isSane: false };
}
