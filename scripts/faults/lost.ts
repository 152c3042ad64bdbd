// An instance that is gone for good, in a real cluster under `cluster.replacePolicy: act`: its storage nodes leave the ring unasked, others take their ranges, every
// acknowledged key is there; copies of vectors that it had are made in other zones; then it comes back empty-handed and gets a node again.
// Guarantees: everything that was acknowledged is looked for at `all`, after each step. Must not: order any change that `act` is to order.
import { existsSync } from "node:fs";
import type { ClusterEvent, ConfigEntry, JadeClient } from "../../src/client/index.ts";
import { Cluster } from "./cluster.ts";
import { Prober } from "./prober.ts";
import { eventNumbers, WebhookReceiver } from "./receiver.ts";
import { forEach, until, Writes } from "./writes.ts";

const SETTINGS = `cluster: { replaceAfterSeconds: 5, replacePolicy: act, eventsTenant: operators }
keyValue: { ringGraceSeconds: 5 }
webhooks: { allowedNetworks: [127.0.0.1] }
`;
const VECTORS = 1000;

export interface LostOptions {
  readonly keys: number;
  readonly report: (line: string) => void;
}

/** A database whose copies stand in all zones, and searches that copies may answer. */
async function copiedVectors(
  client: JadeClient,
): Promise<{ prober: Prober; copies: () => Promise<readonly string[]> }> {
  const replication = { factor: 2 };
  const sharding = { numShards: 4 };
  await client.databases.create({
    databaseId: "copied",
    vectorDimension: 2,
    metric: "euclidean",
    replication,
    sharding,
  });
  const vectors = client.vectors("copied");
  await vectors.upsertMany(Array.from({ length: VECTORS }, (_, at) => ({ id: `v${at}`, values: [at, 1] })));
  const search = async (count: number): Promise<void> => {
    const at = count % VECTORS;
    const { results } = await vectors.search({ vector: [at, 1] }, { topK: 1, consistency: "eventual" });
    if (results[0]?.id !== `v${at}`) throw new Error(`v${at} was not found`);
  };
  const copies = async (): Promise<readonly string[]> => {
    const { shards } = await client.databases.status("copied");
    return shards.flatMap(({ replicas = [] }) => replicas.map(({ zone, state }) => `${zone} ${state}`));
  };
  return { prober: new Prober("search", search, 10), copies };
}

function judged(probers: Record<string, Prober>, sinceMs: number, report: (line: string) => void): string[] {
  return Object.entries(probers).flatMap(([name, prober]) => {
    const away = prober.away(sinceMs);
    report(`${name} meanwhile: ${away.asked}, ${away.failed} failed, ${away.longestMs} ms between two at most`);
    return away.failed > 0 ? [`${name} failed: ${JSON.stringify(away.codes)}`] : [];
  });
}

/** Events go to a webhook; gives the numbers of those that a watch tells, as they come. */
async function toldTo({ url, secret }: WebhookReceiver, operators: JadeClient): Promise<readonly number[]> {
  await operators.config.webhooks.create({ url, secret, prefix: "cluster/events/", events: ["put"] });
  const numbers: number[] = [];
  void (async () => {
    for await (const { events } of operators.config.watch({ prefix: "cluster/events/" }, { startRevision: 1 }))
      for (const event of events)
        if (event.type === "put") numbers.push(((event.entry as ConfigEntry).value as { number: number }).number);
  })().catch(() => undefined);
  return numbers;
}

/** @returns problems */
export async function loseOne({ keys, report }: LostOptions): Promise<string[]> {
  const problems: string[] = [];
  const receiver = await WebhookReceiver.start();
  const cluster = await Cluster.start({ instances: 4, settings: SETTINGS });
  const root = cluster.client("z1", cluster.rootKey, { attempts: 60 });
  const closing: JadeClient[] = [root];
  try {
    const clientOf = async (tenantId: string, zone: string): Promise<JadeClient> =>
      cluster.client(zone, (await root.tenants.create({ tenantId })).apiKey, { attempts: 60 });
    const [operators, client] = [await clientOf("operators", "z2"), await clientOf("acme", "z1")];
    closing.push(operators, client);
    const watched = await toldTo(receiver, operators);
    const writes = new Writes();
    await forEach([...Array(keys).keys()], (key) => writes.put(client, `key-${key}`, key));
    report(`${writes.count} keys with three replicas, over ${cluster.zones.length} instances`);
    const verify = async (when: string): Promise<void> => {
      const missing = await writes.missing(client);
      report(`${when}: ${writes.count - missing.length} of ${writes.count} keys are there at all replicas`);
      problems.push(...missing.map((key) => `${when}: ${key}`));
    };
    const prober = new Prober("put", (count) => writes.put(client, `live-${count % 100}`, count), 10);
    prober.start();
    const copied = await copiedVectors(client);
    copied.prober.start();
    report(`${VECTORS} vectors in 4 shards, their copies ${(await copied.copies()).join(", ")}`);

    const beganMs = performance.now();
    const since = (): string => `${((performance.now() - beganMs) / 1000).toFixed(1)} s`;
    const events = async (): Promise<readonly ClusterEvent[]> => (await root.clusterEvents()).toReversed();
    const seen = async (kind: ClusterEvent["kind"], text = "") => {
      await until(`${kind} ${text}`, async () =>
        (await events()).some((event) => event.kind === kind && event.message.includes(text)),
      );
      const { message } = (await events()).findLast((event) => event.kind === kind)!;
      report(`${since()}: ${kind}: ${message}`);
    };
    // The last one, as no one asks through it.
    const lost = cluster.zones.at(-1)!;
    cluster.hold(lost);
    cluster.signal("instance", lost, "SIGKILL");
    report(`${since()}: ${lost} is killed, and not started again`);
    await seen("instanceFailed");
    await seen("replacementDue");
    await seen("operationBegun");
    await seen("operationEnded", "is finished");
    await verify("without it");
    await seen("copiesMoved");
    const stand = await copied.copies();
    report(`copies are ${stand.join(", ")}`);
    if (stand.length !== 4 || stand.some((copy) => copy.startsWith(lost) || copy.endsWith("filling")))
      problems.push(`copies of vectors are ${stand.join(", ")}`);
    const { nodes } = (await root.cluster()).instances.find(({ zone }) => zone === lost)!;
    if (nodes.length > 0) problems.push(`${lost} still has storage nodes: ${JSON.stringify(nodes)}`);

    cluster.letGo(lost);
    await cluster.untilReady(lost);
    await seen("instanceBack");
    const added = await root.clusterNodes.add({ zone: lost, graceSeconds: 5 });
    await seen("operationEnded", `operation ${added.operationId} `);
    await Promise.all([prober.stop(), copied.prober.stop()]);
    await verify("with a new node in it");
    problems.push(...judged({ puts: prober, searches: copied.prober }, beganMs, report));
    const all = (await events()).map(({ number }) => number);
    await until("every event is watched", async () => watched.length >= all.length);
    report(`a watch saw events ${watched.join(", ")}`);
    if (String(watched) !== String(all)) problems.push(`the watch saw ${watched.join()}, there were ${all.join()}`);
    await until("every event is received", async () => receiver.events.length >= all.length);
    const received = eventNumbers(receiver.events);
    const { all: requests, unsigned } = receiver.requests;
    report(`a webhook brought events ${received.join(", ")} in ${requests} requests, ${unsigned} of them not signed`);
    if (String(received) !== String(all) || unsigned > 0) problems.push(`the webhook brought ${received.join()}`);
    return problems;
  } finally {
    receiver.close();
    for (const each of closing) each.close();
    if (problems.length > 0 && existsSync(cluster.logPath)) report(`the log: ${cluster.keepLog()}`);
    await cluster.dispose();
  }
}
