// One storage node's log or manifest is damaged while the server is down: the node refuses to open, the other two go on.
import { DatabaseSync } from "node:sqlite";
import { afterEach, expect, it } from "vitest";
import { nodeDatabases } from "../../scripts/crash/stored.ts";
import { JadeClient } from "../../src/client/index.ts";
import { FailPointServer, ROOT_KEY } from "./fail-point-server.ts";
import { removeDir, temporaryDir } from "./serve-process.ts";

let server: FailPointServer | undefined;
afterEach(async () => {
  await server?.end();
  if (server) removeDir(server.dataDir);
});

const DAMAGES = {
  "a flipped byte of the log":
    "UPDATE storage_log SET bytes = CAST(substr(bytes, 1, 30) || x'ff' || substr(bytes, 32) AS BLOB)",
  "a missing row of the log": "DELETE FROM storage_log WHERE seq = (SELECT min(seq) + 1 FROM storage_log)",
  "a changed row of the manifest": "UPDATE storage_numbers SET value = value + 1 WHERE name = 'check'",
};

it.each(Object.entries(DAMAGES))(
  "[ST-10] [ST-46] %s: the node stays away, what was acknowledged is read and written at quorum",
  async (_, statement) => {
    server = new FailPointServer(temporaryDir(), { keyValue: { replicaTimeoutMs: 300 }, log: { level: "off" } });
    await server.start();
    const admin = new JadeClient({ url: server.url, apiKey: ROOT_KEY });
    const { apiKey } = await admin.tenants.create({ tenantId: "t", replicationFactor: 3 });
    const before = new JadeClient({ url: server.url, apiKey });
    for (let i = 0; i < 40; i++) await before.kv.put(`k${i}`, `value ${i}`);
    await server.kill9();
    const db = new DatabaseSync(nodeDatabases(server.dataDir)[1]!, { timeout: 5000 });
    expect(db.prepare(statement).run().changes).toBeGreaterThan(0);
    db.close();
    await server.start(false);
    const client = new JadeClient({ url: server.url, apiKey });
    for (let i = 0; i < 40; i++) {
      expect((await client.kv.get(`k${i}`)).value).toBe(`value ${i}`);
      await client.kv.put(`k${i}`, `newer ${i}`);
      expect((await client.kv.get(`k${i}`)).value).toBe(`newer ${i}`);
    }
    const [error] = [await client.kv.get("k1", { consistency: "all", timeoutMs: 3000 }).catch((reason) => reason)];
    expect(error).toMatchObject({ code: expect.stringMatching(/quorumUnavailable|timedOut/) });
    const metrics = await (
      await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${ROOT_KEY}` } })
    ).text();
    expect(metrics).toMatch(/^jade_scrape_failures\{[^}]*\} 1$/m);
  },
);
