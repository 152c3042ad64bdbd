// Followers against their owner: every state they show is one that the owner had.
import { describe, expect, it, vi } from "vitest";
import { CONFIG_MIGRATIONS } from "../../migrations/config.ts";
import { Random } from "../../test/simulation/random.ts";
import { openDesk } from "../../test/unit/config/open-desk.ts";
import { NodeSql } from "../../test/unit/storage/node-sql.ts";
import { referenceKernels } from "../storage/kernels.reference.ts";
import { ByteWriter } from "../wire/bytes.ts";
import type { ConfigRequest, RangeAnswer, TxnOperation } from "../wire/config.ts";
import { prefixRange } from "../wire/config-keys.ts";
import { readShipment, type ShippedRecord, writeShipment } from "../wire/shipment.ts";
import { ConfigRefusal } from "./failure.ts";
import { Follower } from "./follower.ts";
import type { Change } from "./keyspace.ts";
import { SHIPPED_PAGE_BYTES } from "./limits.ts";
import { CorruptRecord } from "./record.ts";
import { Shipping } from "./shipping.ts";
import { ConfigStore } from "./store.ts";

const SEEDS = Number(process.env["JADE_CONFIG_SEEDS"] ?? 12);
const { crc32c } = referenceKernels;
const all: TxnOperation = { kind: "range", ...prefixRange("") };
const put = (key: string, value: Uint8Array): ConfigRequest => ({ kind: "put", key, value });

function openOwner() {
  let shipping: Shipping | undefined;
  const opened = openDesk({ onChange: (_, changes) => shipping?.onChange(changes) });
  const ship = () => {
    shipping = new Shipping(opened.desk.store, opened.desk.keyspace);
  };
  ship();
  return {
    ...opened,
    get desk() {
      return opened.desk;
    },
    get shipping() {
      return shipping!;
    },
    restart() {
      opened.restart();
      ship();
    },
  };
}

type Owner = ReturnType<typeof openOwner>;

function openFollower(batches = { pendingRows: 5, runRows: 9 }) {
  const sql = new NodeSql();
  for (const statements of CONFIG_MIGRATIONS) sql.database.exec(statements);
  const seen: { revision: number; changes: readonly Change[] }[] = [];
  const open = () =>
    new Follower({
      store: new ConfigStore(sql, crc32c, batches),
      crc32c,
      cacheBytes: 2000,
      onChange: (revision, changes) => seen.push({ revision, changes }),
    });
  const opened = {
    sql,
    seen,
    follower: open(),
    restart() {
      sql.endTurn();
      opened.follower = open();
    },
    /** The process died in this turn. */
    crash() {
      sql.crash();
      opened.follower = open();
    },
  };
  return opened;
}

function pull(owner: Owner, { follower }: ReturnType<typeof openFollower>): boolean {
  const writer = new ByteWriter();
  writeShipment(writer, owner.shipping.next(follower.place));
  return follower.take(readShipment(writer.take()));
}

/** A copy as the object makes it; `between` runs between its pages. */
function copy(
  owner: Owner,
  { follower }: ReturnType<typeof openFollower>,
  between: () => void = () => undefined,
): boolean {
  while (!follower.wipe());
  const { head } = owner.shipping;
  const { chain } = owner.desk.keyspace;
  let after = "";
  for (;;) {
    if (head.revision < owner.desk.keyspace.compactedRevision) return false;
    const { versions, isLast } = owner.desk.store.copyPage(after, head.revision, 100);
    follower.copy(
      versions.map(({ seq, modRevision, stored }): ShippedRecord => ({ seq, revision: modRevision, bytes: stored! })),
    );
    if (isLast) break;
    after = versions.at(-1)!.key;
    between();
  }
  follower.endCopy(head, chain);
  return true;
}

const shownAt = (range: (request: TxnOperation & { kind: "range" }) => RangeAnswer, revision: number): unknown =>
  range({ ...all, kind: "range", revision } as never).kvs.map((kv) => ({ ...kv, value: [...kv.value] }));

function randomWrite(owner: Owner, random: Random): void {
  const key = `k${random.between(0, 12)}`;
  const kind = random.between(0, 9);
  if (kind < 6) owner.desk.answer(put(key, random.bytes(random.between(0, 40))));
  else if (kind < 8) owner.desk.answer({ kind: "deleteRange", key, rangeEnd: random.chance(0.3) ? "k9" : "" });
  else {
    const success = Array.from(
      { length: random.between(1, 5) },
      (_, i) => put(`t${i}`, random.bytes(8)) as TxnOperation,
    );
    owner.desk.answer({ kind: "txn", compare: [], success, failure: [] });
  }
}

describe("followers", () => {
  it("[CF-246] a follower far behind large values is given pages, and no more is read than they hold", () => {
    const owner = openOwner();
    const value = new Uint8Array(300_000);
    for (let i = 0; i < 40; i++) owner.desk.answer(put(`k${i}`, value));
    // One revision of three pages: told whole.
    const success = Array.from({ length: 12 }, (_, i) => put(`t${i}`, value) as TxnOperation);
    owner.desk.answer({ kind: "txn", compare: [], success, failure: [] });
    owner.desk.endTurn();
    owner.restart();
    const { store } = owner.desk;
    const read = vi.spyOn(store, "rawLog");
    const bytesOf = (records: readonly { readonly bytes: Uint8Array }[]) =>
      records.reduce((sum, { bytes }) => sum + bytes.length, 0);
    const pages: number[] = [];
    for (let place = { seq: 0, chain: 0 }; place.seq < 52; ) {
      read.mockClear();
      const shipment = owner.shipping.next(place);
      if (shipment.kind !== "records") throw new Error("a copy is asked for");
      const readBytes = read.mock.results.reduce((sum, { value: records }) => sum + bytesOf(records), 0);
      const longest = Math.max(bytesOf(shipment.records), SHIPPED_PAGE_BYTES);
      expect(readBytes).toBeLessThan(longest + SHIPPED_PAGE_BYTES + value.length);
      pages.push(shipment.records.length);
      const last = shipment.records.at(-1)!;
      place = { seq: last.seq, chain: store.record(last.seq)!.chain };
    }
    expect(pages.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 4));
    expect(pages.at(-1)).toBe(12);
  });

  it("[CF-110][CF-111] each state they show is one the owner had, never an older one than before; through restarts, crashes, copies", () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = new Random(seed);
      const owner = openOwner();
      const copied = openFollower();
      let last = 0;
      for (let step = 0; step < 150; step++) {
        const place = `seed ${seed} step ${step}`;
        for (let i = random.between(0, 4); i > 0; i--) randomWrite(owner, random);
        if (random.chance(0.05)) owner.restart();
        if (random.chance(0.05)) copied.restart();
        if (random.chance(0.05) && owner.desk.keyspace.revision > owner.desk.keyspace.compactedRevision) {
          const { compactedRevision, revision } = owner.desk.keyspace;
          owner.desk.answer({ kind: "compact", revision: random.between(compactedRevision + 1, revision) });
          while (owner.desk.mustCompact) owner.desk.compactStep();
        }
        if (random.chance(0.4) && !pull(owner, copied)) {
          if (random.chance(0.7)) copy(owner, copied, () => random.chance(0.5) && randomWrite(owner, random));
          else {
            copied.follower.wipe();
            if (random.chance(0.5)) copied.restart();
          }
          last = 0;
        } else if (random.chance(0.1)) {
          copied.sql.endTurn();
          pull(owner, copied);
          copied.crash();
          last = Math.min(last, copied.follower.revision);
        }
        if (random.chance(0.2)) copied.follower.compactStep();
        const { follower } = copied;
        if (!follower.isFollowing) continue;
        expect(follower.revision, place).toBeGreaterThanOrEqual(last);
        last = follower.revision;
        const oldest = Math.max(follower.compactedRevision, owner.desk.keyspace.compactedRevision, 1);
        if (oldest > follower.revision) continue;
        const revision = random.chance(0.5) ? follower.revision : random.between(oldest, follower.revision);
        const mine = shownAt((request) => follower.range(request), revision);
        expect(mine, place).toEqual(shownAt((request) => owner.desk.keyspace.range(request), revision));
      }
      if (!pull(owner, copied)) copy(owner, copied);
      while (copied.follower.revision < owner.desk.keyspace.revision) pull(owner, copied);
      expect(shownAt((request) => copied.follower.range(request), 0)).toEqual(
        shownAt((request) => owner.desk.keyspace.range(request), 0),
      );
    }
  });

  it("[CF-112] whole revisions only, in order, each change once, however large", () => {
    const owner = openOwner();
    const opened = openFollower();
    const large = new Uint8Array(700_000).fill(1);
    for (let i = 0; i < 3; i++) {
      const success = Array.from({ length: 4 }, (_, k) => put(`big${k}`, large) as TxnOperation);
      owner.desk.answer({ kind: "txn", compare: [], success, failure: [] });
      owner.desk.answer(put("small", new Uint8Array(1)));
    }
    owner.restart();
    while (opened.follower.revision < owner.desk.keyspace.revision) {
      const { length } = opened.seen;
      pull(owner, opened);
      for (const { changes } of opened.seen.slice(length)) expect([1, 4]).toContain(changes.length);
    }
    expect(opened.seen.map(({ revision }) => revision)).toEqual([2, 3, 4, 5, 6, 7]);
  });

  it("[CF-113] a follower of another log starts over, whatever its place", () => {
    const [one, other] = [openOwner(), openOwner()];
    const opened = openFollower();
    for (let i = 0; i < 9; i++) {
      one.desk.answer(put("a", Uint8Array.of(i)));
      other.desk.answer(put("a", Uint8Array.of(i, i)));
    }
    pull(one, opened);
    expect(opened.follower.revision).toBe(10);
    expect(pull(other, opened)).toBe(false);
    copy(other, opened);
    other.desk.answer(put("b", Uint8Array.of(1)));
    expect(pull(other, opened)).toBe(true);
    expect(opened.follower.range({ ...all, kind: "range" } as never).kvs.map(({ key }) => key)).toEqual(["a", "b"]);
  });

  it("[CF-114] records that do not continue the log are refused and change nothing durable", () => {
    const owner = openOwner();
    const opened = openFollower();
    for (let i = 0; i < 5; i++) owner.desk.answer(put(`k${i}`, Uint8Array.of(i)));
    const shipment = owner.shipping.next(opened.follower.place);
    if (shipment.kind !== "records") throw new Error("no records");
    const [first, second, third] = shipment.records;
    for (const records of [[first, third], [second], [first, first]]) {
      const fresh = openFollower();
      fresh.sql.endTurn();
      expect(() => {
        if (!fresh.follower.take({ ...shipment, records: records as ShippedRecord[] }))
          throw new CorruptRecord("a copy");
      }).toThrow(CorruptRecord);
      fresh.crash();
      expect(fresh.follower.isFollowing).toBe(false);
    }
    expect(() => opened.follower.range(all as never)).toThrow(ConfigRefusal);
  });
});
