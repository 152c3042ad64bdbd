// A subscription's decisions: what an answer of the receiver changes, when the next attempt is due, when to give up.
// Guarantees: the cursor moves after a 2xx, or past what is recorded as a dead letter and asked to be skipped, and never else; the events
// of a request that was begun stay the same. Must not: do I/O; time and randomness come from outside.
import { MAX_DEAD_LETTER_EVENTS, MAX_RETRY_AFTER_MS, MAX_WEBHOOK_BACKOFF_MS } from "./limits.ts";
import { eventId, shownEventKey } from "./webhook-message.ts";
import type { Cursor, DeadLetter, WebhookEvent, WebhookProgress, WebhookTarget } from "./webhook-types.ts";

/** What came of an attempt. */
export type Outcome =
  | { readonly kind: "delivered" }
  /** 410: the receiver wants no more. */
  | { readonly kind: "gone" }
  | { readonly kind: "failed"; readonly error: string; readonly retryAfterMs?: number | undefined };

const IDLE = { end: null, attempts: 0, firstAttemptMs: 0, nextAttemptMs: 0 } as const;

export function firstProgress(startRevision: number): WebhookProgress {
  return {
    ...IDLE,
    ...{ state: "active", reason: null, cursor: { revision: startRevision, index: 0 } },
    ...{ lastError: null, lastDeliveredMs: 0, compactedRevision: 0, epoch: 0 },
  };
}

/** The full jitter of AWS's "Exponential backoff and jitter": anything up to a bound that doubles. Ms. */
export function backoffMs(attempts: number, baseMs: number, random: number): number {
  return Math.round(random * Math.min(MAX_WEBHOOK_BACKOFF_MS, baseMs * 2 ** Math.min(attempts - 1, 30)));
}

/** Seconds or an HTTP date, as RFC 9110 10.2.3 has it; undefined = neither. Ms from now. */
export function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const text = header.trim();
  const ms = /^[0-9]{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(MAX_RETRY_AFTER_MS, Math.max(0, ms));
}

/** A status of 300 to 399 fails: redirects are not followed. */
export function outcomeOf(status: number, retryAfter: string | null, nowMs: number): Outcome {
  if (status >= 200 && status < 300) return { kind: "delivered" };
  if (status === 410) return { kind: "gone" };
  const isAsked = status === 429 || status === 503;
  const error = status >= 300 && status < 400 ? `status ${status}: redirects are not followed` : `status ${status}`;
  return { kind: "failed", error, retryAfterMs: isAsked ? parseRetryAfter(retryAfter, nowMs) : undefined };
}

export function begun(progress: WebhookProgress, first: Cursor, end: Cursor): WebhookProgress {
  const { revision, index } = first;
  return { ...progress, cursor: { revision, index }, end };
}

export interface Judged {
  readonly progress: WebhookProgress;
  readonly deadLetter?: DeadLetter;
}

export interface Attempt {
  readonly subscription: string;
  readonly target: WebhookTarget;
  readonly events: readonly WebhookEvent[];
  readonly startedMs: number;
  readonly nowMs: number;
  /** 0 to 1. */
  readonly random: number;
}

/** `progress` has an `end`. */
export function judged(progress: WebhookProgress, outcome: Outcome, attempt: Attempt): Judged {
  const { target, startedMs, nowMs, random } = attempt;
  if (outcome.kind === "delivered") {
    const cursor = progress.end!;
    return { progress: { ...progress, ...IDLE, cursor, lastError: null, lastDeliveredMs: nowMs } };
  }
  const attempts = progress.attempts + 1;
  const firstAttemptMs = progress.attempts === 0 ? startedMs : progress.firstAttemptMs;
  if (outcome.kind === "gone") {
    const lastError = "status 410: the receiver wants no more";
    return { progress: { ...progress, ...paused("gone"), attempts, firstAttemptMs, lastError } };
  }
  const { error: lastError, retryAfterMs = 0 } = outcome;
  const isOld = nowMs - firstAttemptMs >= target.maxAgeSeconds * 1000;
  if (attempts < target.maxAttempts && !isOld) {
    const pauseMs = Math.max(retryAfterMs, backoffMs(attempts, target.retryBaseMs, random));
    return { progress: { ...progress, attempts, firstAttemptMs, lastError, nextAttemptMs: nowMs + pauseMs } };
  }
  const deadLetter = deadLetterOf(attempt, { attempts, firstAttemptMs, error: lastError });
  if (target.onDeadLetter === "skip")
    return { progress: { ...progress, ...IDLE, cursor: progress.end!, lastError }, deadLetter };
  return { progress: { ...progress, ...paused("deadLetter"), attempts, firstAttemptMs, lastError }, deadLetter };
}

function paused(reason: WebhookProgress["reason"]) {
  return { state: "paused", reason, nextAttemptMs: 0 } as const;
}

function deadLetterOf(
  { subscription, events, nowMs }: Attempt,
  { attempts, firstAttemptMs, error }: { attempts: number; firstAttemptMs: number; error: string },
): DeadLetter {
  const shown = events.slice(0, MAX_DEAD_LETTER_EVENTS).map((event) => ({
    ...{ id: eventId(subscription, event), type: event.type, key: shownEventKey(event.key) },
  }));
  return {
    ...{
      id: eventId(subscription, events[0]!),
      fromRevision: events[0]!.revision,
      toRevision: events.at(-1)!.revision,
    },
    ...{ events: shown, eventCount: events.length, attempts, error, firstAttemptMs, atMs: nowMs },
  };
}

export function compactedAway(progress: WebhookProgress, compactedRevision: number): WebhookProgress {
  const lastError = `revision ${progress.cursor.revision} is compacted; the oldest that can be read is ${compactedRevision}`;
  return { ...progress, ...paused("compacted"), lastError, compactedRevision };
}

/** A receiver that is asked again by its owner starts with all attempts. */
export function resumed(progress: WebhookProgress): WebhookProgress {
  if (progress.state === "active") return progress;
  return { ...progress, state: "active", reason: null, attempts: 0, firstAttemptMs: 0, nextAttemptMs: 0 };
}

export function pausedByOwner(progress: WebhookProgress): WebhookProgress {
  return progress.state === "paused" ? progress : { ...progress, ...paused("asked") };
}

/** Past the dead letter that it stands at. */
export function skipped(progress: WebhookProgress): WebhookProgress {
  return { ...progress, ...IDLE, cursor: progress.end ?? progress.cursor };
}

/** From the beginning of a revision on, events that were delivered included. The state stays, but for what the replay cures. */
export function replayed(progress: WebhookProgress, fromRevision: number): WebhookProgress {
  const moved = { ...progress, ...IDLE, cursor: { revision: fromRevision, index: 0 }, epoch: progress.epoch + 1 };
  const isCured = progress.reason === "compacted" || progress.reason === "deadLetter";
  return { ...(isCured ? resumed(moved) : moved), compactedRevision: 0 };
}
