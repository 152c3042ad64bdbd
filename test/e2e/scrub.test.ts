// A damaged block that nobody asks for, in a real server: found by the scrub and restored from the other replicas.
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { damage, nodeDatabases, storedTables } from "../../scripts/crash/stored.ts";
import { JadeClient } from "../../src/client/index.ts";
import { FailPointServer, ROOT_KEY } from "./fail-point-server.ts";
import { removeDir, temporaryDir } from "./serve-process.ts";

const dataDir = temporaryDir();
const server = new FailPointServer(dataDir, {
  storage: { memtableMiB: 1, rowCacheMiB: 0, scrubDays: 1 },
  log: { level: "off" },
});
afterAll(async () => {
  await server.end();
  removeDir(dataDir);
});

async function metric(name: string): Promise<number> {
  const response = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${ROOT_KEY}` } });
  const lines = (await response.text()).split("\n").filter((line) => line.startsWith(`${name}{`));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

async function until(isReached: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isReached()); tries++) {
    expect(tries).toBeLessThan(100);
    await sleep(200);
  }
}

it("[ST-100] [ST-101] [RP-61] a block that nobody reads is found damaged and healed from the other replicas", async () => {
  await server.start();
  const admin = new JadeClient({ url: server.url, apiKey: ROOT_KEY });
  const { apiKey } = await admin.tenants.create({ tenantId: "cold", replicationFactor: 3 });
  const client = new JadeClient({ url: server.url, apiKey });
  for (let at = 0; at < 400; at += 100) {
    const numbers = Array.from({ length: 100 }, (_, i) => at + i);
    const puts = numbers.map((i) => ({ op: "put" as const, key: `k${i}`, value: `${i} `.repeat(1500) }));
    for (const result of await client.kv.batch(puts)) expect(result.ok).toBe(true);
  }
  await until(async () => (await metric("jade_storage_flushes_total")) >= 3);
  await sleep(500);
  await server.kill9();
  const path = nodeDatabases(dataDir).find((file) => storedTables(file).some(({ kind }) => kind === "row"))!;
  const table = storedTables(path).find(({ kind }) => kind === "row")!;
  damage(path, table, "zero", { random: () => 0.3, blobsDir: undefined });
  await server.start();
  await until(async () => (await metric("jade_storage_table_count")) > 0);
  await sleep(1500);
  // Written a moment ago, so not due for a day.
  expect(await metric("jade_storage_scrubbed_blocks_total")).toBe(0);
  expect(await metric("jade_storage_corrupt_blocks_total")).toBe(0);
  await server.kill9();
  // As if it had been written long ago.
  const db = new DatabaseSync(path, { timeout: 5000 });
  db.exec("UPDATE storage_tables SET scrubbedMs = 1000");
  db.close();
  await server.start();
  await until(async () => (await metric("jade_storage_corrupt_blocks_total")) > 0);
  await until(async () => (await metric("jade_storage_corrupt_ranges")) === 0);
  expect(await metric("jade_kv_healed_rows_total")).toBeGreaterThan(0);
  expect(await metric("jade_storage_scrubbed_blocks_total")).toBeGreaterThan(0);
  const reader = new JadeClient({ url: server.url, apiKey });
  for (let i = 0; i < 400; i += 7)
    expect((await reader.kv.get(`k${i}`, { consistency: "all" }))?.value).toBe(`${i} `.repeat(1500));
  for (const each of [client, reader, admin]) each.close();
});
