// Vector databases through the SDK and `jade-db`, as a user runs them: real processes against a real server.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningServer, startServer, temporaryDirectory } from "../../scripts/lib/server-process.mjs";
import { JadeClient } from "../../src/client/index.ts";

const CLI = join(import.meta.dirname, "../../dist/cli.js");
let server: RunningServer;
let directory: string;
let environment: Record<string, string>;
let client: JadeClient;
/** The same tenant, over the session. */
let session: JadeClient;

function jadeDb(args: readonly string[]) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [CLI, ...args], {
    encoding: "utf8",
    env: { ...process.env, ...environment },
  });
  return { stdout, stderr, status };
}

function json(args: readonly string[]) {
  const { stdout, stderr } = jadeDb([...args, "--output", "json"]);
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout);
}

beforeAll(async () => {
  server = await startServer();
  directory = await temporaryDirectory("vectors");
  environment = { JADE_URL: server.url, JADE_ROOT_KEY: server.rootKey };
  const { apiKey } = json(["tenant", "create", "vectors"]);
  environment = { ...environment, JADE_API_KEY: apiKey };
  client = new JadeClient({ url: server.url, apiKey });
  session = new JadeClient({ url: server.url, apiKey, transport: "session" });
});

afterAll(async () => {
  client?.close();
  session?.close();
  await server?.dispose();
  rmSync(directory, { recursive: true, force: true });
});

/** Pseudo-random values, the same each time. */
function values(row: number, dimension: number): Float32Array {
  return Float32Array.from({ length: dimension }, (_, at) => Math.sin(row * 12.9898 + at * 78.233));
}

describe.each(["http", "session"] as const)("client.databases and client.vectors over %s", (transport) => {
  it("[VE-177] [VE-178] [VE-270] make a database, fill it in chunks, read it back exactly, search and delete", async () => {
    const own = transport === "http" ? client : session;
    const { databases } = own;
    const made = await databases.create({ databaseId: "sdk", vectorDimension: 8, sharding: { numShards: 2 } });
    expect(made).toMatchObject({ databaseId: "sdk", metric: "cosine", state: "ready" });
    expect((await databases.update("sdk", { description: "d" })).description).toBe("d");
    const ids = [];
    for await (const { databaseId } of databases.list()) ids.push(databaseId);
    expect(ids).toEqual(["sdk"]);

    const vectors = own.vectors("sdk");
    const rows = Array.from({ length: 250 }, (_, at) => ({
      id: `v${at}`,
      values: values(at, 8),
      metadataJson: `{"n": ${at}.0}`,
    }));
    const bad = { id: "zero", values: new Float32Array(8) };
    const writeId = "ab".repeat(16);
    const many = [...rows.slice(0, 120), bad, { id: "short", values: [1] }, ...rows.slice(120)];
    for (let time = 0; time < 2; time++) {
      const { stored, failed, results } = await vectors.upsertMany(many, { chunkVectors: 100, writeId });
      expect([stored, failed, results.length]).toEqual([250, 2, 252]);
      expect(results[120]).toMatchObject({ ok: false, id: "zero", error: { code: "invalidRequest" } });
      expect(results[251]).toMatchObject({ ok: true, id: "v249", version: 1 });
    }
    expect(await vectors.count()).toBe(250);
    expect(await vectors.count({ filters: { n: { $lt: 10 } } })).toBe(10);
    expect(await vectors.get("v7")).toMatchObject({
      values: values(7, 8),
      metadata: { n: 7 },
      metadataJson: '{"n": 7.0}',
    });
    const listed = new Map<string, Float32Array>();
    for await (const row of vectors.list({ limit: 60, includeValues: true })) listed.set(row.id, row.values!);
    expect(listed.size).toBe(250);
    expect(rows.every((row) => listed.get(row.id)!.every((value, at) => value === row.values[at]))).toBe(true);

    const found = await vectors.search(
      { vector: values(7, 8) },
      { topK: 3, includeMetadata: true, includeValues: true },
    );
    expect(found.results[0]).toMatchObject({ id: "v7", metadata: { n: 7 }, values: values(7, 8) });
    const { searches } = await vectors.searchMany([{ id: "v7" }, { vector: values(9, 8) }], { topK: 2 });
    expect([searches[0]!.results.some(({ id }) => id === "v7"), searches[1]!.results[0]!.id]).toEqual([false, "v9"]);

    const near = { threshold: -1, limit: 100 };
    const page = await vectors.search({ vector: values(7, 8) }, near);
    expect([page.results.length, page.total, page.isComplete]).toEqual([100, 250, false]);
    const next = await vectors.search({ vector: values(7, 8) }, { ...near, cursor: page.cursor! });
    expect(next.results.map(({ id }) => id)).not.toContain("v7");

    const { importId } = await vectors.imports.start([{ id: "v9", values: values(9, 8), metadata: { n: 9 } }]);
    expect(await vectors.imports.ended(importId)).toMatchObject({ state: "done", total: 1, stored: 1 });
    expect(await vectors.imports.list()).toHaveLength(1);

    expect(await vectors.update("v7", { metadata: { n: -1 } })).toMatchObject({ id: "v7", version: 2 });
    await vectors.delete("v8");
    expect(await vectors.deleteMany({ ids: ["v9", "none"] })).toMatchObject({ deleted: 1, missing: ["none"] });
    expect(await vectors.deleteMany({ filters: { n: { $gte: 100 } } })).toMatchObject({ deleted: 150, more: false });
    expect((await databases.status("sdk")).rows).toBe(98);
    await databases.delete("sdk");
    await expect(databases.get("sdk")).rejects.toMatchObject({ code: "notFound" });
  });
});

describe("client.vectors over both", () => {
  /** What a call comes to, without what differs between two writes. */
  const outcome = async (work: Promise<unknown>): Promise<unknown> => {
    try {
      const text = JSON.stringify(await work, (_, value) => (value instanceof Float32Array ? [...value] : value));
      return text === undefined ? undefined : JSON.parse(text.replaceAll(/"20[0-9T:.-]+Z"/g, '"time"'));
    } catch (error) {
      const { code, message, details } = error as { code?: string; message: string; details?: object };
      return { code, message, details };
    }
  };

  it("[VE-270] each call has the same result, or the same error, over HTTP and the session", async () => {
    type Step = (vectors: ReturnType<JadeClient["vectors"]>) => Promise<unknown>;
    const q = { vector: [1, 2, 0] };
    const writeId = "cd".repeat(16);
    const steps: Step[] = [
      (v) => v.upsert({ id: "a", values: [1, 2, 3], metadata: { n: 1 } }),
      (v) => v.upsert({ id: "a", values: [1, 2, 2.5], metadataJson: '{"n": 1.0}' }, { durability: "eventual" }),
      (v) => v.upsert({ values: [0.1, 1, 0] }, { writeId }),
      (v) => v.upsert({ values: [0.1, 1, 0] }, { writeId }),
      (v) => v.upsert({ values: [0.2, 1, 0] }, { writeId }),
      (v) => v.upsert({ id: "b", values: [1, 2] }),
      (v) => v.upsert({ id: "b", values: [0, 0, 0] }),
      (v) => v.upsert({ id: "b", values: [1, 2, 3], metadata: { deep: "x".repeat(70_000) } }),
      (v) => v.upsert({ id: "x".repeat(600), values: [1, 2, 3] }),
      (v) => v.upsert({ id: "b", values: [1, 1, 1] }, { durability: "never" as never }),
      (v) =>
        v.upsertChunk(
          [
            { id: "c", values: [3, 1, 0] },
            { id: "", values: [1, 1, 1] },
            { id: "d", values: [1, 9, 0] },
          ],
          { writeId: "ef".repeat(16) },
        ),
      (v) =>
        v.upsertChunk(
          [
            { id: "e", values: [3, 1, 0] },
            { id: "f", values: [0, 0, 0] },
          ],
          { atomic: true },
        ),
      (v) => v.get("a"),
      (v) => v.get("nobody"),
      (v) => v.get("a", { consistency: "causal" }),
      (v) => v.update("a", { metadata: { n: 2 } }),
      (v) => v.update("nobody", { metadata: { n: 2 } }),
      (v) => v.count(),
      (v) => v.count({ filters: { n: 2 } }),
      (v) => v.count({ filters: { $no: 2 } }),
      (v) => v.page({ limit: 2, includeValues: true, includeMetadata: true }),
      (v) => v.page({ limit: 0 }),
      (v) => v.page({ cursor: "nonsense" }),
      (v) => v.search(q, { topK: 2, includeMetadata: true, includeValues: true }),
      (v) => v.search({ id: "a" }, { topK: 2, explain: true }),
      (v) => v.search({ id: "nobody" }),
      (v) => v.search({ vector: [1] }),
      (v) => v.search(q, { topK: 0 }),
      (v) => v.search(q, { topK: 2, index: "none" }),
      (v) => v.search(q, { topK: 2, filters: { n: { $between: 2 } } }),
      (v) => v.search(q, { threshold: 0.5, limit: 1 }),
      (v) => v.search(q, { limit: 1 }),
      (v) => v.searchMany([q, { id: "a" }, { vector: [0, 1, 0] }], { topK: 1 }),
      (v) => v.searchMany([q], { threshold: 0.2 }),
      (v) => v.deleteMany({ ids: ["c", "nobody"] }),
      (v) => v.deleteMany({ filters: { n: 2 } }),
      (v) => v.deleteMany({ filters: {} }),
      (v) => v.delete("d"),
      (v) => v.delete("d"),
      (v) => v.count(),
    ];
    for (const sharding of [{ numShards: 1 }, { numShards: 3 }]) {
      const names = ["over-http", "over-session"];
      for (const databaseId of names) await client.databases.create({ databaseId, vectorDimension: 3, sharding });
      const ways = [client.vectors(names[0]!), session.vectors(names[1]!)] as const;
      for (const [at, step] of steps.entries()) {
        const [http, own] = [await outcome(step(ways[0])), await outcome(step(ways[1]))];
        expect(own, `step ${at}`).toEqual(http);
      }
      for (const databaseId of names) await client.databases.delete(databaseId);
    }
    const gone = await outcome(session.vectors("gone").count());
    expect(gone).toEqual(await outcome(client.vectors("gone").count()));
  });
});

describe("jade-db", () => {
  it("[VE-241] takes a snapshot, saves and restores it, refuses a damaged file, archives and brings back", async () => {
    const { databases } = client;
    await databases.create({ databaseId: "kept", vectorDimension: 2 });
    await databases.create({ databaseId: "copy", vectorDimension: 2, sharding: { numShards: 3 } });
    const kept = client.vectors("kept");
    for (const id of ["a", "b", "c"]) await kept.upsert({ id, values: [1, 2] });
    expect(json(["database", "snapshot", "take", "kept", "s1"])).toMatchObject({ snapshotId: "s1", rows: 3 });
    expect(await databases.snapshots("kept")).toMatchObject([{ snapshotId: "s1" }]);
    const file = join(directory, "kept.snapshot");
    expect(json(["database", "snapshot", "save", "kept", "s1", file])).toMatchObject({ rows: 3, vectorDimension: 2 });
    await kept.delete("a");
    expect(await databases.restore("kept", "s1")).toMatchObject({ state: "ready" });
    expect(json(["database", "restore", "copy", "--file", file])).toMatchObject({ databaseId: "copy", rows: 3 });
    for (const name of ["kept", "copy"]) expect(await client.vectors(name).count()).toBe(3);
    const bytes = readFileSync(file);
    bytes[bytes.length - 30]! ^= 4;
    writeFileSync(file, bytes);
    expect(jadeDb(["database", "restore", "copy", "--file", file]).stderr).toContain("fails a block's checksum");
    expect(json(["database", "archive", "copy"])).toMatchObject({ state: "archived" });
    await expect(client.vectors("copy").get("a")).rejects.toThrow("archived");
    await databases.restore("copy");
    expect(await client.vectors("copy").get("a")).toMatchObject({ id: "a", version: 1 });
    await databases.deleteSnapshot("kept", "s1");
    for (const name of ["kept", "copy"]) await databases.delete(name);
  });

  it("makes databases, puts, gets, lists, searches and deletes vectors, with exit codes", () => {
    const made = [
      "database",
      "create",
      "cli",
      "--dimension",
      "2",
      "--metric",
      "euclidean",
      "--shards",
      "2",
      "--namespace",
      "n",
    ];
    expect(json(made)).toMatchObject({
      databaseId: "cli",
      vectorDimension: 2,
      metric: "euclidean",
      sharding: { numShards: 2 },
    });
    expect(jadeDb(["database", "list", "--namespace", "n"]).stdout).toContain("euclidean");
    const on = ["--database", "cli", "--namespace", "n"];
    const record = join(directory, "change.json");
    writeFileSync(record, '{"metadataSchema":{"lang":"string"}}');
    expect(json(["database", "update", "cli", "--namespace", "n", "--file", record, "--name", "N"])).toMatchObject({
      name: "N",
      metadataSchema: { lang: "string" },
    });
    expect(
      json(["vector", "put", "a", "--values", "[1,0.1]", "--metadata", '{"lang":"de","n":1.0}', ...on]),
    ).toMatchObject({ id: "a", version: 1 });
    expect(json(["vector", "put", "b", "--values", "[5,5]", ...on])).toMatchObject({ id: "b" });
    expect(json(["vector", "get", "a", ...on])).toMatchObject({ values: [1, 0.1], metadata: '{"lang":"de","n":1.0}' });
    expect(json(["vector", "count", "--filter", '{"lang":"de"}', ...on])).toEqual({ count: 1 });
    expect(json(["search", "--vector", "[5,4]", "--top-k", "1", ...on])).toMatchObject([{ id: "b", score: 1 }]);
    expect(
      json(["search", "--id", "b", "--filter", '{"lang":"de"}', ...on]).map(({ id }: { id: string }) => id),
    ).toEqual(["a"]);
    expect(json(["search", "--id", "b", "--explain", ...on])).toMatchObject({
      results: [{ id: "a" }],
      explain: { shards: [{}, {}] },
    });
    const index = (...args: readonly string[]) => json(["index", ...args, ...on]);
    expect(index("create", "lists", "--type", "IVF", "--parameters", '{"lists":4}', "--wait")).toMatchObject({
      ...{ indexId: "lists", state: "ready", progress: 1, rows: 2 },
      indexParameters: { lists: 4, quantizer: "rabitq" },
    });
    expect(json(["search", "--vector", "[5,4]", "--top-k", "1", "--index", "lists", ...on])).toMatchObject([
      { id: "b" },
    ]);
    expect(index("rebuild", "default", "--wait")).toMatchObject({ isDefault: true, state: "ready" });
    expect(jadeDb(["index", "list", ...on]).stdout).toMatch(/lists.*IVF.*ready/);
    expect(index("delete", "lists")).toEqual({ indexId: "lists", deleted: true });
    expect(jadeDb(["vector", "put", "c", "--values", "[1,2]", "--metadata", '{"lang":1}', ...on]).stderr).toContain(
      "lang",
    );
    expect(jadeDb(["vector", "get", "none", ...on]).status).toBe(3);
    expect(json(["vector", "delete", "a", ...on])).toMatchObject({ deleted: 1 });
    expect(jadeDb(["vector", "delete", "a", ...on]).status).toBe(3);
    expect(json(["database", "status", "cli", "--namespace", "n"])).toMatchObject({ rows: 1 });
    expect(json(["database", "delete", "cli", "--namespace", "n"])).toEqual({ databaseId: "cli", deleted: true });
  });

  it("[VE-170] [VE-176] imports and exports files of every format, verified, and they come back the same", async () => {
    for (const name of ["first", "second"])
      await client.databases.create({ databaseId: name, vectorDimension: 4, sharding: { numShards: 2 } });
    const lines = Array.from(
      { length: 300 },
      (_, at) => `{"id":"v${at}","values":[${[at + 1, 200, at % 7, 3]}],"metadata":{"at": ${at}.0}}\n`,
    );
    const source = join(directory, "source.jsonl");
    writeFileSync(source, lines.join(""));
    const imported = json(["import", "vectors", source, "--database", "first", "--verify", "--batch-size", "70"]);
    expect(imported).toEqual({ file: source, vectors: 300, verified: 300, count: 300, selfSearch: "100 of 100" });
    const text = join(directory, "out.jsonl");
    expect(json(["export", "vectors", "--database", "first", "--out", text])).toEqual({ file: text, vectors: 300 });
    for (const extension of ["parquet", "npy"]) {
      const out = join(directory, `out.${extension}`);
      expect(json(["export", "vectors", "--database", "first", "--out", out, "--verify"])).toMatchObject({
        vectors: 300,
        verified: 300,
      });
      expect(json(["import", "vectors", out, "--database", "second", "--verify"])).toMatchObject({
        vectors: 300,
        verified: 300,
      });
    }
    // The same vectors, line by line, in another order.
    expect(readFileSync(text, "utf8").split("\n").sort()).toEqual(lines.join("").split("\n").sort());
    const bad = jadeDb(["import", "vectors", join(import.meta.filename), "--database", "first"]);
    expect([bad.status, bad.stderr]).toEqual([2, expect.stringContaining("the format is told by the extension")]);
    expect(jadeDb(["import", "vectors", source, "--database", "first", "--consistency", "all"])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--consistency is for keys"),
    });
    // Keys have these commands too, and take no vectors.
    expect(jadeDb(["import", source]).stderr).toContain('has no "key"');
  });

  it("[VE-174] goes on with an import that was killed; every row is stored once", async () => {
    await client.databases.create({ databaseId: "killed", vectorDimension: 16 });
    const file = join(directory, "big.jsonl");
    const rows = 12_000;
    writeFileSync(
      file,
      Array.from(
        { length: rows },
        (_, at) => `${JSON.stringify({ id: `k${at}`, values: [...values(at, 16)] })}\n`,
      ).join(""),
    );
    const args = ["import", "vectors", file, "--database", "killed", "--batch-size", "20", "--concurrency", "2"];
    const vectors = client.vectors("killed");
    const child = spawn(process.execPath, [CLI, ...args], { env: { ...process.env, ...environment }, stdio: "ignore" });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    while (child.exitCode === null && (await vectors.count()) < 200);
    child.kill("SIGKILL");
    await ended;
    const before = await vectors.count();
    expect(before).toBeLessThan(rows);
    if (existsSync(`${file}.jade-import-vectors`))
      expect(JSON.parse(readFileSync(`${file}.jade-import-vectors`, "utf8"))).toMatchObject({ batchRows: 20 });
    expect(json([...args, "--verify"])).toMatchObject({ vectors: rows, verified: rows, count: rows });
  });
});
