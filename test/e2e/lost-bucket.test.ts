// A cluster of one instance with its real bucket server, whose bucket is emptied while it is stopped.
import { readFileSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { root } from "../../scripts/lib/root.mjs";
import { freePort, type ProcessGroup, startGroup, temporaryDirectory } from "../../scripts/lib/server-process.mjs";
import { until } from "./until.ts";

const ROOT_KEY = "jdb.root.lost-bucket";
let group: ProcessGroup | undefined;
let directory: string;

afterAll(async () => {
  await group?.kill9();
  await rm(directory, { recursive: true, force: true });
  await rm(`${directory}.log`, { force: true });
});

async function call(port: number, path: string, key: string, body?: object) {
  const init = { headers: { authorization: `Bearer ${key}`, "content-type": "application/json" } };
  const sent = body === undefined ? init : { ...init, method: "POST", body: JSON.stringify(body) };
  const response = await fetch(`http://127.0.0.1:${port}/v1/${path}`, sent).catch(() => undefined);
  if (!response) return { status: 0, data: undefined };
  return { status: response.status, data: ((await response.json()) as { data?: Record<string, unknown> }).data };
}

describe("a cluster whose bucket was emptied", () => {
  it("[CL-131] [CL-132] gives no number of a tenant again, says what to do, and begins anew when it is told to", async () => {
    directory = await temporaryDirectory("lost-bucket");
    const port = await freePort();
    const logPath = `${directory}.log`;
    const start = (...flags: string[]) => {
      const args = [join(root, "dist/cli.js"), "cluster", "start", "--instances", "1", "--port", String(port)];
      const env = { JADE_ROOT_KEY: ROOT_KEY, JADE_LOG_LEVEL: "error" };
      return startGroup({
        command: process.execPath,
        args: [...args, "--data-dir", directory, ...flags],
        env,
        logPath,
      });
    };
    const emptyBucket = async (): Promise<void> => {
      const bucket = join(directory, "bucket/objects");
      for (const name of await readdir(bucket)) await rm(join(bucket, name), { recursive: true });
    };
    const created = async (tenantId: string): Promise<string> => {
      let key = "";
      await until(async () => {
        const { status, data } = await call(port, "tenants", ROOT_KEY, { tenantId });
        key = String(data?.["apiKey"]);
        return status === 201;
      });
      return key;
    };
    group = start();
    const first = await created("first");
    expect(
      await until(async () => (await call(port, "key-value", first, { key: "a", value: "first's" })).status === 200),
    ).toBe(true);
    await group.kill9();
    await emptyBucket();
    // What an operator does who accepts an older bucket.
    await rm(join(directory, "z1/bucket-seen.json"), { force: true });

    group = start();
    expect(await until(() => readFileSync(logPath, "utf8").includes("Restore the bucket"))).toBe(true);
    expect(readFileSync(logPath, "utf8")).toContain("--new-deployment");
    const refused = await call(port, "tenants", ROOT_KEY, { tenantId: "second" });
    expect(refused.status).toBe(503);
    await group.kill9();

    // The lease of the one that was killed lies there.
    await emptyBucket();
    group = start("--new-deployment", "again");
    const second = await created("second");
    expect(await until(async () => (await call(port, "key-value?key=a", second)).status === 404)).toBe(true);
    expect(await readdir(join(directory, "z1"))).toContain("before-again");
  });
});
