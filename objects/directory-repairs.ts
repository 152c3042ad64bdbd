// Repairs, by hand and by themselves, and the purge of deleted rows that follows full ones (replication/purge-round.ts).
// Guarantees: one repair at a time; what was begun goes on after any crash; nodes begin a full one only once all have promised their floors,
// an incremental one after each other.
// Must not: decide what may be purged, or own an alarm.
import type { Settings } from "../src/cluster/settings.ts";
import { TICKS_PER_MS } from "../src/replication/hybrid-clock.ts";
import { PURGE_SETTLE_MS } from "../src/replication/limits.ts";
import { type PurgeEnvironment, promiseFloors, repairEnded, stepPurge } from "../src/replication/purge-round.ts";
import type { SyncState } from "../src/replication/sync-state.ts";
import type { DirectoryStore } from "./directory-store.ts";
import type { Env } from "./env.ts";
import type { RepairInfo, RepairKind, RepairProgress, RepairPurge } from "./tenancy-rpc.ts";
import type { TurnQueue } from "./turn-queue.ts";
import { withDeadline } from "./with-deadline.ts";

const KINDS: readonly RepairKind[] = ["full", "incremental"];
/** How often nodes are asked how far a repair is. Ms. */
const REPAIR_POLL_MS = 500;
/** Longest a node may take for a call. Ms. */
const CALL_TIMEOUT_MS = 5000;

function progressOf(
  parts: readonly (SyncState | undefined)[],
  { nodeCount, waitingFor }: { readonly nodeCount: number; readonly waitingFor: string },
): RepairProgress {
  const sum = (field: "rowsCompared" | "rowsRepaired" | "rowsUnreadable" | "rowsRead" | "rangesLeftOut"): number =>
    parts.reduce((total, part) => total + (part?.[field] ?? 0), 0);
  return {
    nodesDone: parts.filter((part) => part?.phase === "done").length,
    nodeCount,
    rowsCompared: sum("rowsCompared"),
    rowsRepaired: sum("rowsRepaired"),
    rowsUnreadable: sum("rowsUnreadable"),
    rowsRead: sum("rowsRead"),
    rangesLeftOut: sum("rangesLeftOut"),
    waitingFor,
  };
}

export interface DirectoryRepairsOptions {
  readonly env: Env;
  readonly store: DirectoryStore;
  readonly turns: TurnQueue;
  readonly settings: Settings["keyValue"];
}

export class DirectoryRepairs {
  readonly #options: DirectoryRepairsOptions;
  /** Of the round that is under way. */
  #purgeDueMs = 0;
  /** Of an incremental repair: nodes that are done, or did not answer when it was their turn. */
  #turns: { readonly repairId: number; readonly parts: Map<string, SyncState | Error> } | undefined;

  constructor(options: DirectoryRepairsOptions) {
    this.#options = options;
  }

  get #nodes(): readonly string[] {
    return this.#options.store.nodes().flatMap(({ id, state }) => (state === "removed" ? [] : [id]));
  }

  #node(nodeId: string) {
    const namespace = this.#options.env.KEY_VALUE_REPLICA;
    return namespace.get(namespace.idFromName(nodeId));
  }

  /** When `step` should be called next. */
  nextAtMs(nowMs: number): number | null {
    const { store } = this.#options;
    const due: number[] = [];
    const running = store.runningRepair();
    if (running) due.push(nowMs + REPAIR_POLL_MS);
    for (const kind of KINDS) if (!running && this.#intervalMs(kind) > 0) due.push(this.#nextRepairAtMs(nowMs, kind));
    if (store.purgeState().round) due.push(Math.max(nowMs, this.#purgeDueMs));
    return due.length === 0 ? null : Math.min(...due);
  }

  #intervalMs(kind: RepairKind): number {
    const { repairIntervalSeconds, compareIntervalSeconds } = this.#options.settings;
    return (kind === "full" ? repairIntervalSeconds : compareIntervalSeconds) * 1000;
  }

  #nextRepairAtMs(nowMs: number, kind: RepairKind): number {
    return this.#options.store.lastRepairAtMs(nowMs, kind) + this.#intervalMs(kind);
  }

  async step(): Promise<void> {
    const { store, turns } = this.#options;
    for (const kind of KINDS) {
      const isDue = this.#intervalMs(kind) > 0 && this.#nextRepairAtMs(Date.now(), kind) <= Date.now();
      if (isDue && !store.runningRepair()) await turns.run(() => store.addRepair(Date.now(), kind));
    }
    const running = store.runningRepair();
    if (running?.kind === "incremental") await this.#followIncremental(running);
    else if (running) await this.#follow(running);
    if (store.purgeState().round && this.#purgeDueMs <= Date.now()) await this.#purge();
  }

  /** Asks every node how far its part is; a node that does not answer is asked again. */
  async #follow(running: RepairInfo): Promise<void> {
    const { store, turns, settings } = this.#options;
    const { repairId } = running;
    if (!store.hasBegun(repairId)) {
      try {
        if (store.ring.isMoving) throw new Error("the storage nodes are being changed");
        await promiseFloors(this.#environment());
      } catch (error) {
        const waitingFor = error instanceof Error ? error.message : String(error);
        const progress = { ...running.progress, nodeCount: this.#nodes.length, waitingFor };
        return turns.run(() => store.saveRepair(repairId, progress, null));
      }
      await turns.run(() => store.beginRepair(repairId));
    }
    const away: string[] = [];
    const parts = await Promise.all(
      this.#nodes.map((id) =>
        withDeadline(this.#node(id).repair(repairId), CALL_TIMEOUT_MS, id).catch((error: unknown) => {
          away.push(`${id}: ${error instanceof Error ? error.message : String(error)}`);
          return undefined;
        }),
      ),
    );
    const progress = progressOf(parts, { nodeCount: parts.length, waitingFor: away.join("; ") });
    await turns.run(() => {
      const nowMs = Date.now();
      const isDone = progress.nodesDone === parts.length;
      store.saveRepair(repairId, progress, isDone ? nowMs : null);
      // One that passed over rows says nothing about what is in them.
      if (!isDone || progress.rowsUnreadable > 0) return;
      const graceMs = settings.tombstoneGraceSeconds * 1000;
      store.savePurgeState(repairEnded(store.purgeState(), { repairId, nowMs, graceMs, settleMs: PURGE_SETTLE_MS }));
      this.#show(repairId);
    });
  }

  /** Nodes do their parts one after the other; one that does not answer when it is its turn is left out. */
  async #followIncremental({ repairId, progress: held }: RepairInfo): Promise<void> {
    const { store, turns } = this.#options;
    if (store.ring.isMoving) {
      const waitingFor = "the storage nodes are being changed";
      return turns.run(() => store.saveRepair(repairId, { ...held, waitingFor }, null));
    }
    if (this.#turns?.repairId !== repairId) this.#turns = { repairId, parts: new Map() };
    const { parts } = this.#turns;
    const nodes = this.#nodes;
    let atWork: SyncState | undefined;
    for (const id of nodes.filter((each) => !parts.has(each))) {
      const part = await withDeadline(this.#node(id).repair(repairId, true), CALL_TIMEOUT_MS, id).catch(
        (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
      );
      if (part instanceof Error || part.phase === "done") parts.set(id, part);
      else atWork = part;
      if (atWork) break;
    }
    const away = [...parts].flatMap(([id, part]) =>
      part instanceof Error ? [`${id} is left out: ${part.message}`] : [],
    );
    const asked = [...parts.values(), atWork].map((part) => (part instanceof Error ? undefined : part));
    const progress = progressOf(asked, { nodeCount: nodes.length, waitingFor: away.join("; ") });
    await turns.run(() => {
      // Meanwhile a full one may have ended it.
      if (store.repair(repairId)?.finishedAtMs !== null) return;
      store.saveRepair(repairId, progress, atWork ? null : Date.now());
    });
  }

  async #purge(): Promise<void> {
    const { store, turns } = this.#options;
    const { round } = store.purgeState();
    const delayMs = await stepPurge(this.#environment());
    this.#purgeDueMs = Date.now() + (delayMs ?? 0);
    if (round) await turns.run(() => this.#show(round.repairId));
  }

  /** Writes down with the repair how far the purge is that follows it. */
  #show(repairId: number): void {
    const { store } = this.#options;
    const { round, horizon } = store.purgeState();
    const shown: RepairPurge | undefined =
      round?.repairId === repairId
        ? { state: round.step, beforeMs: Math.floor(round.horizon / TICKS_PER_MS), waitingFor: round.waitingFor }
        : undefined;
    const held = store.repair(repairId)?.purge;
    if (shown) store.savePurge(repairId, shown);
    else if (held)
      store.savePurge(repairId, { state: "finished", beforeMs: Math.floor(horizon / TICKS_PER_MS), waitingFor: "" });
  }

  #environment(): PurgeEnvironment {
    const { store, turns, settings } = this.#options;
    return {
      graceMs: settings.tombstoneGraceSeconds * 1000,
      settleMs: PURGE_SETTLE_MS,
      now: Date.now,
      nodes: () => this.#nodes,
      load: () => store.purgeState(),
      update: (change) => turns.run(() => store.savePurgeState(change(store.purgeState()))),
      incarnationOf: (nodeId) => store.nodes().find(({ id }) => id === nodeId)?.incarnation ?? 0,
      promiseFloor: (nodeId) => withDeadline(this.#node(nodeId).promiseFloor(), CALL_TIMEOUT_MS, nodeId),
      hints: (nodeId) => withDeadline(this.#node(nodeId).hintSpan(), CALL_TIMEOUT_MS, nodeId),
      recordHorizon: (nodeId, marks) => withDeadline(this.#node(nodeId).recordHorizon(marks), CALL_TIMEOUT_MS, nodeId),
    };
  }
}
