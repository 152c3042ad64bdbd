// Every stored value of a small store is changed, one at a time: no read may ever show what was not written.
import { describe, expect, it } from "vitest";
import { bytesOf, Fixture, rowKey, textOf, writeId } from "../../test/unit/storage/fixture.ts";
import { CorruptBlock, CorruptLog, CorruptManifest, type CorruptRange, type RepairableEngine } from "./types.ts";

const KEYS = 40;
const storedValue = (i: number): string => `newest-${i}-${"x".repeat(50)}`;

/** Two runs of tables (the newer supersedes rows of the older), records, a log that is not flushed, an erased tenant. */
async function smallStore(): Promise<Fixture> {
  const fixture = new Fixture();
  for (let i = 0; i < KEYS; i++) {
    fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`older-${i}-${"x".repeat(50)}`));
    fixture.engine.put(rowKey(9, `key-${i}`), bytesOf("of an erased tenant"));
  }
  await flush(fixture);
  fixture.engine.eraseTenant(9);
  await flush(fixture);
  for (let i = 0; i < KEYS; i++) {
    fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(storedValue(i)));
    fixture.engine.addRecord(1, writeId(i), bytesOf(`answer-${i}`));
  }
  await flush(fixture);
  fixture.engine.put(rowKey(1, "in the log"), bytesOf(storedValue(100)));
  fixture.engine.addRecord(1, writeId(100), bytesOf("answer-100"));
  fixture.commit();
  return fixture;
}

async function flush(fixture: Fixture): Promise<void> {
  fixture.engine.put(rowKey(2, "filler"), new Uint8Array(9000));
  fixture.commit();
  await fixture.settle();
}

type Outcome = "right" | "corrupt";

function outcomeOf(read: () => string | undefined, expected: string | undefined, what: string): Outcome {
  try {
    expect(read(), what).toBe(expected);
    return "right";
  } catch (error) {
    if (error instanceof CorruptBlock) return "corrupt";
    throw error;
  }
}

/** Reads everything; a wrong value or a missing row fails the test. */
function readAll(engine: RepairableEngine, what: string): Outcome[] {
  const outcomes: Outcome[] = [];
  for (let i = 0; i < KEYS; i++) {
    outcomes.push(outcomeOf(() => textOf(engine.get(rowKey(1, `key-${i}`))), storedValue(i), what));
    outcomes.push(outcomeOf(() => textOf(engine.findRecord(1, writeId(i))), `answer-${i}`, what));
    outcomes.push(outcomeOf(() => textOf(engine.get(rowKey(9, `key-${i}`))), undefined, what));
  }
  outcomes.push(outcomeOf(() => textOf(engine.get(rowKey(1, "in the log"))), storedValue(100), what));
  outcomes.push(outcomeOf(() => textOf(engine.findRecord(1, writeId(100))), "answer-100", what));
  outcomes.push(outcomeOf(() => textOf(engine.get(rowKey(1, "never written"))), undefined, what));
  return outcomes;
}

type Value = number | string | Uint8Array | null;

/** The value with a bit changed: several variants for numbers and texts, every `step`-th byte of a blob. */
function changed(value: Value, step: number): Value[] {
  if (typeof value === "number")
    return [value + 1, value - 1, value + 256, value * 2 + 1, Math.max(0, value - 2 ** 20)];
  if (typeof value === "string")
    return [...value].map((c, i) => value.slice(0, i) + String.fromCharCode(c.charCodeAt(0) ^ 1) + value.slice(i + 1));
  if (value === null) return [];
  const variants: Uint8Array[] = [value.slice(0, value.length >> 1), new Uint8Array(value.length)];
  for (let at = 0; at < value.length; at += step) {
    const copy = value.slice();
    copy[at]! ^= 1 << (at & 7);
    variants.push(copy);
  }
  return variants;
}

interface Damage {
  readonly table: string;
  readonly column: string;
}

async function changeEverything(judge: (fixture: Fixture, what: string, damage: Damage) => void): Promise<number> {
  const fixture = await smallStore();
  fixture.sql.endTurn();
  const { database } = fixture.sql;
  let count = 0;
  for (const table of [
    "storage_numbers",
    "storage_log",
    "storage_tables",
    "storage_erased",
    "storage_blobs",
    "storage_pieces",
  ]) {
    // WITHOUT ROWID tables are addressed by their key.
    const key = table === "storage_numbers" ? "name" : "rowid";
    for (const row of database.prepare(`SELECT ${key} AS place, * FROM ${table}`).all() as Record<string, Value>[]) {
      for (const [column, value] of Object.entries(row)) {
        if (column === "place") continue;
        for (const variant of changed(value, column === "bytes" ? 29 : 1)) {
          fixture.sql.exec("SELECT 1"); // opens the turn that the crash undoes
          try {
            database.prepare(`UPDATE ${table} SET ${column} = ? WHERE ${key} = ?`).run(variant, row.place!);
            count++;
            judge(fixture, `${table}.${column} of ${String(row.place)}`, { table, column });
          } catch (error) {
            // A value that the schema refuses was not stored.
            if (!String(error).includes("constraint failed")) throw error;
          }
          fixture.sql.crash();
        }
      }
    }
  }
  return count;
}

describe("every stored value changed", () => {
  it("[ST-46] [ST-47] gives what was written, CorruptBlock, or a store that refuses to open; never another value, never absent", async () => {
    const seen = { right: 0, corrupt: 0, CorruptLog: 0, CorruptManifest: 0 };
    const refusedBy: Record<string, Set<string>> = {};
    const count = await changeEverything((fixture, what, { table, column }) => {
      let engine: RepairableEngine;
      try {
        engine = fixture.open();
      } catch (error) {
        if (!(error instanceof CorruptLog || error instanceof CorruptManifest)) throw error;
        seen[error.name as "CorruptLog"]++;
        refusedBy[error.name] = (refusedBy[error.name] ?? new Set()).add(`${table}.${column}`);
        return;
      }
      for (const outcome of readAll(engine, what)) seen[outcome]++;
    });
    expect(count).toBeGreaterThan(1000);
    expect(seen.corrupt).toBeGreaterThan(1000);
    // Each kind of stored value is guarded by what should guard it.
    for (const column of ["seq", "part", "parts", "atMs", "crc", "bytes"])
      expect(refusedBy.CorruptLog, column).toContain(`storage_log.${column}`);
    for (const column of ["name", "runOrder", "metaCrc", "firstHi", "lastHi", "firstKey", "kind", "maxMs"])
      expect(refusedBy.CorruptManifest, column).toContain(`storage_tables.${column}`);
    expect(refusedBy.CorruptManifest).toContain("storage_numbers.value");
    expect(refusedBy.CorruptManifest).toContain("storage_erased.done");
  });

  it("[ST-46] a table row that is missing, or one too many, refuses the start; a store of before the checksum gets one", async () => {
    const fixture = await smallStore();
    fixture.sql.endTurn();
    const { database } = fixture.sql;
    for (const statement of [
      "DELETE FROM storage_tables WHERE id = (SELECT max(id) FROM storage_tables)",
      "DELETE FROM storage_erased",
      "INSERT INTO storage_erased VALUES (77, 1)",
      "UPDATE storage_tables SET runOrder = 1000 - runOrder",
    ]) {
      fixture.sql.exec("SELECT 1"); // opens the turn that the crash undoes
      database.exec(statement);
      expect(() => fixture.open(), statement).toThrow(CorruptManifest);
      fixture.sql.crash();
    }
    database.exec("DELETE FROM storage_numbers WHERE name = 'check'");
    expect(readAll(fixture.open(), "without a checksum").every((outcome) => outcome === "right")).toBe(true);
    fixture.sql.endTurn();
    database.exec("UPDATE storage_tables SET lastHi = lastHi - 1");
    expect(() => fixture.open()).toThrow(CorruptManifest);
  });

  it("[ST-46] a manifest change that fails leaves the checksum as it was", async () => {
    const fixture = await smallStore();
    const failing = fixture.sql.exec.bind(fixture.sql);
    let fails = true;
    fixture.sql.exec = ((query: string, ...bindings: never[]) => {
      if (fails && query.startsWith("INSERT INTO storage_tables")) throw new Error("injected: no table row");
      return failing(query, ...bindings);
    }) as typeof fixture.sql.exec;
    fixture.engine.put(rowKey(2, "filler"), new Uint8Array(9000));
    fixture.commit();
    await expect(fixture.settle()).rejects.toThrow("injected");
    fails = false;
    await fixture.settle();
    expect(readAll(fixture.restart(), "after a failed change").every((outcome) => outcome === "right")).toBe(true);
  });
});

describe("giving up what is restored", () => {
  /** A store whose newer run has one unreadable block, and the keys that it hides. */
  async function damaged() {
    const ranges: CorruptRange[] = [];
    const fixture = new Fixture({ onCorrupt: (range) => ranges.push(range) });
    for (let i = 0; i < KEYS; i++) fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(`older-${i}-${"x".repeat(50)}`));
    await flush(fixture);
    for (let i = 0; i < KEYS; i++) fixture.engine.put(rowKey(1, `key-${i}`), bytesOf(storedValue(i)));
    await flush(fixture);
    fixture.sql.endTurn();
    fixture.sql.database.exec(
      `UPDATE storage_pieces SET bytes = CAST(substr(bytes, 1, 40) || x'ffff' || substr(bytes, 43) AS BLOB) WHERE id = 268435456 *
       (SELECT b.id FROM storage_tables t JOIN storage_blobs b ON b.name = t.name WHERE t.kind = 'row' AND t.position = 0 ORDER BY t.runOrder DESC LIMIT 1)`,
    );
    fixture.restart();
    const hidden: string[] = [];
    for (let i = 0; i < KEYS; i++) {
      try {
        fixture.engine.get(rowKey(1, `key-${i}`));
      } catch (error) {
        if (!(error instanceof CorruptBlock)) throw error;
        hidden.push(`key-${i}`);
      }
    }
    expect(hidden.length).toBeGreaterThan(1);
    expect(hidden.length).toBeLessThan(KEYS);
    return { fixture, ranges, hidden };
  }

  it("[ST-48] the run is written anew without the block: nothing unreadable is left, over a restart too", async () => {
    const { fixture, ranges, hidden } = await damaged();
    expect(fixture.engine.corruptRanges()).toEqual(ranges);
    expect(fixture.engine.stats().corruptRanges).toBe(1);
    expect(ranges[0]!.tenants).toEqual([1, 2]);
    for (const key of hidden) fixture.engine.put(rowKey(1, key), bytesOf("restored"));
    fixture.commit();
    fixture.engine.discardCorrupt(ranges[0]!);
    expect(fixture.engine.corruptRanges()).toEqual([]);
    expect(fixture.engine.maintenanceDue).toBe(true);
    await fixture.settle();
    for (const engine of [fixture.engine, fixture.restart()]) {
      for (let i = 0; i < KEYS; i++) {
        const expected = hidden.includes(`key-${i}`) ? "restored" : storedValue(i);
        expect(textOf(engine.get(rowKey(1, `key-${i}`)))).toBe(expected);
      }
      const page = await engine.scan({ tenant: 1, limitRows: 1000, limitBytes: 1e9 });
      expect(page.rows.length).toBe(KEYS);
      expect(engine.corruptRanges()).toEqual([]);
    }
  });

  it("[ST-48] a crash before the run is written anew only reports the block again", async () => {
    const { fixture, ranges, hidden } = await damaged();
    for (const key of hidden) fixture.engine.put(rowKey(1, key), bytesOf("restored"));
    fixture.commit();
    fixture.engine.discardCorrupt(ranges[0]!);
    await fixture.engine.runMaintenance();
    fixture.crash();
    for (const key of hidden) expect(textOf(fixture.engine.get(rowKey(1, key)))).toBe("restored");
    await expect(fixture.engine.scan({ tenant: 1, limitRows: 1000, limitBytes: 1e9 })).rejects.toThrow(CorruptBlock);
    expect(fixture.engine.corruptRanges().length).toBe(1);
  });

  it("[ST-49] a scan past what is unreadable shows the rows that still can be read", async () => {
    const { fixture, hidden } = await damaged();
    const options = { tenant: 1, limitRows: 7, limitBytes: 1e9, pastCorrupt: true };
    const found = new Map<string, string>();
    for (let after: ReturnType<typeof rowKey> | undefined; ; ) {
      const page = await fixture.engine.scan({ ...options, ...(after ? { after } : {}) });
      for (const { row, value } of page.rows) found.set(row.key, textOf(value)!);
      after = page.rows.at(-1)?.row;
      if (page.done || !after) break;
    }
    for (let i = 0; i < KEYS; i++) {
      const key = `key-${i}`;
      // Under the unreadable block the older run shows: this scan is for finding keys, not values.
      expect(found.get(key)).toBe(hidden.includes(key) ? `older-${i}-${"x".repeat(50)}` : storedValue(i));
    }
  });
});
