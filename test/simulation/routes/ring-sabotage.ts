// Mistakes planted into changes of the ring, to prove that the checker would see them.
import type { DirectoryView, StorageNode } from "../../../src/access/types.ts";
import type { RingSabotage } from "./ring-run.ts";
import { countPending } from "./route-sabotage.ts";

/** The ring that a change leads to, told while nodes are being filled. */
function asIfEnded(view: DirectoryView): DirectoryView {
  if (!view.ring?.phase) return view;
  const ended = ({ next, ...node }: StorageNode): StorageNode => {
    if (node.state === "bootstrapping") return { ...node, state: "active" };
    if (node.state === "draining") return { ...node, state: "leaving" };
    return next ? { ...node, ...next } : node;
  };
  return { ...view, nodes: view.nodes.map(ended), ring: { revision: view.ring.revision } };
}

export const RING_PLANTED: Readonly<Record<string, RingSabotage>> = {
  "early switch: new owners are read while they are filled": { view: asIfEnded },
  "the old ring is released before a majority has recorded the new revision": { forgetsRoutes: true },
  "new owners are not filled": { skipsSync: true },
  "a joining node is counted in W": { patch: countPending },
  "what is heard during a filling counts at once": { believesAtOnce: true },
  "no joint quorums: the old owners alone are asked until the switch": {
    view: (view) => (view.ring?.phase === "joint" ? { ...view, ring: { ...view.ring, phase: "filling" } } : view),
  },
  "nodes keep what they are no replicas of": { keepsStrays: true },
  "a joining node gets the number of one that left": { reusesNumbers: true },
};
