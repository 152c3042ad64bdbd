// `npm run demo`: stores every package.json under node_modules through the SDK, reads it back and compares byte by byte.
//   npm run demo                     against JADE_URL (default http://127.0.0.1:8787) if a server runs there, else against one of its own
//   npm run demo -- --crash          own server, killed with -9 mid-import (--crashes N, default 3), restarted, import resumed
// Exit: 0 = everything there once and identical; 1 = not; 2 = cannot start.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { buildAll } from "./build.mjs";
import { root } from "./lib/root.mjs";
import { startServer, temporaryDirectory } from "./lib/server-process.mjs";

if (!process.features.typescript) {
  console.error(`this needs Node 24 (here: ${process.version}); run it as: npm run demo`);
  process.exit(2);
}
const { JadeClient } = await import("../src/client/index.ts");
const { readDocuments } = await import("./demo/documents.mjs");
const { importDocuments, verifyDocuments } = await import("./demo/import.mjs");

const { values: options } = parseArgs({
  options: {
    crash: { type: "boolean", default: false },
    crashes: { type: "string", default: "3" },
    directory: { type: "string", default: join(root, "node_modules") },
    url: { type: "string", default: process.env.JADE_URL ?? "http://127.0.0.1:8787" },
  },
});

const WIDTH = 256;
/** Few at a time, so that a crash falls into the middle and not behind the end. */
const CRASH_WIDTH = 32;

const rows = [];
const problems = [];
function report(step, what, count, seconds) {
  rows.push([step, what, count, seconds ? `${Math.round(count / seconds).toLocaleString("en")}/s` : ""]);
}
function problem(text, examples = []) {
  problems.push(examples.length > 0 ? `${text}, for example ${JSON.stringify(examples[0])}` : text);
}

async function isServing(url) {
  try {
    return (await fetch(`${url}/v1/ready`, { signal: AbortSignal.timeout(1000) })).ok;
  } catch {
    return false; // nothing listens there
  }
}

/** The client and how to clean up: a running server with a tenant of our own, or a server of our own. */
async function connectOrStart() {
  if (await isServing(options.url)) {
    const rootKey = process.env.JADE_ROOT_KEY;
    if (!rootKey) {
      console.error(
        `a server runs at ${options.url}: set JADE_ROOT_KEY to its root key, so that the demo can make a tenant of its own`,
      );
      process.exit(2);
    }
    console.log(`using the server at ${options.url}`);
    return { url: options.url, rootKey, dispose: async () => undefined };
  }
  console.log(`no server at ${options.url}: starting one with a temporary data directory`);
  await buildAll({ quiet: true });
  return startServer();
}

async function makeTenant(server) {
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  const tenantId = `demo-${crypto.randomUUID().slice(0, 8)}`;
  const { apiKey } = await admin.tenants.create({ tenantId, replicationFactor: 3 });
  return { admin, tenantId, apiKey };
}

function sessionOf(server, apiKey) {
  return new JadeClient({ url: server.url, apiKey, transport: "session" });
}

function noteImport(step, result) {
  if (result.errors.length > 0) {
    problem(`${step}: ${result.errors.length} writes failed`, [`${result.errors[0].key}: ${result.errors[0].error}`]);
  }
  if (result.changed.length > 0)
    problem(`${step}: ${result.changed.length} repeated writes got another answer`, result.changed);
}

function noteVerified(step, result) {
  if (result.lost.length > 0) problem(`${step}: ${result.lost.length} documents lost`, result.lost);
  if (result.different.length > 0) problem(`${step}: ${result.different.length} documents differ`, result.different);
  if (result.doubled.length > 0)
    problem(`${step}: ${result.doubled.length} documents have more than one version`, result.doubled);
  if (result.errors.length > 0) {
    problem(`${step}: ${result.errors.length} reads failed`, [`${result.errors[0].key}: ${result.errors[0].error}`]);
  }
}

async function plainRun({ documents }) {
  const server = await connectOrStart();
  try {
    const { admin, tenantId, apiKey } = await makeTenant(server);
    const client = sessionOf(server, apiKey);
    const acknowledged = new Map();
    const written = await importDocuments({
      client,
      tenantId,
      documents,
      acknowledged,
      isRepeat: false,
      width: WIDTH,
    });
    noteImport("import", written);
    report("import", "documents written at quorum", written.fresh, written.seconds);
    const verified = await verifyDocuments({ client, documents, acknowledged, width: WIDTH });
    noteVerified("read back", verified);
    report("read back", "documents read at quorum and compared", verified.read, verified.seconds);
    client.close();
    await admin.tenants.delete(tenantId);
    admin.close();
  } finally {
    await server.dispose();
  }
}

/** One life of the server that ends with kill -9 in the middle of the import. Gives once everything is dead. */
async function crashOnce({ server, state, number, stopAfter }) {
  const { apiKey, tenantId, documents, acknowledged } = state;
  const client = sessionOf(server, apiKey);
  let killed;
  const onStop = () => {
    killed = server.kill9();
    client.close();
  };
  const result = await importDocuments({
    client,
    tenantId,
    documents,
    acknowledged,
    isRepeat: number > 1,
    width: CRASH_WIDTH,
    stopAfter,
    onStop,
  });
  await killed;
  const step = `life ${number}`;
  noteImport(step, result);
  if (!result.isStopped) problem(`${step}: the import ended before the crash`);
  report(step, "new writes acknowledged, then kill -9", result.fresh);
  report(step, "writes under way when it died", result.uncertain);
  if (result.repeated > 0)
    report(step, "earlier writes repeated, answered as before", result.repeated - result.changed.length);
}

/** After a restart, before anything is repeated: every acknowledged write must be there. */
async function checkAcknowledged({ server, state, number }) {
  const client = sessionOf(server, state.apiKey);
  const documents = state.documents.filter(({ key }) => state.acknowledged.has(key));
  const step = `restart ${number}`;
  const verified = await verifyDocuments({ client, documents, acknowledged: state.acknowledged, width: WIDTH });
  noteVerified(step, verified);
  report(
    step,
    "acknowledged documents there and identical",
    verified.read - verified.lost.length - verified.different.length,
  );
  client.close();
}

async function crashRun({ documents }) {
  await buildAll({ quiet: true });
  const dataDir = await temporaryDirectory("demo");
  let server = await startServer({ dataDir });
  const { port, rootKey } = server;
  try {
    const { admin, tenantId, apiKey } = await makeTenant(server);
    admin.close();
    const state = { documents, apiKey, tenantId, acknowledged: new Map() };
    const crashes = Number(options.crashes);
    const stopAfter = Math.max(1, Math.floor(documents.length / (crashes + 1)));
    for (let number = 1; number <= crashes; number++) {
      await crashOnce({ server, state, number, stopAfter });
      const began = performance.now();
      server = await startServer({ dataDir, port, rootKey });
      report(`restart ${number}`, "milliseconds until ready again", Math.round(performance.now() - began));
      await checkAcknowledged({ server, state, number });
    }
    const client = sessionOf(server, apiKey);
    const before = state.acknowledged.size;
    const resumed = await importDocuments({ client, ...state, isRepeat: true, width: WIDTH });
    noteImport("resume", resumed);
    report("resume", "writes repeated under their write ids", resumed.sent, resumed.seconds);
    report("resume", "answered exactly as the first time", resumed.repeated - resumed.changed.length);
    if (resumed.repeated - resumed.changed.length !== before) problem(`resume: ${before} had been acknowledged before`);
    const verified = await verifyDocuments({ client, ...state, width: WIDTH });
    noteVerified("read back", verified);
    report(
      "read back",
      "documents compared, one version each",
      verified.read - verified.doubled.length,
      verified.seconds,
    );
    client.close();
  } finally {
    await server.dispose();
    await rm(dataDir, { recursive: true, force: true });
    await rm(server.logPath, { force: true });
  }
}

const input = await readDocuments(options.directory);
const { documents, fileCount, copyCount, brokenCount } = input;
const byteCount = documents.reduce((sum, { json }) => sum + Buffer.byteLength(json), 0);
console.log(
  `${fileCount} package.json files: ${documents.length} documents (${(byteCount / 1e6).toFixed(1)} MB), ${copyCount} copies, ${brokenCount} not JSON`,
);
await (options.crash ? crashRun(input) : plainRun(input));

const table = new Table({
  head: ["step", "what", "count", "rate"],
  colAligns: ["left", "left", "right", "right"],
  style: { head: [], border: [], compact: true },
});
table.push(...rows);
console.log(table.toString());
for (const text of problems) console.error(`FAILED  ${text}`);
console.log(
  problems.length === 0
    ? "ok: nothing lost, nothing doubled, every document byte-identical"
    : `${problems.length} problems`,
);
process.exit(problems.length === 0 ? 0 : 1);
