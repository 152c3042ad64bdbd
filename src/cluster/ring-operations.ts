// Which changes of the ring may be asked for: the nodes, zones and tenants that there are decide (spec CL-74 to CL-77).
// Guarantees: pure; a refusal names field, value and limit; what is granted leaves every tenant as many zones as it has replicas.
// Must not: choose places on the ring, or know how data moves.
import { maxReplicationFactor } from "../access/ring-start.ts";
import type { StorageNode } from "../access/types.ts";
import { MAX_NODE_NUMBER } from "../wire/clock.ts";
import type { ErrorCode } from "../wire/error-codes.ts";
import { nodeIdOf } from "./placement.ts";
import { isConcerned, nodesAfter, type RingChangeKind, type RingTarget } from "./ring-target.ts";

/** One moves data, one waits for it. */
export const MAX_OPEN_OPERATIONS = 2;

export interface RingRequest {
  readonly kind: RingChangeKind;
  /** Of `add`: undefined = the next number. */
  readonly nodeId?: string | undefined;
  /** Of `remove`: they leave with it. */
  readonly others?: readonly string[] | undefined;
  /** Of `add`: undefined = the zone with the least weight. */
  readonly zone?: string | undefined;
  /** Of `add` and `weigh`. */
  readonly weight?: number | undefined;
}

export interface OpenOperation {
  readonly operationId: number;
  readonly target: RingTarget;
}

export interface RingFacts {
  readonly nodes: readonly StorageNode[];
  readonly open: readonly OpenOperation[];
  readonly zones: readonly string[];
  /** The greatest of all tenants. */
  readonly replicationFactor: number;
  /** Never given before. */
  readonly nextNumber: number;
  readonly isCluster: boolean;
}

export interface RingRefusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** Without places: they are chosen when the change begins. */
export interface PlannedNode {
  readonly id: string;
  readonly number: number;
  readonly zone: string;
  readonly weight: number;
}

export interface PlannedOperation {
  readonly kind: RingChangeKind;
  readonly nodeId: string;
  readonly others?: readonly string[] | undefined;
  readonly joining?: PlannedNode | undefined;
  readonly weight?: number | undefined;
}

export type RingVerdict =
  | { readonly ok: true; readonly plan: PlannedOperation }
  | ({ readonly ok: false } & RingRefusal);

function refusal(code: ErrorCode, message: string, details: Readonly<Record<string, unknown>>): RingVerdict {
  return { ok: false, code, message, details };
}

function invalid(path: string, message: string, of: { readonly value: unknown; readonly limit: unknown }): RingVerdict {
  return refusal("invalidRequest", `${path} ${message}`, { issues: [{ path, message, ...of }] });
}

export function planOperation(request: RingRequest, facts: RingFacts): RingVerdict {
  const { open } = facts;
  if (open.length >= MAX_OPEN_OPERATIONS) {
    const ids = open.map(({ operationId }) => operationId);
    const message = `operations ${ids.join(" and ")} are open, and ${MAX_OPEN_OPERATIONS} is the limit: wait for the end of one, or call one off`;
    return refusal("conflict", message, { field: "operations", value: ids, limit: MAX_OPEN_OPERATIONS });
  }
  // A second change is judged by the ring that the first one leads to.
  const nodes = open.reduce<readonly StorageNode[]>(expectedAfter, facts.nodes);
  return request.kind === "add" ? planAdd(request, nodes, facts) : planOther(request, nodes, facts);
}

function expectedAfter(nodes: readonly StorageNode[], { target }: OpenOperation): readonly StorageNode[] {
  const { joining } = target;
  const all = joining && !nodes.some(({ id }) => id === joining.id) ? [...nodes, joining] : nodes;
  return nodesAfter(all, target, false);
}

function planAdd(request: RingRequest, nodes: readonly StorageNode[], facts: RingFacts): RingVerdict {
  const { nextNumber: number, zones, isCluster } = facts;
  const zone = request.zone ?? leastZone(nodes, zones);
  if (!zones.includes(zone))
    return invalid("zone", `is "${zone}"; the zones are ${zones.join(", ")}`, { value: zone, limit: zones });
  const id = nodeIdOf({ number, zone, isCluster });
  const asked = request.nodeId ?? id;
  if (facts.nodes.some((node) => node.id === asked))
    return refusal("alreadyExists", `nodeId is ${asked}: there is, or was, such a storage node; the next is ${id}`, {
      field: "nodeId",
      value: asked,
      limit: id,
    });
  if (asked !== id) return invalid("nodeId", `is ${asked}; the next is ${id}`, { value: asked, limit: id });
  if (number > MAX_NODE_NUMBER) return invalid("nodeId", `would be ${id}`, { value: number, limit: MAX_NODE_NUMBER });
  const joining = { id, number, zone, weight: request.weight ?? 1 };
  return { ok: true, plan: { kind: "add", nodeId: id, joining } };
}

function leastZone(nodes: readonly StorageNode[], zones: readonly string[]): string {
  const weightOf = (zone: string): number =>
    nodes.reduce((sum, node) => sum + (node.zone === zone && node.state === "active" ? node.weight : 0), 0);
  return zones.reduce((least, zone) => (weightOf(zone) < weightOf(least) ? zone : least));
}

function planOther(request: RingRequest, nodes: readonly StorageNode[], facts: RingFacts): RingVerdict {
  const { kind, nodeId = "", others = [], weight } = request;
  const leaving = [nodeId, ...others];
  for (const id of leaving) {
    const refused = refusalOf(id, nodes, facts);
    if (refused) return refused;
  }
  const node = nodes.find(({ id }) => id === nodeId)!;
  if (kind === "weigh") return { ok: true, plan: { kind, nodeId, weight: weight ?? node.weight } };
  if (kind === "replace") {
    const { nextNumber: number, isCluster } = facts;
    const id = nodeIdOf({ number, zone: node.zone, isCluster });
    return { ok: true, plan: { kind, nodeId, joining: { id, number, zone: node.zone, weight: node.weight } } };
  }
  const left = maxReplicationFactor(nodes.filter(({ id }) => !leaving.includes(id)));
  if (left < facts.replicationFactor)
    return refusal(
      "conflict",
      `without ${leaving.join(", ")} storage nodes would be left in ${left} zones; the highest replicationFactor of a tenant is ${facts.replicationFactor}: lower that, or add a node in ${node.zone} first`,
      { field: "nodeId", value: nodeId, limit: facts.replicationFactor, zonesLeft: left },
    );
  return { ok: true, plan: { kind: "remove", nodeId, ...(others.length > 0 ? { others } : {}) } };
}

/** Why nothing can be done about a node now; undefined = it can. */
function refusalOf(nodeId: string, nodes: readonly StorageNode[], { open }: RingFacts): RingVerdict | undefined {
  const node = nodes.find(({ id }) => id === nodeId);
  if (!node) return refusal("notFound", `there is no storage node "${nodeId}"`, { field: "nodeId", value: nodeId });
  const busy = open.find(({ target }) => isConcerned(target, nodeId));
  if (busy)
    return refusal("conflict", `operation ${busy.operationId} is about ${nodeId}: wait for its end, or call it off`, {
      field: "nodeId",
      value: nodeId,
      limit: busy.operationId,
    });
  if (node.state === "active" || node.state === "rebuilding" || node.state === "failed") return undefined;
  return refusal("conflict", `storage node ${nodeId} is ${node.state}, and must be active`, {
    field: "nodeId",
    value: nodeId,
    limit: "active",
  });
}
