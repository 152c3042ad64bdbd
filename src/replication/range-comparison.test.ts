// What a repair by digests asks for, believes and finds.
import { describe, expect, it } from "vitest";
import { ComparedNodes, rowOf, stateOf } from "../../test/unit/replication/compared-nodes.ts";
import { DIGEST_FANOUT, MAX_KEPT_DIGESTS, SYNC_DIGEST_ROWS } from "./limits.ts";
import { partsOf } from "./range-comparison.ts";

const total = (requests: Record<string, number>): number => Object.values(requests).reduce((sum, n) => sum + n, 0);

describe("a repair by digests", () => {
  it("[RP-125] equal replicas cost one request each where digests are kept, however many rows they hold", async () => {
    for (const rowCount of [1000, 8000]) {
      const nodes = new ComparedNodes(rowCount);
      const first = await nodes.repair();
      expect(first).toMatchObject({ phase: "done", rowsCompared: rowCount, rowsRepaired: 0, rowsRead: rowCount });
      const again = await nodes.repair();
      expect(again).toMatchObject({ phase: "done", rowsCompared: rowCount, rowsRepaired: 0, rowsRead: 0 });
      expect(nodes.requests).toEqual({ digests: 3 });
      expect(nodes.bytes).toBeLessThan(3 * 8000);
    }
  });

  it("[RP-125] a row that differs is found by a number of requests that grows as a logarithm, and alone brought over", async () => {
    const requests: number[] = [];
    for (const rowCount of [300, 1500, 8000]) {
      const nodes = new ComparedNodes(rowCount);
      await nodes.repair();
      const row = rowOf(123);
      nodes.node("n3").replica.forget([row]);
      expect(await nodes.repair()).toMatchObject({ phase: "done", rowsCompared: rowCount, rowsRepaired: 1 });
      expect(nodes.node("n3").engine.get(row)).toEqual(stateOf(123));
      requests.push(total(nodes.requests) / 3);
      expect(await nodes.repair()).toMatchObject({ rowsCompared: rowCount, rowsRepaired: 0 });
    }
    // For what is before, the page of rows, what is behind. (A range of this ring has few rows: it is not cut.)
    expect(Math.max(...requests)).toBeLessThanOrEqual(5);
  });

  it("[RP-125] a range of many rows is cut, level by level", async () => {
    const nodes = new ComparedNodes(0);
    const { toHi } = nodes.ring.ranges()[0]!;
    const rows = Array.from({ length: 6000 }, (_, i) => ({
      row: { ...rowOf(i), token: { hi: Math.floor((i / 6000) * toHi), lo: i } },
      value: stateOf(i),
    }));
    for (const { engine } of nodes.nodes.values()) engine.rows = rows.slice();
    await nodes.repair();
    nodes.node("n2").replica.forget([rows[4321]!.row]);
    expect(await nodes.repair()).toMatchObject({ phase: "done", rowsCompared: 6000, rowsRepaired: 1 });
    // All ranges, the first in 16 parts, one of these in 16; its few rows; and what is behind.
    expect(nodes.requests["rows"]).toBe(3);
    expect(nodes.requests["digests"]).toBeLessThanOrEqual(3 * 6);
    expect(nodes.bytes).toBeLessThan(60_000);
  });

  it("[RP-125] replicas that differ everywhere are compared row by row, in as few pages as before there were digests", async () => {
    const nodes = new ComparedNodes(2000);
    nodes.node("n2").engine.rows = [];
    const job = await nodes.repair();
    expect(job).toMatchObject({ phase: "done", rowsCompared: 2000, rowsRepaired: 2000 });
    expect(nodes.disagreeing()).toEqual([]);
    const ranges = nodes.ring.ranges().length;
    expect(nodes.requests["rows"]! / 3).toBeLessThanOrEqual(ranges);
  });

  it("[RP-126] a tenant's own replicas must agree, and no others", async () => {
    const nodes = new ComparedNodes(500);
    nodes.factors.set(8, 2);
    const rows = Array.from({ length: 200 }, (_, i) => rowOf(i, 8));
    const holders = (n: number): readonly string[] => nodes.ring.replicas(rows[n]!.token, 2).write;
    for (const [n, row] of rows.entries()) for (const id of holders(n)) nodes.node(id).engine.put(row, stateOf(n));
    expect(await nodes.repair()).toMatchObject({ phase: "done", rowsRepaired: 0 });
    await nodes.repair();
    expect(nodes.requests).toEqual({ digests: 3 });
    const n = rows.findIndex((_, i) => holders(i).join() === "n3,n1");
    nodes.node("n3").replica.forget([rows[n]!]);
    expect(await nodes.repair()).toMatchObject({ phase: "done", rowsRepaired: 1 });
    expect(nodes.node("n3").engine.get(rows[n]!)).toEqual(stateOf(n));
  });

  it("[RP-126] [RP-127] what is purged is in no digest, whoever stores it still; a horizon that moves forgets what is kept", async () => {
    const nodes = new ComparedNodes(500);
    const gone = rowOf(9999);
    for (const id of ["n1", "n2"]) nodes.node(id).engine.put(gone, stateOf(undefined, 5000));
    for (const node of nodes.nodes.values()) node.horizon = 5000;
    expect(await nodes.repair()).toMatchObject({ phase: "done", rowsCompared: 500, rowsRepaired: 0 });
    expect(nodes.node("n3").engine.get(gone)).toBeUndefined();
    // Deleted since: kept as rows of all three, and then purged at all, and dropped at one.
    for (const { engine } of nodes.nodes.values()) engine.put(rowOf(9998), stateOf(undefined, 6000));
    for (const { replica } of nodes.nodes.values()) replica.digests.touch(rowOf(9998).token.hi);
    expect(await nodes.repair()).toMatchObject({ rowsCompared: 501 });
    for (const node of nodes.nodes.values()) node.horizon = 7000;
    expect(await nodes.repair()).toMatchObject({ phase: "done", rowsCompared: 500, rowsRepaired: 0, rowsRead: 502 });
  });

  it("[RP-127] [RP-129] a row that vanished from a disk is missed where digests are believed, and found by a full repair", async () => {
    const nodes = new ComparedNodes(2000);
    await nodes.repair();
    const { engine, replica } = nodes.node("n2");
    const lost = engine.rows.findIndex(({ row }) => nodes.ring.replicas(row.token, 3).write[0] === "n1");
    const [{ row }] = engine.rows.splice(lost, 1) as [(typeof engine.rows)[number]];
    expect((await nodes.repair()).rowsRepaired).toBe(0);
    expect((await nodes.repair({ range: undefined, repairId: 1 })).rowsRepaired).toBe(1);
    expect(engine.get(row)).toBeDefined();
    // An unreadable block says so: then nothing that is kept is believed.
    engine.rows.splice(lost, 1);
    replica.digests.clear();
    expect((await nodes.repair()).rowsRepaired).toBe(1);
  });

  it("[RP-128] a write during the reading is not lost in what is kept, and does not hold up the repair", async () => {
    const nodes = new ComparedNodes(3 * SYNC_DIGEST_ROWS);
    const { engine, replica } = nodes.node("n1");
    let pages = 0;
    engine.beforePage = () => {
      if (pages === 20) return;
      // To places before, in and behind the page that is read.
      for (const n of [pages, 4000 + pages, 8000 + pages]) {
        engine.put(rowOf(n), stateOf(n + 1, 2000 + pages));
        replica.digests.touch(rowOf(n).token.hi);
      }
      pages++;
    };
    const during = await nodes.repair();
    expect(during.phase).toBe("done");
    engine.beforePage = undefined;
    const after = await nodes.repair();
    expect(during.rowsRepaired + after.rowsRepaired).toBeGreaterThanOrEqual(3 * 20);
    expect(nodes.disagreeing()).toEqual([]);
  });

  it("[RP-128] what is kept is bounded, by the tenants in it too", async () => {
    const nodes = new ComparedNodes(0);
    const { engine, replica } = nodes.node("n1");
    const count = Math.floor(1.2 * MAX_KEPT_DIGESTS);
    engine.rows = Array.from({ length: count }, (_, i) => ({
      row: { tenant: i, key: "k", token: { hi: Math.floor((i / count) * 2 ** 32), lo: 0 } },
      value: stateOf(i),
    }));
    const whole = { fromHi: 0, toHi: 0xffff_ffff };
    const { parts } = await replica.digests.answer([whole], { isFresh: false, horizon: 0, limitRows: count + 1 });
    expect(parts[0]!.digests).toHaveLength(count);
    const kept = [...replica.digests.kept()];
    const weight = kept.reduce((sum, { digests }) => sum + 1 + digests.length, 0);
    expect(weight).toBeLessThanOrEqual(MAX_KEPT_DIGESTS);
    expect(weight).toBeGreaterThan(0.9 * MAX_KEPT_DIGESTS);
  });

  it("[RP-130] an incremental repair leaves out ranges of which a replica is away, and ends; a full one waits", async () => {
    const nodes = new ComparedNodes(1000);
    nodes.node("n2").isAway = true;
    const incremental = await nodes.repair({ range: undefined, repairId: 1, isIncremental: true }, 10);
    expect(incremental).toMatchObject({ phase: "done", rowsCompared: 0 });
    expect(incremental.rangesLeftOut).toBeGreaterThan(0);
    expect(await nodes.repair({ range: undefined, repairId: 2 }, 10)).toMatchObject({ phase: "start" });
    nodes.node("n2").isAway = false;
    const full = await nodes.repair({ range: undefined, repairId: 3 });
    expect(full.phase).toBe("done");
    expect(full.rangesLeftOut).toBeUndefined();
    expect(full.rowsCompared).toBeGreaterThan(200);
  });

  it("[RP-133] a replica of an earlier build is compared with by pages of rows", async () => {
    const nodes = new ComparedNodes(100);
    nodes.node("n3").isOld = true;
    nodes.node("n3").replica.forget([rowOf(5)]);
    expect(await nodes.repair()).toMatchObject({ phase: "done", rowsCompared: 100, rowsRepaired: 1 });
    expect(nodes.node("n3").engine.get(rowOf(5))).toEqual(stateOf(5));
  });
});

describe("the parts of a range", () => {
  it("[RP-125] are all of it, each once, at most one more than the fan-out, and end where powers of two do", () => {
    const members = ["n1"];
    for (const [fromHi, toHi] of [
      [0, 0xffff_ffff],
      [0, 0],
      [7, 8],
      [0x1234_5678, 0x9abc_def0],
      [0xffff_fff0, 0xffff_ffff],
    ] as const) {
      const parts = partsOf({ fromHi, toHi, members });
      expect(parts.length).toBeLessThanOrEqual(DIGEST_FANOUT + 1);
      expect([parts[0]!.fromHi, parts.at(-1)!.toHi]).toEqual([fromHi, toHi]);
      for (const [i, part] of parts.entries()) {
        expect(part.toHi).toBeGreaterThanOrEqual(part.fromHi);
        if (i > 0) expect(part.fromHi).toBe(parts[i - 1]!.toHi + 1);
      }
    }
  });
});
