// The index behind the log: what is in memory only, what a start makes of it, and databases of older builds.
import { describe, expect, it } from "vitest";
import { CONFIG_MIGRATIONS } from "../../migrations/config.ts";
import { Random } from "../../test/simulation/random.ts";
import { type OpenDesk, openDesk } from "../../test/unit/config/open-desk.ts";
import { referenceKernels } from "../storage/kernels.reference.ts";
import type { RangeAnswer } from "../wire/config.ts";
import { prefixRange } from "../wire/config-keys.ts";
import { Follower } from "./follower.ts";
import { CorruptRecord } from "./record.ts";
import { ConfigStore } from "./store.ts";

const put = (key: string, value: string, lease = "") =>
  ({ kind: "put", key, value: new TextEncoder().encode(value), lease }) as const;
const all = { kind: "range", ...prefixRange("") } as const;

function count({ sql }: OpenDesk, table: string): number {
  return Number(sql.database.prepare(`SELECT count(*) AS n FROM ${table}`).get()!["n"]);
}

function shown({ desk }: OpenDesk, revision: number): unknown {
  const { kvs } = desk.keyspace.range({ ...all, revision }) as RangeAnswer;
  return kvs.map((kv) => ({ ...kv, value: new TextDecoder().decode(kv.value) }));
}

/** Every state that can be read. */
function states(opened: OpenDesk): readonly unknown[] {
  const { compactedRevision, revision } = opened.desk.keyspace;
  const found: unknown[] = [];
  for (let at = Math.max(2, compactedRevision); at <= revision; at++) found.push(shown(opened, at));
  return found;
}

function writeAtRandom({ desk }: OpenDesk, random: Random, writes: number): void {
  for (let i = 0; i < writes; i++) {
    const key = `k${random.between(0, 20)}`;
    if (random.chance(0.8)) desk.answer(put(key, String(i)));
    else desk.answer({ kind: "deleteRange", key, rangeEnd: random.chance(0.2) ? "k3" : "" });
    desk.endTurn();
  }
}

describe("the index", () => {
  it("[CF-195] changes reach the tables in batches; a start reads the others from the log", () => {
    const opened = openDesk({ batches: { pendingRows: 100, runRows: 50 } });
    const rows = () => [count(opened, "config_current"), count(opened, "config_ended"), count(opened, "config_log")];
    opened.desk.answer(put("k0", "first"));
    opened.desk.endTurn();
    expect(rows()).toEqual([1, 0, 1]);
    for (let i = 0; i < 40; i++) opened.desk.answer(put(`k${i % 10}`, String(i)));
    opened.desk.endTurn();
    expect(rows()).toEqual([1, 0, 41]);
    opened.restart();
    expect(rows()).toEqual([1, 0, 41]);
    expect(opened.desk.keyspace.keyCount).toBe(10);
    expect((shown(opened, 0) as { value: string }[]).map(({ value }) => value)).toEqual(
      Array.from({ length: 10 }, (_, i) => String(30 + i)),
    );
    // Where writes are few none waits: what is damaged in the log is then one key's.
    opened.clock.ms += 1001;
    opened.desk.answer(put("k0", "last"));
    opened.desk.endTurn();
    expect(rows()).toEqual([10, 32, 42]);
    writeAtRandom(opened, new Random(1), 300);
    expect(count(opened, "config_ended")).toBeGreaterThan(100);
  });

  it("[CF-245] the records of a turn are written at its end, and read before that as if they were", () => {
    const opened = openDesk({ cacheBytes: 0 });
    const success = Array.from({ length: 120 }, (_, i) => put(`k${i}`, String(i)));
    opened.desk.answer({ kind: "txn", compare: [], success, failure: [] });
    expect(count(opened, "config_log")).toBe(0);
    // A value that is overwritten is read from what is not yet written, a transaction's keys are found there too.
    const again = opened.desk.answer({ ...put("k7", "again"), prevKv: true }) as { prevKv: { value: Uint8Array } };
    expect(new TextDecoder().decode(again.prevKv.value)).toBe("7");
    opened.desk.answer({ kind: "txn", compare: [], success: [put("k8", "b"), put("k9", "b")], failure: [] });
    expect(shown(opened, 0)).toContainEqual(expect.objectContaining({ key: "k8", value: "b", version: 2 }));
    opened.desk.endTurn();
    expect(count(opened, "config_log")).toBe(123);
    opened.restart();
    expect(shown(opened, 0)).toContainEqual(expect.objectContaining({ key: "k9", value: "b", version: 2 }));
  });

  it("[CF-245] what a transaction that is taken back had written along is not lost with it", () => {
    const opened = openDesk();
    const { store } = opened.desk;
    opened.desk.answer(put("before", "1"));
    const fails = () =>
      store.atomically(() => {
        store.append(2, new Uint8Array(9));
        store.writeRecords();
        store.append(3, new Uint8Array(9));
        throw new Error("taken back");
      });
    expect(fails).toThrow("taken back");
    opened.desk.endTurn();
    expect(store.log(1, 10).map(({ record }) => record.key)).toEqual(["before"]);
  });

  it("[CF-195] a record behind the tables that fails its checksum is refused by the owner; a follower starts over", () => {
    const opened = openDesk();
    for (const key of ["a", "b", "c"]) {
      opened.desk.answer(put(key, "1"));
      opened.desk.endTurn();
    }
    opened.sql.endTurn();
    opened.sql.database.exec(
      "UPDATE config_log SET record = CAST(substr(record, 1, 20) || x'00' AS BLOB) WHERE seq = 2",
    );
    expect(() => opened.restart()).toThrow(CorruptRecord);
    const { crc32c } = referenceKernels;
    const store = new ConfigStore(opened.sql, crc32c);
    store.setFact("following", 1);
    const follower = new Follower({ store, crc32c, cacheBytes: 0, onChange: () => undefined });
    expect([follower.isFollowing, follower.place]).toEqual([false, { seq: 0, chain: 0 }]);
    while (!follower.wipe());
    expect(new ConfigStore(opened.sql, crc32c).damage).toBe(undefined);
  });

  it("[CF-195] a turn that is lost takes what it had brought to the tables along", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Random(seed);
      const opened = openDesk({ batches: { pendingRows: 30, runRows: 40 } });
      writeAtRandom(opened, random, random.between(20, 150));
      opened.restart();
      opened.sql.endTurn();
      const before = states(opened);
      opened.sql.endTurn();
      // Not one of these turns was committed, whatever they flushed.
      writeAtRandom(opened, random, random.between(1, 100));
      opened.sql.crash();
      opened.desk = openDesk({ batches: { pendingRows: 30, runRows: 40 } }, opened.sql).desk;
      expect(states(opened), `seed ${seed}`).toEqual(before);
    }
  });

  it("[CF-196] keys under a lease are those it has, whether the tables know it yet or not", () => {
    const opened = openDesk({ batches: { pendingRows: 1000, runRows: 50 } });
    const { desk } = opened;
    for (const lease of ["5", "6"]) desk.answer({ kind: "leaseGrant", lease, ttlSeconds: 60 });
    for (const key of ["a", "b", "c", "d"]) desk.answer(put(key, "1", "5"));
    desk.store.flush();
    desk.answer(put("b", "2", "6"));
    desk.answer({ kind: "deleteRange", key: "c", rangeEnd: "" });
    desk.answer(put("e", "2", "5"));
    expect(desk.keyspace.leasedKeys("5", 2)).toEqual(["a", "d"]);
    expect(desk.keyspace.leasedKeys("5", 10)).toEqual(["a", "d", "e"]);
    desk.answer({ kind: "leaseRevoke", lease: "5" });
    expect((shown(opened, 0) as { key: string }[]).map(({ key }) => key)).toEqual(["b"]);
  });

  it("[CF-12][CF-196] compaction forgets whole runs, and no state that may be read", () => {
    const opened = openDesk({ batches: { pendingRows: 20, runRows: 40 } });
    const random = new Random(3);
    for (let round = 0; round < 10; round++) {
      writeAtRandom(opened, random, 60);
      const { compactedRevision, revision } = opened.desk.keyspace;
      const target = random.between(compactedRevision + 1, revision);
      const kept = states(opened).slice(target - Math.max(2, compactedRevision));
      opened.desk.answer({ kind: "compact", revision: target });
      while (opened.desk.mustCompact) opened.desk.compactStep();
      expect(states(opened)).toEqual(kept);
      if (random.chance(0.5)) opened.restart();
    }
    opened.desk.answer({ kind: "compact", revision: opened.desk.keyspace.revision });
    while (opened.desk.mustCompact) opened.desk.compactStep();
    expect(count(opened, "config_ended")).toBe(0);
  });

  it("[CF-197] a database of an older build shows the same states", () => {
    const opened = openDesk();
    const random = new Random(9);
    writeAtRandom(opened, random, 200);
    opened.desk.answer({ kind: "compact", revision: 50 });
    while (opened.desk.mustCompact) opened.desk.compactStep();
    const before = states(opened);
    opened.desk.store.flush();
    opened.restart();
    // As the older build left it: the index whole, the history in one table, no word of batches.
    const { database } = opened.sql;
    database.exec("DROP TABLE IF EXISTS config_history");
    database.exec(CONFIG_MIGRATIONS[0]!.split(";").find((sql) => sql.includes("TABLE config_history"))!);
    const columns = "key, mod, ended, seq, created, version, lease, crc";
    database.exec(`INSERT INTO config_history (${columns}) SELECT ${columns} FROM config_ended`);
    database.exec(
      "DROP TABLE config_ended; DROP TABLE config_lease_times; DELETE FROM config_facts WHERE name IN ('indexed', 'storedKeys')",
    );
    database.exec(CONFIG_MIGRATIONS[2]!);
    opened.desk = openDesk({}, opened.sql).desk;
    expect(states(opened)).toEqual(before);
    expect(opened.desk.keyspace.keyCount).toBe((before.at(-1) as unknown[]).length);
    writeAtRandom(opened, random, 50);
    opened.restart();
    expect(states(opened).slice(0, before.length)).toEqual(before);
  });
});
