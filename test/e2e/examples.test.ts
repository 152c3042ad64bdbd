// Runs every program of docs/examples as it stands, against a real server, and holds it to what it prints.
// Times have loose bounds: other things run on the machine.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type RunningServer, startServer } from "../../scripts/lib/server-process.mjs";
import { JadeClient } from "../../src/client/index.ts";

const EXAMPLES = join(import.meta.dirname, "../../docs/examples");
let server: RunningServer;
let apiKey = "";

beforeAll(async () => {
  server = await startServer();
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  ({ apiKey } = await admin.tenants.create({ tenantId: "examples" }));
  admin.close();
});

afterAll(async () => {
  await server?.dispose();
});

const RUN = new Set<string>();

/** The line that an example prints. */
async function printed(file: string, more: NodeJS.ProcessEnv = {}) {
  RUN.add(file);
  const env = { ...process.env, JADE_URL: server.url, JADE_API_KEY: apiKey, ...more };
  const child = spawn(process.execPath, [join(EXAMPLES, file)], { env, timeout: 120_000, killSignal: "SIGKILL" });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (text) => {
    stdout += text;
  });
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  const [status] = await once(child, "close");
  expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: "" });
  console.log(`${file}: ${stdout.trim()}`);
  return JSON.parse(stdout);
}

it("a change reaches 500 instances, each once and in order", async () => {
  const { p99Ms, ...rest } = await printed("config-change.mjs");
  expect(rest).toMatchObject({ instances: 500, changes: 40, inOrder: true });
  expect(p99Ms).toBeLessThan(1000);
});

it("a scheduler is followed by another when it is killed, and a stale one is refused", async () => {
  const { ttlMs, takeoverMs, tokens, staleTokenRefused } = await printed("scheduler-election.mjs");
  expect(takeoverMs).toBeLessThan(ttlMs + 2000);
  expect(tokens[1]).toBeGreaterThan(tokens[0]);
  expect(tokens[2]).toBeGreaterThan(tokens[1]);
  expect(staleTokenRefused).toBe(tokens[1]);
});

it("an inventory is not oversold under a lock, and is without", async () => {
  const result = { buyers: 50, stock: 20, sold: 20, left: 0, oversold: 0, tokensGrow: true };
  expect(await printed("inventory-lock.mjs")).toEqual(result);
  expect((await printed("inventory-lock.mjs", { LOCK: "no" })).oversold).toBeGreaterThan(0);
});

it("ZooKeeper's recipe keeps the order, wakes one at a time, and bears a death in the line", async () => {
  const { wakes, ...rest } = await printed("sequential-ephemeral.mjs");
  expect(rest).toEqual({ members: 10, worked: 9, inOrder: true, mostOwners: 1 });
  // Eight releases each wake one, the death one who looks again; a herd would be 45. Who looks late enough need not wait.
  expect(wakes).toBeGreaterThan(0);
  expect(wakes).toBeLessThanOrEqual(9);
});

it("flags roll out to a growing share", async () => {
  const { few, half, all, none, stays } = await printed("feature-flags.mjs");
  expect({ all, none, stays }).toEqual({ all: 1000, none: 0, stays: true });
  expect(few).toBeGreaterThan(20);
  expect(few).toBeLessThan(100);
  expect(Math.abs(half - 500)).toBeLessThan(100);
});

it("credentials are rotated without a refused login", async () => {
  expect(await printed("credentials-rotation.mjs")).toEqual({
    ...{ rotations: 3, accepted: ["secret-4"], logins: true, refused: 0 },
  });
});

it("a circuit breaker is opened by one for all, until its lease ends", async () => {
  const { openMs, ...rest } = await printed("circuit-breaker.mjs");
  expect(rest).toEqual({ closedAtFirst: true, openedBy: 1 });
  expect(openMs).toBeGreaterThan(1000);
  expect(openMs).toBeLessThan(6000);
});

it("maintenance begins when all have stopped", async () => {
  expect(await printed("maintenance-mode.mjs")).toEqual({ stopped: 10, takenMeanwhile: 0, working: 10 });
});

it("every example is run here and listed", () => {
  const files = readdirSync(EXAMPLES).filter((file) => file.endsWith(".mjs"));
  expect([...RUN].sort()).toEqual(files.sort());
  const page = readFileSync(join(EXAMPLES, "README.md"), "utf8");
  for (const file of files) expect(page).toContain(`[${file}](${file})`);
});
