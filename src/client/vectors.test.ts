// client.databases and client.vectors against a fetch that answers from a list: paths, bodies, chunks, write ids, exact texts.
import { describe, expect, it } from "vitest";
import { readVectorToken, VECTOR_TOKEN_HEADER, writeVectorToken } from "../wire/vector-token.ts";
import { JadeClient } from "./client.ts";
import { FakeRuntime, failure, fakeFetch, success } from "./fake-server.ts";
import { writeIdFrom } from "./write-id.ts";

function setUp(answers: Parameters<typeof fakeFetch>[0]) {
  const runtime = new FakeRuntime();
  const { fetch, calls } = fakeFetch(answers);
  return { client: new JadeClient({ url: "http://db:1", apiKey: "k1", fetch, runtime }), calls, runtime };
}

const batchAnswer = (ids: readonly string[]) =>
  success({ stored: ids.length, failed: 0, results: ids.map((id) => ({ id, version: 1, revision: 1 })) });

describe("client.databases", () => {
  it("[VE-178] asks for the namespace it is of, and lists page after page", async () => {
    const { client, calls } = setUp([
      [200, success({ items: [{ databaseId: "a" }], cursor: "c1" })],
      [200, success({ items: [{ databaseId: "b" }], cursor: null })],
      [200, success({ databaseId: "x" })],
    ]);
    const ids = [];
    for await (const { databaseId } of client.databases.namespace("n").list({ limit: 1 })) ids.push(databaseId);
    await client.databases.get("x/y");
    expect(ids).toEqual(["a", "b"]);
    expect(calls.map(({ url }) => url)).toEqual([
      "http://db:1/v1/databases?namespace=n&limit=1",
      "http://db:1/v1/databases?namespace=n&limit=1&cursor=c1",
      "http://db:1/v1/databases/x%2Fy",
    ]);
  });
});

describe("what a client has seen", () => {
  const place = (shard: number, revision: number, generation = 1) =>
    writeVectorToken({ generation, places: new Map([[shard, { term: 1, revision }]]) });
  const answer = (token: string) => [200, success({ count: 1 }), { [VECTOR_TOKEN_HEADER]: token }] as const;

  it("[VE-195] goes along with causal reads by itself, only grows, and is handed to another client as a token", async () => {
    const { client, calls } = setUp([
      ...[answer(place(0, 5)), answer(place(1, 3)), answer(place(0, 4))],
      ...[answer(place(1, 3)), answer(place(0, 1, 2))],
    ]);
    const vectors = client.vectors("d", { consistency: "causal" });
    await vectors.count();
    await client.vectors("d").delete("x");
    await vectors.count();
    await vectors.search({ vector: [1] }, { consistency: "strong" }).catch(() => undefined);
    const both = { generation: 1, places: new Map([0, 1].map((at) => [at, { term: 1, revision: at ? 3 : 5 }])) };
    expect(readVectorToken(vectors.token!)).toEqual(both);
    expect(calls.map(({ headers }) => headers[VECTOR_TOKEN_HEADER])).toEqual([
      undefined,
      undefined,
      writeVectorToken(both),
      undefined,
    ]);
    expect(calls[0]!.url).toBe("http://db:1/v1/databases/d/vectors/count?consistency=causal");
    expect(client.vectors("other").token).toBeUndefined();
    const second = setUp([answer(place(0, 5))]);
    await second.client.vectors("d").after(vectors.token!).count({ consistency: "causal" });
    expect(second.calls[0]!.headers[VECTOR_TOKEN_HEADER]).toBe(vectors.token);
    expect(() => second.client.vectors("d").after("what")).toThrow(TypeError);
    // A database that was made again has another history.
    await vectors.count();
    expect(readVectorToken(vectors.token!)).toMatchObject({ generation: 2 });
  });
});

describe("client.vectors", () => {
  it("[VE-178] sends and gives metadata as its exact text, values as float32", async () => {
    const row = '{"id":"a","values":[0.1,-0],"metadata": {"n":1.0} ,"version":1}';
    const { client, calls } = setUp([
      [200, success({ id: "a" })],
      [200, success({ id: "a" })],
      [200, `{"status":"success","data":${row},"timestamp":""}`],
      [200, `{"status":"success","data":{"items":[${row}],"cursor":null},"timestamp":""}`],
    ]);
    const vectors = client.vectors("d", { namespace: "n" });
    await vectors.upsert(
      { id: "a", values: Float32Array.of(1, 2), metadataJson: '{"n":1.0}' },
      { durability: "periodic" },
    );
    await vectors.update("a", { metadata: { x: 1 } });
    expect(calls.map(({ method, url, body }) => [method, url, body])).toEqual([
      [
        "POST",
        "http://db:1/v1/databases/d/vectors?namespace=n",
        '{"id":"a","values":[1,2],"durability":"periodic","metadata":{"n":1.0}}',
      ],
      ["PUT", "http://db:1/v1/databases/d/vector?namespace=n&id=a", '{"metadata":{"x":1}}'],
    ]);
    const expected = {
      id: "a",
      version: 1,
      values: Float32Array.of(0.1, -0),
      metadata: { n: 1 },
      metadataJson: '{"n":1.0}',
    };
    expect(await vectors.get("a")).toEqual(expected);
    expect((await vectors.page({ includeMetadata: true })).items).toEqual([expected]);
    expect(() => vectors.upsert({ values: [Number.NaN] })).toThrow("values[0] must be a finite number, got NaN");
    expect(() => vectors.upsert({ values: [1], metadata: {}, metadataJson: "{}" })).toThrow(
      "give a vector's metadata or its metadataJson",
    );
  });

  it("[VE-177] cuts many vectors into chunks of one dimension, each under a write id of its own that retries keep", async () => {
    const { client, calls, runtime } = setUp([
      [200, batchAnswer(["a", "b"])],
      [503, failure("overloaded")],
      [200, batchAnswer(["c"])],
      [
        200,
        success({
          stored: 0,
          failed: 1,
          results: [{ id: "d", error: { code: "invalidRequest", message: "no", details: {} } }],
        }),
      ],
    ]);
    const row = (id: string, ...values: number[]) => ({ id, values, metadata: { id } });
    const writeId = "0".repeat(32);
    const work = client
      .vectors("d")
      .upsertMany([row("a", 1, 2), row("b", 3, 4), row("c", 5, 6), row("d", 7)], { chunkVectors: 2, writeId });
    let isDone = false;
    void work.finally(() => {
      isDone = true;
    });
    // Hashes come from other threads, in their own time.
    while (!isDone) await runtime.advance(1000);
    const { stored, failed, results } = await work;
    expect([stored, failed]).toEqual([3, 1]);
    expect(results.map(({ ok, id }) => [ok, id])).toEqual([
      [true, "a"],
      [true, "b"],
      [true, "c"],
      [false, "d"],
    ]);
    const ids = await Promise.all([0, 1, 1, 2].map((chunk) => writeIdFrom(`${writeId}:${chunk}`)));
    expect(calls.map(({ headers }) => headers["idempotency-key"])).toEqual(ids);
    expect(calls[0]!.headers["content-type"]).toBe("application/octet-stream");
    const bytes = calls[0]!.body as unknown as Uint8Array;
    const text = Buffer.from(bytes).toString("latin1");
    expect([text.slice(0, 4), bytes[8], bytes[12], text.slice(36)]).toEqual([
      "JVB1",
      2,
      2,
      '\x01\x00a\x0a\x00\x00\x00{"id":"a"}\x01\x00b\x0a\x00\x00\x00{"id":"b"}',
    ]);
    expect([...new Float32Array(bytes.slice(20, 36).buffer)]).toEqual([1, 2, 3, 4]);
  });

  it("never lets an id lead to another path: vectors.delete('..') is not the database's deletion", async () => {
    const { client, calls } = setUp([[200, success({ id: ".." })]]);
    for (const id of ["", ".", ".."])
      await expect((async () => client.vectors(id).count())()).rejects.toThrow("cannot be part of a path");
    await client.vectors("d").delete("..");
    expect(calls.map(({ url }) => url)).toEqual(["http://db:1/v1/databases/d/vector?id=.."]);
  });

  it("searches by vector and by id, many at once, with results as float32", async () => {
    const found = { results: [{ id: "b", score: 0.5, values: [0.1] }], isComplete: true };
    const { client, calls } = setUp([
      [200, success({ ...found, scanned: 3 })],
      [200, success({ searches: [found, found], scanned: 6 })],
    ]);
    const vectors = client.vectors("d");
    const hit = { id: "b", score: 0.5, values: Float32Array.of(0.1) };
    expect(await vectors.search({ id: "a" }, { topK: 3, filters: { x: 1 } })).toEqual({
      results: [hit],
      isComplete: true,
      scanned: 3,
    });
    expect((await vectors.searchMany([{ vector: [1] }, { id: "a" }])).searches).toEqual([
      { results: [hit], isComplete: true },
      { results: [hit], isComplete: true },
    ]);
    expect(calls.map(({ body }) => body)).toEqual([
      '{"id":"a","topK":3,"filters":{"x":1}}',
      '{"queries":[{"queryVector":[1]},{"id":"a"}]}',
    ]);
  });
});
