// Rate limits over many gateways, in simulated time: what all of them admit together keeps the limit.
import { describe, expect, it } from "vitest";
import type { PublicError } from "../wire/error-codes.ts";
import { RateAuthority } from "./rate-authority.ts";
import { RateGate, type RateSubject } from "./rate-gate.ts";
import { RatePool } from "./rate-pool.ts";
import type { RateLimit } from "./types.ts";

/** Timers in order of time; promises settle between them. */
class SimulatedTime {
  nowMs = 0;
  #timers: { atMs: number; order: number; run: () => void }[] = [];
  #order = 0;

  at(atMs: number, run: () => void): void {
    const timer = { atMs, order: this.#order++, run };
    let index = this.#timers.length;
    while (index > 0 && this.#timers[index - 1]!.atMs > atMs) index--;
    this.#timers.splice(index, 0, timer);
  }

  sleep = (ms: number): Promise<void> => new Promise((resolve) => this.at(this.nowMs + ms, resolve));

  async runUntil(endMs: number): Promise<void> {
    while (this.#timers[0] && this.#timers[0].atMs <= endMs) {
      const timer = this.#timers.shift()!;
      this.nowMs = Math.max(this.nowMs, timer.atMs);
      timer.run();
      for (let i = 0; i < 8; i++) await Promise.resolve();
    }
    this.nowMs = endMs;
  }
}

/** Repeatable numbers in [0, 1). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

interface World {
  readonly time: SimulatedTime;
  readonly gates: readonly RateGate[];
  /** Calls for leases so far. */
  calls: number;
  isAway: boolean;
  limitOf: (bucket: string) => RateLimit | null;
  /** Times of what was admitted, and costs. */
  readonly admitted: { atMs: number; cost: number; gate: number; tag: string }[];
  readonly refused: { atMs: number; error: PublicError; tag: string }[];
}

function world(gateCount: number, limit: RateLimit | null, latencyMs = 2): World {
  const time = new SimulatedTime();
  const authority = new RateAuthority();
  const made: World = {
    time,
    gates: Array.from(
      { length: gateCount },
      (_, index) =>
        new RateGate({
          now: () => time.nowMs,
          sleep: time.sleep,
          onRefused: () => undefined,
          lease: async (_tenant, asks) => {
            made.calls++;
            await time.sleep(latencyMs / 2);
            if (made.isAway) throw new Error("away");
            const grants = asks.map((ask) => authority.lease(`m${index}`, ask, made.limitOf(ask.bucket), time.nowMs));
            await time.sleep(latencyMs / 2);
            return grants;
          },
        }),
    ),
    calls: 0,
    isAway: false,
    limitOf: () => limit,
    admitted: [],
    refused: [],
  };
  return made;
}

function subject(gate: RateGate, tenantLimit: RateLimit | null, keyId?: string, keyLimit?: RateLimit): RateSubject {
  return gate.subjectOf({ tenant: 1, tenantLimit, keyId: keyId ?? null, keyLimit })!;
}

function request(w: World, gate: number, { of, cost = 1, tag = "" }: { of: RateSubject; cost?: number; tag?: string }) {
  const note = () => w.admitted.push({ atMs: w.time.nowMs, cost, gate, tag });
  const refuse = (error: unknown) => w.refused.push({ atMs: w.time.nowMs, error: error as PublicError, tag });
  try {
    const later = w.gates[gate]!.admit(of, cost, () => undefined);
    if (later) later.then(note, refuse);
    else note();
  } catch (error) {
    refuse(error);
  }
}

/** Requests at random times around an even spacing. */
function load(
  w: World,
  input: {
    gate: number;
    perSecond: number;
    fromMs: number;
    untilMs: number;
    of: RateSubject;
    random: () => number;
    tag?: string;
    cost?: number;
  },
) {
  const gapMs = 1000 / input.perSecond;
  const next = (slotMs: number): void => {
    if (slotMs >= input.untilMs) return;
    w.time.at(slotMs + input.random() * gapMs, () => {
      request(w, input.gate, input);
      next(slotMs + gapMs);
    });
  };
  next(input.fromMs + input.random() * gapMs);
}

const sumIn = (w: World, fromMs: number, untilMs: number, tag?: string): number =>
  w.admitted
    .filter(({ atMs, tag: own }) => atMs >= fromMs && atMs < untilMs && (tag === undefined || own === tag))
    .reduce((sum, { cost }) => sum + cost, 0);

/** Demand of gate i: one takes most, the last ones almost nothing. */
const skewed = (gateCount: number, total: number): number[] => {
  const weights = Array.from({ length: gateCount }, (_, index) => 1 / (index + 1) ** 1.5);
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => (total * weight) / sum);
};

describe("all gateways together", () => {
  const cases = [1, 2, 3, 5, 8, 16].flatMap((gateCount) =>
    [
      { requestsPerSecond: 10, burst: 10 },
      { requestsPerSecond: 200, burst: 200 },
      { requestsPerSecond: 1000, burst: 3000 },
    ].map((limit) => ({ gateCount, limit })),
  );

  it.each(cases)(
    "[AC-24] $gateCount with skewed demand of 3 x $limit.requestsPerSecond/s admit the limit within 10 %",
    async ({ gateCount, limit }) => {
      const w = world(gateCount, limit);
      const random = randomFrom(gateCount * 7919 + limit.requestsPerSecond);
      const { requestsPerSecond, burst } = limit;
      for (const [gate, perSecond] of skewed(gateCount, 3 * requestsPerSecond).entries()) {
        load(w, { gate, perSecond, fromMs: 0, untilMs: 20_000, of: subject(w.gates[gate]!, limit), random });
      }
      await w.time.runUntil(21_000);
      // The burst first, then the rate: the same law for every stretch of time.
      expect(sumIn(w, 0, 20_000)).toBeLessThanOrEqual(burst + requestsPerSecond * 20);
      const settledMs = 1000 + (burst / (2 * requestsPerSecond)) * 1000;
      for (let fromMs = settledMs; fromMs + 5000 <= 20_000; fromMs += 500) {
        const ratio = sumIn(w, fromMs, fromMs + 5000) / (requestsPerSecond * 5);
        expect(ratio, `from ${fromMs}`).toBeGreaterThan(0.9);
        expect(ratio, `from ${fromMs}`).toBeLessThan(1.1);
      }
      for (const { error } of w.refused) expect(error).toMatchObject({ code: "rateLimited" });
      // Far fewer calls than requests, however the demand is: about ten a second and gateway.
      expect(w.calls).toBeLessThan(11 * 20 * gateCount);
    },
  );

  it("[AC-24] demand that moves from gateway to gateway keeps the limit and is not refused below it", async () => {
    const limit = { requestsPerSecond: 100, burst: 100 };
    const w = world(8, limit);
    const random = randomFrom(3);
    for (let second = 0; second < 24; second++) {
      const gate = (second * 3) % 8;
      load(w, {
        gate,
        perSecond: 300,
        fromMs: second * 1000,
        untilMs: (second + 1) * 1000,
        of: subject(w.gates[gate]!, limit),
        random,
      });
    }
    await w.time.runUntil(25_000);
    const ratio = sumIn(w, 4000, 24_000) / 2000;
    expect(ratio).toBeGreaterThan(0.9);
    expect(ratio).toBeLessThan(1.1);
  });

  it("[AC-24] nothing is refused at 90 % of the limit, evenly or unevenly spread", async () => {
    for (const gateCount of [1, 4, 16]) {
      const limit = { requestsPerSecond: 200, burst: 200 };
      const w = world(gateCount, limit);
      const random = randomFrom(gateCount);
      for (const [gate, perSecond] of skewed(gateCount, 180).entries()) {
        load(w, { gate, perSecond, fromMs: 0, untilMs: 15_000, of: subject(w.gates[gate]!, limit), random });
      }
      await w.time.runUntil(16_000);
      expect(w.refused).toHaveLength(0);
    }
  });

  it("[AC-24] what is scarce is shared in proportion to demand", async () => {
    const limit = { requestsPerSecond: 300, burst: 300 };
    const w = world(3, limit);
    const random = randomFrom(11);
    for (const [gate, perSecond] of [600, 300, 100].entries()) {
      load(w, { gate, perSecond, fromMs: 0, untilMs: 20_000, of: subject(w.gates[gate]!, limit), random });
    }
    await w.time.runUntil(21_000);
    const parts = [0, 1, 2].map(
      (gate) => w.admitted.filter((entry) => entry.gate === gate && entry.atMs > 5000).length,
    );
    const total = parts.reduce((a, b) => a + b, 0);
    expect(parts[0]! / total).toBeGreaterThan(0.45);
    expect(parts[2]! / total).toBeGreaterThan(0.05);
    expect(parts[2]! / total).toBeLessThan(0.2);
  });

  it("[AC-24] slow calls between regions keep the limit too", async () => {
    const limit = { requestsPerSecond: 500, burst: 500 };
    const w = world(6, limit, 80);
    const random = randomFrom(5);
    for (const [gate, perSecond] of skewed(6, 2000).entries()) {
      load(w, { gate, perSecond, fromMs: 0, untilMs: 15_000, of: subject(w.gates[gate]!, limit), random });
    }
    await w.time.runUntil(16_000);
    const ratio = sumIn(w, 5000, 15_000) / 5000;
    expect(ratio).toBeGreaterThan(0.9);
    expect(ratio).toBeLessThan(1.1);
  });
});

describe("keys and tenants", () => {
  it("[AC-25] both limits hold, and a limited key takes nothing from the others", async () => {
    const tenantLimit = { requestsPerSecond: 200, burst: 200 };
    const keyLimit = { requestsPerSecond: 20, burst: 20 };
    const w = world(4, null);
    w.limitOf = (bucket) => (bucket === "small" ? keyLimit : bucket === "" ? tenantLimit : null);
    const random = randomFrom(17);
    for (let gate = 0; gate < 4; gate++) {
      const [small, large] = [
        subject(w.gates[gate]!, tenantLimit, "small", keyLimit),
        subject(w.gates[gate]!, tenantLimit),
      ];
      load(w, { gate, perSecond: 250, fromMs: 0, untilMs: 15_000, of: small, random, tag: "small" });
      load(w, { gate, perSecond: 100, fromMs: 0, untilMs: 15_000, of: large, random, tag: "large" });
    }
    await w.time.runUntil(16_000);
    const [small, all] = [sumIn(w, 5000, 15_000, "small") / 200, sumIn(w, 5000, 15_000) / 2000];
    expect(
      [small, all].every((ratio) => ratio > 0.9 && ratio < 1.1),
      `${small} ${all}`,
    ).toBe(true);
    const named = w.refused.find(({ tag }) => tag === "small")!.error;
    expect(named.details).toMatchObject({ limitOf: "key", ...keyLimit, retryAfterSeconds: 1 });
    expect(w.refused.find(({ tag }) => tag === "large")!.error.details).toMatchObject({ limitOf: "tenant" });
  });

  it("[AC-25] a key far over its limit at one gateway does not starve the tenant's other keys at others", async () => {
    const tenantLimit = { requestsPerSecond: 200, burst: 200 };
    const keyLimit = { requestsPerSecond: 20, burst: 20 };
    const w = world(4, null);
    w.limitOf = (bucket) => (bucket === "small" ? keyLimit : tenantLimit);
    const random = randomFrom(29);
    const small = subject(w.gates[0]!, tenantLimit, "small", keyLimit);
    load(w, { gate: 0, perSecond: 1500, fromMs: 0, untilMs: 12_000, of: small, random, tag: "small" });
    for (let gate = 1; gate < 4; gate++) {
      const of = subject(w.gates[gate]!, tenantLimit);
      load(w, { gate, perSecond: 56, fromMs: 0, untilMs: 12_000, of, random, tag: "large" });
    }
    await w.time.runUntil(13_000);
    expect(w.refused.filter(({ tag }) => tag === "large")).toHaveLength(0);
    expect(sumIn(w, 2000, 12_000, "small") / 200).toBeGreaterThan(0.9);
  });

  it("[AC-26] a batch counts once for each operation, and one over the burst is never possible", async () => {
    const limit = { requestsPerSecond: 100, burst: 200 };
    const w = world(2, limit);
    const of = subject(w.gates[0]!, limit);
    load(w, { gate: 0, perSecond: 5, fromMs: 0, untilMs: 20_000, of, random: randomFrom(1), cost: 50 });
    await w.time.runUntil(21_000);
    expect(sumIn(w, 5000, 20_000) / 1500).toBeGreaterThan(0.9);
    expect(sumIn(w, 5000, 20_000) / 1500).toBeLessThan(1.1);
    expect(() => w.gates[0]!.admit(of, 201, () => undefined)).toThrow(
      /201 operations at once; the tenant's burst is 200/,
    );
  });

  it("[AC-24] without a limit there is nothing to ask", () => {
    const w = world(1, null);
    expect(w.gates[0]!.subjectOf({ tenant: 1, tenantLimit: null, keyId: "k", keyLimit: undefined })).toBeUndefined();
  });
});

describe("a lease", () => {
  it("[AC-24] that is not used within a second goes back with the next question, and cannot be spent meanwhile", () => {
    const pool = new RatePool("", { requestsPerSecond: 100, burst: 100 }, 0);
    for (let i = 0; i < 20; i++) pool.want(1);
    const ask = pool.ask(1, 100);
    expect(ask).toEqual({ bucket: "", need: 1, more: 47, returned: 0 });
    pool.granted({ granted: 48, pauseMs: 0, share: 1 }, 100);
    pool.spend(8);
    expect([pool.canSpend(40, 1099), pool.canSpend(1, 1100)]).toEqual([true, false]);
    expect(pool.ask(1, 1100).returned).toBe(40);
    expect(pool.ask(1, 1200).returned).toBe(0);
    const authority = new RateAuthority();
    const limit = { requestsPerSecond: 100, burst: 100 };
    const empty = { bucket: "", need: 0, more: 0 };
    expect(authority.lease("m", { bucket: "", need: 100, more: 0, returned: 0 }, limit, 0).granted).toBe(100);
    authority.lease("m", { ...empty, returned: 40 }, limit, 0);
    expect(authority.lease("m", { bucket: "", need: 41, more: 0, returned: 0 }, limit, 0).granted).toBe(0);
    expect(authority.lease("m", { bucket: "", need: 40, more: 0, returned: 0 }, limit, 0).granted).toBe(40);
    authority.lease("m", { ...empty, returned: 1e9 }, limit, 0);
    expect(authority.lease("m", { bucket: "", need: 101, more: 0, returned: 0 }, limit, 0).granted).toBe(0);
  });
});

describe("the authority away", () => {
  it("[AC-27] its last shares go on, and it is not asked for each request", async () => {
    const limit = { requestsPerSecond: 100, burst: 100 };
    const w = world(4, limit);
    const random = randomFrom(23);
    for (let gate = 0; gate < 4; gate++) {
      load(w, { gate, perSecond: 75, fromMs: 0, untilMs: 30_000, of: subject(w.gates[gate]!, limit), random });
    }
    await w.time.runUntil(8000);
    w.isAway = true;
    const before = w.calls;
    await w.time.runUntil(20_000);
    const ratio = sumIn(w, 10_000, 20_000) / 1000;
    expect(ratio).toBeGreaterThan(0.8);
    expect(ratio).toBeLessThan(1.25);
    expect(w.calls - before).toBeLessThan(4 * 13 + 4);
    w.isAway = false;
    await w.time.runUntil(31_000);
    expect(sumIn(w, 23_000, 30_000) / 700).toBeGreaterThan(0.9);
    expect(sumIn(w, 23_000, 30_000) / 700).toBeLessThan(1.1);
  });

  it("[AC-27] one that was never reached lets in at most the limit, for each gateway", async () => {
    const limit = { requestsPerSecond: 50, burst: 60 };
    const w = world(2, limit);
    w.isAway = true;
    for (let gate = 0; gate < 2; gate++) {
      load(w, {
        gate,
        perSecond: 500,
        fromMs: 0,
        untilMs: 10_000,
        of: subject(w.gates[gate]!, limit),
        random: randomFrom(9),
      });
    }
    await w.time.runUntil(11_000);
    expect(sumIn(w, 0, 10_000)).toBeGreaterThan(2 * 400);
    expect(sumIn(w, 0, 10_000)).toBeLessThanOrEqual(2 * (60 + 50 * 10));
  });

  it("[AC-24] a call whose request was cut off does not stop the others for ever", async () => {
    const limit = { requestsPerSecond: 50, burst: 50 };
    const time = new SimulatedTime();
    let calls = 0;
    const gate = new RateGate({
      now: () => time.nowMs,
      sleep: time.sleep,
      onRefused: () => undefined,
      lease: (_, asks) => {
        calls++;
        if (calls === 1) return new Promise(() => undefined);
        return Promise.resolve(asks.map(({ need, more }) => ({ granted: need + more, pauseMs: 0, share: 1 })));
      },
    });
    const of = subject(gate, limit);
    void gate.admit(of, 1, () => undefined);
    let isIn = false;
    void Promise.resolve(gate.admit(of, 1, () => undefined)).then(() => {
      isIn = true;
    });
    await time.runUntil(900);
    expect(isIn).toBe(false);
    await time.runUntil(1100);
    expect([isIn, calls]).toEqual([true, 2]);
  });
});
