// `etcdctl snapshot save` against a served JadeDB: the file is etcd's own, and Debian's etcd starts on it.
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort, type RunningServer } from "../../scripts/lib/server-process.mjs";
import { comparable, etcdctl } from "./etcd/etcdctl.ts";
import { startWithGrpc } from "./etcd/grpc-front.ts";
import { RealEtcd, whyNoEtcd } from "./etcd/real-etcd.ts";

const missing = whyNoEtcd();
const dir = mkdtempSync(join(tmpdir(), "jade-snapshot-"));
const file = join(dir, "jade.db");
let jade: RunningServer;
let grpc = "";

async function post(url: string, path: string, body: object): Promise<Record<string, unknown>> {
  const response = await fetch(`${url}/v3${path}`, { method: "POST", body: JSON.stringify(body) });
  expect(response.status).toBe(200);
  const { header: _, ...rest } = (await response.json()) as Record<string, unknown>;
  return rest;
}

/** By gRPC: the JSON gateway of 3.4 has no path for it. */
async function hashOf(url: string, { revision }: { readonly revision?: string }): Promise<string> {
  const { stdout } = await etcdctl(url, ["endpoint", "hashkv", ...(revision ? ["--rev", revision] : [])]);
  return stdout.trim().split(", ").at(-1)!;
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const all = { key: "AA==", range_end: "AA==" };

async function fill(): Promise<void> {
  const lease = (await post(jade.url, "/lease/grant", { TTL: "1000", ID: "77" }))["ID"];
  for (let i = 0; i < 3000; i += 100) {
    const success = Array.from({ length: 100 }, (_, at) => ({
      request_put: { key: base64(`key/${i + at}`), value: base64("v".repeat(i + at)) },
    }));
    await post(jade.url, "/kv/txn", { success });
  }
  await post(jade.url, "/kv/put", { key: base64("key/5"), value: base64("again"), lease });
  await post(jade.url, "/kv/compaction", { revision: "20" });
  for (const value of ["one", "two", "three"])
    await post(jade.url, "/kv/put", { key: base64("often"), value: base64(value) });
  await post(jade.url, "/kv/deleterange", { key: base64("key/1"), range_end: base64("key/11") });
  await post(jade.url, "/kv/put", { key: base64("key/1"), value: base64("reborn") });
  await post(jade.url, "/kv/put", { key: base64("large"), value: Buffer.alloc(1024 * 1024, 9).toString("base64") });
}

beforeAll(async () => {
  const started = await startWithGrpc();
  jade = started.server;
  grpc = `http://${started.grpc}`;
  await fill();
});
afterAll(async () => {
  await jade?.dispose();
  rmSync(dir, { recursive: true, force: true });
});

describe.skipIf(missing !== undefined)(`etcdctl snapshot${missing ? `: skipped, ${missing}` : ""}`, () => {
  it("[CF-160] save: a file that etcdctl finds sound, with the keyspace's revision", async () => {
    expect(await etcdctl(grpc, ["snapshot", "save", file])).toMatchObject({
      code: 0,
      stdout: `Snapshot saved at ${file}\n`,
    });
    const { stdout, code } = await etcdctl(grpc, ["snapshot", "status", file, "-w", "json"]);
    expect(code).toBe(0);
    const { revision } = JSON.parse(
      await (await fetch(`${jade.url}/v3/maintenance/status`, { method: "POST" })).text(),
    ).header;
    expect(JSON.parse(stdout)).toMatchObject({ revision: Number(revision) });
    expect(readFileSync(file).length % 4096).toBe(32);
  });

  it("[CF-160] [CF-163] restore: etcd starts on it with the same keys, revisions, versions, leases and history", async () => {
    const peerUrl = `http://127.0.0.1:${await freePort()}`;
    const dataDir = join(dir, "etcd");
    const cluster = ["--initial-cluster", `default=${peerUrl}`, "--initial-advertise-peer-urls", peerUrl];
    const restored = await etcdctl(grpc, ["snapshot", "restore", file, "--data-dir", dataDir, ...cluster]);
    expect(restored.code, restored.errors).toBe(0);
    const etcd = await RealEtcd.start({ dataDir, peerUrl });
    try {
      const ask = async (path: string, body: object) => [
        await post(jade.url, path, body),
        await post(etcd.url, path, body),
      ];
      for (const body of [all, { ...all, revision: "32" }, { ...all, revision: "34", keys_only: true }]) {
        const [ours, theirs] = await ask("/kv/range", body);
        expect((ours!["kvs"] as unknown[]).length).toBeGreaterThan(1900);
        expect(theirs).toEqual(ours);
      }
      for (const args of [
        "get key/1 -w fields",
        "get often --rev=35",
        "get often --rev=19",
        "lease timetolive 4d --keys",
      ]) {
        const [ours, theirs] = await Promise.all([etcdctl(grpc, args.split(" ")), etcdctl(etcd.url, args.split(" "))]);
        expect(comparable(theirs.stdout + theirs.errors), args).toBe(comparable(ours.stdout + ours.errors));
      }
      for (const body of [{}, { revision: "32" }, { revision: "34" }]) {
        const [ours, theirs] = await Promise.all([hashOf(grpc, body), hashOf(etcd.url, body)]);
        expect(theirs, JSON.stringify(body)).toEqual(ours);
      }
      // It goes on: with the next revision.
      const put = await etcdctl(etcd.url, ["put", "often", "four", "-w", "json"]);
      const { revision } = JSON.parse(
        await (await fetch(`${jade.url}/v3/maintenance/status`, { method: "POST" })).text(),
      ).header;
      expect(JSON.parse(put.stdout).header.revision).toBe(Number(revision) + 1);
      expect((await etcdctl(etcd.url, ["get", "often", "-w", "json"])).stdout).toContain('"version":4');
    } finally {
      await etcd.stop();
    }
  });

  it("[CF-160] a file that was cut off or changed is refused by etcdctl", async () => {
    const bytes = readFileSync(file);
    const broken = join(dir, "broken.db");
    for (const spoil of [
      () => truncateSync(broken, 8192),
      () => writeFileSync(broken, bytes.fill(7, 30_000, 30_004)),
    ]) {
      writeFileSync(broken, bytes);
      spoil();
      const { code } = await etcdctl(grpc, ["snapshot", "restore", broken, "--data-dir", join(dir, "never")]);
      expect(code).not.toBe(0);
    }
  });
});
