// Reads of namespaces that nobody ever wrote to, over every way there is, leave nothing on the disk.
import { readdirSync } from "node:fs";
import { Etcd3 } from "etcd3";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { RunningServer } from "../../scripts/lib/server-process.mjs";
import { JadeClient } from "../../src/client/index.ts";
import { startWithGrpc } from "./etcd/grpc-front.ts";

let server: RunningServer;
let grpc = "";
let admin: JadeClient;

beforeAll(async () => {
  ({ server, grpc } = await startWithGrpc());
  admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
});
afterAll(async () => {
  admin?.close();
  await server?.dispose();
});

/** Files of all keyspaces and their copies. */
function keyspaceFiles(): readonly string[] {
  const files = readdirSync(server.dataDir, { recursive: true, encoding: "utf8" });
  // workerd keeps a table of alarms beside them.
  return files.filter((file) => /jade-config-[a-z]+.[0-9a-f]+\.sqlite$/.test(file));
}

async function newTenant(tenantId: string) {
  const { apiKey } = await admin.tenants.create({ tenantId });
  const response = await fetch(`${server.url}/v1/tenants/${tenantId}/keys`, {
    method: "POST",
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ name: "reader", scope: "read-only" }),
  });
  const { data } = (await response.json()) as { data: { apiKey: string } };
  return { apiKey, readOnly: data.apiKey };
}

it("[CF-238] a read-only key reads namespaces that never were, and none of them becomes a file", async () => {
  const { apiKey, readOnly } = await newTenant("readers");
  const headers = { authorization: `Bearer ${readOnly}`, "content-type": "application/json" };
  const get = async (path: string, namespace: string) =>
    (await fetch(`${server.url}${path}${path.includes("?") ? "&" : "?"}namespace=${namespace}`, { headers })).status;
  const statuses: number[] = [];
  for (let i = 0; i < 20; i++) {
    const name = `never-${i}`;
    statuses.push(await get("/v1/config/keys/a", name), await get("/v1/config/range?prefix=", name));
    statuses.push(await get("/v1/config/status", name), await get("/v1/config/leases/7", name));
    statuses.push(await get("/v1/config/locks/mine", name), await get("/v1/config/export?prefix=", name));
    statuses.push(await get("/v1/config/range?prefix=&consistency=serializable", name));
    const read = { compare: [], success: [{ op: "get", key: "a" }] };
    const txn = { method: "POST", headers, body: JSON.stringify(read) };
    statuses.push((await fetch(`${server.url}/v1/config/txn?namespace=${name}`, txn)).status);
    const client = new Etcd3({ hosts: grpc, auth: { username: `readers/${name}`, password: readOnly } });
    expect(await client.get("a").string()).toBeNull();
    client.close();
  }
  expect(new Set(statuses)).toEqual(new Set([200, 404]));
  // One for all of them.
  expect(keyspaceFiles().length, keyspaceFiles().join(" ")).toBeLessThanOrEqual(1);

  // What is written is read at once, from every side, though it was not there a moment ago.
  const client = new JadeClient({ url: server.url, apiKey });
  for (let i = 0; i < 10; i++) {
    const config = client.config.namespace(`never-${i}`);
    expect((await config.get("a")).found).toBe(false);
    await config.put("a", i);
    expect((await config.get("a")).value).toBe(i);
    expect(await get("/v1/config/keys/a", `never-${i}`)).toBe(200);
  }
  client.close();
  expect(keyspaceFiles().length).toBeLessThanOrEqual(11);
  expect(keyspaceFiles().length).toBeGreaterThanOrEqual(10);
});
