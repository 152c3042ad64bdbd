// More connections than workerd may have descriptors for: what an operator sees, and what is left of what was acknowledged.

import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { JadeClient } from "../../src/client/index.ts";
import { removeDir, ServeProcess, temporaryDir, workerdPid } from "./serve-process.ts";

const dirs: string[] = [];

afterEach(async () => {
  await ServeProcess.endAll();
  for (const dir of dirs) removeDir(dir);
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

/**
 * A server of so many descriptors, flooded and then left in peace: whether workerd ended. A connection takes two descriptors,
 * so by the parity of those left either the first is missing, which ends workerd, or the second, which refuses the connection.
 */
async function endedByFlood(hardLimit: number): Promise<boolean> {
  const dir = temporaryDir();
  dirs.push(dir);
  const server = await ServeProcess.ready(dir, { shell: `ulimit -Sn 128; ulimit -Hn ${hardLimit}` });
  const before = workerdPid(dir);
  const [, soft, hard] = readFileSync(`/proc/${before}/limits`, "utf8").match(/^Max open files +(\d+) +(\d+)/m)!;
  expect([soft, hard]).toEqual([String(hardLimit), String(hardLimit)]);
  const admin = new JadeClient({ url: server.url!, apiKey: server.rootKey! });
  const { apiKey } = await admin.tenants.create({ tenantId: "t" });
  const client = new JadeClient({ url: server.url!, apiKey });
  await client.kv.put("k", "acknowledged");
  const sockets = idle(Number(new URL(server.url!).port), 2 * hardLimit);
  await server.waitFor(() => /Too many open files/.test(server.stderr));
  for (const socket of sockets) socket.destroy();
  const answered = async () => (await client.kv.get("k").catch(() => undefined))?.value === "acknowledged";
  while (!(await answered())) await new Promise((resolve) => setTimeout(resolve, 50));
  const ended = workerdPid(dir) !== before;
  if (ended) {
    expect(server.stderr).toMatch(/workerd ended: it had no file descriptor left/);
    await server.waitFor(() => /answers again after \d+ ms/.test(server.stderr));
  }
  admin.close();
  client.close();
  return ended;
}

it("[GW-21] workerd may use the hard limit of descriptors; beyond it refuses connections or says why it ended, is back, and lost nothing acknowledged", async () => {
  const ended: boolean[] = [];
  for (let limit = 500; limit < 504 && !ended.includes(true); limit++) ended.push(await endedByFlood(limit));
  expect(ended).toContain(true);
});
