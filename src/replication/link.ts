// The way to one replica: gathers the operations of a turn into one frame, bounds what is queued and under way, times out, and
// trips a breaker. Guarantees: each operation's callback runs exactly once, with the result or with undefined (not known to have
// been applied, and not known not to have been). A late answer changes nothing. Must not: retry; that is the caller's decision.
import type { TenantRoute } from "../access/types.ts";
import { Breaker } from "../cluster/breaker.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import { EMPTY_CLOCK } from "../wire/clock.ts";
import { type ReplicaOp, type ReplicaResult, readResult, writeOp } from "./frames.ts";
import {
  BREAKER_FAILURES,
  BREAKER_OPEN_MS,
  FIRST_STAMP_TIMEOUTS,
  LATE_FACTOR,
  MAX_DEADLINE_LEAD_MS,
  MAX_FRAME_BYTES,
  MAX_FRAMES_IN_FLIGHT,
  MAX_LINK_QUEUE_BYTES,
  SLOWEST_KEPT,
} from "./limits.ts";
import { readAnswerHeader } from "./replica.ts";

/** What the replication core needs of the world; the object gives the real one, the simulator its own. */
export interface Environment {
  /** Sends a frame to a storage node; rejects when the outcome is unknown. */
  call(nodeId: string, frame: Uint8Array): Promise<Uint8Array>;
  now(): number;
  /** Runs once, after what is being handled now: lets the calls of a turn gather. */
  schedule(run: () => void): void;
  setTimer(delayMs: number, run: () => void): unknown;
  clearTimer(timer: unknown): void;
  readonly replicaTimeoutMs: number;
  /** Before an operation is late at the earliest; missing = none ever is, because replicas stall only together with us. */
  readonly leastPatienceMs?: number | undefined;
  /** Since when the instance of a storage node is agreed to be away; undefined = it is not. By {@link now}. */
  awaySinceMs?(nodeId: string): number | undefined;
  /** The tenant's route as its owner knows it now; undefined = there is no such tenant. Rejects when the owner is away. */
  reloadRoute?(tenant: number): Promise<TenantRoute | undefined>;
}

export type OpDone = (result: ReplicaResult | undefined) => void;

interface Batch {
  readonly writer: ByteWriter;
  readonly done: OpDone[];
  /** What to send again when it was deferred; riders have none. */
  readonly ops: ReplicaOp[];
  readonly routes: (number | undefined)[];
  /** With a stamp or a state: late ones must be told from those of now. */
  needsDeadline: boolean;
  /** Of the operations written last. */
  route: number | undefined;
  /** Since when the oldest of them is being worked on. */
  sinceMs: number;
  /** Whom to tell when it is late, which it is from then on. */
  late: (() => void)[];
  /** 0 = never. Set once: a stamp that was given up must stay so. */
  lateFromMs: number;
  /** Stamps are among what is late then. */
  givesStampsUp: boolean;
  /** Somebody was told: its stamps are being made elsewhere. */
  isGivenUp: boolean;
  /** What its deadline was reckoned by. */
  calibration: Calibration | undefined;
}

/** What an answer said about the replica's clock, and when (in ours) it came. */
interface Calibration {
  readonly replicaMs: number;
  readonly receivedMs: number;
}

export interface LinkCounts {
  frames: number;
  operations: number;
  failures: number;
  timeouts: number;
}

/** The replica began another life, or its clock stepped: no deadline reckoned by the one is a time of the other. */
function haveJumped(before: Calibration, after: Calibration): boolean {
  const expectedMs = before.replicaMs + after.receivedMs - before.receivedMs;
  return Math.abs(after.replicaMs - expectedMs) > MAX_DEADLINE_LEAD_MS;
}

function newBatch(writer: ByteWriter, sinceMs: number): Batch {
  return {
    writer,
    done: [],
    ops: [],
    routes: [],
    needsDeadline: false,
    route: undefined,
    sinceMs,
    late: [],
    lateFromMs: 0,
    givesStampsUp: false,
    isGivenUp: false,
    calibration: undefined,
  };
}

/** A frame that asks for the replica's clock and changes nothing. */
function clockQuestion(nowMs: number, done: OpDone): Batch {
  const writer = new ByteWriter(16);
  writeOp(writer, { kind: "deadline", atMs: 0 });
  const batch = newBatch(writer, nowMs);
  batch.done.push(done);
  return batch;
}

/** Between two looks at what may be late. Ms. */
const MIN_WATCH_MS = 20;
/** A timer that comes later than this says that we were paused ourselves. Ms. */
const MAX_OWN_PAUSE_MS = 100;
const MAX_SETTLED_PER_FRAME = 4096;
/** A writer that held more is not kept. */
const MAX_SPARE_BYTES = 1024 * 1024;
/** A frame may hold these, however large their answers. */
const MIN_FRAME_OPERATIONS = 8;
const NEEDS_DEADLINE: ReadonlySet<ReplicaOp["kind"]> = new Set(["stamp", "merge", "repair", "heal", "hint"]);
const IGNORE: OpDone = () => undefined;

export class ReplicaLink {
  readonly nodeId: string;
  readonly counts: LinkCounts = { frames: 0, operations: 0, failures: 0, timeouts: 0 };
  readonly #environment: Environment;
  readonly #breaker = new Breaker({ failures: BREAKER_FAILURES, openMs: BREAKER_OPEN_MS });
  #batches: Batch[] = [];
  #spare: ByteWriter | undefined;
  #queuedBytes = 0;
  #framesInFlight = 0;
  #scheduled = false;
  #settled = new Map<number, number[]>();
  #isProbing = false;
  /** Operations a frame may hold: fewer after answers that grew too large, so that what is deferred is not sent again and again. */
  #frameOperations = Number.POSITIVE_INFINITY;
  #fillingUntilMs = 0;
  #calibration: Calibration | undefined;
  readonly #flying = new Set<Batch>();
  /** Longest of the answers of late, the older the less. At first as long as may be: nothing is late before some were quick. */
  #slowestMs: number;
  #isWatching = false;
  #heardMs = Number.NEGATIVE_INFINITY;
  #knockedMs = Number.NEGATIVE_INFINITY;
  /** Something was late and it has not answered since: others are asked first. */
  isStalled = false;
  /** The replica's actor and highest counter, as of its last answer. */
  actor = 0;
  counter = 0;

  constructor(nodeId: string, environment: Environment) {
    this.nodeId = nodeId;
    this.#environment = environment;
    this.#slowestMs = environment.replicaTimeoutMs;
  }

  /** It is not waited for: what is sent fails at once. */
  get isOpen(): boolean {
    return (this.#breaker.isTripped && this.#breaker.isOpen(this.#environment.now())) || this.#isAway;
  }

  /** Its instance is agreed to have failed, and it has not answered since. It is asked now and then, whoever else needs it. */
  get #isAway(): boolean {
    const sinceMs = this.#environment.awaySinceMs?.(this.nodeId);
    if (sinceMs === undefined || this.#heardMs > sinceMs) return false;
    const nowMs = this.#environment.now();
    if (nowMs - this.#knockedMs >= BREAKER_OPEN_MS) {
      this.#knockedMs = nowMs;
      this.#dispatch(clockQuestion(nowMs, IGNORE));
    }
    return true;
  }

  /** It said lately that it is being filled: it takes writes, but neither stamps nor answers reads. */
  get isFilling(): boolean {
    return this.#fillingUntilMs > 0 && this.#environment.now() < this.#fillingUntilMs;
  }

  noteFilling(): void {
    this.#fillingUntilMs = this.#environment.now() + BREAKER_OPEN_MS;
  }

  get isFull(): boolean {
    return this.#queuedBytes >= MAX_LINK_QUEUE_BYTES;
  }

  /**
   * `route`: the revision of the tenant's route by which the operation is sent; undefined = the same as the one before. `sinceMs`: when
   * the request came that it is part of; not needed but for stamps. `late`: called at most once, before `done`, when no answer has come for
   * long. A stamp is not applied any more from then on.
   */
  send(op: ReplicaOp, done: OpDone, route?: number, sinceMs = this.#environment.now(), late?: () => void): void {
    let batch = this.#batches.at(-1);
    if (!batch || batch.writer.length >= MAX_FRAME_BYTES || batch.done.length >= this.#frameOperations) {
      batch = newBatch(this.#spare ?? new ByteWriter(512), sinceMs);
      this.#spare = undefined;
      this.#batches.push(batch);
    }
    if (sinceMs < batch.sinceMs) batch.sinceMs = sinceMs;
    const before = batch.writer.length;
    if (route !== undefined && route !== batch.route) this.#enterRoute(batch, route);
    writeOp(batch.writer, op);
    batch.routes.push(route);
    this.#queuedBytes += batch.writer.length - before;
    batch.done.push(done);
    batch.ops.push(op);
    if (NEEDS_DEADLINE.has(op.kind)) batch.needsDeadline = true;
    if (late) this.#hurry(batch, op, late);
    this.#scheduleFlush();
  }

  #hurry(batch: Batch, { kind }: ReplicaOp, late: () => void): void {
    const { leastPatienceMs, replicaTimeoutMs, now } = this.#environment;
    if (leastPatienceMs === undefined) return;
    if (batch.lateFromMs === 0) {
      const patienceMs = Math.max(leastPatienceMs, LATE_FACTOR * this.#slowestMs);
      if (patienceMs >= replicaTimeoutMs) return;
      batch.lateFromMs = now() + patienceMs;
    }
    if (kind === "stamp") batch.givesStampsUp = true;
    batch.late.push(late);
    if (!this.#isWatching) this.#watch(Math.max(MIN_WATCH_MS, batch.lateFromMs - now()));
  }

  /** One timer for all that may become late. */
  #watch(delayMs: number): void {
    this.#isWatching = true;
    const dueMs = this.#environment.now() + delayMs;
    this.#environment.setTimer(delayMs, () => {
      this.#isWatching = false;
      // Who was paused finds answers waiting behind its timers.
      const wasPaused = this.#environment.now() - dueMs > MAX_OWN_PAUSE_MS;
      if (wasPaused) this.#watch(MIN_WATCH_MS);
      else this.#tellLate(this.#environment.now());
    });
  }

  #tellLate(nowMs: number): void {
    const hurried = [...this.#flying, ...this.#batches].filter(({ late }) => late.length > 0);
    const [due, others] = [[] as Batch[], [] as number[]];
    for (const batch of hurried) {
      if (batch.lateFromMs <= nowMs) due.push(batch);
      else others.push(batch.lateFromMs);
    }
    if (others.length > 0) this.#watch(Math.max(MIN_WATCH_MS, Math.min(...others) - nowMs));
    if (due.length > 0) this.isStalled = true;
    for (const batch of due) {
      batch.isGivenUp = true;
      for (const tell of batch.late.splice(0)) tell();
    }
  }

  #enterRoute(batch: Batch, revision: number): void {
    batch.route = revision;
    const op: ReplicaOp = { kind: "route", revision };
    writeOp(batch.writer, op);
    batch.done.push(IGNORE);
    batch.ops.push(op);
    batch.routes.push(undefined);
  }

  /** Rides along with the next frame; lost knowledge costs a few bytes later, nothing else. */
  noteSettled(actor: number, counter: number): void {
    const counters = this.#settled.get(actor);
    if (!counters) this.#settled.set(actor, [counter]);
    else if (counters.length < MAX_SETTLED_PER_FRAME) counters.push(counter);
  }

  #scheduleFlush(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#environment.schedule(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#batches.length > 0 && this.#framesInFlight < MAX_FRAMES_IN_FLIGHT) {
      if (this.#batches[0]!.needsDeadline && !this.#calibration && !this.isOpen) return this.#probe();
      const batch = this.#batches.shift()!;
      this.#queuedBytes -= batch.writer.length;
      if (this.isOpen) this.#fail(batch.done);
      else this.#dispatch(batch);
    }
  }

  /** Asks for the replica's clock once, before the first stamp or state: without a deadline a late one could apply at any time. */
  #probe(): void {
    if (this.#isProbing) return;
    this.#isProbing = true;
    const done: OpDone = (result) => {
      this.#isProbing = false;
      if (result) return this.#scheduleFlush();
      const waiting = this.#batches;
      this.#batches = [];
      this.#queuedBytes = 0;
      for (const batch of waiting) this.#fail(batch.done);
    };
    this.#dispatch(clockQuestion(this.#environment.now(), done));
  }

  #dispatch(batch: Batch): void {
    for (const [actor, counters] of this.#settled) {
      writeOp(batch.writer, { kind: "settled", actor, counters });
      batch.done.push(IGNORE);
    }
    if (this.#settled.size > 0) this.#settled = new Map();
    if (batch.needsDeadline && this.#calibration) {
      batch.calibration = this.#calibration;
      writeOp(batch.writer, { kind: "deadline", atMs: this.#deadlineMs(batch, this.#calibration) });
      batch.done.push(IGNORE);
    }
    this.#framesInFlight++;
    this.counts.frames++;
    this.counts.operations += batch.done.length;
    this.#flying.add(batch);
    const sentMs = this.#environment.now();
    let open = true;
    const close = (): boolean => {
      if (!open) return false;
      open = false;
      this.#framesInFlight--;
      this.#flying.delete(batch);
      this.#environment.clearTimer(timer);
      if (this.#batches.length > 0) this.#scheduleFlush();
      return true;
    };
    const timer = this.#environment.setTimer(this.#environment.replicaTimeoutMs, () => {
      if (!close()) return;
      this.counts.timeouts++;
      this.#failed(batch.done);
    });
    const frame = batch.writer.take();
    this.#keep(batch.writer);
    this.#environment.call(this.nodeId, frame).then(
      (answer) => {
        if (!close()) return;
        this.#slowestMs = Math.max(this.#environment.now() - sentMs, this.#slowestMs * SLOWEST_KEPT);
        this.#answered(batch, answer);
      },
      () => {
        if (close()) this.#failed(batch.done);
      },
    );
  }

  /** Grown once, used for frame after frame. */
  #keep(writer: ByteWriter): void {
    if (writer.length > MAX_SPARE_BYTES) return;
    writer.reset();
    this.#spare = writer;
  }

  /**
   * When the frame dispatched now, or the stamps in it, are given up here, in the replica's time. At `receivedMs` its clock showed at
   * least `replicaMs`, so a stamp within the deadline is a stamp before the timeout, however far the two clocks are apart. What waited long
   * in the queue has less time: its write may be retried elsewhere by then (spec RP-140).
   */
  #deadlineMs({ sinceMs, lateFromMs, givesStampsUp }: Batch, { replicaMs, receivedMs }: Calibration): number {
    const { now, replicaTimeoutMs } = this.#environment;
    const untilMs = givesStampsUp ? lateFromMs : now() + replicaTimeoutMs;
    const givenUpMs = Math.min(untilMs, sinceMs + FIRST_STAMP_TIMEOUTS * replicaTimeoutMs);
    return Math.max(0, Math.floor(replicaMs + givenUpMs - receivedMs));
  }

  #answered(batch: Batch, answer: Uint8Array): void {
    const { done, ops, routes, sinceMs, isGivenUp } = batch;
    const results: ReplicaResult[] = [];
    let isOfOtherTime = false;
    try {
      const reader = new ByteReader(answer);
      const header = readAnswerHeader(reader);
      for (let i = 0; i < done.length; i++) results.push(readResult(reader));
      this.counter = header.actor === this.actor ? Math.max(header.counter, this.counter) : header.counter;
      this.actor = header.actor;
      const calibration = { replicaMs: header.nowMs, receivedMs: this.#environment.now() };
      isOfOtherTime = batch.calibration !== undefined && haveJumped(batch.calibration, calibration);
      this.#calibration = calibration;
    } catch {
      // A frame that cannot be read says nothing about what was applied: the same as no answer.
      this.#failed(done);
      return;
    }
    this.#breaker.succeeded();
    this.#heardMs = this.#environment.now();
    this.isStalled = false;
    this.#adaptFrames(results);
    for (let i = 0; i < done.length; i++) {
      const result = results[i]!;
      const op = ops[i];
      const code = result.kind === "refused" ? result.code : undefined;
      const isAskedAgain = op && (code === "deferred" || (code === "expired" && isOfOtherTime));
      if (!isAskedAgain) done[i]!(result);
      // Sent again it would have a new deadline.
      else if (isGivenUp && op.kind === "stamp") done[i]!({ kind: "refused", code: "expired", clock: EMPTY_CLOCK });
      else this.send(op, done[i]!, routes[i], sinceMs);
    }
  }

  #adaptFrames(results: readonly ReplicaResult[]): void {
    const deferred = results.findIndex((result) => result.kind === "refused" && result.code === "deferred");
    if (deferred >= 0) this.#frameOperations = Math.max(MIN_FRAME_OPERATIONS, deferred * 2);
    else if (results.length >= this.#frameOperations) this.#frameOperations *= 2;
  }

  #failed(done: readonly OpDone[]): void {
    this.counts.failures++;
    this.#breaker.failed(this.#environment.now());
    this.#fail(done);
  }

  #fail(done: readonly OpDone[]): void {
    for (const callback of done) callback(undefined);
  }
}
