// Bad input over /v1/databases: a 4xx that names field, value and limit, and nothing created or stored.
import { beforeAll, describe, expect, it } from "vitest";
import { type Ask, ask, newKey, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

interface Case extends Ask {
  readonly method: string;
  readonly path: string;
  readonly code?: string;
  /** What the answer must name. */
  readonly names?: string;
}

let keys: Record<string, string> = {};
let db: Db;

beforeAll(async () => {
  const { tenantId, key } = await newTenant();
  keys = { writer: key, reader: await newKey(tenantId, { scope: "read-only" }), root: ROOT_KEY };
  db = await Db.create(key, { databaseId: "db", vectorDimension: 3, sharding: { numShards: 2 } });
  await db.put("a", [1, 2, 3], { n: 1 });
}, 60_000);

const create = (body: object, names: string): Case => ({
  method: "POST",
  path: "",
  body: { databaseId: "new", vectorDimension: 3, ...body },
  names,
});
const to = (method: string, path: string, body: object | undefined, names: string): Case => ({
  method,
  path: `/db${path}`,
  ...(body && { body }),
  names,
});
const store = (body: object, names: string): Case =>
  to("POST", "/vectors", { id: "b", values: [1, 1, 1], ...body }, names);
const search = (body: object, names: string): Case => to("POST", "/search", { queryVector: [1, 1, 1], ...body }, names);
const get = (path: string, names: string): Case => to("GET", path, undefined, names);
const batch = (body: object, names: string): Case => to("POST", "/vectors/batch", body, names);
const remove = (body: object, names: string): Case => to("POST", "/vectors/delete", body, names);

function nested(depth: number): object {
  let metadata: object = {};
  for (let i = 0; i < depth; i++) metadata = { a: metadata };
  return metadata;
}

const DATABASES: readonly Case[] = [
  create({ databaseId: "" }, "databaseId"),
  create({ databaseId: "a/b" }, "databaseId"),
  create({ databaseId: "x".repeat(64) }, "63"),
  create({ databaseId: 7 }, "databaseId"),
  create({ vectorDimension: undefined }, "vectorDimension"),
  create({ vectorDimension: 0 }, "vectorDimension"),
  create({ vectorDimension: 4097 }, "4096"),
  create({ vectorDimension: 1.5 }, "vectorDimension"),
  create({ vectorDimension: "3" }, "vectorDimension"),
  create({ metric: "manhattan" }, "metric"),
  create({ indexType: "TREE" }, "indexType"),
  create({ indexParameters: { M: 1 } }, "indexParameters.M"),
  create({ indexParameters: { M: 65 } }, "64"),
  create({ indexParameters: { efConstruction: 1001 } }, "1000"),
  create({ indexParameters: { ef_search: 0 } }, "indexParameters.efSearch"),
  create({ indexParameters: { efSearch: 5000 } }, "4096"),
  create({ indexParameters: { quantizer: "pq3" } }, "indexParameters.quantizer"),
  create({ indexType: "IVF", indexParameters: { lists: 65_537 } }, "65536"),
  create({ indexType: "LSH", indexParameters: { tables: 65 } }, "64"),
  create({ indexType: "LSH", indexParameters: { bits: 33 } }, "32"),
  create({ indexParameters: { colour: 1 } }, "indexParameters.colour"),
  create({ sharding: { strategy: "random" } }, "sharding.strategy"),
  create({ sharding: { numShards: 0 } }, "sharding.numShards"),
  create({ sharding: { num_shards: 65 } }, "64"),
  create({ sharding: { shards: 65 } }, "sharding.shards"),
  create({ replication: { factor: 0 } }, "replication.factor"),
  create({ replication: { factor: 8 } }, "7"),
  create({ replication: { sync: 1 } }, "replication.sync"),
  create({ replication: { maxLagMs: -1 } }, "replication.maxLagMs"),
  create({ embeddingModels: [{ version: "1" }] }, "embeddingModels[0].name"),
  create({ embeddingModels: [{ name: "a", inputType: "smell" }] }, "embeddingModels[0].inputType"),
  create({ embeddingModels: Array.from({ length: 33 }, () => ({ name: "a" })) }, "32"),
  create({ metadataSchema: { a: "number" } }, "metadataSchema.a"),
  create({ metadataSchema: { a: "enum:" } }, "metadataSchema.a"),
  create({ metadataSchema: { a: 1 } }, "metadataSchema.a"),
  create({ metadataSchema: Object.fromEntries(Array.from({ length: 257 }, (_, n) => [`f${n}`, "int"])) }, "256"),
  create({ durability: "never" }, "durability"),
  create({ retentionPolicy: { maxAgeDays: -1 } }, "retentionPolicy.maxAgeDays"),
  create({ retentionPolicy: { maxVectors: 0 } }, "retentionPolicy.maxVectors"),
  create({ accessControl: { roles: "admin" } }, "accessControl.roles"),
  create({ accessControl: { roles: ["analyst"] } }, "accessControl.roles[0]"),
  create({ accessControl: { roles: [] } }, "accessControl.roles"),
  create({ accessControl: { defaultPermissions: ["fly"] } }, "accessControl.defaultPermissions[0]"),
  create({ name: "" }, "name"),
  create({ name: "x".repeat(201) }, "200"),
  create({ description: "x".repeat(2001) }, "2000"),
  create({ colour: 1 }, "colour"),
  { ...create({}, "namespace"), path: "?namespace=UPPER" },
  { ...create({}, "limit"), path: "?limit=1" },
  { method: "POST", path: "", raw: '{"databaseId":', code: "malformedJson" },
  { method: "POST", path: "", raw: "x", headers: { "content-type": "text/plain" }, code: "unsupportedMediaType" },
  { ...create({}, "admin"), key: "reader", code: "forbidden" },
  { ...create({}, "root"), key: "root", code: "forbidden" },
  { method: "GET", path: "?limit=0", names: "limit" },
  { method: "GET", path: "?cursor=*", names: "cursor" },
  { method: "GET", path: "/no%20id", names: "db" },
];

const VECTORS: readonly Case[] = [
  store({ id: "" }, "id"),
  store({ id: 5 }, "id"),
  store({ id: "x".repeat(513) }, "512"),
  store({ id: "\ud800" }, "id must be valid Unicode"),
  store({ values: undefined }, "values"),
  store({ values: [] }, "values"),
  store({ values: [1, 2] }, "vectorDimension 3"),
  store({ values: Array.from({ length: 4097 }, () => 1) }, "4096"),
  store({ values: [1, "2", 3] }, "values[1]"),
  store({ values: [1, 1e39, 3] }, "values[1] must be a finite float32"),
  { ...to("POST", "/vectors", undefined, "values[0]"), raw: '{"values":[1e999,1,1]}' },
  { ...store({}, "gzip"), headers: { "content-encoding": "gzip" }, code: "unsupportedMediaType" },
  { ...to("POST", "/vectors", undefined, ""), raw: '{"values":[NaN,1,1]}', code: "malformedJson" },
  store({ values: [0, 0, 0] }, "values are all zero"),
  store({ metadata: 1 }, "metadata"),
  store({ metadata: null }, "metadata"),
  store({ metadata: nested(17) }, "16"),
  { ...store({ metadata: { a: "x".repeat(65_536) } }, "65536"), code: "payloadTooLarge" },
  { ...store({ metadata: { a: "x".repeat(8_500_000) } }, "8388608"), code: "payloadTooLarge" },
  store({ durability: "maybe" }, "durability"),
  store({ deleted: true }, "deleted"),
  store({ colour: 1 }, "colour"),
  { ...store({}, "read-write"), key: "reader", code: "forbidden" },
  { ...store({}, ""), path: "/nothing/vectors", code: "notFound" },
  { ...store({}, ""), path: "/db/vectors?namespace=other", code: "notFound" },
  { ...store({}, "Idempotency-Key"), headers: { "idempotency-key": "x".repeat(256) } },
  to("PUT", "/vectors/a", {}, "values"),
  to("PUT", "/vectors/a", { id: "b", values: [1, 1, 1] }, "id"),
  to("PUT", "/vectors/a", { values: [1, 1] }, "vectorDimension 3"),
  to("PUT", "/vectors/a", { metadata: [] }, "metadata"),
  to("DELETE", "/vectors/a?durability=no", undefined, "durability"),
  batch({ vectors: [] }, "vectors"),
  batch({ vectors: 1 }, "vectors"),
  batch({}, "vectors"),
  batch({ vectors: Array.from({ length: 10_001 }, () => 0) }, "10000"),
  batch({ vectors: [{ values: [1, 1, 1] }], atomic: 1 }, "atomic"),
  {
    ...batch({ vectors: [{ values: [1, 1, 1] }], atomic: true }, "atomic is given"),
    path: "/db/vectors/batch?atomic=true",
  },
  { ...batch({}, "vectors are none"), raw: " \n", headers: { "content-type": "application/x-ndjson" } },
  { ...batch({}, ""), raw: "x", headers: { "content-type": "text/csv" }, code: "unsupportedMediaType" },
  remove({}, "filters"),
  remove({ ids: ["a"], filters: { n: 1 } }, "filters"),
  remove({ filters: {} }, "filters"),
  remove({ ids: [] }, "ids"),
  remove({ ids: [""] }, "ids[0]"),
  remove({ ids: ["x".repeat(513)] }, "512"),
  remove({ filters: { n: { $near: 1 } } }, "filters.n.$near"),
  remove({ filters: { n: 1 }, durability: "sync" }, "durability"),
  get("/vectors?limit=0", "limit"),
  get("/vectors?limit=1001", "1000"),
  get("/vectors?cursor=%25", "cursor"),
  get("/vectors?cursor=_w", "cursor"),
  get("/vectors?cursor=AAEC", "cursor"),
  get("/vectors?filters=%7B", "filters"),
  get("/vectors?filters=1", "filters"),
  get("/vectors/count?filters=%5B%5D", "filters"),
  get("/vectors?includeValues=yes", "includeValues"),
];

const SEARCHES: readonly Case[] = [
  search({ queryVector: undefined }, "queryVector"),
  search({ id: "a" }, "queryVector"),
  search({ queryVector: [1, 1] }, "queryVector has 2 numbers"),
  search({ queryVector: [0, 0, 0] }, "queryVector are all zero"),
  search({ queryVector: "text" }, "queryVector"),
  search({ queryText: "text" }, "queryText"),
  { ...search({ queryVector: undefined, id: "nobody" }, "nobody"), code: "notFound" },
  search({ topK: 0 }, "topK"),
  search({ top_k: 10_001 }, "10000"),
  search({ threshold: "0.5" }, "threshold"),
  search({ filters: [] }, "filters"),
  search({ filters: { $nand: [] } }, "filters.$nand"),
  search({ filters: { a: { $gt: 1, $lt: "b" } } }, "filters.a"),
  search({ filters: { a: { $in: Array.from({ length: 1025 }, (_, n) => n) } } }, "1024"),
  search({ index: "other" }, "default"),
  search({ ef: 0 }, "ef"),
  search({ ef: 4097 }, "4096"),
  search({ probes: 0 }, "probes"),
  search({ rerank: 0 }, "rerank"),
  search({ includeMetadata: "true" }, "includeMetadata"),
  search({ includeValues: 1 }, "includeValues"),
  search({ explain: 1 }, "explain"),
  search({ consistency: "sometimes" }, "consistency"),
  search({ databaseId: "other" }, "databaseId"),
  search({ colour: 1 }, "colour"),
  to("POST", "/search/batch", { queries: [] }, "queries"),
  to("POST", "/search/batch", { queries: Array.from({ length: 101 }, () => ({ id: "a" })) }, "100"),
  to("POST", "/search/batch", { queries: [{ id: "a" }, {}] }, "queries[1].queryVector"),
  to(
    "POST",
    "/search/batch",
    { queries: [{ queryVector: [1, 1, 1] }, { queryVector: [1] }] },
    "queries[1].queryVector has 1",
  ),
  to("POST", "/search/batch", { queries: [{ queryVector: [1] }] }, "queryVector has 1 numbers"),
  to("POST", "/search/advanced", { queryVector: [1, 1, 1], filters: { $or: [] } }, "filters.$or"),
];

const bytes = (count: number, options: string | undefined, names: string): Case => ({
  ...to("POST", `/search${options === undefined ? "" : `?options=${encodeURIComponent(options)}`}`, undefined, names),
  raw: new Uint8Array(count),
  headers: { "content-type": "application/octet-stream" },
});

/** [VE-332] */
const QUERIES_AS_BYTES: readonly Case[] = [
  bytes(13, undefined, "body has 13 bytes"),
  bytes(0, undefined, "queryVector has 0 numbers"),
  bytes(8, undefined, "queryVector has 2 numbers"),
  bytes(12, undefined, "queryVector are all zero"),
  bytes(12, "{", "options is not the JSON text of an object"),
  bytes(12, "[]", "options"),
  bytes(12, '{"topK":10001}', "10000"),
  bytes(12, '{"colour":1}', "colour"),
  bytes(12, '{"queryVector":[1,1,1]}', "queryVector"),
  { ...bytes(12, undefined, "namespace"), path: "/db/search?namespace=UPPER" },
  { ...search({}, "options goes with a body of application/octet-stream"), path: "/db/search?options=%7B%7D" },
];

describe("[VE-141] bad input is refused with its field and limit, and changes nothing", () => {
  // Bodies are no part of a title: one of them is no valid Unicode.
  it.each([...DATABASES, ...VECTORS, ...SEARCHES, ...QUERIES_AS_BYTES].map((item, number) => ({ ...item, number })))(
    "$number: $method $path → $code $names",
    async (item) => {
      const { method, path, code = "invalidRequest", names = "", key = "writer", number: _, ...rest } = item;
      const answer = await ask(method, `/v1/databases${path}`, { key: keys[key], ...rest });
      expect({ code: answer.json.code, status: answer.status }, answer.text).toEqual({
        code,
        status: expect.any(Number),
      });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expect(`${answer.json.message}${JSON.stringify(answer.json.details)}`).toContain(names);
      const databases = await ask("GET", "/v1/databases", { key: keys["writer"] });
      expect(databases.json.data["items"]).toHaveLength(1);
      expect(await db.count()).toBe(1);
      expect((await db.ask("GET", "/vectors/a")).json.data).toMatchObject({ values: [1, 2, 3], version: 1 });
    },
  );

  it("[VE-137] story 4.2: what cannot be had yet, or means nothing, is refused, and no database comes of it", async () => {
    for (const [body, names] of [
      [{ sharding: { strategy: "range" } }, "sharding.key is needed"],
      [{ sharding: { strategy: "range", key: "n", splitPoints: [2, 1] } }, "sharding.splitPoints must be all numbers"],
      [{ sharding: { strategy: "range", key: "n", splitPoints: [1], numShards: 4 } }, "4 shards have 3"],
      [{ sharding: { shardProbes: 1 } }, "sharding.shardProbes means nothing to hash"],
      [{ sharding: { strategy: "centroid", numShards: 2, shardProbes: 3 } }, "at most numShards, 2"],
      [{ indexType: "FLAT", indexParameters: { M: 16 } }, "indexParameters.M means nothing to FLAT"],
      [{ indexType: "IVF", indexParameters: { tables: 4 } }, "indexParameters.tables means nothing to IVF"],
      [{ indexType: "HNSW", indexParameters: { quantizer: "pq" } }, "pq cannot be had with HNSW; there are int8, none"],
    ] as const) {
      const answer = await ask("POST", "/v1/databases", {
        key: keys["writer"],
        body: { databaseId: "new", vectorDimension: 3, ...body },
      });
      expect([answer.status, answer.json.code]).toEqual([400, "invalidRequest"]);
      expect(answer.json.message).toContain(names);
    }
    expect((await ask("GET", "/v1/databases/new", { key: keys["writer"] })).status).toBe(404);
  });

  it("[VE-143] an Idempotency-Key that some shards know with another request: what these refuse and what the others did is told", async () => {
    const many = await Db.create(keys["writer"]!, {
      databaseId: "many",
      vectorDimension: 1,
      sharding: { numShards: 4 },
    });
    const ids = Array.from({ length: 40 }, (_, n) => `m${n}`);
    const header = { "idempotency-key": "known" };
    await many.ask("POST", "/vectors", { id: "first", values: [1] }, header);
    const vectors = ids.map((id) => ({ id, values: [1] }));
    const stored = (await many.ask("POST", "/vectors/batch", { vectors }, header)).json.data;
    const results = stored["results"] as readonly { error?: { code: string } }[];
    const refused = results.flatMap(({ error }) => (error ? [error.code] : []));
    expect(new Set(refused)).toEqual(new Set(["idempotencyKeyReused"]));
    expect(stored).toMatchObject({ stored: 40 - refused.length, failed: refused.length });
    expect(await many.count()).toBe(41 - refused.length);
    const remove = (some: readonly string[]) =>
      many.ask("POST", "/vectors/delete", { ids: some }, { "idempotency-key": "other" });
    expect((await remove(["nobody"])).json.data).toMatchObject({ deleted: 0 });
    const done = (await remove(ids)).json.data as Record<string, unknown>;
    const [part] = done["refused"] as readonly { readonly ids: readonly string[]; readonly error: object }[];
    expect(part!.error).toMatchObject({ code: "idempotencyKeyReused" });
    expect((done["deleted"] as number) + (done["missing"] as object[]).length + part!.ids.length).toBe(40);
    expect(await many.count()).toBe(41 - refused.length - (done["deleted"] as number));
  });

  it("[VE-141] of ids to delete one that is too long: none is deleted, at no shard", async () => {
    const answer = await db.ask("POST", "/vectors/delete", { ids: ["a", "é".repeat(257)] });
    expect([answer.status, answer.json.code]).toEqual([400, "invalidRequest"]);
    expect(answer.json.details).toMatchObject({ issues: [{ path: "ids[1]", limit: 512 }] });
    expect(await db.count()).toBe(1);
  });
});
