// One node compares what it holds with the other replicas, range by range, and brings both to agreement: how a lost store is rebuilt,
// how a replica joins, how a range is repaired (spec RP-44 to RP-48). One class, because it is one thing: a repair in which this
// node may hold nothing yet.
// Guarantees: resumable after a crash at any point; bounded memory; records are read before the rows that they are about and count only
// once the rows were compared with the same sources; finishes only when the sources know all that a majority acknowledged.
// Must not: know how a node is reached, or what time it is.
import type { TenantRoute } from "../access/types.ts";
import type { Ring, TokenRange } from "../cluster/ring.ts";
import type { RecordKey } from "../storage/types.ts";
import { RING_TENANT } from "./fence.ts";
import {
  SYNC_DIGEST_PARTS,
  SYNC_FAILURES_TO_RESTART,
  SYNC_PAGE_ROWS,
  SYNC_RANGES_AT_ONCE,
  SYNC_ROUTES,
} from "./limits.ts";
import { takeRecordWindow } from "./record-window.ts";
import type { StoredRecord } from "./records.ts";
import { repairStep } from "./repair-step.ts";
import { compareRanges } from "./row-comparison.ts";
import { type CallReplica, repairInGroups } from "./row-repair.ts";
import {
  clearJoiningPage,
  forgetPage,
  mayRelease,
  type OwnRows,
  type ReleasingAll,
  releaseAllPage,
  releasePage,
} from "./stray-rows.ts";
import { assertEnough, firstPhase, planOf, SourceAway } from "./sync-begin.ts";
import { type Page, type PageRequest, readPage, writePageRequest } from "./sync-frames.ts";
import { concerns, joiningRanges, type Members, membersOf, nextOf, type PlannedRange } from "./sync-plan.ts";
import { newSync, type SyncState } from "./sync-state.ts";

export interface SyncEnvironment {
  readonly self: string;
  /** Parts that the space of write ids is read in: a part's records are sorted in the source's memory. */
  readonly recordWindows: number;
  /** Pages that are one step of a change of the ring: its ranges are many and small. */
  readonly ringPages: number;
  /** Rows that a source reads for an answer of digests; rows of a range that differs, at which it is cut no further. */
  readonly digestRows: { readonly read: number; readonly compared: number };
  ring(): Promise<Ring>;
  /** The tenant's route now; undefined = it is gone. */
  routeOf(tenant: number): Promise<TenantRoute | undefined>;
  /** A page request to a node, this one too. */
  page(nodeId: string, request: Uint8Array): Promise<Uint8Array>;
  /** A frame to a node, this one too. */
  readonly call: CallReplica;
  /** What is held here. */
  readonly own: OwnRows;
  /** Up to which hybrid time deleted states are purged here. */
  horizon(): number;
  /** In these ranges of the tenant too this node may not hold what others do. Durable before anything of them is deleted. */
  beginFilling(tenant: number, ranges: readonly TokenRange[]): void;
  /** There it holds what others do, again. */
  endFilling(tenant: number, ranges: readonly TokenRange[]): void;
  fillingTenants(): readonly number[];
  /** Takes a page's records over, in one commit. */
  takeRecords(epoch: number, records: readonly { readonly key: RecordKey; readonly record: StoredRecord }[]): void;
  /** Routes that the sources know of are known here too, durably. */
  takeRoutes(routes: Page["routes"]): void;
  /** A number that no filling of this node had before, durable. */
  nextEpoch(): number;
  /** Durable before the next step begins. Throws GivenUp. */
  save(state: SyncState): void;
}

type Asked = Omit<PageRequest, "tenant" | "routeRevision">;

export type StepResult = "more" | "waiting" | "done";

interface Place {
  readonly tenant: number;
  /** High word of a token. */
  readonly hi: number;
  /** The tenant's route is at least of this revision. */
  readonly revision?: number | undefined;
}

const WHOLE_RING: readonly TokenRange[] = [{ fromHi: 0, toHi: 0xffff_ffff }];

/** Thrown by `save` when nobody wants the work any more. */
export class GivenUp extends Error {
  override readonly name = "GivenUp";
}

export class SyncJob {
  readonly #environment: SyncEnvironment;
  readonly #routes = new Map<number, TenantRoute | undefined>();
  #state: SyncState;
  #lastError = "";
  /** Of a repair: ranges of the ring whose digests are asked for next. */
  #rangeLimit = SYNC_DIGEST_PARTS;
  /** Else: ranges whose rows are asked for at once, more while they hold few. */
  #rangesAtOnce = 1;
  #planned: { readonly ring: Ring; readonly ranges: readonly PlannedRange[] } | undefined;

  constructor(environment: SyncEnvironment, state: SyncState) {
    this.#environment = environment;
    this.#state = state;
  }

  get state(): SyncState {
    return this.#state;
  }

  /** Why the last step failed; empty = it did not. */
  get lastError(): string {
    return this.#lastError;
  }

  /** One page of the work. Rejects only with GivenUp. */
  async step(): Promise<StepResult> {
    if (this.#state.phase === "done") return "done";
    try {
      const ring = await this.#environment.ring();
      if (this.#isWaitingFor(ring)) return "waiting";
      if (this.#isOutdated || this.#isOfAnother(ring)) this.#restart();
      const { rowsCompared } = this.#state;
      await this.#onePage(ring);
      for (let i = 1; i < this.#environment.ringPages && this.#state.ringWork && this.#isPaging; i++) {
        if (this.#state.rowsCompared - rowsCompared >= this.#pageRows || this.#isOutdated || this.#isWaitingFor(ring))
          break;
        await this.#onePage(ring);
      }
      this.#lastError = "";
      return (this.#state as SyncState).phase === "done" ? "done" : "more";
    } catch (error) {
      if (error instanceof GivenUp) throw error;
      this.#failed(error);
      return "waiting";
    }
  }

  /** Whoever steps pauses between steps for what was compared: little at once, where it is to be slow. */
  get #pageRows(): number {
    return Math.min(SYNC_PAGE_ROWS, this.#state.ringWork?.keysPerSecond ?? SYNC_PAGE_ROWS);
  }

  get #isPaging(): boolean {
    return this.#state.phase === "rows" || this.#state.phase === "records";
  }

  async #onePage(ring: Ring): Promise<void> {
    if (this.#state.phase === "start") await this.#begin(ring);
    else if (this.#state.phase === "clear") await this.#clearStep(ring);
    else if (this.#state.phase === "strays") await this.#straysStep(ring);
    else if (this.#state.phase === "records") await this.#recordsStep(ring);
    else if (this.#state.phase === "rows") await this.#rowsStep(ring);
    else if (this.#state.phase === "marks") await this.#marksStep(ring);
    else await this.#routesStep();
  }

  #save(change: Partial<SyncState>): void {
    this.#state = { ...this.#state, ...change };
    this.#environment.save(this.#state);
  }

  /** After some failures the sources are chosen anew, and what was heard of the old ones is never believed. */
  #failed(error: unknown): void {
    this.#lastError = error instanceof Error ? error.message : String(error);
    const failures = this.#state.failures + 1;
    if (this.#state.phase === "start" || failures < SYNC_FAILURES_TO_RESTART) return this.#save({ failures });
    this.#restart();
  }

  #restart(): void {
    const { kind, tenant, route, ringWork, range, repairId, isIncremental, joining, startedEmpty } = this.#state;
    const { rowsCompared, rowsRepaired, rowsUnreadable, recordsTaken, bytesRepaired, rowsRead } = this.#state;
    const fresh = newSync({
      epoch: this.#environment.nextEpoch(),
      kind,
      tenant,
      route,
      ringWork,
      range,
      repairId,
      isIncremental,
      joining,
      startedEmpty,
    });
    const from = { afterRow: undefined, afterTenant: undefined, horizon: undefined };
    this.#routes.clear();
    const counts = { rowsCompared, rowsRepaired, rowsUnreadable, recordsTaken, bytesRepaired, rowsRead };
    this.#save({ ...fresh, ...from, ...counts, rowsTo: undefined });
  }

  /** The ring is about to change, or this work is for one that is not the ring here: nothing is done by what may be outdated. */
  #isWaitingFor({ state }: Ring): boolean {
    const { ringWork } = this.#state;
    const isBehind = state.revision < this.#environment.own.routeRevision(RING_TENANT);
    const isAnother = ringWork !== undefined && ringWork.revision !== state.revision;
    if (isBehind || isAnother) this.#lastError = `the ring has revision ${state.revision} here`;
    return isBehind || isAnother;
  }

  /** What was compared by another ring was compared with others. */
  #isOfAnother({ state }: Ring): boolean {
    const { phase, tenant, ringRevision = 0 } = this.#state;
    return tenant === undefined && phase !== "start" && ringRevision !== state.revision;
  }

  /**
   * Deletes were purged since this filling began: what came here before may be older than they are, and the sources would not know any
   * more that it was deleted.
   */
  get #isOutdated(): boolean {
    const { kind, phase, horizon } = this.#state;
    return (kind === "fill" || kind === "rebuild") && phase !== "start" && horizon !== this.#environment.horizon();
  }

  // Who takes part

  #plan(ring: Ring): readonly PlannedRange[] {
    if (this.#planned?.ring !== ring)
      this.#planned = { ring, ranges: planOf(this.#state, this.#environment.self, ring) };
    return this.#planned.ranges;
  }

  /** Asks who answers, and fixes these as the sources, if they are enough for every range. */
  async #begin(ring: Ring): Promise<void> {
    const { kind, ringWork, repairId, isIncremental, startedEmpty } = this.#state;
    const { self } = this.#environment;
    const horizon = this.#environment.horizon();
    const ringRevision = ring.state.revision;
    if (kind === "release") return this.#save({ phase: "strays", failures: 0, horizon, ringRevision });
    const plan = this.#plan(ring);
    const sources: Record<string, number> = {};
    const nodes = [...new Set(plan.flatMap(({ members }) => members))].sort();
    await Promise.all(
      nodes.map(async (id) => {
        const page = await this.#page(id, { kind: "rows", from: 0, to: 0, limit: 0 }).catch(() => undefined);
        // One that is being rebuilt answers for nobody. This node itself may only be what the work is for.
        if (page && (!page.isRebuilding || (id === self && kind === "rebuild"))) sources[id] = page.actor;
      }),
    );
    assertEnough(this.#state, { self, ring, plan, sources: new Set(Object.keys(sources)) });
    const isFull = repairId !== undefined && isIncremental !== true;
    const first = firstPhase(kind, { startedEmpty: startedEmpty === true, isFull });
    const phase = ringWork && plan.length === 0 ? "rows" : first;
    const rangesLeftOut = plan.filter(({ members }) => !members.every((id) => sources[id] !== undefined)).length;
    const leftOut = isIncremental ? { rangesLeftOut } : {};
    this.#save({ sources, phase, failures: 0, source: 0, window: 0, nextHi: 0, horizon, ringRevision, ...leftOut });
  }

  // Rows of which this node is no replica, or not yet

  #assertWanted(): void {
    this.#environment.save(this.#state);
  }

  /** A node that is being filled holds nothing that counts; what it held before, nobody vouches for. */
  async #clearStep(ring: Ring): Promise<void> {
    const { kind, tenant, ringWork, joining, afterRow } = this.#state;
    if (ringWork) {
      const { after } = await clearJoiningPage(this.#releasing(ring));
      return this.#save({ failures: 0, afterRow: after, ...(after ? {} : { phase: "rows" }) });
    }
    const ranges = kind === "rebuild" ? WHOLE_RING : (joining ?? []);
    const mayForget = (): boolean => {
      this.#assertWanted();
      return true;
    };
    const { after } = await forgetPage(this.#environment.own, { tenant, ranges, after: afterRow, mayForget });
    const next = kind === "rebuild" ? "records" : "rows";
    this.#save({ failures: 0, afterRow: after, ...(after ? {} : { phase: next }) });
  }

  #releasing(ring: Ring): ReleasingAll {
    const { own, self, beginFilling } = this.#environment;
    return {
      ...{ own, self, ring, beginFilling },
      after: this.#state.afterRow,
      routeOf: (tenant) => this.#routeOf(tenant),
      assertWanted: () => this.#assertWanted(),
    };
  }

  async #straysStep(ring: Ring): Promise<void> {
    const { kind, tenant: only, ringWork, afterTenant = -1, afterRow } = this.#state;
    const { own, self, routeOf, beginFilling } = this.#environment;
    // A node that was away during a change may have heard of nothing but its writes.
    if (kind === "repair" && afterTenant < 0 && !afterRow) await this.#takeRoutes();
    if (this.#isWaitingFor(ring)) throw new SourceAway("the ring changes");
    if (ringWork && !mayRelease(ring))
      throw new SourceAway("what this node is no replica of is kept by the ring it knows");
    if (ringWork || (only === undefined && ring.state.revision > 0)) {
      const { after } = await releaseAllPage(this.#releasing(ring));
      return this.#save({ failures: 0, afterRow: after, ...(after ? {} : { phase: ringWork ? "done" : "rows" }) });
    }
    const tenants = only === undefined ? own.changedTenants() : [only];
    const tenant = tenants.find((each) => each > afterTenant);
    if (tenant === undefined) return this.#save({ phase: kind === "release" ? "done" : "rows", failures: 0 });
    const { after } = await releasePage({
      ...{ own, self, ring, tenant, beginFilling },
      after: afterRow,
      route: await routeOf(tenant),
      assertWanted: () => this.#assertWanted(),
    });
    this.#save({ failures: 0, afterRow: after, ...(after ? {} : { afterTenant: tenant }) });
  }

  async #page(nodeId: string, asked: Asked): Promise<Page> {
    const { tenant, route, ringWork } = this.#state;
    const ofTenant = { tenant, routeRevision: route?.routeRevision ?? 0 };
    // Who answers this first page, and stays who it was, refuses all older coordinators from then on.
    const ofRing = { tenant: RING_TENANT, routeRevision: ringWork?.revision ?? 0 };
    const request = writePageRequest({ ...(ringWork && asked.limit === 0 ? ofRing : ofTenant), ...asked });
    return readPage(await this.#environment.page(nodeId, request));
  }

  async #sourcePage(nodeId: string, asked: Asked): Promise<Page> {
    const page = await this.#page(nodeId, asked);
    if (page.actor !== this.#state.sources[nodeId]) throw new SourceAway(`${nodeId} is not what it was`);
    if (page.horizon !== this.#environment.horizon())
      throw new SourceAway(`${nodeId} and ${this.#environment.self} have not yet heard of the same purge`);
    return page;
  }

  /** Of a revision that is at least `revision`, where the sources of a repair know of one. */
  async #routeOf(tenant: number, revision = 0): Promise<TenantRoute | undefined> {
    if (tenant === this.#state.tenant && this.#state.route) return this.#state.route;
    if ((this.#routes.get(tenant)?.routeRevision ?? 0) < revision) this.#routes.delete(tenant);
    if (!this.#routes.has(tenant)) {
      if (this.#routes.size >= SYNC_ROUTES) this.#routes.clear();
      this.#routes.set(tenant, await this.#environment.routeOf(tenant));
    }
    const route = this.#routes.get(tenant);
    if (route && (route.routeRevision ?? 0) < revision) throw new SourceAway(`the replicas of tenant ${tenant} change`);
    return route;
  }

  /** The members of a place, where this node's copy is what the work is for. */
  async #membersFor(ring: Ring, { tenant, hi, revision }: Place): Promise<Members | undefined> {
    const route = await this.#routeOf(tenant, revision);
    if (!route) return undefined;
    const token = { hi, lo: 0 };
    const members = membersOf(ring, token, route);
    const { self } = this.#environment;
    return concerns(this.#state.kind, self, members, nextOf(ring, token, route)) ? members : undefined;
  }

  // Records: read before the rows

  async #recordsStep(ring: Ring): Promise<void> {
    const { source, window, epoch, tenant } = this.#state;
    const { self, recordWindows } = this.#environment;
    const nodes = Object.keys(this.#state.sources).filter((id) => id !== self);
    const nodeId = nodes[source];
    if (nodeId === undefined) return this.#save({ phase: "rows", failures: 0 });
    const taken = await takeRecordWindow({
      ...{ nodeId, window, windows: recordWindows, tenant },
      page: (id, asked) => this.#sourcePage(id, asked),
      membersOf: (place) => this.#membersFor(ring, place),
      take: (records) => this.#environment.takeRecords(epoch, records),
    });
    const isLast = window + 1 === recordWindows;
    this.#save({
      source: isLast ? source + 1 : source,
      window: isLast ? 0 : window + 1,
      recordsTaken: this.#state.recordsTaken + taken,
      failures: 0,
    });
  }

  // Rows

  async #rowsStep(ring: Ring): Promise<void> {
    const { kind, ringWork, nextHi, afterRow, rowsTo, sources } = this.#state;
    const plan = this.#plan(ring);
    const rangesDone = plan.findIndex(({ toHi }) => toHi >= nextHi);
    const range = plan[rangesDone];
    if (!range) {
      const isRingJoin = ringWork !== undefined && kind === "join";
      const phase = kind === "rebuild" ? "routes" : isRingJoin ? "marks" : "done";
      return this.#save({ phase, failures: 0, rangesDone: plan.length, rangeCount: plan.length });
    }
    const membersOf = (place: Place): Promise<Members | undefined> => this.#membersFor(ring, place);
    const progress = { rangesDone, rangeCount: plan.length, failures: 0 };
    if (kind === "repair" && rowsTo === undefined) {
      const page = (id: string, asked: Asked): Promise<Page> => this.#sourcePage(id, asked);
      const { digestRows } = this.#environment;
      const ways = { ring, plan, page, membersOf, digestRows, limit: this.#rangeLimit };
      const { change, limit } = await repairStep(this.#state, ways);
      this.#rangeLimit = limit;
      return this.#save({ ...change, ...progress });
    }
    const ranges = this.#together(plan.slice(rangesDone));
    const asked = ranges.map(({ fromHi, toHi }): Asked => {
      const [from, to] = [Math.max(fromHi, nextHi), Math.min(toHi, rowsTo ?? toHi)];
      return { kind: "rows", from, to, limit: this.#pageRows, afterRow };
    });
    const nodes = ranges.map(({ members }) => members.filter((id) => sources[id] !== undefined));
    const pages = await Promise.all(
      asked.map((each, i) => Promise.all(nodes[i]!.map((id) => this.#sourcePage(id, each)))),
    );
    const read = pages.map((each, i) => ({ kind, nodes: nodes[i]!, pages: each, membersOf }));
    const { rowCount, different, after, ranges: taken } = await compareRanges(read);
    const isMuch = after !== undefined || rowCount >= this.#pageRows;
    this.#rangesAtOnce = isMuch ? Math.ceil(ranges.length / 2) : Math.min(SYNC_RANGES_AT_ONCE, ranges.length * 2);
    const { unreadable, sentBytes } = await repairInGroups(different, {
      call: this.#environment.call,
      mayPassOver: this.#state.kind === "repair",
    });
    const { from, to } = asked[taken - 1]!;
    this.#save({
      ...(after ? { afterRow: after, nextHi: from } : { afterRow: undefined, nextHi: to + 1, rowsTo: undefined }),
      rowsCompared: this.#state.rowsCompared + rowCount,
      rowsRepaired: this.#state.rowsRepaired + different.length - unreadable,
      rowsUnreadable: this.#state.rowsUnreadable + unreadable,
      rowsRead: (this.#state.rowsRead ?? 0) + rowCount,
      bytesRepaired: (this.#state.bytesRepaired ?? 0) + sentBytes,
      ...{ ...progress, rangesDone: rangesDone + taken - 1 },
    });
  }

  /** The ranges whose pages are asked for at once: the first alone where it was begun, or is to be compared in part. */
  #together(plan: readonly PlannedRange[]): readonly PlannedRange[] {
    const { afterRow, rowsTo } = this.#state;
    return plan.slice(0, afterRow || rowsTo !== undefined ? 1 : this.#rangesAtOnce);
  }

  /** What it joined by the ring it holds now, of every tenant. */
  async #marksStep(ring: Ring): Promise<void> {
    const { self, fillingTenants, endFilling } = this.#environment;
    for (const tenant of fillingTenants()) {
      const route = await this.#routeOf(tenant);
      this.#assertWanted();
      if (route) endFilling(tenant, joiningRanges(ring, self, route));
    }
    this.#save({ phase: "done", failures: 0 });
  }

  /** Last of a rebuild: no coordinator with an older route may get by because this disk forgot the newer one. */
  async #routesStep(): Promise<void> {
    await this.#takeRoutes();
    this.#save({ phase: "done", failures: 0 });
  }

  async #takeRoutes(): Promise<void> {
    for (const id of Object.keys(this.#state.sources)) {
      if (id === this.#environment.self) continue;
      const page = await this.#sourcePage(id, { kind: "routes", from: 0, to: 0, limit: 1 });
      this.#environment.takeRoutes(page.routes);
    }
  }
}
