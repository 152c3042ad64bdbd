// client.models against a fetch that answers from a list: steps of an upload, what is cleaned up, texts in vectors and searches.
import { describe, expect, it } from "vitest";
import { JadeClient } from "./client.ts";
import { FakeRuntime, failure, fakeFetch, success } from "./fake-server.ts";

function setUp(answers: Parameters<typeof fakeFetch>[0]) {
  const { fetch, calls } = fakeFetch(answers);
  return { client: new JadeClient({ url: "http://db:1", apiKey: "k1", fetch, runtime: new FakeRuntime() }), calls };
}

const BYTES = Uint8Array.of(1, 2, 3, 4, 5);
const SHA256 = "74f81fe167d99b4cb41d6d0ccda82278caee9f3e2f25d5e5a3936ff3dcec60d0";

describe("client.models", () => {
  it("[EM-30] registers with lengths and SHA-256, uploads in parts, makes active, tells how far it is", async () => {
    const { client, calls } = setUp([
      [201, success({ modelId: "m 1", partBytes: 2 })],
      ...[1, 2, 3].map((): Parameters<typeof fakeFetch>[0][number] => [200, success({})]),
      [200, success({ modelId: "m 1", status: "active" })],
    ]);
    const told: number[] = [];
    const onProgress = (bytes: number) => void told.push(bytes);
    const model = await client.models.add({ modelId: "m 1" }, [{ name: "a.txt", bytes: BYTES }], { onProgress });
    expect(model.status).toBe("active");
    expect(told).toEqual([2, 4, 5]);
    const file = { name: "a.txt", bytes: 5, sha256: SHA256 };
    expect(calls[0]!.body).toBe(JSON.stringify({ modelId: "m 1", files: [file] }));
    expect(calls.map(({ method, url }) => `${method} ${url.replace("http://db:1/v1/embedding-models", "")}`)).toEqual([
      "POST ",
      ...[0, 1, 2].map((part) => `PUT /m%201/files/a.txt?part=${part}`),
      "PATCH /m%201",
    ]);
  });

  it("[EM-30] deletes what failed, and tells why it failed; what was there before is left alone", async () => {
    const { client, calls } = setUp([
      [201, success({ modelId: "m", partBytes: 10 })],
      [200, success({})],
      [400, failure("invalidRequest")],
      [200, success({ modelId: "m" })],
      [409, failure("alreadyExists")],
    ]);
    const files = [{ name: "a.txt", bytes: BYTES }];
    await expect(client.models.add({ modelId: "m" }, files)).rejects.toMatchObject({ code: "invalidRequest" });
    expect(calls.at(-1)!.method).toBe("DELETE");
    await expect(client.models.add({ modelId: "m" }, files)).rejects.toMatchObject({ code: "alreadyExists" });
    expect(calls).toHaveLength(5);
  });

  it("[EM-30] vectors of texts are float32; texts stand in writes and searches", async () => {
    const results = (ids: readonly string[]) => ids.map((id) => ({ id, version: 1, revision: 1 }));
    const { client, calls } = setUp([
      [200, success({ embeddings: [{ values: [0.1, 1], tokens: 2, unknownTokens: 1 }] })],
      [201, success({ id: "a" })],
      [200, success({ stored: 2, failed: 0, results: results(["1", "2"]) })],
      [200, success({ stored: 0, failed: 1, results: [{ id: "3", error: { code: "invalidRequest", message: "" } }] })],
      [200, success({ results: [], isComplete: true, scanned: 0 })],
    ]);
    const [embedding] = await client.models.embed(["a b"], "m");
    expect(embedding).toEqual({ values: Float32Array.of(0.1, 1), tokens: 2, unknownTokens: 1 });
    const vectors = client.vectors("d");
    await vectors.upsert({ id: "a", text: "tea", metadataJson: '{"n":1.0}' });
    const texts = ["1", "2", "3"].map((id) => ({ id, text: `t${id}` }));
    const answer = await vectors.upsertTexts(texts, { chunkVectors: 2, writeId: "ab".repeat(16) });
    expect(answer).toMatchObject({ stored: 2, failed: 1 });
    expect(answer.results.map(({ ok }) => ok)).toEqual([true, true, false]);
    await vectors.search({ text: "tea" }, { embeddingModel: "m", topK: 1 });
    expect(calls.slice(1).map(({ body }) => body)).toEqual([
      '{"id":"a","text":"tea","metadata":{"n":1.0}}',
      '{"vectors":[{"id":"1","text":"t1"},{"id":"2","text":"t2"}]}',
      '{"vectors":[{"id":"3","text":"t3"}]}',
      '{"queryText":"tea","embeddingModel":"m","topK":1}',
    ]);
  });
});
