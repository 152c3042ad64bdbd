// Vector databases of the built server over kill -9: between the steps of creations and deletions, and while vectors come in.
import { existsSync, readdirSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { VectorCrash } from "../../scripts/crash/vectors/run.ts";
import { type RunningServer, startServer, temporaryDirectory } from "../../scripts/lib/server-process.mjs";
import { recallOf, sift } from "../unit/vector/fixture.ts";
import { PATIENCE_MS, until } from "./until.ts";

/** Two rounds of calls at least: they are made 16 at a time. */
const SHARDS = 24;

interface Envelope {
  readonly code?: string;
  readonly data: Record<string, unknown>;
}

let dataDir = "";
let server: RunningServer;
let apiKey = "";

beforeAll(async () => {
  dataDir = await temporaryDirectory("vectors");
  server = await startServer({ dataDir });
  apiKey = String((await ask("POST", "/v1/tenants", { tenantId: "vectors" }, server.rootKey)).data["apiKey"]);
}, PATIENCE_MS);

afterAll(async () => {
  await server?.dispose();
  if (dataDir) await rm(dataDir, { recursive: true, force: true });
});

async function ask(
  method: string,
  path: string,
  body?: object,
  key = apiKey,
  idempotencyKey?: string,
): Promise<Envelope> {
  const response = await fetch(server.url + path, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      ...(idempotencyKey && { "idempotency-key": idempotencyKey }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  return (await response.json()) as Envelope;
}

async function restart(args: readonly string[] = []): Promise<void> {
  const { port, rootKey } = server;
  await server.kill9();
  server = await startServer({ dataDir, port, rootKey, args });
}

/** Shards on disk that hold anything. */
function shardsOnDisk(): number {
  const objects = join(dataDir, "objects");
  const names = readdirSync(objects, { recursive: true, encoding: "utf8" });
  const files = names.filter((name) => name.endsWith(".sqlite")).map((name) => join(objects, name));
  return files.filter((file) => {
    if (!existsSync(file)) return false;
    const database = new DatabaseSync(file, { timeout: 5000 });
    const tables = database.prepare("SELECT COUNT(*) AS n FROM sqlite_master WHERE name = 'vector_facts'").get();
    database.close();
    return Number(tables?.["n"]) > 0;
  }).length;
}

/** Until it is answered for good: a killed server answers nothing, one that just woke may not be ready with it. */
async function repeated(method: string, path: string, key: string, body?: object): Promise<Envelope> {
  let answer: Envelope | undefined;
  await until(async () => {
    answer = await ask(method, path, body, apiKey, key).catch(() => undefined);
    return answer !== undefined && !["unknownOutcome", "unavailable", "overloaded"].includes(answer.code ?? "");
  });
  return answer!;
}

it(
  "[VE-134] creations and deletions that kill -9 interrupts at any moment are finished, and leave no shard behind",
  async () => {
    const body = (databaseId: string) => ({ databaseId, vectorDimension: 4, sharding: { numShards: SHARDS } });
    for (const [round, delayMs] of [5, 25, 70].entries()) {
      const id = `db${round}`;
      const begun = [ask("POST", "/v1/databases", body(id), apiKey, `create-${id}`).catch(() => undefined)];
      if (round > 0)
        begun.push(
          ask("DELETE", `/v1/databases/db${round - 1}`, undefined, apiKey, `delete-${round - 1}`).catch(
            () => undefined,
          ),
        );
      await sleep(delayMs);
      await restart();
      await Promise.all(begun);
      expect((await repeated("POST", "/v1/databases", `create-${id}`, body(id))).data).toMatchObject({
        databaseId: id,
        state: "ready",
      });
      const status = await ask("GET", `/v1/databases/${id}/status`);
      expect(status.data["shards"]).toHaveLength(SHARDS);
      expect(shardsOnDisk()).toBeGreaterThanOrEqual(SHARDS);
      if (round > 0) {
        await repeated("DELETE", `/v1/databases/db${round - 1}`, `delete-${round - 1}`);
        expect((await ask("GET", `/v1/databases/db${round - 1}`)).code).toBe("notFound");
      }
    }
    expect((await ask("DELETE", "/v1/databases/db2")).data).toMatchObject({ databaseId: "db2" });
    expect((await ask("GET", "/v1/databases")).data["items"]).toEqual([]);
    expect(shardsOnDisk()).toBe(0);
  },
  2 * PATIENCE_MS,
);

it(
  "[VE-148] every vector that was acknowledged before a kill -9 is there afterwards, as it was, and found",
  async () => {
    const path = "/v1/databases/kept";
    await ask("POST", "/v1/databases", {
      databaseId: "kept",
      vectorDimension: 16,
      metric: "euclidean",
      sharding: { numShards: 3 },
    });
    const acknowledged = new Set<number>();
    const valuesOf = (n: number) => Array.from({ length: 16 }, (_, at) => (at === 0 ? n : (n * (at + 3)) % 17));
    const lane = async (first: number): Promise<void> => {
      for (let from = first; ; from += 4 * 200) {
        const numbers = Array.from({ length: 200 }, (_, at) => from + at);
        const vectors = numbers.map((n) => ({ id: `v${n}`, values: valuesOf(n), metadata: { n } }));
        const answer = await ask("POST", `${path}/vectors/batch`, { vectors }).catch(() => undefined);
        if (!answer?.data) return;
        for (const [at, result] of (answer.data["results"] as { error?: object }[]).entries())
          if (!result.error) acknowledged.add(numbers[at]!);
      }
    };
    const lanes = [0, 1, 2, 3].map((number) => lane(number * 200));
    expect(await until(() => acknowledged.size >= 12_000)).toBe(true);
    await restart();
    await Promise.all(lanes);
    const found = new Map<string, string>();
    for (let cursor: unknown = ""; cursor !== null; ) {
      const more = cursor === "" ? "" : `&cursor=${String(cursor)}`;
      const { data } = await ask("GET", `${path}/vectors?limit=1000&includeValues=true${more}`);
      for (const { id, values } of data["items"] as { id: string; values: number[] }[]) found.set(id, values.join());
      cursor = data["cursor"];
    }
    const lost = [...acknowledged].filter((n) => found.get(`v${n}`) !== valuesOf(n).join());
    expect(lost).toEqual([]);
    expect((await ask("GET", `${path}/vectors/count`)).data["count"]).toBe(found.size);
    for (const n of [...acknowledged].filter((_, at) => at % 997 === 0)) {
      const { data } = await ask("POST", `${path}/search`, { queryVector: valuesOf(n), topK: 1 });
      expect(data["results"]).toEqual([{ id: `v${n}`, score: 0 }]);
    }
  },
  2 * PATIENCE_MS,
);

it(
  "[VE-236] sharded by centroids over separate objects, searches find 95 % of the true neighbours and ask half of the shards",
  async () => {
    const { rows, ...of } = sift();
    const [queries, truth] = [of.queries.slice(0, 60), of.truth.slice(0, 60)];
    const path = "/v1/databases/centroids";
    await ask("POST", "/v1/databases", {
      ...{ databaseId: "centroids", vectorDimension: 128, metric: "euclidean" },
      sharding: { strategy: "centroid", numShards: 8, learnRows: 2000 },
    });
    for (let from = 0; from < rows.length; from += 400) {
      const vectors = rows.slice(from, from + 400).map((values, at) => ({ id: String(from + at), values }));
      expect((await ask("POST", `${path}/vectors/batch`, { vectors })).data["stored"]).toBe(vectors.length);
    }
    const state = async () => (await ask("GET", `${path}/status`)).data["sharding"] as Record<string, unknown>;
    expect(await until(async () => (await state())["state"] === "active")).toBe(true);
    expect((await ask("GET", `${path}/vectors/count`)).data["count"]).toBe(rows.length);
    const searched = async (queryVector: readonly number[]) => {
      const { data } = await ask("POST", `${path}/search`, { queryVector, topK: 10, explain: true });
      const { shards } = data["explain"] as { shards: readonly object[] };
      return { shards: shards.length, ids: (data["results"] as { id: string }[]).map(({ id }) => Number(id)) };
    };
    await until(async () => (await searched(queries[0]!)).shards < 8);
    const answers = [];
    for (const query of queries) answers.push(await searched(query));
    const recall = recallOf(
      answers.map(({ ids }) => ids),
      truth.map((nearest) => nearest.slice(0, 10)),
    );
    const share = answers.reduce((sum, { shards }) => sum + shards, 0) / queries.length / 8;
    expect(recall).toBeGreaterThanOrEqual(0.95);
    expect(share).toBeLessThanOrEqual(0.625);
  },
  2 * PATIENCE_MS,
);

it(
  "[VE-234] edge case 3: at the limits of disk and memory, also lowered ones, writes are 507; reads and deletes go on, deleting makes room",
  async () => {
    const path = "/v1/databases/full";
    await ask("POST", "/v1/databases", { databaseId: "full", vectorDimension: 1024, metric: "euclidean" });
    const valuesOf = (n: number) => Array.from({ length: 1024 }, (_, at) => (at === 0 ? n : (n * (at + 3)) % 17));
    const vectorsFrom = (from: number) =>
      Array.from({ length: 200 }, (_, at) => ({ id: `v${from + at}`, values: valuesOf(from + at) }));
    for (let from = 0; from < 2400; from += 200)
      await ask("POST", `${path}/vectors/batch`, { vectors: vectorsFrom(from) });
    const config = join(dataDir, "small.json");
    await writeFile(config, JSON.stringify({ vectors: { memoryMiB: 8, storedMiB: 8 } }));
    await restart(["--config", config]);
    const found = async (n: number) =>
      (await ask("POST", `${path}/search`, { queryVector: valuesOf(n), topK: 1 })).data["results"];
    expect(await found(2399)).toEqual([{ id: "v2399", score: 0 }]);
    const refused = await ask("POST", `${path}/vectors/batch`, { vectors: vectorsFrom(2400) });
    expect(refused).toMatchObject({ code: "insufficientStorage", message: expect.stringContaining("the shard holds") });
    expect(await found(7)).toEqual([{ id: "v7", score: 0 }]);
    const ids = Array.from({ length: 1800 }, (_, n) => `v${n}`);
    expect((await ask("POST", `${path}/vectors/delete`, { ids })).data["deleted"]).toBe(1800);
    // Room comes bit by bit: of a batch some rows are stored before others are.
    const write = async () => (await ask("POST", `${path}/vectors/batch`, { vectors: vectorsFrom(2400) })).data;
    expect(await until(async () => (await write())?.["stored"] === 200)).toBe(true);
    expect((await ask("GET", `${path}/vectors/count`)).data["count"]).toBe(800);
    expect([await found(2599), await found(1800)]).toEqual([[{ id: "v2599", score: 0 }], [{ id: "v1800", score: 0 }]]);
  },
  2 * PATIENCE_MS,
);

it("[VE-123] a kill -9 costs acknowledged writes only within the window of their durability", async () => {
  const run = new VectorCrash({ rounds: 2, seed: 3, maxLoadMs: 2200 });
  const { problems, ...counts } = await run.run();
  console.log(JSON.stringify(counts));
  expect(problems).toEqual([]);
  expect(counts.kills).toBe(2);
  // That there was load: many times more on a quiet machine.
  expect(counts.acknowledged).toBeGreaterThan(500);
});

it(
  "[VE-212][VE-220][VE-221] imports and an index that kill -9 interrupts are finished, by themselves and once",
  async () => {
    const path = "/v1/databases/jobs";
    await ask("POST", "/v1/databases", { databaseId: "jobs", vectorDimension: 8, metric: "euclidean" });
    const valuesOf = (n: number) => Array.from({ length: 8 }, (_, at) => (at === 0 ? n : (n * (at + 3)) % 17));
    const importOf = async (from: number): Promise<string> => {
      const vectors = Array.from({ length: 10_000 }, (_, at) => ({ id: `v${from + at}`, values: valuesOf(from + at) }));
      return String((await ask("POST", `${path}/imports`, { vectors })).data["importId"]);
    };
    const stateOf = async (kind: string, id: string): Promise<unknown> =>
      (await ask("GET", `${path}/${kind}/${id}`)).data["state"];
    const first = await importOf(0);
    expect(await until(async () => (await stateOf("imports", first)) === "done")).toBe(true);
    const second = await importOf(10_000);
    const index = { indexId: "bits", indexType: "IVF", indexParameters: { quantizer: "rabitq" } };
    expect((await ask("POST", `${path}/indexes`, index)).data).toMatchObject({ indexId: "bits" });
    await restart();
    expect(await until(async () => (await stateOf("imports", second)) === "done")).toBe(true);
    expect(await until(async () => (await stateOf("indexes", "bits")) === "ready")).toBe(true);
    expect((await ask("GET", `${path}/vectors/count`)).data["count"]).toBe(20_000);
    expect((await ask("GET", `${path}/vectors/v19999`)).data).toMatchObject({ version: 1, values: valuesOf(19_999) });
    const { data } = await ask("POST", `${path}/search`, { queryVector: valuesOf(12_345), topK: 1, index: "bits" });
    expect(data["results"]).toEqual([{ id: "v12345", score: 0 }]);
  },
  PATIENCE_MS,
);
