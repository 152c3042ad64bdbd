// `jade-db serve --cluster`: one instance of a cluster: a process of its zone and one of leaders, under one supervisor.
// Guarantees: nothing is started before configuration, identity, data directory, lock and ports are good; the data of a single node is
// never opened as an instance's, nor the other way round.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { firstNodes } from "../../access/ring-start.ts";
import type { ClusterPlace } from "../../cluster/placement.ts";
import type { WorkerModule } from "../capnp-parts.ts";
import { clientConnections } from "../client-connections.ts";
import { type Config, workerSettings } from "../config-schema.ts";
import { assertNoSingleNode, type DataDir, prepareDataDir, removeUnfinishedBlobs } from "../data-dir.ts";
import { assertPortsFree, certificateFiles, innerAddress, startFronts } from "../fronts.ts";
import { InstanceLock, type LockedPart } from "../instance-lock.ts";
import { modelsSupervisor } from "../models-process.ts";
import { packageRoot } from "../package-root.ts";
import { joinAddress, localUrl } from "../port.ts";
import { secretEnvironment } from "../provider-secrets.ts";
import { watchReadiness } from "../readiness.ts";
import { MODELS_NAME, printAddress, reporter, type ServeOptions, untilSignalled } from "../serve.ts";
import { type StandIn, Supervisor } from "../supervisor.ts";
import { tellLeaving } from "../tell-leaving.ts";
import { copyWorkers, writeConfigFile } from "../worker-files.ts";
import { workerdBinary } from "../workerd-binary.ts";
import { EMBEDDER_SOCKET, type WorkerdConfigOptions, workerdConfig } from "../workerd-config.ts";
import { LEADERS_HEALTH, type WorkerdStart } from "../workerd-process.ts";
import { BucketMemory, seenFile, seenInBucket } from "./bucket-memory.ts";
import { BUCKET_VARIABLES } from "./bucket-variables.ts";
import { Door } from "./door.ts";
import { assertBucketFree } from "./held-bucket.ts";
import { clusterIdentity } from "./identity.ts";
import { Instance } from "./instance.ts";
import { boardAt, IsolationWatch, reachesLeaders } from "./isolation-watch.ts";
import { Membership } from "./membership.ts";
import { BUCKET_SEEN_FILE, beginNewDeployment, deploymentWord, isNewWord } from "./new-deployment.ts";
import { type ClusterProcess, LEADERS_STOP_MS } from "./relay-config.ts";
import { parseHostPort } from "./tunnel.ts";
import { socketPath, Ways } from "./ways.ts";

/** Beyond what workerd takes of its own. */
const LEADERS_STOP_GRACE_MS = 2000;

/** The ring of a new deployment: every instance makes the same of its configuration. */
function placeOf(config: Config, role: ClusterPlace["role"]): ClusterPlace {
  const { nodes: nodeCount, zones: zoneCount } = workerSettings(config).storage;
  const nodes = Object.fromEntries(firstNodes(nodeCount, zoneCount).map(({ id, zone }) => [id, zone]));
  return { role, zone: config.cluster.zone, zones: Object.keys(config.cluster.peers).sort(), nodes };
}

function bucketEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const given = BUCKET_VARIABLES.map((name) => [name, env[name]] as const);
  return Object.fromEntries(given.filter((pair): pair is [string, string] => pair[1] !== undefined));
}

interface Process {
  readonly role: ClusterPlace["role"];
  readonly part: LockedPart;
  readonly relayAddress: string;
  readonly objectsDir: string;
}

/** Makes the supervisors of both processes. */
class Processes {
  readonly #options: ServeOptions;
  readonly #dir: DataDir;
  readonly #lock: InstanceLock;
  readonly #common: Pick<
    WorkerdConfigOptions,
    "blobsDir" | "modules" | "embedderModules" | "settings" | "rootKeyHash" | "metricsAccess"
  >;
  readonly #runnerModules: readonly WorkerModule[];
  readonly #clusterKey: string;
  readonly ways: Ways;

  constructor(options: ServeOptions, dir: DataDir, lock: InstanceLock) {
    this.#options = options;
    this.#dir = dir;
    this.#lock = lock;
    const { rootKeyHash, clusterKey } = clusterIdentity(options.env);
    const { config, metricsAccess } = options;
    const { runnerModules, ...workers } = copyWorkers(join(packageRoot(), "dist"), dir.run);
    const settings = workerSettings(config);
    this.#common = { blobsDir: dir.blobs, ...workers, settings, rootKeyHash, metricsAccess };
    this.#runnerModules = runnerModules;
    this.#clusterKey = clusterKey;
    this.ways = new Ways({ cluster: config.cluster, dataDir: dir.path, clusterKey });
  }

  #cluster({ role, relayAddress }: Process): ClusterProcess {
    const { bucket, address, advertise } = this.#options.config.cluster;
    const place = placeOf(this.#options.config, role);
    const { server } = this.#options.config;
    const isShared = role === "zone" && server.sharedPort !== undefined && !certificateFiles(this.#options.config);
    const sharedAddress = isShared ? joinAddress(server.host, server.sharedPort!) : undefined;
    const { leaders, addresses: peers } = this.ways;
    const supervisorAddress = this.ways.supervisors[place.zone]!;
    const told = { supervisorAddress, tellAddress: this.ways.bulletin(role) };
    const ways = { relayAddress, leaders, peers, sharedAddress, ...told };
    const board = { bucket: bucket!, boardAddress: this.ways.board };
    return { place, ...ways, ...board, address, advertise, key: this.#clusterKey };
  }

  #start(process: Process, address: string): WorkerdStart {
    const { role, relayAddress, objectsDir } = process;
    // One that was killed leaves its socket's name behind.
    const embedder = `unix:${join(this.#dir.run, EMBEDDER_SOCKET)}`;
    const own = role === "zone" ? [] : [this.ways.board, embedder];
    for (const address of [relayAddress, this.ways.bulletin(role), ...own])
      rmSync(address.slice("unix:".length), { force: true });
    const configFile = `${role}.capnp`;
    const text = workerdConfig({ ...this.#common, address, objectsDir, cluster: this.#cluster(process) });
    writeConfigFile(join(this.#dir.run, configFile), text);
    const start = { binary: workerdBinary(), cwd: this.#dir.run, configFile };
    if (role === "zone") return start;
    const { env, config } = this.#options;
    // The embedder is beside the leaders.
    const held = { ...bucketEnvironment(env), ...secretEnvironment(config.embedding, env) };
    return { ...start, isExperimental: true, health: LEADERS_HEALTH, env: held };
  }

  zone(): Supervisor {
    const { config, report } = this.#options;
    const { host, port } = innerAddress(config);
    const { host: sharedHost, sharedPort } = config.server;
    const relayAddress = this.ways.own;
    const process: Process = { role: "zone", part: "workerd", relayAddress, objectsDir: this.#dir.objects };
    const door = new Door({ host, port });
    // With TLS its front listens there.
    const isShared = sharedPort !== undefined && !certificateFiles(config);
    const shared = isShared ? new Door({ host: sharedHost, port: sharedPort, reusePort: true }) : undefined;
    return new Supervisor({
      // Watches that no copy serves end at an owner; those of this instance are about to be handed over anyway.
      leave: async () => {
        const processes = [this.ways.bulletin("zone"), this.ways.bulletin("leaders")];
        await Promise.allSettled(processes.map((address) => tellLeaving(socketPath(address))));
      },
      // The others keep their connections to its relay for as long as it is there.
      isIdle: (pid, bound) => clientConnections(pid, isShared ? [bound, sharedPort] : [bound]) === 0,
      standIn: standingIn(shared ? [door, shared] : [door]),
      url: (bound) => localUrl(host, bound),
      events: reporter(report, (pid) => this.#lock.noteWorkerd(pid, "workerd"), "the zone's process"),
      prepare: (bound) => {
        removeUnfinishedBlobs(this.#dir);
        const descriptors = { http: door.descriptor, ...(shared ? { shared: shared.descriptor } : {}) };
        return { ...this.#start(process, joinAddress(host, bound ?? port)), descriptors };
      },
    });
  }

  models(): Supervisor {
    const { report } = this.#options;
    return modelsSupervisor({
      ...{ runDir: this.#dir.run, modules: this.#runnerModules, settings: this.#common.settings },
      events: reporter(report, (pid) => this.#lock.noteWorkerd(pid, "models"), MODELS_NAME),
    });
  }

  leaders(): Supervisor {
    const relayAddress = this.ways.leaders[this.#options.config.cluster.zone]!;
    const { host } = parseHostPort(this.#options.config.cluster.address) ?? { host: "127.0.0.1" };
    const process: Process = { role: "leaders", part: "leaders", relayAddress, objectsDir: this.#dir.leaders };
    mkdirSync(this.#dir.leaders, { recursive: true, mode: 0o700 });
    return new Supervisor({
      url: (bound) => localUrl(host, bound),
      stopTimeoutMs: LEADERS_STOP_MS + LEADERS_STOP_GRACE_MS,
      events: reporter(this.#options.report, (pid) => this.#lock.noteWorkerd(pid, "leaders"), "the leaders' process"),
      prepare: () => this.#start(process, ""),
    });
  }
}

function standingIn(doors: readonly Door[]): StandIn {
  return {
    come: async () => void (await Promise.all(doors.map((door) => door.come()))),
    go: () => {
      for (const door of doors) door.go();
    },
    shut: () => {
      for (const door of doors) door.shut();
    },
  };
}

/** Where other instances' leaders call this one's; undefined = it does not run. */
function leadersAddress({ address, advertise }: Config["cluster"], port: number | undefined): string | undefined {
  if (port === undefined) return undefined;
  const given = parseHostPort(advertise ?? address);
  return given && joinAddress(given.host, given.port === 0 ? port : given.port);
}

interface Parts {
  readonly ways: Ways;
  readonly leaders: Supervisor;
  readonly membership: Membership;
}

function watchIsolation({ config, report }: ServeOptions, { leaders, ways, membership }: Parts): IsolationWatch {
  const { zone, peers } = config.cluster;
  return new IsolationWatch({
    ...{ zone, zones: Object.keys(peers), board: boardAt(socketPath(ways.board)), reaches: reachesLeaders, report },
    address: () => leadersAddress(config.cluster, leaders.port),
    together: () => membership.together,
    now: Date.now,
    rest: () => leaders.rest(),
    wake: () => leaders.wake(),
    drain: (why) => membership.drain(why),
  });
}

function rememberBucket(
  { config, report }: ServeOptions,
  { leaders, ways, dir }: { readonly leaders: Supervisor; readonly ways: Ways; readonly dir: DataDir },
): BucketMemory {
  const { bucket = "", zone } = config.cluster;
  return new BucketMemory({
    ...{ bucket, report, rest: () => leaders.rest(), now: () => new Date(), word: deploymentWord(dir.path) },
    process: () => leaders.pid,
    here: seenFile(join(dir.path, BUCKET_SEEN_FILE)),
    there: seenInBucket(socketPath(ways.board), zone),
  });
}

/** Where `--new-deployment` asks for it. @throws OperatorError */
async function beginAnew(options: ServeOptions, dir: DataDir): Promise<void> {
  const { config, newDeployment: word, forceNewDeployment, env, report } = options;
  if (word === undefined) return;
  // One that began before was judged then.
  if (isNewWord(dir.path, word) && forceNewDeployment !== true) {
    const { bucket = "", peers } = config.cluster;
    const { clusterKey } = clusterIdentity(env);
    const ask = { bucket, zones: Object.keys(peers).sort(), clusterKey, runDir: dir.run, binary: workerdBinary() };
    await assertBucketFree({ ...ask, env: bucketEnvironment(env) }, word);
  }
  const aside = beginNewDeployment(dir, word);
  if (aside !== undefined) report(`begins a new deployment; what this instance held lies in ${aside}`);
}

/** Runs until SIGTERM or SIGINT; gives the exit code. @throws OperatorError when it cannot start. */
export async function serveCluster(options: ServeOptions): Promise<number> {
  const { config } = options;
  const inner = innerAddress(config);
  const dir = prepareDataDir(config.storage.dataDir);
  assertNoSingleNode(dir);
  const lock = await InstanceLock.acquire(dir.path);
  try {
    await assertPortsFree(config);
    await beginAnew(options, dir);
    const processes = new Processes(options, dir, lock);
    await processes.ways.open();
    const { ways } = processes;
    const [zone, leaders] = [processes.zone(), processes.leaders()];
    const instance = new Instance({ gateway: zone, others: [leaders, processes.models()] });
    const membership = new Membership({
      ...{ zone: config.cluster.zone, zones: Object.keys(config.cluster.peers), ways, report: options.report },
      ...{ dataDir: dir.path, leadersDir: dir.leaders, processes: { zone, leaders } },
    });
    await membership.open();
    return await untilSignalled(instance, async (bound, signal) => {
      const url = localUrl(inner.host, bound);
      const fronts = await startFronts(options, url);
      printAddress(options, { dataDir: dir.path, urls: fronts.urls });
      membership.join();
      void rememberBucket(options, { leaders, ways, dir }).run(signal);
      void watchIsolation(options, { leaders, ways, membership }).run(signal);
      void watchReadiness({
        url,
        signal,
        ready: () =>
          options.print(`ready      zone ${config.cluster.zone} of ${config.cluster.bucket}. Stop with Ctrl-C`),
        late: (why) => options.report(`${why}. It goes on trying; GET /v1/ready tells`),
      });
      return { stop: async () => void (await Promise.all([membership.leave(), fronts.stop()])) };
    });
  } finally {
    lock.release();
  }
}
