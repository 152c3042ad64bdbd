// A database's vectors made anew by another model, while it is read and written; and what becomes of it when something goes wrong.
import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import type { Answer } from "./gateway-support.ts";
import { ask, directory, newTenant, tenantObject } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

const GLOVE = "glove-twitter-25d";
const WORDS = ["tea", "coffee", "cake", "music", "train", "school", "weather", "football"];
const COLOURS = WORDS.map((word, at) => `${word} ${Math.cos(at)} ${Math.sin(at)} ${at % 3}\n`).join("");

let made = 0;

async function newDb(rows = 0): Promise<{ db: Db; tenant: number }> {
  const { key, tenantId } = await newTenant();
  const tenant = (await directory().lookupTenant(tenantId))!;
  const bytes = new TextEncoder().encode(COLOURS);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const files = [{ name: "w.txt", bytes: bytes.length, sha256 }];
  const models = "/v1/embedding-models";
  expect((await ask("POST", models, { key, body: { modelId: "small", files } })).status).toBe(201);
  const headers = { "content-type": "application/octet-stream" };
  expect((await ask("PUT", `${models}/small/files/w.txt`, { key, raw: bytes, headers })).status).toBe(200);
  expect((await ask("PATCH", `${models}/small`, { key, body: { status: "active" } })).status).toBe(200);
  const sharding = { numShards: 2 };
  const db = await Db.create(key, { databaseId: `re${made++}`, embeddingModels: [{ modelId: "small" }], sharding });
  const all = Array.from({ length: rows }, (_, at) => row(`r${at}`, WORDS[at % WORDS.length]!));
  // This test's embedder lets 100 wait.
  for (let from = 0; from < rows; from += 100) {
    const stored = await db.ask("POST", "/vectors/batch", { vectors: all.slice(from, from + 100) });
    expect(stored.json.data?.["failed"], stored.text).toBe(0);
  }
  return { db, tenant };
}

const row = (id: string, text: string) => ({ id, text, metadata: { text, of: id } });
const begin = (db: Db, more: object = {}): Promise<Answer> => db.ask("POST", "/reembed", { model: GLOVE, ...more });

async function ended(db: Db): Promise<Record<string, unknown>> {
  await vi.waitUntil(
    async () =>
      ["done", "failed", "cancelled"].includes((await db.ask("GET", "/reembed")).json.data["state"] as string),
    { timeout: 20_000, interval: 50 },
  );
  return (await db.ask("GET", "/reembed")).json.data;
}

/** As a client does that repeats what could not be done yet. */
async function retried(run: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await run();
    if (answer.status !== 503) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function valuesOf(db: Db, text: string): Promise<number[]> {
  const body = { input: text, model: GLOVE };
  const { json } = await ask("POST", "/v1/embeddings", { key: db.key, body });
  return (json.data["embeddings"] as { values: number[] }[])[0]!.values;
}

describe("re-embedding", () => {
  it("[EM-65] [EM-66] searches are by the old model until the switch; what was written and deleted meanwhile is so afterwards, each row with its version", async () => {
    const { db } = await newDb(200);
    const begun = await begin(db);
    expect([begun.status, begun.json.data["state"]], begun.text).toEqual([202, "running"]);
    expect((await begin(db)).json.code).toBe("conflict");
    expect((await db.ask("POST", "/snapshots", {})).json.code).toBe("conflict");
    const expected = new Map(
      Array.from({ length: 200 }, (_, at) => [`r${at}`, { text: WORDS[at % WORDS.length]!, version: 1 }]),
    );
    for (let n = 0; n < 24; n++) {
      const id = n % 3 === 0 ? `new${n}` : `r${n * 5}`;
      const text = WORDS[(n * 7 + 3) % WORDS.length]!;
      const stored = await retried(() => db.ask("POST", "/vectors", row(id, text)));
      expect([200, 201], stored.text).toContain(stored.status);
      expected.set(id, { text, version: stored.json.data["version"] as number });
      if (n % 4 !== 0) continue;
      await retried(() => db.ask("DELETE", `/vectors/r${n * 6 + 1}`));
      expected.delete(`r${n * 6 + 1}`);
      const found = await db.search({ queryText: "tea", topK: 3, includeMetadata: true });
      expect(found.map(({ metadata }) => (metadata as { text: string }).text)).toEqual(["tea", "tea", "tea"]);
    }
    expect(await ended(db)).toMatchObject({ state: "done", missing: 0, progress: 1, vectorDimension: 25 });
    const shown = (await db.ask("GET", "")).json.data;
    expect(shown).toMatchObject({ vectorDimension: 25, embeddingModels: [{ modelId: GLOVE }], state: "ready" });
    expect(await db.count()).toBe(expected.size);
    const values = new Map<string, number[]>();
    for (const word of WORDS) values.set(word, await valuesOf(db, word));
    const listed = await db.ask("GET", "/vectors?limit=1000&includeValues=true&includeMetadata=true");
    const rows = listed.json.data["items"] as { id: string; version: number; metadata: object; values: number[] }[];
    expect(rows.map(({ id }) => id).sort()).toEqual([...expected.keys()].sort());
    for (const { id, version, metadata, values: made } of rows) {
      const { text, version: before } = expected.get(id)!;
      expect({ version, metadata }, id).toEqual({ version: before, metadata: { text, of: id } });
      expect(made[0], id).toBeCloseTo(values.get(text)![0]!, 5);
    }
    // The same name, other shards: what is written now is the new model's.
    expect((await db.ask("POST", "/vectors", row("later", "a cup of tea"))).status).toBe(201);
    expect((await db.search({ queryText: "a cup of tea", topK: 1 }))[0]!.id).toBe("later");
    expect((await db.ask("POST", "/vectors", { id: "x", values: [1, 2, 3] })).json.code).toBe("invalidRequest");
    const list = await ask("GET", "/v1/databases", { key: db.key });
    expect((list.json.data["items"] as object[]).length).toBe(1);
  }, 40_000);

  it("[EM-67] a tenant's object that dies on the way goes on; one that is cancelled leaves the database as it was", async () => {
    const { db, tenant } = await newDb(200);
    expect((await begin(db)).status).toBe(202);
    const stub = tenantObject(tenant) as unknown as DurableObjectStub;
    for (let n = 0; n < 4; n++) {
      await new Promise((resolve) => setTimeout(resolve, 40));
      await runInDurableObject(stub, (_, state) => state.abort("injected: crash")).catch(() => undefined);
    }
    // Whoever asks next sets the alarm again.
    const now = await retried(() => db.ask("GET", "/reembed"));
    expect(now.status, now.text).toBe(200);
    expect(await ended(db)).toMatchObject({ state: "done", rows: 200 });
    expect(await db.count()).toBe(200);
    const other = await newDb(200);
    expect((await begin(other.db)).status).toBe(202);
    expect((await other.db.ask("DELETE", "/reembed")).json.data["state"]).toBe("cancelled");
    expect((await other.db.ask("GET", "")).json.data).toMatchObject({ vectorDimension: 3 });
    expect((await other.db.ask("POST", "/vectors", row("r1", "tea"))).status).toBe(200);
    expect(await other.db.search({ queryText: "tea", topK: 1 })).toHaveLength(1);
    expect((await other.db.ask("DELETE", "/reembed")).json.code).toBe("conflict");
    await vi.waitUntil(async () => (await begin(other.db)).status === 202, { timeout: 40_000, interval: 200 });
    expect((await ask("DELETE", `/v1/databases/${other.db.id}`, { key: other.db.key })).status).toBe(200);
  }, 60_000);

  it("[EM-68] a row without a text fails it and nothing changes; with onMissing drop it is left behind; a model that does not fit is refused", async () => {
    const { db } = await newDb(20);
    await db.put("bare", [1, 2, 3], { of: "nobody" });
    expect((await begin(db, { model: "none" })).json.code).toBe("notFound");
    expect((await begin(db, { onMissing: "keep" })).json.code).toBe("invalidRequest");
    expect((await begin(db)).status).toBe(202);
    expect(await ended(db)).toMatchObject({
      state: "failed",
      message: 'the vector "bare" has no text in metadata.text',
    });
    expect((await db.ask("GET", "")).json.data).toMatchObject({ vectorDimension: 3 });
    expect(await db.search({ queryText: "tea", topK: 1 })).toHaveLength(1);
    await db.put("odd", [1, 2, 3], { text: "zzxqv" });
    const again = await retried(() => begin(db, { onMissing: "drop" }));
    expect(again.status, again.text).toBe(202);
    expect(await ended(db)).toMatchObject({ state: "done", missing: 2 });
    // A gateway asks the old shards until they say that they are gone.
    await vi.waitUntil(async () => (await db.count()) === 20, { timeout: 20_000, interval: 50 });
    expect((await db.ask("GET", "/vectors/bare")).json.code).toBe("notFound");
  }, 40_000);
});
