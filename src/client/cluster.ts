// What `client.cluster()` gives.

export type ProcessState = "answering" | "away" | "unknown";

export interface ClusterNode {
  readonly nodeId: string;
  readonly zone: string;
  readonly weight: number;
  readonly state: string;
  readonly incarnation: number;
  readonly answering: boolean;
}

/** How the instances see each other. */
export interface GossipState {
  readonly state: "alive" | "suspect" | "failed" | "left";
  readonly since: string;
  readonly incarnation: number;
  /** It is there, and past any probation after a failure. */
  readonly trusted: boolean;
}

/** Of one process of an instance. */
export interface ProcessUse {
  readonly role: "supervisor" | "zone" | "leaders";
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly cpuSeconds: number;
  readonly cpuCores: number;
  readonly residentBytes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

export interface InstanceUse {
  readonly processes: readonly ProcessUse[];
  readonly disk: { readonly dataBytes: number; readonly freeBytes: number; readonly totalBytes: number };
  /** Of the machine or the container. */
  readonly network: { readonly receivedBytes: number; readonly sentBytes: number };
  readonly leaders: "answering" | "away" | "resting";
  /** Why it is not to be given work; null = it is. */
  readonly drained: string | null;
  /** Leaders in its memory, by class. */
  readonly owners: Readonly<Record<string, number>>;
  readonly ownerCount: number;
}

/** What happened to an instance, or to storage nodes. */
export interface ClusterEvent {
  readonly number: number;
  readonly at: string;
  readonly kind:
    | ("instanceFailed" | "instanceBack" | "replacementDue")
    | ("operationBegun" | "operationEnded" | "rebalanceDue" | "copiesMoving" | "copiesMoved");
  readonly zone: string;
  readonly incarnation: number;
  readonly message: string;
  /** The change of the storage nodes that it is about; null = none. */
  readonly operationId: number | null;
  readonly outcome: "observed" | "planned" | "begun" | "notPossible" | null;
  readonly plan: readonly {
    readonly nodeId: string;
    readonly share: number;
    readonly takenBy: Readonly<Record<string, number>>;
    readonly unplaced: number;
  }[];
}

export interface ClusterInstance {
  readonly zone: string;
  /** The gateway and the storage nodes. */
  readonly zoneProcess: ProcessState;
  /** Where owners of tenants, keyspaces and shards run; `unknown` = nobody to ask. */
  readonly leadersProcess: ProcessState;
  /** From the instance that answers; null = it did not answer. */
  readonly roundTripMs: number | null;
  readonly nodes: readonly ClusterNode[];
  /** Null = there is no gossip, as on a single node. */
  readonly gossip: GossipState | null;
  /** What the instance's supervisor measured; null = it was not reached. */
  readonly use: InstanceUse | null;
}

export interface ClusterStatus {
  /** `cluster`, or `single`: then every zone is the one process. */
  readonly mode: string;
  /** The zone of the instance that answers. */
  readonly answeredBy: string;
  /** The one owner of what the deployment consists of. */
  readonly directory: "answering" | "away";
  readonly instances: readonly ClusterInstance[];
}
