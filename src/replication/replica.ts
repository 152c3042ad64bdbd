// One storage node's replica: the pure core of the `KeyValueReplica` object. It stamps, merges, reads, remembers, votes.
// Guarantees: a frame is applied in one turn and committed once before anything of it is answered; a dot is never used twice
// (counters come from a durably reserved block, a rebuilt node from a new incarnation); a remembered write is not applied again.
// Must not: know how it is reached, what time it is (clock injected), or what a value means.

import { vectorAt } from "../kv/clock.ts";
import { decodeState, EMPTY_STATE, encodeState, type KeyState, sameBytes, writeState } from "../kv/key-state.ts";
import { MAX_STATE_BYTES, MAX_TIME_LEAD_MS } from "../kv/limits.ts";
import { mergeStates, replacesAll } from "../kv/merge.ts";
import { EMPTY_BYTES, isDeleted } from "../kv/purge.ts";
import { stampWrite } from "../kv/stamp.ts";
import type { UsageMeter } from "../kv/usage.ts";
import { CorruptBlock, type RecordKey, type RowKey, type StorageEngine } from "../storage/types.ts";
import { type ByteReader, ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import { byActorThenCounter, type Clock, EMPTY_CLOCK, MalformedClock } from "../wire/clock.ts";
import type { ReplicaFacts } from "./facts.ts";
import { newerOf, RING_TENANT } from "./fence.ts";
import {
  type FrameOp,
  type HealOp,
  type HintOp,
  isOfFrame,
  type RefusalCode,
  type ReplicaOp,
  type ReplicaResult,
  readOps,
  type StampOp,
  writeResult,
} from "./frames.ts";
import { HeldRows } from "./held-rows.ts";
import { HybridClock, TICKS_PER_MS } from "./hybrid-clock.ts";
import {
  CLOCK_STEP_JUMP_MS,
  MAX_ANSWER_BYTES,
  MAX_DEADLINE_LEAD_MS,
  MAX_PROMISES,
  MAX_STATE_LATE_MS,
  RESTAMP_SUPERSEDES_OLDER_MS,
} from "./limits.ts";
import { Promises } from "./promises.ts";
import type { RangeDigests } from "./range-digests.ts";
import type { StoredRecord } from "./records.ts";
import { Remembered } from "./remembered.ts";
import { whenResident } from "./residency.ts";
import { SettledStamps } from "./settled.ts";

/** Hints kept here for others. `add` is part of the turn's commit; false = full, the range is marked dirty instead. */
export interface HintStore {
  add(target: string, row: RowKey, state: Uint8Array): boolean;
}

export interface ReplicaOptions {
  readonly engine: StorageEngine;
  readonly facts: ReplicaFacts;
  readonly hints: HintStore;
  readonly actor: number;
  readonly now: () => number;
  /** What this life's time for deadlines is ahead of its clock: chosen at random, below {@link MAX_TIME_ORIGIN_MS}. */
  readonly timeOriginMs: number;
  readonly counterBlock: number;
  /**
   * How old an unreadable row must be before a state from other replicas may take its place: what was acknowledged just before may
   * still be on its way to them. Ms; more than a write's whole way takes.
   */
  readonly healAfterMs?: number;
  /** True when the engine's blobs are not readable within a turn (R2, disk). */
  readonly mayWait?: boolean;
  /** Told of every change of what is held, within its turn. */
  readonly usage?: UsageMeter;
  /** Width of the leaves that digests are kept of; absent = as the limits say. */
  readonly digestLeafBits?: number;
}

export interface ReplicaCounts {
  stamps: number;
  merges: number;
  reads: number;
  repeatedWrites: number;
  refusals: number;
  hintsStored: number;
  hintsRefused: number;
  /** Unreadable rows that other replicas' states took the place of. */
  healedRows: number;
  /** Unreadable records that other replicas' took the place of. */
  healedRecords: number;
}

const refused = (code: RefusalCode, clock: Clock = EMPTY_CLOCK): ReplicaResult => ({ kind: "refused", code, clock });
const DONE: ReplicaResult = { kind: "done" };
const PENDING: ReplicaResult = { kind: "pending" };
export class Replica {
  readonly counts: ReplicaCounts = {
    stamps: 0,
    merges: 0,
    reads: 0,
    repeatedWrites: 0,
    refusals: 0,
    hintsStored: 0,
    hintsRefused: 0,
    healedRows: 0,
    healedRecords: 0,
  };
  readonly #options: ReplicaOptions;
  readonly #hybrid: HybridClock;
  readonly #remembered: Remembered;
  readonly #settled = new SettledStamps();
  readonly #promises = new Promises({ lifeMs: MAX_DEADLINE_LEAD_MS, maxCount: MAX_PROMISES });
  readonly #rows: HeldRows;
  readonly #state = new ByteWriter(1024);
  readonly #out = new ByteWriter(1024);
  #counter: number;
  #answerBytes = 0;
  /** Of the frame being applied: its deadline, and whether that has passed. */
  #deadlineMs = 0;
  #isExpired = false;
  #isLongPast = false;
  /** See {@link #deadlineClock}. */
  #lastMs = 0;
  #shiftMs: number;
  /** By which the operations being applied were sent; undefined = by no coordinator. */
  #route: number | undefined;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#shiftMs = options.timeOriginMs;
    // One time for all of a frame: reading a clock for each operation is dear.
    this.#hybrid = new HybridClock(() => this.#lastMs);
    this.#remembered = new Remembered(options);
    this.#rows = new HeldRows(options);
    this.#counter = options.facts.reservedCounter();
  }

  get actor(): number {
    return this.#options.actor;
  }

  /** Of what is held, for comparisons. */
  get digests(): RangeDigests {
    return this.#rows.digests;
  }

  /** Applies a request frame and returns the answer frame. The caller answers only once the commit is durable (output gate). */
  handle(frame: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const ops = readOps(frame);
    return this.#options.mayWait ? whenResident(this.#options.engine, ops, () => this.#apply(ops)) : this.#apply(ops);
  }

  /** A frame of the record healer, which brings rows whose records cannot be read here. */
  async handleHealing(frame: Uint8Array): Promise<Uint8Array> {
    const ops = readOps(frame);
    return this.#whenResident(
      [],
      () => {
        this.#remembered.passesUnreadable = true;
        try {
          return this.#apply(ops);
        } finally {
          this.#remembered.passesUnreadable = false;
        }
      },
      ops,
    );
  }

  #apply(ops: readonly ReplicaOp[]): Uint8Array {
    const out = this.#out;
    out.reset();
    out.varint(this.#options.actor);
    // What concerns the whole frame comes first: a stamp must not carry what the same frame says is settled.
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    for (const op of ops) {
      if (op.kind === "settled") this.#settled.add(op.actor, op.counters);
      if (op.kind === "deadline") this.#deadlineMs = op.atMs;
    }
    this.#answerBytes = 0;
    const nowMs = this.#deadlineClock();
    // A deadline far ahead was given in the time of another life of this replica, or by a clock that has stepped since.
    const isOfNow = this.#deadlineMs <= nowMs + MAX_DEADLINE_LEAD_MS || this.#deadlineMs === Number.POSITIVE_INFINITY;
    this.#isExpired = nowMs > this.#deadlineMs || !isOfNow;
    this.#isLongPast = nowMs > this.#deadlineMs + MAX_STATE_LATE_MS || !isOfNow;
    this.#route = undefined;
    const results = ops.map((op) => this.#applyOne(op));
    this.#options.engine.commit();
    out.varint(this.#counter);
    out.varint(nowMs);
    for (const result of results) writeResult(out, result);
    return out.take();
  }

  /**
   * The time that deadlines are given in: another in each life of the replica. Where its clock has stepped back since the last frame,
   * this jumps ahead of all deadlines given before. Either way the stamps that were under way are refused, not applied late (spec RP-36).
   */
  #deadlineClock(): number {
    const now = this.#options.now();
    if (now < this.#lastMs) this.#shiftMs += this.#lastMs - now + CLOCK_STEP_JUMP_MS;
    this.#lastMs = now;
    return now + this.#shiftMs;
  }

  #applyOne(op: ReplicaOp): ReplicaResult {
    if (op.kind === "route") this.#route = op.revision;
    if (isOfFrame(op)) return DONE;
    const mayAnswerState = op.kind === "get" || op.kind === "stamp" || op.kind === "repair";
    if (mayAnswerState && this.#answerBytes > MAX_ANSWER_BYTES) return refused("deferred");
    const { facts } = this.#options;
    if (facts.isErased(op.row.tenant)) return refused("tenantErased");
    if (this.#route !== undefined && op.kind !== "hint") {
      const [ring, route] = [facts.routeRevision(RING_TENANT), facts.routeRevision(op.row.tenant)];
      const newer = ring === 0 && route === 0 ? undefined : newerOf(this.#route, { ring, route });
      if (newer !== undefined) return { kind: "stale", revision: newer };
      const mustKnowAll = op.kind !== "merge" && op.kind !== "repair";
      if (mustKnowAll && facts.isRebuilding()) return refused("bootstrapping");
    }
    try {
      const result = this.#dispatch(op);
      if (result.kind === "refused") this.counts.refusals++;
      if (result.kind === "state") this.#answerBytes += result.state?.length ?? 0;
      if (result.kind === "stamped") this.#answerBytes += result.prefix.length;
      return result;
    } catch (error) {
      // A held or shipped state that cannot be read. Nothing of the operation has been applied: states are read before writing.
      const isUnreadable = error instanceof MalformedBytes || error instanceof MalformedClock;
      if (isUnreadable || error instanceof CorruptBlock) return refused("corrupt");
      throw error;
    }
  }

  #dispatch(op: Exclude<ReplicaOp, FrameOp>): ReplicaResult {
    // A state that was under way for so long may hold what was deleted, and of whose delete nothing is left by now.
    const bringsState = op.kind === "merge" || op.kind === "repair" || op.kind === "heal" || op.kind === "hint";
    if (bringsState && this.#isLongPast) return refused("expired");
    switch (op.kind) {
      case "stamp":
        return this.#stamp(op);
      case "merge":
        this.#merge(op.row, op.state);
        return this.#route !== undefined && this.#options.facts.isRebuilding() ? PENDING : DONE;
      case "repair": {
        const state = this.#merge(op.row, op.state);
        return sameBytes(state, op.state) ? DONE : { kind: "state", state };
      }
      case "heal":
        return this.#heal(op);
      case "get":
        this.counts.reads++;
        return { kind: "state", state: this.#rows.seen(op.row) };
      case "recall":
        return this.#recalled(op.row, op.writeId);
      case "vote":
        return this.#remembered.vote(op);
      case "hint":
        return this.#hint(op);
    }
  }

  /** Rows that this node is no replica of, or is to be filled with anew: nothing of them is held any more. Committed. */
  forget(rows: readonly RowKey[]): void {
    const { engine, usage } = this.#options;
    for (const row of rows) {
      const bytes = engine.get(row);
      if (!bytes) continue;
      const state = decodeState(bytes);
      for (const version of state.versions) this.#remembered.unlearn(row, version);
      usage?.changed(row, state, EMPTY_STATE);
      this.#rows.replace(row, EMPTY_BYTES, true);
    }
    engine.commit();
  }

  /** The time of this moment: from now on every stamp is later. For the promise of RP-72. */
  get hybridNow(): number {
    return Math.max(this.#options.now() * TICKS_PER_MS, this.#hybrid.last);
  }

  /** See {@link Remembered.importRecord}. */
  importRecord(epoch: number, key: RecordKey, stored: StoredRecord): void {
    this.#remembered.importRecord(epoch, key, stored);
  }

  /** Of these records, those that stand in a block that cannot be read. */
  async unreadableRecords(keys: readonly RecordKey[]): Promise<RecordKey[]> {
    const isUnreadable = (key: RecordKey): boolean => this.#remembered.isUnreadable(key);
    return this.#whenResident(keys, () => keys.filter(isUnreadable));
  }

  /** See {@link Remembered.restore}. Committed. */
  async restoreRecords(records: readonly { readonly key: RecordKey; readonly record: StoredRecord }[]): Promise<void> {
    const keys = records.map(({ key }) => key);
    await this.#whenResident(keys, () => {
      const due = records.filter(({ key }) => this.#remembered.isUnreadable(key));
      for (const { key, record } of due) this.#remembered.restore(key, record);
      this.counts.healedRecords += due.length;
      this.#options.engine.commit();
    });
  }

  async #whenResident<T>(keys: readonly RecordKey[], apply: () => T, ops: readonly ReplicaOp[] = []): Promise<T> {
    return this.#options.mayWait ? whenResident(this.#options.engine, ops, apply, keys) : apply();
  }

  #stamp(op: StampOp): ReplicaResult {
    if (this.#isExpired) return refused("expired");
    // First attempts too: a frame that was delayed or repeated may arrive after the write was stamped here or superseded.
    const first = this.#remembered.recall(op.row.tenant, op.writeId);
    if (first) return this.#repeat(this.#rows.state(op.row), first);
    if (!op.restamp && this.#promises.has(op.row.tenant, op.writeId)) return refused("retried");
    const clock = op.supersedeAll ? undefined : op.clock;
    const held = this.#rows.replaced(op.row, clock) ?? this.#rows.state(op.row, true);
    // Only now: "overloaded" says that nothing was written.
    if (this.#options.engine.overloaded) return refused("overloaded");
    const timeLimit = this.#hybrid.physical(MAX_TIME_LEAD_MS);
    if (op.clock && op.clock.time > timeLimit) return refused("clockAhead", held.clock);
    const { facts } = this.#options;
    const time = this.#hybrid.next(Math.max(held.clock.time, op.clock?.time ?? 0, facts.stampFloor()));
    const actor = this.#options.actor;
    // A counter that the key's context already covers would be born dead; only a forged or mangled clock gets there.
    const floor = Math.max(vectorAt(held.clock, actor), op.clock ? vectorAt(op.clock, actor) : 0);
    if (op.clock && vectorAt(op.clock, actor) > this.#counter) return refused("clockAhead", held.clock);
    const dot = { actor, counter: this.#nextCounter(floor) };
    const write = {
      writeId: op.writeId,
      value: op.value,
      clock,
      restamped: op.restamp,
    };
    const result = stampWrite(held, write, {
      dot,
      time,
      isSettled: (d) => this.#settled.has(d),
    });
    if (result.kind === "tooManySiblings") return refused("tooManySiblings", held.clock);
    const { state, answer } = result;
    this.#state.reset();
    const prefixLength = writeState(this.#state, state);
    const bytes = this.#state.view();
    if (bytes.length > MAX_STATE_BYTES && state.versions.length > 1) return refused("stateTooLarge", held.clock);
    this.#rows.put(op.row, bytes, { before: held, after: state });
    this.#remembered.remember(op.row, op.writeId, answer);
    this.counts.stamps++;
    return {
      kind: "stamped",
      counter: dot.counter,
      unsettledCount: state.unsettled.length,
      repeated: false,
      answer,
      prefix: bytes.slice(0, prefixLength),
      wantsValue: op.value !== undefined,
    };
  }

  /** The write was applied before: its first answer, and the present state so that the coordinator can bring it to the others. */
  #repeat(held: KeyState, first: Clock): ReplicaResult {
    this.counts.repeatedWrites++;
    return {
      kind: "stamped",
      counter: 0,
      unsettledCount: held.unsettled.length,
      repeated: true,
      answer: first,
      prefix: encodeState(held),
      wantsValue: false,
    };
  }

  #nextCounter(floor: number): number {
    const { facts, counterBlock } = this.#options;
    this.#counter = Math.max(this.#counter, floor) + 1;
    if (this.#counter > facts.reservedCounter()) facts.reserveCounter(this.#counter + counterBlock);
    return this.#counter;
  }

  /** Returns the state that is held afterwards. */
  #merge(row: RowKey, incomingBytes: Uint8Array): Uint8Array {
    this.counts.merges++;
    const isPurged = this.#rows.isPurged(incomingBytes);
    const decoded = decodeState(incomingBytes);
    const replaced = isPurged ? undefined : this.#rows.replaced(row, decoded.clock);
    if (replaced && this.#mergeOver(row, incomingBytes, { held: replaced, incoming: decoded })) return incomingBytes;
    const heldBytes = this.#rows.seen(row, true);
    if (heldBytes && sameBytes(heldBytes, incomingBytes)) return heldBytes;
    // Nothing to add: what it says is purged here too.
    if (isPurged && !heldBytes) return incomingBytes;
    const held = heldBytes ? decodeState(heldBytes) : EMPTY_STATE;
    // Of a purged state only its context counts: its deletes are no siblings of what was written since.
    const incoming = isPurged ? { clock: decoded.clock, unsettled: [], versions: [] } : decoded;
    if (this.#mergeOver(row, incomingBytes, { held, incoming })) return incomingBytes;
    const merged = mergeStates(held, incoming, (version) => this.#remembered.isSuperseded(row, version));
    this.#remembered.rememberNew(row, { held, incoming, merged });
    const bytes = encodeState(merged);
    if (!heldBytes || !sameBytes(bytes, heldBytes)) this.#rows.put(row, bytes, { before: held, after: merged });
    return bytes;
  }

  /** The usual case: all that is held gives way. False = it is not that one, and nothing was done. */
  #mergeOver(row: RowKey, bytes: Uint8Array, { held, incoming }: { held: KeyState; incoming: KeyState }): boolean {
    this.#hybrid.observe(incoming.clock.time, MAX_TIME_LEAD_MS);
    if (!replacesAll(held, incoming) || this.#remembered.isSuperseded(row, incoming.versions[0]!)) return false;
    this.#remembered.rememberNew(row, { held, incoming, merged: incoming });
    this.#rows.put(row, bytes, { before: held, after: incoming });
    return true;
  }

  #heal({ row, state }: HealOp): ReplicaResult {
    const { engine, now, healAfterMs = 0 } = this.#options;
    try {
      engine.get(row);
    } catch (error) {
      if (!(error instanceof CorruptBlock)) throw error;
      if (error.newestMs + healAfterMs > now()) return refused("corrupt");
      const incoming = decodeState(state);
      this.#hybrid.observe(incoming.clock.time, MAX_TIME_LEAD_MS);
      this.#remembered.rememberNew(row, { held: EMPTY_STATE, incoming, merged: incoming });
      // Its usage counts already: what is put now takes the place of what was.
      this.#rows.replace(row, state, isDeleted(incoming));
      this.counts.healedRows++;
      return DONE;
    }
    this.#merge(row, state);
    return DONE;
  }

  #recalled(row: RowKey, writeId: Uint8Array): ReplicaResult {
    const answer = this.#remembered.recall(row.tenant, writeId);
    if (answer) return { kind: "recalled", answer, alive: [] };
    if (!this.#promises.add(row.tenant, writeId, this.#lastMs + this.#shiftMs)) return refused("overloaded");
    const before = this.#hybrid.physical(-RESTAMP_SUPERSEDES_OLDER_MS);
    const old = this.#rows.state(row).versions.filter((version) => !version.restamped && version.time < before);
    const alive = old.flatMap((version) => version.dots).sort(byActorThenCounter);
    return { kind: "recalled", answer: undefined, alive };
  }

  #hint(op: HintOp): ReplicaResult {
    if (!this.#options.hints.add(op.target, op.row, op.state)) {
      this.counts.hintsRefused++;
      return refused("hintsFull");
    }
    this.counts.hintsStored++;
    return DONE;
  }
}

/** The header of an answer frame, then its results. */
export function readAnswerHeader(reader: ByteReader): { actor: number; counter: number; nowMs: number } {
  return { actor: reader.varint(), counter: reader.varint(), nowMs: reader.varint() };
}
