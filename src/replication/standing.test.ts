// What a node durably knows of its standing, over restarts.
import { describe, expect, it } from "vitest";
import { REPLICA_MIGRATIONS } from "../../migrations/replica.ts";
import { NodeSql } from "../../test/unit/storage/node-sql.ts";
import { referenceKernels } from "../storage/kernels.reference.ts";
import { HintLog } from "./hint-log.ts";
import { Standing } from "./standing.ts";
import {
  areTablesWhole,
  confirmStanding,
  doubtStanding,
  epochAboveAll,
  forgetTables,
  isStandingWhole,
} from "./standing-check.ts";
import { newSync } from "./sync-state.ts";

function opened(rebuilding: boolean): { sql: NodeSql; open: () => Standing } {
  const sql = new NodeSql();
  for (const statements of REPLICA_MIGRATIONS) sql.database.exec(statements);
  sql.exec(
    "INSERT INTO replica_facts (id, node_number, incarnation, reserved_counter, rebuilding) VALUES (1, 2, 3, 0, ?)",
    rebuilding ? 1 : 0,
  );
  const open = (): Standing => {
    sql.endTurn();
    return new Standing({ sql, now: () => 1, kernels: referenceKernels });
  };
  return { sql, open };
}

describe("standing", () => {
  it("[RP-40] a recorded route survives a restart and never goes back", () => {
    const { open } = opened(false);
    const standing = open();
    standing.recordRoute(7, 3);
    standing.recordRoute(7, 2);
    expect(standing.routeRevision(7)).toBe(3);
    expect(open().routeRevision(7)).toBe(3);
    expect(open().routeRevision(8)).toBe(0);
    expect(open().routes()).toEqual([{ tenant: 7, revision: 3 }]);
  });

  it("[RP-44] [RP-45] a rebuilding store counts, and what it heard is known, only from the completion on", () => {
    const { open } = opened(true);
    const standing = open();
    const job = newSync({ epoch: standing.nextEpoch(), kind: "rebuild" });
    standing.put(job);
    for (const held of [standing, open()]) {
      expect([held.isRebuilding, held.isFilling(7, 1), held.isFilled(job.epoch)]).toEqual([true, true, false]);
      expect(held.jobs()).toEqual([job]);
    }
    expect(standing.hasOpenJobs).toBe(true);
    standing.complete({ ...job, phase: "done" });
    for (const held of [standing, open()]) {
      expect(held.hasOpenJobs).toBe(false);
      expect([held.isRebuilding, held.isFilling(7, 1), held.isFilled(job.epoch)]).toEqual([false, false, true]);
      expect(held.isConfirmed).toBe(false);
    }
  });

  it("[RP-45] a replica that joins is filling in its ranges until it has joined", () => {
    const { open } = opened(false);
    const standing = open();
    standing.beginFilling(7, [{ fromHi: 10, toHi: 20 }]);
    const seen = (held: Standing): boolean[] => [9, 10, 20, 21].map((hi) => held.isFilling(7, hi));
    for (const held of [standing, open()]) expect(seen(held)).toEqual([false, true, true, false]);
    expect(standing.isFilling(8, 15)).toBe(false);
    const join = newSync({ epoch: standing.nextEpoch(), kind: "join", tenant: 7 });
    standing.complete({ ...join, phase: "done" });
    for (const held of [standing, open()]) expect(seen(held)).toEqual([false, false, false, false]);
    expect(open().isFilled(join.epoch)).toBe(true);
  });

  it("[RP-45] no two fillings have one number, whatever restarts in between", () => {
    const { open } = opened(false);
    expect([open().nextEpoch(), open().nextEpoch(), open().nextEpoch()]).toEqual([1, 2, 3]);
  });

  it("[RP-48] dirty ranges are taken side by side, and a later loss marks its range anew", () => {
    const { sql } = opened(false);
    const hints = new HintLog({ sql, now: () => 0, ttlMs: 1, kernels: referenceKernels });
    const mark = (range: number): void =>
      void sql.exec("INSERT OR IGNORE INTO dirty_ranges (target, range) VALUES ('n3', ?)", range);
    for (const range of [0, 1, 2, 255]) mark(range);
    expect(hints.takeDirtyRange()).toEqual({ fromHi: 0, toHi: 0x02ff_ffff });
    mark(1);
    expect(hints.takeDirtyRange()).toEqual({ fromHi: 0x0100_0000, toHi: 0x01ff_ffff });
    expect(hints.takeDirtyRange()).toEqual({ fromHi: 0xff00_0000, toHi: 0xffff_ffff });
    expect(hints.takeDirtyRange()).toBeUndefined();
    expect(hints.hasDirtyRanges).toBe(false);
    for (let range = 0; range < 100; range++) mark(range);
    expect(hints.takeDirtyRange()).toEqual({ fromHi: 0, toHi: 0x0fff_ffff });
  });

  it("[RP-65] a standing that was changed behind its checksum is not believed: rebuilt again, and no filling's number twice", () => {
    for (const change of ["rebuilding = 0", "confirmed = 0", "last_epoch = 0", "standing_crc = 5"]) {
      const { sql, open } = opened(true);
      const standing = open();
      const done = newSync({ epoch: standing.nextEpoch(), kind: "rebuild" });
      if (change !== "rebuilding = 0") standing.complete({ ...done, phase: "done" });
      confirmStanding(sql, referenceKernels);
      open();
      expect(isStandingWhole(sql, referenceKernels)).toBe(true);
      sql.database.exec(`UPDATE replica_facts SET ${change}`);
      expect(isStandingWhole(sql, referenceKernels), change).toBe(false);
      doubtStanding(sql, referenceKernels);
      expect(isStandingWhole(sql, referenceKernels)).toBe(true);
      const doubted = open();
      expect(doubted.isRebuilding).toBe(true);
      expect(doubted.isConfirmed).toBe(true);
      expect(doubted.jobs()).toEqual([]);
      expect(doubted.nextEpoch()).toBeGreaterThan(done.epoch + 1000);
    }
  });

  it("[RP-65] a standing of before the checksum is taken, and gets one", () => {
    const { sql, open } = opened(true);
    expect(isStandingWhole(sql, referenceKernels)).toBe(true);
    open();
    sql.database.exec("UPDATE replica_facts SET rebuilding = 0");
    expect(isStandingWhole(sql, referenceKernels)).toBe(false);
  });

  it.each([
    ["routes", "UPDATE routes SET revision = 2"],
    ["routes", "DELETE FROM routes"],
    ["routes", "INSERT INTO routes VALUES (8, 1)"],
    ["syncs", `UPDATE syncs SET state = replace(state, '"nextHi":0', '"nextHi":9')`],
    ["filling", 'UPDATE filling SET ranges = \'[{"fromHi":11,"toHi":20}]\''],
    ["filled", "UPDATE filled SET epoch = epoch + 7"],
    ["purge_marks", "UPDATE purge_marks SET floor = 1"],
    ["purge_marks", "UPDATE purge_marks SET horizon = 900"],
    ["purge_marks", "UPDATE purge_marks SET drop_up_to = 900"],
    ["purge_marks", "UPDATE purge_marks SET swept = 900"],
    ["the check itself", "UPDATE replica_facts SET tables_check = tables_check + 1"],
  ])(
    "[RP-102] a change behind the checksum of %s (%s) is seen; nothing of the tables is believed then",
    (_, change) => {
      const { sql, open } = opened(false);
      const standing = open();
      standing.recordRoute(7, 3);
      standing.recordRoute(7, 4);
      standing.beginFilling(7, [{ fromHi: 10, toHi: 20 }]);
      standing.promiseFloor(500);
      standing.recordHorizon(400, 300);
      const join = newSync({ epoch: standing.nextEpoch(), kind: "join", tenant: 7, joining: [] });
      standing.put(join);
      standing.complete({ ...join, phase: "done" });
      standing.put(newSync({ epoch: standing.nextEpoch(), kind: "repair" }));
      standing.remove(join.epoch);
      open();
      expect(areTablesWhole(sql, referenceKernels)).toBe(true);
      sql.database.exec(change);
      expect(areTablesWhole(sql, referenceKernels)).toBe(false);
      expect(epochAboveAll(sql)).toBeGreaterThan(1000);
      forgetTables(sql);
      doubtStanding(sql, referenceKernels);
      expect(areTablesWhole(sql, referenceKernels)).toBe(true);
      const doubted = open();
      expect([doubted.isRebuilding, doubted.routes(), doubted.jobs(), doubted.stampFloor()]).toEqual([true, [], [], 0]);
    },
  );

  it("[RP-102] tables of before the checksum are taken, and get one; a damaged number does not use up the numbers", () => {
    const { sql, open } = opened(false);
    open().recordRoute(7, 3);
    sql.database.exec("UPDATE replica_facts SET tables_check = NULL");
    expect(areTablesWhole(sql, referenceKernels)).toBe(true);
    sql.database.exec("UPDATE routes SET revision = 9");
    expect(areTablesWhole(sql, referenceKernels)).toBe(false);
    sql.database.exec(`UPDATE replica_facts SET last_epoch = ${2 ** 52}`);
    expect(epochAboveAll(sql)).toBeLessThan(2 ** 41);
  });

  it("[RP-102] a changed mark of a dirty range makes all of them dirty, and is counted", () => {
    const { sql, open } = opened(false);
    open();
    const hints = (): HintLog => new HintLog({ sql, now: () => 10, ttlMs: 1, kernels: referenceKernels });
    const log = hints();
    log.add("n3", { tenant: 1, key: "k", token: { hi: 5 << 24, lo: 0 } }, new Uint8Array(3));
    sql.database.exec("UPDATE hints SET created_ms = 0");
    log.expire();
    expect(hints().dirtyRanges()).toEqual([{ target: "n3", range: 5 }]);
    sql.endTurn();
    sql.database.exec("UPDATE dirty_ranges SET range = 6");
    const after = hints();
    expect(after.corruptCount).toBe(1);
    expect(after.takeDirtyRange()).toEqual({ fromHi: 0, toHi: 0x0fff_ffff });
  });
});
