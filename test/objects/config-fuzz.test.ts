// The keyspace as an object against its reference over random operations: restarts, crashes, hibernation, lease ends and compactions between
// any two, over SQLite and RPC of workerd. (src/config/keyspace.fuzz.test.ts does the same to the pure part, faster.)
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { ReferenceKeyspace } from "../../src/config/keyspace.reference.ts";
import type { OperationAnswer } from "../../src/wire/config.ts";
import { comparable, Generator, isRefusedAlways, LEASES, plain } from "../unit/config/keyspace-generator.ts";
import { call, callAll, keyspace, newKeyspaceName } from "./config-support.ts";

const SEEDS = [1, 2];
const STEPS = 100;

async function restart(name: string, how: "eviction" | "crash"): Promise<void> {
  const stub = keyspace(name);
  if (how === "eviction") return evictDurableObject(stub);
  await runInDurableObject(stub, (_, state) => state.abort("injected: crash")).catch(() => undefined);
}

async function runSeed(seed: number): Promise<{ readonly restarts: number; readonly compactions: number }> {
  const random = new Generator(seed);
  const name = newKeyspaceName();
  const reference = new ReferenceKeyspace();
  const count = { restarts: 0, compactions: 0 };
  for (let step = 0; step < STEPS; step++) {
    if (random.chance(0.08)) {
      await restart(name, random.pick(["eviction", "crash", "crash"] as const));
      count.restarts++;
    }
    if (random.chance(0.1)) await changeLease(name, random.pick(LEASES), reference);
    if (random.chance(0.05) && reference.revision > reference.compacted) {
      const revision = reference.compacted + 1 + random.upTo(reference.revision - reference.compacted);
      await call(keyspace(name), { kind: "compact", revision });
      reference.compacted = revision;
      count.compactions++;
    }
    // Some go together, in one turn.
    const operations = random.chance(0.3)
      ? [random.put(), random.put(), random.put()]
      : [random.operation(reference.revision)];
    const answers = await callAll(
      keyspace(name),
      operations.map((request) => ({ request })),
    );
    for (const [index, operation] of operations.entries()) {
      const answer = answers[index]!;
      const place = `seed ${seed} step ${step}.${index} ${JSON.stringify(plain(operation))}`;
      const expected = isRefusedAlways(operation) ? undefined : reference.apply(operation);
      if (expected === undefined) expect(answer.kind, place).toBe("error");
      else if (typeof expected === "string") expect(answer, place).toMatchObject({ kind: "error", code: expected });
      else expect(comparable(answer as OperationAnswer), place).toEqual(comparable(expected));
    }
    const status = { header: { revision: reference.revision }, keys: reference.living.size };
    expect(await call(keyspace(name), { kind: "status" }), `seed ${seed} step ${step}`).toMatchObject(status);
  }
  return count;
}

async function changeLease(name: string, lease: string, reference: ReferenceKeyspace): Promise<void> {
  if (reference.leases.has(lease)) {
    await call(keyspace(name), { kind: "leaseRevoke", lease });
    return reference.endLease(lease);
  }
  await call(keyspace(name), { kind: "leaseGrant", lease, ttlSeconds: 600 });
  reference.leases.add(lease);
}

describe("the object against its reference", () => {
  it.each(SEEDS)(
    "[CF-1][CF-2][CF-3][CF-6][CF-10][CF-12] seed %i: restarts, crashes and compactions",
    async (seed) => {
      vi.spyOn(console, "log").mockReturnValue(undefined);
      const { restarts, compactions } = await runSeed(seed);
      expect(restarts).toBeGreaterThan(2);
      expect(compactions).toBeGreaterThan(0);
    },
    120_000,
  );
});
