// `wrk` (Debian's package) as the load generator of the JSON faces: 64 connections, each with a request of its own choice of key.
// Undefined when it is not installed.

import { spawn, spawnSync } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryDirectory } from "../../lib/server-process.mjs";

const CONNECTIONS = 64;

export function hasWrk() {
  return !spawnSync("wrk", ["--version"]).error;
}

/** `script`: Lua that defines `request`. Answers with a status of 400 or more are errors. */
export async function wrk({ url, script, seconds }) {
  const directory = await temporaryDirectory("wrk");
  try {
    const path = join(directory, "request.lua");
    await writeFile(path, `${script}\n${REPORT}`);
    const args = ["-t", "1", "-c", String(CONNECTIONS), "-d", `${Math.max(1, Math.ceil(seconds))}s`, "-s", path, url];
    const output = await new Promise((resolve, reject) => {
      const child = spawn("wrk", args, { stdio: ["ignore", "pipe", "inherit"] });
      let text = "";
      child.stdout.on("data", (chunk) => {
        text += chunk;
      });
      child.once("error", reject);
      child.once("close", () => resolve(text));
    });
    const { requests, microseconds, p50, p99, errors } = JSON.parse(/^REPORT (.*)$/m.exec(output)?.[1] ?? "{}");
    return {
      perSecond: (requests / microseconds) * 1e6,
      p50Ms: p50 / 1000,
      p99Ms: p99 / 1000,
      errors,
      count: requests,
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const REPORT = `
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('REPORT {"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"errors":%d}\\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end`;
