// Vectors over HTTP inside workerd: any id, limits of values, strategies of sharding, retention, archives and snapshots.
import { describe, expect, it } from "vitest";
import { newTenant } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

let databases = 0;

async function newDb(more: object = {}): Promise<Db> {
  const { key } = await newTenant();
  return Db.create(key, { databaseId: `db${databases++}`, vectorDimension: 3, ...more });
}

const SHARDED = { sharding: { numShards: 4 } };

describe("any id, any value", () => {
  it("[VE-231] vectors whose ids no path can hold are read, changed and deleted by ?id=", async () => {
    const db = await newDb(SHARDED);
    for (const id of [".", "..", "count", "a/b?c=%20&é"]) {
      await db.put(id, [1, 2, 3]);
      const one = `/vector?id=${encodeURIComponent(id)}`;
      expect((await db.ask("PUT", one, { metadata: { n: 1 } })).json.data).toMatchObject({ id, version: 2 });
      expect((await db.ask("GET", one)).json.data).toMatchObject({ id, values: [1, 2, 3], metadata: { n: 1 } });
      expect((await db.ask("DELETE", one)).status).toBe(200);
      expect((await db.ask("GET", one)).json.code).toBe("notFound");
    }
    expect((await db.ask("GET", "/vector")).json.details["issues"]).toMatchObject([{ path: "id" }]);
  });

  it("[VE-232] values whose distances would not be finite float32 are refused with field, value and limit", async () => {
    const db = await newDb();
    for (const values of [
      [6e18, 6e18, 6e18],
      [1e-19, 0, 0],
    ]) {
      const refused = await db.ask("POST", "/vectors", { id: "a", values });
      expect([refused.status, refused.json.message]).toEqual([400, expect.stringContaining("has the norm")]);
      expect(refused.json.details["issues"]).toMatchObject([
        { path: "values", value: expect.any(Number), limit: expect.any(Number) },
      ]);
      expect((await db.ask("POST", "/search", { queryVector: values })).json.message).toMatch(
        /^queryVector has the norm/,
      );
    }
    await db.put("a", [3e18, 3e18, 3e18]);
    expect(await db.search({ queryVector: [1, 1, 1] })).toMatchObject([{ id: "a" }]);
  });
});
