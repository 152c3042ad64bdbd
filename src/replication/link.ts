// The way to one replica: gathers the operations of a turn into one frame, bounds what is queued and under way, times out, and
// trips a breaker. Guarantees: each operation's callback runs exactly once, with the result or with undefined (not known to have
// been applied, and not known not to have been). A late answer changes nothing. Must not: retry; that is the caller's decision.
import type { DirectoryView, TenantRoute } from "../access/types.ts";
import { Breaker } from "../cluster/breaker.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import { type ReplicaOp, type ReplicaResult, readResult, writeOp } from "./frames.ts";
import {
  BREAKER_FAILURES,
  BREAKER_OPEN_MS,
  FIRST_STAMP_TIMEOUTS,
  MAX_FRAME_BYTES,
  MAX_FRAMES_IN_FLIGHT,
  MAX_LINK_QUEUE_BYTES,
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
  /** The tenant's route as its owner knows it now; undefined = there is no such tenant. Rejects when the owner is away. */
  reloadRoute?(tenant: number): Promise<TenantRoute | undefined>;
  /** The ring as its owner knows it now. */
  reloadView?(): Promise<DirectoryView>;
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

function newBatch(writer: ByteWriter, sinceMs: number): Batch {
  return { writer, done: [], ops: [], routes: [], needsDeadline: false, route: undefined, sinceMs };
}

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
  /** The replica's actor and highest counter, as of its last answer. */
  actor = 0;
  counter = 0;

  constructor(nodeId: string, environment: Environment) {
    this.nodeId = nodeId;
    this.#environment = environment;
  }

  get isOpen(): boolean {
    return this.#breaker.isTripped && this.#breaker.isOpen(this.#environment.now());
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
   * `route`: the revisions (fence.ts) of ring and tenant's route by which the operation is sent; undefined = the same as the one before. `sinceMs`: when
   * the request came that it is part of; not needed but for stamps.
   */
  send(op: ReplicaOp, done: OpDone, route?: number, sinceMs = this.#environment.now()): void {
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
    this.#scheduleFlush();
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
    const writer = new ByteWriter(16);
    writeOp(writer, { kind: "deadline", atMs: 0 });
    const done: OpDone = (result) => {
      this.#isProbing = false;
      if (result) return this.#scheduleFlush();
      const waiting = this.#batches;
      this.#batches = [];
      this.#queuedBytes = 0;
      for (const batch of waiting) this.#fail(batch.done);
    };
    const probe = newBatch(writer, this.#environment.now());
    probe.done.push(done);
    this.#dispatch(probe);
  }

  #dispatch(batch: Batch): void {
    for (const [actor, counters] of this.#settled) {
      writeOp(batch.writer, { kind: "settled", actor, counters });
      batch.done.push(IGNORE);
    }
    if (this.#settled.size > 0) this.#settled = new Map();
    if (batch.needsDeadline && this.#calibration) {
      writeOp(batch.writer, { kind: "deadline", atMs: this.#deadlineMs(batch, this.#calibration) });
      batch.done.push(IGNORE);
    }
    this.#framesInFlight++;
    this.counts.frames++;
    this.counts.operations += batch.done.length;
    let open = true;
    const close = (): boolean => {
      if (!open) return false;
      open = false;
      this.#framesInFlight--;
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
        if (close()) this.#answered(batch, answer);
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
   * When the frame dispatched now is given up here, in the replica's time. At `receivedMs` its clock showed at least `replicaMs`,
   * so a stamp within the deadline is a stamp before the timeout, however far the two clocks are apart. What waited long in the queue
   * has less time: its write may be retried elsewhere by then (spec RP-140).
   */
  #deadlineMs({ sinceMs }: Batch, { replicaMs, receivedMs }: Calibration): number {
    const { now, replicaTimeoutMs } = this.#environment;
    const givenUpMs = Math.min(now() + replicaTimeoutMs, sinceMs + FIRST_STAMP_TIMEOUTS * replicaTimeoutMs);
    return Math.max(0, Math.floor(replicaMs + givenUpMs - receivedMs));
  }

  #answered({ done, ops, routes, sinceMs }: Batch, answer: Uint8Array): void {
    const results: ReplicaResult[] = [];
    try {
      const reader = new ByteReader(answer);
      const header = readAnswerHeader(reader);
      for (let i = 0; i < done.length; i++) results.push(readResult(reader));
      this.counter = header.actor === this.actor ? Math.max(header.counter, this.counter) : header.counter;
      this.actor = header.actor;
      this.#calibration = { replicaMs: header.nowMs, receivedMs: this.#environment.now() };
    } catch {
      // A frame that cannot be read says nothing about what was applied: the same as no answer.
      this.#failed(done);
      return;
    }
    this.#breaker.succeeded();
    this.#adaptFrames(results);
    for (let i = 0; i < done.length; i++) {
      const result = results[i]!;
      const op = ops[i];
      if (op && result.kind === "refused" && result.code === "deferred") this.send(op, done[i]!, routes[i], sinceMs);
      else done[i]!(result);
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
