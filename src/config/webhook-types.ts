// What a webhook subscription is made of, as gateway, keyspace and sender hand it around: plain data.
import type { BinaryKey, KeyRange, KeyValue } from "../wire/config.ts";

/** A place in a keyspace's history: the change `index` (from 0) of a revision. */
export interface Cursor {
  readonly revision: number;
  readonly index: number;
}

export type WebhookEventType = "put" | "delete";

export interface WebhookEvent extends Cursor {
  /** Of the owner that wrote it. */
  readonly term: number;
  readonly type: WebhookEventType;
  readonly key: BinaryKey;
  /** Of a put. */
  readonly kv?: KeyValue | undefined;
}

export interface FeedAsk extends KeyRange {
  readonly from: Cursor;
  /** All up to this place and no more, whatever their size: what was decided before. Null = what fits. */
  readonly until: Cursor | null;
  readonly events: readonly WebhookEventType[];
  readonly maxEvents: number;
  readonly waitMs: number;
}

export type FeedPage =
  /** `next`: the place behind the events and behind what was passed over. */
  | {
      readonly kind: "events";
      readonly events: readonly WebhookEvent[];
      readonly next: Cursor;
      readonly isEnd: boolean;
    }
  | { readonly kind: "compacted"; readonly compactedRevision: number };

export interface WebhookTarget {
  readonly url: string;
  /** Attempts of one request before it is a dead letter. */
  readonly maxAttempts: number;
  /** And how long after the first attempt it is one. */
  readonly maxAgeSeconds: number;
  readonly onDeadLetter: "pause" | "skip";
  readonly batchEvents: number;
  readonly timeoutMs: number;
  /** The longest pause before the second attempt; doubled for each further one. */
  readonly retryBaseMs: number;
}

export interface WebhookSubscription extends WebhookTarget, KeyRange {
  readonly id: string;
  readonly namespace: string;
  readonly events: readonly WebhookEventType[];
}

export type PauseReason = "asked" | "deadLetter" | "gone" | "compacted";

/** What moves. All of it is durable. */
export interface WebhookProgress {
  readonly state: "active" | "paused";
  readonly reason: PauseReason | null;
  /** Everything before it was acknowledged, or is a dead letter. */
  readonly cursor: Cursor;
  /** The end of the request that was begun: its repetitions hold the same events under the same id. Null = none was. */
  readonly end: Cursor | null;
  readonly attempts: number;
  readonly firstAttemptMs: number;
  readonly nextAttemptMs: number;
  readonly lastError: string | null;
  readonly lastDeliveredMs: number;
  /** With `compacted`: the oldest revision that can be read. */
  readonly compactedRevision: number;
  /** Changes with a replay: what was looked through before counts no more. */
  readonly epoch: number;
}

export interface DeadLetter {
  readonly id: string;
  readonly fromRevision: number;
  readonly toRevision: number;
  readonly events: readonly { readonly id: string; readonly type: WebhookEventType; readonly key: string }[];
  readonly eventCount: number;
  readonly attempts: number;
  readonly error: string;
  readonly firstAttemptMs: number;
  readonly atMs: number;
}
