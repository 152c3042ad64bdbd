// `client.config` and `jade-db config` moving a namespace of 10 000 keys of any bytes into another one, against a real server.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningServer, startServer, temporaryDirectory } from "../../scripts/lib/server-process.mjs";
import { type ConfigEntry, isJadeError, JadeClient } from "../../src/client/index.ts";

const CLI = join(import.meta.dirname, "../../dist/cli.js");
const KEYS = 10_000;
let server: RunningServer;
let client: JadeClient;
let apiKey = "";
let directory = "";

beforeAll(async () => {
  server = await startServer();
  directory = await temporaryDirectory("config-transfer");
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  ({ apiKey } = await admin.tenants.create({ tenantId: "transfer" }));
  admin.close();
  client = new JadeClient({ url: server.url, apiKey });
});

afterAll(async () => {
  client?.close();
  await server?.dispose();
  rmSync(directory, { recursive: true, force: true });
});

function jadeDb(namespace: string, args: readonly string[]) {
  const env = { ...process.env, JADE_URL: server.url, JADE_API_KEY: apiKey };
  const all = [CLI, "config", "--namespace", namespace, ...args, "--output", "json"];
  return spawnSync(process.execPath, all, { encoding: "utf8", env });
}

/** The same bytes for the same number; every third value JSON, some with line breaks. */
function lineOf(number: number): string {
  const bytes = createHash("sha512").update(String(number)).digest();
  const key = number % 2 === 0 ? { key: `k/${number}` } : { key: bytes.toString("base64"), keyEncoding: "base64" };
  if (number % 3 === 0) return JSON.stringify({ ...key, value: { number, text: "ä\n\u2028" } });
  if (number % 3 === 1) return JSON.stringify({ ...key, value: `[\r\n ${number}.0 ]`, valueEncoding: "text" });
  return JSON.stringify({ ...key, value: bytes.subarray(0, number % 64).toString("base64"), valueEncoding: "base64" });
}

async function stateOf(namespace: string): Promise<{ readonly keys: number; readonly hash: string }> {
  const hash = createHash("sha256");
  let keys = 0;
  for await (const { key, value } of client.config.namespace(namespace).range({ as: "bytes" })) {
    for (const part of [key, value as Uint8Array]) hash.update(String(part.length)).update(part);
    keys++;
  }
  return { keys, hash: hash.digest("hex") };
}

describe("jade-db config export and import", () => {
  it("[CF-147] moves 10 000 keys of any bytes into another namespace, identical", async () => {
    const made = join(directory, "made.jsonl");
    writeFileSync(made, Array.from({ length: KEYS }, (_, number) => lineOf(number)).join("\n"));
    const imported = jadeDb("from", ["import", made, "--verify"]);
    expect(imported.status, imported.stderr).toBe(0);
    expect(JSON.parse(imported.stdout)).toMatchObject({ lines: KEYS, created: KEYS, overwritten: 0, verified: KEYS });
    const file = join(directory, "export.jsonl");
    const exported = jadeDb("from", ["export", file, "--verify"]);
    expect(exported.status, exported.stderr).toBe(0);
    const { revision } = await client.config.namespace("from").status();
    expect(JSON.parse(exported.stdout)).toEqual({ file, keys: KEYS, revision, verified: KEYS });
    expect(exported.stderr).toContain("exported 10,000 keys");
    expect(jadeDb("to", ["import", file, "--verify"]).status).toBe(0);
    const state = await stateOf("from");
    expect(state.keys).toBe(KEYS);
    expect(await stateOf("to")).toEqual(state);
    const again = jadeDb("to", ["import", file, "--on-existing", "skip"]);
    expect(JSON.parse(again.stdout)).toMatchObject({ lines: KEYS, created: 0, skipped: KEYS });
  }, 120_000);

  it("[CF-147] --verify fails when what is stored is not what the file holds", async () => {
    const space = client.config.namespace("differs");
    for (const key of ["a", "b"]) await space.put(key, key);
    const file = join(directory, "differs.jsonl");
    expect(jadeDb("differs", ["export", file, "--verify"]).status).toBe(0);
    writeFileSync(file, readFileSync(file, "utf8").replace('"value":"b"', '"value":"c"'));
    const skipped = jadeDb("differs", ["import", file, "--on-existing", "skip", "--verify"]);
    expect([skipped.status, skipped.stderr.includes("of 2 keys 0 are missing, 1 differ")]).toEqual([1, true]);
  });

  it("[CF-144] a bad line stops it with its place; a failed export leaves no file", async () => {
    const file = join(directory, "bad.jsonl");
    writeFileSync(file, '{"key":"a","value":1}\n{"key":"b"}\n');
    const bad = jadeDb("bad", ["import", file]);
    expect(bad.status).not.toBe(0);
    expect(bad.stderr).toContain(`stopped in the page of lines 1 to 2 of ${file}`);
    expect(bad.stderr).toContain("line 2: value is required");
    const refused = jadeDb("Bad Name", ["export", join(directory, "none.jsonl")]);
    expect(refused.status).not.toBe(0);
    expect([existsSync(join(directory, "none.jsonl")), existsSync(join(directory, "none.jsonl.part"))]).toEqual([
      false,
      false,
    ]);
  });
});

describe("client.config", () => {
  it("[CF-140] exports pages of one revision, and imports them", async () => {
    const space = client.config.namespace("sdk");
    for (const key of ["a/1", "a/2", "b"]) await space.put(key, key);
    const pages = [];
    for await (const page of space.exportPages({ limit: 1, prefix: "a/" })) pages.push(page);
    expect(pages.map(({ lines, revision }) => [lines.length, revision])).toEqual([
      [1, 4],
      [1, 4],
    ]);
    const copy = client.config.namespace("sdk-copy");
    for (const { lines } of pages) expect(await copy.importPage(lines.join("\n"))).toMatchObject({ created: 1 });
    const entries: ConfigEntry[] = [];
    for await (const entry of copy.range()) entries.push(entry);
    expect(entries.map(({ value }) => value)).toEqual(["a/1", "a/2"]);
    const refused = await copy.importPage(pages[0]!.lines.join(""), { onExisting: "fail" }).catch((error) => error);
    expect(isJadeError(refused) && refused.details).toMatchObject({ key: "a/1", line: 1, writtenLines: 0 });
  });
});
