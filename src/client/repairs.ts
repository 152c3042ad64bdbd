// `client.repairs`: repairs of the deployment, full and incremental. Needs the root key.
// Guarantees: a start is repeated safely: its write id is kept over retries.
import type { HttpClient } from "./http.ts";
import type { MutationOptions } from "./tenants.ts";
import type { CallOptions } from "./types.ts";

/** `full`: all is read and compared. `incremental`: only what was written since replicas compared last, where all of them answer. */
export type RepairKind = "full" | "incremental";

export interface RepairInfo {
  readonly repairId: number;
  readonly kind: RepairKind;
  readonly state: "running" | "finished";
  /** ISO 8601. */
  readonly startedAt: string;
  readonly finishedAt: string | null;
  readonly nodesDone: number;
  readonly nodeCount: number;
  readonly rowsCompared: number;
  readonly rowsRepaired: number;
  readonly rowsUnreadable: number;
  /** Rows that were read for it, of each range at the replica that read most. */
  readonly rowsRead: number;
  /** Of an incremental repair: ranges of which a replica was away. */
  readonly rangesLeftOut: number;
  /** Why nodes do not get on; empty = they do. */
  readonly waitingFor: string;
  /** What it lets go: rows of keys deleted before this time; null = none, or it is not over. */
  readonly purge: {
    readonly state: "settling" | "draining" | "fading" | "telling" | "dropping" | "finished";
    /** ISO 8601. */
    readonly before: string;
    readonly waitingFor: string;
  } | null;
}

export class Repairs {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async start({
    kind = "full",
    ...options
  }: MutationOptions & { readonly kind?: RepairKind } = {}): Promise<RepairInfo> {
    const body = JSON.stringify({ kind });
    return (await this.#http.call({ ...options, method: "POST", path: "/v1/repairs", body })).data as RepairInfo;
  }

  async get(repairId: number, options: CallOptions = {}): Promise<RepairInfo> {
    return (await this.#http.call({ ...options, method: "GET", path: `/v1/repairs/${repairId}` })).data as RepairInfo;
  }

  async list(options: CallOptions = {}): Promise<readonly RepairInfo[]> {
    const { data } = await this.#http.call({ ...options, method: "GET", path: "/v1/repairs" });
    return (data as { readonly items: readonly RepairInfo[] }).items;
  }
}
