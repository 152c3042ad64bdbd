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

export interface ClusterInstance {
  readonly zone: string;
  /** The gateway and the storage nodes. */
  readonly zoneProcess: ProcessState;
  /** Where owners of tenants, keyspaces and shards run; `unknown` = nobody to ask. */
  readonly leadersProcess: ProcessState;
  /** From the instance that answers; null = it did not answer. */
  readonly roundTripMs: number | null;
  readonly nodes: readonly ClusterNode[];
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
