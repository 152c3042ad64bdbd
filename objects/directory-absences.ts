// The reconciler's part about instances that are away: hears what each instance sees, notes what most agree on, once, and what is due because of it.
// Guarantees: an event is durable before it is logged; a restart forgets views, which supervisors send again while something has failed.
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
import type { DirectoryStore, NewEvent } from "./directory-store.ts";
import { replaceNodesOf } from "./node-replacement.ts";
import type { TurnQueue } from "./turn-queue.ts";

export interface DirectoryAbsencesOptions {
  readonly store: DirectoryStore;
  readonly turns: TurnQueue;
  readonly log: Logger;
  /** Of all instances. */
  readonly zones: readonly string[];
  readonly replaceAfterMs: number;
  readonly policy: ReplacePolicy;
}

export class DirectoryAbsences {
  readonly #options: DirectoryAbsencesOptions;
  readonly #views = new Map<string, HeldView>();

  constructor(options: DirectoryAbsencesOptions) {
    this.#options = options;
  }

  async note(view: MembershipView): Promise<void> {
    const { store, turns, zones, replaceAfterMs, log } = this.#options;
    if (!zones.includes(view.zone)) return;
    const nowMs = Date.now();
    this.#views.set(view.zone, { view, atMs: nowMs });
    const views = [...this.#views.values()].filter(({ atMs }) => nowMs - atMs < VIEW_FRESH_MS);
    const noted: NewEvent[] = [];
    await turns.run(() => {
      noted.length = 0;
      for (const step of stepAbsences(store.absences(), { views, nowMs }, { zones, replaceAfterMs }))
        noted.push(this.#take(step, nowMs));
      if (noted.length > 0) store.addEvents(noted);
    });
    for (const { kind, zone, message } of noted) log.warn("cluster event", { kind, zone, note: message });
  }

  /** Remembers the step; gives what is told of it. */
  #take(step: AbsenceStep, atMs: number): NewEvent {
    const { store } = this.#options;
    if (step.kind === "back") {
      store.forgetAbsence(step.zone);
      const { zone, incarnation } = step;
      return { kind: "instanceBack", zone, incarnation, atMs, message: `${zone} is back`, plan: [] };
    }
    const { zone, incarnation } = step.absence;
    store.saveAbsence(step.absence);
    if (step.kind === "due") return { kind: "replacementDue", zone, incarnation, atMs, ...this.#act(step.absence) };
    const message = `most of the other instances have found ${zone} failed`;
    return { kind: "instanceFailed", zone, incarnation, atMs, message, plan: [] };
  }

  #act({ zone }: Absence): Pick<NewEvent, "message" | "plan" | "outcome"> {
    const { store, policy } = this.#options;
    return replaceNodesOf(zone, { nodes: store.nodes(), policy });
  }
}
