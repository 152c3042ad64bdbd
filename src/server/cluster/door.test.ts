// Who answers at the gateway's port while its process is away, with a program in place of workerd that takes the socket over.
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { Supervisor } from "../supervisor.ts";
import { Door } from "./door.ts";

/** Takes its time to start, and tells its process. */
const TAKES_OVER = `
const fs = require("node:fs");
if (!process.argv.includes("--socket-fd=http=4")) throw new Error("no socket was given: " + process.argv);
const server = require("node:http").createServer((request, response) => response.end(String(process.pid)));
setTimeout(() => server.listen({ fd: 4 }, () => fs.writeSync(3, JSON.stringify({ event: "listen", socket: "http", port: server.address().port }) + "\\n")), 300);
`;

it("[CL-14] while its process is away the port answers 503 with Retry-After, and refuses nobody while it starts", async () => {
  const cwd = mkdtempSync(join(tmpdir(), "jade-door-"));
  const binary = join(cwd, "workerd");
  writeFileSync(binary, `#!${process.execPath}\n${TAKES_OVER}`);
  chmodSync(binary, 0o755);
  const door = new Door({ host: "127.0.0.1", port: 0 });
  const pids: number[] = [];
  let hasDied = 0;
  let isBack = 0;
  const supervisor = new Supervisor({
    standIn: door,
    prepare: () => ({ binary, cwd, configFile: "none", descriptors: { http: door.descriptor } }),
    url: (port) => `http://127.0.0.1:${port}`,
    events: {
      started: (pid) => pids.push(pid),
      died: () => hasDied++,
      unable: () => undefined,
      back: () => isBack++,
      killing: () => undefined,
    },
  });
  const port = await supervisor.start();
  const url = `http://127.0.0.1:${port}/v1/key-value`;
  const ended = supervisor.run();
  expect(await (await fetch(url)).text()).toBe(String(pids[0]));
  for (const round of [1, 2]) {
    process.kill(pids.at(-1)!, "SIGKILL");
    while (hasDied < round) await sleep(5);
    let refused = 0;
    while (isBack < round) {
      const response = await fetch(url);
      if (response.status === 503) {
        refused++;
        expect(response.headers.get("retry-after")).toBe("1");
        expect(await response.json()).toMatchObject({ status: "error", code: "unavailable", retryable: true });
      } else expect(await response.text()).toBe(String(pids.at(-1)));
    }
    expect(refused).toBeGreaterThan(0);
    expect(await (await fetch(url)).text()).toBe(String(pids.at(-1)));
  }
  expect(new Set(pids).size).toBe(3);
  supervisor.stop();
  expect(await ended).toBe(0);
  await expect(fetch(url)).rejects.toThrow();
});
