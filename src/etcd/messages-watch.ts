// Messages of etcd's Watch service, by the published field numbers.
import { header, KeyValue } from "./messages.ts";
import { bool, choice, int64, key, list, type Message, message, nested, text } from "./schema.ts";

export const Event = message("mvccpb.Event", {
  type: choice(1, { name: "mvccpb.Event_EventType", values: ["PUT", "DELETE"] }),
  kv: nested(2, () => KeyValue),
  prevKv: nested(3, () => KeyValue),
});
export const WatchCreateRequest = message("etcdserverpb.WatchCreateRequest", {
  key: key(1),
  rangeEnd: key(2),
  startRevision: int64(3),
  progressNotify: bool(4),
  filters: list(choice(5, { name: "etcdserverpb.WatchCreateRequest_FilterType", values: ["NOPUT", "NODELETE"] })),
  prevKv: bool(6),
  watchId: int64(7),
  fragment: bool(8),
});
export type WatchCreateRequest = Message<typeof WatchCreateRequest>;
export const WatchCancelRequest = message("etcdserverpb.WatchCancelRequest", { watchId: int64(1) });
export const WatchProgressRequest = message("etcdserverpb.WatchProgressRequest", {});
const member = { isOneof: true } as const;
export const WatchRequest = message("etcdserverpb.WatchRequest", {
  createRequest: nested(1, () => WatchCreateRequest, member),
  cancelRequest: nested(2, () => WatchCancelRequest, member),
  progressRequest: nested(3, () => WatchProgressRequest, member),
});
export type WatchRequest = Message<typeof WatchRequest>;
export const WatchResponse = message("etcdserverpb.WatchResponse", {
  header,
  watchId: int64(2),
  created: bool(3),
  canceled: bool(4),
  compactRevision: int64(5),
  cancelReason: text(6),
  fragment: bool(7),
  events: list(nested(11, () => Event)),
});
export type WatchResponse = Message<typeof WatchResponse>;

/** Its name in gRPC, and its path below `/v3`. */
export const WATCH_RPC = "/etcdserverpb.Watch/Watch";
export const WATCH_PATH = "/watch";
