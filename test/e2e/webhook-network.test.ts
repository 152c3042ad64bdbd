// The network that the server's configuration gives webhooks, in a real workerd: which addresses a connection is refused to, whatever the
// URL looked like. The receiver listens on every address of this machine, so that only the refusal keeps requests from it.
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { workerdBinary } from "../../src/server/workerd-binary.ts";
import { allowedNetwork } from "../../src/server/workerd-config.ts";
import { removeDir, temporaryDir } from "./serve-process.ts";

const WORKER = `export default { async fetch(request, env) {
  const url = new URL(request.url).searchParams.get("url");
  try { return new Response(await (await env.NETWORK.fetch(url)).text()); } catch (error) { return new Response("refused"); }
} }`;
const START_MS = 20_000;

let dir: string;
let receiver: Server;
let received = 0;
const children: ChildProcess[] = [];

beforeAll(async () => {
  dir = temporaryDir();
  receiver = createServer((_, response) => {
    received++;
    response.end("reached");
  });
  await new Promise<void>((resolve) => receiver.listen(0, "::", resolve));
});

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  receiver.close();
  removeDir(dir);
});

/** Asks the receiver at `host` through a workerd with these networks open. */
async function asker(allowed: readonly string[]): Promise<(host: string) => Promise<string>> {
  writeFileSync(join(dir, "worker.js"), WORKER);
  writeFileSync(
    join(dir, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "worker", worker = .worker), ${allowedNetwork("webhooks", allowed)}],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "worker")]
);
const worker :Workerd.Worker = (modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-11-01", bindings = [(name = "NETWORK", service = "webhooks")]);
`,
  );
  const args = ["serve", join(dir, "config.capnp"), "--control-fd=3"];
  const child = spawn(workerdBinary(), args, { stdio: ["ignore", "ignore", "ignore", "pipe"] });
  children.push(child);
  const port = await new Promise<string>((resolve, reject) => {
    setTimeout(() => reject(new Error("workerd did not start")), START_MS).unref();
    let text = "";
    child.stdio[3]!.on("data", (chunk) => {
      text += chunk;
      const [, found] = /"port":(\d+)/.exec(text) ?? [];
      if (found) resolve(found);
    });
  });
  const own = (receiver.address() as AddressInfo).port;
  return async (host) => {
    const url = encodeURIComponent(`http://${host}:${own}/`);
    return (await fetch(`http://127.0.0.1:${port}/?url=${url}`)).text();
  };
}

describe("the network of webhooks", () => {
  it("[CF-130] refuses the connection to what is private, local or reserved, in any form and behind a name", async () => {
    const ask = await asker([]);
    const hosts = [
      ...["127.0.0.1", "127.0.0.2", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:2]", "[::127.0.0.1]"],
      ...["2130706433", "0x7f000001", "0.0.0.0", "10.1.2.3", "169.254.169.254", "100.64.0.1", "198.18.0.1"],
      ...["[64:ff9b::7f00:1]", "[2002:7f00:1::1]", "[fd00:ec2::254]", "[fe80::1]"],
    ];
    expect(await Promise.all(hosts.map(async (host) => [host, await ask(host)]))).toEqual(
      hosts.map((host) => [host, "refused"]),
    );
    expect(received).toBe(0);
  });

  it("[CF-130] reaches what the operator opened, and no more", async () => {
    const one = await asker(["127.0.0.1"]);
    expect(await Promise.all(["127.0.0.1", "localhost", "127.0.0.2", "[::1]", "10.1.2.3"].map(one))).toEqual([
      ...["reached", "reached", "refused", "refused", "refused"],
    ]);
    const all = await asker(["127.0.0.0/8", "::1"]);
    expect(await Promise.all(["127.0.0.1", "127.0.0.2", "[::1]", "10.1.2.3"].map(all))).toEqual([
      ...["reached", "reached", "reached", "refused"],
    ]);
  });
});
