// `jade-db serve`: one self-hosted instance. Brings lock, root key, Worker and workerd together, then watches.
// Guarantees: nothing is started before configuration, data directory, lock and port are good; the lock is released at the end.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { Instance } from "./cluster/instance.ts";
import { workerSettings } from "./config-schema.ts";
import { assertNoInstance, prepareDataDir, removeUnfinishedBlobs } from "./data-dir.ts";
import { assertPortsFree, type FrontUrls, innerAddress, startFronts } from "./fronts.ts";
import { InstanceLock } from "./instance-lock.ts";
import type { LoadedConfig } from "./load-config.ts";
import { modelsSupervisor } from "./models-process.ts";
import { packageRoot } from "./package-root.ts";
import { joinAddress, localUrl } from "./port.ts";
import { secretEnvironment } from "./provider-secrets.ts";
import { watchReadiness } from "./readiness.ts";
import { type RootKey, resolveRootKey } from "./root-key.ts";
import { Supervisor, type SupervisorEvents } from "./supervisor.ts";
import { tellLeaving } from "./tell-leaving.ts";
import { copyWorkers, writeConfigFile } from "./worker-files.ts";
import { workerdBinary } from "./workerd-binary.ts";
import { workerdConfig } from "./workerd-config.ts";

const CONFIG_FILE = "workerd.capnp";
export const MODELS_NAME = "the models' process";
const DISK_WARNING =
  "storage.blobStore or vectors.archiveStore is disk: workerd does not fsync those files, so a power cut may lose tables or archives. Use sqlite (none) unless the file system makes renames durable";

export interface ServeOptions extends LoadedConfig {
  readonly rootKeyFromEnvironment: string | undefined;
  /** A word: what this instance of a cluster held is given up, once. */
  readonly newDeployment?: string | undefined;
  /** Also where the bucket holds a deployment. */
  readonly forceNewDeployment?: boolean | undefined;
  /** JADE_METRICS_ACCESS. */
  readonly metricsAccess?: string | undefined;
  /** The process's environment: identity and bucket of a cluster. */
  readonly env: NodeJS.ProcessEnv;
  /** Where the banner goes, one line a call. */
  readonly print: (line: string) => void;
  /** Where restarts and stops are told. */
  readonly report: (line: string) => void;
}

/** Runs until SIGTERM or SIGINT; gives the exit code. @throws OperatorError when it cannot start. */
export async function serve(options: ServeOptions): Promise<number> {
  const { config } = options;
  const inner = innerAddress(config);
  const dir = prepareDataDir(config.storage.dataDir);
  assertNoInstance(dir);
  const lock = await InstanceLock.acquire(dir.path);
  try {
    await assertPortsFree(config);
    const binary = workerdBinary();
    const { runnerModules, ...workers } = copyWorkers(join(packageRoot(), "dist"), dir.run);
    const rootKey = resolveRootKey(dir.path, options.rootKeyFromEnvironment);
    printRootKey(rootKey, options);
    if ([config.storage.blobStore, config.vectors.archiveStore].includes("disk")) options.report(DISK_WARNING);
    const tellSocket = join(dir.run, "tell.sock");
    const supervisor = new Supervisor({
      leave: () => tellLeaving(tellSocket),
      url: (bound) => localUrl(inner.host, bound),
      events: reporter(options.report, (pid) => lock.noteWorkerd(pid)),
      prepare: (bound) => {
        removeUnfinishedBlobs(dir);
        // One that was killed leaves its socket's name behind.
        rmSync(tellSocket, { force: true });
        const text = workerdConfig({
          address: joinAddress(inner.host, bound ?? inner.port),
          objectsDir: dir.objects,
          blobsDir: dir.blobs,
          ...workers,
          settings: workerSettings(config),
          rootKeyHash: rootKey.hash,
          metricsAccess: options.metricsAccess,
          tellAddress: "unix:tell.sock",
        });
        writeConfigFile(join(dir.run, CONFIG_FILE), text);
        const env = secretEnvironment(config.embedding, options.env);
        return { binary, cwd: dir.run, configFile: CONFIG_FILE, env };
      },
    });
    const models = modelsSupervisor({
      ...{ runDir: dir.run, modules: runnerModules, settings: workerSettings(config) },
      events: reporter(options.report, (pid) => lock.noteWorkerd(pid, "models"), MODELS_NAME),
    });
    const instance = new Instance({ gateway: supervisor, others: [models] });
    return await untilSignalled(instance, async (bound, signal) => {
      const url = localUrl(inner.host, bound);
      const fronts = await startFronts(options, url);
      printAddress(options, { dataDir: dir.path, urls: fronts.urls });
      void watchReadiness({
        url,
        signal,
        ready: () => printReady(options),
        late: (why) => options.report(`${why}. It goes on trying; GET /v1/ready tells`),
      });
      return fronts;
    });
  } finally {
    lock.release();
  }
}

/** What stands in front of workerd, and ends before it. */
type OnListening = (port: number, signal: AbortSignal) => Promise<{ stop(): Promise<void> } | undefined>;

/** What runs until it is stopped: one process, or the two of an instance. */
type Running = Pick<Supervisor, "start" | "run" | "stop">;

export async function untilSignalled(supervisor: Running, listening: OnListening): Promise<number> {
  const ended = new AbortController();
  let front: { stop(): Promise<void> } | undefined;
  const stop = () => {
    if (!front) return supervisor.stop();
    const stopping = front;
    front = undefined;
    void stopping.stop().finally(() => supervisor.stop());
  };
  process.on("SIGTERM", stop).on("SIGINT", stop).on("SIGHUP", stop);
  try {
    const port = await supervisor.start();
    if (port !== undefined) front = await listening(port, ended.signal);
    return await supervisor.run();
  } catch (error) {
    supervisor.stop();
    throw error;
  } finally {
    ended.abort();
    process.off("SIGTERM", stop).off("SIGINT", stop).off("SIGHUP", stop);
  }
}

export function reporter(
  report: (line: string) => void,
  started: (pid: number) => void,
  name = "workerd",
): SupervisorEvents {
  return {
    started,
    died: ({ code, signal }, delayMs, why) => {
      if (why !== undefined) report(`${name} ended: ${why}`);
      report(`${name} ended (${signal ?? `exit code ${code}`}): restarting in ${delayMs} ms`);
    },
    unable: (error, delayMs) => report(`${name} cannot be started (${String(error)}): trying again in ${delayMs} ms`),
    back: (downMs) => report(`${name} answers again after ${Math.round(downMs)} ms`),
    killing: () => report(`${name} does not stop: killing it (what was acknowledged is on disk)`),
  };
}

function printRootKey({ made, warning }: RootKey, { print, report }: ServeOptions): void {
  if (warning !== undefined) report(warning);
  if (made === undefined) return;
  print(`root key   ${made}`);
  print("           shown this once: keep it. Only its SHA-256 is stored.");
}

interface Address {
  readonly dataDir: string;
  readonly urls: FrontUrls;
}

export function printAddress({ config, file, print }: ServeOptions, { dataDir, urls }: Address): void {
  const { publicUrl } = config.server;
  print(`JadeDB     ${publicUrl ?? urls.main}`);
  if (publicUrl !== undefined) print(`listening  ${urls.main}`);
  if (urls.shared !== undefined) print(`shared     ${urls.shared}`);
  if (urls.grpc !== undefined) print(`gRPC       ${urls.grpc}`);
  if (urls.watches !== undefined) print(`watches    ${urls.watches}`);
  print(`data       ${dataDir}`);
  if (file !== undefined) print(`config     ${file}`);
}

function printReady({ config, print }: ServeOptions): void {
  const { zones, nodes } = config.storage;
  print(`ready      one instance, ${nodes} storage nodes in ${zones} virtual zones. Stop with Ctrl-C`);
}
