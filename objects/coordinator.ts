// The quorum coordinator of a zone process: where all requests and sessions of the process meet, so that their replica calls go out
// together (DESIGN 1). A thin shell of timers, stubs and sockets around replication/quorum-coordinator.ts. Stores nothing.
import { DurableObject } from "cloudflare:workers";
import { KEEP_VIEW_EVERY_MS } from "../src/access/limits.ts";
import type { Caller, DirectoryView } from "../src/access/types.ts";
import { clusterPlace, SOLE_ZONE, zoneOfNode } from "../src/cluster/placement.ts";
import { parseSettings } from "../src/cluster/settings.ts";
import { fenceOf } from "../src/replication/fence.ts";
import { LEAST_PATIENCE_MS } from "../src/replication/limits.ts";
import type { Environment } from "../src/replication/link.ts";
import { QuorumCoordinator } from "../src/replication/quorum-coordinator.ts";
import { type Timeout, Timeouts } from "../src/replication/timeouts.ts";
import { createLogger, type Logger } from "../src/telemetry/logger.ts";
import { SampleSums, sumSamples } from "../src/telemetry/sample-sums.ts";
import { ByteWriter } from "../src/wire/bytes.ts";
import { PublicError } from "../src/wire/error-codes.ts";
import { readRequests, type SessionAnswer, type SessionRequest, writeAnswer } from "../src/wire/session.ts";
import { ConfigRelays } from "./config-relays.ts";
import { coordinatorMetrics } from "./coordinator-metrics.ts";
import type { Env } from "./env.ts";
import { exportPage } from "./export.ts";
import { handover } from "./handover.ts";
import { KeyspaceSums } from "./keyspace-metrics.ts";
import { noteHolder } from "./leaving.ts";
import { Mailbox, mailboxOf, type Parcel } from "./mailbox.ts";
import type {
  CoordinatorRpc,
  ExportAsk,
  ExportFailure,
  ExportPage,
  KeyspaceReport,
  KeyValueReplicaRpc,
  ZoneViewsRpc,
} from "./rpc.ts";
import { SessionDesk, type SessionOf } from "./session-desk.ts";
import { type SessionVectors, sessionVectors } from "./session-vectors.ts";
import { toldOf } from "./told.ts";
import { withDeadline } from "./with-deadline.ts";

/** While requests come the Directory is asked for a newer view again after so long, by a question that waits for a change. Ms. */
const VIEW_REFRESH_MS = 300;
const VIEW_WAIT_MS = 2000;
/** How long the owner of a tenant may take to tell its route. Ms. */
const ROUTE_DEADLINE_MS = 1000;
/** One line a node in this time. Ms. */
const FAILURE_LOG_EVERY_MS = 5000;
/** First view: how long requests wait for the Directory before they are told that it is away. Ms. */
const FIRST_VIEW_TIMEOUT_MS = 5000;

/** A session that no gateway vouches for: it ends at the first check. */
const NO_BEARER = '{"credential":{"kind":"key","keyId":""}}';

/** Since when the others agree that a storage node's instance is away. */
function awayByNode(cluster: string): (nodeId: string) => number | undefined {
  const place = clusterPlace(cluster)!;
  return (nodeId) => {
    const zone = zoneOfNode(place, nodeId);
    const member = zone === undefined ? undefined : toldOf(zone);
    return member?.state === "failed" || member?.state === "left" ? member.sinceMs : undefined;
  };
}

export class Coordinator extends DurableObject<Env> implements CoordinatorRpc {
  readonly #core: QuorumCoordinator;
  readonly #replicas = new Map<string, KeyValueReplicaRpc>();
  readonly #gateways = new SampleSums();
  readonly #keyspaces = new KeyspaceSums("jade_config_keyspaces");
  readonly #vectors = new KeyspaceSums("jade_vector_objects");
  readonly #sessions: SessionDesk;
  readonly #mailbox: Mailbox;
  readonly #configs: ConfigRelays;
  #sessionVectors: SessionVectors | undefined;
  readonly #log: Logger;
  readonly #failureLoggedMs = new Map<string, number>();
  #viewAtMs = 0;
  #keptMs = 0;
  #refreshing: Promise<void> | undefined;
  #turn: (() => void)[] = [];

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const settings = parseSettings(env.JADE_CONFIG ?? "{}");
    const { replicaTimeoutMs } = settings.keyValue;
    const setTimer = (delayMs: number, run: () => void): number => setTimeout(run, delayMs);
    const timeouts = new Timeouts({ delayMs: replicaTimeoutMs, now: Date.now, setTimer });
    const environment: Environment = {
      call: (nodeId, frame) => this.#callReplica(nodeId, frame),
      now: Date.now,
      schedule: (run) => this.#schedule(run),
      // Each call of a replica has one, and nearly all are cleared.
      setTimer: (delayMs, run) => (delayMs === replicaTimeoutMs ? timeouts.add(run) : setTimer(delayMs, run)),
      clearTimer: (timer) => (typeof timer === "number" ? clearTimeout(timer) : timeouts.clear(timer as Timeout)),
      replicaTimeoutMs,
      ...(env.JADE_CLUSTER ? { leastPatienceMs: LEAST_PATIENCE_MS, awaySinceMs: awayByNode(env.JADE_CLUSTER) } : {}),
      reloadRoute: async (tenant) => {
        const stub = env.TENANT.get(env.TENANT.idFromName(`t${tenant}`));
        const view = await withDeadline(stub.viewSince(null), ROUTE_DEADLINE_MS, "Tenant");
        return view === null || view === "unchanged" ? undefined : view;
      },
      reloadView: () => {
        const directory = env.DIRECTORY.get(env.DIRECTORY.idFromName("system"));
        return withDeadline(directory.view(), ROUTE_DEADLINE_MS, "Directory");
      },
    };
    this.#log = createLogger({
      level: settings.log.level,
      now: Date.now,
      write: (_level, line) => console.log(line),
      fields: { part: "coordinator" },
    });
    this.#configs = new ConfigRelays({
      env,
      zone: ctx.id.name ?? SOLE_ZONE,
      schedule: (run) => this.#schedule(run),
      onFailure: (error) => this.#logFailure("keyspace", error),
    });
    this.#sessions = new SessionDesk({
      env,
      settings,
      submit: (caller, request, done, of) => this.#submit(caller, request, done, of),
      closed: (owner, isClosed) => this.#configs.sessionEnded(owner, isClosed),
      waitUntil: (work) => ctx.waitUntil(work),
      onHolding: (hasSessions) => noteHolder("COORDINATOR", ctx.id.name, hasSessions),
    });
    const zone = ctx.id.name;
    // A single instance has one coordinator, so that it may stamp where it likes: one replica for the whole turn saves commits.
    const isSole = env.JADE_MODE === "single";
    this.#core = new QuorumCoordinator(environment, { readZone: zone, stampZone: isSole ? zone : undefined });
    this.#mailbox = zone === undefined ? new Mailbox() : mailboxOf(zone);
    // Where the process is our own, gateway and Coordinator share an isolate for certain; all replicas only on a single node.
    if (isSole || env.JADE_CLUSTER) this.#mailbox.open();
    if (isSole) handover.open();
  }

  async leave(): Promise<void> {
    this.#sessions.leave();
  }

  async call(caller: Caller, frame: Uint8Array): Promise<Uint8Array> {
    await this.#ready();
    const requests = readRequests(frame);
    const writer = new ByteWriter(512);
    let open = requests.length;
    if (open === 0) return writer.take();
    return new Promise((resolve) => {
      const done = (answer: SessionAnswer): void => {
        writeAnswer(writer, answer);
        if (--open === 0) resolve(writer.take());
      };
      for (const request of requests) this.#submit(caller, request, done);
    });
  }

  async work(): Promise<void> {
    await this.#ready();
    const parcels = this.#mailbox.take();
    let open = parcels.length;
    if (open === 0) return;
    await new Promise<void>((resolve) => {
      for (const parcel of parcels) {
        this.#workOn(parcel, () => {
          if (--open === 0) resolve();
        });
      }
    });
  }

  #workOn(parcel: Parcel, ended: () => void): void {
    const { caller, requests } = parcel;
    const answers: SessionAnswer[] = new Array(requests.length);
    let open = requests.length;
    const done = (answer: SessionAnswer): void => {
      answers[answer.id] = answer;
      if (--open > 0) return;
      this.#mailbox.settle(parcel, answers);
      ended();
    };
    try {
      for (const request of requests) this.#submit(caller, request, done);
    } catch (error) {
      parcel.reject(error); // must not reach the requests of others
      ended();
    }
  }

  override async fetch(request: Request): Promise<Response> {
    const header = request.headers.get("jade-caller");
    if (!header || request.headers.get("upgrade")?.toLowerCase() !== "websocket")
      return new Response(null, { status: 426 });
    await this.#ready();
    const caller: Caller = JSON.parse(header);
    const refusal = this.#sessions.refusal(caller.tenant);
    if (refusal) return new Response(null, { status: 503, headers: { "jade-refusal": JSON.stringify(refusal) } });
    const { 0: client, 1: server } = new WebSocketPair();
    this.#sessions.open(server, caller, JSON.parse(request.headers.get("jade-session") ?? NO_BEARER));
    const protocol = request.headers.get("sec-websocket-protocol")?.split(",")[0]?.trim();
    return new Response(null, {
      status: 101,
      webSocket: client,
      ...(protocol ? { headers: { "sec-websocket-protocol": protocol } } : {}),
    });
  }

  async exportPage(caller: Caller, ask: ExportAsk): Promise<ExportPage | ExportFailure> {
    await this.#ready();
    try {
      const { ring } = this.#core;
      const fence = fenceOf({ ring: ring.state.revision, route: caller.routeRevision ?? 0 });
      return await exportPage(caller, ring, ask, (nodeId, after) =>
        this.#replica(nodeId).scan(caller.tenant, after, ask.limitRows, fence),
      );
    } catch (error) {
      if (error instanceof PublicError) {
        return { code: error.code, message: error.message, details: error.details };
      }
      throw error;
    }
  }

  /** `of`: where it came over a session. */
  #submit(caller: Caller, request: SessionRequest, done: (answer: SessionAnswer) => void, of?: SessionOf): void {
    if (request.op === "config") return this.#configs.submit(caller, request, done, of?.owner);
    if (request.op === "vector") return this.#databases().submit({ caller, request, rate: of?.rate, done });
    if (Date.now() - this.#viewAtMs > VIEW_REFRESH_MS) this.#refreshBehind();
    this.#core.submit(caller, request, done);
  }

  /** Made when a session first asks for vectors. */
  #databases(): SessionVectors {
    this.#sessionVectors ??= sessionVectors({
      env: this.env,
      rates: this.#sessions.rates,
      waitUntil: (work) => this.ctx.waitUntil(work),
      schedule: (run) => this.#schedule(run),
      report: async (delta) => this.#gateways.add(delta),
    });
    return this.#sessionVectors;
  }

  async metrics(): Promise<Record<string, number>> {
    return sumSamples([
      this.#gateways.samples(),
      this.#keyspaces.samples(),
      this.#vectors.samples(),
      coordinatorMetrics({ core: this.#core, sessions: this.#sessions, mailbox: this.#mailbox }),
    ]);
  }

  async reportGatewayMetrics(delta: Record<string, number>): Promise<void> {
    this.#gateways.add(delta);
  }

  async reportKeyspaceMetrics(id: string, report: KeyspaceReport): Promise<void> {
    this.#keyspaces.add(id, report);
  }

  async reportVectorMetrics(id: string, report: KeyspaceReport): Promise<void> {
    this.#vectors.add(id, report);
  }

  /** Of what lies on this zone's disk, once it is known. */
  #deployment = "";

  async #ready(): Promise<void> {
    if (this.#core.revision < 0) await this.#refresh();
    else if (Date.now() - this.#viewAtMs > VIEW_REFRESH_MS) this.#refreshBehind();
  }

  #refreshBehind(): void {
    this.#viewAtMs = Date.now();
    // The old view keeps serving while the Directory is away (DESIGN 3); the next request tries again.
    this.ctx.waitUntil(this.#refresh().catch(() => undefined));
  }

  #refresh(): Promise<void> {
    this.#refreshing ??= this.#fetchView().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #fetchView(): Promise<void> {
    const directory = this.env.DIRECTORY.get(this.env.DIRECTORY.idFromName("system"));
    let timer = 0;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("the Directory did not answer in time")), FIRST_VIEW_TIMEOUT_MS);
    });
    try {
      const { revision } = this.#core;
      const asked = revision < 0 ? directory.view() : directory.viewAfter(revision, VIEW_WAIT_MS);
      const view = await Promise.race([asked, late]);
      await this.#recognize(view);
      this.#core.useView(view);
      this.#viewAtMs = Date.now();
      if (view.revision !== revision || this.#viewAtMs - this.#keptMs > KEEP_VIEW_EVERY_MS) await this.#keep(view);
    } catch (error) {
      // The first one: what this zone saw last, while that may be used.
      const kept = this.#core.revision < 0 ? await this.#zone.directory() : null;
      if (!kept) throw error;
      this.#core.useView(kept.view);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Throws where the view is of another deployment than what lies on this zone's disk. */
  async #recognize({ deployment }: DirectoryView): Promise<void> {
    if (deployment === undefined || deployment === this.#deployment) return;
    // A record that is damaged must not keep the zone from serving.
    const known = await this.#zone.claimDeployment(deployment).catch(() => deployment);
    if (known !== deployment)
      throw new Error(`this zone's data is of the deployment ${known}, the Directory of ${deployment}`);
    this.#deployment = deployment;
  }

  async #keep(view: DirectoryView): Promise<void> {
    this.#keptMs = this.#viewAtMs;
    // Without it a start would have to wait for the Directory, as ever.
    await this.#zone.keepDirectory(view, this.#viewAtMs).catch(() => undefined);
  }

  get #zone(): ZoneViewsRpc {
    const objects = this.env.ZONE_VIEWS;
    return objects.get(objects.idFromName(this.ctx.id.name ?? SOLE_ZONE));
  }

  /** One timer for all that is scheduled within a turn: the calls of a turn go out together. */
  #schedule(run: () => void): void {
    this.#turn.push(run);
    if (this.#turn.length > 1) return;
    setTimeout(() => {
      const due = this.#turn;
      this.#turn = [];
      for (const each of due) each();
    }, 0);
  }

  #replica(nodeId: string): KeyValueReplicaRpc {
    let stub = this.#replicas.get(nodeId);
    if (!stub) {
      stub = this.env.KEY_VALUE_REPLICA.get(this.env.KEY_VALUE_REPLICA.idFromName(nodeId));
      this.#replicas.set(nodeId, stub);
    }
    return stub;
  }

  async #callReplica(nodeId: string, frame: Uint8Array): Promise<Uint8Array> {
    try {
      const replica = this.#replica(nodeId);
      const answer = handover.isOpen && (await handover.send(frame, (number) => replica.callHanded(number)));
      return answer || (await replica.call(frame));
    } catch (error) {
      // A stub whose object was reset stays broken: the next call gets a new one.
      this.#replicas.delete(nodeId);
      this.#logFailure(nodeId, error);
      throw error;
    }
  }

  /** The link only counts failures; why a storage node fails must be found in the logs, without filling them. */
  #logFailure(nodeId: string, error: unknown): void {
    const nowMs = Date.now();
    if (nowMs - (this.#failureLoggedMs.get(nodeId) ?? 0) < FAILURE_LOG_EVERY_MS) return;
    this.#failureLoggedMs.set(nodeId, nowMs);
    this.#log.warn("storage node call failed", { node: nodeId }, error);
  }
}
