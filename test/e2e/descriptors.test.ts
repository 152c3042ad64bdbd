// More connections than workerd may have descriptors for: what an operator sees, and what is left of what was acknowledged.

import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { JadeClient } from "../../src/client/index.ts";
import { removeDir, ServeProcess, temporaryDir, workerdPid } from "./serve-process.ts";

const HARD_LIMIT = 500;
let dir: string;

beforeEach(() => {
  dir = temporaryDir();
});

afterEach(async () => {
  await ServeProcess.endAll();
  removeDir(dir);
});

/** Connections that ask for nothing and stay. */
function idle(port: number, count: number): Socket[] {
  return Array.from({ length: count }, () => {
    const socket = connect({ port, host: "127.0.0.1" });
    // Refused, or cut off when workerd ends.
    socket.on("error", () => undefined);
    return socket;
  });
}

it("[GW-21] workerd may use the hard limit of descriptors; beyond it says why it ended, is back, and lost nothing acknowledged", async () => {
  const server = await ServeProcess.ready(dir, { shell: `ulimit -Sn 128; ulimit -Hn ${HARD_LIMIT}` });
  const before = workerdPid(dir);
  const [, soft, hard] = readFileSync(`/proc/${before}/limits`, "utf8").match(/^Max open files +(\d+) +(\d+)/m)!;
  expect([soft, hard]).toEqual([String(HARD_LIMIT), String(HARD_LIMIT)]);
  const admin = new JadeClient({ url: server.url!, apiKey: server.rootKey! });
  const { apiKey } = await admin.tenants.create({ tenantId: "t" });
  const client = new JadeClient({ url: server.url!, apiKey });
  await client.kv.put("k", "acknowledged");
  const port = Number(new URL(server.url!).port);
  const sockets = idle(port, 2 * HARD_LIMIT);
  await server.waitFor(() => /workerd ended: it had no file descriptor left/.test(server.stderr));
  for (const socket of sockets) socket.destroy();
  await server.waitFor(() => /answers again after \d+ ms/.test(server.stderr));
  expect(workerdPid(dir)).not.toBe(before);
  const found = await client.kv.get("k");
  expect(found?.value).toBe("acknowledged");
  admin.close();
  client.close();
});
