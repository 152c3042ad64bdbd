// GET /v1/cluster: the instances, which of their processes answer, and which storage nodes stand where.
// Guarantees: asks each process once with a deadline, at most once a second whoever asks; answers also while the Directory is away, from the
// instances' own table. Must not: tell what is stored.
import { z } from "@hono/zod-openapi";
import { type PeerState, peersOf } from "../../objects/peers.ts";
import { withDeadline } from "../../objects/with-deadline.ts";
import type { DirectoryView, StorageNode } from "../access/types.ts";
import { clusterPlace, zoneHere } from "../cluster/placement.ts";
import { success } from "./answers.ts";
import { Cached } from "./cached.ts";
import type { Call } from "./call.ts";
import { PROBE_CACHE_MS, READY_DEADLINE_MS } from "./limits.ts";
import { defineRoute, type Route } from "./route.ts";
import { nodeShape } from "./schemas.ts";
import type { Services } from "./services.ts";
import { shownNode } from "./storage-nodes.ts";

const processState = z.enum(["answering", "away", "unknown"]);

const clusterShape = z.object({
  mode: z.string(),
  answeredBy: z.string().describe("The zone of the instance that answers."),
  directory: z.enum(["answering", "away"]).describe("The one owner of what the deployment consists of."),
  instances: z.array(
    z.object({
      zone: z.string(),
      zoneProcess: processState.describe("The gateway and the storage nodes."),
      leadersProcess: processState.describe(
        "Where owners of tenants, keyspaces and shards run; `unknown` = nobody to ask.",
      ),
      roundTripMs: z.number().nullable().describe("From the instance that answers."),
      nodes: z.array(nodeShape.extend({ answering: z.boolean() })),
    }),
  ),
});

type ClusterData = z.output<typeof clusterShape>;

async function answers(work: Promise<unknown>, name: string): Promise<boolean> {
  return withDeadline(work, READY_DEADLINE_MS, name).then(
    () => true,
    () => false,
  );
}

/** As the Directory has them; while it is away as the instances were configured. */
function nodesOf(call: Call, view: DirectoryView | undefined): readonly StorageNode[] {
  if (view) return view.nodes.filter(({ state }) => state !== "removed");
  const nodes = Object.entries(clusterPlace(call.services.env.JADE_CLUSTER)?.nodes ?? {});
  return nodes.map(([id, zone], index) => ({
    id,
    number: index + 1,
    zone,
    weight: 1,
    state: "active",
    incarnation: 0,
  }));
}

/** A single node has all zones in its one process. */
function alone(call: Call, nodes: readonly StorageNode[]): PeerState[] {
  const zone = zoneHere(call.services.env);
  const zones = new Set([zone, ...nodes.map((node) => node.zone)]);
  return [...zones].map((each) => ({
    zone: each,
    zoneProcess: "answering",
    leadersProcess: "answering",
    roundTripMs: 0,
  }));
}

async function observe(call: Call): Promise<ClusterData> {
  const { env, stubs } = call.services;
  const asked = withDeadline(stubs.directory().view(), READY_DEADLINE_MS, "Directory");
  const view = await asked.catch(() => undefined);
  const nodes = nodesOf(call, view);
  const [peers, answering] = await Promise.all([
    peersOf(env, { now: call.services.now, deadlineMs: READY_DEADLINE_MS }),
    Promise.all(nodes.map(({ id }) => answers(stubs.replica(id).probe(), id))),
  ]);
  const shown = nodes.map((node, index) => ({ ...shownNode(node), answering: answering[index]! }));
  const instances = (peers ?? alone(call, nodes)).map((peer) => ({
    ...peer,
    nodes: shown.filter((_, index) => nodes[index]!.zone === peer.zone),
  }));
  const directory = view ? "answering" : "away";
  return { mode: env.JADE_MODE ?? "unknown", answeredBy: zoneHere(env), directory, instances } as ClusterData;
}

export function clusterRoute(services: Services): Route {
  const cached = new Cached<ClusterData>(PROBE_CACHE_MS, services.now);
  return defineRoute({
    method: "get",
    path: "/v1/cluster",
    summary: "The instances, which of their processes answer, and which storage nodes stand where",
    access: "root",
    data: clusterShape,
    errors: [],
    async handle(call) {
      const data = await cached.get(3 * READY_DEADLINE_MS, () => observe(call));
      return success(call, { message: "observed", data });
    },
  });
}
