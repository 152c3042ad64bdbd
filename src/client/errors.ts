// The one error class of the SDK, and how answers and failures become it.
// Guarantees: `retryable` and `category` come from the shared table; no API key or value is ever part of a message.
import { ERROR_CODES, type ErrorCategory, type ErrorCode, isErrorCode } from "../wire/error-codes.ts";

/** Failures that happen on this side of the connection. */
const CLIENT_CODES = {
  networkFailure: {
    status: 0,
    category: "availability",
    retryable: true,
    help: "The server could not be reached or the connection broke. Check the url and that the server runs.",
  },
  timedOut: {
    status: 0,
    category: "availability",
    retryable: true,
    help: "No answer within the time limit. Raise `timeoutMs` or look at the server's load.",
  },
  clientClosed: {
    status: 0,
    category: "state",
    retryable: false,
    help: "close() was called on this client. Make a new one.",
  },
  tooManyWaiting: {
    status: 0,
    category: "capacity",
    retryable: true,
    help: "More calls wait for the session than `session.maxWaiting`. Await earlier calls, or raise it.",
  },
  badAnswer: {
    status: 0,
    category: "internal",
    retryable: true,
    help: "The answer is not one of JadeDB. Check that the url points to a JadeDB server.",
  },
} as const;

export type ClientErrorCode = keyof typeof CLIENT_CODES;
export type JadeErrorCode = ErrorCode | ClientErrorCode;

export interface JadeErrorFields {
  readonly status?: number | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
  readonly requestId?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

function infoOf(code: string, status: number) {
  if (isErrorCode(code)) return ERROR_CODES[code];
  if (Object.hasOwn(CLIENT_CODES, code)) return CLIENT_CODES[code as ClientErrorCode];
  const retryable = status === 429 || status >= 500;
  const category: ErrorCategory = status >= 500 ? "internal" : "request";
  return { status, category, retryable, help: "A code this SDK does not know. Update the SDK." };
}

/** Everything the SDK rejects with, but for `signal.reason` after an abort and `TypeError` for wrong arguments. */
export class JadeError extends Error {
  override readonly name = "JadeError";
  /** One of docs/errors.md, or one of this side: networkFailure, timedOut, clientClosed, tooManyWaiting, badAnswer. */
  readonly code: JadeErrorCode;
  readonly category: ErrorCategory;
  /** The same call may succeed later. The SDK already retried; a write must be repeated with the same write id. */
  readonly retryable: boolean;
  /** HTTP status, 0 if none was received. */
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>>;
  readonly requestId: string | undefined;
  /** What the server asked to wait before the next attempt. */
  readonly retryAfterMs: number | undefined;
  /** What to do about it. */
  readonly help: string;

  constructor(code: string, message: string, fields: JadeErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    const info = infoOf(code, fields.status ?? 0);
    this.code = code as JadeErrorCode;
    this.category = info.category;
    this.retryable = info.retryable;
    this.status = fields.status ?? info.status;
    this.details = fields.details ?? {};
    this.requestId = fields.requestId;
    this.retryAfterMs = fields.retryAfterMs;
    this.help = info.help;
  }

  /** Of a write whose outcome is unknown: the id to repeat it with. */
  get writeId(): string | undefined {
    const id = this.details.writeId;
    return typeof id === "string" ? id : undefined;
  }
}

export function isJadeError(error: unknown): error is JadeError {
  return error instanceof JadeError;
}

/** A JadeError with one of these codes. (Narrower than JadeError, so that the other branch of a test keeps its type.) */
export type JadeErrorOf<Code extends JadeErrorCode> = JadeError & { readonly code: Code };

function hasCode<Code extends JadeErrorCode>(error: unknown, ...codes: Code[]): error is JadeErrorOf<Code> {
  return error instanceof JadeError && (codes as JadeErrorCode[]).includes(error.code);
}

/** A tenant, key or route that does not exist. (`kv.get` of a missing key does not throw.) */
export const isNotFound = (error: unknown): error is JadeErrorOf<"notFound"> => hasCode(error, "notFound");

/** The state at the server forbids it: exists already, too many siblings, another body under one write id, a quota used up. */
export const isConflict = (
  error: unknown,
): error is JadeErrorOf<"conflict" | "alreadyExists" | "tooManySiblings" | "idempotencyKeyReused" | "quotaExceeded"> =>
  hasCode(error, "conflict", "alreadyExists", "tooManySiblings", "idempotencyKeyReused", "quotaExceeded");

/** A condition of a write does not hold; `details.current` is the key as it is, or null. */
export const isPreconditionFailed = (error: unknown): error is JadeErrorOf<"preconditionFailed"> =>
  hasCode(error, "preconditionFailed");

/** The revision is gone: begin with the present state. */
export const isCompacted = (error: unknown): error is JadeErrorOf<"compacted"> => hasCode(error, "compacted");

/** The lease expired or was revoked, and its keys are deleted. */
export const isLeaseNotFound = (error: unknown): error is JadeErrorOf<"leaseNotFound"> =>
  hasCode(error, "leaseNotFound");

/** The time to stand in line for a lock or an election is over; `details.fencingToken` is its owner's. */
export const isLockNotAcquired = (error: unknown): error is JadeErrorOf<"lockNotAcquired"> =>
  hasCode(error, "lockNotAcquired");

/** The API key is missing, unknown, expired, revoked or of too small a scope. */
export const isAccessDenied = (error: unknown): error is JadeErrorOf<"unauthenticated" | "forbidden"> =>
  hasCode(error, "unauthenticated", "forbidden");

/** A write may or may not have been applied: repeat it with `error.writeId`. */
export const isUnknownOutcome = (error: unknown): error is JadeErrorOf<"unknownOutcome"> =>
  hasCode(error, "unknownOutcome");

/** The server, or enough of it, could not be reached in time. */
export const isUnavailable = (error: unknown): error is JadeError & { readonly category: "availability" } =>
  error instanceof JadeError && error.category === "availability";

/** Answers that promise that nothing was done; after any other failure a write may have been applied. */
const NOTHING_DONE = new Set<string>([
  "overloaded",
  "quorumUnavailable",
  "unavailable",
  "rateLimited",
  "tooManyWaiting",
]);

/** Of Node's sockets: there was no connection, so that nothing was sent. */
const NEVER_CONNECTED = new Set<unknown>(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"]);

function wasNeverSent({ code, cause }: JadeError): boolean {
  const inner = code === "networkFailure" && cause instanceof Error ? cause.cause : undefined;
  // Each address of a name that was tried.
  const failures: readonly unknown[] = inner instanceof AggregateError ? inner.errors : [inner];
  return failures.every((failure) => NEVER_CONNECTED.has((failure as { code?: unknown } | undefined)?.code));
}

export function mayHaveApplied(error: JadeError): boolean {
  return error.retryable && !NOTHING_DONE.has(error.code) && !wasNeverSent(error);
}

/** What a write ends with when its attempts are used up and one of them may have been applied. */
export function unknownOutcome(writeId: string, attempts: number, last: JadeError): JadeError {
  const times = attempts === 1 ? "1 attempt" : `${attempts} attempts`;
  return new JadeError(
    "unknownOutcome",
    `the write may or may not have been applied (${times}; last: ${last.code}: ${last.message})`,
    {
      status: last.status,
      details: { ...last.details, writeId },
      requestId: last.requestId,
      cause: last,
    },
  );
}
