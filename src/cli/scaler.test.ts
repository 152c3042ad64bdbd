// What autoscaling sees in a cluster, and what it does about it; the cluster is a table here, a real one was scaled by hand (docs/cluster.md).
import { describe, expect, it } from "vitest";
import type { ClusterInstance, NodeOperation } from "../client/index.ts";
import type { ScalingRules } from "../cluster/scaling.ts";
import { lookOf, Scaler, type ScalerOptions } from "./scaler.ts";

const RULES: ScalingRules = {
  ...{ min: 1, max: 3, above: 0.7, below: 0.3 },
  ...{ upAfterMs: 0, downAfterMs: 0, cooldownMs: 0 },
};

type State = "alive" | "suspect" | "failed" | "left";

function instance(zone: string, state: State | null, cpuCores: number): ClusterInstance {
  const isThere = state === "alive";
  const gossip = state && { state, since: "", incarnation: 1, trusted: isThere };
  const of = (role: "supervisor" | "zone" | "leaders", cores: number) => {
    const rest = { pid: 1, uptimeSeconds: 1, cpuSeconds: 1, residentBytes: 1, readBytes: 0, writtenBytes: 0 };
    return { role, cpuCores: cores, ...rest };
  };
  const processes = [of("supervisor", 9), of("zone", cpuCores), of("leaders", cpuCores / 2)];
  const use = { processes, leaders: "answering", drained: null, owners: {}, ownerCount: 0 } as const;
  const disk = { dataBytes: 0, freeBytes: 0, totalBytes: 0 };
  const nodeId = `n${zone.slice(1)}`;
  const node = { nodeId, zone, weight: 1, state: "active", incarnation: 1, answering: isThere };
  const answering = isThere ? "answering" : "away";
  return {
    ...{ zone, zoneProcess: answering, leadersProcess: answering, roundTripMs: isThere ? 1 : null },
    ...{ nodes: isThere ? [node] : [], gossip },
    use: isThere ? { ...use, disk, network: { receivedBytes: 0, sentBytes: 0 } } : null,
  };
}

describe("what autoscaling sees", () => {
  it("[CL-141] the load of an instance is that of its busiest process; one that said good-bye may be started, one that failed is waited for", () => {
    const instances = [instance("z1", "alive", 0.8), instance("z2", "left", 0), instance("z3", null, 0)];
    expect(lookOf({ instances }, [], 5)).toEqual({
      ...{ nowMs: 5, isChanging: false },
      running: new Map([["z1", 0.8]]),
      stopped: ["z2", "z3"],
    });
    expect(lookOf({ instances: [...instances, instance("z4", "failed", 0)] }, [], 5).isChanging).toBe(true);
    const under = (state: NodeOperation["state"]) => lookOf({ instances }, [{ state }], 5).isChanging;
    expect([under("waiting"), under("joint"), under("cleaning"), under("finished")]).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

/** A cluster that does at once what is asked of it; `done` says in which order. */
function scaled(loads: readonly number[], removal: NodeOperation["state"] = "finished") {
  const done: string[] = [];
  let instances = [0, 1, 2].map((at) => instance(`z${at + 1}`, at < loads.length ? "alive" : "left", loads[at] ?? 0));
  const change = (zone: string, to: ClusterInstance): void => {
    instances = instances.map((each) => (each.zone === zone ? to : each));
  };
  const operation = (nodeId: string, state: NodeOperation["state"]) => ({ nodeId, state, reason: "" }) as NodeOperation;
  const clusterNodes = {
    operations: async () => [],
    add: async ({ zone }: { zone: string }) => {
      done.push(`add ${zone}`);
      return operation("n9", "finished");
    },
    remove: async (nodeId: string) => {
      done.push(`remove ${nodeId}`);
      return operation(nodeId, removal);
    },
  };
  const cluster = async () => ({ mode: "cluster", answeredBy: "z1", directory: "answering" as const, instances });
  const actuate = async (kind: "start" | "stop", zone: string): Promise<void> => {
    done.push(`${kind} ${zone}`);
    if (kind === "start") change(zone, { ...instance(zone, "alive", 0), nodes: [] });
  };
  const client = { cluster, clusterNodes } as unknown as ScalerOptions["client"];
  const common = { client, rules: RULES, now: () => 0, sleep: async () => undefined };
  const look = async (isActing: boolean) => {
    const tell = (line: string): void => void done.push(line.includes("dry run") ? "told" : "");
    await new Scaler({ ...common, tell, ...(isActing ? { actuate } : {}) }).look();
    return done.filter((what) => what !== "");
  };
  return look;
}

describe("what autoscaling does", () => {
  it("[CL-143] nothing under a dry run but to say it", async () => {
    expect(await scaled([0.9])(false)).toEqual(["told"]);
    expect(await scaled([0.1, 0.1])(false)).toEqual(["told"]);
    expect(await scaled([0.5, 0.5])(false)).toEqual([]);
  });

  it("[CL-143] an instance that is started gets a storage node; one is stopped when its own have left, and stays where they do not", async () => {
    expect(await scaled([0.9])(true)).toEqual(["start z2", "add z2"]);
    expect(await scaled([0.1, 0.1])(true)).toEqual(["remove n2", "stop z2"]);
    expect(await scaled([0.1, 0.1], "rolledBack")(true)).toEqual(["remove n2"]);
  });
});
