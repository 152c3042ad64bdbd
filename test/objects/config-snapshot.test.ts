// GET and PUT /v1/config/snapshot over the real Worker.
import { exports } from "cloudflare:workers";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { SNAPSHOT_TYPE, SnapshotReader } from "../../src/wire/config-snapshot.ts";
import { type Answer, type Ask, ask, newKey, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { watcher } from "./watch-support.ts";

let key = "";
let tenantId = "";
let spaces = 0;

beforeAll(async () => {
  const tenant = await newTenant();
  key = tenant.key;
  tenantId = tenant.tenantId;
}, 60_000);

function keyspace(name = `snap${spaces++}`, bearer = key) {
  const at = (path: string) => `/v1/config${path}${path.includes("?") ? "&" : "?"}namespace=${name}`;
  const send = (method: string, path: string, more: Ask = {}): Promise<Answer> =>
    ask(method, at(path), { key: bearer, ...more });
  const response = () =>
    exports.default.fetch(`http://jade.test${at("/snapshot")}`, { headers: { authorization: `Bearer ${bearer}` } });
  return {
    send,
    response,
    put: (name: string, body: object) => send("PUT", `/keys/${encodeURIComponent(name)}`, { body }),
    take: async () => new Uint8Array(await (await response()).arrayBuffer()),
    restore: (snapshot: Uint8Array, query = "", headers: Record<string, string> = {}) =>
      send("PUT", `/snapshot${query}`, {
        raw: snapshot as Uint8Array<ArrayBuffer>,
        headers: { "content-type": SNAPSHOT_TYPE, ...headers },
      }),
    revision: async () => (await send("GET", "/status")).json.data["revision"] as number,
    entries: async (query = "") =>
      (await send("GET", `/range?prefix=&limit=10000${query}`)).json.data["items"] as readonly Record<
        string,
        unknown
      >[],
  };
}

/** Keys with every kind of number, two leases, and a history. */
async function filled(space: ReturnType<typeof keyspace>): Promise<string> {
  const { leaseId } = (await space.send("POST", "/leases", { body: { ttlSeconds: 600 } })).json.data;
  await space.send("POST", "/leases", { body: { ttlSeconds: 60 } });
  for (let i = 0; i < 5; i++) await space.put("often", { value: i });
  await space.put("leased", { value: { deep: [1] }, leaseId });
  await space.put("gone", { value: 1 });
  await space.send("DELETE", "/keys/gone");
  const put = (name: string) => ({ op: "put", key: name, value: name });
  await space.send("POST", "/txn", { body: { success: [put("together/1"), put("together/2"), put("a/first")] } });
  return leaseId as string;
}

describe("snapshot", () => {
  it("[AC-85] what a restore brought counts in the tenant's usage, without another write", async () => {
    const tenant = await newTenant();
    const [from, to] = [keyspace("from", tenant.key), keyspace("to", tenant.key)];
    await filled(from);
    expect((await to.restore(await from.take())).status).toBe(200);
    const usage = async () => (await ask("GET", `/v1/tenants/${tenant.tenantId}/usage`, { key: ROOT_KEY })).json.data;
    const isCounted = async () => expect(await usage()).toMatchObject({ config: { keys: 10 } });
    await vi.waitFor(isCounted, { timeout: 10_000, interval: 100 });
  });

  it("[CF-155] restored into another namespace keys keep values, revisions, versions and leases", async () => {
    const [from, to] = [keyspace(), keyspace()];
    const leaseId = await filled(from);
    const snapshot = await from.take();
    const before = await from.entries();
    const answer = await to.restore(snapshot);
    expect(answer.status, answer.text).toBe(200);
    const taken = await from.revision();
    expect(answer.json.data).toMatchObject({ snapshotRevision: taken, revision: taken + 2, keys: 5, leases: 2 });
    expect(before).toHaveLength(5);
    expect(await to.entries()).toEqual(before);
    expect((await to.send("GET", `/leases/${leaseId}?keys=true`)).json.data).toMatchObject({
      grantedTtlSeconds: 600,
      keys: ["leased"],
    });
    // And it goes on as any keyspace: versions count on, leases end their keys.
    const put = await to.put("often", { value: "next" });
    expect(put.json.data).toMatchObject({ revision: taken + 3, version: 6 });
    await to.send("DELETE", `/leases/${leaseId}`);
    expect((await to.send("GET", "/keys/leased")).status).toBe(404);
    // A snapshot of what was restored is one of the same keys.
    expect((await keyspace().restore(await to.take())).json.data).toMatchObject({ keys: 4, leases: 1 });
  });

  it("[CF-155] shows one revision while keys are written, deleted and compacted", async () => {
    const space = keyspace();
    const value = "x".repeat(40_000);
    for (let i = 0; i < 120; i += 60) {
      const success = Array.from({ length: 60 }, (_, at) => ({
        op: "put",
        key: `k${String(i + at).padStart(3, "0")}`,
        value,
      }));
      expect((await space.send("POST", "/txn", { body: { success } })).status).toBe(200);
    }
    const revision = await space.revision();
    const response = await space.response();
    expect(response.headers.get("jade-revision")).toBe(String(revision));
    const body = response.body!.getReader();
    const pieces = [(await body.read()).value!];
    for (const name of ["k119", "k118", "new"]) await space.put(name, { value: "later" });
    await space.send("DELETE", "/range?prefix=k10");
    expect((await space.send("POST", "/compact", { body: { revision: await space.revision() } })).status).toBe(200);
    for (let piece = await body.read(); !piece.done; piece = await body.read()) pieces.push(piece.value);
    const reader = new SnapshotReader();
    for (const piece of pieces) for (const _ of reader.take(piece));
    expect(reader.finish()).toMatchObject({ keys: 120, revision });
    const copy = keyspace();
    await copy.restore(await new Blob(pieces).bytes());
    const entries = await copy.entries();
    expect(entries.map((entry) => entry["modRevision"])).toEqual(
      Array.from({ length: 120 }, (_, i) => (i < 60 ? 2 : 3)),
    );
    expect(entries.every((entry) => entry["value"] === value)).toBe(true);
  });

  it("[CF-156] a changed, cut off, repeated or foreign snapshot is refused, and the namespace stays as it is", async () => {
    const [from, to] = [keyspace(), keyspace()];
    await filled(from);
    const snapshot = await from.take();
    await to.put("mine", { value: 1 });
    const broken: Uint8Array[] = [
      new Uint8Array(0),
      new TextEncoder().encode("no snapshot"),
      new Uint8Array([...snapshot, 0]),
    ];
    for (const cut of [1, 8, 20, snapshot.length - 1]) broken.push(snapshot.slice(0, cut));
    for (let at = 0; at < snapshot.length; at += 7) {
      const changed = snapshot.slice();
      changed[at]! ^= 0x10;
      broken.push(changed);
    }
    for (const bytes of broken) {
      const answer = await to.restore(bytes);
      expect(answer.status, `${bytes.length} ${answer.text}`).toBe(400);
      expect(answer.json.message).toMatch(/nothing was restored/);
    }
    expect((await to.entries()).map((entry) => entry["key"])).toEqual(["mine"]);
    expect((await to.restore(snapshot)).status).toBe(200);
    expect(await to.entries()).toEqual(await from.entries());
  });

  it("[CF-158] after a restore the revision is above all of before; older ones are compacted; watchers are told", async () => {
    const tenant = await newTenant();
    const space = keyspace("default", tenant.key);
    await space.put("a", { value: 1 });
    const snapshot = await space.take();
    for (let i = 0; i < 10; i++) await space.put("a", { value: "later" });
    const revision = await space.revision();
    const watching = await watcher(tenant.key);
    watching.stream.create({ key: "a", rangeEnd: "b", startRevision: 0 });
    await expect.poll(() => watching.messages.length).toBeGreaterThan(0);
    const restored = (await space.restore(snapshot)).json.data;
    expect(restored).toMatchObject({ revision: revision + 2, snapshotRevision: 2 });
    expect((await space.send("GET", "/keys/a")).json.data).toMatchObject({ value: 1, modRevision: 2 });
    const old = await space.send("GET", `/keys/a?revision=${revision}`);
    expect(old).toMatchObject({ status: 410, json: { code: "compacted" } });
    await watching.closed;
    const again = await watcher(tenant.key);
    again.stream.create({ key: "a", rangeEnd: "b", startRevision: revision + 1 });
    await expect.poll(() => again.messages.at(-1)).toMatchObject({ kind: "canceled", compactRevision: revision + 2 });
    expect((await space.restore(snapshot, "?aboveRevision=5000")).json.data).toMatchObject({ revision: 5002 });
  });

  it("[CF-159] a restore that is repeated under its key is applied once; another snapshot under it is refused", async () => {
    const [from, to] = [keyspace(), keyspace()];
    await filled(from);
    const snapshot = await from.take();
    const headers = { "idempotency-key": "restore-1" };
    const first = await to.restore(snapshot, "", headers);
    await to.put("since", { value: 1 });
    const second = await to.restore(snapshot, "", headers);
    expect(second.json.data).toEqual(first.json.data);
    expect((await to.send("GET", "/keys/since")).status).toBe(200);
    await from.put("more", { value: 1 });
    expect((await to.restore(await from.take(), "", headers)).json.code).toBe("idempotencyKeyReused");
  });

  it("[CF-155] an empty namespace has a snapshot, which restores to an empty one", async () => {
    const [from, to] = [keyspace(), keyspace()];
    await to.put("a", { value: 1 });
    expect((await to.restore(await from.take())).json.data).toMatchObject({ keys: 0, revision: 4 });
    expect(await to.entries()).toEqual([]);
    expect((await to.put("b", { value: 1 })).json.data["revision"]).toBe(5);
  });

  it("[CF-258] leases that end behind the year 2189 are granted, restored and let a namespace open", async () => {
    const [from, to] = [keyspace(), keyspace()];
    await from.put("a", { value: 1 });
    expect((await from.send("POST", "/leases", { body: { ttlSeconds: 9_000_000_000, leaseId: "5" } })).status).toBe(
      201,
    );
    expect((await to.restore(await from.take())).status).toBe(200);
    expect(await to.entries()).toMatchObject([{ key: "a", value: 1 }]);
    expect((await to.put("b", { value: 1 })).status).toBe(201);
  });

  it("[CF-86] restoring needs an admin key and the right type; a read-only key may take snapshots", async () => {
    const space = keyspace();
    await space.put("a", { value: 1 });
    const reader = keyspace("snap0", await newKey(tenantId, { scope: "read-write" }));
    expect((await reader.response()).status).toBe(200);
    expect((await reader.restore(await space.take())).status).toBe(403);
    const answer = await space.send("PUT", "/snapshot", { body: {} });
    expect(answer.status).toBe(415);
    expect((await space.restore(await space.take(), "?aboveRevision=-1")).status).toBe(400);
  });
});
