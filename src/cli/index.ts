// The entry of `jade-db`: the commands, and how failures end.
// Must not: hold logic of a command.
import { Command, CommanderError } from "commander";
import { registerBucket } from "../server/bucket/command.ts";
import { registerCluster } from "../server/cluster/command.ts";
import { registerServe } from "../server/serve-command.ts";
import { addAutoscaleCommand } from "./autoscale-command.ts";
import { addClusterCommands } from "./cluster-commands.ts";
import { addClusterNodeCommands } from "./cluster-node-commands.ts";
import { addConfigCommands } from "./config-commands.ts";
import { addGlobalOptions } from "./context.ts";
import { addDatabaseCommands } from "./database-commands.ts";
import { addDatabaseSnapshotCommands } from "./database-snapshot-commands.ts";
import { addDoctorCommand } from "./doctor-command.ts";
import { EXIT, explain } from "./exit-codes.ts";
import { addIndexCommands } from "./index-commands.ts";
import { addKeyValueCommands } from "./kv-commands.ts";
import { addModelCommands } from "./model-commands.ts";
import { addReembedCommand } from "./reembed-command.ts";
import { addRepairCommands } from "./repair-commands.ts";
import { addReshardCommand } from "./reshard-command.ts";
import { addStatusCommands } from "./status-commands.ts";
import { addTenantCommands } from "./tenant-commands.ts";
import { addTransferCommands } from "./transfer/commands.ts";
import { addVectorCommands } from "./vector-commands.ts";

const VERSION = "0.1.0";

function buildProgram(): Command {
  const program = new Command("jade-db")
    .description("JadeDB: run it, and work with what is in it")
    .version(VERSION)
    .configureHelp({ sortSubcommands: false })
    .showHelpAfterError("(add --help for all options)")
    .exitOverride();
  addGlobalOptions(program);
  registerServe(program);
  addDoctorCommand(program);
  const cluster = registerCluster(program);
  addClusterCommands(cluster);
  addClusterNodeCommands(cluster);
  addAutoscaleCommand(cluster);
  registerBucket(program);
  addRepairCommands(program);
  addStatusCommands(program);
  addTenantCommands(program);
  addKeyValueCommands(program);
  addConfigCommands(program);
  const database = addDatabaseCommands(program);
  addDatabaseSnapshotCommands(database);
  addReembedCommand(database);
  addReshardCommand(addVectorCommands(program));
  addModelCommands(program);
  addIndexCommands(program);
  addTransferCommands(program);
  return program;
}

async function main(): Promise<void> {
  try {
    await buildProgram().parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has printed what is wrong, or the help that was asked for.
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
      return;
    }
    const { text, exitCode } = explain(error);
    console.error(text);
    process.exitCode = exitCode;
  }
}

await main();
