// `client.clusterNodes`: adds, removes, replaces and re-weighs storage nodes. Needs the root key.
// Guarantees: a change that is asked for is repeated safely: its write id is kept over retries.
import type { HttpClient, HttpRequest } from "./http.ts";
import type { MutationOptions } from "./tenants.ts";
import type { CallOptions } from "./types.ts";

export interface NodeOperation {
  readonly operationId: number;
  readonly kind: "add" | "remove" | "replace" | "weigh";
  readonly nodeId: string;
  /** Nodes that leave with it. */
  readonly otherIds: readonly string[];
  /** The node that is new; null = none. */
  readonly joiningId: string | null;
  readonly weight: number | null;
  readonly state:
    | ("waiting" | "filling" | "joint" | "switching" | "cleaning")
    | ("finished" | "cancelled" | "rolledBack" | "failed");
  /** ISO 8601. */
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  /** Why it was called off, or failed. */
  readonly reason: string;
  /** Why it does not get on; empty = it does. */
  readonly waitingFor: string;
  readonly graceSeconds: number;
  readonly keysPerSecond: number | null;
  readonly uncleaned: readonly string[];
  readonly progress: {
    readonly nodesDone: number;
    readonly nodeCount: number;
    readonly rangesDone: number;
    readonly rangeCount: number;
    readonly keysCompared: number;
    readonly keysMoved: number;
    readonly bytesMoved: number;
  };
}

export interface NodeChangeBounds {
  /** How long former replicas keep their copies. */
  readonly graceSeconds?: number | undefined;
  /** Keys that each node compares in a second at most. */
  readonly keysPerSecond?: number | undefined;
}

export interface NewNode extends NodeChangeBounds {
  readonly zone?: string | undefined;
  readonly weight?: number | undefined;
}

export class ClusterNodes {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async #call(options: HttpRequest): Promise<NodeOperation> {
    return (await this.#http.call(options)).data as NodeOperation;
  }

  add(node: NewNode = {}, options: MutationOptions = {}): Promise<NodeOperation> {
    return this.#call({ ...options, method: "POST", path: "/v1/cluster/nodes", body: JSON.stringify(node) });
  }

  weigh(nodeId: string, weight: number, options: MutationOptions & NodeChangeBounds = {}): Promise<NodeOperation> {
    const { graceSeconds, keysPerSecond, ...rest } = options;
    const body = JSON.stringify({ weight, graceSeconds, keysPerSecond });
    return this.#call({ ...rest, method: "PATCH", path: `/v1/cluster/nodes/${encodeURIComponent(nodeId)}`, body });
  }

  replace(nodeId: string, options: MutationOptions & NodeChangeBounds = {}): Promise<NodeOperation> {
    const { graceSeconds, keysPerSecond, ...rest } = options;
    const path = `/v1/cluster/nodes/${encodeURIComponent(nodeId)}/replace`;
    return this.#call({ ...rest, method: "POST", path, body: JSON.stringify({ graceSeconds, keysPerSecond }) });
  }

  remove(nodeId: string, options: MutationOptions & NodeChangeBounds = {}): Promise<NodeOperation> {
    const { graceSeconds, keysPerSecond, ...rest } = options;
    const query = new URLSearchParams();
    if (graceSeconds !== undefined) query.set("graceSeconds", String(graceSeconds));
    if (keysPerSecond !== undefined) query.set("keysPerSecond", String(keysPerSecond));
    const path = `/v1/cluster/nodes/${encodeURIComponent(nodeId)}${query.size > 0 ? `?${query}` : ""}`;
    return this.#call({ ...rest, method: "DELETE", path });
  }

  /** Calls a change off: it is rolled back. */
  cancel(operationId: number, options: MutationOptions = {}): Promise<NodeOperation> {
    return this.#call({ ...options, method: "DELETE", path: `/v1/cluster/operations/${operationId}` });
  }

  operation(operationId: number, options: CallOptions = {}): Promise<NodeOperation> {
    return this.#call({ ...options, method: "GET", path: `/v1/cluster/operations/${operationId}` });
  }

  /** The last hundred, newest first. */
  async operations(options: CallOptions = {}): Promise<readonly NodeOperation[]> {
    const { data } = await this.#http.call({ ...options, method: "GET", path: "/v1/cluster/operations" });
    return (data as { readonly items: readonly NodeOperation[] }).items;
  }
}
