// A change of the ring: a storage node joins, leaves, is replaced or weighs more or less (spec RP-116 to RP-123). Data moves by the
// steps of fenced-change.ts, for the keys of all tenants at once; then a grace period; then nodes delete what they are no replicas of.
// Guarantees: resumable after a crash at any step; called off, by hand or because nothing gets on, it ends with the ring from before.
// Must not: own a timer, or decide which changes may be asked for (cluster/ring-operations.ts).
import type { RingState, StorageNode } from "../access/types.ts";
import { OFF_RING, Ring } from "../cluster/ring.ts";
import { isConcerned, nodesAfter, nodesCleaned, nodesDuring, type RingTarget } from "../cluster/ring-target.ts";
import {
  type ChangeSteps,
  cancelled,
  type FencedEnvironment,
  FIRST_STEPS,
  isKnownToMajorities,
  stepFenced,
} from "./fenced-change.ts";
import { ROUTE_CHANGE_POLL_MS, ROUTE_CHANGE_RETRY_MS } from "./limits.ts";
import type { RingSync } from "./sync-runner.ts";
import type { SyncState } from "./sync-state.ts";

/** `moving` until the new ring, or the one from before, is the only one; `cleaning` until what is no replica any more is gone. */
export interface RingChange extends ChangeSteps {
  readonly target: RingTarget;
  readonly step: "moving" | "cleaning";
  /** Why it was called off. */
  readonly reason: string;
  /** When anything last got on. */
  readonly progressAtMs: number;
  /** Of cleaning: not before. */
  readonly cleanAtMs: number;
  readonly graceMs: number;
  /** Keys compared in a second at most, by each node. */
  readonly keysPerSecond?: number | undefined;
  /** Before the phase that is under way. */
  readonly movedBefore: { readonly rows: number; readonly bytes: number };
  /** Nodes that left and were not reached to be cleaned. */
  readonly uncleaned: readonly string[];
}

export interface RingChanging {
  readonly ring: RingState;
  readonly nodes: readonly StorageNode[];
  /** Undefined = nothing is under way. */
  readonly change: RingChange | undefined;
}

export interface RingEnvironment {
  load(): RingChanging;
  /** One commit. */
  save(changing: RingChanging): void;
  /** The change is over, with these nodes. One commit. */
  finish(changing: RingChanging, of: RingChange): void;
  /** Resolves when the node has durably recorded the ring's revision; tells whether it serves (is not being rebuilt). */
  record(nodeId: string, revision: number): Promise<boolean>;
  /** Begins the work at a node where it has not begun, and says how far it is. */
  sync(nodeId: string, sync: RingSync): Promise<SyncState>;
  /** Whether the node still keeps what others missed. */
  keepsHints(nodeId: string): Promise<boolean>;
  /** Nobody expects it back soon: once it has left the ring it is not waited for. */
  isGone(nodeId: string): boolean;
  /** Replication factors of tenants. */
  factors(): readonly number[];
  now(): number;
  /** Without progress for so long a change is called off; nodes that left and are away are not waited for any longer either. */
  readonly stallMs: number;
}

export interface RingChangePlan {
  readonly target: RingTarget;
  readonly graceMs: number;
  readonly keysPerSecond?: number | undefined;
}

const NOTHING_YET: Pick<RingChange, "movedBefore" | "uncleaned"> = {
  movedBefore: { rows: 0, bytes: 0 },
  uncleaned: [],
};

export function beginRingChange({ ring, nodes }: RingChanging, plan: RingChangePlan, nowMs: number): RingChanging {
  const times = { startedAtMs: nowMs, progressAtMs: nowMs, cleanAtMs: 0 };
  return { ring, nodes, change: { ...FIRST_STEPS, ...plan, ...times, step: "moving", reason: "", ...NOTHING_YET } };
}

/** Back to the ring from before, which holds all that was written meanwhile. Too late once data has moved. */
export function cancelRingChange(changing: RingChanging, reason: string): RingChanging {
  const { change } = changing;
  if (!change || !mayCancel(change)) return changing;
  return { ...changing, change: { ...cancelled(change), reason } };
}

export function mayCancel({ step, isCancelled, announcing, recording }: RingChange): boolean {
  return step === "moving" && !isCancelled && !(announcing === "ending" && recording !== undefined);
}

/** One step. Returns when the next is due, in ms; undefined = nothing is under way. */
export async function stepRingChange(environment: RingEnvironment): Promise<number | undefined> {
  const { change } = environment.load();
  if (!change) return undefined;
  if (change.step === "cleaning") return clean(environment, change);
  const delayMs = await stepFenced(fencedOf(environment));
  watchProgress(environment, change);
  return delayMs;
}

function withChange(environment: RingEnvironment, change: Partial<RingChange>): void {
  const held = environment.load();
  if (held.change) environment.save({ ...held, change: { ...held.change, ...change } });
}

const signatureOf = ({ announcing, progress, step, isCancelled }: RingChange): string =>
  JSON.stringify([announcing, progress, step, isCancelled]);

/** Streaming that fails for good is called off (spec RP-121). */
function watchProgress(environment: RingEnvironment, before: RingChange): void {
  const held = environment.load();
  const nowMs = environment.now();
  if (!held.change || held.change.step !== "moving") return;
  if (signatureOf(held.change) !== signatureOf(before)) return withChange(environment, { progressAtMs: nowMs });
  if (nowMs - held.change.progressAtMs < environment.stallMs || !mayCancel(held.change)) return;
  const reason = `nothing got on for ${Math.round(environment.stallMs / 1000)} s: ${held.change.waitingFor}`;
  environment.save(cancelRingChange(held, reason));
  withChange(environment, { progressAtMs: nowMs });
}

function fencedOf(environment: RingEnvironment): FencedEnvironment {
  const { load, save } = environment;
  const ringOf = ({ nodes, ring }: RingChanging): Ring => new Ring(nodes, {}, ring);
  return {
    ring: async () => ringOf(load()),
    published: () => ({ revision: load().ring.revision, phase: load().ring.phase }),
    steps: () => load().change,
    save: (steps) => withChange(environment, steps),
    publish: (next, steps) => {
      const { nodes, change } = load();
      const during = next.phase ? nodesDuring(nodes, change!.target) : nodes;
      const { rowsRepaired, bytesRepaired = 0 } = change!.progress;
      const { rows, bytes } = change!.movedBefore;
      const movedBefore = { rows: rows + rowsRepaired, bytes: bytes + bytesRepaired };
      // Where only a revision that was recorded is taken over, the phase goes on.
      const moved = steps.progress === change!.progress ? {} : { movedBefore };
      save({ ring: next, nodes: during, change: { ...change!, ...steps, ...moved } });
    },
    end: (revision, steps) => {
      const { ring, nodes, change } = load();
      const after = nodesAfter(nodes, change!.target, steps.isCancelled);
      // One that was called off before anything of it was published moved nothing.
      const cleanAtMs = environment.now() + (ring.phase ? change!.graceMs : 0);
      const cleaning: RingChange = { ...change!, ...steps, step: "cleaning", cleanAtMs };
      save({ ring: { revision, keepsStrays: true }, nodes: after, change: cleaning });
    },
    ended: async () => undefined,
    record: async (nodeId, revision) => void (await environment.record(nodeId, revision)),
    isKnown: (ring, recorded) => isKnownToAll(environment, ring, recorded),
    parts: (ring, phase) => {
      const { change } = load();
      const kind = phase === "filling" ? "fill" : "join";
      const stay = ring.nodes.filter(({ state }) => state !== "draining" && state !== "failed");
      const work = workOf(environment, ring, change!);
      return stay.map(({ id }) => ({ nodeId: id, sync: () => environment.sync(id, { kind, work }) }));
    },
  };
}

function workOf(environment: RingEnvironment, ring: Ring, { keysPerSecond }: RingChange): RingSync["work"] {
  return { revision: ring.state.revision, factors: environment.factors(), keysPerSecond };
}

function isKnownToAll(environment: RingEnvironment, ring: Ring, recorded: ReadonlySet<string>): boolean {
  return environment.factors().every((factor) => isKnownToMajorities(ring, factor, recorded));
}

/** After the grace period, and only while a majority of every range's replicas serves (spec RP-120). */
async function clean(environment: RingEnvironment, change: RingChange): Promise<number> {
  const nowMs = environment.now();
  if (nowMs < change.cleanAtMs) return Math.min(change.cleanAtMs - nowMs, ROUTE_CHANGE_RETRY_MS);
  const held = environment.load();
  const ring = new Ring(held.nodes, {}, held.ring);
  if (held.ring.keepsStrays && !(await mayClean(environment, ring))) return ROUTE_CHANGE_RETRY_MS;
  const { target } = change;
  const left = held.nodes.filter(({ id, state }) => state === "leaving" && isConcerned(target, id));
  const work = workOf(environment, ring, change);
  const away = new Map<string, string>();
  const isLeft = (id: string): boolean => left.some((node) => node.id === id);
  const isCleaned = async (id: string): Promise<boolean> => {
    const { phase } = await environment.sync(id, { kind: "release", work });
    // What it keeps for others goes with it.
    return phase === "done" && !(isLeft(id) && (await environment.keepsHints(id)));
  };
  const states = await Promise.all(
    [...ring.nodes, ...left].map(({ id }) =>
      isCleaned(id).then(
        (isDone) => ({ id, isDone }),
        (error: unknown) => {
          away.set(id, `${id}: ${String(error)}`);
          return { id, isDone: false };
        },
      ),
    ),
  );
  const open = states.filter(({ isDone }) => !isDone).map(({ id }) => id);
  const isLate = nowMs - change.cleanAtMs >= environment.stallMs;
  const waitingFor = [...away.values()].join("; ");
  // Its rows stay where nobody reaches them; no other change has to wait for that.
  const isExpected = (id: string): boolean => !(isLeft(id) && away.has(id) && environment.isGone(id));
  if (open.some(isExpected) && !isLate) {
    withChange(environment, { waitingFor });
    return ROUTE_CHANGE_POLL_MS;
  }
  const now = environment.load();
  const nodes = nodesCleaned(now.nodes, target);
  environment.finish({ ...now, nodes, change: undefined }, { ...change, uncleaned: open, waitingFor });
  return 0;
}

async function mayClean(environment: RingEnvironment, ring: Ring): Promise<boolean> {
  const serving = new Set<string>();
  const asked = ring.nodes.map(async ({ id }) => {
    if (await environment.record(id, ring.state.revision)) serving.add(id);
  });
  await Promise.allSettled(asked);
  const isQuorum = isKnownToAll(environment, ring, serving);
  const held = environment.load();
  if (isQuorum) environment.save({ ...held, ring: { revision: held.ring.revision } });
  else
    withChange(environment, {
      waitingFor: "a majority of the replicas of every key must serve before anything is deleted",
    });
  return isQuorum;
}

/** Nodes that hold anything, whether on the ring or not. */
export function holdingNodes(nodes: readonly StorageNode[]): StorageNode[] {
  return nodes.filter(({ state }) => state === "leaving" || !OFF_RING.has(state));
}
