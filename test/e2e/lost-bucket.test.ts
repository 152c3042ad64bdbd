// A cluster of one instance with its real bucket server, whose bucket is emptied while it is stopped; and who else would begin anew there.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { root } from "../../scripts/lib/root.mjs";
import { freePort, type ProcessGroup, startGroup, temporaryDirectory } from "../../scripts/lib/server-process.mjs";
import { PATIENCE_MS, until } from "./until.ts";

const ROOT_KEY = "jdb.root.lost-bucket";
let group: ProcessGroup | undefined;
let directory: string;
let port: number;

afterAll(async () => {
  await group?.kill9();
  await rm(directory, { recursive: true, force: true });
  await rm(`${directory}.log`, { force: true });
  await rm(`${directory}.other`, { recursive: true, force: true });
});

/** `jade-db serve` of an instance beside the cluster, on its bucket. */
async function serve(dataDir: string, ...flags: string[]): Promise<{ code: number; told: string }> {
  const keyIn = (name: string) => readFileSync(join(directory, name), "utf8").trim();
  const [, bucketUrl] = [...readFileSync(`${directory}.log`, "utf8").matchAll(/^bucket +(\S+)/gm)].at(-1)!;
  const keys = { JADE_ROOT_KEY: ROOT_KEY, JADE_CLUSTER_KEY: keyIn("cluster.key") };
  const bucket = { AWS_ENDPOINT_URL: bucketUrl, AWS_REGION: "auto", AWS_ACCESS_KEY_ID: "jade" };
  const env = { ...keys, ...bucket, AWS_SECRET_ACCESS_KEY: keyIn("bucket.key"), PATH: process.env["PATH"] };
  const cluster = ["--cluster", "s3://jade/deployment", "--zone", "z1", "--peer", `z1=unix:${dataDir}/zone.sock`];
  const args = [join(root, "dist/cli.js"), "serve", ...cluster, "--port", "0", "--data-dir", dataDir, ...flags];
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "ignore", "pipe"], timeout: PATIENCE_MS });
  let told = "";
  child.stderr.on("data", (text) => (told += text));
  const [code] = await once(child, "close");
  return { code, told };
}

async function call(port: number, path: string, key: string, body?: object) {
  const init = { headers: { authorization: `Bearer ${key}`, "content-type": "application/json" } };
  const sent = body === undefined ? init : { ...init, method: "POST", body: JSON.stringify(body) };
  const response = await fetch(`http://127.0.0.1:${port}/v1/${path}`, sent).catch(() => undefined);
  if (!response) return { status: 0, data: undefined };
  return { status: response.status, data: ((await response.json()) as { data?: Record<string, unknown> }).data };
}

describe("a cluster whose bucket was emptied", () => {
  it("[CL-131] [CL-132] [CL-150] gives no number of a tenant again, says what to do, and begins anew when it is told to", async () => {
    directory = await temporaryDirectory("lost-bucket");
    port = await freePort();
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

    group = start("--new-deployment", "again");
    const second = await created("second");
    expect(await until(async () => (await call(port, "key-value?key=a", second)).status === 404)).toBe(true);
    expect(await readdir(join(directory, "z1"))).toContain("before-again");
    expect(await readdir(directory)).toContain("bucket-before-again");
  });

  it("[CL-148] no other new deployment begins in that bucket, and what its instance holds stays", async () => {
    const other = `${directory}.other`;
    await mkdir(join(other, "objects"), { recursive: true });
    await writeFile(join(other, "objects/kept"), "rows");
    expect(await until(() => existsSync(join(directory, "z1/bucket-seen.json")))).toBe(true);
    const { code, told } = await serve(other, "--new-deployment", "third");
    expect({ code, told }).toEqual({ code: 2, told: expect.stringContaining("holds a deployment (z1 was there at 2") });
    expect(told).toContain("--force-new-deployment");
    expect(await readdir(other)).not.toContain("before-third");
    expect(await readdir(join(other, "objects"))).toEqual(["kept"]);
    // Who asked was a member for a moment.
    expect((await call(port, "tenants", ROOT_KEY, { tenantId: "after" })).status).toBe(201);
  });
});
