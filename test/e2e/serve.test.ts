// `jade-db serve` as an operator meets it: first and second start, stops, deaths, and every way to be refused.

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { removeDir, ServeProcess, temporaryDir, workerdPid } from "./serve-process.ts";

let dir: string;

beforeEach(() => {
  dir = temporaryDir();
});

afterEach(async () => {
  await ServeProcess.endAll();
  removeDir(dir);
});

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}

function filesBelow(path: string): readonly string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

async function freePort(): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return { port, close: () => new Promise((resolve) => server.close(() => resolve())) };
}

describe("starting", () => {
  it("prints URL, data directory and, only at the first start, a root key of which only the hash is stored", async () => {
    const first = await ServeProcess.ready(dir);
    expect((await first.get("/v1/health")).status).toBe(200);
    expect(first.stdout).toContain(`data       ${dir}`);
    const key = first.rootKey;
    expect(key).toMatch(/^jdb\.root\.[\w-]{43}$/);
    first.kill("SIGTERM");
    expect(await first.exited).toBe(0);
    for (const path of filesBelow(dir)) expect(readFileSync(path, "latin1"), path).not.toContain(key);

    const second = await ServeProcess.ready(dir);
    expect(second.stdout).not.toContain("root key");
    expect((await second.get("/v1/health")).status).toBe(200);
  });

  it("takes JADE_ROOT_KEY without writing or showing it, and without giving it to workerd", async () => {
    const key = `jdb.root.${"x".repeat(43)}`;
    const server = await ServeProcess.ready(dir, { env: { JADE_ROOT_KEY: key } });
    expect(server.stdout + server.stderr).not.toContain(key);
    expect(readFileSync(`/proc/${workerdPid(dir)}/environ`, "latin1")).not.toContain(key);
    for (const path of filesBelow(dir)) expect(readFileSync(path, "latin1"), path).not.toContain(key);
    expect(existsSync(join(dir, "root-key.sha256"))).toBe(false);
  });

  it("stops on SIGTERM and on SIGINT with 0, leaving no process and no lock", async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const server = await ServeProcess.ready(dir);
      const workerd = workerdPid(dir);
      server.kill(signal);
      expect(await server.exited).toBe(0);
      expect(isAlive(workerd)).toBe(false);
      expect(existsSync(join(dir, "instance.lock"))).toBe(false);
    }
  });
});

describe("dying", () => {
  it("restarts workerd after kill -9, on the same port, within a second or two", async () => {
    const server = await ServeProcess.ready(dir);
    for (let round = 0; round < 3; round++) {
      const before = workerdPid(dir);
      process.kill(before, "SIGKILL");
      await server.waitFor(
        async () =>
          workerdPid(dir) !== before && (await server.get("/v1/health").catch(() => undefined))?.status === 200,
      );
    }
    expect(server.stderr.match(/workerd ended \(SIGKILL\): restarting in \d+ ms/g)).toHaveLength(3);
    await server.waitFor(() => /answers again after \d+ ms/.test(server.stderr));
  });

  it("keeps what was acknowledged before kill -9", async () => {
    const key = `jdb.root.${"x".repeat(43)}`;
    const server = await ServeProcess.ready(dir, { env: { JADE_ROOT_KEY: key } });
    const call = async (path: string, token: string, body?: unknown) => {
      const response = await fetch(`${server.url}/v1/${path}`, {
        method: body === undefined ? "GET" : "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return ((await response.json()) as { readonly data: Readonly<Record<string, unknown>> }).data;
    };
    const token = String((await call("tenants", key, { tenantId: "acme" }))["apiKey"]);
    await call("key-value", token, { key: "a", value: { n: 1 }, consistency: "all" });
    process.kill(workerdPid(dir), "SIGKILL");
    await server.waitFor(() => /answers again/.test(server.stderr));
    expect(await call("key-value?key=a", token)).toMatchObject({ key: "a", value: { n: 1 } });
  });

  it("a supervisor killed by -9 takes workerd along, and the next start takes over", async () => {
    const first = await ServeProcess.ready(dir);
    const workerd = workerdPid(dir);
    first.kill("SIGKILL");
    await first.exited;
    const second = await ServeProcess.ready(dir);
    expect(isAlive(workerd)).toBe(false);
    expect((await second.get("/v1/health")).status).toBe(200);
  });

  it("a second SIGTERM does not wait", async () => {
    const server = await ServeProcess.ready(dir);
    process.kill(workerdPid(dir), "SIGSTOP");
    server.kill("SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 300));
    server.kill("SIGTERM");
    expect(await server.exited).toBe(0);
    expect(server.stderr).toContain("killing it");
  });
});

describe("refusing", () => {
  async function refused(
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
  ): Promise<{ code: unknown; stderr: string }> {
    const server = new ServeProcess({ args, env });
    const code = await server.exited;
    expect(server.stderr).not.toMatch(/^\s+at /m);
    return { code, stderr: server.stderr };
  }

  it("a port that is taken", async () => {
    const taken = await freePort();
    const { code, stderr } = await refused(["--port", String(taken.port), "--data-dir", dir]);
    expect(code).toBe(1);
    expect(stderr).toContain(`port ${taken.port} on 127.0.0.1 is already in use`);
    expect(existsSync(join(dir, "instance.lock"))).toBe(false);
    await taken.close();
  });

  it("a data directory that another instance uses", async () => {
    const first = await ServeProcess.ready(dir);
    const { code, stderr } = await refused(["--port", "0", "--data-dir", dir]);
    expect(code).toBe(1);
    expect(stderr).toContain(`in use by another instance (process ${first.pid})`);
    expect((await first.get("/v1/health")).status).toBe(200);
  });

  it("a data directory that is no directory", async () => {
    const file = join(dir, "file");
    writeFileSync(file, "");
    const { code, stderr } = await refused(["--port", "0", "--data-dir", file]);
    expect(code).toBe(1);
    expect(stderr).toContain("cannot be used");
  });

  it("all but one of six starts at once over a stale lock", async () => {
    writeFileSync(join(dir, "instance.lock"), JSON.stringify({ supervisor: { pid: 1, startTicks: "0" } }));
    const servers = Array.from({ length: 6 }, () => new ServeProcess({ args: ["--port", "0", "--data-dir", dir] }));
    const codes = await Promise.all(
      servers.map((server) =>
        Promise.race([
          server.exited,
          server
            .waitFor(() => /^ready /m.test(server.stdout))
            .then(
              () => "ready",
              () => "ended",
            ),
        ]),
      ),
    );
    expect(codes.filter((code) => code === "ready")).toHaveLength(1);
  });
});

describe("--check", () => {
  async function check(args: readonly string[]): Promise<{ code: unknown; output: string }> {
    const server = new ServeProcess({ args: ["--check", ...args] });
    return { code: await server.exited, output: server.stdout + server.stderr };
  }

  it.each(["development", "staging", "production"])("passes the template for %s, and starts nothing", async (name) => {
    const { code, output } = await check(["--config", `templates/${name}.yaml`]);
    expect(output).toContain("configuration is good");
    expect(code).toBe(0);
  });

  it("exits with 2 and lists field, value and limit", async () => {
    const file = join(dir, "jade.yaml");
    writeFileSync(file, "server: { prot: 1 }\nlimits: { maxKeyBytes: 4096 }\n");
    const { code, output } = await check(["--config", file]);
    expect(code).toBe(2);
    expect(output).toContain("server.prot = 1: unknown field; did you mean `port`?");
    expect(output).toContain("limits.maxKeyBytes = 4096: must be at most 1024");
  });
});
