// Authentication from memory: how old a view may get, what happens when its owner is away, what unknown tokens may cost.
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { TenantAdminRpc } from "../../objects/tenancy-rpc.ts";
import { type DerivedKey, deriveApiKey } from "../../src/access/api-key.ts";
import { UNKNOWN_TOKENS_BURST } from "../../src/access/limits.ts";
import { RateGate } from "../../src/access/rate-gate.ts";
import type { TenantView } from "../../src/access/types.ts";
import { defaultSettings } from "../../src/cluster/settings.ts";
import { Authenticator, type Principal } from "../../src/gateway/authenticator.ts";
import type { Stubs } from "../../src/gateway/stubs.ts";
import { TenantViews } from "../../src/gateway/tenant-views.ts";
import { TokenVerifier } from "../../src/gateway/token-verifier.ts";
import { PublicError } from "../../src/wire/error-codes.ts";

const STALE_MS = 15 * 60_000;

/** Directory and Tenant in memory, with a switch and a count of calls. */
class FakeOwners {
  readonly tenants = new Map<string, TenantView>();
  isAway = false;
  calls = 0;

  #answer<T>(value: T): Promise<T> {
    this.calls++;
    return this.isAway ? Promise.reject(new Error("away")) : Promise.resolve(value);
  }

  /** Nothing is on the zone's disk. */
  zoneViews() {
    return { tenant: async () => null, keepTenant: async () => undefined, forgetTenant: async () => undefined };
  }

  directory() {
    return { lookupTenant: (tenantId: string) => this.#answer(this.tenants.get(tenantId)?.tenant ?? null) };
  }

  tenant(number: number): Partial<TenantAdminRpc> {
    return {
      viewSince: (revision) => {
        const view = [...this.tenants.values()].find((candidate) => candidate.tenant === number);
        return this.#answer(view?.revision === revision ? "unchanged" : (view ?? null));
      },
    };
  }
}

let nowMs = 0;
let owners: FakeOwners;
let authenticator: Authenticator;
let behind: Promise<unknown>[] = [];
let counts: Record<string, number> = {};

beforeEach(() => {
  nowMs = 1_000_000;
  owners = new FakeOwners();
  behind = [];
  counts = {};
  const count = (name: string): void => {
    counts[name] = (counts[name] ?? 0) + 1;
  };
  const now = () => nowMs;
  const onStale = () => count("stale");
  const views = new TenantViews({ stubs: owners as unknown as Stubs, now, staleMs: STALE_MS, onStale });
  const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
  const rates = new RateGate({
    now,
    sleep,
    lease: () => Promise.reject(new Error("away")),
    onRefused: () => undefined,
  });
  const onKeysFailure = () => undefined;
  const tokens = new TokenVerifier({ settings: defaultSettings.auth, now, fetch, count, onKeysFailure });
  authenticator = new Authenticator({ views, now, rootKeyHash: async () => undefined, count, rates, tokens });
});

async function addTenant(tenantId: string, tenant: number): Promise<DerivedKey> {
  const key = await deriveApiKey(new Uint8Array(32), tenantId, new Uint8Array(16).fill(tenant));
  const record = { keyId: key.keyId, name: "", scope: "admin", hash: key.hash } as const;
  owners.tenants.set(tenantId, {
    tenantId,
    tenant,
    revision: 1,
    state: "active",
    replicationFactor: 3,
    defaultConsistency: "quorum",
    conflictPolicy: "siblings",
    keys: [{ ...record, createdAtMs: 0, expiresAtMs: null, revokedAtMs: null }],
  });
  return key;
}

const change = (tenantId: string, changes: Partial<TenantView>): void => {
  const view = owners.tenants.get(tenantId)!;
  owners.tenants.set(tenantId, { ...view, revision: view.revision + 1, ...changes });
};

async function outcome(token: string): Promise<string> {
  try {
    const principal: Principal = await authenticator.authenticate(token, (work) => behind.push(work));
    return principal.kind;
  } catch (error) {
    return error instanceof PublicError ? error.code : String(error);
  }
}

describe("the hot path", () => {
  it("[AC-23] answers at once, without a call while the view is young", async () => {
    const { text } = await addTenant("acme", 1);
    expect(await outcome(text)).toBe("tenant");
    const calls = owners.calls;
    nowMs += 250;
    expect(authenticator.authenticate(text, () => undefined)).not.toBeInstanceOf(Promise);
    expect(owners.calls).toBe(calls);
    expect(counts["jade_auth_cache_hits_total"]).toBe(1);
  });

  it("refreshes behind one request when the view is older", async () => {
    const { text } = await addTenant("acme", 1);
    await outcome(text);
    nowMs += 1500;
    for (let i = 0; i < 5; i++) expect(await outcome(text)).toBe("tenant");
    expect(behind).toHaveLength(1);
    await Promise.all(behind);
    nowMs += 1500;
    expect(authenticator.authenticate(text, () => undefined)).not.toBeInstanceOf(Promise);
  });
});

describe("changes here", () => {
  it("[AC-5] a view that was asked for before a change and comes after it is not kept", async () => {
    const { text } = await addTenant("acme", 1);
    let release = (): void => undefined;
    const slow = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { tenant } = owners;
    const old = owners.tenants.get("acme")!;
    owners.tenant = () => ({ viewSince: () => slow.then(() => old) });
    const early = outcome(text);
    await new Promise((resolve) => setTimeout(resolve, 5));
    owners.tenant = tenant;
    change("acme", { keys: [] });
    void authenticator.forget("acme");
    release();
    await early;
    expect(await outcome(text)).toBe("unauthenticated");
  });
});

describe("changes elsewhere", () => {
  it("[AC-5] a key revoked through another gateway is refused within two seconds", async () => {
    const { text } = await addTenant("acme", 1);
    await outcome(text);
    change("acme", { keys: [] });
    nowMs += 2000;
    expect(await outcome(text)).toBe("unauthenticated");
  });

  it("[AC-10] after deletion elsewhere the old key fails, and a tenant created again lets only its own in", async () => {
    const old = await addTenant("acme", 1);
    await outcome(old.text);
    const young = await addTenant("acme", 2);
    expect(await outcome(young.text)).toBe("tenant");
    nowMs += 2000;
    expect(await outcome(old.text)).toBe("unauthenticated");
    expect(await outcome(young.text)).toBe("tenant");
  });

  it("a key created elsewhere is found although the view in memory does not have it", async () => {
    const { text } = await addTenant("acme", 1);
    const { keys } = owners.tenants.get("acme")!;
    change("acme", { keys: [] });
    expect(await outcome(`jdb.acme.0000000000000000.${"A".repeat(43)}`)).toBe("unauthenticated");
    change("acme", { keys });
    expect(await outcome(text)).toBe("tenant");
  });
});

describe("the owner away", () => {
  it("[AC-7] known keys are accepted for the configured time, then nobody", async () => {
    const { text } = await addTenant("acme", 1);
    await outcome(text);
    owners.isAway = true;
    nowMs += STALE_MS - 1000;
    expect(await outcome(text)).toBe("tenant");
    expect(counts["stale"]).toBeGreaterThan(0);
    const calls = owners.calls;
    expect(await outcome(text)).toBe("tenant");
    expect(owners.calls, "asked again too soon").toBe(calls);
    nowMs += 2000;
    expect(await outcome(text)).toBe("unavailable");
    owners.isAway = false;
    expect(await outcome(text)).toBe("tenant");
  });

  it("[GW-26] that hangs holds up one request at most; then it is asked behind them, and a revocation counts as soon as it answers", async () => {
    const { text } = await addTenant("acme", 1);
    await outcome(text);
    const answers: (() => void)[] = [];
    const { tenant } = owners;
    owners.tenant = (number) => ({
      viewSince: (...args) =>
        new Promise<void>((resolve) => answers.push(resolve)).then(() =>
          tenant.call(owners, number).viewSince!(...args),
        ),
    });
    // A question is under way behind the requests; when the view is old one request waits for what is left of its time.
    nowMs += 600;
    expect(await outcome(text)).toBe("tenant");
    nowMs += 1500;
    const [beganMs, asked] = [performance.now(), answers.length];
    const waiting = outcome(text);
    await vi.waitFor(() => expect(answers.length).toBe(asked + 1));
    nowMs += 500;
    expect(await waiting).toBe("tenant");
    expect(performance.now() - beganMs).toBeGreaterThan(400);
    expect(performance.now() - beganMs).toBeLessThan(1900);
    nowMs += 600;
    for (let i = 0; i < 5; i++) {
      const answered = outcome(text);
      expect(await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, 300, "waits"))])).toBe(
        "tenant",
      );
    }
    expect(answers.length).toBe(asked + 2);
    change("acme", { keys: [] });
    answers.at(-1)!();
    await behind.at(-1);
    expect(await outcome(text)).toBe("unauthenticated");
  });

  it("[GW-26] that was away some time ago is asked by the request itself: it may have revoked the key since", async () => {
    const { text } = await addTenant("acme", 1);
    await outcome(text);
    owners.isAway = true;
    nowMs += 2500;
    expect(await outcome(text)).toBe("tenant");
    owners.isAway = false;
    change("acme", { keys: [] });
    nowMs += 1000;
    expect(await outcome(text)).toBe("unauthenticated");
  });

  it("[AC-7] an unknown key is unavailable, not refused: nobody knows", async () => {
    const { text } = await addTenant("acme", 1);
    owners.isAway = true;
    expect(await outcome(text)).toBe("unavailable");
    owners.isAway = false;
    expect(await outcome(text)).toBe("tenant");
  });
});

describe("unknown tokens", () => {
  const forged = (tenantId: string, index: number) =>
    `jdb.${tenantId}.${index.toString(16).padStart(16, "0")}.${"A".repeat(43)}`;

  it("[AC-8] cost a bounded number of look-ups, alike for existing and absent tenants", async () => {
    const { text } = await addTenant("acme", 1);
    expect(await outcome(text)).toBe("tenant");
    const outcomes = { acme: new Set<string>(), absent: new Set<string>() };
    for (let i = 0; i < UNKNOWN_TOKENS_BURST; i++) {
      outcomes.acme.add(await outcome(forged("acme", i)));
      outcomes.absent.add(await outcome(forged("absent", i)));
    }
    expect(outcomes.acme).toEqual(new Set(["unauthenticated", "rateLimited"]));
    expect(outcomes.absent).toEqual(outcomes.acme);
    expect(owners.calls).toBeLessThanOrEqual(2 * UNKNOWN_TOKENS_BURST + 4);
    expect(await outcome(text), "a known key is not limited").toBe("tenant");
    nowMs += 100;
    expect(await outcome(forged("absent", 1e6))).toBe("unauthenticated");
  });

  it("[AC-8] one and the same is not looked up twice within two seconds", async () => {
    expect(await outcome(forged("absent", 1))).toBe("unauthenticated");
    const calls = owners.calls;
    expect(await outcome(forged("absent", 1))).toBe("unauthenticated");
    expect(owners.calls).toBe(calls);
  });
});
