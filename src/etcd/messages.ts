// etcdserverpb's and mvccpb's messages of keys, transactions and leases, by the published field numbers.
import {
  bool,
  bytes,
  choice,
  type Field,
  id,
  int64,
  key,
  list,
  type Message,
  type MessageType,
  message,
  nested,
  text,
  uid,
} from "./schema.ts";

export const ResponseHeader = message("etcdserverpb.ResponseHeader", {
  clusterId: uid(1),
  memberId: uid(2),
  revision: int64(3),
  raftTerm: int64(4),
});
export type ResponseHeader = Message<typeof ResponseHeader>;
export const header = nested(1, () => ResponseHeader);

export const KeyValue = message("mvccpb.KeyValue", {
  key: key(1),
  createRevision: int64(2),
  modRevision: int64(3),
  version: int64(4),
  value: bytes(5),
  lease: id(6),
});
export type KeyValue = Message<typeof KeyValue>;

export const SORT_ORDERS = ["NONE", "ASCEND", "DESCEND"] as const;
export const RangeRequest = message("etcdserverpb.RangeRequest", {
  key: key(1),
  rangeEnd: key(2),
  limit: int64(3),
  revision: int64(4),
  sortOrder: choice(5, { name: "etcdserverpb.RangeRequest_SortOrder", values: SORT_ORDERS }),
  sortTarget: choice(6, {
    name: "etcdserverpb.RangeRequest_SortTarget",
    values: ["KEY", "VERSION", "CREATE", "MOD", "VALUE"],
  }),
  serializable: bool(7),
  keysOnly: bool(8),
  countOnly: bool(9),
  minModRevision: int64(10),
  maxModRevision: int64(11),
  minCreateRevision: int64(12),
  maxCreateRevision: int64(13),
});
export type RangeRequest = Message<typeof RangeRequest>;
export const RangeResponse = message("etcdserverpb.RangeResponse", {
  header,
  kvs: list(nested(2, () => KeyValue)),
  more: bool(3),
  count: int64(4),
});
export type RangeResponse = Message<typeof RangeResponse>;

export const PutRequest = message("etcdserverpb.PutRequest", {
  key: key(1),
  value: bytes(2),
  lease: id(3),
  prevKv: bool(4),
  ignoreValue: bool(5),
  ignoreLease: bool(6),
});
export type PutRequest = Message<typeof PutRequest>;
export const PutResponse = message("etcdserverpb.PutResponse", { header, prevKv: nested(2, () => KeyValue) });
export type PutResponse = Message<typeof PutResponse>;

export const DeleteRangeRequest = message("etcdserverpb.DeleteRangeRequest", {
  key: key(1),
  rangeEnd: key(2),
  prevKv: bool(3),
});
export type DeleteRangeRequest = Message<typeof DeleteRangeRequest>;
export const DeleteRangeResponse = message("etcdserverpb.DeleteRangeResponse", {
  header,
  deleted: int64(2),
  prevKvs: list(nested(3, () => KeyValue)),
});
export type DeleteRangeResponse = Message<typeof DeleteRangeResponse>;

const member = { isOneof: true } as const;
export const Compare = message("etcdserverpb.Compare", {
  result: choice(1, {
    name: "etcdserverpb.Compare_CompareResult",
    values: ["EQUAL", "GREATER", "LESS", "NOT_EQUAL"],
  }),
  target: choice(2, {
    name: "etcdserverpb.Compare_CompareTarget",
    values: ["VERSION", "CREATE", "MOD", "VALUE", "LEASE"],
  }),
  key: key(3),
  version: int64(4, member),
  createRevision: int64(5, member),
  modRevision: int64(6, member),
  value: bytes(7, member),
  lease: id(8, member),
  rangeEnd: key(64),
});
export type Compare = Message<typeof Compare>;

/** Exactly one of them is set. */
export interface RequestOp {
  readonly requestRange?: RangeRequest | undefined;
  readonly requestPut?: PutRequest | undefined;
  readonly requestDeleteRange?: DeleteRangeRequest | undefined;
  readonly requestTxn?: TxnRequest | undefined;
}
export interface TxnRequest {
  readonly compare?: readonly Compare[] | undefined;
  readonly success?: readonly RequestOp[] | undefined;
  readonly failure?: readonly RequestOp[] | undefined;
}
export interface ResponseOp {
  readonly responseRange?: RangeResponse | undefined;
  readonly responsePut?: PutResponse | undefined;
  readonly responseDeleteRange?: DeleteRangeResponse | undefined;
  readonly responseTxn?: TxnResponse | undefined;
}
export interface TxnResponse {
  readonly header?: ResponseHeader | undefined;
  readonly succeeded?: boolean | undefined;
  readonly responses?: readonly ResponseOp[] | undefined;
}

export const RequestOp: MessageType<RequestOp> = message("etcdserverpb.RequestOp", {
  requestRange: nested(1, () => RangeRequest, member),
  requestPut: nested(2, () => PutRequest, member),
  requestDeleteRange: nested(3, () => DeleteRangeRequest, member),
  requestTxn: nested(4, (): MessageType<TxnRequest> => TxnRequest, member),
});
export const TxnRequest: MessageType<TxnRequest> = message("etcdserverpb.TxnRequest", {
  compare: list(nested(1, () => Compare)),
  success: list(nested(2, () => RequestOp)),
  failure: list(nested(3, () => RequestOp)),
});
export const ResponseOp: MessageType<ResponseOp> = message("etcdserverpb.ResponseOp", {
  responseRange: nested(1, () => RangeResponse, member),
  responsePut: nested(2, () => PutResponse, member),
  responseDeleteRange: nested(3, () => DeleteRangeResponse, member),
  responseTxn: nested(4, (): MessageType<TxnResponse> => TxnResponse, member),
});
export const TxnResponse: MessageType<TxnResponse> = message("etcdserverpb.TxnResponse", {
  header,
  succeeded: bool(2),
  responses: list(nested(3, () => ResponseOp)),
});

export const CompactionRequest = message("etcdserverpb.CompactionRequest", { revision: int64(1), physical: bool(2) });
export type CompactionRequest = Message<typeof CompactionRequest>;
/** Answers that hold nothing else. */
export const HeaderResponse = message("etcdserverpb.HeaderResponse", { header });
export type HeaderResponse = Message<typeof HeaderResponse>;

const ID = { name: "ID" } as const;
const TTL = { name: "TTL" } as const;
/** Requests that name a lease and nothing else. */
export const LeaseRequest = message("etcdserverpb.LeaseRequest", { id: id(1, ID) });
export type LeaseRequest = Message<typeof LeaseRequest>;
export const LeaseGrantRequest = message("etcdserverpb.LeaseGrantRequest", { ttl: int64(1, TTL), id: id(2, ID) });
export type LeaseGrantRequest = Message<typeof LeaseGrantRequest>;
export const LeaseGrantResponse = message("etcdserverpb.LeaseGrantResponse", {
  header,
  id: id(2, ID),
  ttl: int64(3, TTL),
  error: text(4) as Field<string>,
});
export type LeaseGrantResponse = Message<typeof LeaseGrantResponse>;
export const LeaseKeepAliveResponse = message("etcdserverpb.LeaseKeepAliveResponse", {
  header,
  id: id(2, ID),
  ttl: int64(3, TTL),
});
export type LeaseKeepAliveResponse = Message<typeof LeaseKeepAliveResponse>;
export const LeaseTimeToLiveRequest = message("etcdserverpb.LeaseTimeToLiveRequest", {
  id: id(1, ID),
  keys: bool(2),
});
export type LeaseTimeToLiveRequest = Message<typeof LeaseTimeToLiveRequest>;
export const LeaseTimeToLiveResponse = message("etcdserverpb.LeaseTimeToLiveResponse", {
  header,
  id: id(2, ID),
  ttl: int64(3, TTL),
  grantedTtl: int64(4, { name: "grantedTTL" }),
  keys: list(key(5)),
});
export type LeaseTimeToLiveResponse = Message<typeof LeaseTimeToLiveResponse>;
export const LeaseStatus = message("etcdserverpb.LeaseStatus", { id: id(1, ID) });
export const LeaseLeasesResponse = message("etcdserverpb.LeaseLeasesResponse", {
  header,
  leases: list(nested(2, () => LeaseStatus)),
});
export type LeaseLeasesResponse = Message<typeof LeaseLeasesResponse>;
/** Requests without a field. */
export const EmptyRequest = message("etcdserverpb.EmptyRequest", {});
