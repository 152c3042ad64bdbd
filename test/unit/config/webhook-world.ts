// A subscription in a simulated world: a real keyspace, a receiver that fails as told, a clock by hand, and a sender that may die at
// each of its effects.
import { TargetBreakers } from "../../../src/config/webhook-breaker.ts";
import { firstProgress, type Outcome } from "../../../src/config/webhook-delivery.ts";
import { readFeed } from "../../../src/config/webhook-feed.ts";
import type { WebhookMessage } from "../../../src/config/webhook-message.ts";
import type { DeadLetter, WebhookProgress, WebhookSubscription } from "../../../src/config/webhook-types.ts";
import { type WebhookPorts, WebhookWorker } from "../../../src/config/webhook-worker.ts";
import type { ConfigRequest } from "../../../src/wire/config.ts";
import { prefixRange } from "../../../src/wire/config-keys.ts";
import { openDesk } from "./open-desk.ts";

export class Crash extends Error {}

export const SUBSCRIPTION: WebhookSubscription = {
  ...{ id: "wh_1", namespace: "default", url: "https://receiver.example/hook", events: ["put", "delete"] },
  ...{
    maxAttempts: 1000,
    maxAgeSeconds: 1e6,
    onDeadLetter: "pause",
    batchEvents: 3,
    timeoutMs: 1000,
    retryBaseMs: 1000,
  },
  ...prefixRange("a"),
};

export interface Event {
  readonly id: string;
  readonly type: string;
  readonly key: string;
  readonly revision: number;
}

export const put = (key: string, value = "1"): ConfigRequest => ({
  kind: "put",
  key,
  value: new TextEncoder().encode(value),
});
export const remove = (key: string): ConfigRequest => ({ kind: "deleteRange", key, rangeEnd: "" });

export class WebhookWorld {
  readonly opened = openDesk();
  readonly breakers = new TargetBreakers();
  readonly deadLetters: DeadLetter[] = [];
  /** Every request that reached the receiver. */
  readonly received: { readonly id: string; readonly body: string; readonly atMs: number; readonly url: string }[] = [];
  readonly counts: Record<string, number> = {};
  subscription: WebhookSubscription;
  progress: WebhookProgress = firstProgress(2);
  /** Throws to kill the sender there. */
  atEffect: (name: string) => void = () => undefined;
  answer: (message: WebhookMessage) => Outcome | Promise<Outcome> = () => ({ kind: "delivered" });
  worker: WebhookWorker;
  random = 0.5;

  constructor(changes: Partial<WebhookSubscription> = {}) {
    this.subscription = { ...SUBSCRIPTION, ...changes };
    this.worker = this.start();
  }

  get nowMs(): number {
    return this.opened.clock.ms;
  }

  set nowMs(ms: number) {
    this.opened.clock.ms = ms;
  }

  write(...requests: readonly ConfigRequest[]): void {
    for (const request of requests) this.opened.desk.answer(request);
  }

  start(): WebhookWorker {
    const ports: WebhookPorts = {
      subscription: () => this.subscription,
      progress: () => this.progress,
      save: (progress, deadLetter) => {
        this.atEffect("before save");
        this.progress = structuredClone(progress);
        if (deadLetter) this.deadLetters.push(deadLetter);
        this.atEffect("after save");
      },
      feed: async (ask) => {
        this.atEffect("feed");
        const { keyspace, store } = this.opened.desk;
        const { lastSeq, revision, compactedRevision } = keyspace;
        return readFeed({ lastSeq, revision, compactedRevision, log: (seq, limit) => store.log(seq, limit) }, ask);
      },
      post: async (message, { url }) => {
        this.atEffect("before post");
        const body = new TextDecoder().decode(message.body);
        this.received.push({ id: message.id, body, atMs: this.nowMs, url });
        const outcome = await this.answer(message);
        this.atEffect("after post");
        return outcome;
      },
      breakers: this.breakers,
      now: () => this.nowMs,
      random: () => this.random,
      feedWaitMs: 0,
      count: (name, by) => {
        this.counts[name] = (this.counts[name] ?? 0) + by;
      },
    };
    return new WebhookWorker(ports);
  }

  /** Steps until there is nothing to do, or nothing more by `untilMs`. The clock jumps to what is due. */
  async run(untilMs = Number.POSITIVE_INFINITY): Promise<void> {
    for (let steps = 0; steps < 100_000; steps++) {
      let dueMs: number;
      try {
        const isBusy = this.progress.end !== null;
        dueMs = await this.worker.step();
        if (dueMs === 0 && !isBusy && this.progress.end === null && this.isCaughtUp()) return;
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
        this.worker = this.start();
        continue;
      }
      if (dueMs > untilMs || dueMs === Number.POSITIVE_INFINITY) return;
      if (dueMs > 0) this.nowMs = Math.max(this.nowMs, dueMs);
    }
    throw new Error("the sender does not come to rest");
  }

  /** Keeps its place first: only then is what was passed over known. */
  isCaughtUp(): boolean {
    try {
      this.worker.keepPlace();
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      this.worker = this.start();
    }
    return this.progress.cursor.revision > this.opened.desk.keyspace.revision;
  }

  /** Events in the order in which they came first. */
  get firstSeen(): readonly Event[] {
    const seen = new Map<string, Event>();
    for (const { body } of this.received)
      for (const event of eventsOf(body)) if (!seen.has(event.id)) seen.set(event.id, event);
    return [...seen.values()];
  }
}

export function eventsOf(body: string): readonly Event[] {
  return (JSON.parse(body) as { data: { events: Event[] } }).data.events;
}
