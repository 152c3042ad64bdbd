import { describe, expect, it } from "vitest";
import { MAX_OWNED_LEASES } from "./limits.ts";
import { newLeaseOwner, OwnedLeases } from "./owned-leases.ts";

const lease = (id: number, nowMs = 0) => ({ keyspace: "c1/default", lease: String(id), ttlMs: 10_000, nowMs });
const ids = (leases: readonly { readonly lease: string }[]) => leases.map((owned) => owned.lease);

describe("leases of sessions", () => {
  it("[CF-200] a closed session's leases are revoked once, a cut one's never; the last session that kept one alive owns it", () => {
    const owned = new OwnedLeases();
    const [first, second, cut] = [newLeaseOwner(), newLeaseOwner(), newLeaseOwner()];
    for (const id of [1, 2, 3]) owned.own(first, lease(id));
    owned.own(second, lease(2));
    owned.own(cut, lease(4));
    owned.disown("c1/default", "3");
    expect(ids(owned.ended(first, true))).toEqual(["1"]);
    expect(owned.ended(first, true)).toEqual([]);
    expect(owned.ended(cut, false)).toEqual([]);
    expect(ids(owned.ended(second, true))).toEqual(["2"]);
    expect(owned.size).toBe(0);
  });

  it("[CF-200] a lease that is granted when its session is closed already is revoked; after a cut it is left", () => {
    const owned = new OwnedLeases();
    const [closed, cut] = [newLeaseOwner(), newLeaseOwner()];
    owned.ended(closed, true);
    owned.ended(cut, false);
    expect(owned.own(closed, lease(1))?.lease).toBe("1");
    expect(owned.own(cut, lease(2))).toBe(undefined);
    expect(owned.size).toBe(0);
  });

  it("[CF-200] a session owns a bounded number; those whose time is over make room", () => {
    const owned = new OwnedLeases();
    const owner = newLeaseOwner();
    for (let id = 0; id < MAX_OWNED_LEASES; id++) owned.own(owner, lease(id));
    expect(owned.hasRoom(owner, 34_000)).toBe(false);
    owned.own(owner, lease(7, 30_000));
    expect(owned.hasRoom(owner, 34_001)).toBe(true);
    expect(owner.leases.size).toBe(1);
  });
});
