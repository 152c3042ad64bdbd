// In which zones copies of vectors may stand (ADR 74). Pure.
// Guarantees: a zone without storage nodes that stay is to be left, and so is one whose instance is gone by the deployment's policy; a new copy begins only where
// the instance is there. Must not: move anything.
import type { CopyZones, StorageNode } from "../access/types.ts";
import type { Absence, ReplacePolicy } from "./absences.ts";

const STAYS: ReadonlySet<StorageNode["state"]> = new Set(["active", "bootstrapping", "rebuilding", "failed"]);

export interface CopyZonesInput {
  readonly nodes: readonly StorageNode[];
  readonly absences: readonly Pick<Absence, "zone" | "isActedOn">[];
  readonly policy: ReplacePolicy;
}

export function copyZonesOf({ nodes, absences, policy }: CopyZonesInput): CopyZones {
  const gone = new Set(absences.flatMap(({ zone, isActedOn }) => (policy === "act" && isActedOn ? [zone] : [])));
  const away = new Set(absences.map(({ zone }) => zone));
  const held = new Set(nodes.flatMap(({ zone, state }) => (STAYS.has(state) && !gone.has(zone) ? [zone] : [])));
  const zones = [...held].sort();
  return { zones, fresh: zones.filter((zone) => !away.has(zone)) };
}
