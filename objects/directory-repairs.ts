// Full repairs, by hand and by themselves, and the purge of deleted rows that follows them (replication/purge-round.ts).
// Guarantees: one repair at a time; what was begun goes on after any crash; nodes begin only once all have promised their floors.
// Must not: decide what may be purged, or own an alarm.
import type { Settings } from "../src/cluster/settings.ts";
import { TICKS_PER_MS } from "../src/replication/hybrid-clock.ts";
import { PURGE_SETTLE_MS } from "../src/replication/limits.ts";
import { type PurgeEnvironment, promiseFloors, repairEnded, stepPurge } from "../src/replication/purge-round.ts";
import type { DirectoryStore } from "./directory-store.ts";
import type { Env } from "./env.ts";
import type { RepairInfo, RepairProgress, RepairPurge } from "./tenancy-rpc.ts";
import type { TurnQueue } from "./turn-queue.ts";
import { withDeadline } from "./with-deadline.ts";

/** How often nodes are asked how far a repair is. Ms. */
const REPAIR_POLL_MS = 500;
/** Longest a node may take for a call. Ms. */
const CALL_TIMEOUT_MS = 5000;

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
    const { store, settings } = this.#options;
    const due: number[] = [];
    if (store.runningRepair()) due.push(nowMs + REPAIR_POLL_MS);
    else if (settings.repairIntervalSeconds > 0) due.push(this.#nextRepairAtMs(nowMs));
    if (store.purgeState().round) due.push(Math.max(nowMs, this.#purgeDueMs));
    return due.length === 0 ? null : Math.min(...due);
  }

  #nextRepairAtMs(nowMs: number): number {
    return this.#options.store.lastRepairAtMs(nowMs) + this.#options.settings.repairIntervalSeconds * 1000;
  }

  async step(): Promise<void> {
    const { store, turns, settings } = this.#options;
    const isDue = settings.repairIntervalSeconds > 0 && this.#nextRepairAtMs(Date.now()) <= Date.now();
    if (isDue && !store.runningRepair()) await turns.run(() => store.addRepair(Date.now()));
    const running = store.runningRepair();
    if (running) await this.#follow(running);
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
    const sum = (field: "rowsCompared" | "rowsRepaired" | "rowsUnreadable"): number =>
      parts.reduce((total, part) => total + (part?.[field] ?? 0), 0);
    const progress: RepairProgress = {
      nodesDone: parts.filter((part) => part?.phase === "done").length,
      nodeCount: parts.length,
      rowsCompared: sum("rowsCompared"),
      rowsRepaired: sum("rowsRepaired"),
      rowsUnreadable: sum("rowsUnreadable"),
      waitingFor: away.join("; "),
    };
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
