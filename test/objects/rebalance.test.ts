// A storage node that holds more than its share is re-weighed: replicas, the Directory and its operations, all real.
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import type { StorageNode } from "../../src/access/types.ts";
import { Ring } from "../../src/cluster/ring.ts";
import { tokenOf } from "../../src/cluster/token.ts";
import { ask, directory, newTenant } from "./gateway-support.ts";
import { eventually, replaceBindings } from "./replica-support.ts";

const WITHIN_MS = 100_000;
const LARGE = "x".repeat(100_000);
const LARGE_KEYS = 30;

async function rebalancing(rebalancePolicy: "dry-run" | "act"): Promise<void> {
  await replaceBindings(env.DIRECTORY.get(env.DIRECTORY.idFromName("system")) as unknown as DurableObjectStub, {
    JADE_CONFIG: JSON.stringify({
      cluster: { rebalancePolicy, rebalanceAbove: 1.2, rebalanceEverySeconds: 1, rebalanceLeastMiB: 1 },
      keyValue: { ringGraceSeconds: 0 },
    }),
  });
}

/** Its alarm is set when it is next asked for something. */
const wake = () => directory().noteView({ zone: "nobody", members: [] });
const nodeOf = async (id: string): Promise<StorageNode> =>
  (await directory().view()).nodes.find((node) => node.id === id)!;
const due = async () => {
  const events = await directory().listEvents({ before: 1e9, limit: 100 });
  return events.filter(({ kind }) => kind === "rebalanceDue").toReversed();
};

it("[CL-140] skew is told under dry-run, and answered under act by an operation that re-weighs one node", async () => {
  const { tenantId, key } = await newTenant({ replicationFactor: 1 });
  const tenant = (await directory().lookupTenant(tenantId))!;
  const ring = new Ring((await directory().view()).nodes);
  const holderOf = (name: string) => ring.replicas(tokenOf(tenant, name), 1).write[0]!;
  const names = Array.from({ length: 1000 }, (_, i) => `key-${i}`);
  // All on one of three, over all of its places.
  const large = names.filter((name) => holderOf(name) === "n1").slice(0, LARGE_KEYS);
  for (const name of large) {
    const answer = await ask("POST", "/v1/key-value", { key, body: { key: name, value: LARGE } });
    expect(answer.status, answer.text).toBe(200);
  }
  await rebalancing("dry-run");
  await wake();
  await eventually(async () => (await due()).length > 0, WITHIN_MS);
  expect((await due())[0]).toMatchObject({ outcome: "planned" });
  expect(await directory().listOperations()).toEqual([]);

  await rebalancing("act");
  await eventually(async () => (await directory().listOperations())[0]?.state === "finished", WITHIN_MS);
  const [, begun] = await due();
  const operation = (await directory().listOperations()).at(-1)!;
  expect(begun).toMatchObject({ outcome: "begun", operationId: operation.operationId });
  expect(operation).toMatchObject({ kind: "weigh", keysPerSecond: 5000 });
  const { weight } = await nodeOf(operation.nodeId);
  expect(operation.nodeId === "n1" ? weight < 1 : weight > 1).toBe(true);
  for (const name of large) {
    const read = await ask("GET", `/v1/key-value?key=${name}`, { key });
    expect([read.status, read.json.data["value"]]).toEqual([200, LARGE]);
  }
}, 240_000);
