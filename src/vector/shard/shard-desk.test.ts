import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { VECTOR_MIGRATIONS } from "../../../migrations/vector.ts";
import { NodeSql } from "../../../test/unit/storage/node-sql.ts";
import { createKernels } from "../../storage/kernels.ts";
import { SqliteBlobStore } from "../../storage/sqlite-blob-store.ts";
import type { VectorAnswer, VectorInput, VectorRequest, WrittenAnswer } from "../../wire/vector.ts";
import { readVectorAnswer, writeVectorAnswer } from "../../wire/vector-answers.ts";
import { readVectorCall, writeVectorCall } from "../../wire/vector-requests.ts";
import { createVectorCore } from "../kernels.ts";
import type { ShardConfig } from "./shard-config.ts";
import { ShardDesk } from "./shard-desk.ts";
import { finished } from "./shard-indexes.ts";

const kernels = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
const vectorModule = new WebAssembly.Module(readFileSync("dist/wasm/vector.wasm"));
const encoder = new TextEncoder();
const decoder = new TextDecoder();

const CONFIG: ShardConfig = {
  dimension: 3,
  metric: "cosine",
  metadataSchema: { score: "float" },
  durability: "sync",
  indexes: [{ name: "default", kind: "HNSW", quantizer: "int8", effort: { ef: 64 } }],
};

function openDesk(config: Partial<ShardConfig> = {}) {
  const sql = new NodeSql();
  for (const statements of VECTOR_MIGRATIONS) sql.database.exec(statements);
  const open = (): ShardDesk =>
    new ShardDesk({
      sql,
      blobs: new SqliteBlobStore(sql),
      crc32c: (bytes, seed) => kernels.crc32c(bytes, seed),
      core: createVectorCore(vectorModule, { budgetBytes: 16 * 1024 * 1024 }),
      config: { ...CONFIG, ...config },
      name: "v1/default/db~1/0",
      random: (count) => crypto.getRandomValues(new Uint8Array(count)),
      now: () => 1_000_000,
      onMissing: () => undefined,
    });
  const opened = {
    desk: open(),
    /** Through the bytes, as from another object. */
    ask(request: VectorRequest, identity: { writeId?: Uint8Array; bodyHash?: Uint8Array } = {}): VectorAnswer {
      const { answer } = opened.desk.run(readVectorCall(writeVectorCall({ request, ...identity })));
      opened.desk.store.endTurn();
      return readVectorAnswer(writeVectorAnswer(answer));
    },
    restart(): void {
      sql.endTurn();
      opened.desk = open();
    },
  };
  return opened;
}

const row = (id: string, values: readonly number[], metadata?: unknown): VectorInput => ({
  id,
  values: new Uint8Array(Float32Array.from(values).buffer),
  metadata: metadata === undefined ? new Uint8Array(0) : encoder.encode(JSON.stringify(metadata)),
});
const upsert = (...rows: readonly VectorInput[]): VectorRequest => ({ kind: "upsert", rows });

function failure(answer: VectorAnswer): string {
  return answer.kind === "error" ? `${answer.code}: ${answer.message}` : answer.kind;
}

describe("a shard's counter", () => {
  it("[VE-100] values, metadata and version come back exactly; an update keeps what it does not give", () => {
    const { ask } = openDesk();
    const values = [0.1, -2.5e-8, 3e17];
    expect(ask(upsert(row("a", values, { score: 0.5, big: 12345678901 })))).toMatchObject({
      results: [{ version: 1 }],
    });
    ask({ kind: "update", id: "a", metadata: encoder.encode('{ "score": 1.0 }') });
    const answer = ask({ kind: "get", ids: ["a", "nobody"], shown: { values: true, metadata: true } });
    if (answer.kind !== "rows") throw new Error(failure(answer));
    expect(answer.rows[1]).toBeNull();
    expect(answer.rows[0]).toMatchObject({ id: "a", stamp: { version: 2, revision: 2 } });
    expect(decoder.decode(answer.rows[0]!.metadata)).toBe('{ "score": 1.0 }');
    expect([...new Float32Array(answer.rows[0]!.values!.slice().buffer)]).toEqual([...Float32Array.from(values)]);
    expect(failure(ask({ kind: "update", id: "nobody" }))).toBe("notFound: there is no vector nobody");
  });

  it.each([
    [row("", [1, 2, 3]), "id must not be empty"],
    [row("x".repeat(513), [1, 2, 3]), "id has 513 bytes; at most 512"],
    [row("a", [1, 2]), "values has 2 numbers; the database has vectorDimension 3"],
    [row("a", [1, Number.NaN, 3]), "values[1] must be a finite float32"],
    [row("a", [1, 2, 1e39]), "values[2] must be a finite float32"],
    [row("a", [0, -0, 0]), "values are all zero: cosine similarity has no meaning for it"],
    [row("a", [1e18, 1e18, 0]), "values have the length 1.414e+18; beyond 1e+18"],
    [row("a", [1e-30, 0, 0]), "values have the length 1.000e-30; below 1e-18"],
    [row("a", [1, 2, 3], { score: "high" }), "metadata.score must be float, as the database's metadataSchema says"],
    [row("a", [1, 2, 3], [1]), "metadata must be an object"],
    [{ ...row("a", [1, 2, 3]), metadata: encoder.encode("{") }, "metadata must be valid JSON"],
    [row("a", [1, 2, 3], { text: "x".repeat(70_000) }), "metadata has 70011 bytes; at most 65536"],
  ])("[VE-101] a bad row is refused and nothing is stored: %#", (bad, message) => {
    const { ask } = openDesk();
    expect(failure(ask(upsert(bad)))).toContain(message);
    expect(ask({ kind: "count" })).toMatchObject({ count: 0 });
  });

  it("[VE-102] of a batch with bad rows the good ones are stored, each told by its place; atomic stores none", () => {
    const { ask } = openDesk();
    const rows = [row("a", [1, 0, 0]), row("b", [1]), row("c", [0, 1, 0])];
    expect(failure(ask({ kind: "upsert", rows, atomic: true }))).toContain("vectors[1].values has 1 numbers");
    expect(ask({ kind: "count" })).toMatchObject({ count: 0 });
    const { results } = ask(upsert(...rows)) as WrittenAnswer;
    expect(results[0]).toMatchObject({ version: 1 });
    expect(results[1]).toMatchObject({ kind: "error", code: "invalidRequest" });
    expect(results[2]).toMatchObject({ version: 1 });
    expect(ask({ kind: "count" })).toMatchObject({ count: 2 });
  });

  it("[VE-103] a repeated write is applied once, also after a restart; another body under its id is refused", () => {
    const opened = openDesk();
    const identity = { writeId: new Uint8Array(16).fill(7), bodyHash: new Uint8Array(8).fill(1) };
    const first = opened.ask(upsert(row("a", [1, 0, 0])), identity);
    expect(opened.ask(upsert(row("a", [1, 0, 0])), identity)).toEqual(first);
    opened.restart();
    expect(opened.ask(upsert(row("a", [1, 0, 0])), identity)).toEqual(first);
    expect(failure(opened.ask(upsert(row("a", [1, 0, 0])), { ...identity, bodyHash: new Uint8Array(8) }))).toContain(
      "idempotencyKeyReused",
    );
    expect(opened.ask({ kind: "get", ids: ["a"], shown: {} })).toMatchObject({ rows: [{ stamp: { version: 1 } }] });
  });

  it("[VE-103] a deletion of nothing is remembered too; another body is refused while the first is not yet logged", () => {
    const opened = openDesk();
    const identity = { writeId: new Uint8Array(16).fill(9), bodyHash: new Uint8Array(8).fill(1) };
    const gone: VectorRequest = { kind: "delete", ids: ["a"] };
    expect(opened.ask(gone, identity)).toMatchObject({ results: [null] });
    opened.restart();
    opened.ask(upsert(row("a", [1, 0, 0])));
    expect(opened.ask(gone, identity)).toMatchObject({ results: [null] });
    expect(opened.ask({ kind: "count" })).toMatchObject({ count: 1 });
    const later = { writeId: new Uint8Array(16).fill(5), bodyHash: new Uint8Array(8).fill(1) };
    opened.desk.run({ request: upsert(row("b", [1, 0, 0])), ...later });
    const { answer } = opened.desk.run({ request: gone, ...later, bodyHash: new Uint8Array(8) });
    expect(failure(answer)).toContain("idempotencyKeyReused");
  });

  it("[VE-104] pages give every row once, with a filter too, over seals and merges between them", () => {
    const { ask, desk } = openDesk();
    for (let at = 0; at < 300; at++) ask(upsert(row(`id-${at}`, [1, at, 2], { even: at % 2 === 0 })));
    for (const filter of [undefined, '{"even":true}']) {
      const seen: string[] = [];
      let cursor = new Uint8Array(0);
      do {
        const page = ask({ kind: "list", cursor, limit: 7, filter, shown: { metadata: true } });
        if (page.kind !== "rows") throw new Error(failure(page));
        seen.push(...page.rows.map((shown) => shown!.id));
        cursor = page.cursor.slice();
        if (seen.length === 14) finished(desk.store.seal());
        if (seen.length === 28) finished(desk.store.merge(desk.store.sealed));
      } while (cursor.length > 0);
      expect(new Set(seen).size).toBe(seen.length);
      expect(seen).toHaveLength(filter ? 150 : 300);
      expect(ask({ kind: "count", filter })).toMatchObject({ count: seen.length });
    }
  });

  it("[VE-105] searches: scores, threshold, filters, several queries, what is shown, and the plan", () => {
    const { ask } = openDesk();
    ask(
      upsert(row("x", [1, 0, 0], { score: 1 }), row("y", [0, 1, 0], { score: 2 }), row("xy", [1, 1, 0], { score: 3 })),
    );
    const search = { kind: "search", k: 10, index: "", shown: {} } as const;
    const queries = [row("", [2, 0, 0]).values, row("", [0, 3, 0]).values];
    const answer = ask({ ...search, queries, explain: true });
    if (answer.kind !== "found") throw new Error(failure(answer));
    expect(answer.results.map((hits) => hits.map(({ id }) => id))).toEqual([
      ["x", "xy", "y"],
      ["y", "xy", "x"],
    ]);
    expect(answer.results[0]!.map(({ score }) => Math.round(score * 1000))).toEqual([1000, 707, 0]);
    expect(JSON.parse(answer.explain).plans[0][0]).toMatchObject({ segment: "fresh", plan: "scan", scanned: 3 });
    const [first] = queries;
    const some = ask({
      ...search,
      queries: [first!],
      threshold: 0.7,
      filter: '{"score":{"$gte":2}}',
      shown: { metadata: true },
    });
    expect(some).toMatchObject({ results: [[{ id: "xy", metadata: encoder.encode('{"score":3}') }]] });
    expect(failure(ask({ ...search, queries: [first!], k: 20_000 }))).toContain("topK must be 1 to 10000, is 20000");
    expect(failure(ask({ ...search, queries: [first!], index: "other" }))).toContain("there are default");
    expect(failure(ask({ ...search, queries: [first!], filter: '{"a":{"$x":1}}' }))).toContain("is no operator");
    expect(failure(ask({ ...search, queries: [row("", [0, 0, 0]).values] }))).toContain("queryVector are all zero");
    const long = [row("", [0, 3e38, 0]).values];
    expect(failure(ask({ ...search, queries: long }))).toContain("beyond 1e+18 distances are no float32");
  });

  it("[VE-106] rows are deleted by id and by filter; deleting what is not there is told and changes nothing", () => {
    const { ask } = openDesk();
    for (let at = 0; at < 30; at++) ask(upsert(row(`id-${at}`, [1, at, 2], { n: at })));
    expect(ask({ kind: "delete", ids: ["id-3", "nobody"] })).toMatchObject({ results: [{ version: 1 }, null] });
    const deleted = ask({ kind: "deleteWhere", filter: '{"n":{"$lt":10}}', limit: 5 });
    expect(deleted).toMatchObject({ more: true });
    expect((deleted as WrittenAnswer).results).toHaveLength(5);
    expect(ask({ kind: "deleteWhere", filter: '{"n":{"$lt":10}}', limit: 100 })).toMatchObject({ more: false });
    expect(ask({ kind: "count" })).toMatchObject({ count: 20 });
    expect(JSON.parse((ask({ kind: "status" }) as { status: string }).status)).toMatchObject({
      rows: 20,
      freshRows: 30,
    });
  });
});
