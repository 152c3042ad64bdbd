// Whether a storage node may be added in a zone that came later: every instance must have been started with a table that has it, else those that were not
// could not call it, and keys would be written past them.
import type { StorageNode } from "../src/access/types.ts";
import { clusterPlace } from "../src/cluster/placement.ts";
import type { Env } from "./env.ts";
import { relayOf } from "./reach.ts";
import { failure, type RpcFailure } from "./tenancy-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

/** One instance's answer. Ms. */
const ASK_TIMEOUT_MS = 2000;

/** `asked`: undefined = the zone with the least weight is to be taken. Undefined = nothing speaks against it. */
export async function refusedZone(
  env: Env,
  nodes: readonly StorageNode[],
  asked: string | undefined,
): Promise<RpcFailure | undefined> {
  const zones = clusterPlace(env.JADE_CLUSTER)?.zones ?? [];
  const isNew = (zone: string): boolean => !nodes.some((node) => node.zone === zone);
  const zone = zones.find((each) => isNew(each) && (asked === undefined || asked === each));
  if (zone === undefined) return undefined;
  const answers = await Promise.all(
    zones.map(async (each) => {
      const about = Promise.resolve().then(() => relayOf(env, { kind: "zone", zone: each }).about());
      const known = await withDeadline(about, ASK_TIMEOUT_MS, each).catch(() => undefined);
      return { zone: each, isThere: known !== undefined, isKnown: known?.zones?.includes(zone) === true };
    }),
  );
  const unknown = answers.filter(({ isKnown }) => !isKnown);
  if (unknown.length === 0) return undefined;
  const named = unknown.map((each) =>
    each.isThere ? `${each.zone} was started without it` : `${each.zone} does not answer`,
  );
  const message = `the zone ${zone} has no storage node yet, and every instance must have it in cluster.peers before it gets one: ${named.join(", ")}`;
  return failure("conflict", message, { field: "zone", value: zone, instances: unknown.map((each) => each.zone) });
}
