// Thresholds without topK over HTTP inside workerd: every match over all shards, by pages and as lines, counted and paid for.
import { describe, expect, it } from "vitest";
import { ask, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { Db, type Hit } from "./vector-support.ts";

const COUNT = 3000;
/** Along a curve, so that distances to the query differ by more than rounding. */
const valuesOf = (at: number): readonly number[] => [at / 10, (at % 7) / 10];
const NDJSON = { accept: "application/x-ndjson" };

async function filled(tenant: { readonly key: string }): Promise<Db> {
  const db = await Db.create(tenant.key, {
    ...{ databaseId: "docs", vectorDimension: 2, metric: "euclidean", sharding: { numShards: 3 } },
  });
  const vectors = Array.from({ length: COUNT }, (_, at) => ({
    id: `id-${at}`,
    values: valuesOf(at),
    metadata: { n: at % 10 },
  }));
  const answer = await db.ask("POST", "/vectors/batch", { vectors });
  expect(answer.json.data).toMatchObject({ stored: COUNT });
  return db;
}

/** Ids within a distance of the vector of `center`, nearest first. */
function within(center: number, most: number, allow = (_: number): boolean => true): readonly string[] {
  const [x, y] = valuesOf(center) as [number, number];
  return Array.from({ length: COUNT }, (_, at) => at)
    .filter(allow)
    .map((at) => ({ at, distance: Math.hypot(valuesOf(at)[0]! - x, valuesOf(at)[1]! - y) }))
    .filter(({ distance }) => distance <= most)
    .map(({ at }) => `id-${at}`);
}

describe("a threshold without topK", () => {
  it("[VE-217][VE-218] gives every match by pages and as lines, over all shards, with their number", async () => {
    const tenant = await newTenant();
    const db = await filled(tenant);
    const body = { queryVector: valuesOf(1500), threshold: 60.03 };
    const whole = (await db.ask("POST", "/search", body)).json.data;
    const all = (whole["results"] as Hit[]).map(({ id }) => id);
    const wanted = within(1500, 60.03);
    expect(wanted.length).toBeGreaterThan(1000);
    expect(all.toSorted()).toEqual(wanted.toSorted());
    expect(whole).toMatchObject({ total: wanted.length, isComplete: true, cursor: null, scanned: COUNT });
    const pages: string[] = [];
    for (let cursor: unknown; cursor !== null; ) {
      const page = (await db.ask("POST", "/search", { ...body, limit: 250, ...(cursor ? { cursor } : {}) })).json.data;
      expect(page["total"]).toBe(wanted.length);
      pages.push(...(page["results"] as Hit[]).map(({ id }) => id));
      cursor = page["cursor"];
    }
    expect(pages).toEqual(all);
    const lines = await db.ask("POST", "/search", { ...body, limit: 400, includeMetadata: true }, NDJSON);
    const parsed = lines.text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Hit & object);
    expect(parsed.slice(0, -1).map(({ id }) => id)).toEqual(all);
    expect(parsed[0]).toMatchObject({ id: "id-1500", score: 0, metadata: { n: 0 } });
    expect(parsed.at(-1)).toEqual({ cursor: null, total: wanted.length, scanned: COUNT * Math.ceil(all.length / 400) });
    const filtered = { id: "id-1500", threshold: 60.03, filters: { n: { $lt: 3 } } };
    const some = (await db.ask("POST", "/search", filtered)).json.data;
    const few = within(1500, 60.03, (at) => at % 10 < 3 && at !== 1500);
    expect((some["results"] as Hit[]).map(({ id }) => id).toSorted()).toEqual(few.toSorted());
    expect(some["total"]).toBe(few.length);
    const batch = await db.ask("POST", "/search/batch", {
      queries: [{ id: "id-1500" }, { id: "id-0" }],
      threshold: 60.03,
    });
    const [first] = batch.json.data["searches"] as { results: Hit[]; isComplete: boolean }[];
    expect([first!.results.length, first!.isComplete]).toEqual([wanted.length - 1, true]);
    for (const [path, wrong] of [
      ["limit", { queryVector: [1, 1], limit: 5 }],
      ["limit", { ...body, topK: 5, limit: 5 }],
      ["cursor", { ...body, cursor: "nonsense" }],
    ] as const) {
      const answer = await db.ask("POST", "/search", wrong);
      expect([answer.status, answer.text]).toEqual([400, expect.stringContaining(`"path":"${path}"`)]);
    }
  });

  it("[VE-147][VE-218] each page is paid for by the rows compared; a stream that cannot be says where to go on", async () => {
    const tenant = await newTenant();
    const db = await filled(tenant);
    for (const part of [1, 2, 3]) {
      const vectors = Array.from({ length: 9000 }, (_, n) => ({ id: `far-${part}-${n}`, values: [9e6 + n, part] }));
      await db.ask("POST", "/vectors/batch", { vectors });
    }
    // 30 000 rows a page: 3 units beyond the request's own.
    const limit = { rateLimit: { requestsPerSecond: 1, burst: 16 } };
    const patched = await ask("PATCH", `/v1/tenants/${tenant.tenantId}`, { key: ROOT_KEY, body: limit });
    expect(patched.status, patched.text).toBe(200);
    const body = { queryVector: valuesOf(0), threshold: 1000, limit: 200 };
    const { text } = await db.ask("POST", "/search", body, NDJSON);
    const lines = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.at(-1)).toMatchObject({ error: { code: "rateLimited" }, cursor: expect.any(String) });
    expect((lines.length - 1) % 200).toBe(0);
    expect(lines.length).toBeGreaterThan(200);
    expect(lines.length).toBeLessThan(COUNT);
    expect((await db.ask("POST", "/search", body)).json.code).toBe("rateLimited");
  });
});
