// What kinds of events of a cluster there are.
export const CLUSTER_EVENT_KINDS = [
  "instanceFailed",
  "instanceBack",
  "replacementDue",
  "operationBegun",
  "operationEnded",
  "rebalanceDue",
  "copiesMoving",
  "copiesMoved",
] as const;
export type ClusterEventKind = (typeof CLUSTER_EVENT_KINDS)[number];
