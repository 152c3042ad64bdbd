// `jade-db cluster start`: the command line of launch.ts.
import { resolve } from "node:path";
import type { Command } from "commander";
import { exitCodes, OperatorError } from "../problem.ts";
import { startInstance, stopInstance } from "./held-instances.ts";
import { launchCluster, MAX_INSTANCES } from "./launch.ts";

interface StartFlags {
  readonly instances: string;
  readonly port?: string;
  readonly grpcPort?: string;
  readonly peerPort?: string;
  readonly sharedPort?: string;
  readonly dataDir?: string;
  readonly newDeployment?: string;
}

const DEFAULT_PORT = 8787;
const DEFAULT_DIR = "./data/cluster";

export function numberOf(
  flag: string,
  text: string,
  { min, max }: { readonly min: number; readonly max: number },
): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new OperatorError(`${flag} is ${JSON.stringify(text)}: it must be a whole number from ${min} to ${max}`, {
    exitCode: exitCodes.invalidConfiguration,
  });
}

function directoryOf({ dataDir }: Pick<StartFlags, "dataDir">): string {
  return resolve(dataDir ?? process.env["JADE_DATA_DIR"] ?? DEFAULT_DIR);
}

/** Ends the process with the exit code that an error has. */
async function ended(work: () => void | Promise<void>): Promise<never> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    console.error(`jade-db: ${error.message}`);
    process.exitCode = error.exitCode;
  }
  process.exit(process.exitCode ?? exitCodes.ok);
}

function runStart(flags: StartFlags): Promise<never> {
  return ended(async () => {
    const instances = numberOf("--instances", flags.instances, { min: 1, max: MAX_INSTANCES });
    const ports = { min: 0, max: 65_535 - instances };
    const { env } = process;
    await launchCluster({
      instances,
      port: numberOf("--port", flags.port ?? env["JADE_PORT"] ?? String(DEFAULT_PORT), ports),
      grpcPort: flags.grpcPort === undefined ? undefined : numberOf("--grpc-port", flags.grpcPort, ports),
      peerPort: flags.peerPort === undefined ? undefined : numberOf("--peer-port", flags.peerPort, ports),
      sharedPort: flags.sharedPort === undefined ? undefined : numberOf("--shared-port", flags.sharedPort, ports),
      newDeployment: flags.newDeployment,
      dataDir: directoryOf(flags),
      env,
      print: (line) => console.log(line),
      report: (line) => console.error(`jade-db: ${line}`),
    });
  });
}

type DirectoryFlags = Pick<StartFlags, "dataDir">;

function addInstanceCommands(cluster: Command): void {
  const instance = cluster
    .command("instance")
    .description("stop and start single instances of a cluster on this machine");
  const directory = ["--data-dir <directory>", `of the cluster (default: ${DEFAULT_DIR}; JADE_DATA_DIR)`] as const;
  instance
    .command("stop <zone>")
    .description("ask the instance to end, and do not start it again")
    .option(...directory)
    .action((zone: string, flags: DirectoryFlags) => ended(() => stopInstance(directoryOf(flags), zone)));
  instance
    .command("start <zone>")
    .description("let the running cluster start it again")
    .option(...directory)
    .action((zone: string, flags: DirectoryFlags) => ended(() => startInstance(directoryOf(flags), zone)));
}

/** Gives the group, for the commands of the client. */
export function registerCluster(program: Command): Command {
  const cluster = program.command("cluster").description("several instances that share a bucket");
  cluster
    .command("start")
    .description("run a whole cluster on this machine, with a bucket for development")
    .option("--instances <number>", `instances, one a zone (at most ${MAX_INSTANCES})`, "3")
    .option("--port <number>", "the first instance's port, the others follow (default: 8787; JADE_PORT)")
    .option("--grpc-port <number>", "native gRPC of the first instance, the others follow")
    .option("--peer-port <number>", "let them reach each other over TLS, as on several machines: the first one's port")
    .option("--shared-port <number>", "a port that all instances listen on together, beside each one's own")
    .option("--data-dir <directory>", "where everything is kept (default: ./data/cluster; JADE_DATA_DIR)")
    .option("--new-deployment <word>", "set all data aside and begin anew, once for each word")
    .action(runStart);
  addInstanceCommands(cluster);
  return cluster;
}
