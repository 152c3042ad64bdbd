// Where an object is at home: in this process, with the leaders, or in a zone. The one table behind every way to a stub in a cluster.
// Guarantees: pure; without a cluster everything is here; a zone-bound object has one home, which its name tells; a name that tells none is
// an error, not a guess. Must not: know how another process is reached (objects/reach.ts).
import { z } from "zod";

/** There is exactly one of each; the platform owns, fences and moves it (DESIGN 3). */
export const LEADER_BINDINGS = ["DIRECTORY", "TENANT", "CONFIG_KEYSPACE", "VECTOR_SHARD", "WEBHOOK_SENDER"] as const;
/** There are several, each belongs to a zone and stays there. */
export const ZONE_BINDINGS = [
  "COORDINATOR",
  "KEY_VALUE_REPLICA",
  "CONFIG_FOLLOWER",
  "VECTOR_FOLLOWER",
  "ZONE_VIEWS",
] as const;

export type LeaderBinding = (typeof LEADER_BINDINGS)[number];
export type ZoneBinding = (typeof ZONE_BINDINGS)[number];
export type ObjectBinding = LeaderBinding | ZoneBinding;

const clusterSchema = z.strictObject({
  role: z.enum(["zone", "leaders"]),
  /** Of this instance. */
  zone: z.string(),
  /** Of all instances. */
  zones: z.array(z.string()).min(1),
  /** Storage node → its zone. */
  nodes: z.record(z.string(), z.string()),
});

/** What the binding `JADE_CLUSTER` holds as JSON: which process of the cluster this is. */
export type ClusterPlace = z.output<typeof clusterSchema>;

export type Home =
  | { readonly kind: "here" }
  | { readonly kind: "leaders" }
  | { readonly kind: "zone"; readonly zone: string };

/** A single node has one Coordinator, called so. */
export const SOLE_ZONE = "z1";

const HERE: Home = { kind: "here" };
const LEADERS: Home = { kind: "leaders" };

let held: { readonly text: string; readonly place: ClusterPlace } | undefined;

/** @param text of `JADE_CLUSTER`; undefined or empty = there is no cluster. */
export function clusterPlace(text: string | undefined): ClusterPlace | undefined {
  if (text === undefined || text === "") return undefined;
  if (held?.text !== text) held = { text, place: clusterSchema.parse(JSON.parse(text)) };
  return held.place;
}

/** The zone of this process. */
export function zoneHere(env: { readonly JADE_CLUSTER?: string | undefined }): string {
  return clusterPlace(env.JADE_CLUSTER)?.zone ?? SOLE_ZONE;
}

export function isLeaderBinding(binding: string): binding is LeaderBinding {
  return (LEADER_BINDINGS as readonly string[]).includes(binding);
}

export function isZoneBinding(binding: string): binding is ZoneBinding {
  return (ZONE_BINDINGS as readonly string[]).includes(binding);
}

/** A node that is added: in a cluster its name tells its zone, since no table of the processes has it (spec CL-73). */
export function nodeIdOf(of: { readonly number: number; readonly zone: string; readonly isCluster: boolean }): string {
  return of.isCluster ? `n${of.number}@${of.zone}` : `n${of.number}`;
}

const ADDED_NODE = /^n[0-9]+@(.+)$/;

/** Of a storage node; undefined = none that is known. */
export function zoneOfNode(
  { nodes, zones }: Pick<ClusterPlace, "nodes" | "zones">,
  nodeId: string,
): string | undefined {
  if (Object.hasOwn(nodes, nodeId)) return nodes[nodeId];
  return zones.find((zone) => zone === ADDED_NODE.exec(nodeId)?.[1]);
}

/** The zone that a zone-bound object's name tells; undefined = none that is known. */
function zoneOf(place: ClusterPlace, binding: ZoneBinding, name: string): string | undefined {
  const { zones } = place;
  switch (binding) {
    case "KEY_VALUE_REPLICA":
      return zoneOfNode(place, name);
    case "COORDINATOR":
    case "ZONE_VIEWS":
      return zones.find((zone) => zone === name);
    case "CONFIG_FOLLOWER":
    case "VECTOR_FOLLOWER":
      return zones.find((zone) => name.startsWith(`${zone}/`));
    default:
      return binding satisfies never;
  }
}

/** Throws where no zone is the object's home: calling it anywhere would make a second one. */
export function homeOf(place: ClusterPlace, binding: ObjectBinding, name: string): Home {
  if (isLeaderBinding(binding)) return place.role === "leaders" ? HERE : LEADERS;
  const zone = zoneOf(place, binding, name);
  if (zone === undefined)
    throw new Error(`${binding} "${name}" belongs to none of the zones ${place.zones.join(", ")}`);
  return place.role === "zone" && zone === place.zone ? HERE : { kind: "zone", zone };
}
