// Carries a subscription's events to its receiver, one request at a time; what to do next is decided by webhook-delivery.ts.
// Guarantees: at least once and in order, whatever fails and whenever it starts anew: what is sent was durably begun, what is passed
// over was acknowledged or is a dead letter. Must not: know storage, sockets or clocks.
import type { TargetBreakers } from "./webhook-breaker.ts";
import * as delivery from "./webhook-delivery.ts";
import { messageOf, type WebhookMessage } from "./webhook-message.ts";
import type {
  Cursor,
  DeadLetter,
  FeedAsk,
  FeedPage,
  WebhookEvent,
  WebhookProgress,
  WebhookSubscription,
} from "./webhook-types.ts";
import { targetOf } from "./webhook-url.ts";

export interface WebhookPorts {
  /** As it is now: it may change while something is awaited. */
  readonly subscription: () => WebhookSubscription;
  readonly progress: () => WebhookProgress;
  /** Durable before anything else is sent. One commit. */
  readonly save: (progress: WebhookProgress, deadLetter?: DeadLetter) => void;
  readonly feed: (ask: FeedAsk) => Promise<FeedPage>;
  /** Never throws: what goes wrong is an outcome. */
  readonly post: (message: WebhookMessage, target: WebhookSubscription) => Promise<delivery.Outcome>;
  readonly breakers: TargetBreakers;
  readonly now: () => number;
  readonly random: () => number;
  readonly feedWaitMs: number;
  readonly count: (name: "delivered" | "events" | "failed" | "dead", by: number) => void;
}

/** When to step again: 0 = at once; Infinity = when something is changed. Ms. */
export type NextStepMs = number;

export class WebhookWorker {
  readonly #ports: WebhookPorts;
  /** How far the feed was looked through without a match, beyond the cursor; not durable yet. */
  #passed: Cursor | undefined;
  #epoch = 0;

  constructor(ports: WebhookPorts) {
    this.#ports = ports;
  }

  async step(): Promise<NextStepMs> {
    const ports = this.#ports;
    const progress = ports.progress();
    if (progress.state !== "active") return Number.POSITIVE_INFINITY;
    if (progress.nextAttemptMs > ports.now()) return progress.nextAttemptMs;
    const page = await ports.feed(this.#askOf(progress, ports.subscription()));
    // It waits long: meanwhile the owner may have paused the subscription, or sent it elsewhere.
    if (ports.progress().state !== "active") return Number.POSITIVE_INFINITY;
    if (!isSame(progress, ports.progress())) return 0;
    if (page.kind === "compacted") {
      ports.save(delivery.compactedAway(ports.progress(), page.compactedRevision));
      return Number.POSITIVE_INFINITY;
    }
    const [first] = page.events;
    if (!first) {
      // What was begun and has no events any more cannot be: it is read again from the same log.
      if (progress.end) throw new Error("the events of a request that was begun are not in the log");
      this.#pass(page.next, progress.epoch);
      return 0;
    }
    const subscription = ports.subscription();
    const target = targetOf(subscription.url);
    const waitUntilMs = ports.breakers.admit(target, ports.now());
    if (waitUntilMs > 0) return waitUntilMs;
    if (!progress.end) ports.save(delivery.begun(progress, first, page.next));
    return this.#attempt(page.events, subscription);
  }

  /** Makes durable what was looked through, so that a quiet subscription does not fall behind compaction. */
  keepPlace(): void {
    const progress = this.#ports.progress();
    if (!this.#passed || progress.end || progress.epoch !== this.#epoch) return;
    this.#ports.save({ ...progress, cursor: this.#passed });
    this.#passed = undefined;
  }

  #askOf(
    { cursor, end, epoch }: WebhookProgress,
    { key, rangeEnd, events, batchEvents }: WebhookSubscription,
  ): FeedAsk {
    const from = end === null && this.#passed && this.#epoch === epoch ? this.#passed : cursor;
    return { key, rangeEnd, events, from, until: end, maxEvents: batchEvents, waitMs: this.#ports.feedWaitMs };
  }

  #pass(next: Cursor, epoch: number): void {
    this.#passed = next;
    this.#epoch = epoch;
  }

  async #attempt(events: readonly WebhookEvent[], subscription: WebhookSubscription): Promise<NextStepMs> {
    const ports = this.#ports;
    this.#passed = undefined;
    const sent = ports.progress();
    const startedMs = ports.now();
    const outcome = await ports.post(messageOf(subscription, events), subscription);
    const nowMs = ports.now();
    const target = targetOf(subscription.url);
    if (outcome.kind === "failed") ports.breakers.failed(target, nowMs);
    else ports.breakers.succeeded(target);
    const progress = ports.progress();
    // Replayed or skipped meanwhile: this answer is to something that no longer stands at the cursor.
    if (!isSame(sent, progress)) return 0;
    const attempt = { subscription: subscription.id, target: ports.subscription(), events, startedMs, nowMs };
    const result = delivery.judged(progress, outcome, { ...attempt, random: ports.random() });
    ports.save(result.progress, result.deadLetter);
    this.#count(outcome, events.length, result.deadLetter !== undefined);
    return 0;
  }

  #count({ kind }: delivery.Outcome, events: number, isDead: boolean): void {
    const { count } = this.#ports;
    count(kind === "delivered" ? "delivered" : "failed", 1);
    if (kind === "delivered") count("events", events);
    if (isDead) count("dead", 1);
  }
}

/** Nobody moved the cursor or began something else. */
function isSame(a: WebhookProgress, b: WebhookProgress): boolean {
  const at = (cursor: Cursor | null): string => (cursor ? `${cursor.revision}.${cursor.index}` : "");
  return at(a.cursor) === at(b.cursor) && at(a.end) === at(b.end);
}
