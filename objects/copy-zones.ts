// The zones in which a tenant's copies of vectors may stand, asked of the Directory.
import { maxReplicationFactor } from "../src/access/ring-start.ts";
import type { CopyZones } from "../src/access/types.ts";
import { copyZonesOf } from "../src/cluster/copy-zones.ts";
import type { Env } from "./env.ts";
import { failure, type RpcResult } from "./tenancy-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

const CALL_TIMEOUT_MS = 5000;

export interface ZonesForCopies {
  readonly zones: CopyZones;
  /** Copies of a shard, its leader counted. */
  readonly limit: number;
}

/** Rejects when the Directory does not answer. */
export async function zonesForCopies(env: Env): Promise<ZonesForCopies> {
  const directory = env.DIRECTORY.get(env.DIRECTORY.idFromName("system"));
  const { nodes, copyZones } = await withDeadline(directory.view(), CALL_TIMEOUT_MS, "Directory");
  // One of an earlier build does not tell.
  return {
    zones: copyZones ?? copyZonesOf({ nodes, absences: [], policy: "observe" }),
    limit: maxReplicationFactor(nodes),
  };
}

/** A shard's copies stand in zones of their own. */
export async function zonesForFactor(env: Env, factor: number): Promise<RpcResult<CopyZones>> {
  const { zones, limit } = await zonesForCopies(env);
  if (factor <= limit) return { ok: true, value: zones };
  const message = `replication.factor is ${factor}; with the storage nodes in ${limit} zones the limit is ${limit}`;
  const issues = [{ path: "replication.factor", message, value: factor, limit }];
  return failure("invalidRequest", message, { issues });
}
