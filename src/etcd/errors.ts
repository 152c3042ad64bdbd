// Refusals in etcd's words: gRPC code and text, as etcd's clients compare them.
// Guarantees: what a keyspace refuses has one text here; what etcd has no text for says so with ours. Must not: hold internal causes.
import type { ConfigFailure } from "../wire/config.ts";

/** gRPC status codes by name. */
export const GRPC = {
  ok: 0,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;
export type GrpcCode = (typeof GRPC)[keyof typeof GRPC];

/** grpc-gateway's table. */
const HTTP_STATUS: Readonly<Record<GrpcCode, number>> = {
  0: 200,
  2: 500,
  3: 400,
  4: 504,
  5: 404,
  7: 403,
  8: 429,
  9: 412,
  11: 400,
  12: 501,
  13: 500,
  14: 503,
  15: 500,
  16: 401,
};

export class EtcdError extends Error {
  override readonly name = "EtcdError";
  readonly code: GrpcCode;

  constructor(code: GrpcCode, text: string) {
    super(text);
    this.code = code;
  }
}

export function httpStatusOf(code: GrpcCode): number {
  return HTTP_STATUS[code];
}

/** The body of an error of etcd's JSON gateway. */
export function errorJson({ code, message }: Pick<EtcdError, "code" | "message">): string {
  return JSON.stringify({ error: message, message, code });
}

export const REFUSALS = {
  emptyKey: [GRPC.invalidArgument, "etcdserver: key is not provided"],
  keyNotFound: [GRPC.invalidArgument, "etcdserver: key not found"],
  valueProvided: [GRPC.invalidArgument, "etcdserver: value is provided"],
  leaseProvided: [GRPC.invalidArgument, "etcdserver: lease is provided"],
  tooManyOperations: [GRPC.invalidArgument, "etcdserver: too many operations in txn request"],
  duplicateKey: [GRPC.invalidArgument, "etcdserver: duplicate key given in txn request"],
  compacted: [GRPC.outOfRange, "etcdserver: mvcc: required revision has been compacted"],
  futureRevision: [GRPC.outOfRange, "etcdserver: mvcc: required revision is a future revision"],
  leaseNotFound: [GRPC.notFound, "etcdserver: requested lease not found"],
  leaseExists: [GRPC.failedPrecondition, "etcdserver: lease already exists"],
  leaseTtlTooLarge: [GRPC.outOfRange, "etcdserver: too large lease TTL"],
  requestTooLarge: [GRPC.invalidArgument, "etcdserver: request is too large"],
  tooManyRequests: [GRPC.resourceExhausted, "etcdserver: too many requests"],
  timeout: [GRPC.unavailable, "etcdserver: request timed out"],
  noCredentials: [GRPC.invalidArgument, "etcdserver: user name is empty"],
  invalidToken: [GRPC.unauthenticated, "etcdserver: invalid auth token"],
  authenticationFailed: [GRPC.invalidArgument, "etcdserver: authentication failed, invalid user ID or password"],
  permissionDenied: [GRPC.permissionDenied, "etcdserver: permission denied"],
  userNotFound: [GRPC.failedPrecondition, "etcdserver: user name not found"],
  roleNotFound: [GRPC.failedPrecondition, "etcdserver: role name not found"],
  memberNotFound: [GRPC.notFound, "etcdserver: member not found"],
  corrupt: [GRPC.dataLoss, "etcdserver: corrupt cluster"],
} as const satisfies Record<string, readonly [GrpcCode, string]>;

export function refusal(name: keyof typeof REFUSALS): EtcdError {
  const [code, text] = REFUSALS[name];
  return new EtcdError(code, text);
}

/** What we refuse and etcd does not. */
export function ownRefusal(code: GrpcCode, text: string): EtcdError {
  return new EtcdError(code, `jade: ${text}`);
}

/** From the public error codes of the house (wire/error-codes.ts). */
export function etcdErrorOf({ code, message }: Pick<ConfigFailure, "code" | "message">): EtcdError {
  switch (code) {
    case "compacted":
    case "futureRevision":
    case "keyNotFound":
    case "duplicateKey":
    case "tooManyOperations":
    case "leaseNotFound":
    case "leaseExists":
      return refusal(code);
    case "payloadTooLarge":
      return message.includes("range") ? ownRefusal(GRPC.resourceExhausted, message) : refusal("requestTooLarge");
    case "unauthenticated":
      return refusal("invalidToken");
    case "forbidden":
      return refusal("permissionDenied");
    case "rateLimited":
    case "overloaded":
      return refusal("tooManyRequests");
    case "unknownOutcome":
    case "unavailable":
    case "quorumUnavailable":
      return refusal("timeout");
    case "dataCorrupt":
      return refusal("corrupt");
    case "quotaExceeded":
    case "tooManyLeases":
      return ownRefusal(GRPC.resourceExhausted, message);
    case "notOwner":
      return ownRefusal(GRPC.failedPrecondition, message);
    case "lockNotAcquired":
      return ownRefusal(GRPC.deadlineExceeded, message);
    case "internal":
      return ownRefusal(GRPC.internal, message);
    case "notFound":
      return ownRefusal(GRPC.notFound, message);
    default:
      return ownRefusal(GRPC.invalidArgument, message);
  }
}
