// Data directories that older builds wrote (test/fixtures, made by scripts/data-fixture.mjs) under the server of today.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { brotliDecompressSync, constants } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { type RunningServer, startServer } from "../../scripts/lib/server-process.mjs";
import { type ClockMap, JadeClient, type JadeError, writeIdFrom } from "../../src/client/index.ts";
import { removeDir, temporaryDir } from "./serve-process.ts";

const FIXTURES = "test/fixtures";
const packages = readdirSync(FIXTURES).filter((name) => name.endsWith(".tar.br"));

interface ExpectedTenant {
  readonly tenantId: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly apiKey: string;
  readonly readOnlyKey: string;
  readonly revokedKey: string;
  readonly entries: Readonly<Record<string, { json?: string; sha256?: string; vectorClock: ClockMap }>>;
  /** Answers for keys with siblings, deleted and absent ones. */
  readonly reads: Readonly<Record<string, { status: number; data?: object; details?: object }>>;
}

interface Expected {
  readonly rootKey: string;
  readonly tenants: readonly ExpectedTenant[];
}

let server: RunningServer | undefined;
let directory: string | undefined;
afterEach(async () => {
  await server?.dispose();
  if (directory) removeDir(directory);
});

function unpack(name: string): Expected {
  directory = temporaryDir();
  const params = { [constants.BROTLI_DECODER_PARAM_LARGE_WINDOW]: 1 };
  const input = brotliDecompressSync(readFileSync(join(FIXTURES, name)), { params });
  execFileSync("tar", ["-xf", "-", "-C", directory], { input });
  return JSON.parse(readFileSync(join(directory, "expected.json"), "utf8")) as Expected;
}

async function start(rootKey: string): Promise<RunningServer> {
  server = await startServer({ dataDir: join(directory!, "data"), rootKey });
  return server;
}

const shown = (json: string, isHashed: boolean) =>
  isHashed ? { sha256: createHash("sha256").update(json).digest("hex") } : { json };

/** All that is stored, by export and by reads of all replicas, but for the keys `except`. */
async function compareAll(url: string, tenant: ExpectedTenant, except: ReadonlySet<string> = new Set()) {
  const client = new JadeClient({ url, apiKey: tenant.apiKey });
  const found: Record<string, object> = {};
  let cursor: string | undefined;
  do {
    const page = await client.kv.exportPage({ limit: 50, ...(cursor ? { cursor } : {}) });
    for (const { key, json, vectorClock } of page.items) {
      if (!except.has(key)) found[key] = { ...shown(json, tenant.entries[key]?.sha256 !== undefined), vectorClock };
    }
    cursor = page.cursor ?? undefined;
  } while (cursor);
  const wanted = Object.fromEntries(Object.entries(tenant.entries).filter(([key]) => !except.has(key)));
  expect(found).toEqual(wanted);
  for (const [key, { sha256, vectorClock }] of Object.entries(wanted)) {
    const read = await client.kv.getRaw(key, { consistency: "all" });
    expect([key, { ...shown(read.value!, sha256 !== undefined), vectorClock: read.vectorClock }]).toEqual([
      key,
      wanted[key],
    ]);
    expect(vectorClock).toBeDefined();
  }
  for (const [key, { status, data, details }] of Object.entries(tenant.reads)) {
    if (except.has(key)) continue;
    const path = `/v1/key-value?consistency=all&key=${encodeURIComponent(key)}`;
    const response = await fetch(url + path, { headers: { authorization: `Bearer ${tenant.apiKey}` } });
    const body = await response.json();
    expect([key, response.status, body]).toMatchObject([key, status, { ...(data ? { data } : { details }) }]);
  }
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "none",
    (error: JadeError) => error.code,
  );
}

/** New keys, overwritten ones, one with its siblings resolved, a deleted one again, a retry. Gives the keys that are changed. */
async function writeAnew(url: string, tenant: ExpectedTenant): Promise<ReadonlyMap<string, unknown>> {
  const client = new JadeClient({ url, apiKey: tenant.apiKey });
  const writes = new Map<string, unknown>([
    ["key 0", "by clock"],
    ["key 2", "without a clock"],
    ["sibling 0", "resolved"],
    ["key 1", "was deleted"],
    ["new", "new"],
  ]);
  for (const [key, value] of writes) {
    const options = {
      consistency: "all",
      writeId: await writeIdFrom(`upgrade ${key}`),
      mayHaveBeenSent: false,
    } as const;
    const clock = key === "key 2" ? undefined : (await client.kv.get(key)).vectorClock;
    const first = await client.kv.put(key, value, { ...options, ...(clock ? { clock } : {}) });
    const again = await client.kv.put(key, value, { ...options, ...(clock ? { clock } : {}), mayHaveBeenSent: true });
    expect(again.vectorClock).toEqual(first.vectorClock);
  }
  return writes;
}

async function compareWritten(url: string, tenant: ExpectedTenant, writes: ReadonlyMap<string, unknown>) {
  const client = new JadeClient({ url, apiKey: tenant.apiKey });
  for (const [key, value] of writes) {
    const read = await client.kv.get(key, { consistency: "all" });
    expect([key, read.value, read.conflict]).toEqual([key, value, false]);
  }
}

describe("data of an older build", () => {
  it("there are fixtures", () => expect(packages.length).toBeGreaterThan(0));

  it.each(packages)(
    "[KV-30] %s: every key, clock, sibling, delete, setting and API key is there; writes and restarts go on",
    async (name) => {
      const expected = unpack(name);
      const { rootKey, tenants } = expected;
      const { url } = await start(rootKey);
      const admin = new JadeClient({ url, apiKey: rootKey });
      for (const tenant of tenants) {
        await compareAll(url, tenant);
        expect(await admin.tenants.get(tenant.tenantId)).toMatchObject(tenant.settings);
        const reader = new JadeClient({ url, apiKey: tenant.readOnlyKey });
        expect((await reader.kv.get("key 3")).found).toBe(true);
        expect(await codeOf(reader.kv.put("key 3", 1))).toBe("forbidden");
        expect(await codeOf(new JadeClient({ url, apiKey: tenant.revokedKey }).kv.get("key 3"))).toBe(
          "unauthenticated",
        );
      }
      expect(await codeOf(admin.tenants.get("gone"))).toBe("notFound");
      const metrics = await (await fetch(`${url}/metrics`)).text();
      for (const quiet of ["jade_kv_read_repairs_total", "jade_storage_corrupt_blocks_total", "jade_kv_rebuilding"])
        expect(metrics).not.toMatch(new RegExp(`^${quiet}\\S* [1-9]`, "m"));
      const written = await Promise.all(tenants.map((tenant) => writeAnew(url, tenant)));
      await server!.kill9();
      const again = await start(rootKey);
      for (const [i, tenant] of tenants.entries()) {
        await compareWritten(again.url, tenant, written[i]!);
        await compareAll(again.url, tenant, new Set(written[i]!.keys()));
      }
    },
  );
});
