// The Directory's keyspace: tables of earlier builds, damaged records, jobs that throw.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { DIRECTORY_MIGRATIONS } from "../../migrations/tenancy.ts";
import { DirectoryStore } from "../../objects/directory-store.ts";
import { applyMigrations } from "../../objects/migrate.ts";

const FIRST = { nodes: 3, zones: 3, random: (bytes: number) => new Uint8Array(bytes).fill(7) };
const plan = (tenantId: string) => ({ tenantId, displayName: "", replicationFactor: 3 }) as never;

/** An object's storage with nothing in it. */
function withStorage(name: string, run: (storage: DurableObjectStorage) => void): Promise<void> {
  const stub = env.TENANT.get(env.TENANT.idFromName(`directory ${name}`)) as unknown as DurableObjectStub;
  return runInDurableObject(stub, (_, state) => run(state.storage));
}

describe("the Directory's records", () => {
  it("[AC-86] the tables of earlier builds become records: tenants, nodes, repairs, the secret; numbers go on", () =>
    withStorage("upgrade", (storage) => {
      const { sql } = storage;
      applyMigrations(storage, "directory", DIRECTORY_MIGRATIONS);
      sql.exec("INSERT INTO facts VALUES ('secret', ?), ('revision', 9)", new Uint8Array(32).fill(5));
      sql.exec("INSERT INTO nodes VALUES (1, 'n1', 'z1', 1, 'active', 4, 1), (2, 'n2', 'z2', 1, 'active', 0, 0)");
      const start = JSON.stringify(plan("any"));
      const tenant =
        "INSERT INTO tenants (tenant_id, state, created_at_ms, start, initialized, failures, next_attempt_ms)";
      sql.exec(`${tenant} VALUES ('a', 'active', 1, ?, 1, 0, NULL), ('b', 'active', 2, ?, 0, 3, 50)`, start, start);
      sql.exec(
        `${tenant} VALUES ('a', 'deleting', 3, ?, 1, 2, 40), ('gone', 'active', 4, ?, 1, 0, NULL)`,
        start,
        start,
      );
      sql.exec("DELETE FROM tenants WHERE tenant_id = 'gone'");
      sql.exec("INSERT INTO repairs (started_at_ms, finished_at_ms, progress) VALUES (1, 2, '{}'), (3, NULL, '{}')");
      sql.exec("INSERT INTO repair_state VALUES ('since', '77')");
      for (let start = 0; start < 2; start++) {
        const store = new DirectoryStore(storage, FIRST);
        expect(store.secret).toEqual(new Uint8Array(32).fill(5));
        expect(store.revision).toBe(9);
        expect(store.nodes().map(({ id, incarnation }) => [id, incarnation])).toEqual([
          ["n1", 4],
          ["n2", 0],
        ]);
        expect(store.list("", 9)).toEqual([
          { tenantId: "a", tenant: 1, createdAtMs: 1 },
          { tenantId: "b", tenant: 2, createdAtMs: 2 },
        ]);
        expect(store.counts()).toEqual({ active: 2, deleting: 1 });
        expect(store.dueTenants(100, 9)).toMatchObject([
          { tenant: 3, state: "deleting", failures: 2 },
          { tenant: 2, failures: 3 },
        ]);
        expect(store.isInitialized(1)).toBe(true);
        expect(store.runningRepair()).toMatchObject({ repairId: 2, startedAtMs: 3 });
        expect(store.lastRepairAtMs(0, "full")).toBe(77);
      }
      const store = new DirectoryStore(storage, FIRST);
      expect(store.addTenant(plan("new"), 5)).toMatchObject({ ok: true, value: { tenant: 6 } });
      expect(store.nextIncarnation("n1")).toMatchObject({ incarnation: 5, mustRebuild: true });
      expect(store.nextIncarnation("n2")).toMatchObject({ incarnation: 1, mustRebuild: false });
      expect(sql.exec("SELECT name FROM sqlite_master WHERE name IN ('tenants', 'nodes', 'facts')").toArray()).toEqual(
        [],
      );
    }));

  it("[AC-87] a record with a changed byte is refused; the others are served", () =>
    withStorage("damage", (storage) => {
      new DirectoryStore(storage, FIRST).addTenant(plan("a"), 1);
      new DirectoryStore(storage, FIRST).addTenant(plan("b"), 2);
      const { sql } = storage;
      const seq = sql.exec("SELECT seq FROM config_current WHERE key = CAST('names/a' AS BLOB)").one()["seq"];
      sql.exec(
        "UPDATE config_log SET record = CAST(substr(record, 1, length(record) - 1) || x'7f' AS BLOB) WHERE seq = ?",
        seq,
      );
      const store = new DirectoryStore(storage, FIRST);
      expect(() => store.activeTenant("a")).toThrow("checksum");
      expect(() => store.list("", 9)).toThrow("checksum");
      expect(() => store.addTenant(plan("a"), 3)).toThrow("checksum");
      expect(store.activeTenant("b")).toBe(2);
      expect(store.list("a", 9)).toMatchObject([{ tenantId: "b" }]);
      expect(store.addTenant(plan("c"), 3)).toMatchObject({ ok: true });
    }));

  it("[AC-87] a job that throws leaves nothing, in storage and in memory", () =>
    withStorage("rollback", (storage) => {
      const store = new DirectoryStore(storage, FIRST);
      const job = (): void => {
        store.addTenant(plan("a"), 1);
        throw new Error("the job's");
      };
      expect(() => storage.transactionSync(job)).toThrow("the job's");
      store.reopen();
      expect(store.activeTenant("a")).toBeNull();
      expect(store.addTenant(plan("b"), 1)).toMatchObject({ value: { tenant: 1 } });
      expect(new DirectoryStore(storage, FIRST).activeTenant("b")).toBe(1);
    }));
});
