// GET /v1/cluster: the instances, what gossip says of them, which of their processes answer, what these use, and what is where.
// GET /v1/cluster/events: what happened to them.
// Guarantees: asks each process once with a deadline, at most once a second whoever asks; answers also while the Directory is away, from the
// instances' own table. Must not: tell what is stored.
import { z } from "@hono/zod-openapi";
import { type PeerState, peersOf } from "../../objects/peers.ts";
import type { ClusterEvent } from "../../objects/tenancy-rpc.ts";
import { withDeadline } from "../../objects/with-deadline.ts";
import type { DirectoryView, StorageNode } from "../access/types.ts";
import { shownEvent } from "../cluster/events.ts";
import { clusterPlace, zoneHere } from "../cluster/placement.ts";
import type { ClusterSeen } from "../cluster/told.ts";
import { success } from "./answers.ts";
import { Cached } from "./cached.ts";
import type { Call } from "./call.ts";
import { eventShape, gossipShape, shownGossip, shownUse, useShape } from "./cluster-shown.ts";
import { afterCursor, pageOf, pageQuery } from "./cursor.ts";
import { reading } from "./errors.ts";
import { invalidRequest } from "./issues.ts";
import { PROBE_CACHE_MS, READY_DEADLINE_MS } from "./limits.ts";
import { defineRoute, type Route } from "./route.ts";
import { nodeShape, pageShape } from "./schemas.ts";
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
      gossip: gossipShape.nullable().describe("Null = there is no gossip, as on a single node."),
      use: useShape.nullable().describe("What the instance's own supervisor measured; null = it was not reached."),
    }),
  ),
});

/** It asks the others, with a deadline of its own. Ms. */
const SUPERVISOR_DEADLINE_MS = 1500;

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

/** What this instance's supervisor knows of all; undefined = there is none, or it does not answer. */
async function askSupervisor(call: Call): Promise<ClusterSeen | undefined> {
  const supervisor = call.services.env.SUPERVISOR;
  if (!supervisor) return undefined;
  try {
    const answer = await withDeadline(supervisor.fetch("http://supervisor/seen"), SUPERVISOR_DEADLINE_MS, "supervisor");
    return (await answer.json()) as ClusterSeen;
  } catch (error) {
    call.services.log.warn("supervisor does not answer", {}, error);
    return undefined;
  }
}

async function observe(call: Call): Promise<ClusterData> {
  const { env, stubs } = call.services;
  const asked = withDeadline(stubs.directory().view(), READY_DEADLINE_MS, "Directory");
  const view = await asked.catch(() => undefined);
  const nodes = nodesOf(call, view);
  const [seen, peers, answering] = await Promise.all([
    askSupervisor(call),
    peersOf(env, { now: call.services.now, deadlineMs: READY_DEADLINE_MS }),
    Promise.all(nodes.map(({ id }) => answers(stubs.replica(id).probe(), id))),
  ]);
  const shown = nodes.map((node, index) => ({ ...shownNode(node), answering: answering[index]! }));
  const instances = (peers ?? alone(call, nodes)).map((peer) => ({
    ...peer,
    nodes: shown.filter((_, index) => nodes[index]!.zone === peer.zone),
    gossip: shownGossip(seen?.members.find(({ zone }) => zone === peer.zone)),
    use: shownUse(seen?.figures[peer.zone]),
  }));
  const directory = view ? "answering" : "away";
  return { mode: env.JADE_MODE ?? "unknown", answeredBy: zoneHere(env), directory, instances } as ClusterData;
}

export function clusterRoute(services: Services): Route {
  const cached = new Cached<ClusterData>(PROBE_CACHE_MS, services.now);
  return defineRoute({
    method: "get",
    path: "/v1/cluster",
    summary: "The instances: how gossip sees them, which of their processes answer, what these use, and what is where",
    access: "root",
    data: clusterShape,
    errors: [],
    async handle(call) {
      const data = await cached.get(3 * READY_DEADLINE_MS, () => observe(call));
      return success(call, { message: "observed", data });
    },
  });
}

/** Above every number of an event. */
const FROM_THE_NEWEST = 10 ** 15;

export const listClusterEvents = defineRoute({
  method: "get",
  path: "/v1/cluster/events",
  summary: "What happened to the instances and the storage nodes, newest first; the last thousand are kept",
  access: "root",
  query: pageQuery,
  data: pageShape(eventShape),
  errors: [],
  async handle(call, { query }) {
    const before = afterCursor(query.cursor) || String(FROM_THE_NEWEST);
    if (!/^[0-9]{1,16}$/.test(before)) throw invalidRequest([{ path: "cursor", message: "is not one of this list" }]);
    const asked = call.services.stubs.directory().listEvents({ before: Number(before), limit: query.limit + 1 });
    const events = await reading(asked, "Directory");
    const name = (event: ClusterEvent): string => String(event.number);
    const data = pageOf(events, query.limit, { name, item: shownEvent });
    return success(call, { message: "listed", data });
  },
});
