// Damaged rows met by calls: an error of that call alone, with nothing half done; and rows restored from the log or a follower.
import { describe, expect, it } from "vitest";
import { openDesk } from "../../test/unit/config/open-desk.ts";
import { ByteReader } from "../wire/bytes.ts";
import type { Compare, ConfigRequest, PutRequest, TxnOperation, TxnRequest } from "../wire/config.ts";
import { readConfigAnswer } from "../wire/config-answers.ts";
import type { Desk } from "./desk.ts";
import type { Change } from "./keyspace.ts";

const put = (key: string, value = "v"): PutRequest => ({ kind: "put", key, value: new TextEncoder().encode(value) });
const comparedValue = (key: string): Omit<Compare, "result" | "operand"> => ({ key, rangeEnd: "", target: "value" });
const repeatable = (request: ConfigRequest, id: number) => ({
  ...{ id: 0, request },
  ...{ writeId: new Uint8Array(16).fill(id), bodyHash: new Uint8Array(8).fill(1) },
});

describe("damage", () => {
  const run = (desk: Desk, request: ConfigRequest) =>
    readConfigAnswer(new ByteReader(desk.run({ id: 0, request }))) as { readonly kind: string; readonly code?: string };
  const damagedRecord = (seq: number): string =>
    `UPDATE config_log SET record = CAST(substr(record, 1, length(record) - 1) || x'7f' AS BLOB) WHERE seq = ${seq}`;

  it("[CF-217] a write that meets damage does nothing at all, whatever of it came first; later ones go on", () => {
    const get = (key: string): ConfigRequest => ({ kind: "range", key, rangeEnd: "" });
    const all: ConfigRequest = { kind: "range", key: "\0", rangeEnd: "\0" };
    const txn = (...success: TxnOperation[]): ConfigRequest => ({ kind: "txn", compare: [], success, failure: [] });
    const writes: ConfigRequest[] = [
      { ...put("bad", "x"), prevKv: true },
      { kind: "deleteRange", key: "bad", rangeEnd: "", prevKv: true },
      { kind: "deleteRange", key: "\0", rangeEnd: "\0", prevKv: true },
      { kind: "put", key: "bad", value: new Uint8Array(0), ignoreValue: true },
      txn(
        put("a", "x"),
        put("new", "x"),
        put("too", "x"),
        { kind: "deleteRange", key: "b", rangeEnd: "" },
        get("bad") as TxnOperation,
      ),
      txn(txn(put("a", "x"), put("new", "x"), get("bad") as TxnOperation) as TxnRequest),
      // The read of the past brings what waits in memory to the tables, which is taken back.
      txn(
        put("a", "x"),
        put("new", "x"),
        { ...get("b"), revision: 3 } as TxnOperation,
        { kind: "deleteRange", key: "b", rangeEnd: "" },
        put("too", "x"),
        get("bad") as TxnOperation,
      ),
      {
        ...(txn(put("a", "x")) as TxnRequest),
        compare: [{ ...comparedValue("bad"), result: "equal", operand: new Uint8Array(1) }],
      },
    ];
    for (const write of writes) {
      const changes: Change[] = [];
      const opened = openDesk({ cacheBytes: 0, onChange: (_, made) => changes.push(...made) });
      for (const key of ["a", "bad", "b"]) opened.desk.answer(put(key, key));
      opened.desk.store.writeRecords();
      opened.sql.endTurn();
      opened.sql.database.exec(damagedRecord(2));
      const { revision, chain, keyCount, livingBytes } = opened.desk.keyspace;
      expect(run(opened.desk, write), JSON.stringify(write)).toMatchObject({ kind: "error", code: "dataCorrupt" });
      expect(opened.desk.keyspace).toMatchObject({ revision, chain, keyCount, livingBytes });
      expect(run(opened.desk, { ...all, countOnly: true })).toMatchObject({ count: 3 });
      expect(changes.length).toBe(3);
      expect(run(opened.desk, put("a", "2"))).toMatchObject({
        kind: "put",
        header: { revision: revision + 1 },
        version: 2,
      });
      expect(run(opened.desk, { ...all, keysOnly: true })).toMatchObject({
        kvs: [{ key: "a" }, { key: "b" }, { key: "bad" }],
      });
      opened.restart();
      expect(run(opened.desk, get("a"))).toMatchObject({ kvs: [{ version: 2 }] });
      expect(run(opened.desk, get("bad"))).toMatchObject({ code: "dataCorrupt" });
      expect(opened.desk.keyspace.keyCount).toBe(3);
      const keysAt = (revision: number) => run(opened.desk, { ...all, keysOnly: true, revision } as ConfigRequest);
      expect(keysAt(3)).toMatchObject({ kvs: [{ key: "a", version: 1 }, { key: "bad" }] });
      expect(keysAt(4)).toMatchObject({ kvs: [{ key: "a", version: 1 }, { key: "b" }, { key: "bad" }] });
    }
  });

  it("[CF-217] the value of a version that ended behind the tables is lost alone", () => {
    const opened = openDesk({ cacheBytes: 0 });
    for (const value of ["1", "2"]) {
      opened.desk.answer(put("a", value));
      opened.desk.endTurn();
    }
    opened.sql.endTurn();
    expect(opened.desk.store.pendingRows).toBe(2);
    opened.sql.database.exec(damagedRecord(1));
    opened.restart();
    expect(opened.desk.store.pendingRows).toBe(2);
    expect(run(opened.desk, { kind: "range", key: "a", rangeEnd: "" })).toMatchObject({ kvs: [{ version: 2 }] });
    expect(run(opened.desk, { kind: "range", key: "a", rangeEnd: "", revision: 2 })).toMatchObject({
      code: "dataCorrupt",
    });
  });

  it("[CF-218] where times of leases are damaged each lease has its whole time again, after another start too", () => {
    const opened = openDesk();
    opened.desk.answer({ kind: "leaseGrant", lease: "5", ttlSeconds: 10 });
    for (let i = 0; i < 3; i++) {
      opened.clock.ms += 4000;
      opened.desk.answer({ kind: "leaseKeepAlive", lease: "5" });
      opened.desk.endTurn();
    }
    opened.sql.endTurn();
    opened.sql.database.exec(
      "UPDATE config_lease_times SET times = CAST(substr(times, 1, length(times) - 1) || x'7e' AS BLOB) WHERE id = 3",
    );
    opened.restart();
    const least = opened.clock.ms + 10_000;
    expect(opened.desk.leases.get("5")!.deadlineMs).toBeGreaterThanOrEqual(least);
    expect(opened.desk.damage.foundTotal).toBe(1);
    opened.restart();
    expect(opened.desk.leases.get("5")!.deadlineMs).toBeGreaterThanOrEqual(least);
    expect(opened.desk.damage.foundTotal).toBe(0);
  });

  it("[CF-218] a damaged lease is refused and can be revoked; one with a damaged key holds up no other", () => {
    const opened = openDesk();
    for (const lease of ["5", "6", "7"]) {
      opened.desk.answer({ kind: "leaseGrant", lease, ttlSeconds: 10 });
      opened.desk.answer({ ...put(`of ${lease}`), lease });
    }
    opened.sql.endTurn();
    opened.sql.database.exec("UPDATE config_leases SET deadline_ms = deadline_ms + 1 WHERE lease = '5'");
    opened.sql.database.exec("UPDATE config_current SET version = 9 WHERE lease = '6'");
    opened.restart();
    const { desk } = opened;
    const isCorrupt = { kind: "error", code: "dataCorrupt" };
    expect(run(desk, { kind: "leaseKeepAlive", lease: "5" })).toMatchObject(isCorrupt);
    expect(run(desk, { kind: "leaseTimeToLive", lease: "5", withKeys: false })).toMatchObject(isCorrupt);
    expect(run(desk, { kind: "leaseGrant", lease: "5", ttlSeconds: 9 })).toMatchObject(isCorrupt);
    expect(run(desk, { ...put("x"), lease: "5" })).toMatchObject(isCorrupt);
    // Its keys would be of a lease that the snapshot does not hold.
    expect(() => desk.snapshots.begin()).toThrow("the lease 5 fails its checksum");
    expect(desk.snapshots.isReading).toBe(false);
    opened.clock.ms += 11_000;
    while (desk.expireLeases());
    desk.endTurn();
    const keys = (): unknown =>
      (run(desk, { kind: "range", key: "of 7", rangeEnd: "" }) as unknown as { kvs: unknown[] }).kvs;
    expect(keys()).toEqual([]);
    expect(run(desk, { kind: "leaseKeepAlive", lease: "6" })).toMatchObject({ ttlSeconds: -1 });
    expect(desk.nextDueMs).toBeGreaterThan(opened.clock.ms);
    expect(run(desk, { kind: "leaseRevoke", lease: "5" })).toMatchObject({ kind: "lease" });
    expect(run(desk, { kind: "range", key: "of 5", rangeEnd: "" })).toMatchObject({ kvs: [] });
    expect(run(desk, { kind: "leaseGrant", lease: "5", ttlSeconds: 9 })).toMatchObject({ kind: "lease" });
  });

  it("[CF-219] of a turn whose kept answers are damaged no write is applied again; others are", () => {
    const opened = openDesk();
    opened.desk.run(repeatable(put("a"), 1));
    opened.desk.run(repeatable(put("b"), 2));
    opened.desk.endTurn();
    opened.desk.run(repeatable(put("c"), 3));
    opened.desk.endTurn();
    opened.sql.endTurn();
    opened.sql.database.exec(
      "UPDATE config_answers SET answers = CAST(substr(answers, 1, length(answers) - 1) || x'7f' AS BLOB) WHERE id = 1",
    );
    opened.restart();
    const again = (call: ReturnType<typeof repeatable>) => readConfigAnswer(new ByteReader(opened.desk.run(call)));
    expect(again(repeatable(put("a"), 1))).toMatchObject({ code: "dataCorrupt" });
    expect(again(repeatable(put("b"), 2))).toMatchObject({ code: "dataCorrupt" });
    expect(again(repeatable(put("c"), 3))).toMatchObject({ kind: "put", header: { revision: 4 } });
    expect(again(repeatable(put("d"), 4))).toMatchObject({ kind: "put", header: { revision: 5 } });
  });

  it("[CF-217] compaction stops at a damaged record, and the keyspace goes on", () => {
    const opened = openDesk({ cacheBytes: 0 });
    for (let i = 0; i < 10; i++) opened.desk.answer(put("a", String(i)));
    opened.sql.endTurn();
    opened.sql.database.exec(damagedRecord(3));
    run(opened.desk, { kind: "compact", revision: 11 });
    for (let i = 0; i < 20 && opened.desk.mustCompact; i++) opened.desk.compactStep();
    expect(opened.desk.mustCompact).toBe(false);
    expect(opened.desk.damage.foundTotal).toBe(1);
    expect(run(opened.desk, put("a", "x"))).toMatchObject({ kind: "put" });
  });
});
