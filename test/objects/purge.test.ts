// Deleted rows leave real storage after the grace period and a full repair, and never before; replicas that were released keep nothing.
// The long waits are cut short in the Directory's tables, by which it goes.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { KEYS as RECORDS, type RepairRecord } from "../../objects/directory-keys.ts";
import { DirectoryRecords } from "../../objects/directory-records.ts";
import { encodeState } from "../../src/kv/key-state.ts";
import type { PurgeState } from "../../src/replication/purge-round.ts";
import type { RowKey } from "../../src/storage/types.ts";
import { type Answer, ask, directory, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { eventually, held, replica, restart, rowOf, send, stateOf, valuesOf } from "./replica-support.ts";

const root = { key: ROOT_KEY };
const NODES = ["n1", "n2", "n3"];
const GRACE_MS = 10 * 86_400_000;
const KEYS = 30;

const directoryStub = () => env.DIRECTORY.get(env.DIRECTORY.idFromName("system")) as unknown as DurableObjectStub;

/** Changes what the Directory has written down, and lets it begin with that anew. */
async function rewrite(change: (state: PurgeState) => PurgeState): Promise<void> {
  await runInDurableObject(directoryStub(), (_, { storage }) => {
    const records = new DirectoryRecords(storage);
    records.write({ key: RECORDS.state("purge"), value: change(records.get<PurgeState>(RECORDS.state("purge"))!) });
  });
  await restartDirectory();
}

/** Goes by what is in its tables. */
async function restartDirectory(): Promise<void> {
  await runInDurableObject(directoryStub(), (_, state) => state.abort("injected: restart")).catch(() => undefined);
}

const older = (): Promise<void> =>
  rewrite((state) => ({ ...state, floors: state.floors.map((floor) => ({ ...floor, atMs: floor.atMs - GRACE_MS })) }));
const settled = (): Promise<void> =>
  rewrite((state) => (state.round ? { ...state, round: { ...state.round, notBeforeMs: 0 } } : state));

async function repaired(): Promise<number> {
  const started = await ask("POST", "/v1/repairs", { ...root, body: {} });
  expect(started.status, started.text).toBe(201);
  const repairId = Number(started.json.data["repairId"]);
  await eventually(async () => (await shown(repairId)).state === "finished", 20_000);
  return repairId;
}

type Shown = { readonly state: string; readonly purge: { readonly state: string; readonly before: string } | null };
const shown = async (repairId: number): Promise<Shown> =>
  (await ask("GET", `/v1/repairs/${repairId}`, root)).json.data as unknown as Shown;

async function metric(nodeId: string, name: string): Promise<number> {
  return (await replica(nodeId).metrics())[`jade_${name}{node="${nodeId}"}`]!;
}

const storedRows = async (nodeId: string): Promise<number> =>
  (await metric(nodeId, "storage_table_rows")) + (await metric(nodeId, "storage_memtable_rows"));

const ok = (answer: Answer): void => expect(answer.status, answer.text).toBe(200);

describe("purge", () => {
  it("[RP-72] [RP-73] [RP-74] [RP-75] [RP-76] rows of deleted keys go from every node after grace and repair, not before, and do not come back", {
    timeout: 60_000,
  }, async () => {
    const { tenantId, key } = await newTenant({ replicationFactor: 3 });
    const tenant = (await directory().lookupTenant(tenantId))!;
    const put = (name: string): Promise<void> =>
      // The nodes start with the first of them.
      eventually(async () => {
        const body = { key: name, value: name, consistency: "all" };
        return (await ask("POST", "/v1/key-value", { key, body })).status === 200;
      });
    for (let i = 0; i < KEYS; i++) await put(`gone-${i}`);
    await put("kept");
    const row = rowOf(tenant, "gone-7");
    for (let i = 0; i < KEYS; i++) ok(await ask("DELETE", `/v1/key-value?key=gone-${i}&consistency=all`, { key }));
    const deleted = await held("n2", row);
    expect(valuesOf(deleted)).toEqual([undefined]);

    // No delete is old enough.
    const first = await repaired();
    expect((await shown(first)).purge).toBeNull();
    // One is, but no repair began since.
    await older();
    expect((await shown(first)).purge).toBeNull();
    for (const node of NODES) expect(valuesOf(await held(node, row))).toEqual([undefined]);

    const second = await repaired();
    expect((await shown(second)).purge).toMatchObject({ state: "settling" });
    for (const node of NODES) {
      expect(valuesOf(await held(node, row))).toEqual([undefined]);
      expect(await storedRows(node)).toBeGreaterThan(KEYS);
      expect(await metric(node, "kv_purge_horizon_seconds")).toBe(0);
    }
    await settled();
    await eventually(async () => (await shown(second)).purge?.state === "fading");
    await settled();
    await eventually(async () => (await shown(second)).purge?.state === "finished", 20_000);
    expect(Date.parse((await shown(second)).purge!.before)).toBeLessThanOrEqual(Date.now());
    for (const node of NODES) {
      await eventually(async () => (await metric(node, "storage_purged_rows_total")) >= KEYS, 20_000);
      expect(await storedRows(node)).toBeLessThan(KEYS);
      expect(await metric(node, "kv_purge_horizon_seconds")).toBeGreaterThan(0);
      expect(await held(node, row)).toBeUndefined();
    }
    ok(await ask("GET", "/v1/key-value?key=kept&consistency=all", { key }));

    // What still comes of the deletes brings nothing back, also after a restart.
    await restart("n2");
    await send("n2", { kind: "merge", row, state: encodeState(deleted!) });
    expect(await held("n2", row)).toBeUndefined();
    // The coordinator finds out with its first call that the node was restarted.
    await eventually(async () => (await ask("GET", "/v1/key-value?key=kept&consistency=all", { key })).status === 200);
    await put("gone-7");
    const again = await ask("GET", "/v1/key-value?key=gone-7&consistency=all", { key });
    expect(again.json.data).toMatchObject({ value: "gone-7" });
    expect(again.json.data["conflict"]).toBeFalsy();
  });

  it("[RP-78] [RP-79] a replica that a change released deletes what it held, and a full repair what came there later", {
    timeout: 60_000,
  }, async () => {
    const { tenantId, key } = await newTenant({ replicationFactor: 3 });
    const tenant = (await directory().lookupTenant(tenantId))!;
    const rows: RowKey[] = Array.from({ length: 12 }, (_, i) => rowOf(tenant, `k${i}`));
    for (const { key: name } of rows)
      ok(await ask("POST", "/v1/key-value", { key, body: { key: name, value: name, consistency: "all" } }));
    const holders = async (row: RowKey): Promise<number> =>
      (await Promise.all(NODES.map((node) => held(node, row)))).filter((state) => state !== undefined).length;
    ok(await ask("PATCH", `/v1/tenants/${tenantId}`, { ...root, body: { replicationFactor: 2 } }));
    for (const row of rows) await eventually(async () => (await holders(row)) === 2, 30_000);
    for (const { key: name } of rows) ok(await ask("GET", `/v1/key-value?key=${name}&consistency=all`, { key }));

    const row = rows[0]!;
    const states = await Promise.all(NODES.map((node) => held(node, row)));
    const stray = NODES[states.indexOf(undefined)]!;
    await send(stray, { kind: "merge", row, state: stateOf("late", 5) });
    expect(await holders(row)).toBe(3);
    await repaired();
    expect(await holders(row)).toBe(2);
    expect(await held(stray, row)).toBeUndefined();
  });

  it("[RP-81] [RP-49] [RP-131] a full repair begins by itself when the last one is long ago, and not before; incremental ones sooner", async () => {
    const items = async (): Promise<readonly { readonly kind: string; readonly state: string }[]> =>
      (await ask("GET", "/v1/repairs", root)).json.data["items"] as never;
    const repairs = async (kind = "full"): Promise<number> => (await items()).filter((one) => one.kind === kind).length;
    const before = await repairs();
    expect(await repairs("incremental")).toBe(0);
    const past = async (days: number): Promise<void> => {
      const atMs = Date.now() - days * 86_400_000;
      await runInDurableObject(directoryStub(), (_, { storage }) => {
        const records = new DirectoryRecords(storage);
        for (const { key, value } of records.list<RepairRecord>(RECORDS.repairs))
          records.write({ key, value: { ...value, startedAtMs: atMs } });
        for (const name of ["since", "fullRepairAt"] as const) records.write({ key: RECORDS.state(name), value: atMs });
      });
      await restartDirectory();
    };
    await past(4.9);
    await eventually(async () => (await items())[0]!.kind === "incremental", 20_000);
    expect(await repairs()).toBe(before);
    await past(5.1);
    await eventually(async () => (await repairs()) === before + 1, 20_000);
    await eventually(async () => (await items()).every(({ state }) => state === "finished"), 20_000);
  });
});
