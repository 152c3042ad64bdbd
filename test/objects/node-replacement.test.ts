// An instance that stays failed loses its storage nodes to the others, unasked: gossip's views, the Directory, replicas, all real.
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import type { ClusterEvent } from "../../objects/tenancy-rpc.ts";
import { SOLE_ZONE } from "../../src/cluster/placement.ts";
import { ask, directory, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { eventually, held, namespaceOf, replaceBindings, replica, rowOf, valuesOf } from "./replica-support.ts";

const WITHIN_MS = 100_000;
const ZONES = ["z1", "z2", "z3", "z4"];
const NAMES = Array.from({ length: 20 }, (_, i) => `key-${i}`);

const stubOf = (namespace: DurableObjectNamespace, name: string) =>
  namespace.get(namespace.idFromName(name)) as unknown as DurableObjectStub;

/** The Directory is as in a cluster; `nodeOf`: how it and the coordinator reach storage nodes. */
async function asInCluster(nodeOf: (name: string) => object): Promise<void> {
  const bindings = {
    KEY_VALUE_REPLICA: namespaceOf(nodeOf),
    JADE_CONFIG: JSON.stringify({
      cluster: { replaceAfterSeconds: 1, replacePolicy: "act" },
      keyValue: { ringGraceSeconds: 0 },
    }),
  };
  await replaceBindings(stubOf(env.COORDINATOR as never, SOLE_ZONE), bindings);
  const nodes = { n1: "z1", n2: "z2", n3: "z3" };
  const place = { role: "leaders", zone: "z1", zones: ZONES, nodes };
  await replaceBindings(stubOf(env.DIRECTORY as never, "system"), { ...bindings, JADE_CLUSTER: JSON.stringify(place) });
}

const away = () => Promise.reject(new Error("injected: away"));
const DEAD = { call: away, callHanded: away, page: away, syncRing: away, keepsHints: away, retire: away };

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

it("[CL-78] an instance's nodes are removed once it has failed for long, and others hold what they held; [CL-79] not when it is back in time", async () => {
  const { tenantId, key } = await newTenant({ replicationFactor: 3 });
  const tenant = (await directory().lookupTenant(tenantId))!;
  const puts = NAMES.map((name) => ({ op: "put", key: name, value: name }));
  expect((await ask("POST", "/v1/key-value/batch", { key, body: { operations: puts } })).status).toBe(200);
  const copies = async (nodeId: string) => {
    const rows = await Promise.all(NAMES.map((name) => held(nodeId, rowOf(tenant, name))));
    return rows.filter((state) => valuesOf(state).length > 0).length;
  };
  expect(await copies("n3")).toBeGreaterThan(0);

  await asInCluster(replica);
  const added = await ask("POST", "/v1/cluster/nodes", { key: ROOT_KEY, body: { zone: "z4", weight: 0.1 } });
  expect(added.status, added.text).toBe(202);
  await eventually(async () => (await operations())[0]!.state === "finished", WITHIN_MS);
  await say("failed");
  await say("alive");
  await eventually(async () => (await operations())[0]!.finishedAtMs !== null, WITHIN_MS);
  expect((await operations())[0]).toMatchObject({ kind: "remove", nodeId: "n3", reason: "z3 is back" });
  expect((await events()).map(({ kind, outcome }) => [kind, outcome])).toEqual([
    ["instanceFailed", undefined],
    ["replacementDue", "begun"],
    ["instanceBack", undefined],
  ]);

  await asInCluster((name) => (name === "n3" ? DEAD : replica(name)));
  await say("failed");
  await eventually(async () => (await operations())[0]!.state === "cleaning", WITHIN_MS);
  expect((await directory().view()).nodes.map(({ id, state }) => `${id} ${state}`)).toEqual([
    "n1 active",
    "n2 active",
    "n3 leaving",
    "n4@z4 active",
  ]);
  for (const node of ["n1", "n2", "n4@z4"]) expect(await copies(node)).toBe(NAMES.length);
  for (const name of NAMES) {
    const read = await ask("GET", `/v1/key-value?key=${name}&consistency=all`, { key });
    expect([read.status, read.json.data["value"]], read.text).toEqual([200, name]);
  }
  const { json } = await ask("GET", "/v1/cluster/events", { key: ROOT_KEY });
  expect(json.data["items"]).toContainEqual(
    expect.objectContaining({ kind: "replacementDue", zone: "z3", outcome: "begun" }),
  );
}, 240_000);
