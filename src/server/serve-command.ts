// The command line of `jade-db serve`. The CLI's entry calls `registerServe`; everything else is in serve.ts.

import type { Command } from "commander";
import { type HostFlags, judgeHost, serveHost } from "./cluster/host-command.ts";
import { serveCluster } from "./cluster/serve-cluster.ts";
import { invalidConfiguration, loadConfig } from "./load-config.ts";
import { exitCodes, OperatorError } from "./problem.ts";
import { serve } from "./serve.ts";
import { environmentProblems } from "./serve-problems.ts";
import { runTlsFront } from "./tls/front-process.ts";
import { runFrontProcess } from "./watch/front-process.ts";

interface ServeFlags extends HostFlags {
  readonly check?: boolean;
}

/** Adds `serve` to the program. It sets `process.exitCode`; it never throws for what the operator can mend. */
export function registerServe(program: Command): void {
  program
    .command("serve")
    .description("run one self-hosted instance: workerd with its data on this machine's disk")
    .option("--config <file>", "configuration file (default: jade.yaml when there is one; JADE_CONFIG_FILE)")
    .option("--port <number>", "port to listen on (default: 8787; JADE_PORT)")
    .option("--host <address>", "address to listen on (default: 127.0.0.1)")
    .option("--data-dir <directory>", "where everything is kept (default: ./data; JADE_DATA_DIR)")
    .option("--log-level <level>", "debug, info, warn, error or off (default: info; JADE_LOG_LEVEL)")
    .option("--tls-cert <file>", "speak HTTPS with this certificate and its chain (PEM); read again when it changes")
    .option("--tls-key <file>", "its private key (PEM)")
    .option("--grpc-port <number>", "also serve etcd's API as native gRPC on this port (etcd's: 2379)")
    .option("--grpc-cert <file>", "certificate of the gRPC listener (PEM); none: that of --tls-cert")
    .option("--grpc-key <file>", "its private key (PEM)")
    .option("--grpc-client-ca <file>", "clients must show a certificate signed by this one (PEM)")
    .option("--watch-port <number>", "also hold watch connections in processes of their own, on this port")
    .option("--watch-fronts <number>", "how many such processes (default: 1)")
    .option("--cluster <bucket>", "be an instance of a cluster that shares this bucket: s3://bucket/prefix")
    .option("--instances <number>", "in a cluster: so many instances on this host, zones z1, z2, …, behind --port")
    .option("--shared-port <number>", "in a cluster: a port that the instances of this host listen on together")
    .option("--zone <zone>", "this instance's zone in the cluster (default: z1)")
    .option("--peer <zone=address...>", "where each zone's instance listens for the others, this one's included")
    .option(
      "--peer-listen <address>",
      "where this instance itself listens for the others, where that is not its --peer",
    )
    .option("--cluster-address <address>", "where the leaders' process listens for others (default: 127.0.0.1:0)")
    .option("--cluster-advertise <address>", "how others reach it, where that is another address")
    .option(
      "--private-network",
      "say that instances and bucket are in a private network: unencrypted traffic may pass there",
    )
    .option(
      "--new-deployment <word>",
      "in a cluster whose bucket is lost for good: set this instance's data aside and begin anew, once for each word",
    )
    .option("--force-new-deployment", "do so also where the bucket holds a deployment, or cannot be asked")
    .option("--insecure-public-http", "allow plain HTTP on an address that is not loopback")
    .option("--check", "only check the configuration: exit with 0 when it is good, 2 when it is not")
    .action(runServe);
  program.command("watch-front", { hidden: true }).action(runFrontProcess);
  program.command("tls-front", { hidden: true }).action(runTlsFront);
}

function goodNews(file: string | undefined): string {
  return `configuration is good (${file ?? "no file: defaults, environment and flags"})`;
}

async function runServe(flags: ServeFlags): Promise<void> {
  try {
    if (flags.instances !== undefined) {
      const { file } = judgeHost(flags, process.env);
      if (flags.check === true) console.log(goodNews(file));
      else await serveHost(flags, process.env);
      return process.exit(process.exitCode ?? exitCodes.ok);
    }
    const loaded = loadConfig(flags, process.env);
    const problems = environmentProblems(loaded.config, process.env);
    if (problems.length > 0) throw invalidConfiguration(problems, loaded);
    if (flags.check === true) {
      console.log(goodNews(loaded.file));
      return;
    }
    const run = loaded.config.cluster.bucket === undefined ? serve : serveCluster;
    process.exitCode = await run({
      ...loaded,
      newDeployment: flags.newDeployment,
      forceNewDeployment: flags.forceNewDeployment,
      rootKeyFromEnvironment: process.env["JADE_ROOT_KEY"],
      env: process.env,
      metricsAccess: process.env["JADE_METRICS_ACCESS"],
      print: (line) => console.log(line),
      report: (line) => console.error(`jade-db: ${line}`),
    });
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    console.error(`jade-db: ${error.message}`);
    process.exitCode = error.exitCode;
  }
  // What workerd's pipes or a late timer still hold must not keep a stopped server alive.
  process.exit(process.exitCode ?? exitCodes.ok);
}
