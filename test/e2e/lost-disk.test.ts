// A storage node's file is deleted under a stopped server: the node comes back empty, counts nowhere, and is filled again.
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, describe, expect, it } from "vitest";
import { type RunningServer, startServer } from "../../scripts/lib/server-process.mjs";
import { ServeProcess } from "./serve-process.ts";
import { until } from "./until.ts";

const KEYS = 200;
let server: RunningServer;

afterAll(() => server?.dispose());

async function ask(method: string, path: string, key: string, body?: object) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const response = await fetch(server.url + path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  // biome-ignore lint/suspicious/noExplicitAny: answers of many routes
  const { data, code } = (await response.json()) as any;
  return { status: response.status, data, code };
}

/** The SQLite files of one storage node. */
function filesOf(nodeNumber: number): string[] {
  const below = join(server.dataDir, "objects");
  const files = readdirSync(below, { recursive: true, encoding: "utf8" }).map((name) => join(below, name));
  const isNode = (file: string): boolean => {
    const database = new DatabaseSync(file, { readOnly: true });
    try {
      return database.prepare("SELECT node_number FROM replica_facts").get()?.["node_number"] === nodeNumber;
    } catch {
      return false;
    } finally {
      database.close();
    }
  };
  const found = files.find((file) => file.endsWith(".sqlite") && isNode(file));
  if (!found) throw new Error(`no file of storage node ${nodeNumber} below ${below}`);
  return files.filter((file) => file.startsWith(found));
}

const stateOf = async (nodeId: string): Promise<string> => {
  const { data } = await ask("GET", "/v1/storage-nodes", server.rootKey);
  return data.items.find((node: { nodeId: string }) => node.nodeId === nodeId).state;
};

describe("a lost disk", () => {
  it("[RP-44] [RP-93] two of three: reads and writes of a majority are refused, nothing is written, and the server says that it is not ready", async () => {
    server = await startServer();
    const { dataDir, port, rootKey } = server;
    const { data } = await ask("POST", "/v1/tenants", rootKey, { tenantId: "acme" });
    const put = (value: string, consistency: string) =>
      ask("POST", "/v1/key-value", data.apiKey, { key: "k", value, consistency });
    const get = (consistency: string) => ask("GET", `/v1/key-value?key=k&consistency=${consistency}`, data.apiKey);
    expect((await put("kept", "all")).status).toBe(200);
    await server.stop();
    for (const node of [2, 3]) for (const file of filesOf(node)) rmSync(file);
    const args = ["--port", String(port), "--data-dir", dataDir];
    const half = new ServeProcess({ args, env: { JADE_ROOT_KEY: rootKey } });
    try {
      await half.waitFor(() => /not ready: .*storage node n2, storage node n3/.test(half.stderr));
      expect(half.stdout).not.toMatch(/^ready /m);
      expect((await ask("GET", "/v1/ready", rootKey)).status).toBe(503);
      expect(await get("one")).toMatchObject({ status: 200, data: { value: "kept" } });
      expect(await get("quorum")).toMatchObject({ status: 503, code: "quorumUnavailable" });
      await put("unsure", "quorum"); // may be unknownOutcome: only now is it known who is rebuilt
      expect(await put("refused", "quorum")).toMatchObject({ status: 503, code: "quorumUnavailable" });
      expect((await get("one")).data.value).not.toBe("refused");
    } finally {
      half.kill("SIGTERM");
      await half.exited;
      rmSync(dataDir, { recursive: true });
      rmSync(`${dataDir}.log`, { force: true });
    }
  });

  it("[RP-44] [RP-46] the node is rebuilding, quorum goes on, and afterwards every key is read from all replicas", async () => {
    server = await startServer();
    const { dataDir, port, rootKey } = server;
    const { data } = await ask("POST", "/v1/tenants", rootKey, { tenantId: "acme" });
    const put = (i: number, consistency: string) =>
      ask("POST", "/v1/key-value", data.apiKey, { key: `k${i}`, value: i, consistency });
    for (let i = 0; i < KEYS; i++) expect((await put(i, "all")).status).toBe(200);
    await server.stop();
    for (const file of filesOf(2)) rmSync(file);
    server = await startServer({ dataDir, port, rootKey });
    expect((await put(0, "quorum")).status).toBe(200);
    expect(await stateOf("n2")).toBe("rebuilding");
    const ready = await ask("GET", "/v1/ready", rootKey);
    expect(ready.data).toEqual({ ready: true, degraded: ["storage node n2"], replicas: { total: 3, answering: 2 } });
    expect((await put(0, "all")).status).toBe(503);
    expect(await until(async () => (await stateOf("n2")) === "active")).toBe(true);
    for (let i = 0; i < KEYS; i++) {
      const read = await ask("GET", `/v1/key-value?key=k${i}&consistency=all`, data.apiKey);
      expect([read.status, read.data.value]).toEqual([200, i]);
    }
    const metrics = await (
      await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${rootKey}` } })
    ).text();
    expect(metrics).toMatch(/jade_kv_rebuilding\{node="n2"\} 0/);
    // What was read found nothing to mend: the node held everything before.
    expect(metrics).toMatch(/jade_kv_read_repairs_total(\{[^}]*\})? 0/);
  });
});
