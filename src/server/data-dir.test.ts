// The data directory, its lock and its root key.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MAX_RESTART_MS, restartDelayMs } from "./backoff.ts";
import { prepareDataDir, removeUnfinishedBlobs } from "./data-dir.ts";
import { InstanceLock } from "./instance-lock.ts";
import { assertPortFree, joinAddress, localUrl } from "./port.ts";
import { OperatorError } from "./problem.ts";
import { identify, isRunning } from "./process-identity.ts";
import { hashKey, makeRootKey, resolveRootKey } from "./root-key.ts";
import { explainStartFailure, workerdBinary } from "./workerd-binary.ts";

const fresh = () => mkdtempSync(join(tmpdir(), "jade-data-"));

describe("prepareDataDir", () => {
  it("makes the directory for its owner only, and accepts it again", () => {
    const path = join(fresh(), "deep/data");
    const dir = prepareDataDir(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(prepareDataDir(path)).toEqual(dir);
    expect(readdirSync(path).sort()).toEqual(["blobs", "format", "objects"]);
  });

  it("files that the disk service had not finished are removed, and nothing else", () => {
    const dir = prepareDataDir(fresh());
    mkdirSync(join(dir.blobs, "n1"));
    for (const name of [".2-1-54b3.12218.3.tmp", "2-1-54b3", "2-2.tmp"])
      writeFileSync(join(dir.blobs, "n1", name), "x");
    removeUnfinishedBlobs(dir);
    expect(readdirSync(join(dir.blobs, "n1")).sort()).toEqual(["2-1-54b3", "2-2.tmp"]);
  });

  it("says plainly when the path is a file, and when a later version wrote it", () => {
    const file = join(fresh(), "file");
    writeFileSync(file, "");
    expect(() => prepareDataDir(file)).toThrow(/cannot be used: .*file.*--data-dir/);
    const later = fresh();
    writeFileSync(join(later, "format"), "2\n");
    expect(() => prepareDataDir(later)).toThrow(/has format 2, this version reads format 1/);
  });
});

describe("InstanceLock", () => {
  it("refuses a second holder and names the first", async () => {
    const dir = fresh();
    const lock = await InstanceLock.acquire(dir);
    await expect(InstanceLock.acquire(dir)).rejects.toThrow(
      new RegExp(`in use by another instance \\(process ${process.pid}\\)`),
    );
    lock.release();
    (await InstanceLock.acquire(dir)).release();
    expect(readdirSync(dir)).toEqual([]);
  });

  it("takes over from a dead supervisor and ends the workerd it left behind", async () => {
    const dir = fresh();
    const orphan = spawn("sleep", ["60"]);
    const dead = { pid: process.pid, startTicks: "1" };
    writeFileSync(join(dir, "instance.lock"), JSON.stringify({ supervisor: dead, workerd: identify(orphan.pid!) }));
    const ended = once(orphan, "exit");
    const lock = await InstanceLock.acquire(dir);
    expect(await ended).toEqual([null, "SIGTERM"]);
    lock.release();
  });

  it("takes over a torn lock file", async () => {
    const dir = fresh();
    writeFileSync(join(dir, "instance.lock"), '{"superv');
    (await InstanceLock.acquire(dir)).release();
  });

  it("lets exactly one of many win over a stale lock", async () => {
    const dir = fresh();
    writeFileSync(join(dir, "instance.lock"), JSON.stringify({ supervisor: { pid: process.pid, startTicks: "1" } }));
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => InstanceLock.acquire(dir)));
    expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });
});

describe("process identity", () => {
  it("knows this process, and not another one with its number", () => {
    expect(isRunning(identify(process.pid))).toBe(true);
    expect(isRunning({ pid: process.pid, startTicks: "1" })).toBe(false);
    expect(isRunning({ pid: 2 ** 22 + 1, startTicks: undefined })).toBe(false);
  });
});

describe("the root key", () => {
  it("is made once, shown once, and stored only as a hash", () => {
    const dir = fresh();
    const first = resolveRootKey(dir, undefined);
    expect(first.made).toMatch(/^jdb\.root\.[\w-]{43}$/);
    expect(first.hash).toBe(hashKey(first.made!));
    const again = resolveRootKey(dir, undefined);
    expect(again).toEqual({ hash: first.hash, made: undefined, warning: undefined });
    const stored = readdirSync(dir)
      .map((name) => readFileSync(join(dir, name), "utf8"))
      .join("");
    expect(stored).toBe(`${first.hash}\n`);
    expect(statSync(join(dir, "root-key.sha256")).mode & 0o777).toBe(0o600);
  });

  it("from the environment wins and leaves nothing on disk; a short one is warned of", () => {
    const dir = fresh();
    const key = makeRootKey();
    expect(resolveRootKey(dir, key)).toEqual({ hash: hashKey(key), made: undefined, warning: undefined });
    expect(existsSync(join(dir, "root-key.sha256"))).toBe(false);
    expect(resolveRootKey(dir, "short").warning).toContain("5 characters");
  });

  it("whose stored hash is damaged is an error that says what to do", () => {
    const dir = fresh();
    writeFileSync(join(dir, "root-key.sha256"), "half");
    expect(() => resolveRootKey(dir, undefined)).toThrow(/Delete it to have a new root key made/);
  });
});

describe("ports and addresses", () => {
  it("a taken port is an OperatorError that names it", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    await expect(assertPortFree("127.0.0.1", port)).rejects.toThrow(OperatorError);
    await expect(assertPortFree("127.0.0.1", port)).rejects.toThrow(`port ${port} on 127.0.0.1 is already in use`);
    server.close();
    await once(server, "close");
    await assertPortFree("127.0.0.1", port);
  });

  it("writes IPv6 in brackets and reaches wildcards over loopback", () => {
    expect(joinAddress("::1", 80)).toBe("[::1]:80");
    expect(localUrl("0.0.0.0", 80)).toBe("http://127.0.0.1:80");
    expect(localUrl("::", 80)).toBe("http://[::1]:80");
  });
});

describe("workerd", () => {
  it("is found as a program of its own, and its absence is explained", () => {
    expect(workerdBinary()).toMatch(/bin\/workerd$/);
    expect(() => workerdBinary("plan9", "x64")).toThrow(/does not exist for plan9/);
    expect(() => workerdBinary("win32", "x64")).toThrow(/is not installed/);
  });

  it("that cannot start is explained", () => {
    const glibc = "workerd: /lib/libc.so.6: version `GLIBC_2.35' not found (required by workerd)";
    expect(explainStartFailure(glibc)).toContain("glibc 2.35 or newer");
    expect(explainStartFailure("anything else")).toBeUndefined();
  });

  it("is restarted at once after the first death, and never waits over a second", () => {
    expect([1, 2, 3, 7, 1000].map(restartDelayMs)).toEqual([20, 40, 80, MAX_RESTART_MS, MAX_RESTART_MS]);
    expect(MAX_RESTART_MS).toBeLessThanOrEqual(1000);
  });
});
