// `jade-db repair`: all replicas of all keys are compared and brought to agreement.
import type { Command } from "commander";
import type { RepairInfo } from "../client/index.ts";
import { withContext } from "./context.ts";

const POLL_MS = 500;

export function addRepairCommands(program: Command): void {
  const repair = program
    .command("repair")
    .description("bring all replicas of all keys to agreement, and wait for it")
    .option("--incremental", "only what was written since they compared last, where all of them answer")
    .option("--no-wait", "only start it")
    .action((flags: { readonly wait: boolean; readonly incremental?: boolean }, command: Command) =>
      withContext(command, { key: "root" }, async ({ client, print }) => {
        let info: RepairInfo = await client.repairs.start({ kind: flags.incremental ? "incremental" : "full" });
        while (flags.wait && info.state === "running") {
          await new Promise((resolve) => setTimeout(resolve, POLL_MS));
          info = await client.repairs.get(info.repairId);
        }
        print(info);
      }),
    );
  repair
    .command("list")
    .description("the last hundred repairs, newest first")
    .action((_flags: object, command: Command) =>
      withContext(command, { key: "root" }, async ({ client, print }) => print([...(await client.repairs.list())])),
    );
}
