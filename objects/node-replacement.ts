// What is done about the storage nodes of an instance that stays away: one function, by the deployment's policy.
// Guarantees: changes nothing but under `act`. Must not: judge whether it is away (cluster/absences.ts), or how data moves.
import type { StorageNode } from "../src/access/types.ts";
import type { ReplacePolicy } from "../src/cluster/absences.ts";
import { type NodePlan, planReplacement } from "../src/cluster/replacement-plan.ts";
import type { ReplacementOutcome, RingOperationInfo, RingOrder, RpcResult } from "./tenancy-rpc.ts";

/** What tenants have unless they say otherwise; a plan is for people, and exact for these. */
const PLANNED_FACTOR = 3;

/** Their ranges are handed over, or were. */
const LEAVING: ReadonlySet<StorageNode["state"]> = new Set(["draining", "leaving", "removed"]);

export interface Replacement {
  readonly outcome: ReplacementOutcome;
  readonly plan: readonly NodePlan[];
  readonly message: string;
  /** Of `begun`: what removes the nodes; undefined = they are gone, or on their way. */
  readonly operationId?: number | undefined;
}

export interface ReplacementWays {
  readonly nodes: readonly StorageNode[];
  readonly policy: ReplacePolicy;
  /** A change of the ring is open. */
  readonly isRingBusy: boolean;
  readonly order: (order: RingOrder) => RpcResult<RingOperationInfo>;
}

/** Undefined = nothing can be done before the changes of the ring that are open are over. */
export function replaceNodesOf(zone: string, ways: ReplacementWays): Replacement | undefined {
  const { nodes, policy } = ways;
  const plan = policy === "observe" ? [] : planReplacement(nodes, { zone, replicationFactor: PLANNED_FACTOR });
  switch (policy) {
    case "observe":
      return { outcome: "observed", plan, message: `${zone} stays away; nothing is done about it` };
    case "dry-run":
      return { outcome: "planned", plan, message: `${zone} stays away; its nodes would be replaced as planned` };
    case "act":
      return removeNodesOf(zone, plan, ways);
    default:
      throw new Error(`unknown policy ${policy satisfies never}`);
  }
}

/** All at once: each that stayed would be waited for while the others' data moves. */
function removeNodesOf(
  zone: string,
  plan: readonly NodePlan[],
  { nodes, isRingBusy, order }: ReplacementWays,
): Replacement | undefined {
  const ids = nodes.flatMap((node) => (node.zone === zone && !LEAVING.has(node.state) ? [node.id] : []));
  const [nodeId, ...others] = ids;
  if (nodeId === undefined)
    return { outcome: "begun", plan, message: `${zone} stays away; it has no storage nodes that stand on the ring` };
  const ordered = order({ kind: "remove", nodeId, others });
  if (ordered.ok) {
    const { operationId } = ordered.value;
    const message = `${zone} stays away; operation ${operationId} removes ${ids.join(", ")}, and others take their ranges`;
    return { outcome: "begun", plan, operationId, message };
  }
  if (isRingBusy) return undefined;
  return { outcome: "notPossible", plan, message: `${zone} stays away; nothing is done: ${ordered.message}` };
}
