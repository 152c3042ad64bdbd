import { describe, expect, it } from "vitest";
import { Random } from "../../test/simulation/random.ts";
import { openDesk } from "../../test/unit/config/open-desk.ts";
import { ConfigRefusal } from "./failure.ts";
import { LockWaits } from "./lock-waits.ts";
import { Locks, type Place } from "./locks.ts";

const NO_VALUE = new Uint8Array(0);

/** A keyspace whose clock moves by hand, with lines for locks. */
function openLocks() {
  let waits: LockWaits | undefined;
  const timers = new Set<{ atMs: number; run: () => void }>();
  const opened = openDesk({ onChange: (_, changes) => waits?.onChange(changes) });
  const locks = new Locks(opened.desk.keyspace, opened.desk.leases);
  waits = new LockWaits({
    locks,
    inTurn: async (job) => job(),
    after: (ms, run) => {
      const timer = { atMs: opened.clock.ms + ms, run };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    now: () => opened.clock.ms,
  });
  const pass = async (ms: number): Promise<void> => {
    opened.clock.ms += ms;
    while (opened.desk.expireLeases());
    for (const timer of [...timers]) if (timer.atMs <= opened.clock.ms && timers.delete(timer)) timer.run();
    await settle();
  };
  const grant = (lease: string, ttlSeconds = 60): void => {
    opened.desk.answer({ kind: "leaseGrant", lease, ttlSeconds });
  };
  const acquire = (lease: string, waitMs = 60_000, keepPlace = false) =>
    watched(waits!.acquire({ name: "job", lease, value: NO_VALUE, waitMs, keepPlace }));
  return { ...opened, locks, waits, pass, grant, acquire };
}

/** Lets every promise that can go on do so. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

interface Watched {
  place?: Place;
  refusal?: string;
}

function watched(promise: Promise<Place>): Watched {
  const seen: Watched = {};
  promise.then(
    (place) => {
      seen.place = place;
    },
    (error: unknown) => {
      seen.refusal = error instanceof ConfigRefusal ? error.code : String(error);
    },
  );
  return seen;
}

describe("locks", () => {
  it("[CF-100][CF-101][CF-102] owners follow in the order they came, each with a higher token, and one waiter wakes", async () => {
    const { locks, waits, grant, acquire } = openLocks();
    const leases = Array.from({ length: 20 }, (_, i) => String(1000 + i));
    for (const lease of leases) grant(lease);
    const seen: Watched[] = [];
    for (const lease of leases) {
      seen.push(acquire(lease));
      await settle();
    }
    let token = 0;
    for (const [index, lease] of leases.entries()) {
      expect(seen.map(({ place }) => place !== undefined)).toEqual(leases.map((_, i) => i <= index));
      expect(seen[index]!.place!.token).toBeGreaterThan(token);
      token = seen[index]!.place!.token;
      expect(waits.wakesTotal).toBe(index);
      expect(locks.waiting("job")).toBe(leases.length - 1 - index);
      locks.release({ name: "job", lease });
      await settle();
    }
    expect(locks.owner("job")).toBeUndefined();
  });

  it("[CF-102] the end of the owner's lease wakes the next", async () => {
    const { grant, acquire, pass } = openLocks();
    grant("1", 10);
    grant("2", 60);
    acquire("1");
    const next = acquire("2");
    await settle();
    await pass(9_999);
    expect(next.place).toBeUndefined();
    await pass(1);
    expect(next.place).toBeDefined();
  });

  it("[CF-103] a wait ends by its time and leaves the line; a place whose lease ended is told so", async () => {
    const { grant, acquire, pass, locks } = openLocks();
    for (const lease of ["1", "2", "4"]) grant(lease, 600);
    grant("3", 5);
    acquire("1");
    const short = acquire("2", 3_000);
    const doomed = acquire("3");
    const patient = acquire("4", 500_000);
    await settle();
    await pass(3_000);
    expect(short.refusal).toBe("lockNotAcquired");
    expect(locks.waiting("job")).toBe(2);
    await pass(2_000);
    expect(doomed.refusal).toBe("leaseNotFound");
    locks.release({ name: "job", lease: "1" });
    await settle();
    expect(patient.place).toBeDefined();
    expect(acquire("2", 0)).toEqual({});
    await settle();
    expect(locks.waiting("job")).toBe(0);
  });

  it("[CF-104] only the owner releases or proclaims", async () => {
    const { grant, acquire, locks } = openLocks();
    grant("1");
    grant("2");
    const first = acquire("1");
    acquire("2");
    await settle();
    const token = first.place!.token;
    const attempts = [{ lease: "2" }, { fencingToken: token + 1 }, { lease: "2", fencingToken: token }, {}];
    for (const attempt of attempts) {
      expect(() => locks.release({ name: "job", ...attempt })).toThrow(ConfigRefusal);
    }
    locks.release({ name: "job", fencingToken: token, proclaim: new TextEncoder().encode("me") });
    expect(locks.owner("job")).toMatchObject({ createRevision: token, lease: "1" });
    locks.release({ name: "job", fencingToken: token });
    expect(() => locks.release({ name: "job", fencingToken: token })).toThrow(ConfigRefusal);
  });

  it("[CF-105] acquiring again under the same lease keeps place and token", async () => {
    const { grant, acquire } = openLocks();
    grant("1");
    const first = acquire("1");
    await settle();
    const again = acquire("1", 0);
    await settle();
    expect(again.place).toEqual(first.place);
  });

  it("[CF-150] a wait that is to keep its place keeps it over its time, until its lease ends", async () => {
    const { grant, acquire, pass, locks } = openLocks();
    for (const lease of ["1", "2", "3"]) grant(lease, lease === "2" ? 20 : 600);
    acquire("1");
    expect(acquire("2", 3_000, true)).toEqual({});
    await settle();
    const later = acquire("3");
    await pass(3_000);
    expect(locks.waiting("job")).toBe(2);
    locks.release({ name: "job", lease: "1" });
    await settle();
    // Nobody asks for the second place, and it is before the third all the same.
    expect(later.place).toBeUndefined();
    const again = acquire("2", 3_000, true);
    await settle();
    expect(again.place).toBeDefined();
    await pass(17_000);
    expect(later.place).toBeDefined();
  });

  it("[CF-100][CF-101] random arrivals, releases, time-outs and lease ends: never two owners, tokens only grow", async () => {
    for (let seed = 1; seed <= 15; seed++) {
      const random = new Random(seed);
      const { locks, desk, grant, acquire, pass } = openLocks();
      let highest = 0;
      const holders = new Map<string, Watched>();
      for (let step = 0; step < 120; step++) {
        const lease = String(random.between(1, 8));
        if (!desk.leases.has(lease)) grant(lease, random.between(1, 20));
        const held = holders.get(lease);
        if (random.chance(0.5) && (!held || held.refusal))
          holders.set(lease, acquire(lease, random.between(0, 8) * 1000));
        else if (random.chance(0.5) && held?.place) {
          try {
            locks.release({ name: "job", fencingToken: held.place.token });
          } catch (error) {
            expect((error as ConfigRefusal).code).toBe("notOwner");
          }
          holders.delete(lease);
        }
        await settle();
        if (random.chance(0.5)) await pass(random.between(0, 3000));
        const owner = locks.owner("job");
        if (!owner) continue;
        expect(owner.createRevision, `seed ${seed} step ${step}`).toBeGreaterThanOrEqual(highest);
        highest = owner.createRevision;
        const believers = [...holders.values()].filter(({ place }) => place?.token === owner.createRevision);
        expect(believers.length, `seed ${seed} step ${step}`).toBeLessThanOrEqual(1);
      }
    }
  });
});
