// A change of a tenant's replication factor, by the steps of fenced-change.ts (spec RP-39 to RP-43).
// Guarantees: what those give. Must not: own a timer.
import type { TenantRoute } from "../access/types.ts";
import type { Ring } from "../cluster/ring.ts";
import {
  type ChangeSteps,
  cancelled,
  type FencedEnvironment,
  FIRST_STEPS,
  isKnownToMajorities,
  stepFenced,
} from "./fenced-change.ts";
import type { TenantSync } from "./sync-runner.ts";
import type { SyncState } from "./sync-state.ts";

export interface ChangeState extends ChangeSteps {
  readonly from: number;
  readonly to: number;
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

export function beginChange({ route }: Changing, to: number, nowMs: number): Changing {
  return { route, change: { ...FIRST_STEPS, from: route.replicationFactor, to, startedAtMs: nowMs } };
}

/** Back to the old replicas: they hold all that was written meanwhile. */
export function cancelChange({ route, change }: Changing): Changing {
  return { route, change: change && cancelled(change) };
}

/** One step. Returns when the next is due, in ms; undefined = nothing is under way. */
export function stepChange(environment: ChangeEnvironment): Promise<number | undefined> {
  return stepFenced(fencedOf(environment));
}

function fencedOf(environment: ChangeEnvironment): FencedEnvironment {
  const { tenant, load, save } = environment;
  const withSteps = (steps: ChangeSteps): ChangeState => ({ ...load().change!, ...steps });
  return {
    ring: () => environment.ring(),
    published: () => {
      const { routeRevision = 0, change } = load().route;
      return { revision: routeRevision, phase: change?.phase };
    },
    steps: () => load().change,
    save: (steps) => save({ route: load().route, change: withSteps(steps) }),
    publish: ({ revision, phase }, steps) => {
      const change = withSteps(steps);
      const route = { replicationFactor: change.from, routeRevision: revision };
      save({ route: phase ? { ...route, change: { to: change.to, phase } } : route, change });
    },
    end: (revision, steps) => {
      const { from, to } = load().change!;
      const replicationFactor = steps.isCancelled ? from : to;
      save({ route: { replicationFactor, routeRevision: revision }, change: undefined });
    },
    ended: async (ring) => {
      await Promise.all(ring.nodes.map(({ id }) => environment.endSync(id).catch(() => undefined)));
    },
    record: (nodeId, revision) => environment.recordRoute(nodeId, revision),
    isKnown: (ring, recorded) => isKnownToMajorities(ring, load().route.replicationFactor, recorded),
    parts: (ring, phase) => {
      const { route } = load();
      const work: TenantSync = { kind: phase === "filling" ? "fill" : "join", tenant, route };
      const nodes = ring.nodes.filter((node) => node.state !== "failed");
      return nodes.map(({ id }) => ({ nodeId: id, sync: () => environment.sync(id, work) }));
    },
  };
}
