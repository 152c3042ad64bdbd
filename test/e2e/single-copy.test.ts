// A tenant with a single copy, a damaged block, and a stopped server in between: errors, never a wrong value, never "not found".
import { afterAll, expect, it } from "vitest";
import { DAMAGES, damage, nodeDatabases, storedTables } from "../../scripts/crash/stored.ts";
import { isNotFound, JadeClient, type JadeError, type SkippedData } from "../../src/client/index.ts";
import { FailPointServer, ROOT_KEY } from "./fail-point-server.ts";
import { removeDir, temporaryDir } from "./serve-process.ts";
import { until } from "./until.ts";

const dataDir = temporaryDir();
const server = new FailPointServer(dataDir, { storage: { memtableMiB: 1, rowCacheMiB: 0 }, log: { level: "off" } });
afterAll(async () => {
  await server.end();
  removeDir(dataDir);
});

it("[RP-23] [RP-61] [RP-90] [RP-91] a damaged block of a tenant with one replica: dataCorrupt for its keys, others are served, nothing is given up", async () => {
  await server.start();
  const admin = new JadeClient({ url: server.url, apiKey: ROOT_KEY });
  const { apiKey } = await admin.tenants.create({ tenantId: "single", replicationFactor: 1 });
  const clientOf = () => new JadeClient({ url: server.url, apiKey, retries: { attempts: 1 } });
  const storedValue = (i: number) => `${i} `.repeat(2000);
  const keys = Array.from({ length: 600 }, (_, i) => i);
  for (let at = 0; at < keys.length; at += 100) {
    const operations = keys
      .slice(at, at + 100)
      .map((i) => ({ op: "put" as const, key: `k${i}`, value: storedValue(i) }));
    for (const result of await clientOf().kv.batch(operations)) expect(result.ok).toBe(true);
  }
  const rowTables = (path: string) => storedTables(path).filter(({ kind }) => kind === "row");
  const areFlushed = () => nodeDatabases(dataDir).filter((path) => rowTables(path).length > 0).length > 1;
  expect(await until(areFlushed)).toBe(true);
  await server.kill9();
  let damaged = 0;
  for (const [i, path] of nodeDatabases(dataDir).entries()) {
    for (const table of rowTables(path)) {
      damage(path, table, DAMAGES[i % DAMAGES.length]!, { random: () => 0.5, blobsDir: undefined });
      damaged++;
    }
  }
  expect(damaged).toBeGreaterThan(1);
  const readAll = async () => {
    const codes = new Map<string, number>();
    const note = (what: string) => void codes.set(what, (codes.get(what) ?? 0) + 1);
    for (let at = 0; at < keys.length; at += 100) {
      const chunk = keys.slice(at, at + 100);
      const results = await clientOf().kv.batch(chunk.map((i) => ({ op: "get" as const, key: `k${i}` })));
      for (const [n, result] of results.entries()) {
        if (!result.ok) note(result.error.code);
        else if (result.op === "get")
          note(result.result.value === storedValue(chunk[n]!) ? "right" : `wrong: found ${result.result.found}`);
      }
    }
    return codes;
  };
  await server.start();
  const first = await readAll();
  expect([...first.keys()].sort()).toEqual(["dataCorrupt", "right"]);
  await new Promise((resolve) => setTimeout(resolve, 6000)); // the healer has tried
  expect(await readAll()).toEqual(first);
  const lost = await (async () => {
    for (const i of keys) {
      const error = await clientOf()
        .kv.get(`k${i}`)
        .then(
          () => undefined,
          (reason: JadeError) => reason,
        );
      if (error) return { key: `k${i}`, error };
    }
    throw new Error("nothing is lost");
  })();
  expect(lost.error).toMatchObject({ code: "dataCorrupt", status: 500, category: "internal" });
  expect(isNotFound(lost.error)).toBe(false);
  const refused = await clientOf()
    .kv.put(lost.key, 1)
    .catch((reason: JadeError) => reason);
  expect(refused).toMatchObject({ code: expect.stringMatching(/dataCorrupt|unknownOutcome/) });
  await server.kill9();
  await server.start();
  expect(await readAll()).toEqual(first);
  // The SDK tells at once: a retry does not help.
  let callCount = 0;
  const counted: typeof fetch = (...call) => {
    callCount++;
    return fetch(...call);
  };
  const patient = new JadeClient({ url: server.url, apiKey, fetch: counted });
  await expect(patient.kv.get(lost.key)).rejects.toMatchObject({ code: "dataCorrupt", retryable: false });
  await expect(patient.kv.put(lost.key, 1)).rejects.toMatchObject({ code: "dataCorrupt" });
  expect(callCount).toBe(2);
  // An export fails with what is damaged, or goes on past it: what it then holds is right, and what it lacks is what is lost.
  const failed = await patient.kv.exportPage().catch((error: JadeError) => error);
  expect(failed).toMatchObject({ code: "dataCorrupt", details: { keyCount: 0 } });
  const range = { nodeId: expect.stringMatching(/^n[123]$/), fromToken: expect.stringMatching(/^[0-9a-f]{16}$/) };
  expect((failed as JadeError).details["ranges"]).toContainEqual(expect.objectContaining(range));
  const exported = new Map<string, string>();
  const skipped: SkippedData["ranges"][number][] = [];
  const onSkipped = ({ ranges }: SkippedData) => void skipped.push(...ranges);
  for await (const { key, json } of patient.kv.export({ limit: 100, onSkipped })) exported.set(key, json);
  expect(skipped.length).toBeGreaterThan(0);
  for (const [key, json] of exported) expect(JSON.parse(json)).toBe(storedValue(Number(key.slice(1))));
  expect(exported.size).toBe(first.get("right"));
});
