// Sessions end with their keys.
import { beforeEach, expect, it } from "vitest";
import { CHECK_EVERY_MS, type GuardedSession, SessionGuard } from "./session-guard.ts";
import type { ApiKeyRecord, Credential, TenantView } from "./types.ts";

const STALE_MS = 60_000;
let nowMs = 0;
let timers: { atMs: number; run: () => void }[] = [];
let view: TenantView | null = null;
let isAway = false;
let calls = 0;
let guard: SessionGuard;

const record = (keyId: string): ApiKeyRecord => ({
  keyId,
  name: "",
  scope: "read-write",
  hash: "",
  createdAtMs: 0,
  expiresAtMs: null,
  revokedAtMs: null,
});

beforeEach(() => {
  nowMs = 0;
  timers = [];
  isAway = false;
  calls = 0;
  view = {
    tenantId: "acme",
    tenant: 1,
    revision: 1,
    state: "active",
    replicationFactor: 3,
    defaultConsistency: "quorum",
    conflictPolicy: "siblings",
    keys: [record("k1"), record("k2")],
  };
  guard = new SessionGuard({
    viewSince: async (_, revision) => {
      calls++;
      if (isAway) throw new Error("away");
      return view?.revision === revision ? "unchanged" : view;
    },
    now: () => nowMs,
    setTimer: (delayMs, run) => timers.push({ atMs: nowMs + delayMs, run }),
    staleMs: STALE_MS,
  });
});

/** Lets time pass, timer by timer. */
async function pass(ms: number): Promise<void> {
  const endMs = nowMs + ms;
  for (;;) {
    const next = timers.sort((a, b) => a.atMs - b.atMs)[0];
    if (!next || next.atMs > endMs) break;
    timers.shift();
    nowMs = next.atMs;
    next.run();
    for (let i = 0; i < 10; i++) await Promise.resolve();
  }
  nowMs = endMs;
}

function session(keyId: string, credential: Credential = { kind: "key", keyId }) {
  const events: string[] = [];
  const guarded: GuardedSession = {
    tenant: 1,
    credential,
    update: (caller) => events.push(caller.conflictPolicy),
    end: () => events.push("end"),
  };
  return { events, remove: guard.add(guarded) };
}

it("[AC-5] a revoked key ends its sessions within two seconds, others go on", async () => {
  const [one, two] = [session("k1"), session("k2")];
  await pass(10_000);
  view = { ...view!, revision: 2, keys: [record("k2")] };
  await pass(2000);
  expect(one.events).toEqual(["siblings", "end"]);
  expect(two.events).toEqual(["siblings", "siblings"]);
});

it("[AC-6] [AC-10] so do an expired key and a deleted tenant", async () => {
  view = { ...view!, keys: [{ ...record("k1"), expiresAtMs: 5000 }, record("k2")] };
  const [one, two] = [session("k1"), session("k2")];
  await pass(4900);
  expect(one.events).not.toContain("end");
  await pass(1200);
  expect(one.events).toContain("end");
  view = null;
  await pass(2000);
  expect(two.events).toContain("end");
});

it("[AC-21] a session opened with a signed token ends when the token expires, or is issued too early", async () => {
  const token = { kind: "token", scope: "read-write", expiresAtMs: 5000, issuedAtMs: 1000 } as const;
  const [one, two] = [session("", token), session("", { ...token, expiresAtMs: 60_000 })];
  await pass(4900);
  expect(one.events).toEqual(["siblings"]);
  await pass(1200);
  expect(one.events).toEqual(["siblings", "end"]);
  view = { ...view!, revision: 2, tokensValidAfterMs: 1000 };
  await pass(2000);
  expect(two.events).not.toContain("end");
  view = { ...view!, revision: 3, tokensValidAfterMs: 1001 };
  await pass(2000);
  expect(two.events).toContain("end");
});

it("[AC-12] changed settings reach open sessions", async () => {
  const one = session("k1");
  await pass(2000);
  view = { ...view!, revision: 2, conflictPolicy: "lastWriteWins" };
  await pass(2000);
  expect(one.events).toEqual(["siblings", "lastWriteWins"]);
});

it("[AC-7] without the owner sessions go on for the configured time", async () => {
  const one = session("k1");
  await pass(2000);
  isAway = true;
  await pass(STALE_MS - 2000);
  expect(one.events).not.toContain("end");
  await pass(4000);
  expect(one.events).toContain("end");
});

it("[AC-7] also when the owner was never reached since the session opened", async () => {
  isAway = true;
  const one = session("k1");
  await pass(STALE_MS - 2000);
  expect(one.events).toEqual([]);
  await pass(4000);
  expect(one.events).toEqual(["end"]);
});

it("asks once a tenant and check, and not at all without sessions", async () => {
  const open = Array.from({ length: 50 }, () => session("k1"));
  await pass(CHECK_EVERY_MS);
  expect(calls).toBe(1);
  for (const one of open) one.remove();
  await pass(CHECK_EVERY_MS);
  const before = calls;
  await pass(20_000);
  expect(calls).toBe(before);
  expect(timers).toEqual([]);
});
