// The replication factor changes behind a running gateway, and a storage node loses its disk: through HTTP, on real objects.
import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { tokenOf } from "../../src/cluster/token.ts";
import type { KeyValueReplica } from "../../src/worker.ts";
import { ask, directory, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { eventually, held, replica, restart, rowOf, send } from "./replica-support.ts";

const root = { key: ROOT_KEY };
const NODES = ["n1", "n2", "n3"];
const pathOf = (tenantId: string): string => `/v1/tenants/${tenantId}`;

async function setFactor(tenantId: string, replicationFactor: number) {
  return ask("PATCH", pathOf(tenantId), { ...root, body: { replicationFactor } });
}

const shownOf = async (tenantId: string) => (await ask("GET", pathOf(tenantId), root)).json.data;

async function settled(tenantId: string): Promise<void> {
  await eventually(async () => (await shownOf(tenantId))["replicationFactorChange"] === null, 25_000);
}

async function holdersOf(tenantId: string, key: string): Promise<string[]> {
  const tenant = (await directory().lookupTenant(tenantId))!;
  const holders: string[] = [];
  for (const node of NODES) if (await held(node, rowOf(tenant, key))) holders.push(node);
  return holders;
}

describe("a change of the replication factor", () => {
  it("[RP-39] [RP-40] [RP-42] [AC-12] goes up under load, with progress; what was written before and meanwhile is on all", async () => {
    const { tenantId, key } = await newTenant({ replicationFactor: 1 });
    const put = (name: string, value: unknown) => ask("POST", "/v1/key-value", { key, body: { key: name, value } });
    for (let i = 0; i < 20; i++) expect((await put(`before-${i}`, i)).status).toBe(200);
    const answer = await setFactor(tenantId, 3);
    expect(answer.json.data).toMatchObject({ replicationFactor: 1, replicationFactorChange: { from: 1, to: 3 } });
    const statuses = new Set<number>();
    let isOver = false;
    const load = (async () => {
      for (let i = 0; !isOver; i++) {
        const { status } = await put(`during-${i % 20}`, i);
        statuses.add(status);
        const read = await ask("GET", `/v1/key-value?key=during-${i % 20}`, { key });
        expect([read.status, read.json.data["value"]]).toEqual([200, i]);
      }
    })();
    await settled(tenantId);
    isOver = true;
    await load;
    expect([...statuses]).toEqual([200]);
    expect(await shownOf(tenantId)).toMatchObject({ replicationFactor: 3, replicationFactorChange: null });
    for (let i = 0; i < 20; i++) {
      expect(await holdersOf(tenantId, `before-${i}`), `before-${i}`).toEqual(NODES);
      const read = await ask("GET", `/v1/key-value?key=before-${i}&consistency=all`, { key });
      expect([read.status, read.json.data["value"]]).toEqual([200, i]);
    }
  });

  it("[RP-39] [RP-43] goes down; afterwards one replica is enough, and a coordinator with the old route is told", async () => {
    const { tenantId, key } = await newTenant({ replicationFactor: 3 });
    await ask("POST", "/v1/key-value", { key, body: { key: "k", value: 1 } });
    expect((await setFactor(tenantId, 1)).status).toBe(200);
    await settled(tenantId);
    expect((await ask("GET", "/v1/key-value?key=k&consistency=all", { key })).json.data["value"]).toBe(1);
    const tenant = (await directory().lookupTenant(tenantId))!;
    const { results } = await send("n1", { kind: "route", revision: 0 }, { kind: "get", row: rowOf(tenant, "k") });
    expect(results[1]).toEqual({ kind: "stale", revision: 3 });
    // An export that counts replicas by the old route is refused too.
    const refusal = await runInDurableObject(replica("n1"), (node) =>
      (node as unknown as KeyValueReplica).scan(tenant, null, 10, 2).then(() => "", String),
    );
    expect(refusal).toContain("newer route");
    expect(await replica("n1").scan(tenant, null, 10, 3)).toBeInstanceOf(Uint8Array);
  });

  it("[AC-12] more replicas than zones is a 400 that names field, value and limit; a second change is a 409; the old value calls it off", async () => {
    const { tenantId } = await newTenant({ replicationFactor: 1 });
    const tooMany = await setFactor(tenantId, 4);
    expect([tooMany.status, tooMany.json.code]).toEqual([400, "invalidRequest"]);
    expect(tooMany.json.details["issues"]).toMatchObject([{ path: "replicationFactor", value: 4, limit: 3 }]);
    expect((await setFactor(tenantId, 3)).status).toBe(200);
    expect((await setFactor(tenantId, 2)).json.code).toBe("conflict");
    expect((await setFactor(tenantId, 1)).status).toBe(200);
    await settled(tenantId);
    expect(await shownOf(tenantId)).toMatchObject({ replicationFactor: 1, replicationFactorChange: null });
  });

  it("[RP-39] goes on where it was when the tenant's object dies", async () => {
    const { tenantId, key } = await newTenant({ replicationFactor: 2 });
    await ask("POST", "/v1/key-value", { key, body: { key: "k", value: 1 } });
    const tenant = (await directory().lookupTenant(tenantId))!;
    expect((await setFactor(tenantId, 3)).status).toBe(200);
    const { env } = await import("cloudflare:workers");
    const stub = env.TENANT.get(env.TENANT.idFromName(`t${tenant}`)) as unknown as DurableObjectStub;
    await runInDurableObject(stub, (_, state) => state.abort("injected: crash")).catch(() => undefined);
    await settled(tenantId);
    expect(await holdersOf(tenantId, "k")).toEqual(NODES);
  });
});

describe("a storage node that lost its disk", () => {
  it("[RP-44] [RP-46] counts nowhere until it was filled, then holds rows and records, and the Directory shows it", async () => {
    const { tenantId, key } = await newTenant({ replicationFactor: 3 });
    const writeId = "00112233445566778899aabbccddeeff";
    for (let i = 0; i < 30; i++)
      await ask("POST", "/v1/key-value", { key, body: { key: `k${i}`, value: i, consistency: "all" } });
    const own = { key, body: { key: "own", value: 1 }, headers: { "idempotency-key": writeId } };
    const first = await ask("POST", "/v1/key-value", own);
    await ask("POST", "/v1/key-value", { key, body: { key: "own", value: 2 } });
    const before = (await directory().view()).nodes.find((node) => node.id === "n2")!;
    await runInDurableObject(replica("n2"), async (_, state) => {
      await state.storage.deleteAlarm();
      await state.storage.deleteAll();
    });
    await restart("n2");
    const tenant = (await directory().lookupTenant(tenantId))!;
    const row = rowOf(tenant, "k1");
    const { results } = await send("n2", { kind: "route", revision: 0 }, { kind: "get", row });
    expect(results[1]).toMatchObject({ kind: "refused", code: "bootstrapping" });
    const during = (await directory().view()).nodes.find((node) => node.id === "n2")!;
    expect(during).toMatchObject({ state: "rebuilding", incarnation: before.incarnation + 1 });
    const all = await ask("POST", "/v1/key-value", { key, body: { key: "all", value: 1, consistency: "all" } });
    expect(all.status).toBe(503);
    expect((await ask("POST", "/v1/key-value", { key, body: { key: "quorum", value: 1 } })).status).toBe(200);
    await eventually(async () => {
      const { nodes } = await directory().view();
      return nodes.find((node) => node.id === "n2")?.state === "active";
    }, 25_000);
    for (const name of ["k0", "k29", "own", "quorum"])
      expect(await held("n2", rowOf(tenant, name)), name).toEqual(await held("n1", rowOf(tenant, name)));
    const again = await ask("POST", "/v1/key-value", own);
    expect(again.json.data["vectorClock"]).toEqual(first.json.data["vectorClock"]);
    const id = Uint8Array.from(writeId.match(/../g)!, (pair) => Number.parseInt(pair, 16));
    expect(tokenOf(tenant, "own")).toEqual(rowOf(tenant, "own").token);
    const recalled = await send("n2", { kind: "recall", row: rowOf(tenant, "own"), writeId: id });
    expect(recalled.results[0]).toMatchObject({ kind: "recalled" });
  });
});
