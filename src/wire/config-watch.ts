// Watches of a configuration keyspace: what travels on one watch connection, and its bytes. The interface for every face of it
// (GET /v1/config/watch, /v3/watch, gRPC, SDK): one connection carries many watches.
//
// How a face uses it: open a WebSocket to the keyspace (gateway: `openConfigWatch` in src/gateway/config-watch.ts; SDK: GET
// /v1/config/watch with the subprotocol `jade.watch.v1`), give its frames to a `WatchStream` (config-watch-stream.ts), and
//   stream.create({key, rangeEnd, startRevision, prevKv, …, watchId?})   -> `created`, or `refused`, in the order of the requests
//   stream.cancel(watchId)                                              -> `canceled`
//   stream.progress()                                                   -> `progress` for watchId -1, once all watches are up to date
// and get WatchMessages. The meanings are etcd's: ids are chosen by the client or assigned from 0 on; `header.revision` of
// `events` is the revision of these events, of `created` and `progress` the keyspace's; a start below the compacted revision is
// `created`, then `canceled` with compactRevision; `fragment` = more events of this revision follow in the next message of the watch.
//
// Guarantees: a watch gets each matching change of a revision ≥ its start once, in the order of revisions; all of one revision in
// one message, unless it asked for fragments. After a break, create it again with startRevision = last event's modRevision + 1.
// Must not: judge (limits and meaning are the hub's).
import { ByteReader, type ByteWriter, MalformedBytes } from "./bytes.ts";
import type { AnswerHeader, ConfigEvent, KeyRange } from "./config.ts";
import { readConfigEvent } from "./config-answers.ts";

/** On one connection; -1 = none, or all. */
export type WatchId = number;
export const NO_WATCH: WatchId = -1;

export const WATCH_SUBPROTOCOL = "jade.watch.v1";

export interface WatchOptions extends KeyRange {
  /** 0 = from now on. May be ahead of the keyspace: then nothing comes before it. */
  readonly startRevision?: number | undefined;
  readonly prevKv?: boolean | undefined;
  readonly noPut?: boolean | undefined;
  readonly noDelete?: boolean | undefined;
  /** Tells the revision from time to time while nothing happens. */
  readonly progressNotify?: boolean | undefined;
  /** Splits the events of a large revision over several messages. */
  readonly fragment?: boolean | undefined;
}

export interface WatchCreate extends WatchOptions {
  readonly kind: "create";
  /** Undefined = the keyspace assigns one. */
  readonly watchId?: WatchId | undefined;
}

export type WatchRequest =
  | WatchCreate
  | { readonly kind: "cancel"; readonly watchId: WatchId }
  | { readonly kind: "progress" }
  /** Answers a ping: all up to it has been read. */
  | { readonly kind: "pong"; readonly mark: number };

export type WatchMessage =
  | { readonly kind: "created"; readonly header: AnswerHeader; readonly watchId: WatchId }
  /** Never came to be. watchId: as asked; NO_WATCH if none was, or if that one exists. */
  | {
      readonly kind: "refused";
      readonly header: AnswerHeader;
      readonly watchId: WatchId;
      readonly code: string;
      readonly message: string;
    }
  /** `compactRevision` > 0: the events that come next are compacted; this is the oldest revision that can be watched. */
  | {
      readonly kind: "canceled";
      readonly header: AnswerHeader;
      readonly watchId: WatchId;
      readonly compactRevision: number;
      readonly message: string;
    }
  /** The same events for each of the watches. */
  | {
      readonly kind: "events";
      readonly header: AnswerHeader;
      readonly watchIds: readonly WatchId[];
      readonly fragment: boolean;
      readonly events: readonly ConfigEvent[];
    }
  /** All events up to the header's revision have been sent. */
  | { readonly kind: "progress"; readonly header: AnswerHeader; readonly watchId: WatchId }
  /** To be answered with a pong as soon as it was read: what a client leaves unread is bounded by it. */
  | { readonly kind: "ping"; readonly header: AnswerHeader; readonly mark: number };

const REQUEST = { create: 1, cancel: 2, progress: 3, pong: 4 } as const;
const FLAG = { hasId: 1, prevKv: 2, noPut: 4, noDelete: 8, progressNotify: 16, fragment: 32 } as const;
const MESSAGE = { created: 1, refused: 2, canceled: 3, events: 4, progress: 5, ping: 6 } as const;

export function writeWatchRequest(writer: ByteWriter, request: WatchRequest): void {
  writer.u8(REQUEST[request.kind]);
  switch (request.kind) {
    case "create":
      writer.u8(watchFlags(request) | (request.watchId === undefined ? 0 : FLAG.hasId));
      if (request.watchId !== undefined) writer.varint(request.watchId);
      writer.binary(request.key);
      writer.binary(request.rangeEnd);
      writer.varint(request.startRevision ?? 0);
      return;
    case "cancel":
      writer.varint(request.watchId);
      return;
    case "progress":
      return;
    case "pong":
      writer.varint(request.mark);
      return;
    default:
      request satisfies never;
  }
}

function watchFlags({ prevKv, noPut, noDelete, progressNotify, fragment }: WatchOptions): number {
  return (
    (prevKv ? FLAG.prevKv : 0) |
    (noPut ? FLAG.noPut : 0) |
    (noDelete ? FLAG.noDelete : 0) |
    (progressNotify ? FLAG.progressNotify : 0) |
    (fragment ? FLAG.fragment : 0)
  );
}

export function readWatchRequests(frame: Uint8Array): readonly WatchRequest[] {
  const reader = new ByteReader(frame);
  const requests: WatchRequest[] = [];
  while (!reader.done) requests.push(readWatchRequest(reader));
  return requests;
}

function readWatchRequest(reader: ByteReader): WatchRequest {
  const kind = reader.u8();
  switch (kind) {
    case REQUEST.create: {
      const flags = reader.u8();
      const watchId = flags & FLAG.hasId ? reader.varint() : undefined;
      return {
        kind: "create",
        watchId,
        prevKv: (flags & FLAG.prevKv) !== 0,
        noPut: (flags & FLAG.noPut) !== 0,
        noDelete: (flags & FLAG.noDelete) !== 0,
        progressNotify: (flags & FLAG.progressNotify) !== 0,
        fragment: (flags & FLAG.fragment) !== 0,
        key: reader.binary(),
        rangeEnd: reader.binary(),
        startRevision: reader.varint(),
      };
    }
    case REQUEST.cancel:
      return { kind: "cancel", watchId: reader.varint() };
    case REQUEST.progress:
      return { kind: "progress" };
    case REQUEST.pong:
      return { kind: "pong", mark: reader.varint() };
    default:
      throw new MalformedBytes(`unknown watch request ${kind}`);
  }
}

/** All but `events`, whose bytes are made once for many watches (src/config/watch-batch.ts). */
export function writeWatchMessage(writer: ByteWriter, message: Exclude<WatchMessage, { kind: "events" }>): void {
  writer.u8(MESSAGE[message.kind]);
  writer.varint(message.header.revision);
  writer.varint(message.header.term);
  if (message.kind === "ping") {
    writer.varint(message.mark);
    return;
  }
  writer.varint(message.watchId + 1);
  switch (message.kind) {
    case "created":
    case "progress":
      return;
    case "refused":
      writer.string(message.code);
      writer.string(message.message);
      return;
    case "canceled":
      writer.varint(message.compactRevision);
      writer.string(message.message);
      return;
    default:
      message satisfies never;
  }
}

/** What stands before the events' bytes: `eventCount` of wire/config-answers.ts' follow. */
export function writeEventsHead(
  writer: ByteWriter,
  head: {
    readonly header: AnswerHeader;
    readonly watchIds: readonly WatchId[];
    readonly fragment: boolean;
    readonly eventCount: number;
  },
): void {
  writer.u8(MESSAGE.events);
  writer.varint(head.header.revision);
  writer.varint(head.header.term);
  writer.u8(head.fragment ? 1 : 0);
  writer.varint(head.watchIds.length);
  for (const id of head.watchIds) writer.varint(id);
  writer.varint(head.eventCount);
}

export function readWatchMessages(frame: Uint8Array): readonly WatchMessage[] {
  const reader = new ByteReader(frame);
  const messages: WatchMessage[] = [];
  while (!reader.done) messages.push(readWatchMessage(reader));
  return messages;
}

function readWatchMessage(reader: ByteReader): WatchMessage {
  const kind = reader.u8();
  const header = { revision: reader.varint(), term: reader.varint() };
  if (kind === MESSAGE.ping) return { kind: "ping", header, mark: reader.varint() };
  if (kind === MESSAGE.events) {
    const fragment = reader.u8() === 1;
    const watchIds: WatchId[] = [];
    for (let count = reader.varint(); count > 0; count--) watchIds.push(reader.varint());
    const events: ConfigEvent[] = [];
    for (let count = reader.varint(); count > 0; count--) events.push(readConfigEvent(reader));
    return { kind: "events", header, watchIds, fragment, events };
  }
  const watchId = reader.varint() - 1;
  switch (kind) {
    case MESSAGE.created:
      return { kind: "created", header, watchId };
    case MESSAGE.progress:
      return { kind: "progress", header, watchId };
    case MESSAGE.refused:
      return { kind: "refused", header, watchId, code: reader.string(), message: reader.string() };
    case MESSAGE.canceled:
      return { kind: "canceled", header, watchId, compactRevision: reader.varint(), message: reader.string() };
    default:
      throw new MalformedBytes(`unknown watch message ${kind}`);
  }
}
