// `jade-db cluster status` and `cluster events`.
import type { Command } from "commander";
import type { ClusterInstance, InstanceUse } from "../client/index.ts";
import { withContext } from "./context.ts";

const MIB = 1024 * 1024;

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}

function used(use: InstanceUse): Record<string, string | number> {
  const sum = (of: "cpuCores" | "residentBytes"): number => use.processes.reduce((total, each) => total + each[of], 0);
  const { dataBytes, freeBytes } = use.disk;
  return {
    owners: use.ownerCount,
    cpu: sum("cpuCores").toFixed(2),
    memory: mib(sum("residentBytes")),
    disk: `${mib(dataBytes)}, ${mib(freeBytes)} free`,
    network: `${mib(use.network.receivedBytes)} in, ${mib(use.network.sentBytes)} out`,
    ...(use.drained === null ? {} : { drained: use.drained }),
  };
}

function row({ gossip, use, nodes, zoneProcess, leadersProcess, roundTripMs, zone }: ClusterInstance) {
  return {
    zone,
    state: gossip ? `${gossip.state}${gossip.state === "alive" && !gossip.trusted ? " (on probation)" : ""}` : "",
    since: gossip?.since ?? "",
    zoneProcess,
    leadersProcess,
    roundTripMs,
    nodes: nodes.map(({ nodeId, state, answering }) => `${nodeId} ${answering ? state : "away"}`).join(", "),
    ...(use ? used(use) : {}),
  };
}

export function addClusterCommands(cluster: Command): void {
  cluster
    .command("status")
    .description("the instances: how gossip sees them, which of their processes answer, what they use, what is where")
    .action((_flags: object, command: Command) =>
      withContext(command, { key: "root" }, async ({ client, print }) => {
        const { instances } = await client.cluster();
        print(instances.map(row));
      }),
    );
  cluster
    .command("events")
    .description("what happened to the instances, newest first")
    .action((_flags: object, command: Command) =>
      withContext(command, { key: "root" }, async ({ client, print }) => {
        print(await client.clusterEvents());
      }),
    );
}
