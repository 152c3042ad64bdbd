// etcd's watch requests as those of a keyspace's watch connection, and its messages as etcd's. The one mapping for JSON and gRPC. Pure.
import type { ConfigEvent } from "../wire/config.ts";
import type { WatchCreate, WatchMessage } from "../wire/config-watch.ts";
import type { WatchStream } from "../wire/config-watch-stream.ts";
import { headerOf, type Identity } from "./identity.ts";
import type { ResponseHeader } from "./messages.ts";
import type { WatchCreateRequest, WatchRequest, WatchResponse } from "./messages-watch.ts";

const NO_PUT = 0;
const NO_DELETE = 1;
/** etcd's for "of no watch". */
const INVALID_ID = -1;

/** Hands a request on. */
export function askWatch(stream: WatchStream, { createRequest, cancelRequest, progressRequest }: WatchRequest): void {
  if (createRequest) stream.create(createOf(createRequest));
  else if (cancelRequest) {
    const { watchId = 0 } = cancelRequest;
    if (watchId >= 0) stream.cancel(watchId);
  } else if (progressRequest) stream.progress();
}

function createOf(request: WatchCreateRequest): Omit<WatchCreate, "kind"> {
  const { key = "", rangeEnd = "", startRevision = 0, filters = [], watchId = 0 } = request;
  return {
    // As in etcd: no key = from the first one on.
    key: key === "" ? "\0" : key,
    rangeEnd,
    startRevision: Math.max(0, startRevision),
    prevKv: request.prevKv,
    noPut: filters.includes(NO_PUT),
    noDelete: filters.includes(NO_DELETE),
    progressNotify: request.progressNotify,
    fragment: request.fragment,
    ...(watchId > 0 ? { watchId } : {}),
  };
}

/** One message may be of several watches. */
export function watchResponses(
  message: Exclude<WatchMessage, { kind: "ping" }>,
  identity: Identity,
): readonly WatchResponse[] {
  const header = headerOf(identity, message.header);
  switch (message.kind) {
    case "created":
      return [{ header, watchId: message.watchId, created: true }];
    case "refused":
      return [{ header, watchId: INVALID_ID, created: true, canceled: true, cancelReason: reasonOf(message) }];
    case "canceled":
      return [canceled(message, header)];
    case "progress":
      return [{ header, watchId: message.watchId }];
    case "events": {
      const { fragment } = message;
      const events = message.events.map(shownEvent);
      return message.watchIds.map((watchId) => ({ header, watchId, fragment, events }));
    }
    default:
      return message satisfies never;
  }
}

function canceled(
  { watchId, compactRevision, message }: Extract<WatchMessage, { kind: "canceled" }>,
  header: ResponseHeader,
): WatchResponse {
  if (compactRevision === 0) return { header, watchId, canceled: true, cancelReason: message };
  // etcd tells no revision there.
  return { header: { ...header, revision: 0 }, watchId, canceled: true, compactRevision };
}

function reasonOf({ code, message }: { readonly code: string; readonly message: string }): string {
  if (code === "alreadyExists" || /exists/.test(message)) return "mvcc: duplicate watch ID provided on the WatchStream";
  if (/empty/.test(message)) return "mvcc: watcher range is empty";
  return `jade: ${message}`;
}

function shownEvent({ type, kv, prevKv }: ConfigEvent) {
  return { type: type === "delete" ? 1 : 0, kv, prevKv };
}
