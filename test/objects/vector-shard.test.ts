// A shard of a vector database as an object: calls by RPC, one commit a turn, restarts, seals and merges behind calls, erasure.
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { Env } from "../../objects/env.ts";
import type { ShardConfig } from "../../src/vector/shard/shard-config.ts";
import type { Durability, VectorAnswer, VectorInput, VectorRequest } from "../../src/wire/vector.ts";
import { readVectorAnswer } from "../../src/wire/vector-answers.ts";
import { writeVectorCall } from "../../src/wire/vector-requests.ts";
import type { VectorShard } from "../../src/worker.ts";

const CONFIG: ShardConfig = {
  dimension: 8,
  metric: "euclidean",
  durability: "sync",
  indexes: [{ name: "default", kind: "HNSW", quantizer: "int8", effort: { ef: 64 } }],
};

let names = 0;

function newShard(): DurableObjectStub<VectorShard> {
  const namespace = (env as unknown as Env).VECTOR_SHARD;
  return namespace.get(namespace.idFromName(`v1/default/db~${++names}/0`)) as unknown as DurableObjectStub<VectorShard>;
}

async function ask(stub: DurableObjectStub<VectorShard>, request: VectorRequest): Promise<VectorAnswer> {
  return readVectorAnswer(await stub.call(writeVectorCall({ request })));
}

function row(at: number): VectorInput {
  const values = Float32Array.from({ length: 8 }, (_, place) => (place === 0 ? at : (at * 7 + place) % 5));
  const metadata = new TextEncoder().encode(JSON.stringify({ n: at }));
  return { id: `id-${at}`, values: new Uint8Array(values.buffer), metadata };
}

async function upsert(stub: DurableObjectStub<VectorShard>, from: number, count: number, durability?: Durability) {
  const rows = Array.from({ length: count }, (_, at) => row(from + at));
  return await ask(stub, { kind: "upsert", rows, durability });
}

const count = async (stub: DurableObjectStub<VectorShard>): Promise<unknown> => await ask(stub, { kind: "count" });

describe("a vector shard", () => {
  it("[VE-120] a shard that was not created holds nothing and leaves nothing behind; configuring it creates it", async () => {
    const stub = newShard();
    expect(await upsert(stub, 0, 1)).toMatchObject({ kind: "error", code: "notFound" });
    const tables = (): Promise<number> =>
      runInDurableObject(stub, (_, { storage }) =>
        Number(storage.sql.exec("SELECT count(*) AS n FROM sqlite_master").one()["n"]),
      );
    expect(await tables()).toBe(0);
    expect(await stub.configure(CONFIG)).toBeUndefined();
    expect(await stub.configure(CONFIG)).toBeUndefined();
    expect(await upsert(stub, 0, 3)).toMatchObject({ kind: "written", revision: 1 });
    expect(await stub.configure({ ...CONFIG, dimension: 9 })).toBe("a shard keeps its dimension and metric");
  });

  it("[VE-81][VE-121] what was acknowledged is there after a restart; found at acknowledgement, before and after", async () => {
    const stub = newShard();
    await stub.configure(CONFIG);
    await Promise.all(Array.from({ length: 20 }, (_, batch) => upsert(stub, batch * 10, 10)));
    const search = { kind: "search", queries: [row(77).values], k: 1, index: "", shown: { metadata: true } } as const;
    expect(await ask(stub, search)).toMatchObject({ results: [[{ id: "id-77", score: 0 }]] });
    await evictDurableObject(stub);
    expect(await count(stub)).toMatchObject({ count: 200, term: 2 });
    expect(await ask(stub, search)).toMatchObject({ results: [[{ id: "id-77", score: 0 }]] });
  });

  it("[VE-122] a batch that fills the fresh segment is sealed behind the calls; nothing is lost over a restart in the middle", async () => {
    const stub = newShard();
    await stub.configure(CONFIG);
    for (let batch = 0; batch < 10; batch++) await upsert(stub, batch * 1000, 1000);
    await evictDurableObject(stub);
    expect(await count(stub)).toMatchObject({ count: 10_000 });
    const segments = async (): Promise<number> => {
      const answer = await ask(stub, { kind: "status" });
      return answer.kind === "status" ? (JSON.parse(answer.status) as { segments: number }).segments : 0;
    };
    await vi.waitFor(async () => expect(await segments()).toBe(1), { timeout: 30_000, interval: 100 });
    await evictDurableObject(stub);
    const answer = await ask(stub, {
      kind: "search",
      queries: [row(4321).values],
      k: 3,
      index: "",
      shown: {},
      explain: true,
    });
    if (answer.kind !== "found") throw new Error("refused");
    expect(answer.results[0]![0]).toMatchObject({ id: "id-4321" });
    expect(JSON.parse(answer.explain).plans[0].map(({ segment }: { segment: unknown }) => segment)).toEqual([
      "fresh",
      1,
    ]);
    expect(await count(stub)).toMatchObject({ count: 10_000 });
  });

  it("[VE-123] periodic writes are found at once, and logged within a second", async () => {
    const stub = newShard();
    await stub.configure({ ...CONFIG, durability: "periodic" });
    await upsert(stub, 0, 50);
    expect(await count(stub)).toMatchObject({ count: 50 });
    const logged = (): Promise<number> =>
      runInDurableObject(stub, (_, { storage }) =>
        Number(storage.sql.exec("SELECT count(*) AS n FROM storage_log").one()["n"]),
      );
    expect(await logged()).toBe(0);
    await vi.waitFor(async () => expect(await logged()).toBe(1), { timeout: 5000, interval: 50 });
    await upsert(stub, 50, 1, "sync");
    expect(await logged()).toBe(2);
  });

  it("[VE-123] a periodic write behind an eventual one is logged within its second", async () => {
    const stub = newShard();
    await stub.configure(CONFIG);
    await upsert(stub, 0, 1, "eventual");
    await upsert(stub, 1, 1, "periodic");
    const startedMs = Date.now();
    const logged = (): Promise<number> =>
      runInDurableObject(stub, (_, { storage }) =>
        Number(storage.sql.exec("SELECT count(*) AS n FROM storage_log").one()["n"]),
      );
    await vi.waitFor(async () => expect(await logged()).toBe(1), { timeout: 8000, interval: 50 });
    expect(Date.now() - startedMs).toBeLessThan(6000);
  });

  it("[VE-124] an erased shard holds nothing, and is not there until it is created again", async () => {
    const stub = newShard();
    await stub.configure(CONFIG);
    await upsert(stub, 0, 10);
    await stub.erase();
    await stub.erase();
    expect(await count(stub)).toMatchObject({ kind: "error", code: "notFound" });
    await evictDurableObject(stub);
    expect(await count(stub)).toMatchObject({ kind: "error", code: "notFound" });
    await stub.configure({ ...CONFIG, dimension: 8 });
    expect(await count(stub)).toMatchObject({ count: 0 });
  });
});
