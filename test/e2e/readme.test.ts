// Runs the examples of README.md, docs/key-value.md, docs/config.md and docs/vectors.md as they stand, against a real server.
// An example is a fenced block marked `quickstart`: ```sh quickstart (all in one shell, in their order) or ```js quickstart.
import { spawnSync } from "node:child_process";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type RunningServer, startServer, temporaryDirectory } from "../../scripts/lib/server-process.mjs";
import { JadeClient } from "../../src/client/index.ts";

const ROOT = join(import.meta.dirname, "../..");
const EXAMPLE = /^```(sh|js) quickstart\n([\s\S]*?)^```$/gm;

let server: RunningServer;
let directory: string;

/** One shell script of all examples; a script of the SDK is saved where `./dist` is found, as a reader would. */
function scriptOf(pages: readonly string[]): string {
  const steps = ["set -euo pipefail"];
  for (const page of pages) {
    for (const [, kind = "", text = ""] of readFileSync(join(ROOT, page), "utf8").matchAll(EXAMPLE)) {
      if (kind === "sh") {
        steps.push(text);
        continue;
      }
      const file = join(directory, `example-${steps.length}.mjs`);
      writeFileSync(file, text);
      steps.push(`node ${file}`);
    }
  }
  return steps.join("\n");
}

function run(pages: readonly string[], apiKey = ""): string {
  const { stdout, stderr, status } = spawnSync("bash", ["-c", scriptOf(pages)], {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, JADE_URL: server.url, JADE_ROOT_KEY: server.rootKey, JADE_API_KEY: apiKey },
  });
  expect({ status, stderr: status === 0 ? "" : stderr }, stdout).toEqual({ status: 0, stderr: "" });
  return stdout;
}

beforeAll(async () => {
  server = await startServer();
  directory = await temporaryDirectory("readme");
  symlinkSync(join(ROOT, "dist"), join(directory, "dist"));
});

afterAll(async () => {
  await server?.dispose();
  if (directory) await rm(directory, { recursive: true, force: true });
});

it("the examples of README and key-value guide run as printed and give what they say", () => {
  const output = run(["README.md", "docs/key-value.md"]);
  expect(output).toContain('"value":{"name": "Ada", "score": 1.0}');
  expect(output).toContain('\n{"text": "hello"}\n');
  expect(output).toContain("[ 'tea', 'milk' ]");
  expect(output).toContain('"conflict":true,"siblings":[{"value":["tea"],"vectorClock":');
  expect(output).not.toContain('"status":"error","code"');
  expect(output).toMatch(/"results":\[\{"id":"soup","score":0\.9\d+,"metadata":\{"price": 6\}\},\{"id":"cake"/);
  expect(output).toMatch(
    /"results":\[\{"id":"cake","score":0\.\d+\}\][^\n]*"results":\[\{"id":"match","score":0\.\d+\}\]/,
  );
  const orders = [...output.matchAll(/"key":"order\/4711","vectorClock":(\{[^}]*\})/g)].map(([, clock]) => clock);
  expect(orders).toHaveLength(2);
  expect(orders[0]).toBe(orders[1]);
  // The one failure shown: a deleted key in the batch.
  expect(output.match(/"code":"(\w+)"/g)).toEqual(['"code":"notFound"']);
});

it("the examples of the configuration guide run as printed and give what they say", async () => {
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  const { apiKey } = await admin.tenants.create({ tenantId: "config-guide" });
  admin.close();
  const output = run(["docs/config.md"], apiKey);
  expect(output).toContain('"version":1,"value":{"limit": 2000, "window": 1}}');
  expect(output).toContain('"current":{"key":"leader","createRevision":3,"modRevision":3,"version":1,"value":"a"}');
  expect(output).toContain('"commonPrefixes":["service/web/"]');
  expect(output).toContain('"items":[],"count":3,');
  expect(output).toContain('"succeeded":true');
  expect(output).toMatch(/"keys":\["members\/node-[0-9]{16}"\]/);
  expect(output).toContain("leader is { host: 'a' }");
  expect(output).toContain("still the leader: true\njobs/leader { host: 'a' }\njobs/state running\nfalse\n");
  expect(output).toContain("restored all keys: true true\n");
  expect(output).toContain("taken: true\nleader: { host: 'a' } true\n");
  const failures = [...output.matchAll(/"status":"error","code":"(\w+)"/g)].map(([, code]) => code);
  expect(failures).toEqual(["preconditionFailed"]);
});

it("the examples of the vector guide run as printed and give what they say", async () => {
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  const { apiKey } = await admin.tenants.create({ tenantId: "vector-guide" });
  admin.close();
  const output = run(["docs/vectors.md"], apiKey);
  expect(output).toContain('"stored":2,"failed":0');
  expect(output).toMatch(
    /"results":\[\{"id":"tea","score":0\.99\d+,"metadata":\{"kind": "drink", "price": 3\.5\}\},\{"id":"milk"/,
  );
  expect(output).toMatch(/"results":\[\{"id":"milk","score":0\.9\d+\}\],"isComplete":true,"scanned":/);
  expect(output).toContain('"explain":{"shards":[{"shard":0,"index":"none","plan":"scan"');
  expect(output).toContain('"count":3');
  expect(output).toContain('"erasure":"done"');
  expect(output).not.toContain('"status":"error"');
});
