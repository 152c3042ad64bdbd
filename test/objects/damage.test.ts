// Damaged stores inside workerd: torn and missing objects of R2, and a storage node's own facts.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { STORAGE_MIGRATIONS } from "../../migrations/storage.ts";
import { applyMigrations } from "../../objects/migrate.ts";
import { tokenOf } from "../../src/cluster/token.ts";
import { openEngine } from "../../src/storage/engine.ts";
import { referenceKernels } from "../../src/storage/kernels.reference.ts";
import { SERVER_LIMITS } from "../../src/storage/limits.ts";
import { R2BlobStore } from "../../src/storage/r2-blob-store.ts";
import { CorruptBlock, type RepairableEngine, type SqlStorage } from "../../src/storage/types.ts";
import {
  held,
  newTenantNumber,
  newWriteId,
  replica,
  restart,
  rowOf,
  send,
  stampOf,
  valuesOf,
} from "./replica-support.ts";

const KEYS = 60;
const keyOf = (i: number) => ({ tenant: 1, key: `k${i}`, token: tokenOf(1, `k${i}`) });
const storedValue = (i: number): Uint8Array => new TextEncoder().encode(`${i} `.repeat(100));

function open(state: DurableObjectState, name: string): RepairableEngine {
  const { storage } = state;
  applyMigrations(storage, "storage", STORAGE_MIGRATIONS);
  const sql: SqlStorage = {
    exec: <Row>(query: string, ...bindings: unknown[]) =>
      storage.sql.exec(query, ...bindings) as unknown as Iterable<Row>,
    transactionSync: (run) => storage.transactionSync(run),
  };
  return openEngine({
    sql,
    blobs: new R2BlobStore(env.BLOBS!),
    kernels: referenceKernels,
    clock: Date.now,
    random: (count) => crypto.getRandomValues(new Uint8Array(count)),
    objectName: name,
    limits: { ...SERVER_LIMITS, memtableBytes: 8192, blockBytes: 1024, tableBytes: 4096, blockCacheBytes: 1 },
    durable: () => storage.sync(),
  });
}

/** Reads every row: how many are right and how many refused. Anything else fails. */
async function readAll(engine: RepairableEngine): Promise<{ right: number; corrupt: number }> {
  const counts = { right: 0, corrupt: 0 };
  for (let i = 0; i < KEYS; i++) {
    await engine.prepare([keyOf(i)]);
    try {
      expect(engine.get(keyOf(i))).toEqual(storedValue(i));
      counts.right++;
    } catch (error) {
      if (!(error instanceof CorruptBlock)) throw error;
      counts.corrupt++;
    }
  }
  return counts;
}

describe("tables in R2", () => {
  it("[ST-43] [ST-17] a torn, emptied or missing object is CorruptBlock for its rows, never a value, never absent", async () => {
    const name = `r2-${newTenantNumber()}`;
    const stub = env.TENANT.get(env.TENANT.idFromName(name)) as unknown as DurableObjectStub;
    await runInDurableObject(stub, async (_, state) => {
      const engine = open(state, name);
      for (let i = 0; i < KEYS; i++) engine.put(keyOf(i), storedValue(i));
      engine.commit();
      while (await engine.runMaintenance());
      expect(await readAll(engine)).toEqual({ right: KEYS, corrupt: 0 });
      const { objects } = await env.BLOBS!.list({ prefix: `storage/${name}/` });
      expect(objects.length).toBeGreaterThan(2);
      const { key } = objects[0]!;
      const whole = new Uint8Array(await (await env.BLOBS!.get(key))!.arrayBuffer());
      const torn = [
        whole.slice(0, whole.length - 20),
        whole.slice(0, whole.length >> 1),
        new Uint8Array(0),
        new Uint8Array(whole.length),
        whole.map((byte, i) => (i === 500 ? byte ^ 4 : byte)),
        undefined,
      ];
      for (const [i, bytes] of torn.entries()) {
        if (bytes) await env.BLOBS!.put(key, bytes);
        else await env.BLOBS!.delete(key);
        const { right, corrupt } = await readAll(open(state, name));
        expect(corrupt, `variant ${i}`).toBeGreaterThan(0);
        expect(right, `variant ${i}`).toBeGreaterThan(0);
        expect(right + corrupt).toBe(KEYS);
      }
      await env.BLOBS!.put(key, whole);
      expect(await readAll(open(state, name))).toEqual({ right: KEYS, corrupt: 0 });
    });
  });
});

describe("a storage node's facts", () => {
  it("[RP-12] [RP-65] a changed number is not used: the node stamps under a new incarnation", async () => {
    const row = rowOf(newTenantNumber(), "k");
    for (const change of [
      "reserved_counter = reserved_counter - 100",
      "incarnation = incarnation + 1",
      "crc = 1",
      "node_number = 9",
    ]) {
      const before = await send("n2", stampOf(row, "before"));
      await runInDurableObject(
        replica("n2"),
        (_, state) => void state.storage.sql.exec(`UPDATE replica_facts SET ${change}`),
      );
      await restart("n2");
      const after = await send("n2", stampOf(row, change));
      expect(after.actor, change).toBeGreaterThan(before.actor);
      expect(Math.floor(after.actor / 4096)).toBe(Math.floor(before.actor / 4096));
      expect(valuesOf(await held("n2", row))).toEqual([change]);
    }
  });

  it("[RP-65] a node whose standing was changed is rebuilt before it counts, and keeps what it holds", async () => {
    const row = rowOf(newTenantNumber(), "k");
    const before = await send("n2", stampOf(row, "kept"));
    const facts = () =>
      runInDurableObject(replica("n2"), (_, state) =>
        state.storage.sql.exec("SELECT rebuilding, last_epoch FROM replica_facts").one(),
      );
    const { last_epoch: epochBefore } = await facts();
    await runInDurableObject(
      replica("n2"),
      (_, state) => void state.storage.sql.exec("UPDATE replica_facts SET rebuilding = 1 - rebuilding"),
    );
    await restart("n2");
    expect(valuesOf(await held("n2", row))).toEqual(["kept"]);
    const after = await facts();
    expect(Number(after["last_epoch"])).toBeGreaterThan(Number(epochBefore) + 1000);
    expect((await send("n2", { kind: "recall", row, writeId: newWriteId() })).actor).toBe(before.actor);
  });

  it("[RP-102] [RP-72] a node whose promise about purges was changed asks the Directory for it, and is rebuilt", async () => {
    const row = rowOf(newTenantNumber(), "k");
    const before = await send("n2", stampOf(row, "kept"));
    const promised = (await replica("n2").promiseFloor()).floor;
    await runInDurableObject(
      replica("n2"),
      (_, state) => void state.storage.sql.exec("UPDATE purge_marks SET floor = 0, horizon = horizon + 4096e12"),
    );
    await restart("n2");
    expect(valuesOf(await held("n2", row))).toEqual(["kept"]);
    const after = await send("n2", { kind: "recall", row, writeId: newWriteId() });
    expect(after.actor).toBeGreaterThan(before.actor);
    const marks = await runInDurableObject(replica("n2"), (_, state) =>
      state.storage.sql.exec("SELECT floor, horizon FROM purge_marks").one(),
    );
    expect(Number(marks["horizon"])).toBeLessThan(promised);
    const metrics = await replica("n2").metrics();
    expect(metrics['jade_kv_standing_damaged{node="n2"}']).toBe(1);
  });

  it("[RP-65] facts of before the checksum are taken, and get one with the next reservation", async () => {
    const row = rowOf(newTenantNumber(), "k");
    const before = await send("n1", stampOf(row, "1"));
    await runInDurableObject(
      replica("n1"),
      (_, state) => void state.storage.sql.exec("UPDATE replica_facts SET crc = NULL"),
    );
    await restart("n1");
    const after = await send("n1", { kind: "recall", row, writeId: newWriteId() });
    expect(after.actor).toBe(before.actor);
    expect((await send("n1", stampOf(row, "2"))).counter).toBeGreaterThan(before.counter);
    const crc = await runInDurableObject(
      replica("n1"),
      (_, state) => state.storage.sql.exec("SELECT crc FROM replica_facts").one().crc,
    );
    expect(crc).not.toBeNull();
  });
});
