// The supervisor against programs that stand in for workerd: they listen, die, refuse to start, or do not stop.

import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { clientConnections } from "./client-connections.ts";
import { Supervisor, type SupervisorOptions } from "./supervisor.ts";

const LISTENS = `
const fs = require("node:fs");
const server = require("node:http").createServer((request, response) => response.end("ok"));
server.listen(0, "127.0.0.1", () => fs.writeSync(3, JSON.stringify({ event: "listen", socket: "http", port: server.address().port }) + "\\n"));
`;

/** As workerd with neighbours that stay connected: it answers who has called, and does not end. */
const STAYS = `
const fs = require("node:fs");
const server = require("node:http").createServer((request, response) => {
  response.flushHeaders();
  setTimeout(() => response.end("done"), request.url === "/slow" ? 1000 : 0);
});
server.listen(0, "127.0.0.1", () => fs.writeSync(3, JSON.stringify({ event: "listen", socket: "http", port: server.address().port }) + "\\n"));
process.on("SIGTERM", () => { server.close(); server.closeIdleConnections(); setInterval(() => undefined, 1000); });
`;

function supervise(script: string, options: Partial<SupervisorOptions> = {}) {
  const cwd = mkdtempSync(join(tmpdir(), "jade-supervisor-"));
  const binary = join(cwd, "workerd");
  writeFileSync(binary, `#!${process.execPath}\n${script}`);
  chmodSync(binary, 0o755);
  const seen: string[] = [];
  const pids: number[] = [];
  const disk = { isFull: false };
  const use = (): void => {
    if (disk.isFull) throw new Error("ENOSPC: no space left on device");
  };
  const supervisor = new Supervisor({
    prepare: (port) => {
      seen.push(`prepare ${port === undefined ? "first" : "again"}`);
      use();
      return { binary, cwd, configFile: "none" };
    },
    url: (port) => `http://127.0.0.1:${port}`,
    events: {
      started: (pid) => pids.push(pid),
      unable: (error) => seen.push(String(error)),
      died: ({ signal }, delayMs) => seen.push(`died ${signal} ${delayMs}`),
      back: () => seen.push("back"),
      killing: () => seen.push("killing"),
    },
    ...options,
  });
  return { supervisor, seen, pids, disk };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe("Supervisor", () => {
  it("learns the port, restarts what dies, and stops with 0", async () => {
    const { supervisor, seen, pids } = supervise(LISTENS);
    expect(await supervisor.start()).toBeGreaterThan(0);
    const ended = supervisor.run();
    process.kill(pids[0]!, "SIGKILL");
    await until(() => seen.includes("back"));
    supervisor.stop();
    expect(await ended).toBe(0);
    expect(seen).toEqual(["prepare first", "died SIGKILL 20", "prepare again", "back"]);
  });

  it("[CL-151] tries until it can write what a start needs: a full disk that has room again is enough", async () => {
    const { supervisor, seen, pids, disk } = supervise(LISTENS);
    await supervisor.start();
    const ended = supervisor.run();
    disk.isFull = true;
    process.kill(pids[0]!, "SIGKILL");
    await until(() => seen.filter((line) => line.includes("ENOSPC")).length >= 3);
    disk.isFull = false;
    await until(() => seen.includes("back"));
    expect(pids).toHaveLength(2);
    disk.isFull = true;
    process.kill(pids[1]!, "SIGKILL");
    await until(() => seen.at(-1)?.includes("ENOSPC") === true);
    supervisor.stop();
    expect(await ended).toBe(0);
  });

  it("[CL-21] rests when it is told to, and starts again when it is woken", async () => {
    const { supervisor, seen, pids } = supervise(LISTENS);
    const ended = supervisor.keep();
    await until(() => seen.includes("back"));
    expect(supervisor.port).toBeGreaterThan(0);
    supervisor.rest();
    await until(() => supervisor.port === undefined);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(pids).toHaveLength(1);
    supervisor.wake();
    await until(() => pids.length === 2);
    supervisor.rest();
    supervisor.stop();
    expect(await ended).toBe(0);
    expect(seen).not.toContain("killing");
    expect(seen.filter((line) => line.startsWith("died"))).toEqual([]);
  });

  it("explains a start that fails for an old glibc", async () => {
    const { supervisor } = supervise(`console.error("libc.so.6: version 'GLIBC_2.35' not found"); process.exit(1);`);
    await expect(supervisor.start()).rejects.toThrow("glibc 2.35 or newer");
  });

  it("tells how a start ended that has no known reason", async () => {
    const { supervisor } = supervise("process.exit(3);");
    await expect(supervisor.start()).rejects.toThrow("workerd ended at its start (exit code 3)");
  });

  it("can be stopped while it starts", async () => {
    const { supervisor, pids } = supervise("setInterval(() => undefined, 1000);");
    const started = supervisor.start();
    await until(() => pids.length === 1);
    supervisor.stop();
    expect(await started).toBeUndefined();
    expect(await supervisor.run()).toBe(0);
  });

  it("[CL-134] ends what waits for neighbours only, once whoever called is answered, and not before", async () => {
    // Without it the kill would come a minute later.
    const { supervisor, seen } = supervise(STAYS, {
      isIdle: (pid, port) => clientConnections(pid, [port]) === 0,
      stopTimeoutMs: 60_000,
    });
    const port = await supervisor.start();
    const ended = supervisor.run();
    // Its headers have come: the request is there, on whichever connection.
    const slow = await fetch(`http://127.0.0.1:${port}/slow`);
    expect(clientConnections(supervisor.pid!, [port!])).toBeGreaterThan(0);
    supervisor.stop();
    expect(await slow.text()).toBe("done");
    expect(await ended).toBe(0);
    expect(seen).toEqual(["prepare first"]);
  });

  it("kills at the second request what ignores the first", async () => {
    const { supervisor, seen } = supervise(`process.on("SIGTERM", () => undefined);${LISTENS}`);
    await supervisor.start();
    const ended = supervisor.run();
    supervisor.stop();
    supervisor.stop();
    expect(await ended).toBe(0);
    expect(seen).toEqual(["prepare first", "killing"]);
  });
});
