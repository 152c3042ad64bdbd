// `jade-db cluster start`: a whole cluster on one machine, self-contained: the development bucket and N instances. Or, for `jade-db serve
// --cluster … --instances N`, the instances only, on the bucket and with the keys that they are given.
// Guarantees: keys are made once and kept in files that only our user reads; each process is restarted when it ends; instances stop before
// the bucket. Must not: be taken for a cluster that survives this machine.
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { InstanceLock } from "../instance-lock.ts";
import { OperatorError } from "../problem.ts";
import { resolveRootKey } from "../root-key.ts";
import { writeConfigFile } from "../worker-files.ts";
import { BUCKET_VARIABLES } from "./bucket-variables.ts";
import { Child } from "./child.ts";
import { isHeld } from "./held-instances.ts";
import { setBucketAside } from "./new-deployment.ts";

export const MAX_INSTANCES = 16;
const KEY_BYTES = 32;
const BUCKET = "jade";

export interface LaunchOptions {
  readonly instances: number;
  /** Of the first instance's gateway; the others follow. */
  readonly port: number;
  readonly grpcPort?: number | undefined;
  /** Of the first instance's listener for the others; left out: unix sockets. */
  readonly peerPort?: number | undefined;
  /** All instances listen there together. */
  readonly sharedPort?: number | undefined;
  /** Given: `s3://…`, and keys and the bucket's place come from the environment. Left out: the development bucket. */
  readonly bucket?: string | undefined;
  /** A word: all instances begin anew, and the development bucket with them, once. */
  readonly newDeployment?: string | undefined;
  /** More flags of each `jade-db serve`. */
  readonly flags?: readonly string[];
  readonly dataDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly print: (line: string) => void;
  readonly report: (line: string) => void;
}

/** What each instance of a real cluster is told by the environment. */
function givenKeys(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const names = ["JADE_ROOT_KEY", "JADE_ROOT_KEY_HASH", "JADE_CLUSTER_KEY", ...BUCKET_VARIABLES];
  return Object.fromEntries(names.map((name) => [name, env[name]]));
}

/** Made at the first start. */
function keptKey(path: string): string {
  if (!existsSync(path)) writeConfigFile(path, randomBytes(KEY_BYTES).toString("hex"));
  return readFileSync(path, "utf8").trim();
}

class Launch {
  readonly #options: LaunchOptions;
  readonly #dir: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #zones: readonly string[];
  readonly #ready = new Set<string>();
  #isReady = false;
  readonly #children: Child[] = [];
  #bucket: Child | undefined;
  #bucketUrl = "";

  constructor(options: LaunchOptions) {
    this.#options = options;
    this.#dir = resolve(options.dataDir);
    this.#zones = Array.from({ length: options.instances }, (_, index) => `z${index + 1}`);
    if (existsSync(join(this.#dir, "objects")))
      throw new OperatorError(`the data directory ${this.#dir} is of a single node: choose another with --data-dir`);
    const { PATH, HOME, TZ, LANG, JADE_LOG_LEVEL, JADE_CONFIG_FILE, JADE_METRICS_ACCESS } = options.env;
    const plain = { PATH, HOME, TZ, LANG, JADE_LOG_LEVEL, JADE_CONFIG_FILE, JADE_METRICS_ACCESS };
    this.#env = { ...plain, ...(options.bucket === undefined ? this.#ownKeys() : givenKeys(options.env)) };
  }

  /** Of a cluster with a bucket of its own. */
  #ownKeys(): NodeJS.ProcessEnv {
    const options = this.#options;
    const rootKey = resolveRootKey(this.#dir, options.env["JADE_ROOT_KEY"]);
    if (rootKey.warning) options.report(rootKey.warning);
    if (rootKey.made) {
      options.print(`root key   ${rootKey.made}`);
      options.print("           shown this once: keep it. Only its SHA-256 is stored.");
    }
    return {
      JADE_ROOT_KEY_HASH: rootKey.hash,
      JADE_CLUSTER_KEY: keptKey(join(this.#dir, "cluster.key")),
      AWS_REGION: "auto",
      AWS_ACCESS_KEY_ID: "jade",
      AWS_SECRET_ACCESS_KEY: keptKey(join(this.#dir, "bucket.key")),
    };
  }

  /** Resolves when the bucket listens, at the first time. */
  startBucket(): Promise<void> {
    const { newDeployment, report } = this.#options;
    const aside = newDeployment === undefined ? undefined : setBucketAside(this.#dir, newDeployment);
    if (aside !== undefined) report(`begins a new deployment; what the bucket held lies in ${aside}`);
    let listening: () => void = () => undefined;
    const isListening = new Promise<void>((resolve) => {
      listening = resolve;
    });
    this.#bucket = new Child({
      name: "bucket",
      // The instances hold on to the port that it got first.
      args: () => {
        const port = new URL(this.#bucketUrl || "http://127.0.0.1:0").port || "0";
        return ["dev-bucket", "--data-dir", join(this.#dir, "bucket"), "--bucket", BUCKET, "--port", port];
      },
      env: () => this.#env,
      onLine: (line) => {
        this.#bucketUrl ||= /^bucket +(\S+)/.exec(line)?.[1] ?? "";
        this.#options.print(line);
        if (this.#bucketUrl) listening();
      },
      report: this.#options.report,
    });
    this.#bucket.start();
    return isListening;
  }

  startInstances(): void {
    const { peerPort } = this.#options;
    const peers = this.#zones.flatMap((zone, index) => {
      const path = `unix:${join(this.#dir, zone, "zone.sock")}`;
      return ["--peer", `${zone}=${peerPort === undefined ? path : `127.0.0.1:${peerPort + index}`}`];
    });
    this.#zones.forEach((zone, index) => {
      const {
        port,
        grpcPort,
        sharedPort,
        report,
        bucket = `s3://${BUCKET}/deployment`,
        flags = [],
        newDeployment,
      } = this.#options;
      const anew = newDeployment === undefined ? [] : ["--new-deployment", newDeployment];
      const grpc = grpcPort === undefined ? [] : ["--grpc-port", String(grpcPort === 0 ? 0 : grpcPort + index)];
      const shared = sharedPort === undefined ? [] : ["--shared-port", String(sharedPort)];
      const child = new Child({
        name: zone,
        args: () => [
          ...["serve", "--cluster", bucket, "--zone", zone, ...peers, ...shared, ...flags, ...anew],
          ...["--port", String(port === 0 ? 0 : port + index), "--data-dir", join(this.#dir, zone), ...grpc],
        ],
        env: () => ({ ...this.#env, ...(this.#bucketUrl ? { AWS_ENDPOINT_URL: this.#bucketUrl } : {}) }),
        isHeld: () => isHeld(this.#dir, zone),
        onLine: (line) => this.#tell(zone, line),
        report,
      });
      if (isHeld(this.#dir, zone)) report(`${zone} is held: jade-db cluster instance start ${zone}`);
      this.#children.push(child);
      child.start();
    });
  }

  #tell(zone: string, line: string): void {
    this.#options.print(line.startsWith("{") ? line : `${zone}         ${line}`);
    if (!line.startsWith("ready ") || this.#isReady) return;
    this.#ready.add(zone);
    const count = this.#zones.filter((each) => !isHeld(this.#dir, each)).length;
    if (this.#ready.size < count) return;
    this.#isReady = true;
    this.#options.print(`ready      ${count} instances, one a zone, on one machine. Stop with Ctrl-C`);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.stop()));
    await this.#bucket?.stop();
  }

  hurry(): void {
    for (const child of this.#children) child.hurry();
  }
}

/** Runs until SIGTERM or SIGINT. @throws OperatorError when it cannot start. */
export async function launchCluster(options: LaunchOptions): Promise<void> {
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
  // Two buckets on one directory would destroy what the other writes.
  const lock = await InstanceLock.acquire(resolve(options.dataDir));
  try {
    await runUntilSignalled(new Launch(options), options.bucket === undefined);
  } finally {
    lock.release();
  }
}

async function runUntilSignalled(launch: Launch, hasOwnBucket: boolean): Promise<void> {
  let stop: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  let requests = 0;
  const onSignal = () => {
    if (++requests === 1) stop();
    else launch.hurry();
  };
  process.on("SIGTERM", onSignal).on("SIGINT", onSignal).on("SIGHUP", onSignal);
  if (hasOwnBucket) await Promise.race([launch.startBucket(), stopped]);
  if (requests === 0) launch.startInstances();
  await stopped;
  await launch.stop();
}
