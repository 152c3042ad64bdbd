import { describe, expect, it } from "vitest";
import { Random } from "../../test/unit/config/random.ts";
import { Crash, eventsOf, put, remove, WebhookWorld } from "../../test/unit/config/webhook-world.ts";
import { BREAKER_FAILURES, BREAKER_OPEN_MS } from "./limits.ts";
import { TargetBreakers } from "./webhook-breaker.ts";
import {
  backoffMs,
  type Outcome,
  outcomeOf,
  parseRetryAfter,
  pausedByOwner,
  replayed,
  resumed,
  skipped,
} from "./webhook-delivery.ts";

const FAILED: Outcome = { kind: "failed", error: "status 500" };
const shown = (world: WebhookWorld): readonly string[] =>
  world.firstSeen.map(({ type, key, revision }) => `${revision} ${type} ${key}`);
const txn = (...success: ReturnType<typeof put>[]) => ({ kind: "txn", compare: [], success, failure: [] }) as const;

describe("webhook sender", () => {
  it("[CF-120] events of the range come in order, in bounded requests, under ids that stay", async () => {
    const world = new WebhookWorld();
    world.write(
      put("a", '{"x": 1}'),
      put("b"),
      txn(put("a1", "\xff"), put("x"), put("a2")) as never,
      remove("a"),
      put("a9"),
    );
    await world.run();
    expect(shown(world)).toEqual(["2 put a", "4 put a1", "4 put a2", "5 delete a", "6 put a9"]);
    expect(world.received.map(({ body }) => eventsOf(body).map(({ id }) => id))).toEqual([
      ["wh_1.1.2.0", "wh_1.1.4.0", "wh_1.1.4.2"],
      ["wh_1.1.5.0", "wh_1.1.6.0"],
    ]);
    expect(world.received.map(({ id }) => id)).toEqual(["wh_1.1.2.0", "wh_1.1.5.0"]);
    expect(eventsOf(world.received[0]!.body)[0]).toMatchObject({ createRevision: 2, version: 1, value: { x: 1 } });
    expect(world.received[0]!.body).toContain('"value":{"x": 1}');
    expect(eventsOf(world.received[0]!.body)[1]).toMatchObject({ value: btoa("\xc3\xbf"), valueEncoding: "base64" });
    expect(world.counts).toEqual({ delivered: 2, events: 5 });
  });

  it("[CF-120] only the kinds of events that were asked for come", async () => {
    const world = new WebhookWorld({ events: ["delete"] });
    world.write(put("a"), remove("a"), put("a"));
    await world.run();
    expect(shown(world)).toEqual(["3 delete a"]);
  });

  it("[CF-121] whatever fails and wherever the sender dies: each event at least once, in order, repetitions byte for byte", async () => {
    let crashes = 0;
    for (let seed = 0; seed < 80; seed++) {
      const random = new Random(seed);
      const world = new WebhookWorld({ batchEvents: 1 + random.below(4) });
      const expected: string[] = [];
      world.atEffect = () => {
        if (!random.chance(0.1)) return;
        crashes++;
        if (random.chance(0.3)) world.opened.restart();
        throw new Crash();
      };
      world.answer = () => {
        // The receiver has it, whatever it says; meanwhile the keyspace goes on.
        if (random.chance(0.5)) write();
        return random.chance(0.6) ? { kind: "delivered" } : FAILED;
      };
      const write = (): void => {
        if (expected.length > 60) return;
        const isTxn = random.chance(0.2);
        const keys = isTxn ? ["a1", "b1", "a2", "a3", "a4"] : [random.pick(["a", "aa", "b", "c"])];
        const { revision } = world.opened.desk.keyspace;
        world.write((isTxn ? txn(...keys.map((key) => put(key))) : put(keys[0]!)) as never);
        for (const key of keys) if (key.startsWith("a")) expected.push(`${revision + 1} put ${key}`);
      };
      for (let n = 0; n < 10; n++) write();
      world.random = random.next();
      await world.run();
      expect([seed, shown(world)]).toEqual([seed, expected]);
      const bodies = new Map<string, string>();
      for (const { id, body } of world.received) {
        expect([seed, id, bodies.get(id) ?? body]).toEqual([seed, id, body]);
        bodies.set(id, body);
      }
    }
    expect(crashes).toBeGreaterThan(500);
  });

  it("[CF-122] pauses between attempts grow with jitter up to a bound; Retry-After is kept", async () => {
    expect([1, 2, 3, 4].map((attempts) => backoffMs(attempts, 1000, 1))).toEqual([1000, 2000, 4000, 8000]);
    expect(backoffMs(100, 1000, 1)).toBe(600_000);
    expect(backoffMs(5, 1000, 0)).toBe(0);
    expect(parseRetryAfter("7", 0)).toBe(7000);
    expect(parseRetryAfter("Thu, 01 Jan 1970 00:01:00 GMT", 20_000)).toBe(40_000);
    expect(parseRetryAfter("86400", 0)).toBe(3_600_000);
    expect(parseRetryAfter("soon", 0)).toBeUndefined();
    expect(outcomeOf(429, "3", 0)).toMatchObject({ kind: "failed", retryAfterMs: 3000 });
    expect(outcomeOf(302, null, 0)).toMatchObject({ kind: "failed", error: "status 302: redirects are not followed" });
    const world = new WebhookWorld();
    world.write(put("a"));
    let left = 3;
    world.answer = () => (left-- > 0 ? { ...FAILED, retryAfterMs: left === 0 ? 60_000 : 0 } : { kind: "delivered" });
    await world.run();
    const [first = 0, ...rest] = world.received.map(({ atMs }) => atMs);
    expect(rest.map((atMs) => atMs - first)).toEqual([500, 1500, 61_500]);
  });

  it("[CF-123] after the last attempt, or too old, it is a dead letter: the subscription pauses and stands there", async () => {
    for (const bounds of [{ maxAttempts: 3 }, { maxAgeSeconds: 1, retryBaseMs: 700 }]) {
      const world = new WebhookWorld({ ...bounds, batchEvents: 1 });
      world.write(put("a"), put("ab"));
      world.answer = () => FAILED;
      await world.run();
      expect(world.received.length).toBe(3);
      expect(world.progress).toMatchObject({
        state: "paused",
        reason: "deadLetter",
        cursor: { revision: 2, index: 0 },
      });
      expect(world.deadLetters).toMatchObject([{ id: "wh_1.1.2.0", attempts: 3, eventCount: 1, error: "status 500" }]);
      world.answer = () => ({ kind: "delivered" });
      await world.run();
      expect(world.received.length).toBe(3);
      world.progress = resumed(world.progress);
      await world.run();
      expect(shown(world)).toEqual(["2 put a", "3 put ab"]);
      expect(world.received.length).toBe(5);
    }
  });

  it("[CF-123] a subscription that asked to skip goes on behind the dead letter; a paused one may be told to", async () => {
    const world = new WebhookWorld({ maxAttempts: 2, onDeadLetter: "skip", batchEvents: 1 });
    world.write(put("a"), put("ab"));
    world.answer = ({ id }) => (id.includes(".2.") ? FAILED : { kind: "delivered" });
    await world.run();
    expect(world.received.map(({ id }) => id)).toEqual(["wh_1.1.2.0", "wh_1.1.2.0", "wh_1.1.3.0"]);
    expect(world.deadLetters.length).toBe(1);
    world.subscription = { ...world.subscription, onDeadLetter: "pause" };
    world.answer = ({ id }) => (id.includes(".4.") ? FAILED : { kind: "delivered" });
    world.write(put("ac"), put("ad"));
    await world.run();
    expect(world.progress.reason).toBe("deadLetter");
    world.progress = resumed(skipped(world.progress));
    await world.run();
    expect(world.received.at(-1)!.id).toBe("wh_1.1.5.0");
  });

  it("[CF-124] 410 pauses at once", async () => {
    const world = new WebhookWorld();
    world.write(put("a"));
    world.answer = () => outcomeOf(410, null, 0);
    await world.run();
    expect(world.received.length).toBe(1);
    expect(world.progress).toMatchObject({ state: "paused", reason: "gone", cursor: { revision: 2 } });
    expect(world.deadLetters).toEqual([]);
  });

  it("[CF-125] what was compacted before it was delivered is told, and never passed over", async () => {
    const world = new WebhookWorld();
    world.progress = pausedByOwner(world.progress);
    world.write(put("a"), put("a"), put("a"), { kind: "compact", revision: 4 });
    for (let n = 0; n < 5; n++) world.opened.desk.compactStep();
    world.progress = resumed(world.progress);
    await world.run();
    expect(world.received).toEqual([]);
    expect(world.progress).toMatchObject({ state: "paused", reason: "compacted", compactedRevision: 4 });
    world.progress = resumed(world.progress);
    await world.run();
    expect(world.progress).toMatchObject({ state: "paused", reason: "compacted" });
    world.progress = replayed(world.progress, 4);
    await world.run();
    expect(shown(world)).toEqual(["4 put a"]);
  });

  it("[CF-125] a quiet subscription keeps up with a history that is compacted", async () => {
    const world = new WebhookWorld();
    for (let n = 0; n < 20; n++) world.write(put("b"));
    await world.run();
    world.write({ kind: "compact", revision: 21 });
    world.worker = world.start();
    world.write(put("a"));
    await world.run();
    expect(shown(world)).toEqual(["22 put a"]);
  });

  it("[CF-126] a replay sends again from a revision on, also while an answer is awaited", async () => {
    const world = new WebhookWorld({ batchEvents: 1 });
    world.write(put("a"), put("ab"), put("ac"));
    await world.run();
    world.progress = replayed(world.progress, 3);
    await world.run();
    expect(world.received.map(({ id }) => id.split(".")[2])).toEqual(["2", "3", "4", "3", "4"]);
    world.write(put("ad"));
    let isFirst = true;
    world.answer = () => {
      if (isFirst) world.progress = replayed(world.progress, 5);
      isFirst = false;
      return { kind: "delivered" };
    };
    await world.run();
    expect(world.received.slice(5).map(({ id }) => id.split(".")[2])).toEqual(["5", "5"]);
  });

  it("[CF-126] a replay from a revision to come begins there, whatever was looked through before", async () => {
    const world = new WebhookWorld();
    world.write(put("b"), put("b"));
    await world.worker.step();
    world.progress = replayed(world.progress, 6);
    world.write(put("a"), put("a"), put("a"));
    await world.run();
    expect(shown(world)).toEqual(["6 put a"]);
  });

  it("[CF-127] paused while a request is under way: its acknowledgement counts, nothing more is sent", async () => {
    const world = new WebhookWorld({ batchEvents: 1 });
    world.write(put("a"), put("ab"));
    world.answer = () => {
      world.progress = pausedByOwner(world.progress);
      return { kind: "delivered" };
    };
    await world.run();
    expect(world.received.length).toBe(1);
    expect(world.progress).toMatchObject({ state: "paused", reason: "asked", cursor: { revision: 3, index: 0 } });
  });

  it("[CF-127] paused or given another URL while the keyspace is waited for: nothing is sent, or to the new URL", async () => {
    const world = new WebhookWorld();
    world.write(put("a"));
    world.atEffect = (name) => {
      if (name === "feed") world.progress = pausedByOwner(world.progress);
    };
    await world.run();
    expect(world.received).toEqual([]);
    expect(world.progress).toMatchObject({ state: "paused", cursor: { revision: 2 }, end: null });
    world.progress = resumed(world.progress);
    world.atEffect = (name) => {
      if (name === "feed") world.subscription = { ...world.subscription, url: "https://new.example" };
    };
    await world.run();
    expect(world.received.map(({ url }) => url)).toEqual(["https://new.example"]);
  });

  it("[CF-128] a target that failed often is left alone, then asked by one request", async () => {
    const breakers = new TargetBreakers();
    for (let n = 1; n < BREAKER_FAILURES; n++) breakers.failed("x", 0);
    expect(breakers.admit("x", 0)).toBe(0);
    breakers.failed("x", 0);
    expect(breakers.admit("x", 1)).toBe(BREAKER_OPEN_MS);
    expect(breakers.admit("y", 1)).toBe(0);
    expect(breakers.admit("x", BREAKER_OPEN_MS)).toBe(0);
    expect(breakers.admit("x", BREAKER_OPEN_MS)).toBe(2 * BREAKER_OPEN_MS);
    breakers.succeeded("x");
    expect(breakers.admit("x", BREAKER_OPEN_MS)).toBe(0);
    const world = new WebhookWorld({ retryBaseMs: 100 });
    world.write(put("a"));
    let left = BREAKER_FAILURES;
    world.answer = () => (left-- > 0 ? FAILED : { kind: "delivered" });
    await world.run();
    const times = world.received.map(({ atMs }) => atMs);
    expect(times.length).toBe(BREAKER_FAILURES + 1);
    expect(times.at(-1)! - times.at(-2)!).toBe(BREAKER_OPEN_MS);
  });
});
