// The reconciler's part about instances that are away: hears what each instance sees, notes what most agree on, once, and what is due because of it.
// Guarantees: what is done about it is in the commit that notes it; an event is durable before it is logged; a restart forgets views, which supervisors send again while something has failed.
// Must not: own an alarm, or be woken while all is well.
import {
  type Absence,
  type AbsenceStep,
  type HeldView,
  type ReplacePolicy,
  stepAbsences,
  VIEW_FRESH_MS,
} from "../src/cluster/absences.ts";
import type { MembershipView } from "../src/cluster/told.ts";
import type { Logger } from "../src/telemetry/logger.ts";
import type { DirectoryRing } from "./directory-ring.ts";
import type { DirectoryStore, NewEvent } from "./directory-store.ts";
import { replaceNodesOf } from "./node-replacement.ts";
import type { TurnQueue } from "./turn-queue.ts";

export interface AbsenceSettings {
  /** Of all instances. */
  readonly zones: readonly string[];
  readonly replaceAfterMs: number;
  readonly policy: ReplacePolicy;
}

export interface DirectoryAbsencesOptions {
  readonly store: DirectoryStore;
  readonly turns: TurnQueue;
  readonly ring: Pick<DirectoryRing, "order" | "cancel">;
  readonly log: Logger;
  readonly rules: () => AbsenceSettings;
}

export class DirectoryAbsences {
  readonly #options: DirectoryAbsencesOptions;
  readonly #views = new Map<string, HeldView>();

  constructor(options: DirectoryAbsencesOptions) {
    this.#options = options;
  }

  async note(view: MembershipView): Promise<void> {
    const { store, turns, rules, log } = this.#options;
    const { zones, replaceAfterMs } = rules();
    if (!zones.includes(view.zone)) return;
    const nowMs = Date.now();
    this.#views.set(view.zone, { view, atMs: nowMs });
    const views = [...this.#views.values()].filter(({ atMs }) => nowMs - atMs < VIEW_FRESH_MS);
    const noted: NewEvent[] = [];
    await turns.run(() => {
      noted.length = 0;
      for (const step of stepAbsences(this.#held(), { views, nowMs }, { zones, replaceAfterMs }))
        noted.push(...this.#take(step, nowMs));
      if (noted.length > 0) store.addEvents(noted);
    });
    for (const { kind, zone, message } of noted) log.warn("cluster event", { kind, zone, note: message });
  }

  /** What was rolled back is due again. */
  #held(): Absence[] {
    const { store } = this.#options;
    return store.absences().map(({ operationId, ...absence }) => {
      const state = operationId === undefined ? undefined : store.ring.operation(operationId)?.state;
      const isUndone = state === "rolledBack" || state === "failed";
      return isUndone ? { ...absence, isActedOn: false } : { ...absence, operationId };
    });
  }

  /** Remembers the step; gives what is told of it. */
  #take(step: AbsenceStep, atMs: number): NewEvent[] {
    const { store } = this.#options;
    if (step.kind === "back") {
      const { zone, incarnation } = step;
      const message = `${zone} is back${this.#undo(zone, atMs)}`;
      store.forgetAbsence(zone);
      return [{ kind: "instanceBack", zone, incarnation, atMs, message, plan: [] }];
    }
    const { zone, incarnation } = step.absence;
    if (step.kind === "due") return this.#act(step.absence, atMs);
    store.saveAbsence(step.absence);
    const message = `most of the other instances have found ${zone} failed`;
    return [{ kind: "instanceFailed", zone, incarnation, atMs, message, plan: [] }];
  }

  #act(absence: Absence, atMs: number): NewEvent[] {
    const { store, ring, rules } = this.#options;
    const { zone, incarnation } = absence;
    const done = replaceNodesOf(zone, {
      ...{ nodes: store.nodes(), policy: rules().policy, isRingBusy: store.ring.open().length > 0 },
      order: (order) => ring.order(order, atMs),
    });
    // Due again with the next view.
    if (!done) {
      store.saveAbsence({ ...absence, isActedOn: false });
      return [];
    }
    const { operationId, ...told } = done;
    store.saveAbsence({ ...absence, operationId });
    return [{ kind: "replacementDue", zone, incarnation, atMs, operationId, ...told }];
  }

  /** Its nodes stay, where that can be had; gives what to tell of it. */
  #undo(zone: string, nowMs: number): string {
    const { store, ring } = this.#options;
    const operationId = store.absences().find((absence) => absence.zone === zone)?.operationId;
    if (operationId === undefined) return "";
    const isOpen = store.ring.open().some((open) => open.operationId === operationId);
    if (isOpen && ring.cancel(operationId, nowMs, `${zone} is back`).ok)
      return `; operation ${operationId}, which was to remove its storage nodes, is called off`;
    return `; operation ${operationId} was about its storage nodes: where they were removed, add new ones`;
  }
}
