// `jade-db config snapshot`, `client.config.snapshot` and `restore` against a real server, which dies in the middle of a restore.
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningServer, startServer, temporaryDirectory } from "../../scripts/lib/server-process.mjs";
import { type Config, configOp, isCompacted, JadeClient } from "../../src/client/index.ts";
import { SNAPSHOT_TYPE } from "../../src/wire/config-snapshot.ts";
import { workerdPid } from "./serve-process.ts";
import { PATIENCE_MS, until } from "./until.ts";

const CLI = join(import.meta.dirname, "../../dist/cli.js");
const KEYS = 2000;
const TXN_KEYS = 100;
let server: RunningServer;
let client: JadeClient;
let apiKey = "";
let directory = "";
let file = "";

beforeAll(async () => {
  server = await startServer();
  directory = await temporaryDirectory("config-snapshot");
  file = join(directory, "saved");
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  ({ apiKey } = await admin.tenants.create({ tenantId: "snapshots" }));
  admin.close();
  client = new JadeClient({ url: server.url, apiKey });
  await fill(client.config.namespace("from"));
});

afterAll(async () => {
  client?.close();
  await server?.dispose();
  rmSync(directory, { recursive: true, force: true });
});

async function fill(space: Config): Promise<void> {
  for (let at = 0; at < KEYS; at += TXN_KEYS) {
    const puts = Array.from({ length: TXN_KEYS }, (_, i) => configOp.put(`k/${at + i}`, "v".repeat((at + i) % 1500)));
    await space
      .txn()
      .onSuccess(...puts)
      .commit();
  }
  await space.put("k/7", "again");
}

function jadeDb(namespace: string, args: readonly string[]) {
  const env = { ...process.env, JADE_URL: server.url, JADE_API_KEY: apiKey };
  const all = [CLI, "config", "--namespace", namespace, "snapshot", ...args, "--output", "json"];
  const { stdout, stderr, status } = spawnSync(process.execPath, all, { encoding: "utf8", env });
  return { status, stderr, result: status === 0 ? JSON.parse(stdout) : undefined };
}

/** Every key with its numbers. */
async function stateOf(space: Config): Promise<readonly object[]> {
  const entries: object[] = [];
  for await (const entry of space.range()) entries.push(entry);
  return entries;
}

it("[CF-256] right behind a restore, and behind a deletion, calls are answered", async () => {
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
  const space = client.config.namespace("renewed");
  await space.put("a", 1);
  const url = (path: string) => `${server.url}/v1/config/${path}?namespace=renewed`;
  // Without the SDK, which would ask again.
  const ask = async (
    method: string,
    path: string,
    body: string | ArrayBuffer | null = null,
    type = "application/json",
  ) => (await fetch(url(path), { method, headers: { ...headers, "content-type": type }, body })).status;
  const snapshot = await (await fetch(url("snapshot"), { headers })).arrayBuffer();
  const statuses: (readonly number[])[] = [];
  for (let round = 0; round < 4; round++) {
    const restored = await ask("PUT", "snapshot", snapshot, SNAPSHOT_TYPE);
    statuses.push([restored, await ask("PUT", "keys/b", '{"value":1}'), await ask("GET", "keys/a")]);
    const deleted = await ask("DELETE", "namespaces");
    const missed = await ask("GET", "keys/a");
    statuses.push([deleted, missed, await ask("PUT", "keys/a", '{"value":1}')]);
  }
  expect(statuses).toEqual(
    Array.from({ length: 4 }, () => [
      [200, 201, 200],
      [200, 404, 201],
    ]).flat(),
  );
});

describe("jade-db config snapshot", () => {
  it("[CF-155] save, status and restore give the same keys with the same numbers, while others write", async () => {
    const from = client.config.namespace("from");
    const before = await stateOf(from);
    let isWriting = true;
    const writing = (async () => {
      for (let i = 0; isWriting; i++) await from.put(`later/${i}`, i);
    })();
    // Saved by the SDK: the command would block this process.
    const pieces: Uint8Array[] = [];
    const { revision: least } = await from.status();
    const info = await from.snapshot((piece) => void pieces.push(piece));
    isWriting = false;
    await writing;
    expect(info.revision).toBeGreaterThanOrEqual(least);
    const to = client.config.namespace("to");
    await to.restore(pieces);
    const restored = await stateOf(to);
    expect(restored.filter((entry) => (entry as { key: string }).key.startsWith("k/"))).toEqual(before);
    expect(restored.every((entry) => (entry as { modRevision: number }).modRevision <= info.revision)).toBe(true);
    expect(restored).toHaveLength(info.keys);

    const saved = jadeDb("from", ["save", file]);
    expect(saved.stderr).toBe("");
    expect(jadeDb("from", ["status", file]).result).toEqual(saved.result);
    const again = jadeDb("again", ["restore", file]);
    expect(again.result).toMatchObject({ keys: saved.result.keys, snapshotRevision: saved.result.revision });
    expect(await stateOf(client.config.namespace("again"))).toEqual(await stateOf(from));
  });

  it("[CF-156] a damaged file is refused by name, and a snapshot that is cut off restores nothing", async () => {
    const bytes = readFileSync(file);
    const broken = join(directory, "broken");
    const space = client.config.namespace("untouched");
    await space.put("mine", 1);
    for (const damaged of [bytes.subarray(0, bytes.length - 30), Buffer.from(bytes).fill(0, 5000, 5001)]) {
      writeFileSync(broken, damaged);
      expect(jadeDb("untouched", ["status", broken])).toMatchObject({ status: 1 });
      expect(jadeDb("untouched", ["restore", broken]).stderr).toContain(`${broken}: the snapshot`);
      await expect(space.restore([damaged])).rejects.toMatchObject({ code: "invalidRequest" });
    }
    expect(await stateOf(space)).toMatchObject([{ key: "mine" }]);
  });

  it(
    "[CF-157] [CF-158] kill -9 at any time in a restore: the namespace is as it was, or restored; watches are told",
    async () => {
      const bytes = readFileSync(file);
      const space = client.config.namespace("killed");
      const restored = await stateOf(client.config.namespace("again"));
      await space.put("mine", 1);
      const before = await stateOf(space);
      const watch = space.watch({ prefix: "" }, { startRevision: 2 });
      const told = (async () => {
        for await (const _ of watch);
      })().catch((error: unknown) => error);
      const outcomes: string[] = [];
      for (const killAfterMs of [40, 120, 240]) {
        const pid = workerdPid(server.dataDir);
        const half = async function* () {
          for (let at = 0; at < bytes.length; at += 100_000) {
            yield bytes.subarray(at, at + 100_000);
            await sleep(5);
          }
        };
        const restoring = space.restore(half()).then(
          () => "restored",
          () => "failed",
        );
        await sleep(killAfterMs);
        process.kill(pid, "SIGKILL");
        const outcome = await restoring;
        expect(
          await until(() =>
            space.status().then(
              () => true,
              () => false,
            ),
          ),
        ).toBe(true);
        const state = await stateOf(space);
        // What failed may have been done before its answer; what was answered is there.
        if (outcome === "restored") expect(state).toEqual(restored);
        else expect([JSON.stringify(before), JSON.stringify(restored)]).toContain(JSON.stringify(state));
        outcomes.push(state.length === 1 ? "as it was" : "restored");
      }
      expect(outcomes).toContain("as it was");
      const { revision } = await space.status();
      const result = await space.restore([bytes]);
      expect(result.revision).toBeGreaterThan(Math.max(revision, result.snapshotRevision));
      expect(await stateOf(space)).toEqual(restored);
      expect(isCompacted(await told)).toBe(true);
      expect((await space.put("next", 1)).revision).toBe(result.revision + 1);
    },
    PATIENCE_MS,
  );
});
