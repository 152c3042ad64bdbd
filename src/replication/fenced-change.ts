// Drives a change of who holds what, one step at a time (spec RP-39 to RP-43, RP-116 to RP-119):
//   old replicas → filling: those that join get writes, and are filled → joint: quorums of old and new; what was written before is
//   brought over to all new ones → new replicas.
// Guarantees: what was published is replaced only after a majority of the replicas that are read by it has durably recorded the next
// revision, in every range; resumable after a crash at any step; until the end it can be called off. Must not: own a timer, or know
// whether a tenant's replication factor changes (route-change.ts) or the ring (ring-change.ts).
import type { FactorChange } from "../access/types.ts";
import type { Ring } from "../cluster/ring.ts";
import { ROUTE_CHANGE_POLL_MS, ROUTE_CHANGE_RETRY_MS } from "./limits.ts";
import type { SyncState } from "./sync-state.ts";
import { majority } from "./tally.ts";

export type ChangePhase = FactorChange["phase"] | "ending";

/** What is published. */
export interface Published {
  readonly revision: number;
  readonly phase: FactorChange["phase"] | undefined;
}

/** What is kept of a change beside what is published. */
export interface ChangeSteps {
  /** What is published next: `ending` = the new replicas, or the old ones when the change was called off. */
  readonly announcing: ChangePhase | undefined;
  /** A revision that nodes may have recorded and that nothing was published under (spec RP-100). */
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
  /** Of the phase that is under way. */
  readonly rangesDone?: number | undefined;
  readonly rangeCount?: number | undefined;
  /** Of states that were brought to nodes. */
  readonly bytesRepaired?: number | undefined;
}

export const FIRST_STEPS: Omit<ChangeSteps, "startedAtMs"> = {
  announcing: "filling",
  isCancelled: false,
  progress: { nodesDone: 0, nodeCount: 0, rowsCompared: 0, rowsRepaired: 0, recordsTaken: 0 },
  waitingFor: "",
};

/** What is to be done by a node; it says how far it is. */
export interface Part {
  readonly nodeId: string;
  readonly sync: () => Promise<SyncState>;
}

export interface FencedEnvironment {
  ring(): Promise<Ring>;
  published(): Published;
  /** Undefined = nothing is under way. */
  steps(): ChangeSteps | undefined;
  save(steps: ChangeSteps): void;
  /** One commit. */
  publish(next: Published, steps: ChangeSteps): void;
  /** The last commit: the new replicas, or the old ones when the change was called off. */
  end(revision: number, steps: ChangeSteps): void;
  /** After that: nodes give up what is left of their work. */
  ended(ring: Ring): Promise<void>;
  /** Resolves when the node has durably recorded it. */
  record(nodeId: string, revision: number): Promise<void>;
  /** In every range a majority of those that are read by what is published. */
  isKnown(ring: Ring, recorded: ReadonlySet<string>): boolean;
  parts(ring: Ring, phase: FactorChange["phase"]): readonly Part[];
}

/** Back to the old replicas: they hold all that was written meanwhile. */
export function cancelled<Steps extends ChangeSteps>(steps: Steps): Steps {
  return { ...steps, announcing: "ending", isCancelled: true };
}

/** One step. Returns when the next is due, in ms; undefined = nothing is under way. */
export async function stepFenced(environment: FencedEnvironment): Promise<number | undefined> {
  const steps = environment.steps();
  if (!steps) return undefined;
  try {
    return steps.announcing ? await announce(environment, steps.announcing) : await follow(environment);
  } catch (error) {
    // It may have been called off meanwhile: only the reason is added to what is there now.
    settleRecorded(environment);
    const held = environment.steps();
    const waitingFor = error instanceof Error ? error.message : String(error);
    if (held) environment.save({ ...held, waitingFor });
    return ROUTE_CHANGE_RETRY_MS;
  }
}

/**
 * What is published, under the revision that some nodes may have recorded: they refuse older ones, and may never be told of a newer one
 * while others are away. Its replicas are the same, so any two quorums meet whichever of both revisions they go by (spec RP-100).
 */
function settleRecorded(environment: FencedEnvironment): void {
  const steps = environment.steps();
  if (steps?.recording === undefined) return;
  const { phase } = environment.published();
  environment.publish({ revision: steps.recording, phase }, { ...steps, recording: undefined });
}

async function announce(environment: FencedEnvironment, phase: ChangePhase): Promise<number> {
  // A driver that died, or a change that was called off, may have left it.
  settleRecorded(environment);
  const present = environment.published().revision;
  const revision = present + 1;
  const ring = await environment.ring();
  // Who has recorded a revision refuses all older ones: nobody may while too few can, or all would stand still meanwhile.
  await recordAtMajorities(environment, ring, present);
  // Called off, or stepped twice, while the replicas were asked: the next step goes by what holds now.
  const isAsBefore = (): boolean =>
    environment.steps()?.announcing === phase && environment.published().revision === present;
  if (!isAsBefore()) return 0;
  environment.save({ ...environment.steps()!, recording: revision });
  await recordAtMajorities(environment, ring, revision);
  if (!isAsBefore()) return 0;
  const steps = { ...environment.steps()!, announcing: undefined, recording: undefined, waitingFor: "" };
  if (phase === "ending") {
    environment.end(revision, steps);
    await environment.ended(ring);
  } else environment.publish({ revision, phase }, { ...steps, progress: FIRST_STEPS.progress });
  return 0;
}

/** Records the revision; the published one only asks who is there (spec RP-94). */
async function recordAtMajorities(environment: FencedEnvironment, ring: Ring, revision: number): Promise<void> {
  const recorded = new Set<string>();
  const failures: string[] = [];
  await Promise.all(
    ring.nodes.map(({ id }) =>
      environment.record(id, revision).then(
        () => recorded.add(id),
        (error: unknown) => failures.push(`${id}: ${String(error)}`),
      ),
    ),
  );
  if (!environment.isKnown(ring, recorded))
    throw new Error(`a majority of the present replicas of every key must answer: ${failures.join("; ")}`);
}

/** Whether in every range a majority of those that are read has recorded it, for keys with so many replicas. */
export function isKnownToMajorities(ring: Ring, replicationFactor: number, recorded: ReadonlySet<string>): boolean {
  return ring.ranges().every(({ toHi }) => {
    const { write } = ring.replicas({ hi: toHi, lo: 0 }, replicationFactor);
    return write.filter((id) => recorded.has(id)).length >= majority(write.length);
  });
}

/** Asks the nodes how far they are; when all are done the next step is announced. */
async function follow(environment: FencedEnvironment): Promise<number> {
  const before = environment.published();
  const ring = await environment.ring();
  const parts = environment.parts(ring, before.phase!);
  const away: string[] = [];
  const states = await Promise.all(
    parts.map(({ nodeId, sync }) =>
      sync().catch((error: unknown) => {
        away.push(`${nodeId}: ${String(error)}`);
        return undefined;
      }),
    ),
  );
  const sum = (
    field: "rowsCompared" | "rowsRepaired" | "recordsTaken" | "rangesDone" | "rangeCount" | "bytesRepaired",
  ) => states.reduce((total, state) => total + (state?.[field] ?? 0), 0);
  const progress: ChangeProgress = {
    nodesDone: states.filter((state) => state?.phase === "done").length,
    nodeCount: parts.length,
    rowsCompared: sum("rowsCompared"),
    rowsRepaired: sum("rowsRepaired"),
    recordsTaken: sum("recordsTaken"),
    rangesDone: sum("rangesDone"),
    rangeCount: sum("rangeCount"),
    bytesRepaired: sum("bytesRepaired"),
  };
  const held = environment.steps();
  if (!held || held.announcing || environment.published().revision !== before.revision) return 0;
  const isDone = progress.nodesDone === parts.length;
  const announcing = isDone ? (before.phase === "filling" ? "joint" : "ending") : undefined;
  environment.save({ ...held, announcing, progress, waitingFor: away.join("; ") });
  return isDone ? 0 : ROUTE_CHANGE_POLL_MS;
}
