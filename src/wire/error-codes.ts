// Every error code a client can meet, in one table: HTTP status, category, whether a retry may help, and what to do.
// docs/errors.md is generated from it; the gateway, the session and the SDK share it. Must not: hold internal causes.

export type ErrorCategory =
  | "request" // the request is wrong: change it
  | "access" // the key does not allow it
  | "state" // it conflicts with what is stored
  | "capacity" // too much, too fast
  | "availability" // part of the system is away; retry
  | "internal"; // our fault

export interface ErrorInfo {
  readonly status: number;
  readonly category: ErrorCategory;
  /** A retry of the same request (same Idempotency-Key for a write) may succeed. */
  readonly retryable: boolean;
  /** What it means and what to do, for docs/errors.md and the SDK. */
  readonly help: string;
}

export const ERROR_CODES = {
  invalidRequest: {
    status: 400,
    category: "request",
    retryable: false,
    help: "A field is missing, has the wrong type, is unknown, or breaks a limit. `details.issues` names each field, its value and the limit. Correct the request.",
  },
  malformedJson: {
    status: 400,
    category: "request",
    retryable: false,
    help: "The body is not complete, valid UTF-8 JSON. Check for truncation and encoding.",
  },
  malformedClock: {
    status: 400,
    category: "request",
    retryable: false,
    help: "`vectorClock` is not one that an earlier read or write of this key returned. Read the key again and send back the clock unchanged.",
  },
  unauthenticated: {
    status: 401,
    category: "access",
    retryable: false,
    help: "No API key or signed token was sent, or it is unknown, expired, revoked or not from an issuer that this deployment trusts. Send `Authorization: Bearer <key>` with a live one.",
  },
  forbidden: {
    status: 403,
    category: "access",
    retryable: false,
    help: "The API key is valid but its scope does not allow this. Use a key with the scope named in `details.requiredScope`.",
  },
  quotaExceeded: {
    status: 403,
    category: "capacity",
    retryable: false,
    help: "The tenant has used up the quota named in `details` (`quota`, `used`, `limit`). Reads and deletes go on. Delete something, or have the quota raised; either is noticed within five seconds.",
  },
  notFound: {
    status: 404,
    category: "state",
    retryable: false,
    help: "There is nothing here. For a key-value read `details.vectorClock` is the context to write with, if the key was deleted.",
  },
  methodNotAllowed: {
    status: 405,
    category: "request",
    retryable: false,
    help: "The path exists, the method does not. `details.allow` lists the methods.",
  },
  alreadyExists: {
    status: 409,
    category: "state",
    retryable: false,
    help: "A resource of this name exists. Choose another name, or use the one that exists.",
  },
  tooManySiblings: {
    status: 409,
    category: "state",
    retryable: false,
    help: "The key holds too many concurrent versions. Read it, merge them, and write with the `vectorClock` in `details`.",
  },
  conflict: {
    status: 409,
    category: "state",
    retryable: false,
    help: "The request conflicts with the present state named in the message.",
  },
  compacted: {
    status: 410,
    category: "state",
    retryable: false,
    help: "This revision of the keyspace is gone. `details.compactedRevision` is the oldest that can be read; a watch must begin anew: read the present state and watch from its revision + 1.",
  },
  futureRevision: {
    status: 400,
    category: "request",
    retryable: false,
    help: "The keyspace has not reached this revision; `details.revision` is its present one.",
  },
  keyNotFound: {
    status: 404,
    category: "state",
    retryable: false,
    help: "The operation keeps a value or a lease of a key that does not exist.",
  },
  preconditionFailed: {
    status: 412,
    category: "state",
    retryable: false,
    help: "What the write was made to depend on does not hold; nothing was written. `details` shows the key as it is. Read it and decide again.",
  },
  duplicateKey: {
    status: 400,
    category: "request",
    retryable: false,
    help: "A transaction writes one key twice: `details` names it and the operations. All of its changes have one revision, so each key can change once.",
  },
  tooManyOperations: {
    status: 400,
    category: "request",
    retryable: false,
    help: "A transaction has more operations than `details.limit`. Split it.",
  },
  leaseNotFound: {
    status: 404,
    category: "state",
    retryable: false,
    help: "There is no such lease: it expired or was revoked, and its keys are deleted. Grant a new one and write them again.",
  },
  leaseExists: {
    status: 409,
    category: "state",
    retryable: false,
    help: "There is a lease with this id. Leave the id out and one is chosen.",
  },
  lockNotAcquired: {
    status: 409,
    category: "state",
    retryable: false,
    help: "Another holds the lock or leads, and did to the end of `waitSeconds`. `details.fencingToken` is the holder's. Ask again, or wait longer.",
  },
  notOwner: {
    status: 409,
    category: "state",
    retryable: false,
    help: "Only the holder may release a lock, resign or proclaim. The lease or fencing token is not the holder's: it was released, or its lease ended.",
  },
  tooManyLeases: {
    status: 409,
    category: "capacity",
    retryable: false,
    help: "The keyspace holds as many leases as `details.limit`. Share a lease among the keys of one client.",
  },
  payloadTooLarge: {
    status: 413,
    category: "request",
    retryable: false,
    help: "The value or the body is over the limit that the message names. Split it.",
  },
  insufficientStorage: {
    status: 507,
    category: "capacity",
    retryable: false,
    help: "The shard's memory budget or the disk is full; nothing was written. Reads and deletes go on. Delete rows, choose a smaller quantizer, add shards, or raise `vectors.memoryMiB`.",
  },
  unsupportedMediaType: {
    status: 415,
    category: "request",
    retryable: false,
    help: "Send `Content-Type: application/json`, or what the route takes, and no compressed body.",
  },
  idempotencyKeyReused: {
    status: 422,
    category: "state",
    retryable: false,
    help: "This Idempotency-Key was used before with another request. Use a new key for a new write.",
  },
  upgradeRequired: {
    status: 426,
    category: "request",
    retryable: false,
    help: "This path speaks WebSocket only. Send an Upgrade request.",
  },
  rateLimited: {
    status: 429,
    category: "capacity",
    retryable: true,
    help: "Too many requests: `details` names whose limit it is (`limitOf`) and how high. Wait for the seconds in `Retry-After`, over a session `details.retryAfterSeconds`.",
  },
  overloaded: {
    status: 503,
    category: "capacity",
    retryable: true,
    help: "The server is at its bound. Nothing was done. Wait for the seconds in `Retry-After` and retry.",
  },
  quorumUnavailable: {
    status: 503,
    category: "availability",
    retryable: true,
    help: "Too few replicas answered in time for this consistency level, and nothing was written. Retry, or read at a lower level.",
  },
  unknownOutcome: {
    status: 503,
    category: "availability",
    retryable: true,
    help: "Too few replicas acknowledged the write in time: it may or may not have been applied. Retry with `Idempotency-Key: <details.writeId>`; it will apply once.",
  },
  unavailable: {
    status: 503,
    category: "availability",
    retryable: true,
    help: "A part of the system that this request needs is away. Nothing was done. Retry.",
  },
  dataCorrupt: {
    status: 500,
    category: "internal",
    retryable: false,
    help: "Stored blocks failed their checksums, and too few intact copies are left: a retry does not help. No wrong value is ever returned. Tell the operator; an export names the range and goes on past it with `onCorrupt=skip`.",
  },
  internal: {
    status: 500,
    category: "internal",
    retryable: true,
    help: "Our fault. The request id in the answer finds it in the logs. Writes are safe to retry with their write id.",
  },
} as const satisfies Record<string, ErrorInfo>;

export type ErrorCode = keyof typeof ERROR_CODES;

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}

/** An error meant for the client. Everything else that is thrown is answered as `internal`, logged whole. */
export class PublicError extends Error {
  override readonly name = "PublicError";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, details?: Readonly<Record<string, unknown>>) {
    super(message);
    this.code = code;
    this.details = details;
  }
}
