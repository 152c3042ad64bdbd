// The session: many calls over one WebSocket, answers in any order, and what happens when the connection breaks.
// Guarantees: calls of a turn go out in one message; sent calls and bytes stay within their bounds, others wait in order; after a
// break every unanswered call is sent again (writes marked as retries) until its attempts or its deadline are used up.
// Invariant: every live call is in exactly one of #queue, #inFlight, #resting.
import { ByteWriter } from "../wire/bytes.ts";
import { readConfigFailure } from "../wire/config-answers.ts";
import { readAnswers, type SessionAnswer, writeRequest } from "../wire/session.ts";
import { JadeError } from "./errors.ts";
import type { ResolvedOptions } from "./options.ts";
import { backoffMs } from "./retry.ts";
import { errorOfAnswer, type SessionCall } from "./session-call.ts";
import { SessionLink } from "./session-link.ts";

/** A message is closed when it has grown past this; one larger request still goes out whole. */
const MESSAGE_BYTES = 256 * 1024;
/** How late a deadline may be noticed. */
const SWEEP_MS = 50;
const MAX_ID = 0xffffffff;

export class Session {
  readonly #options: ResolvedOptions;
  /** Asks over HTTP why a session does not open; undefined = the answer does not say. */
  readonly #diagnose: () => Promise<JadeError | undefined>;
  readonly #writer = new ByteWriter(64 * 1024);
  #link: SessionLink | undefined;
  #queue: SessionCall[] = [];
  #queueHead = 0;
  readonly #inFlight = new Map<number, SessionCall>();
  #inFlightBytes = 0;
  /** Waiting out a backoff. */
  readonly #resting = new Set<SessionCall>();
  #lastId = 0;
  #failedOpenings = 0;
  #isFlushScheduled = false;
  #isReconnectScheduled = false;
  #cancelSweep: (() => void) | undefined;
  #isClosed = false;

  constructor(options: ResolvedOptions, diagnose: () => Promise<JadeError | undefined>) {
    this.#options = options;
    this.#diagnose = diagnose;
  }

  submit(call: SessionCall): void {
    if (this.#isClosed) {
      call.fail(new JadeError("clientClosed", "the client was closed"), false);
      return;
    }
    if (this.#queue.length - this.#queueHead >= this.#options.session.maxWaiting) {
      const limit = this.#options.session.maxWaiting;
      call.fail(new JadeError("tooManyWaiting", `${limit} calls wait already, the limit is ${limit}`), false);
      return;
    }
    call.watchAbort(() => this.#release(call));
    if (call.isDone) return;
    this.#queue.push(call);
    this.#scheduleFlush();
  }

  close(): void {
    this.#isClosed = true;
    const error = new JadeError("clientClosed", "the client was closed");
    this.#link?.close(error);
    for (const call of this.#takeAll()) call.fail(error, false);
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    this.#options.runtime.defer(() => {
      this.#isFlushScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#isClosed || this.#queueHead >= this.#queue.length) return;
    if (!this.#cancelSweep) this.#scheduleSweep();
    if (!this.#link) {
      this.#connect();
      return;
    }
    if (!this.#link.isOpen) return;
    const { maxInFlight, maxInFlightBytes } = this.#options.session;
    const writer = this.#writer;
    writer.reset();
    while (this.#queueHead < this.#queue.length) {
      if (this.#inFlight.size >= maxInFlight || this.#inFlightBytes >= maxInFlightBytes) break;
      const call = this.#queue[this.#queueHead++]!;
      if (call.isDone) continue;
      this.#register(call);
      writeRequest(writer, call);
      if (writer.length >= MESSAGE_BYTES) this.#send();
    }
    if (writer.length > 0) this.#send();
    this.#compactQueue();
  }

  #send(): void {
    const frame = this.#writer.take();
    this.#writer.reset();
    this.#link?.send(frame);
  }

  #register(call: SessionCall): void {
    do {
      this.#lastId = this.#lastId >= MAX_ID ? 1 : this.#lastId + 1;
    } while (this.#inFlight.has(this.#lastId));
    call.id = this.#lastId;
    call.attempts++;
    this.#inFlight.set(call.id, call);
    this.#inFlightBytes += call.byteCount;
  }

  #compactQueue(): void {
    if (this.#queueHead === this.#queue.length) {
      this.#queue.length = 0;
      this.#queueHead = 0;
    } else if (this.#queueHead > 4096) {
      this.#queue.splice(0, this.#queueHead);
      this.#queueHead = 0;
    }
  }

  /** Forgets a call that settled by itself. In the queue it is skipped when its turn comes. */
  #release(call: SessionCall): void {
    this.#resting.delete(call);
    if (this.#inFlight.get(call.id) !== call) return;
    this.#inFlight.delete(call.id);
    this.#inFlightBytes -= call.byteCount;
    this.#scheduleFlush();
  }

  #onFrame(frame: Uint8Array): void {
    for (const answer of readAnswers(frame)) {
      const call = this.#inFlight.get(answer.id);
      if (!call) continue; // a pong, or a call that was given up
      this.#inFlight.delete(answer.id);
      this.#inFlightBytes -= call.byteCount;
      const failure = failureOf(answer);
      if (failure) this.#onError(call, failure);
      else call.succeed(answer as Exclude<SessionAnswer, { readonly kind: "error" }>);
    }
    if (this.#queueHead < this.#queue.length) this.#scheduleFlush();
  }

  #onError(call: SessionCall, answer: Extract<SessionAnswer, { readonly kind: "error" }>): void {
    const error = errorOfAnswer(answer);
    if (!error.retryable) {
      call.fail(error, false);
      return;
    }
    call.noteFailedAttempt(error);
    const { runtime, retries } = this.#options;
    const { retryAfterMs } = error;
    const delayMs = backoffMs({ policy: retries, attempt: call.attempts, random: runtime.random(), retryAfterMs });
    if (call.attempts >= retries.attempts || runtime.now() + delayMs >= call.deadlineMs) {
      call.fail(error, false);
      return;
    }
    this.#resting.add(call);
    runtime.after(delayMs, () => {
      if (!this.#resting.delete(call) || call.isDone) return;
      this.#queue.push(call);
      this.#scheduleFlush();
    });
  }

  #connect(): void {
    if (this.#isReconnectScheduled) return;
    let hasOpened = false;
    const events = {
      onOpen: () => {
        hasOpened = true;
        this.#failedOpenings = 0;
        this.#flush();
      },
      onFrame: (frame: Uint8Array) => this.#onFrame(frame),
      onDown: (error: JadeError) => void this.#onDown(error, hasOpened),
    };
    try {
      this.#link = new SessionLink(this.#options, events);
    } catch (cause) {
      const error = new JadeError("networkFailure", `the WebSocket was refused: ${String(cause)}`, { cause });
      for (const call of this.#takeAll()) call.fail(error, false);
    }
  }

  async #onDown(error: JadeError, hadOpened: boolean): Promise<void> {
    this.#link = undefined;
    if (this.#isClosed) return;
    this.#requeueInFlight(error);
    if (!hadOpened) {
      this.#failedOpenings++;
      this.#isReconnectScheduled = true; // holds #connect back while asking
      const refusal = await this.#diagnose();
      this.#isReconnectScheduled = false;
      if (this.#isClosed) return;
      if (refusal || this.#failedOpenings >= this.#options.retries.attempts) {
        this.#failedOpenings = 0;
        for (const call of this.#takeAll()) call.fail(refusal ?? error, false);
        return;
      }
    }
    this.#scheduleReconnect();
  }

  /** What was sent and not answered comes before what waits, in its old order. */
  #requeueInFlight(error: JadeError): void {
    const again: SessionCall[] = [];
    for (const call of this.#inFlight.values()) {
      call.noteFailedAttempt(error);
      if (call.attempts >= this.#options.retries.attempts) call.fail(error, true);
      else again.push(call);
    }
    this.#inFlight.clear();
    this.#inFlightBytes = 0;
    this.#queue = again.concat(this.#queue.slice(this.#queueHead));
    this.#queueHead = 0;
  }

  #scheduleReconnect(): void {
    const { runtime, retries } = this.#options;
    this.#isReconnectScheduled = true;
    const attempt = Math.max(1, this.#failedOpenings);
    runtime.after(backoffMs({ policy: retries, attempt, random: runtime.random() }), () => {
      this.#isReconnectScheduled = false;
      this.#flush(); // connects if anything waits
    });
  }

  /** All live calls, which are then forgotten here. */
  #takeAll(): SessionCall[] {
    const calls = [...this.#inFlight.values(), ...this.#queue.slice(this.#queueHead), ...this.#resting];
    this.#inFlight.clear();
    this.#inFlightBytes = 0;
    this.#queue = [];
    this.#queueHead = 0;
    this.#resting.clear();
    return calls;
  }

  #scheduleSweep(): void {
    this.#cancelSweep = this.#options.runtime.after(SWEEP_MS, () => {
      this.#cancelSweep = undefined;
      this.#sweep();
      if (this.#inFlight.size + this.#resting.size > 0 || this.#queueHead < this.#queue.length) this.#scheduleSweep();
    });
  }

  /** Fails what is past its deadline. */
  #sweep(): void {
    const now = this.#options.runtime.now();
    const expire = (call: SessionCall, isSent: boolean) => {
      if (call.isDone || call.deadlineMs > now) return;
      call.fail(new JadeError("timedOut", "no answer within the call's time limit"), isSent);
      this.#release(call);
    };
    for (const call of this.#inFlight.values()) expire(call, true);
    for (const call of this.#resting) expire(call, false);
    for (let i = this.#queueHead; i < this.#queue.length; i++) expire(this.#queue[i]!, false);
  }
}

type Failure = Extract<SessionAnswer, { readonly kind: "error" }>;

/** Of the Coordinator, or of the keyspace that a call went to. */
function failureOf(answer: SessionAnswer): Failure | undefined {
  if (answer.kind === "error") return answer;
  if (answer.kind !== "config") return undefined;
  const failure = readConfigFailure(answer.body);
  return failure && { ...failure, id: answer.id };
}
