// The Directory by its RPC: incarnations, numbers, the reconciler under failures, cold starts.

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { type DueRecord, KEYS, numberOf, type TenantRecord } from "../../objects/directory-keys.ts";
import { DirectoryRecords } from "../../objects/directory-records.ts";
import type { Mutation, NewTenant } from "../../objects/tenancy-rpc.ts";
import type { Directory } from "../../src/worker.ts";
import { tenantObject } from "./gateway-support.ts";

type Stub = DurableObjectStub<Directory>;

/** A directory of its own. */
function directoryNamed(name: string): Stub {
  return env.DIRECTORY.get(env.DIRECTORY.idFromName(name)) as unknown as Stub;
}

let writes = 0;
const mutation = (body = "body"): Mutation => {
  const writeId = new Uint8Array(16);
  new DataView(writeId.buffer).setUint32(0, ++writes);
  return { writeId, bodyHash: body };
};
const tenant = (tenantId: string, replicationFactor = 3): NewTenant => ({
  tenantId,
  displayName: "",
  replicationFactor,
  defaultConsistency: "quorum",
  conflictPolicy: "siblings",
});

/** Replaces the bindings that the object calls; numbers of other directories' tenants would collide otherwise. */
async function replace(stub: Stub, bindings: Record<string, object>): Promise<void> {
  await runInDurableObject(stub, (instance) => {
    const held = instance as unknown as { env: object };
    held.env = { ...env, ...bindings };
  });
}

const namespaceOf = (stub: object) => ({ idFromName: (name: string) => name, get: () => stub });

let aheadMs = 0;
beforeEach(() => {
  aheadMs = 0;
});

/** Rings when everything that waits is due: the longest wait is a minute, from the last ring on. */
async function ring(stub: Stub): Promise<void> {
  await runInDurableObject(stub, (_, state) => state.storage.setAlarm(Date.now() + 600_000));
  aheadMs += 61_000;
  const clock = vi.spyOn(Date, "now").mockReturnValue(Date.now() + aheadMs);
  try {
    await runDurableObjectAlarm(stub as unknown as DurableObjectStub);
  } finally {
    clock.mockRestore();
  }
}

const rowsOf = (stub: Stub) =>
  runInDurableObject(stub, (_, state) => {
    const records = new DirectoryRecords(state.storage);
    return records.list<TenantRecord>(KEYS.tenants).map(({ key, value }) => {
      const number = numberOf(key);
      return { number, state: value.state, failures: records.get<DueRecord>(KEYS.due(number))?.failures ?? 0 };
    });
  });

describe("the Directory", () => {
  it("starts with the nodes of the settings, spread over the zones", async () => {
    const { nodes } = await directoryNamed("first-start").view();
    expect(nodes.map(({ id, number, zone, incarnation }) => [id, number, zone, incarnation])).toEqual([
      ["n1", 1, "z1", 0],
      ["n2", 2, "z2", 0],
      ["n3", 3, "z3", 0],
    ]);
  });

  it("[AC-14] gives each incarnation once, also after an eviction and at the same time", async () => {
    const stub = directoryNamed("incarnations");
    const before = (await stub.view()).revision;
    const given = await Promise.all(Array.from({ length: 5 }, () => stub.registerIncarnation("n2")));
    await evictDurableObject(stub as unknown as DurableObjectStub);
    given.push(await stub.registerIncarnation("n2"));
    expect(given.map(({ incarnation }) => incarnation)).toEqual([1, 2, 3, 4, 5, 6]);
    expect((await stub.view()).revision).toBe(before + 6);
    await runInDurableObject(stub, (instance) =>
      expect((instance as unknown as Directory).registerIncarnation("n9")).rejects.toThrow('no storage node "n9"'),
    );
  });

  it("[CL-146] gives a store that stands in another zone than its node no incarnation", async () => {
    const stub = directoryNamed("wrong-zone");
    const before = (await stub.view()).revision;
    await runInDurableObject(stub, async (instance) => {
      const own = instance as unknown as Directory;
      await expect(own.registerIncarnation("n2", "z4")).rejects.toThrow("n2 belongs to z2, not to z4");
      expect((await own.view()).revision).toBe(before);
      expect(await own.registerIncarnation("n2", "z2")).toMatchObject({ incarnation: 1 });
    });
  });

  it("[AC-10] never gives a number twice", async () => {
    const stub = directoryNamed("numbers");
    const quiet = {
      initialize: async () => undefined,
      beginErasure: async () => undefined,
      eraseNamespaces: async () => true,
      erase: async () => undefined,
    };
    await replace(stub, {
      TENANT: namespaceOf(quiet),
      KEY_VALUE_REPLICA: namespaceOf({ eraseTenant: async () => true }),
    });
    const numbers: (number | null)[] = [];
    for (let i = 0; i < 4; i++) {
      expect((await stub.createTenant(tenant("acme"), mutation())).ok).toBe(true);
      numbers.push(await stub.lookupTenant("acme"));
      await stub.deleteTenant("acme", mutation());
      await ring(stub);
      expect(await rowsOf(stub)).toEqual([]);
    }
    expect(numbers).toEqual([1, 2, 3, 4]);
  });

  it("[AC-11] erases over failing and slow replicas, and forgets the tenant only then", async () => {
    const stub = directoryNamed("erasure");
    const events: string[] = [];
    const answers: (boolean | Error)[] = [new Error("away"), new Error("away"), false, true, true];
    let namespacesLeft = 1;
    let round = -1;
    const object = {
      initialize: async () => undefined,
      beginErasure: async () => void events.push("refuse"),
      eraseNamespaces: async () => namespacesLeft-- <= 0,
      erase: async () => void events.push("erase"),
    };
    const replica = {
      eraseTenant: async () => {
        const answer = answers[round]!;
        if (answer instanceof Error) throw answer;
        return answer;
      },
    };
    await replace(stub, { TENANT: namespaceOf(object), KEY_VALUE_REPLICA: namespaceOf(replica) });
    await stub.createTenant(tenant("acme"), mutation());
    expect(await stub.deleteTenant("acme", mutation())).toMatchObject({ ok: true });
    expect(events[0]).toBe("refuse");
    const failures: number[] = [];
    for (round = 0; round < answers.length; round++) {
      await ring(stub);
      failures.push((await rowsOf(stub))[0]?.failures ?? -1);
    }
    // The object's own alarm may ring as well, on a busy machine.
    const [first = 0, second = 0, ...later] = failures;
    expect(first).toBeGreaterThan(0);
    expect(second).toBeGreaterThan(first);
    expect(later).toEqual([0, 0, -1]);
    expect(events.at(-1)).toBe("erase");
    expect(events.filter((event) => event === "erase")).toHaveLength(1);
  });

  it("[AC-9] a creation whose Tenant could not start is finished by the reconciler and answered when repeated", async () => {
    const stub = directoryNamed("late-start");
    let isAway = true;
    const started: number[] = [];
    const object = {
      initialize: async (start: { tenant: number }) => {
        if (isAway) throw new Error("away");
        started.push(start.tenant);
      },
    };
    await replace(stub, { TENANT: namespaceOf(object) });
    const same = mutation();
    expect(await stub.createTenant(tenant("acme"), same)).toMatchObject({ ok: false, code: "unknownOutcome" });
    isAway = false;
    await ring(stub);
    expect(started).toEqual([1]);
    expect(await stub.createTenant(tenant("acme"), same)).toMatchObject({ ok: true, value: { tenantId: "acme" } });
    expect(started).toEqual([1]);
    expect(await stub.createTenant(tenant("acme"), { ...same, bodyHash: "other" })).toMatchObject({
      code: "idempotencyKeyReused",
    });
  });

  it("[AC-9] forgets write ids after their time, not before", async () => {
    const stub = directoryNamed("records");
    await replace(stub, { TENANT: namespaceOf({ initialize: async () => undefined }) });
    await stub.createTenant(tenant("acme"), mutation());
    const age = (ms: number) =>
      runInDurableObject(stub, (_, state) => {
        state.storage.sql.exec("UPDATE write_records SET at_ms = ?", Date.now() - ms);
      });
    const count = () =>
      runInDurableObject(stub, (_, state) => state.storage.sql.exec("SELECT 1 FROM write_records").toArray().length);
    await age(23.9 * 3_600_000);
    await ring(stub);
    expect(await count()).toBe(1);
    await age(24.1 * 3_600_000);
    await ring(stub);
    expect(await count()).toBe(0);
  });
});

describe("a Tenant object", () => {
  it("that someone merely asked leaves nothing on disk", async () => {
    const stub = tenantObject(987_654);
    expect(await stub.viewSince(null)).toBeNull();
    expect(await stub.describe()).toBeNull();
    await stub.beginErasure();
    const tables = await runInDurableObject(
      stub as never,
      ((_: unknown, state: DurableObjectState) =>
        state.storage.sql
          .exec("SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\'")
          .toArray()) as never,
    );
    expect(tables).toEqual([]);
  });
});
