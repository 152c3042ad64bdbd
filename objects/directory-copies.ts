// The reconciler's part about copies of vectors: tells every tenant when the zones change in which they may stand, and asks until all have moved (ADR 74).
// Guarantees: a change of the zones reaches every tenant, whatever crashes; its begin and its end are events when copies move because of it.
// Must not: own an alarm, know databases, or decide where a copy goes.

import { retryDelayMs } from "../src/access/schedule.ts";
import type { CopyZones } from "../src/access/types.ts";
import type { ReplacePolicy } from "../src/cluster/absences.ts";
import { copyZonesOf } from "../src/cluster/copy-zones.ts";
import type { Logger } from "../src/telemetry/logger.ts";
import type { CopiesRecord } from "./directory-keys.ts";
import type { DirectoryStore, NewEvent } from "./directory-store.ts";
import type { Env } from "./env.ts";
import type { TenantAdminRpc } from "./tenancy-rpc.ts";
import type { TurnQueue } from "./turn-queue.ts";
import { withDeadline } from "./with-deadline.ts";

const CALL_TIMEOUT_MS = 5000;
/** Tenants told, or asked, at once: each may have to be woken. */
const TENANTS_A_STEP = 20;

export interface DirectoryCopiesOptions {
  /** As it is now. */
  readonly env: () => Env;
  readonly store: DirectoryStore;
  readonly turns: TurnQueue;
  readonly log: Logger;
  readonly policy: () => ReplacePolicy;
}

export class DirectoryCopies {
  readonly #options: DirectoryCopiesOptions;

  constructor(options: DirectoryCopiesOptions) {
    this.#options = options;
  }

  get zones(): CopyZones {
    const { store, policy } = this.#options;
    return copyZonesOf({ nodes: store.nodes(), absences: store.absences(), policy: policy() });
  }

  /** When `step` should be called next. */
  nextAtMs(nowMs: number): number | null {
    const held = this.#options.store.copies;
    if (!held || held.zones.join() !== this.zones.zones.join()) return this.#hasNobody(held) ? null : nowMs;
    return held.toldTo === null && held.open.length === 0 ? null : Math.max(nowMs, held.dueMs);
  }

  /** A new deployment has nobody to tell: its first tenants ask. */
  #hasNobody(held: CopiesRecord | undefined): boolean {
    return !held && this.#options.store.tenantsAfter(0, 1).length === 0;
  }

  /** Never throws. */
  async step(): Promise<void> {
    const { store, turns } = this.#options;
    const nowMs = Date.now();
    const dueMs = this.nextAtMs(nowMs);
    if (dueMs === null || dueMs > nowMs) return;
    const known = this.zones;
    const held = this.#begun(known, store.copies);
    const told = held.toldTo === null ? [] : store.tenantsAfter(held.toldTo, TENANTS_A_STEP);
    // Those asked last come last.
    const asked = [...told, ...held.open.slice(0, TENANTS_A_STEP - told.length)];
    const answers = await Promise.all(
      asked.map(async (tenant) => ({ tenant, filling: await this.#tell(tenant, known) })),
    );
    const open = new Set(answers.flatMap(({ tenant, filling }) => (filling === 0 ? [] : [tenant])));
    const isMoving = answers.some(({ filling }) => filling !== undefined && filling > 0);
    const rest = held.open.filter((tenant) => !asked.includes(tenant));
    await turns.run(() => {
      // Another step may have begun anew meanwhile: then this one's answers are of before.
      if (known.zones.join() !== this.zones.zones.join()) return;
      const toldTo = told.length === 0 ? null : told.at(-1)!;
      const waits = told.length === 0 && open.size === asked.length ? held.waits + 1 : 0;
      const next = { ...held, toldTo, open: [...rest, ...open], waits };
      const isNoted = this.#note(next, isMoving, nowMs);
      store.saveCopies({ ...next, isNoted, dueMs: Date.now() + retryDelayMs(waits + 1) });
    });
  }

  #begun({ zones }: CopyZones, held: CopiesRecord | undefined): CopiesRecord {
    if (held?.zones.join() === zones.join()) return held;
    return { zones, toldTo: 0, open: held?.open ?? [], isNoted: held?.isNoted ?? false, waits: 0, dueMs: 0 };
  }

  /** Copies that are on their way; undefined = it did not answer. */
  async #tell(tenant: number, known: CopyZones): Promise<number | undefined> {
    const namespace = this.#options.env().TENANT;
    const object = namespace.get(namespace.idFromName(`t${tenant}`)) as TenantAdminRpc;
    try {
      return await withDeadline(object.placeCopies(known), CALL_TIMEOUT_MS, "Tenant");
    } catch (error) {
      this.#options.log.warn("a tenant was not told where copies may stand", { tenant }, error);
      return undefined;
    }
  }

  /** Whether `copiesMoving` is noted, and its end is not. In a turn. */
  #note({ open, toldTo, zones, isNoted }: CopiesRecord, isMoving: boolean, atMs: number): boolean {
    const isOver = open.length === 0 && toldTo === null;
    if (isNoted ? !isOver : !isMoving) return isNoted;
    const { store, log } = this.#options;
    const where = zones.join(", ");
    const message = isNoted
      ? `copies of vectors stand in ${where}, as far as there are zones enough`
      : `copies of vectors may stand in ${where}: those that are missing there are being filled`;
    const kind = isNoted ? "copiesMoved" : "copiesMoving";
    const event: NewEvent = { kind, zone: "", incarnation: 0, atMs, message, plan: [] };
    store.addEvents([event]);
    log.warn("cluster event", { kind, note: message });
    return !isNoted;
  }
}
