// `jade-db cluster status`.
import type { Command } from "commander";
import { withContext } from "./context.ts";

export function addClusterCommands(cluster: Command): void {
  cluster
    .command("status")
    .description("the instances, which of their processes answer, and which storage nodes stand where")
    .action((_flags: object, command: Command) =>
      withContext(command, { key: "root" }, async ({ client, print }) => {
        const { instances } = await client.cluster();
        print(
          instances.map(({ nodes, ...instance }) => ({
            ...instance,
            nodes: nodes.map(({ nodeId, state, answering }) => `${nodeId} ${answering ? state : "away"}`).join(", "),
          })),
        );
      }),
    );
}
