// Anti-entropy on real objects: ranges that lost hints, and repairs over HTTP.
import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import type { RowKey } from "../../src/storage/types.ts";
import { ask, directory, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { eventually, held, replica, restart, rowOf, send, stateOf, valuesOf } from "./replica-support.ts";

const root = { key: ROOT_KEY };

/** A row that only n1 holds. */
async function onlyAtFirst(name: string): Promise<{ row: RowKey; tenantId: string }> {
  const { tenantId } = await newTenant({ replicationFactor: 3 });
  const row = rowOf((await directory().lookupTenant(tenantId))!, name);
  await send("n1", { kind: "merge", row, state: stateOf("missed", 50 + name.length) });
  for (const node of ["n2", "n3"]) expect(await held(node, row)).toBeUndefined();
  return { row, tenantId };
}

describe("repair", () => {
  it("[RP-48] a range whose hints were lost is repaired behind, and its mark is gone", async () => {
    const { row } = await onlyAtFirst("dirty");
    const range = row.token.hi >>> 24;
    await runInDurableObject(replica("n1"), (_, state) => {
      state.storage.sql.exec("INSERT INTO dirty_ranges (target, range) VALUES ('n3', ?)", range);
    });
    await restart("n1");
    await send("n1", { kind: "get", row });
    for (const node of ["n2", "n3"])
      await eventually(async () => valuesOf(await held(node, row))[0] === "missed", 15_000);
    const marks = await runInDurableObject(replica("n1"), (_, state) =>
      state.storage.sql.exec("SELECT * FROM dirty_ranges").toArray(),
    );
    expect(marks).toEqual([]);
  });

  it("[RP-49] POST /v1/repairs brings all replicas to agreement, with progress; a second one waits for the first", async () => {
    const { row } = await onlyAtFirst("by-hand");
    const started = await ask("POST", "/v1/repairs", { ...root, body: {} });
    expect(started.status, started.text).toBe(201);
    const repairId = started.json.data["repairId"];
    expect((await ask("POST", "/v1/repairs", { ...root, body: {} })).json).toMatchObject({
      code: "conflict",
      details: { repairId },
    });
    const shown = async () => (await ask("GET", `/v1/repairs/${repairId}`, root)).json.data;
    await eventually(async () => (await shown())["state"] === "finished", 20_000);
    expect(await shown()).toMatchObject({ nodesDone: 3, nodeCount: 3, rowsUnreadable: 0, waitingFor: "" });
    expect((await shown())["rowsRepaired"]).toBeGreaterThanOrEqual(1);
    for (const node of ["n2", "n3"]) expect(valuesOf(await held(node, row))).toEqual(["missed"]);
    const listed = await ask("GET", "/v1/repairs", root);
    expect((listed.json.data["items"] as { repairId: number }[])[0]!.repairId).toBe(repairId);
    expect((await ask("GET", "/v1/repairs/999999", root)).status).toBe(404);
    expect((await ask("GET", "/v1/repairs/x", root)).json.details["issues"]).toMatchObject([{ path: "id" }]);
  });

  it("[RP-125] [RP-127] [RP-130] an incremental repair reads what was written since, and brings that to agreement; a full one reads all", async () => {
    const repaired = async (kind: string): Promise<Record<string, unknown>> => {
      const started = await ask("POST", "/v1/repairs", { ...root, body: { kind } });
      expect(started.status, started.text).toBe(201);
      const path = `/v1/repairs/${started.json.data["repairId"]}`;
      const shown = async () => (await ask("GET", path, root)).json.data;
      await eventually(async () => (await shown())["state"] === "finished", 20_000);
      return shown();
    };
    const { tenantId } = await newTenant({ replicationFactor: 3 });
    const tenant = (await directory().lookupTenant(tenantId))!;
    for (let i = 0; i < 40; i++) {
      const state = stateOf("everywhere", 100 + i);
      for (const node of ["n1", "n2", "n3"]) await send(node, { kind: "merge", row: rowOf(tenant, `key-${i}`), state });
    }
    const all = await repaired("full");
    expect(all["rowsRead"]).toBeGreaterThanOrEqual(40);
    const { row } = await onlyAtFirst("incremental");
    const some = await repaired("incremental");
    expect(some).toMatchObject({ kind: "incremental", nodesDone: 3, rangesLeftOut: 0, waitingFor: "", purge: null });
    expect(some["rowsCompared"]).toBeGreaterThanOrEqual(41);
    expect(some["rowsRepaired"]).toBe(1);
    expect(some["rowsRead"]).toBeLessThan(20);
    for (const node of ["n2", "n3"]) expect(valuesOf(await held(node, row))).toEqual(["missed"]);
    await repaired("incremental");
    expect(await repaired("incremental")).toMatchObject({ rowsRepaired: 0, rowsRead: 0 });
    const wrong = await ask("POST", "/v1/repairs", { ...root, body: { kind: "some" } });
    expect(wrong.status).toBe(400);
    expect(wrong.json.details["issues"]).toMatchObject([{ path: "kind" }]);
  });
});
