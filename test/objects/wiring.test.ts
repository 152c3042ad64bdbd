// The tests inside workerd run the real Worker with the bindings of wrangler.toml.

import { env, exports } from "cloudflare:workers";
import { describe, expect, it } from "vitest";

describe("the Worker inside the tests", () => {
  it("answers on /v1/health", async () => {
    const response = await exports.default.fetch("http://jade.test/v1/health");
    expect(response.status).toBe(200);
    await response.arrayBuffer();
  });

  it("has a namespace for each object class, a bucket, and settings", () => {
    const names = [
      "DIRECTORY",
      "TENANT",
      "COORDINATOR",
      "KEY_VALUE_REPLICA",
      "BLOBS",
      "JADE_CONFIG",
      "JADE_ROOT_KEY_HASH",
    ];
    expect(Object.keys(env)).toEqual(expect.arrayContaining(names));
  });

  it("takes the root key jdb.root.test", async () => {
    const ask = (key: string) =>
      exports.default.fetch("http://jade.test/v1/tenants", { headers: { authorization: `Bearer ${key}` } });
    const statuses = [];
    for (const key of ["jdb.root.test", "jdb.root.other"]) {
      const response = await ask(key);
      await response.arrayBuffer();
      statuses.push(response.status);
    }
    expect(statuses).toEqual([200, 401]);
  });
});
