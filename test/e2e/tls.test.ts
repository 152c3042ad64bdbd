// A single node that speaks HTTPS: requests, sessions and watches, a front that is killed, and what is refused before the start.
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import * as tls from "node:tls";
import { afterAll, describe, expect, it } from "vitest";
import { freePort, processesNamed } from "../../scripts/lib/server-process.mjs";
import { JadeClient } from "../../src/client/index.ts";
import { hasOpenssl, selfSigned } from "../../src/server/tls/test-certificates.ts";
import { removeDir, ServeProcess, temporaryDir } from "./serve-process.ts";
import { until } from "./until.ts";

const directory = temporaryDir();
afterAll(async () => {
  await ServeProcess.endAll();
  removeDir(directory);
});

/** What a listener answers to HTTP without TLS. */
function askedPlain(port: number): Promise<string> {
  return new Promise((resolve) => {
    let got = "";
    const socket = connect(port, "127.0.0.1", () => void socket.write("GET /v1/health HTTP/1.1\r\nhost: a\r\n\r\n"));
    socket.on("data", (bytes) => (got += bytes.toString("latin1")));
    socket.on("error", () => undefined).on("close", () => resolve(got));
  });
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false; // it has ended
  }
}

describe.skipIf(!hasOpenssl())("HTTPS (skipped where openssl is not installed)", () => {
  it("[GW-22] [GW-24] serves requests, sessions and watches over TLS only; a front that dies comes back", async () => {
    const { certFile, keyFile } = selfSigned(directory, "server");
    tls.setDefaultCACertificates([...tls.getCACertificates("default"), readFileSync(certFile, "utf8")]);
    const watchPort = await freePort();
    const watch = ["--watch-port", String(watchPort)];
    const server = await ServeProcess.ready(join(directory, "data"), {
      args: ["--tls-cert", certFile, "--tls-key", keyFile, ...watch],
    });
    const url = server.url!;
    expect(url).toMatch(/^https:\/\/127\.0\.0\.1:/);
    const admin = new JadeClient({ url, apiKey: server.rootKey! });
    const { apiKey } = await admin.tenants.create({ tenantId: "tls" });
    const client = new JadeClient({ url, apiKey, transport: "session", retries: { attempts: 50, maxMs: 200 } });
    const value = "x".repeat(300_000);
    await client.kv.put("large", value);
    expect((await client.kv.get("large")).value).toBe(value);
    for (const port of [Number(new URL(url).port), watchPort]) expect(await askedPlain(port)).not.toContain("HTTP/1.1");

    const watching = new JadeClient({ url: `https://127.0.0.1:${watchPort}`, apiKey });
    const changes = watching.config.watch<string>({ prefix: "flag" }, { startRevision: 1 })[Symbol.asyncIterator]();
    await client.config.put("flag", "on");
    expect((await changes.next()).value.events).toMatchObject([{ key: "flag", entry: { value: "on" } }]);

    const [front] = processesNamed(server.pid, "tls-front").ids;
    process.kill(front!, "SIGKILL");
    await client.kv.put("again", 1);
    expect((await client.kv.get("again")).value).toBe(1);
    expect(server.stderr).toContain("the TLS front ended (SIGKILL): restarting");

    // A session is open: it ends with what is behind it, and holds nothing up.
    const [last] = processesNamed(server.pid, "tls-front").ids;
    server.kill("SIGTERM");
    expect(await server.exited).toBe(0);
    expect(await until(() => !isRunning(last!))).toBe(true);
    for (const each of [admin, client, watching]) each.close();
  });

  it("[GW-25] refuses files that do not fit before anything starts", async () => {
    const [one, other] = [selfSigned(directory, "one"), selfSigned(directory, "other")];
    const check = new ServeProcess({ args: ["--check", "--tls-cert", one.certFile, "--tls-key", other.keyFile] });
    expect(await check.exited).toBe(2);
    expect(check.stderr).toContain(`is not the key of ${one.certFile}`);
    const open = new ServeProcess({ args: ["--check", "--host", "0.0.0.0"] });
    expect(await open.exited).toBe(2);
    expect(open.stderr).toContain("keys would travel readable");
    const secured = ["--check", "--host", "0.0.0.0", "--tls-cert", one.certFile, "--tls-key", one.keyFile];
    expect(await new ServeProcess({ args: secured }).exited).toBe(0);
  });
});
