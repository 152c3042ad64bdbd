// The owner's side of webhooks: the changes of a range from a place on, as a page.
// Guarantees: in order, each matching change once, from the log, so that a restart changes nothing; bounded pages; what is compacted is
// told. Must not: know subscriptions.
import { isInRange } from "../wire/config-keys.ts";
import type { Change } from "./keyspace.ts";
import { MAX_WEBHOOK_BATCH_BYTES, WEBHOOK_FEED_SLICES } from "./limits.ts";
import { type LogSource, placeOf, readSlice } from "./log-place.ts";
import { keyValueOf, type LogRecord } from "./record.ts";
import type { Cursor, FeedAsk, FeedPage, WebhookEvent } from "./webhook-types.ts";

export interface FeedSource extends LogSource {
  readonly revision: number;
  readonly compactedRevision: number;
}

/** Of key, value and what surrounds them. */
const EVENT_BYTES = 200;
const SLICE_BYTES = 256 * 1024;

export function isBefore(a: Cursor, b: Cursor): boolean {
  return a.revision < b.revision || (a.revision === b.revision && a.index < b.index);
}

/** Never waits: `isEnd` says that there is nothing more yet. */
export function readFeed(source: FeedSource, ask: FeedAsk): FeedPage {
  const { from, until, maxEvents } = ask;
  const { compactedRevision } = source;
  if (from.revision < compactedRevision) return { kind: "compacted", compactedRevision };
  const events: WebhookEvent[] = [];
  let bytes = 0;
  let next = from;
  if (from.revision > source.revision) return { kind: "events", events, next, isEnd: true };
  let seq = placeOf(source, from.revision);
  for (let slice = 0; seq <= source.lastSeq && (until !== null || slice < WEBHOOK_FEED_SLICES); slice++) {
    const { revisions, nextSeq } = readSlice(source, seq, SLICE_BYTES);
    for (const { revision, changes } of revisions) {
      for (const [index, { record }] of changes.entries()) {
        const at = { revision, index };
        if (isBefore(at, from)) continue;
        if (until && !isBefore(at, until)) return { kind: "events", events, next: until, isEnd: false };
        if (!isMatch(record, ask)) continue;
        const cost = record.key.length + record.value.length + EVENT_BYTES;
        const isFull = events.length >= maxEvents || bytes + cost > MAX_WEBHOOK_BATCH_BYTES;
        if (until === null && events.length > 0 && isFull) return { kind: "events", events, next: at, isEnd: false };
        events.push(eventOf(record, index));
        bytes += cost;
      }
      next = { revision: revision + 1, index: 0 };
    }
    seq = nextSeq;
  }
  return { kind: "events", events, next: until ?? next, isEnd: seq > source.lastSeq };
}

function isMatch(record: LogRecord, { events, key, rangeEnd }: FeedAsk): boolean {
  return events.includes(record.type) && isInRange(record.key, { key, rangeEnd });
}

function eventOf(record: LogRecord, index: number): WebhookEvent {
  const { revision, term, type, key } = record;
  return { revision, index, term, type, key, kv: type === "put" ? keyValueOf(record) : undefined };
}

/** The feeds of a keyspace, and those who wait for the next change that is theirs. */
export class WebhookFeed {
  readonly #keyspace: Omit<FeedSource, "log">;
  readonly #log: Pick<LogSource, "log">;
  readonly #waiting = new Set<{ readonly ask: FeedAsk; readonly wake: () => void }>();

  constructor(keyspace: Omit<FeedSource, "log">, log: Pick<LogSource, "log">) {
    this.#keyspace = keyspace;
    this.#log = log;
  }

  read(ask: FeedAsk): FeedPage {
    const { lastSeq, revision, compactedRevision } = this.#keyspace;
    return readFeed({ lastSeq, revision, compactedRevision, log: (seq, limit) => this.#log.log(seq, limit) }, ask);
  }

  /** Every change of the keyspace passes here, in the turn that made it. */
  onChange(changes: readonly Change[]): void {
    for (const waiting of [...this.#waiting]) {
      if (!changes.some(({ record }) => isMatch(record, waiting.ask))) continue;
      this.#waiting.delete(waiting);
      waiting.wake();
    }
  }

  /** Calls back once. The result takes that back. */
  atNextMatch(ask: FeedAsk, wake: () => void): () => void {
    const waiting = { ask, wake };
    this.#waiting.add(waiting);
    return () => this.#waiting.delete(waiting);
  }
}
