// Vectors and searches over HTTP inside workerd. Stories 1, 2 and 3 of the specification, and what its example records hold.
import { describe, expect, it } from "vitest";
import { shardOf } from "../../src/cluster/shard-of.ts";
import records from "../fixtures/vector-records.json";
import { ask, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

let databases = 0;

async function newDb(more: object = {}): Promise<Db> {
  const { key } = await newTenant();
  return Db.create(key, { databaseId: `db${databases++}`, vectorDimension: 3, ...more });
}

const SHARDED = { sharding: { numShards: 4 } };
const ids = (hits: readonly { readonly id: string }[]): readonly string[] => hits.map(({ id }) => id);

describe("vectors", () => {
  it("story 1.1: a vector stored in an empty database is read by its id", async () => {
    const db = await newDb();
    const stored = await db.put("vec_1", [0.12, 0.98, -0.34], { source: "document" });
    expect(stored.status).toBe(201);
    const read = await db.ask("GET", "/vectors/vec_1");
    expect(read.json.data).toMatchObject({
      ...{ id: "vec_1", values: [0.12, 0.98, -0.34], metadata: { source: "document" } },
      ...{ version: 1, shard: "shard_00", deleted: false },
    });
  });

  it("story 1.2: of many vectors the one that is asked for is given, with its metadata", async () => {
    const db = await newDb(SHARDED);
    for (let n = 0; n < 20; n++) await db.put(`v/${n} é`, [n, 1, 0], { n });
    for (const n of [0, 7, 19]) {
      const { data } = (await db.ask("GET", `/vectors/${encodeURIComponent(`v/${n} é`)}`)).json;
      expect(data).toMatchObject({ id: `v/${n} é`, values: [n, 1, 0], metadata: { n } });
    }
    expect((await db.ask("GET", "/vectors/v")).json.code).toBe("notFound");
  });

  it("story 1.3, edge case 1: a vector of the wrong dimension or form is refused with a message and not stored", async () => {
    const db = await newDb();
    const wrong = await db.ask("POST", "/vectors", { id: "a", values: [1, 2] });
    expect(wrong.status).toBe(400);
    expect(wrong.json.message).toBe("values has 2 numbers; the database has vectorDimension 3");
    for (const values of [[0, 0, 0], [1, 2, "3"], [1, 2, null], "abc", [1, 2, 1e39]])
      expect((await db.ask("POST", "/vectors", { id: "a", values })).status).toBe(400);
    expect((await db.ask("GET", "/vectors/a")).status).toBe(404);
    expect(await db.count()).toBe(0);
  });

  it("[VE-140] numbers come back as the same float32, metadata byte for byte", async () => {
    const db = await newDb({ metric: "dot" });
    const sent = [0.1, -1.5e-8, 16_777_217, 3.4028233e17, 1e-45, -0];
    const metadata = '{ "b": 1.0, "a": 12345678901234567890, "a": 2, "é": "\\u0041" }';
    for (const part of [sent.slice(0, 3), sent.slice(3)]) {
      const numbers = part.map((value) => (Object.is(value, -0) ? "-0" : String(value)));
      const raw = `{"id":"x","values":[${numbers}],"metadata": ${metadata} }`;
      expect((await db.send("/vectors", raw, "application/json")).status).toBeLessThan(300);
      const read = await db.ask("GET", "/vectors/x");
      expect(read.text).toContain(`"metadata":${metadata}`);
      const { values } = read.json.data as unknown as { values: number[] };
      expect(values.map(Math.fround)).toEqual(part.map(Math.fround));
    }
    expect((await db.ask("GET", "/vectors/x")).text).toContain('"values":[340282320000000000,1.401298e-45,-0]');
    expect(await db.search({ id: "x" })).toEqual([]);
  });

  it("a vector is changed in part, counted as a version, and deleted once", async () => {
    const db = await newDb(SHARDED);
    await db.put("a", [1, 2, 3], { n: 1 });
    expect((await db.ask("PUT", "/vectors/a", { values: [3, 2, 1] })).json.data).toMatchObject({ version: 2 });
    expect((await db.ask("PUT", "/vectors/a", { metadata: { n: 2 } })).json.data).toMatchObject({ version: 3 });
    const read = (await db.ask("GET", "/vectors/a")).json.data;
    expect(read).toMatchObject({ values: [3, 2, 1], metadata: { n: 2 }, version: 3 });
    expect((await db.ask("PUT", "/vectors/b", { values: [3, 2, 1] })).json.code).toBe("notFound");
    expect((await db.put("a", [0, 0, 1])).status).toBe(200);
    expect((await db.ask("GET", "/vectors/a")).json.data).toMatchObject({ metadata: {}, version: 4 });
    expect((await db.ask("DELETE", "/vectors/a")).status).toBe(200);
    expect((await db.ask("DELETE", "/vectors/a")).json.code).toBe("notFound");
    expect((await db.ask("GET", "/vectors/a")).json.code).toBe("notFound");
  });

  it("[VE-143] a repeated write is one; an id that is made is the same again; another body is refused", async () => {
    const db = await newDb(SHARDED);
    const post = (body: object) => db.ask("POST", "/vectors", body, { "idempotency-key": "once" });
    const first = await post({ values: [1, 2, 3] });
    expect((await post({ values: [1, 2, 3] })).json.data).toEqual(first.json.data);
    expect(await db.count()).toBe(1);
    expect((await post({ values: [1, 2, 4] })).json.code).toBe("idempotencyKeyReused");
    const vectors = Array.from({ length: 40 }, (_, n) => ({ values: [n, 1, 1], ...(n % 2 === 0 && { id: `v${n}` }) }));
    const batch = () => db.ask("POST", "/vectors/batch", { vectors }, { "idempotency-key": "many" });
    const one = await batch();
    expect(one.json.data).toMatchObject({ stored: 40, failed: 0 });
    expect((await batch()).json.data).toEqual(one.json.data);
    expect(await db.count()).toBe(41);
    const other = { vectors: vectors.slice(1) };
    expect((await db.ask("POST", "/vectors/batch", other, { "idempotency-key": "many" })).json.code).toBe(
      "idempotencyKeyReused",
    );
    const gone = () =>
      db.ask("POST", "/vectors/delete", { filters: { n: { $exists: false } } }, { "idempotency-key": "del" });
    expect((await gone()).json.data).toMatchObject({ deleted: 41, more: false });
    expect((await gone()).json.data).toMatchObject({ deleted: 41, more: false });
  });

  it("[VE-145] pages give every vector of all shards once, also those that filters let through; counts and deletions agree", async () => {
    const db = await newDb(SHARDED);
    const vectors = Array.from({ length: 50 }, (_, n) => ({
      id: `v${n}`,
      values: [n, 1, 1],
      metadata: { n, odd: n % 2 === 1 },
    }));
    await db.ask("POST", "/vectors/batch", { vectors });
    expect(new Set(vectors.map(({ id }) => shardOf(id, 4))).size).toBe(4);
    const all = async (filters: string): Promise<readonly string[]> => {
      const found: string[] = [];
      let cursor: string | null = "";
      while (cursor !== null) {
        const more: string = cursor === "" ? "" : `&cursor=${cursor}`;
        const page = await db.ask("GET", `/vectors?limit=7&includeMetadata=true${filters}${more}`);
        const data = page.json.data as unknown as { items: { id: string; metadata: object }[]; cursor: string | null };
        expect(data.items.length).toBeLessThanOrEqual(7);
        found.push(...ids(data.items));
        cursor = data.cursor;
      }
      return found.sort();
    };
    expect(await all("")).toEqual(vectors.map(({ id }) => id).sort());
    const odd = encodeURIComponent('{"odd": true}');
    expect(await all(`&filters=${odd}`)).toEqual(
      vectors
        .filter((_, n) => n % 2 === 1)
        .map(({ id }) => id)
        .sort(),
    );
    expect(await db.count({ n: { $lt: 10 } })).toBe(10);
    expect((await db.ask("POST", "/vectors/delete", { filters: { n: { $gte: 40 } } })).json.data).toMatchObject({
      deleted: 10,
    });
    const some = await db.ask("POST", "/vectors/delete", { ids: ["v1", "v45", "v2", "v1"] });
    expect(some.json.data).toEqual({ deleted: 2, missing: ["v45"], more: false });
    expect(await db.count()).toBe(38);
    const status = (await db.ask("GET", "/status")).json.data as unknown as {
      rows: number;
      memoryBytes: number;
      shards: { rows: number }[];
    };
    expect(status.rows).toBe(38);
    expect(status.shards.reduce((sum, { rows }) => sum + rows, 0)).toBe(38);
    expect(status.memoryBytes).toBeGreaterThan(0);
  });

  it("[VE-142] a batch stores the good ones and tells the bad ones by their places, over shards and in every form", async () => {
    const db = await newDb(SHARDED);
    const vectors = [
      { id: "a", values: [1, 0, 0], metadata: { n: 1 } },
      { id: "b", values: [1, 0] },
      { id: "c", values: [0, 0, 0] },
      { id: "d", values: [0, 1, 0] },
      { id: "", values: [0, 1, 0] },
      { id: "e", values: [0, "1", 0] },
      { id: "f", values: [0, 0, 1], metadata: [] },
      { id: "g", values: [0, 0, 1], colour: 1 },
      { id: "h", values: [0, 0, 1] },
    ];
    const lines = vectors.map((vector) => JSON.stringify(vector)).join("\n\n");
    for (const answer of [
      await db.ask("POST", "/vectors/batch", { vectors }),
      await db.send("/vectors/batch", `${lines}\n`, "application/x-ndjson"),
    ]) {
      expect(answer.status, answer.text).toBe(200);
      const { stored, failed, results } = answer.json.data as unknown as {
        stored: number;
        failed: number;
        results: {
          id: string;
          version?: number;
          error?: { code: string; message: string; details: { issues: { path: string }[] } };
        }[];
      };
      expect([stored, failed]).toEqual([3, 6]);
      expect(results.map(({ error }) => error?.details.issues.at(0)?.path)).toEqual([
        ...[undefined, "vectors[1].values", "vectors[2].values", undefined, "vectors[4].id", "vectors[5].values[1]"],
        ...["vectors[6].metadata", "vectors[7].colour", undefined],
      ]);
      expect(results[1]!.error!.message).toBe("vectors[1].values has 2 numbers; the database has vectorDimension 3");
      expect(ids(results)).toEqual(["a", "b", "c", "d", "", "e", "f", "g", "h"]);
    }
    const broken = await db.send("/vectors/batch", '{"id":"x","values":[1,1,1]}\n{"id":', "application/x-ndjson");
    expect(broken.json.data).toMatchObject({
      stored: 1,
      failed: 1,
      results: [{ id: "x", version: 1 }, { error: { code: "malformedJson" } }],
    });
    expect(await db.count()).toBe(4);
  });

  it("[VE-142] the binary form means what JSON does: float32, float16, int8 with a scale", async () => {
    const db = await newDb(SHARDED);
    const rows = [
      { id: "a", metadata: '{"n": 1.0}', values: [1, -2, 0.5] },
      { id: "é", metadata: "", values: [0.25, 3, -4] },
    ];
    for (const form of [0, 1, 2]) {
      const answer = await db.send(
        "/vectors/batch?durability=periodic",
        binaryBatch(form, rows),
        "application/octet-stream",
      );
      expect(answer.json.data, answer.text).toMatchObject({ stored: 2, results: [{ id: "a" }, { id: "é" }] });
      for (const { id, values, metadata } of rows) {
        const read = await db.ask("GET", `/vectors/${encodeURIComponent(id)}`);
        expect((read.json.data as unknown as { values: number[] }).values).toEqual(values);
        expect(read.text).toContain(`"metadata":${metadata || "{}"}`);
      }
    }
    const good = binaryBatch(0, rows);
    const set = (at: number, value: number) => (bytes: Uint8Array<ArrayBuffer>) => {
      bytes[at] = value;
      return bytes;
    };
    const bad = (change: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>) => {
      return db.send("/vectors/batch", change(good.slice()), "application/octet-stream");
    };
    for (const [change, names] of [
      [(bytes) => bytes.subarray(0, 19), "byte 0"],
      [set(0, 0), "byte 0"],
      [set(4, 3), "byte 4"],
      [set(6, 1), "byte 5"],
      [(bytes) => bytes.fill(255, 8, 12), "10000"],
      [(bytes) => bytes.fill(0, 8, 12), "byte 8"],
      [(bytes) => bytes.fill(255, 12, 16), "4096"],
      [set(16, 1), "byte 16"],
      [(bytes) => bytes.subarray(0, 40), "ends within its values"],
      [(bytes) => bytes.subarray(0, -1), "ends within the metadata of vectors[1]"],
      [(bytes) => Uint8Array.of(...bytes, 0), "1 bytes follow"],
      [set(46, 255), "not UTF-8"],
    ] as [(bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>, string][]) {
      const answer = await bad(change);
      expect(answer.json.code, names).toBe("invalidRequest");
      expect(answer.json.message).toContain(names);
    }
  });

  it("[VE-144] an atomic batch is all or nothing, and of one shard", async () => {
    const db = await newDb(SHARDED);
    const own = Array.from({ length: 100 }, (_, n) => `v${n}`).filter((id) => shardOf(id, 4) === 2);
    const good = own.slice(0, 5).map((id, n) => ({ id, values: [n, 1, 1] }));
    const post = (vectors: object[]) => db.ask("POST", "/vectors/batch", { atomic: true, vectors });
    const bad = await post([...good, { id: own[6]!, values: [0, 0, 0] }]);
    expect(bad.json.message).toContain("vectors[5].values");
    expect(await db.count()).toBe(0);
    expect((await post([{ id: own[6]!, values: [1] }])).json.message).toContain("vectors[0].values has 1 numbers");
    expect((await post([...good, { id: own[6]!, values: ["x"] }])).json.message).toContain("vectors[5].values[0]");
    const elsewhere = ["w1", "w2", "w3", "w4"].map((id) => ({ id, values: [1, 1, 1] }));
    const refused = await post([...good, ...elsewhere]);
    expect(refused.json.message).toContain("atomic is possible within one shard; these vectors belong to");
    expect(await db.count()).toBe(0);
    expect((await post(good)).json.data).toMatchObject({ stored: 5 });
  });
});

describe("the specification's example records, their numbers completed", () => {
  it("database, vector and search are taken as they stand and read back", async () => {
    const { key } = await newTenant();
    const { database, vector, search } = records;
    const db = await Db.create(key, database);
    const { created_at: _, updated_at: __, ...recorded } = database;
    const replication = { ...database.replication, maxLagMs: 0 };
    const indexParameters = { ...database.indexParameters, quantizer: "int8" };
    expect((await db.ask("GET", "")).json.data).toMatchObject({ ...recorded, replication, indexParameters });
    expect((await db.ask("POST", "/vectors", vector)).status).toBe(201);
    const read = (await db.ask("GET", `/vectors/${vector.id}`)).json.data;
    expect(read).toMatchObject({ id: vector.id, values: vector.values, metadata: vector.metadata, deleted: false });
    for (const path of ["/search", "/search/advanced"])
      expect(await db.search(search, path)).toEqual([
        { id: vector.id, score: expect.closeTo(1, 5), metadata: vector.metadata },
      ]);
    const snake = Object.fromEntries(
      Object.entries({ ...database, databaseId: "db_002" }).map(([name, value]) => [
        name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
        value,
      ]),
    );
    expect((await ask("POST", "/v1/databases", { key, body: snake })).status).toBe(201);
    expect((await new Db(key, "db_002").ask("GET", "")).json.data).toMatchObject({
      ...recorded,
      databaseId: "db_002",
      replication,
    });
  });
});

describe("searches", () => {
  const AXES = { east: [1, 0, 0], north: [0, 1, 0], northEast: [1, 1, 0], up: [0, 0, 1], west: [-1, 0, 0] };

  async function axes(more: object): Promise<Db> {
    const db = await newDb({ ...SHARDED, ...more });
    for (const [id, values] of Object.entries(AXES)) await db.put(id, values, { id, length: Math.hypot(...values) });
    return db;
  }

  it("story 2.1: the K most similar by cosine are given, best first, from all shards", async () => {
    const db = await axes({});
    const hits = await db.search({ queryVector: [2, 0.1, 0], topK: 3 });
    expect(ids(hits)).toEqual(["east", "northEast", "north"]);
    expect(hits[0]).toEqual({ id: "east", score: expect.closeTo(2 / Math.hypot(2, 0.1), 5) });
  });

  it("story 2.2: with a threshold all that meet it are given, for each metric in its own sense", async () => {
    const cosine = await axes({});
    expect(ids(await cosine.search({ queryVector: [1, 0, 0], threshold: 0.7 }))).toEqual(["east", "northEast"]);
    const euclidean = await axes({ metric: "euclidean" });
    expect(ids(await euclidean.search({ queryVector: [1, 0, 0], threshold: 1 }))).toEqual(["east", "northEast"]);
    const dot = await axes({ metric: "dot" });
    const hits = await dot.search({ queryVector: [2, 1, 0], threshold: 1 });
    expect(hits.map(({ id, score }) => [id, score])).toEqual([
      ["northEast", 3],
      ["east", 2],
      ["north", 1],
    ]);
    const many = await newDb({ ...SHARDED, metric: "euclidean" });
    const vectors = Array.from({ length: 300 }, (_, n) => ({ id: `v${n}`, values: [n, 0, 0] }));
    await many.ask("POST", "/vectors/batch", { vectors });
    const all = await many.ask("POST", "/search", { queryVector: [0, 0, 0], threshold: 199.5 });
    expect(all.json.data["results"]).toHaveLength(200);
    expect(all.json.data["isComplete"]).toBe(true);
  });

  it("story 3.1, story 3.2: only what filters let through, also by trees of conditions", async () => {
    const db = await axes({});
    const search = (filters: object, path?: string) =>
      db.search({ queryVector: [1, 0.5, 0.1], filters, topK: 10 }, path);
    expect(ids(await search({ "metadata.id": "up" }))).toEqual(["up"]);
    expect(ids(await search({ length: { $gt: 1 } }))).toEqual(["northEast"]);
    const tree = { $or: [{ id: ["east", "west"] }, { $and: [{ length: 1 }, { $not: { id: { $prefix: "n" } } }] }] };
    expect(ids(await search(tree))).toEqual(["east", "up", "west"]);
    expect(ids(await search(tree, "/search/advanced"))).toEqual(["east", "up", "west"]);
    expect(ids(await search({ id: "nobody" }))).toEqual([]);
  });

  it("[VE-146] by id, in batches, with metadata and values, with what was done", async () => {
    const db = await axes({});
    expect(ids(await db.search({ id: "east", topK: 1 }))).toEqual(["northEast"]);
    const [hit] = await db.search({ queryVector: [0, 0, 2], topK: 1, includeMetadata: true, include_values: true });
    expect(hit).toEqual({ id: "up", score: 1, metadata: { id: "up", length: 1 }, values: [0, 0, 1] });
    const batch = await db.ask("POST", "/search/batch", {
      queries: [{ queryVector: [0, 0, 1] }, { id: "west" }],
      topK: 1,
      explain: true,
    });
    const { searches, scanned, explain } = batch.json.data as unknown as {
      searches: { results: { id: string }[] }[];
      scanned: number;
      explain: { shards: { shard: number; index: string }[] };
    };
    expect(ids(searches[0]!.results)).toEqual(["up"]);
    expect(searches[1]!.results).toHaveLength(1);
    expect(ids(searches[1]!.results)).not.toContain("west");
    expect(scanned).toBe(10);
    expect(explain.shards.map(({ shard, index }) => [shard, index])).toEqual(
      [0, 1, 2, 3].map((shard) => [shard, "default"]),
    );
    expect((await db.ask("POST", "/search", { id: "nobody" })).json.code).toBe("notFound");
  });

  it("[VE-332] a query as float32 bytes finds what the same numbers find, with the same options", async () => {
    const db = await axes({});
    const numbers = [0.9, 0.25, -0.1];
    const options = { topK: 2, include_metadata: true, filters: { length: { $lt: 1.2 } } };
    const path = `/search?options=${encodeURIComponent(JSON.stringify(options))}`;
    const bytes = await db.send(path, Float32Array.from(numbers), "application/octet-stream");
    const json = await db.ask("POST", "/search", { queryVector: numbers, ...options });
    expect(bytes.json.data["results"]).toEqual(json.json.data["results"]);
    expect(ids(bytes.json.data["results"] as { id: string }[])).toEqual(["east", "north"]);
    const all = await db.send("/search", Float32Array.from(numbers), "application/octet-stream");
    expect(all.json.data["results"]).toHaveLength(5);
  });

  it("[VE-147] searches are paid for by the rows they look at, and an answer that is not paid for is not given", async () => {
    const { key, tenantId } = await newTenant();
    const db = await Db.create(key, { databaseId: "db", vectorDimension: 2 });
    for (const part of [0, 1]) {
      const vectors = Array.from({ length: 10_000 }, (_, n) => ({ id: `${part}-${n}`, values: [n, 1] }));
      expect((await db.ask("POST", "/vectors/batch", { vectors })).json.data).toMatchObject({ stored: 10_000 });
    }
    const limit = { rateLimit: { requestsPerSecond: 1, burst: 7 } };
    expect((await ask("PATCH", `/v1/tenants/${tenantId}`, { key: ROOT_KEY, body: limit })).status).toBe(200);
    const codes: unknown[] = [];
    for (let n = 0; n < 4; n++) {
      // Another query each time: what is remembered costs nothing.
      const query = { queryVector: [1, n + 1], filters: { none: { $exists: false } } };
      const answer = await db.ask("POST", "/search", query);
      codes.push(answer.json.code ?? answer.json.data["scanned"]);
    }
    expect(codes[0]).toBeGreaterThanOrEqual(20_000);
    expect(codes).toContain("rateLimited");
    const vectors = Array.from({ length: 8 }, (_, n) => ({ id: `n${n}`, values: [n, 1] }));
    expect((await db.ask("POST", "/vectors/batch", { vectors })).status).toBeGreaterThanOrEqual(400);
  });
});

/** As docs/vectors.md describes it. */
function binaryBatch(
  form: number,
  rows: readonly { id: string; metadata: string; values: readonly number[] }[],
): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const scale = 0.25;
  const dimension = rows[0]!.values.length;
  const bytes: number[] = [];
  const add = (size: number, write: (view: DataView) => void): void => {
    const view = new DataView(new ArrayBuffer(size));
    write(view);
    bytes.push(...new Uint8Array(view.buffer));
  };
  bytes.push(...encoder.encode("JVB1"), form, 0, 0, 0);
  add(4, (view) => view.setUint32(0, rows.length, true));
  add(4, (view) => view.setUint32(0, dimension, true));
  add(4, (view) => view.setFloat32(0, form === 2 ? scale : 0, true));
  for (const { values } of rows)
    for (const value of values) {
      if (form === 0) add(4, (view) => view.setFloat32(0, value, true));
      else if (form === 1) add(2, (view) => view.setUint16(0, halfBits(value), true));
      else add(1, (view) => view.setInt8(0, value / scale));
    }
  for (const { id, metadata } of rows) {
    const [idBytes, metadataBytes] = [encoder.encode(id), encoder.encode(metadata)];
    add(2, (view) => view.setUint16(0, idBytes.length, true));
    bytes.push(...idBytes);
    add(4, (view) => view.setUint32(0, metadataBytes.length, true));
    bytes.push(...metadataBytes);
  }
  return Uint8Array.from(bytes);
}

/** Of a number that a half holds exactly. */
function halfBits(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | Math.round((Math.abs(value) / 2 ** exponent - 1) * 1024);
}
