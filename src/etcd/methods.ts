// The methods that are one request to a keyspace each: name in gRPC, paths in JSON, messages, mapping.
// Guarantees: both faces serve the same list. Must not: do I/O.
import type { ConfigAnswer, ConfigRequest } from "../wire/config.ts";
import { refusal } from "./errors.ts";
import {
  CompactionRequest,
  DeleteRangeRequest,
  DeleteRangeResponse,
  EmptyRequest,
  HeaderResponse,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  LeaseLeasesResponse,
  LeaseRequest,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  type ResponseHeader,
  TxnRequest,
  TxnResponse,
} from "./messages.ts";
import { deleteRangeOf, putOf, rangeOf, responseOf, txnOf, txnResponseOf } from "./operations.ts";
import type { MessageType } from "./schema.ts";

/** etcd's bound; seconds. */
const MAX_TTL_SECONDS = 9_000_000_000;
/** etcd grants no less at its default election time-out. Seconds. */
const MIN_TTL_SECONDS = 2;

export interface KeyspaceMethod {
  /** `/etcdserverpb.KV/Range` */
  readonly rpc: string;
  /** Below `/v3`. */
  readonly paths: readonly string[];
  /** Many requests and answers on one call; in JSON each answer is a line `{"result":…}`. */
  readonly isStream: boolean;
  readonly request: MessageType<unknown>;
  readonly response: MessageType<unknown>;
  /** Throws EtcdError. */
  readonly requestOf: (message: unknown) => ConfigRequest;
  readonly responseOf: (answer: ConfigAnswer, header: ResponseHeader, message: unknown) => unknown;
}

interface MethodSpec<M, A, R extends ConfigRequest> {
  readonly isStream?: boolean;
  readonly request: MessageType<M>;
  readonly response: MessageType<A>;
  readonly requestOf: (message: M) => R;
  readonly responseOf: (answer: never, header: ResponseHeader, message: M) => A;
}

function method<M, A, R extends ConfigRequest>(
  rpc: string,
  paths: readonly string[],
  spec: MethodSpec<M, A, R>,
): KeyspaceMethod {
  return { ...(spec as unknown as KeyspaceMethod), rpc, paths, isStream: spec.isStream === true };
}

type Answer<K extends ConfigAnswer["kind"]> = Extract<ConfigAnswer, { kind: K }>;

const kv = [
  method("/etcdserverpb.KV/Range", ["/kv/range"], {
    request: RangeRequest,
    response: RangeResponse,
    requestOf: rangeOf,
    responseOf: (answer: Answer<"range">, header) => responseOf(answer, header, header),
  }),
  method("/etcdserverpb.KV/Put", ["/kv/put"], {
    request: PutRequest,
    response: PutResponse,
    requestOf: putOf,
    responseOf: (answer: Answer<"put">, header) => responseOf(answer, header, header),
  }),
  method("/etcdserverpb.KV/DeleteRange", ["/kv/deleterange"], {
    request: DeleteRangeRequest,
    response: DeleteRangeResponse,
    requestOf: deleteRangeOf,
    responseOf: (answer: Answer<"deleteRange">, header) => responseOf(answer, header, header),
  }),
  method("/etcdserverpb.KV/Txn", ["/kv/txn"], {
    request: TxnRequest,
    response: TxnResponse,
    requestOf: txnOf,
    responseOf: (answer: Answer<"txn">, header) => txnResponseOf(answer, header, { revision: header.revision }),
  }),
  method("/etcdserverpb.KV/Compact", ["/kv/compaction"], {
    request: CompactionRequest,
    response: HeaderResponse,
    requestOf: ({ revision = 0 }) => {
      if (revision <= 0) throw refusal("compacted");
      return { kind: "compact", revision } as const;
    },
    responseOf: (_: Answer<"compact">, header) => ({ header }),
  }),
];

const lease = [
  method("/etcdserverpb.Lease/LeaseGrant", ["/lease/grant"], {
    request: LeaseGrantRequest,
    response: LeaseGrantResponse,
    requestOf: ({ id = "", ttl = 0 }) => {
      if (ttl > MAX_TTL_SECONDS) throw refusal("leaseTtlTooLarge");
      return { kind: "leaseGrant", lease: id, ttlSeconds: Math.max(MIN_TTL_SECONDS, ttl) } as const;
    },
    responseOf: (answer: Answer<"lease">, header) => ({ header, id: answer.lease, ttl: answer.grantedTtlSeconds }),
  }),
  method("/etcdserverpb.Lease/LeaseRevoke", ["/lease/revoke", "/kv/lease/revoke"], {
    request: LeaseRequest,
    response: HeaderResponse,
    requestOf: ({ id = "" }) => ({ kind: "leaseRevoke", lease: id }) as const,
    responseOf: (_: Answer<"lease">, header) => ({ header }),
  }),
  method("/etcdserverpb.Lease/LeaseKeepAlive", ["/lease/keepalive"], {
    isStream: true,
    request: LeaseRequest,
    response: LeaseKeepAliveResponse,
    requestOf: ({ id = "" }) => ({ kind: "leaseKeepAlive", lease: id }) as const,
    responseOf: (answer: Answer<"lease">, header, { id }) => {
      // A lease that is gone is told by a time to live of 0.
      return { header, id, ttl: answer.ttlSeconds < 0 ? 0 : answer.grantedTtlSeconds };
    },
  }),
  method("/etcdserverpb.Lease/LeaseTimeToLive", ["/lease/timetolive", "/kv/lease/timetolive"], {
    request: LeaseTimeToLiveRequest,
    response: LeaseTimeToLiveResponse,
    requestOf: ({ id = "", keys }) => ({ kind: "leaseTimeToLive", lease: id, withKeys: keys }) as const,
    responseOf: (answer: Answer<"lease">, header, { id }) => {
      return { header, id, ttl: answer.ttlSeconds, grantedTtl: answer.grantedTtlSeconds, keys: answer.keys };
    },
  }),
  method("/etcdserverpb.Lease/LeaseLeases", ["/lease/leases", "/kv/lease/leases"], {
    request: EmptyRequest,
    response: LeaseLeasesResponse,
    requestOf: () => ({ kind: "leases" }) as const,
    responseOf: (answer: Answer<"leases">, header) => ({ header, leases: answer.leases.map((id) => ({ id })) }),
  }),
];

export const KEYSPACE_METHODS: readonly KeyspaceMethod[] = [...kv, ...lease];
