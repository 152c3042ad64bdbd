// Drives a change of a tenant's replication factor, one step at a time (spec RP-39 to RP-43):
//   old replicas → filling: those that join get writes, and are filled → joint: quorums of old and new; what was written before is
//   brought over to all new ones → new replicas.
// Guarantees: a route is published only after a majority of the replicas that are read by the one before has durably recorded its
// revision, in every range; resumable after a crash at any step; until the end it can be called off. Must not: own a timer.
import type { FactorChange, TenantRoute } from "../access/types.ts";
import type { Ring } from "../cluster/ring.ts";
import { ROUTE_CHANGE_POLL_MS, ROUTE_CHANGE_RETRY_MS } from "./limits.ts";
import type { TenantSync } from "./sync-runner.ts";
import type { SyncState } from "./sync-state.ts";
import { majority } from "./tally.ts";

export type ChangePhase = FactorChange["phase"] | "ending";

/** What is kept of a change beside the published route. */
export interface ChangeState {
  readonly from: number;
  readonly to: number;
  /** The next route: `ending` publishes `to`, or `from` when the change was called off. */
  readonly announcing: ChangePhase | undefined;
  /** A revision that nodes may have recorded and that no route was published under (spec RP-100). */
  readonly recording?: number | undefined;
  readonly isCancelled: boolean;
  readonly startedAtMs: number;
  readonly progress: ChangeProgress;
  /** Why the last step did not get on; empty = it did. */
  readonly waitingFor: string;
}

export interface ChangeProgress {
  readonly nodesDone: number;
  readonly nodeCount: number;
  readonly rowsCompared: number;
  readonly rowsRepaired: number;
  readonly recordsTaken: number;
}

export interface Changing {
  readonly route: TenantRoute;
  /** Undefined = nothing is under way. */
  readonly change: ChangeState | undefined;
}

export interface ChangeEnvironment {
  readonly tenant: number;
  ring(): Promise<Ring>;
  /** Resolves when the node has durably recorded it. */
  recordRoute(nodeId: string, revision: number): Promise<void>;
  /** Begins the work at a node where it has not begun, and says how far it is. */
  sync(nodeId: string, work: TenantSync): Promise<SyncState>;
  /** The change was called off or is over: the node gives up what is left of its work, and deletes what it is no replica of. */
  endSync(nodeId: string): Promise<void>;
  now(): number;
  load(): Changing;
  /** One commit. */
  save(changing: Changing): void;
}

const NO_PROGRESS: ChangeProgress = { nodesDone: 0, nodeCount: 0, rowsCompared: 0, rowsRepaired: 0, recordsTaken: 0 };

export function beginChange({ route }: Changing, to: number, nowMs: number): Changing {
  const change: ChangeState = {
    from: route.replicationFactor,
    to,
    announcing: "filling",
    isCancelled: false,
    startedAtMs: nowMs,
    progress: NO_PROGRESS,
    waitingFor: "",
  };
  return { route, change };
}

/** Back to the old replicas: they hold all that was written meanwhile. */
export function cancelChange({ route, change }: Changing): Changing {
  return { route, change: change && { ...change, announcing: "ending", isCancelled: true } };
}

/** One step. Returns when the next is due, in ms; undefined = nothing is under way. */
export async function stepChange(environment: ChangeEnvironment): Promise<number | undefined> {
  const { change } = environment.load();
  if (!change) return undefined;
  try {
    return change.announcing ? await announce(environment, change.announcing) : await follow(environment);
  } catch (error) {
    // It may have been called off meanwhile: only the reason is added to what is there now.
    const held = withRecorded(environment.load());
    const waitingFor = error instanceof Error ? error.message : String(error);
    if (held.change) environment.save({ ...held, change: { ...held.change, waitingFor } });
    return ROUTE_CHANGE_RETRY_MS;
  }
}

/**
 * The present route under the revision that some nodes may have recorded: they refuse older ones, and may never be told of a newer one
 * while others are away. Its replicas are the same, so any two quorums meet whichever of both revisions they go by (spec RP-100).
 */
function withRecorded({ route, change }: Changing): Changing {
  if (change?.recording === undefined) return { route, change };
  return { route: { ...route, routeRevision: change.recording }, change: { ...change, recording: undefined } };
}

async function announce(environment: ChangeEnvironment, phase: ChangePhase): Promise<number> {
  // A driver that died, or a change that was called off, may have left it.
  if (environment.load().change?.recording !== undefined) environment.save(withRecorded(environment.load()));
  const { route } = environment.load();
  const present = route.routeRevision ?? 0;
  const routeRevision = present + 1;
  const ring = await environment.ring();
  // Who has recorded a revision refuses all older ones: nobody may while too few can, or the tenant would stand still meanwhile.
  await recordAtMajorities(environment, { ring, route, revision: present });
  // Called off, or stepped twice, while the replicas were asked: the next step goes by what holds now.
  const isAsBefore = ({ route: now, change }: Changing): boolean =>
    change?.announcing === phase && now.routeRevision === route.routeRevision;
  const asked = environment.load();
  if (!isAsBefore(asked)) return 0;
  environment.save({ route, change: { ...asked.change!, recording: routeRevision } });
  await recordAtMajorities(environment, { ring, route, revision: routeRevision });
  const held = environment.load();
  if (!isAsBefore(held)) return 0;
  const change = held.change!;
  if (phase === "ending") {
    const replicationFactor = change.isCancelled ? change.from : change.to;
    environment.save({ route: { replicationFactor, routeRevision }, change: undefined });
    await Promise.all(ring.nodes.map(({ id }) => environment.endSync(id).catch(() => undefined)));
    return 0;
  }
  environment.save({
    route: { replicationFactor: change.from, routeRevision, change: { to: change.to, phase } },
    change: { ...change, announcing: undefined, recording: undefined, progress: NO_PROGRESS, waitingFor: "" },
  });
  return 0;
}

interface RecordInput {
  readonly ring: Ring;
  readonly route: TenantRoute;
  /** The route's own: only asks who is there (spec RP-94). */
  readonly revision: number;
}

async function recordAtMajorities(
  environment: ChangeEnvironment,
  { ring, route, revision }: RecordInput,
): Promise<void> {
  const recorded = new Set<string>();
  const failures: string[] = [];
  await Promise.all(
    ring.nodes.map(({ id }) =>
      environment.recordRoute(id, revision).then(
        () => recorded.add(id),
        (error: unknown) => failures.push(`${id}: ${String(error)}`),
      ),
    ),
  );
  if (!isKnownToMajorities(ring, route, recorded))
    throw new Error(`a majority of the present replicas of every key must answer: ${failures.join("; ")}`);
}

/** In every range a majority of those that are read by this route. */
export function isKnownToMajorities(ring: Ring, route: TenantRoute, recorded: ReadonlySet<string>): boolean {
  return ring.ranges().every(({ toHi }) => {
    const { write } = ring.replicas({ hi: toHi, lo: 0 }, route.replicationFactor);
    return write.filter((id) => recorded.has(id)).length >= majority(write.length);
  });
}

/** Asks the nodes how far they are; when all are done the next route is announced. */
async function follow(environment: ChangeEnvironment): Promise<number> {
  const { route } = environment.load();
  const { phase } = route.change!;
  const kind = phase === "filling" ? "fill" : "join";
  const ring = await environment.ring();
  const nodes = ring.nodes.filter((node) => node.state !== "failed");
  const away: string[] = [];
  const states = await Promise.all(
    nodes.map(({ id }) =>
      environment.sync(id, { kind, tenant: environment.tenant, route }).catch((error: unknown) => {
        away.push(`${id}: ${String(error)}`);
        return undefined;
      }),
    ),
  );
  const sum = (field: "rowsCompared" | "rowsRepaired" | "recordsTaken"): number =>
    states.reduce((total, state) => total + (state?.[field] ?? 0), 0);
  const progress: ChangeProgress = {
    nodesDone: states.filter((state) => state?.phase === "done").length,
    nodeCount: nodes.length,
    rowsCompared: sum("rowsCompared"),
    rowsRepaired: sum("rowsRepaired"),
    recordsTaken: sum("recordsTaken"),
  };
  const held = environment.load();
  if (!held.change || held.change.announcing || held.route.routeRevision !== route.routeRevision) return 0;
  const isDone = progress.nodesDone === nodes.length;
  const announcing = isDone ? (phase === "filling" ? "joint" : "ending") : undefined;
  environment.save({ ...held, change: { ...held.change, announcing, progress, waitingFor: away.join("; ") } });
  return isDone ? 0 : ROUTE_CHANGE_POLL_MS;
}
