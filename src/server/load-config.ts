// Brings the configuration together: flags over environment over file over defaults, validated once.
// Guarantees: either a whole Config or an OperatorError that lists every wrong field with its value, its limit and its source.
// Must not: touch the data directory, or keep the root key (root-key.ts reads that).

import { existsSync, readFileSync } from "node:fs";
import { load as loadYaml } from "js-yaml";
import { type ConfigProblem, problemsOf } from "./config-problems.ts";
import { type Config, configSchema } from "./config-schema.ts";
import { exitCodes, OperatorError, systemCode } from "./problem.ts";
import { serveProblems } from "./serve-problems.ts";

/** What the command line may override, as text: the schema judges it. */
export interface ConfigFlags {
  readonly config?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly dataDir?: string | undefined;
  readonly logLevel?: string | undefined;
  readonly insecurePublicHttp?: boolean | undefined;
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
  readonly sharedPort?: string | undefined;
  readonly grpcPort?: string | undefined;
  readonly grpcCert?: string | undefined;
  readonly grpcKey?: string | undefined;
  readonly grpcClientCa?: string | undefined;
  readonly watchPort?: string | undefined;
  readonly watchFronts?: string | undefined;
  readonly cluster?: string | undefined;
  readonly zone?: string | undefined;
  /** `zone=address` each. */
  readonly peer?: readonly string[] | undefined;
  readonly peerListen?: string | undefined;
  readonly clusterAddress?: string | undefined;
  readonly clusterAdvertise?: string | undefined;
  readonly privateNetwork?: boolean | undefined;
  readonly newDeployment?: string | undefined;
  readonly forceNewDeployment?: boolean | undefined;
}

export interface LoadedConfig {
  readonly config: Config;
  /** The file that was read, undefined when there was none. */
  readonly file: string | undefined;
}

interface Override {
  readonly path: readonly [section: string, field: string];
  readonly text: string | undefined;
  readonly source: string;
}

const DEFAULT_FILE = "jade.yaml";

function overrides(flags: ConfigFlags, env: NodeJS.ProcessEnv): readonly Override[] {
  return [
    { path: ["server", "port"], text: env["JADE_PORT"], source: "JADE_PORT" },
    { path: ["storage", "dataDir"], text: env["JADE_DATA_DIR"], source: "JADE_DATA_DIR" },
    { path: ["log", "level"], text: env["JADE_LOG_LEVEL"], source: "JADE_LOG_LEVEL" },
    { path: ["server", "host"], text: flags.host, source: "--host" },
    { path: ["server", "port"], text: flags.port, source: "--port" },
    { path: ["server", "sharedPort"], text: flags.sharedPort, source: "--shared-port" },
    { path: ["server", "tlsCert"], text: flags.tlsCert, source: "--tls-cert" },
    { path: ["server", "tlsKey"], text: flags.tlsKey, source: "--tls-key" },
    { path: ["server", "watchPort"], text: flags.watchPort, source: "--watch-port" },
    { path: ["server", "watchFronts"], text: flags.watchFronts, source: "--watch-fronts" },
    { path: ["storage", "dataDir"], text: flags.dataDir, source: "--data-dir" },
    { path: ["log", "level"], text: flags.logLevel, source: "--log-level" },
    { path: ["etcd", "grpcPort"], text: flags.grpcPort, source: "--grpc-port" },
    { path: ["etcd", "grpcCert"], text: flags.grpcCert, source: "--grpc-cert" },
    { path: ["etcd", "grpcKey"], text: flags.grpcKey, source: "--grpc-key" },
    { path: ["etcd", "grpcClientCa"], text: flags.grpcClientCa, source: "--grpc-client-ca" },
    { path: ["cluster", "bucket"], text: flags.cluster, source: "--cluster" },
    { path: ["cluster", "zone"], text: flags.zone, source: "--zone" },
    { path: ["cluster", "listen"], text: flags.peerListen, source: "--peer-listen" },
    { path: ["cluster", "address"], text: flags.clusterAddress, source: "--cluster-address" },
    { path: ["cluster", "advertise"], text: flags.clusterAdvertise, source: "--cluster-advertise" },
  ];
}

function readFileText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const why = systemCode(cause) === "ENOENT" ? "it does not exist" : String(cause);
    throw new OperatorError(`the configuration file ${path} cannot be read: ${why}`, {
      exitCode: exitCodes.invalidConfiguration,
      cause,
    });
  }
}

/** The file's content as an object of sections; an empty file is an empty object. */
function readConfigFile(path: string): Record<string, unknown> {
  let content: unknown;
  try {
    const text = readFileText(path);
    content = text.trim() === "" ? undefined : loadYaml(text, { filename: path });
  } catch (cause) {
    if (cause instanceof OperatorError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorError(`${path} is not valid YAML: ${why}`, { exitCode: exitCodes.invalidConfiguration, cause });
  }
  if (content === undefined || content === null) return {};
  if (typeof content === "object" && !Array.isArray(content)) return { ...content };
  throw new OperatorError(`${path} must hold sections (server:, storage:, …) at its top`, {
    exitCode: exitCodes.invalidConfiguration,
  });
}

/** Puts the overrides into the file's content; gives the source of each path that was overridden. */
function applyOverrides(raw: Record<string, unknown>, list: readonly Override[]): ReadonlyMap<string, string> {
  const sources = new Map<string, string>();
  for (const { path, text, source } of list) {
    if (text === undefined || text === "") continue;
    const [section, field] = path;
    const given = raw[section];
    if (given !== undefined && given !== null && (typeof given !== "object" || Array.isArray(given))) continue;
    raw[section] = { ...given, [field]: /(port|fronts)$/i.test(field) && /^\d+$/.test(text) ? Number(text) : text };
    sources.set(path.join("."), source);
  }
  return sources;
}

/** `--peer z1=unix:/path`, once for each zone, in place of what the file says. */
function applyPeers(raw: Record<string, unknown>, peers: readonly string[] | undefined): void {
  if (peers === undefined || peers.length === 0) return;
  const split = peers.map((text) => {
    const [zone = "", ...rest] = text.split("=");
    return [zone, rest.join("=")];
  });
  raw["cluster"] = { ...(raw["cluster"] as object | undefined), peers: Object.fromEntries(split) };
}

/** What `serve` says of a wrong configuration. */
export function invalidConfiguration(
  problems: readonly ConfigProblem[],
  { file, sources = new Map() }: { readonly file: string | undefined; readonly sources?: ReadonlyMap<string, string> },
): OperatorError {
  const lines = problems.map(({ field, value, message }) => {
    const source = sources.get(field);
    const from = source === undefined ? "" : ` (from ${source})`;
    return `  ${field}${from}${value === undefined ? "" : ` = ${value}`}: ${message}`;
  });
  const where = file === undefined ? "" : ` in ${file}`;
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  return new OperatorError(`the configuration${where} has ${count}:\n${lines.join("\n")}\nSee docs/configuration.md`, {
    exitCode: exitCodes.invalidConfiguration,
  });
}

/** @throws OperatorError with exit code 2 when the file is missing or anything in the configuration is wrong. */
export function loadConfig(flags: ConfigFlags, env: NodeJS.ProcessEnv): LoadedConfig {
  const named = flags.config ?? (env["JADE_CONFIG_FILE"] || undefined);
  const file = named ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined);
  const raw = file === undefined ? {} : readConfigFile(file);
  for (const [section, content] of Object.entries(raw)) {
    if (content === null) delete raw[section];
  }
  const sources = applyOverrides(raw, overrides(flags, env));
  applyPeers(raw, flags.peer);
  if (flags.privateNetwork) raw["cluster"] = { ...(raw["cluster"] as object | undefined), privateNetwork: true };
  const result = configSchema.safeParse(raw);
  if (!result.success)
    throw invalidConfiguration(problemsOf(configSchema, raw, result.error.issues), { file, sources });
  const problems = serveProblems(result.data, flags);
  if (problems.length > 0) throw invalidConfiguration(problems, { file, sources });
  return { config: result.data, file };
}
