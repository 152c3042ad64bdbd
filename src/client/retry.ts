// When to try again: exponential backoff with full jitter, never earlier than the server asked, never past the deadline.
// Guarantees: an attempt is repeated only after a retryable JadeError; a write that may have been applied ends as unknownOutcome.
import { JadeError, mayHaveApplied, unknownOutcome } from "./errors.ts";
import type { ClientRuntime } from "./runtime.ts";

export interface RetryPolicy {
  /** All attempts, the first included. 1 = no retry. */
  readonly attempts: number;
  readonly baseMs: number;
  readonly maxMs: number;
}

export interface BackoffInput {
  readonly policy: RetryPolicy;
  /** Attempts made so far, ≥ 1. */
  readonly attempt: number;
  /** In [0, 1). */
  readonly random: number;
  readonly retryAfterMs?: number | undefined;
}

/** Full jitter: uniform in [0, min(maxMs, baseMs × 2^(attempt-1))), added to what the server asked for. */
export function backoffMs({ policy, attempt, random, retryAfterMs }: BackoffInput): number {
  const ceiling = Math.min(policy.maxMs, policy.baseMs * 2 ** Math.min(attempt - 1, 30));
  return (retryAfterMs ?? 0) + random * ceiling;
}

/** Waits; rejects with `signal.reason` on abort. */
export function sleep(runtime: ClientRuntime, delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = runtime.after(delayMs, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

export interface RetryRun<T> {
  readonly runtime: ClientRuntime;
  readonly policy: RetryPolicy;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Present for mutations. */
  readonly writeId?: string | undefined;
  /** One attempt, numbered from 1. Throws JadeError, or the abort's reason. */
  attempt(number: number): Promise<T>;
}

export async function withRetries<T>(run: RetryRun<T>): Promise<T> {
  const { runtime, policy, deadlineMs, signal, writeId } = run;
  let maybeApplied = false;
  for (let number = 1; ; number++) {
    signal?.throwIfAborted();
    try {
      return await run.attempt(number);
    } catch (error) {
      if (!(error instanceof JadeError) || !error.retryable) throw error;
      maybeApplied ||= mayHaveApplied(error);
      const delayMs = backoffMs({
        policy,
        attempt: number,
        random: runtime.random(),
        retryAfterMs: error.retryAfterMs,
      });
      if (number >= policy.attempts || runtime.now() + delayMs >= deadlineMs) {
        throw maybeApplied && writeId !== undefined ? unknownOutcome(writeId, number, error) : error;
      }
      await sleep(runtime, delayMs, signal);
    }
  }
}
