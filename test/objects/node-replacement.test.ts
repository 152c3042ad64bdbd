// An instance that stays failed loses its storage nodes to the others, unasked: gossip's views, the Directory, replicas, all real.
import { env, exports } from "cloudflare:workers";
import { expect, it } from "vitest";
import type { ClusterEvent } from "../../objects/tenancy-rpc.ts";
import { ask, directory, newTenant, ORIGIN, ROOT_KEY } from "./gateway-support.ts";
import { eventually, held, replaceBindings, rowOf, valuesOf } from "./replica-support.ts";

const WITHIN_MS = 100_000;
const ZONES = ["z1", "z2", "z3"];
const NAMES = Array.from({ length: 20 }, (_, i) => `key-${i}`);

/** Three instances; in a simulated world the node that leaves may be away (RP-119). */
async function asInCluster(): Promise<void> {
  await replaceBindings(env.DIRECTORY.get(env.DIRECTORY.idFromName("system")) as unknown as DurableObjectStub, {
    JADE_CONFIG: JSON.stringify({
      cluster: { replaceAfterSeconds: 1, replacePolicy: "act", eventsTenant: "operators" },
      keyValue: { ringGraceSeconds: 0 },
    }),
    JADE_CLUSTER: JSON.stringify({
      role: "leaders",
      zone: "z1",
      zones: ZONES,
      nodes: { n1: "z1", n2: "z2", n3: "z3" },
    }),
  });
}

async function say(state: "alive" | "failed"): Promise<void> {
  for (const zone of ["z1", "z2"]) {
    const members = ZONES.map((each) =>
      each === "z3"
        ? { zone: each, state, incarnation: 2, sinceMs: 1, isTrusted: state === "alive" }
        : { zone: each, state: "alive" as const, incarnation: 1, sinceMs: 1, isTrusted: true },
    );
    await directory().noteView({ zone, members });
  }
}

const events = async (): Promise<readonly ClusterEvent[]> =>
  (await directory().listEvents({ before: 1e9, limit: 100 })).toReversed();
const operations = () => directory().listOperations();

/** Watched from the first revision on: events as keys, as anybody hears of them. */
async function watched(key: string, count: number): Promise<unknown[]> {
  const path = "/v1/config/watch?prefix=cluster/events/&startRevision=1";
  const headers = { authorization: `Bearer ${key}`, accept: "text/event-stream" };
  const { body } = await exports.default.fetch(ORIGIN + path, { headers });
  const reader = body!.pipeThrough(new TextDecoderStream()).getReader();
  const values: unknown[] = [];
  for (let text = ""; values.length < count; ) {
    text += (await reader.read()).value;
    const lines = text.split("\n");
    text = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const { events: changes = [] } = JSON.parse(line.slice("data: ".length)) as {
        events?: { type: string; kv: { value: unknown } }[];
      };
      values.push(...changes.map(({ type, kv }) => (type === "put" ? kv.value : type)));
    }
  }
  await reader.cancel();
  return values;
}

it("[CL-78] an instance's nodes are removed once it has failed for long, and others hold what they held; [CL-79] not when it is back in time; [CL-136] [CL-137] all of it is told", async () => {
  const { tenantId, key } = await newTenant({ replicationFactor: 2 });
  const tenant = (await directory().lookupTenant(tenantId))!;
  const puts = NAMES.map((name) => ({ op: "put", key: name, value: name }));
  expect((await ask("POST", "/v1/key-value/batch", { key, body: { operations: puts } })).status).toBe(200);
  const copies = async (nodeId: string) => {
    const rows = await Promise.all(NAMES.map((name) => held(nodeId, rowOf(tenant, name))));
    return rows.filter((state) => valuesOf(state).length > 0).length;
  };
  expect(await copies("n3")).toBeGreaterThan(0);

  await asInCluster();
  await say("failed");
  await say("alive");
  await eventually(async () => (await operations())[0]!.finishedAtMs !== null, WITHIN_MS);
  expect((await operations())[0]).toMatchObject({ kind: "remove", nodeId: "n3", reason: "z3 is back" });
  const { operationId } = (await operations())[0]!;
  const told = (await events()).filter(({ kind }) => kind !== "operationBegun");
  expect(told.map((event) => [event.kind, event.outcome ?? event.operationId])).toEqual([
    ["instanceFailed", undefined],
    ["replacementDue", "begun"],
    ["instanceBack", undefined],
    ["operationEnded", operationId],
  ]);
  // Only now is there anybody to be told.
  const operators = await ask("POST", "/v1/tenants", {
    key: ROOT_KEY,
    body: { tenantId: "operators", replicationFactor: 2 },
  });

  await say("failed");
  await eventually(async () => (await operations())[0]!.state === "finished", WITHIN_MS);
  expect((await directory().view()).nodes.map(({ id, state }) => `${id} ${state}`)).toEqual([
    "n1 active",
    "n2 active",
    "n3 removed",
  ]);
  for (const node of ["n1", "n2"]) expect(await copies(node)).toBe(NAMES.length);
  for (const name of NAMES) {
    const read = await ask("GET", `/v1/key-value?key=${name}&consistency=all`, { key });
    expect([read.status, read.json.data["value"]], read.text).toEqual([200, name]);
  }
  const { json } = await ask("GET", "/v1/cluster/events", { key: ROOT_KEY });
  const listed = (json.data["items"] as object[]).toReversed();
  expect(listed.slice(-4)).toMatchObject([
    { kind: "instanceFailed", zone: "z3" },
    { kind: "replacementDue", zone: "z3", outcome: "begun", operationId: operationId + 1 },
    { kind: "operationBegun", zone: "z3", operationId: operationId + 1 },
    { kind: "operationEnded", zone: "z3", message: expect.stringContaining("is finished") },
  ]);
  expect(await watched(operators.json.data["apiKey"], listed.length)).toEqual(listed);
}, 240_000);
