// `jade-db doctor`: looks at the machine, the configuration, the data directory and the server, and says what is wrong and what to do.
// Guarantees: changes nothing; a bundle holds no key, token or password. Must not: read what is stored.

import { closeSync, fstatSync, openSync, readSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import type { Config } from "../config-schema.ts";
import { certificateFiles } from "../fronts.ts";
import { type ConfigFlags, loadConfig } from "../load-config.ts";
import { localUrl } from "../port.ts";
import { OperatorError } from "../problem.ts";
import { certificate, clusterFindings } from "./cluster.ts";
import { contents, fileSystem, space, syncSpeed } from "./disk.ts";
import { type Finding, fail, ok } from "./finding.ts";
import { descriptors, memory, nodeVersion, operatingSystem, workerd } from "./machine.ts";
import { redact, secretsOf } from "./redact.ts";
import { askServer } from "./server.ts";

const LOG_BYTES = 1024 * 1024;

export interface DoctorOptions {
  readonly flags: ConfigFlags;
  readonly env: NodeJS.ProcessEnv;
  /** Left out: where the configuration has it listen. */
  readonly url?: string | undefined;
  readonly rootKey?: string | undefined;
  /** Where a bundle for others to look at is written. */
  readonly bundle?: string | undefined;
  /** A log whose end goes into the bundle. */
  readonly log?: string | undefined;
}

function configuration({ flags, env }: DoctorOptions): { finding: Finding; config?: Config } {
  try {
    const { config, file } = loadConfig(flags, env);
    return { finding: ok("configuration", file ?? "no file: defaults, environment and flags"), config };
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return { finding: fail("configuration", error.message, "docs/configuration.md has every setting") };
  }
}

const DEFAULT_URL = "http://127.0.0.1:8787";

function ownUrl(config: Config | undefined): string {
  if (!config) return DEFAULT_URL;
  const { host, port } = config.server;
  return localUrl(host, port).replace(/^http/, certificateFiles(config) ? "https" : "http");
}

/** The end of a log: secrets never get into it, but other programs may write there too. */
function logTail(path: string): string {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const bytes = Buffer.alloc(Math.min(size, LOG_BYTES));
    return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, size - bytes.length)).toString("utf8");
  } finally {
    closeSync(file);
  }
}

export async function runDoctor(options: DoctorOptions): Promise<readonly Finding[]> {
  const { finding, config } = configuration(options);
  const { findings: ofServer, ...answers } = await askServer(options.url ?? ownUrl(config), options.rootKey);
  const dataDir = config?.storage.dataDir;
  const tls = config && certificateFiles(config);
  const findings = [
    ...[nodeVersion(), operatingSystem(), workerd(), descriptors(), finding],
    ...(config ? [memory(config)] : []),
    ...(dataDir ? [space(dataDir), fileSystem(dataDir), syncSpeed(dataDir), contents(dataDir)] : []),
    ...(tls ? [certificate(tls)] : []),
    ...(config ? await clusterFindings(config, options.env) : []),
    ...ofServer,
  ];
  if (options.bundle !== undefined) {
    const log = options.log === undefined ? undefined : logTail(options.log);
    const secrets = [...secretsOf(options.env), ...(options.rootKey === undefined ? [] : [options.rootKey])];
    const content = redact({ madeAt: new Date().toISOString(), findings, config, ...answers, log }, secrets);
    writeFileSync(options.bundle, gzipSync(JSON.stringify(content, null, 2)), { mode: 0o600 });
  }
  return findings;
}
