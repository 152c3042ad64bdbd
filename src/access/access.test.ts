// Key texts, judgements and schedules: the pure parts of access control.
import { describe, expect, it } from "vitest";
import { deriveApiKey, parseApiKey, recordIdOf, sameHash, sha256Hex } from "./api-key.ts";
import { admittedKey, callerOf, sessionCaller } from "./judge.ts";
import { firstNodes, maxReplicationFactor } from "./ring-start.ts";
import { nextAlarmAt, retryDelayMs } from "./schedule.ts";
import { scopeAllows } from "./scope.ts";
import type { ApiKeyRecord, TenantView } from "./types.ts";

const secret = new Uint8Array(32).fill(7);
const writeId = new Uint8Array(16).fill(9);

describe("key texts", () => {
  it("[AC-1] parse to what they were made of", async () => {
    const key = await deriveApiKey(secret, "acme-1", writeId);
    expect(key.text).toMatch(/^jdb\.acme-1\.[0-9a-f]{16}\.[A-Za-z0-9_-]{43}$/);
    expect(parseApiKey(key.text)).toEqual({ tenantId: "acme-1", keyId: key.keyId });
    expect(key.hash).toBe(await sha256Hex(key.text));
  });

  it.each(["", "jdb", "jdb.root.test", "jdb.Acme.0123456789abcdef.x", "xdb.acme.0123456789abcdef.A", " jdb.a.b.c"])(
    "[AC-2] %j is none",
    (text) => expect(parseApiKey(text)).toBeUndefined(),
  );

  it("[AC-9] follow from secret, tenant and write id alone, and from each of them", async () => {
    const { text } = await deriveApiKey(secret, "acme", writeId);
    expect((await deriveApiKey(secret, "acme", writeId)).text).toBe(text);
    const others = [
      await deriveApiKey(new Uint8Array(32), "acme", writeId),
      await deriveApiKey(secret, "acmf", writeId),
      await deriveApiKey(secret, "acme", new Uint8Array(16)),
    ];
    expect(new Set([text, ...others.map((key) => key.text)]).size).toBe(4);
  });

  it("[AC-9] a record's id does not show the write id", async () => {
    const id = await recordIdOf(writeId);
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(id).not.toContain("0909");
  });

  it("hashes compare by all their characters", () => {
    expect(sameHash("abc", "abc")).toBe(true);
    for (const other of ["abd", "bbc", "ab", ""]) expect(sameHash("abc", other)).toBe(false);
  });
});

describe("judgement", () => {
  const record: ApiKeyRecord = {
    keyId: "k1",
    name: "",
    scope: "read-only",
    hash: "h1",
    createdAtMs: 0,
    expiresAtMs: 100,
    revokedAtMs: null,
  };
  const view: TenantView = {
    tenantId: "acme",
    tenant: 4,
    revision: 1,
    state: "active",
    replicationFactor: 2,
    defaultConsistency: "one",
    conflictPolicy: "jsonMerge",
    keys: [record],
  };
  const presented = { keyId: "k1", hash: "h1" };

  it("[AC-2] [AC-6] admits the live key of an active tenant only", () => {
    expect(admittedKey(view, presented, 99)).toBe(record);
    expect(admittedKey(view, presented, 100)).toBeUndefined();
    expect(admittedKey(view, { ...presented, hash: "h2" }, 0)).toBeUndefined();
    expect(admittedKey(view, { ...presented, keyId: "k2" }, 0)).toBeUndefined();
    expect(admittedKey({ ...view, state: "deleting" }, presented, 0)).toBeUndefined();
    expect(admittedKey({ ...view, keys: [{ ...record, revokedAtMs: 1 }] }, presented, 0)).toBeUndefined();
  });

  it("[AC-3] ranks scopes", () => {
    const scopes = ["read-only", "read-write", "admin"] as const;
    for (const [held, a] of scopes.entries()) {
      for (const [needed, b] of scopes.entries()) expect(scopeAllows(a, b)).toBe(held >= needed);
    }
    expect(callerOf(view, "read-only")).toEqual({
      tenant: 4,
      replicationFactor: 2,
      defaultConsistency: "one",
      conflictPolicy: "jsonMerge",
      canWrite: false,
    });
    expect(callerOf(view, "admin").canWrite).toBe(true);
  });

  it("[AC-5] a session lives as long as its key", () => {
    const k1 = { kind: "key", keyId: "k1" } as const;
    expect(sessionCaller(view, k1, 50)).toMatchObject({ tenant: 4, canWrite: false });
    expect(sessionCaller(view, k1, 100)).toBeUndefined();
    expect(sessionCaller(view, { kind: "key", keyId: "k2" }, 50)).toBeUndefined();
    expect(sessionCaller({ ...view, state: "deleting" }, k1, 50)).toBeUndefined();
    expect(sessionCaller(undefined, k1, 50)).toBeUndefined();
  });
});

describe("schedules and starts", () => {
  it("[AC-15] the earliest due time rings; waiting doubles up to a minute", () => {
    expect(nextAlarmAt([])).toBeNull();
    expect(nextAlarmAt([null, undefined])).toBeNull();
    expect(nextAlarmAt([5, null, 3, 9])).toBe(3);
    expect([1, 2, 3, 4].map(retryDelayMs)).toEqual([500, 1000, 2000, 4000]);
    for (let failures = 8; failures < 2000; failures += 97) expect(retryDelayMs(failures)).toBe(60_000);
  });

  it("[AC-12] at most one replica a zone", () => {
    const nodes = firstNodes(5, 3);
    expect(nodes.map(({ zone }) => zone)).toEqual(["z1", "z2", "z3", "z1", "z2"]);
    expect(maxReplicationFactor(nodes)).toBe(3);
    expect(maxReplicationFactor(nodes.map((node) => ({ ...node, state: "removed" })))).toBe(0);
  });
});
