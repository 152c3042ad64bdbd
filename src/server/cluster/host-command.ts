// `jade-db serve --cluster … --instances N`: N instances on this host, one for each core, behind one port.
// Guarantees: the configuration of every instance is judged before one starts. Must not: make keys, or a bucket.
import { resolve } from "node:path";
import { type ConfigFlags, invalidConfiguration, type LoadedConfig, loadConfig } from "../load-config.ts";
import { exitCodes, OperatorError } from "../problem.ts";
import { environmentProblems, serveProblems } from "../serve-problems.ts";
import { numberOf } from "./command.ts";
import { launchCluster, MAX_INSTANCES } from "./launch.ts";

/** Set for each instance here. */
const OF_ONE_INSTANCE = [
  "zone",
  "peer",
  "peerListen",
  "clusterAddress",
  "clusterAdvertise",
  "sharedPort",
  "watchPort",
] as const;

export interface HostFlags extends ConfigFlags {
  readonly instances?: string | undefined;
}

function refused(message: string): OperatorError {
  return new OperatorError(message, { exitCode: exitCodes.invalidConfiguration });
}

function optionOf(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** The configuration of the first instance; the others differ in zone, port and directory. @throws OperatorError */
export function judgeHost(flags: HostFlags, env: NodeJS.ProcessEnv): LoadedConfig & { readonly instances: number } {
  const instances = numberOf("--instances", flags.instances ?? "", { min: 1, max: MAX_INSTANCES });
  for (const name of OF_ONE_INSTANCE)
    if (flags[name] !== undefined)
      throw refused(`${optionOf(name)} is of one instance, and --instances starts several`);
  const zones = Array.from({ length: instances }, (_, index) => `z${index + 1}`);
  const peer = zones.map((zone) => `${zone}=unix:/${zone}.sock`);
  const loaded = loadConfig({ ...flags, zone: "z1", peer }, env);
  if (loaded.config.cluster.bucket === undefined) throw refused("--instances needs --cluster s3://bucket/prefix");
  const { config } = loaded;
  const { port } = config.server;
  const first = { ...config, server: { ...config.server, port: port + 1, sharedPort: port } };
  const problems = [...serveProblems(first, flags), ...environmentProblems(config, env)];
  if (problems.length > 0) throw invalidConfiguration(problems, loaded);
  if (port === 0 || port + instances > 65_535)
    throw refused(
      `server.port is ${port}: with --instances it must be from 1 to ${65_535 - instances}, as the instances' own ports follow it`,
    );
  return { ...loaded, instances };
}

/** What all instances are given alike, as on a command line. */
function sharedFlags({
  host,
  logLevel,
  tlsCert,
  tlsKey,
  grpcCert,
  grpcKey,
  grpcClientCa,
  newDeployment,
  ...flags
}: HostFlags): string[] {
  const tls = { tlsCert, tlsKey, grpcCert, grpcKey, grpcClientCa };
  const texts = { host, logLevel, ...tls, newDeployment, config: flags.config };
  const given = Object.entries(texts).flatMap(([name, text]) => (text === undefined ? [] : [optionOf(name), text]));
  const { insecurePublicHttp, privateNetwork, forceNewDeployment } = flags;
  const said = Object.entries({ insecurePublicHttp, privateNetwork, forceNewDeployment }).flatMap(([name, is]) =>
    is ? [optionOf(name)] : [],
  );
  return [...given, ...said];
}

export async function serveHost(flags: HostFlags, env: NodeJS.ProcessEnv): Promise<void> {
  const { config, instances } = judgeHost(flags, env);
  const { port } = config.server;
  await launchCluster({
    instances,
    port: port + 1,
    sharedPort: port,
    grpcPort: config.etcd.grpcPort,
    bucket: config.cluster.bucket,
    flags: sharedFlags(flags),
    dataDir: resolve(config.storage.dataDir),
    env,
    print: (line) => console.log(line),
    report: (line) => console.error(`jade-db: ${line}`),
  });
}
