// One call on its way through a session, and what its answer becomes.
// Guarantees: it settles once; a write that may have been applied never fails with anything but a definite answer or unknownOutcome.
import { type Clock, clockToMap } from "../wire/clock.ts";
import type { Consistency, SessionAnswer, SessionRequest } from "../wire/session.ts";
import { JadeError, mayHaveApplied, unknownOutcome } from "./errors.ts";
import type { GetResult, SiblingValue } from "./types.ts";
import { toHex } from "./write-id.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Ids, flags and varints around key and value. */
const FRAME_OVERHEAD_BYTES = 64;

export type SessionOp = "put" | "get" | "delete" | "config" | "vector";

export interface SessionCallInput {
  readonly op: SessionOp;
  readonly key: string;
  /** Of `config` and `vector`: it changes nothing. */
  readonly isRead?: boolean | undefined;
  /** Of `config`: see SessionRequest. */
  readonly isOwned?: boolean | undefined;
  readonly consistency?: Consistency | undefined;
  readonly writeId?: Uint8Array | undefined;
  readonly isRetry?: boolean | undefined;
  readonly bodyHash?: Uint8Array | undefined;
  readonly clock?: Clock | undefined;
  readonly value?: Uint8Array | undefined;
  /** Of a read: give the value's text, not what it means. */
  readonly isRaw: boolean;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

/** Has the shape of {@link SessionRequest}, so it is written to the frame as it is. */
export class SessionCall implements SessionRequest {
  /** Set each time it is sent. */
  id = 0;
  readonly op: SessionOp;
  readonly key: string;
  readonly isOwned: boolean | undefined;
  readonly #isRead: boolean;
  readonly consistency: Consistency | undefined;
  readonly writeId: Uint8Array | undefined;
  isRetry: boolean;
  readonly bodyHash: Uint8Array | undefined;
  readonly clock: Clock | undefined;
  readonly value: Uint8Array | undefined;
  readonly isRaw: boolean;
  readonly deadlineMs: number;
  /** What it counts for `maxInFlightBytes`. */
  readonly byteCount: number;
  /** How often it was sent. */
  attempts = 0;
  isDone = false;
  #maybeApplied = false;
  readonly #resolve: (result: never) => void;
  readonly #reject: (error: unknown) => void;
  readonly #signal: AbortSignal | undefined;
  #onAbort: (() => void) | undefined;

  constructor(input: SessionCallInput) {
    this.op = input.op;
    this.key = input.key;
    this.isOwned = input.isOwned;
    this.#isRead = input.op === "get" || input.isRead === true;
    this.consistency = input.consistency;
    this.writeId = input.writeId;
    this.isRetry = input.isRetry === true;
    this.bodyHash = input.bodyHash;
    this.clock = input.clock;
    this.value = input.value;
    this.isRaw = input.isRaw;
    this.deadlineMs = input.deadlineMs;
    this.byteCount = FRAME_OVERHEAD_BYTES + input.key.length + (input.value?.length ?? 0);
    this.#resolve = input.resolve;
    this.#reject = input.reject;
    this.#signal = input.signal;
  }

  /** Rejects with the signal's reason when it aborts, then calls `release`. */
  watchAbort(release: () => void): void {
    const signal = this.#signal;
    if (!signal) return;
    this.#onAbort = () => {
      this.#settle();
      this.#reject(signal.reason);
      release();
    };
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  #settle(): void {
    this.isDone = true;
    if (this.#onAbort) this.#signal?.removeEventListener("abort", this.#onAbort);
  }

  /** An attempt ended without a final answer: what comes next is a repetition. */
  noteFailedAttempt(error: JadeError): void {
    if (this.#isRead) return;
    this.isRetry = true;
    this.#maybeApplied ||= mayHaveApplied(error);
  }

  /** Gives up. `isSent`: an attempt is on its way whose answer will not be waited for. */
  fail(error: JadeError, isSent: boolean): void {
    if (this.isDone) return;
    this.#settle();
    const isUncertain = !this.#isRead && error.retryable && (this.#maybeApplied || (isSent && mayHaveApplied(error)));
    this.#reject(isUncertain && this.writeId ? unknownOutcome(toHex(this.writeId), this.attempts, error) : error);
  }

  /** Final: anything but an error. */
  succeed(answer: Exclude<SessionAnswer, { readonly kind: "error" }>): void {
    if (this.isDone) return;
    this.#settle();
    try {
      this.#resolve(this.#result(answer) as never);
    } catch (cause) {
      this.#reject(new JadeError("badAnswer", `the answer to ${this.op} could not be read`, { cause }));
    }
  }

  #result(answer: Exclude<SessionAnswer, { readonly kind: "error" }>): unknown {
    const key = this.key;
    if (this.op === "config" || this.op === "vector") {
      if (answer.kind !== this.op) throw new TypeError(`a call of ${this.op} was answered with ${answer.kind}`);
      return answer.body;
    }
    if (answer.kind === "written" && this.op !== "get") return { key, vectorClock: clockToMap(answer.clock) };
    if (this.op !== "get") throw new TypeError(`a write was answered with ${answer.kind}`);
    if (answer.kind === "notFound") {
      const vectorClock = clockToMap(answer.clock);
      return {
        found: false,
        key,
        value: undefined,
        vectorClock,
        conflict: false,
        siblings: [],
      } satisfies GetResult<never>;
    }
    if (answer.kind !== "value") throw new TypeError(`a read was answered with ${answer.kind}`);
    return {
      found: true,
      key,
      value: this.#decode(answer.value),
      vectorClock: clockToMap(answer.clock),
      conflict: answer.siblings !== undefined,
      siblings: (answer.siblings ?? []).map(
        (sibling): SiblingValue<unknown> => ({
          value: sibling.value && this.#decode(sibling.value),
          vectorClock: clockToMap(sibling.clock),
        }),
      ),
    } satisfies GetResult<unknown>;
  }

  #decode(value: Uint8Array): unknown {
    const text = decoder.decode(value);
    return this.isRaw ? text : JSON.parse(text);
  }
}

export function errorOfAnswer(answer: Extract<SessionAnswer, { readonly kind: "error" }>): JadeError {
  const seconds = answer.details?.retryAfterSeconds;
  return new JadeError(answer.code, answer.message, {
    details: answer.details,
    retryAfterMs: typeof seconds === "number" ? seconds * 1000 : undefined,
  });
}
