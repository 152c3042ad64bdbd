// What is done about the storage nodes of an instance that stays away: one function, by the deployment's policy.
// Guarantees: changes nothing but under `act`. Must not: judge whether it is away (cluster/absences.ts).
import type { StorageNode } from "../src/access/types.ts";
import type { ReplacePolicy } from "../src/cluster/absences.ts";
import { type NodePlan, planReplacement } from "../src/cluster/replacement-plan.ts";

/** What tenants have unless they say otherwise; a plan is for people, and exact for these. */
const PLANNED_FACTOR = 3;

export interface Replacement {
  /** `planned` = what would be done was noted; `notPossible` = it was to be done, and there is no way yet. */
  readonly outcome: "observed" | "planned" | "notPossible";
  readonly plan: readonly NodePlan[];
  readonly message: string;
}

export function replaceNodesOf(
  zone: string,
  { nodes, policy }: { readonly nodes: readonly StorageNode[]; readonly policy: ReplacePolicy },
): Replacement {
  const plan = policy === "observe" ? [] : planReplacement(nodes, { zone, replicationFactor: PLANNED_FACTOR });
  switch (policy) {
    case "observe":
      return { outcome: "observed", plan, message: `${zone} stays away; nothing is done about it` };
    case "dry-run":
      return { outcome: "planned", plan, message: `${zone} stays away; its nodes would be replaced as planned` };
    case "act":
      return { outcome: "notPossible", plan, message: `${zone} stays away; this version cannot replace its nodes` };
    default:
      throw new Error(`unknown policy ${policy satisfies never}`);
  }
}
