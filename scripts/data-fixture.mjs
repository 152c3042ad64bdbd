// A data directory written by one build of the server, packed small: test/e2e/upgrade.test.ts starts the present build on copies of such.
//   git worktree add --detach ../old <commit> && (cd ../old && npm ci)      # builds dist/ too
//   npx node scripts/data-fixture.mjs --checkout ../old --out test/fixtures/data-<commit>.tar.br
// Guarantees: plain HTTP of /v1 only, so that every build can be asked; the same keys and values each time (clocks and secrets differ).
// `expected.json` in the package says what each key held, and the API keys. Must not: pack what is made anew at each start.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { brotliCompressSync, constants } from "node:zlib";
import { memberText } from "../src/client/raw-json.ts";
import { freePort, startGroup, temporaryDirectory, waitUntilReady } from "./lib/server-process.mjs";

const MAX_PACKED_BYTES = 200 * 1024;
const { values: options } = parseArgs({ options: { checkout: { type: "string" }, out: { type: "string" } } });
if (!options.checkout || !options.out) {
  console.error("say --checkout <a built working tree> and --out <file.tar.br>");
  process.exit(2);
}

const directory = await temporaryDirectory("fixture");
const dataDir = join(directory, "data");
const rootKey = "jdb.root.fixture-fixture";
const port = await freePort();
const url = `http://127.0.0.1:${port}`;

async function ask(method, path, key, body, headers = {}) {
  const response = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body ? { "content-type": "application/json" } : {}), ...headers },
    ...(body ? { body: typeof body === "string" ? body : JSON.stringify(body) } : {}),
  });
  const text = await response.text();
  if (!response.ok && response.status !== 404) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return {
    status: response.status,
    text,
    data: response.ok && text.startsWith('{"status"') ? JSON.parse(text).data : {},
  };
}

/** Small memtables, so that there are tables, records' segments and a log that goes on behind them. */
async function start() {
  const config = join(directory, "jade.yaml");
  writeFileSync(config, "storage:\n  memtableMiB: 1\n  rowCacheMiB: 0\n");
  const logPath = join(directory, "log");
  const group = startGroup({
    command: process.execPath,
    args: [join(resolve(options.checkout), "dist/cli.js"), "serve", "--port", String(port), "--config", config],
    env: { JADE_ROOT_KEY: rootKey, JADE_DATA_DIR: dataDir },
    logPath,
  });
  await waitUntilReady({ url: `${url}/v1/ready`, group, logPath });
  return group;
}

/** Texts, so that every byte of a value counts. */
const VALUES = ["1.0", "9007199254740993", '"ä𝄞\\u0000"', "null", '{ "b":1, "a":[1.50,true] }', '""', "[[],{}]"];

async function fill(tenantId, settings, hasMuch = false) {
  const { apiKey, keyId } = (await ask("POST", "/v1/tenants", rootKey, { tenantId, ...settings })).data;
  const put = (key, value, more = "") =>
    ask("POST", "/v1/key-value", apiKey, `{"key":${JSON.stringify(key)},"value":${value}${more}}`);
  for (let i = 0; i < 60; i++) await put(`key ${i}`, VALUES[i % VALUES.length]);
  for (let i = 0; i < 60; i += 4) await put(`key ${i}`, `"overwritten ${i}"`);
  for (let i = 1; i < 60; i += 8) await ask("DELETE", `/v1/key-value?key=key%20${i}`, apiKey);
  for (let i = 0; i < 6; i++) {
    const { vectorClock } = (await put(`sibling ${i}`, '{"common":0}')).data;
    for (const side of ["left", "right"])
      await put(`sibling ${i}`, `{"${side}":${i}}`, `,"vectorClock":${JSON.stringify(vectorClock)}`);
  }
  await put("ключ/?&#%".padEnd(900, "k"), '"a long key"');
  await put("large", JSON.stringify("large ".repeat(30_000)));
  if (hasMuch) for (let i = 0; i < 16; i++) await put(`filler ${i}`, JSON.stringify(`filler ${i} `.repeat(8000)));
  const readOnly = (await ask("POST", `/v1/tenants/${tenantId}/keys`, rootKey, { scope: "read-only" })).data;
  const revoked = (await ask("POST", `/v1/tenants/${tenantId}/keys`, rootKey, { scope: "admin" })).data;
  await ask("DELETE", `/v1/tenants/${tenantId}/keys/${revoked.keyId}`, rootKey);
  // Behind the last flush: these are in the log only.
  for (let i = 0; i < 5; i++) await put(`late ${i}`, `${i}`);
  return { tenantId, settings, keyId, apiKey, readOnlyKey: readOnly.apiKey, revokedKey: revoked.apiKey };
}

const sha256 = (text) => createHash("sha256").update(text).digest("hex");

/** key → exact JSON text (its hash, where it is long) and clock. */
async function exported(apiKey) {
  const entries = {};
  for (let cursor = ""; ; ) {
    const page = (await ask("GET", `/v1/key-value/export?${cursor}`, apiKey)).text.trimEnd().split("\n");
    const end = JSON.parse(page.pop());
    for (const line of page) {
      const { key, vectorClock } = JSON.parse(line);
      const json = memberText(line, "value");
      entries[key] = json.length > 2000 ? { sha256: sha256(json), vectorClock } : { json, vectorClock };
    }
    if (end.cursor === null) return entries;
    cursor = `cursor=${end.cursor}`;
  }
}

async function readBack(tenant) {
  const entries = await exported(tenant.apiKey);
  const reads = {};
  const odd = [0, 1, 2, 3, 4, 5].map((i) => `sibling ${i}`).concat(["key 1", "key 9", "never written"]);
  for (const key of odd) {
    const path = `/v1/key-value?consistency=all&key=${encodeURIComponent(key)}`;
    const { status, text } = await ask("GET", path, tenant.apiKey);
    reads[key] = {
      status,
      ...(status === 200 ? { data: JSON.parse(text).data } : { details: JSON.parse(text).details }),
    };
  }
  return { ...tenant, entries, reads };
}

const server = await start();
const one = { replicationFactor: 1, conflictPolicy: "lastWriteWins", defaultConsistency: "one" };
const two = { replicationFactor: 2, conflictPolicy: "jsonMerge", displayName: "Zwei" };
const tenants = [await fill("one", one), await fill("two", two)];
await fill("gone", { replicationFactor: 3 });
await ask("DELETE", "/v1/tenants/gone", rootKey);
tenants.push(await fill("three", { replicationFactor: 3, conflictPolicy: "siblings" }, true));
await new Promise((resolve) => setTimeout(resolve, 2000)); // flushes, erasure
const expected = { rootKey, tenants: [] };
for (const tenant of tenants) expected.tenants.push(await readBack(tenant));
// Not at rest, as a machine that lost power leaves it: SQLite's own log is part of it.
await server.kill9();
rmSync(join(dataDir, "run"), { recursive: true, force: true });
rmSync(join(dataDir, "instance.lock"), { force: true });
writeFileSync(join(directory, "expected.json"), JSON.stringify(expected));
const out = resolve(options.out);
mkdirSync(join(out, ".."), { recursive: true });
const tarArgs = ["--sort=name", "--owner=0", "--group=0", "-cf", "-", "data", "expected.json"];
const tar = execFileSync("tar", tarArgs, { cwd: directory, maxBuffer: 2 ** 30 });
// A window over the copies of all nodes: what they share is packed once.
const params = { [constants.BROTLI_PARAM_LARGE_WINDOW]: 1, [constants.BROTLI_PARAM_LGWIN]: 26 };
const packed = brotliCompressSync(tar, { params });
writeFileSync(out, packed);
rmSync(directory, { recursive: true });
console.log(`${options.out}: ${packed.length} bytes of ${tar.length}`);
if (packed.length > MAX_PACKED_BYTES) {
  console.error(`over the ${MAX_PACKED_BYTES} bytes that a fixture may have`);
  process.exit(1);
}
