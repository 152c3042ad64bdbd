// Decides what maintenance does next and runs it slice by slice: flush, log trim, erasure, compaction, expiry, sweep.
// Guarantees: one job at a time; each call is one bounded slice; a failed job leaves nothing but names for the sweep.
// Must not: run in the middle of a turn's synchronous work (it is only entered through an awaited call).

import { expiredRuns, pickRecordMerge, pickRowMerge } from "./compaction-policy.ts";
import { flushJob, type Job } from "./flush-job.ts";
import { DEAD_BLOBS_PER_SLICE } from "./limits.ts";
import { Memtable } from "./memtable.ts";
import { mergeJob } from "./merge-job.ts";
import type { Run } from "./run-set.ts";
import type { EngineState } from "./state.ts";
import { CorruptBlock } from "./types.ts";

/** Freezes the active memtable; it must have nothing uncommitted. */
export function freezeActive(state: EngineState): void {
  state.freezeRequested = false;
  if (state.active.arena.bytes === 0) return;
  state.frozen.push(state.active);
  state.active = new Memtable(state.secret);
}

export class Maintenance {
  readonly #state: EngineState;
  #job: Job | undefined;
  #running: Promise<boolean> | undefined;
  /** Memtables that may hold rows of tenants being erased. */
  readonly #erasing = new Set<Memtable>();
  /** Runs seen to hold no pending tenant since the last `erase`. */
  #clean = new Set<Run>();
  /** The run lists for which the last answer of the policy was "nothing". */
  #idleRows: readonly Run[] | undefined;
  #idleRecords: readonly Run[] | undefined;
  /** The run lists in which only unreadable runs keep an erasure from finishing. */
  #stalledRows: readonly Run[] | undefined;
  #stalledRecords: readonly Run[] | undefined;
  /** Runs with blocks that were given up: to be written anew without these. */
  readonly #rewrite = new Set<Run>();
  #expiryRuns: readonly Run[] | undefined;
  #nextExpiryMs = Number.POSITIVE_INFINITY;

  constructor(state: EngineState) {
    this.#state = state;
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

  /** The unreadable blocks of a run were given up: it is written anew without them, and everything is looked at again. */
  rewrite(run: Run): void {
    this.#rewrite.add(run);
    this.#idleRows = undefined;
    this.#idleRecords = undefined;
    this.#stalledRows = undefined;
    this.#stalledRecords = undefined;
  }

  get due(): boolean {
    const { frozen, log, manifest, rows, records } = this.#state;
    return (
      this.#job !== undefined ||
      frozen.length > 0 ||
      log.trimDue ||
      manifest.dead.size > 0 ||
      this.#erasureDue ||
      this.#rewrite.size > 0 ||
      (rows.runs !== this.#idleRows && rows.runs.length > 1) ||
      (records.runs !== this.#idleRecords && records.runs.length > 1) ||
      this.#expiryDue
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
    this.#job ??= this.#nextJob();
    if (this.#job !== undefined) {
      try {
        const { done } = await this.#job.next();
        if (done) this.#job = undefined;
      } catch (error) {
        this.#job = undefined;
        // Reported by the reader and the run is set aside; everything else goes on. Other errors are the caller's to judge.
        if (!(error instanceof CorruptBlock)) throw error;
      }
    } else if (this.#state.log.trimDue) {
      this.#state.log.trim();
      await this.#state.atFailPoint?.("log.trimmed");
    } else if (this.#state.manifest.dead.size > 0) {
      await this.#deleteDead();
    } else if (this.#erasureDue) {
      this.#finishErasures();
      if (this.#state.erased.pending.size === 0) await this.#state.atFailPoint?.("erase.finished");
    }
    return this.due;
  }

  #nextJob(): Job | undefined {
    const { frozen, erased } = this.#state;
    const oldest = frozen[0];
    if (oldest !== undefined) return flushJob(this.#state, oldest);
    if (erased.pending.size > 0) {
      if (this.#state.freezeRequested && !this.#state.active.arena.dirty) {
        freezeActive(this.#state);
        if (frozen[0] !== undefined) return flushJob(this.#state, frozen[0]);
      }
      if (this.#erasureDue && this.#uncheckedRuns().length > 0) return this.#eraseJob();
    }
    if (this.#expiryDue) this.#dropExpired();
    return this.#nextRewrite() ?? this.#nextMerge();
  }

  #nextRewrite(): Job | undefined {
    const { rows, records } = this.#state;
    for (const run of this.#rewrite) {
      this.#rewrite.delete(run);
      const kind = run.tables[0]!.info.kind;
      // Another merge may have taken it meanwhile; and one with a further unreadable block waits until that is given up too.
      const isStored = (kind === "row" ? rows : records).runs.includes(run);
      const isReadable = run.tables.every(({ reported, discarded }) =>
        [...reported.keys()].every((s) => discarded.has(s)),
      );
      if (isStored && isReadable) return mergeJob(this.#state, { kind, runs: [run] });
    }
    return undefined;
  }

  #nextMerge(): Job | undefined {
    const { rows, records, limits } = this.#state;
    if (rows.runs !== this.#idleRows) {
      const range = pickRowMerge(rows.runs, { fanIn: limits.compactionFanIn, maxRuns: limits.maxRuns });
      if (range !== undefined)
        return mergeJob(this.#state, { kind: "row", runs: rows.runs.slice(range.from, range.to) });
      this.#idleRows = rows.runs;
    }
    if (records.runs !== this.#idleRecords) {
      const policy = { fanIn: limits.compactionFanIn, retentionMs: limits.recordRetentionMs };
      const range = pickRecordMerge(records.runs, policy);
      if (range !== undefined) {
        return mergeJob(this.#state, { kind: "record", runs: records.runs.slice(range.from, range.to) });
      }
      this.#idleRecords = records.runs;
    }
    return undefined;
  }

  #dropExpired(): void {
    const { records, limits, clock, manifest } = this.#state;
    const expired = expiredRuns(records.runs, { retentionMs: limits.recordRetentionMs, nowMs: clock() });
    if (expired.length === 0) return;
    manifest.apply({ added: [], removed: expired.flatMap((run) => run.tables.map((table) => table.info)) });
    records.replace(expired, undefined);
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
