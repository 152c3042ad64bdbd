// Decides what maintenance does next and runs it slice by slice: log trim, sweep, flush, erasure, compaction, expiry, scrub.
// Guarantees: one slice at a time, in turns between a flush and a merge; each call is one bounded slice; a failed job leaves nothing but names for the sweep.
// Must not: run in the middle of a turn's synchronous work (it is only entered through an awaited call).

import { expiredRuns, pickRecordMerge, pickRowMerge } from "./compaction-policy.ts";
import { flushJob, type Job } from "./flush-job.ts";
import { DEAD_BLOBS_PER_SLICE } from "./limits.ts";
import { Memtable } from "./memtable.ts";
import { mergeJob } from "./merge-job.ts";
import { purgeJob } from "./purge-job.ts";
import type { Run } from "./run-set.ts";
import { ScrubSchedule } from "./scrub-job.ts";
import type { EngineState } from "./state.ts";
import { CorruptBlock } from "./types.ts";

type Kind = "row" | "record";

/** A merge of this many times less bytes does not wait for one of the other kind. */
const MUCH_SMALLER = 4;

const bytesOf = (runs: readonly Run[]): number => runs.reduce((sum, run) => sum + run.sizeBytes, 0);

/** Freezes the active memtable; it must have nothing uncommitted. */
export function freezeActive(state: EngineState): void {
  state.freezeRequested = false;
  if (state.active.arena.bytes === 0) return;
  state.frozen.push(state.active);
  state.active = new Memtable(state.secret);
  state.active.seenRowsFrom = state.seenRows.generation;
  state.active.seenRecordsFrom = state.seenRecords.generation;
}

export class Maintenance {
  readonly #state: EngineState;
  #flush: Job | undefined;
  /** A merge, or the rewriting of an erasure. */
  #job: Job | undefined;
  #scrub: Job | undefined;
  readonly scrub: ScrubSchedule;
  #flushedLast = false;
  #running: Promise<boolean> | undefined;
  /** Memtables that may hold rows of tenants being erased. */
  readonly #erasing = new Set<Memtable>();
  /** Runs seen to hold no pending tenant since the last `erase`. */
  #clean = new Set<Run>();
  /** The run lists for which the last answer of the policy was "nothing". */
  readonly #idle = new Map<Kind, readonly Run[]>();
  /** The run lists in which only unreadable runs keep an erasure from finishing. */
  #stalledRows: readonly Run[] | undefined;
  #stalledRecords: readonly Run[] | undefined;
  /** A block was given up: runs with such are to be written anew. */
  #rewriteDue = false;
  /** What merges left that made way for more urgent ones. */
  readonly #unfinished = new Map<Kind, readonly Run[]>();
  /** A purge was asked for, and waits until this memtable, if any, is in tables. */
  #purge: { readonly upTo: Memtable | undefined } | undefined;
  #isPurging = false;
  #expiryRuns: readonly Run[] | undefined;
  #nextExpiryMs = Number.POSITIVE_INFINITY;

  constructor(state: EngineState) {
    this.#state = state;
    this.scrub = new ScrubSchedule(state);
    if (state.erased.pending.size > 0) this.erase();
  }

  /** A tenant was added to the pending erasures. */
  erase(): void {
    const { active, frozen } = this.#state;
    this.#state.freezeRequested = true;
    this.#erasing.add(active);
    for (const memtable of frozen) this.#erasing.add(memtable);
    this.#clean = new Set();
    this.#stalledRows = undefined;
  }

  /** The rows that may be dropped by now shall go, those in memory too. */
  purge(): void {
    const { active } = this.#state;
    this.#purge = { upTo: active.arena.bytes === 0 ? undefined : active };
    this.#state.freezeRequested = true;
  }

  get purgePending(): boolean {
    return this.#purge !== undefined || this.#isPurging;
  }

  #nextPurge(): Job | undefined {
    const { active, frozen } = this.#state;
    const upTo = this.#purge?.upTo;
    if (this.#purge === undefined || (upTo !== undefined && (upTo === active || frozen.includes(upTo))))
      return undefined;
    this.#purge = undefined;
    return this.#purging();
  }

  async *#purging(): Job {
    this.#isPurging = true;
    try {
      // What is left of one run alone is purged too.
      yield* purgeJob(this.#state, (left) => left.length > 1 && this.#mustStop("row", left));
    } finally {
      this.#isPurging = false;
    }
  }

  /** Unreadable blocks were given up: their runs are written anew without them, and everything is looked at again. */
  rewrite(): void {
    this.#rewriteDue = true;
    this.#idle.clear();
    this.#stalledRows = undefined;
    this.#stalledRecords = undefined;
  }

  get due(): boolean {
    const { frozen, log, manifest, rows, records } = this.#state;
    return (
      this.#job !== undefined ||
      this.#unfinished.size > 0 ||
      frozen.length > 0 ||
      log.trimDue ||
      manifest.dead.size > 0 ||
      this.#erasureDue ||
      this.#rewriteDue ||
      (this.#purge !== undefined && !this.#state.active.arena.dirty) ||
      (rows.runs !== this.#idle.get("row") && rows.runs.length > 1) ||
      (records.runs !== this.#idle.get("record") && records.runs.length > 1) ||
      this.#expiryDue ||
      this.#scrub !== undefined ||
      this.scrub.due
    );
  }

  get #erasureDue(): boolean {
    const { erased, rows, records } = this.#state;
    if (erased.pending.size === 0) return false;
    return rows.runs !== this.#stalledRows || records.runs !== this.#stalledRecords;
  }

  get #expiryDue(): boolean {
    const { records, limits, clock } = this.#state;
    if (records.runs !== this.#expiryRuns) {
      this.#expiryRuns = records.runs;
      this.#nextExpiryMs = Math.min(...records.runs.map((run) => run.maxMs + limits.recordRetentionMs));
    }
    return this.#nextExpiryMs < clock();
  }

  /** One slice; true when more remains. Calls that overlap share one slice. */
  run(): Promise<boolean> {
    this.#running ??= this.#slice().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #slice(): Promise<boolean> {
    const { log, manifest, atFailPoint } = this.#state;
    // First what makes room: the pages are used again by what is written next.
    if (log.trimDue) {
      log.trim();
      await atFailPoint?.("log.trimmed");
    } else if (manifest.dead.size > 0) {
      await this.#deleteDead();
    } else if (this.#flushesNext()) {
      if (await this.#step(this.#flush!)) this.#flush = undefined;
    } else {
      this.#job ??= this.#nextJob();
      if (this.#job !== undefined) {
        if (await this.#step(this.#job)) this.#job = undefined;
      } else if (this.#erasureDue) {
        this.#finishErasures();
        if (this.#state.erased.pending.size === 0) await atFailPoint?.("erase.finished");
      } else if (this.#state.frozen.length === 0) {
        this.#scrub ??= this.scrub.next();
        if (this.#scrub !== undefined && (await this.#step(this.#scrub))) this.#scrub = undefined;
      }
    }
    return this.due;
  }

  /** A flush shares the slices with a merge: waiting for it would fill the log and stop the writers. */
  #flushesNext(): boolean {
    const { frozen, erased, active, rows, limits } = this.#state;
    if (this.#flush === undefined) {
      const isAsked = erased.pending.size > 0 || this.#purge !== undefined;
      const mayFreeze = isAsked && this.#state.freezeRequested && !active.arena.dirty;
      if (frozen.length === 0 && mayFreeze) freezeActive(this.#state);
      if (frozen[0] === undefined) return false;
      this.#flush = flushJob(this.#state, frozen[0]);
    }
    const isMerging = this.#job !== undefined || rows.runs !== this.#idle.get("row");
    // With twice the runs there may be, reads cost too much: then writers wait for merges.
    const mergesOnly = rows.runs.length > 2 * limits.maxRuns;
    this.#flushedLast = !(isMerging && (mergesOnly || (this.#flushedLast && frozen.length === 1)));
    return this.#flushedLast;
  }

  /** One slice of a job; true when it has ended. */
  async #step(job: Job): Promise<boolean> {
    try {
      return (await job.next()).done === true;
    } catch (error) {
      // Reported by the reader and the run is set aside; everything else goes on. Other errors are the caller's to judge.
      if (error instanceof CorruptBlock) return true;
      this.#forgetJob(job);
      throw error;
    }
  }

  #forgetJob(job: Job): void {
    if (this.#flush === job) this.#flush = undefined;
    if (this.#job === job) this.#job = undefined;
    if (this.#scrub === job) this.#scrub = undefined;
  }

  #nextJob(): Job | undefined {
    if (this.#erasureDue && this.#uncheckedRuns().length > 0) return this.#eraseJob();
    if (this.#expiryDue) this.#dropExpired();
    return this.#nextRewrite() ?? this.#nextPurge() ?? this.#nextMerge();
  }

  #nextRewrite(): Job | undefined {
    if (!this.#rewriteDue) return undefined;
    const { rows, records } = this.#state;
    for (const run of [...rows.runs, ...records.runs]) {
      const isDamaged = run.tables.some(({ discarded }) => discarded.size > 0);
      // One with a further unreadable block waits until that is given up too.
      const isReadable = run.tables.every(({ reported, discarded }) =>
        [...reported.keys()].every((s) => discarded.has(s)),
      );
      if (isDamaged && isReadable) return mergeJob(this.#state, { kind: run.tables[0]!.info.kind, runs: [run] });
    }
    this.#rewriteDue = false;
    return undefined;
  }

  /** The smaller one first: small merges keep the runs few, large ones can wait. */
  #nextMerge(): Job | undefined {
    const rows = this.#pickMerge("row");
    const records = this.#pickMerge("record");
    const kind = rows === undefined || (records && bytesOf(records) < bytesOf(rows)) ? "record" : "row";
    const runs = kind === "row" ? rows : records;
    if (runs === undefined) return undefined;
    this.#unfinished.delete(kind);
    return mergeJob(this.#state, { kind, runs, shouldStop: (left) => this.#mustStop(kind, left) });
  }

  #pickMerge(kind: Kind): readonly Run[] | undefined {
    const { runs } = kind === "row" ? this.#state.rows : this.#state.records;
    const unfinished = this.#unfinished.get(kind);
    if (unfinished !== undefined) {
      const newer = this.#newerMerge(kind, unfinished);
      if (newer !== undefined) return newer;
      if (unfinished.every((run) => runs.includes(run) && !run.quarantined)) return unfinished;
      this.#unfinished.delete(kind);
    }
    if (runs === this.#idle.get(kind)) return undefined;
    const picked = this.#mergeOf(kind, runs);
    if (picked === undefined) this.#idle.set(kind, runs);
    return picked;
  }

  #mergeOf(kind: Kind, runs: readonly Run[]): readonly Run[] | undefined {
    const { compactionFanIn: fanIn, maxRuns, recordRetentionMs: retentionMs } = this.#state.limits;
    const range =
      kind === "row" ? pickRowMerge(runs, { fanIn, maxRuns }) : pickRecordMerge(runs, { fanIn, retentionMs });
    return range && runs.slice(range.from, range.to);
  }

  /** A merge among the runs that are newer than all of these. */
  #newerMerge(kind: Kind, than: readonly Run[]): readonly Run[] | undefined {
    const { runs } = kind === "row" ? this.#state.rows : this.#state.records;
    const order = than[0]?.order ?? 0;
    return this.#mergeOf(
      kind,
      runs.filter((run) => run.order > order),
    );
  }

  /** A large merge makes way for small ones, and for what was asked for. It goes on where it stopped. */
  #mustStop(kind: Kind, left: readonly Run[]): boolean {
    // What is left of one run alone needs no merge.
    if (left.length < 2) return true;
    const other = this.#pickMerge(kind === "row" ? "record" : "row");
    const mustStop =
      this.#rewriteDue ||
      (this.#erasureDue && this.#uncheckedRuns().some((run) => !left.includes(run))) ||
      this.#newerMerge(kind, left) !== undefined ||
      (other !== undefined && bytesOf(other) * MUCH_SMALLER < bytesOf(left));
    if (mustStop) this.#unfinished.set(kind, left);
    return mustStop;
  }

  #dropExpired(): void {
    const { records, limits, clock, manifest } = this.#state;
    const expired = expiredRuns(records.runs, { retentionMs: limits.recordRetentionMs, nowMs: clock() });
    if (expired.length === 0) return;
    manifest.apply({ added: [], removed: expired.flatMap((run) => run.tables.map((table) => table.info)) });
    records.replace({ removed: expired, added: [], retired: expired.flatMap((run) => run.tables) });
  }

  async #deleteDead(): Promise<void> {
    const { manifest, sync, blobs, durable, atFailPoint } = this.#state;
    const names = [...manifest.dead].slice(0, DEAD_BLOBS_PER_SLICE);
    if (sync === undefined) await durable?.();
    for (const name of names) {
      if (sync !== undefined) sync.deleteSync(name);
      else await blobs.delete(name);
      if (sync === undefined) await atFailPoint?.("blob.deleted");
      manifest.blobDeleted(name);
    }
    await atFailPoint?.("blobs.swept");
  }

  #uncheckedRuns(): Run[] {
    const { rows, records } = this.#state;
    return [...rows.runs, ...records.runs].filter((run) => !this.#clean.has(run) && !run.quarantined);
  }

  /** Looks for runs that hold a pending tenant and rewrites each without it. */
  async *#eraseJob(): Job {
    for (const run of this.#uncheckedRuns()) {
      if (await this.#holdsPending(run)) {
        const kind = run.tables[0]!.info.kind;
        yield* mergeJob(this.#state, { kind, runs: [run] });
      } else {
        this.#clean.add(run);
      }
      yield;
    }
  }

  async #holdsPending(run: Run): Promise<boolean> {
    const { reader, erased } = this.#state;
    try {
      for (const table of run.tables) {
        // What cannot be read and was given up may hold anything: rewriting leaves it out.
        if (table.discarded.size > 0) return true;
        const meta = await reader.readMeta(table);
        for (const tenant of erased.pending) if (meta.holdsTenant(tenant)) return true;
      }
    } catch (error) {
      if (error instanceof CorruptBlock) run.quarantined = true;
      throw error;
    }
    return false;
  }

  /** Every blob and log row that could hold a pending tenant is gone by now, unless a run could not be read. */
  #finishErasures(): void {
    const { erased, manifest, active, frozen, rows, records } = this.#state;
    for (const memtable of this.#erasing) {
      if (memtable !== active && !frozen.includes(memtable)) this.#erasing.delete(memtable);
    }
    if (active.arena.bytes === 0) this.#erasing.delete(active);
    if (this.#erasing.size > 0) return;
    if ([...rows.runs, ...records.runs].some((run) => !this.#clean.has(run))) {
      this.#stalledRows = rows.runs;
      this.#stalledRecords = records.runs;
      return;
    }
    for (const tenant of erased.pending) manifest.setErased(tenant, true);
    erased.pending.clear();
  }
}
