import { expect, it } from "vitest";
import { seededRandom } from "../../../scripts/lib/seeded.mjs";
import { type OpenStore, openStore, valuesOf } from "../../../test/unit/vector/open-store.ts";
import { ByteReader } from "../../wire/bytes.ts";
import { readSnapshotRow } from "../../wire/vector-snapshot.ts";
import { COLUMNS } from "../segment/segment-writer.ts";
import { finished } from "./shard-indexes.ts";
import type { DamagedPart, SnapshotCheck, SnapshotPage, SnapshotPlace } from "./snapshots.ts";

type Model = Map<string, string>;

function write(opened: OpenStore, model: Model, n: number, text: string): void {
  const metadata = new TextEncoder().encode(JSON.stringify({ text }));
  opened.store.apply([{ kind: "put", row: { id: `k${n}`, values: valuesOf(n), metadata } }]);
  model.set(`k${n}`, text);
}

function remove(opened: OpenStore, model: Model, n: number): void {
  opened.store.apply([{ kind: "delete", id: `k${n}` }]);
  model.delete(`k${n}`);
}

/** Everything of a snapshot, page by page. */
function read(opened: OpenStore, id: string): Model {
  const model: Model = new Map();
  let place: SnapshotPlace | null = { part: 0, row: 0 };
  while (place) {
    const page: SnapshotPage = opened.store.snapshots.page(id, place)!;
    let count = 0;
    for (const reader = new ByteReader(page.rows); !reader.done; count++) {
      const row = readSnapshotRow(reader);
      expect(model.has(row.id)).toBe(false);
      model.set(row.id, (JSON.parse(new TextDecoder().decode(row.metadata)) as { text: string }).text);
    }
    expect(count).toBe(page.count);
    place = page.next;
  }
  return model;
}

function live(opened: OpenStore, ids: number): Model {
  const model: Model = new Map();
  for (let n = 0; n < ids; n++) {
    const row = opened.store.get(`k${n}`);
    if (row) model.set(`k${n}`, (JSON.parse(new TextDecoder().decode(row.metadata)) as { text: string }).text);
  }
  return model;
}

const sweep = ({ store }: OpenStore): void => {
  while (store.sweep());
};

it("[VE-240][VE-241] a snapshot is what was there at its revision, whatever is written, sealed, merged or crashes later; a restore gives it back", () => {
  const IDS = 400;
  for (let seed = 1; seed <= 6; seed++) {
    const random = seededRandom(seed);
    const opened = openStore();
    const model: Model = new Map();
    const snapshots = new Map<string, Model>();
    for (let step = 0; step < 60; step++) {
      const pick = random();
      for (let at = 0; at < 20; at++) {
        const n = Math.floor(random() * IDS);
        if (random() < 0.7) write(opened, model, n, `${seed}.${step}`);
        else remove(opened, model, n);
      }
      if (pick < 0.25) finished(opened.store.seal());
      else if (pick < 0.4 && opened.store.sealed.length > 1) finished(opened.store.merge(opened.store.sealed));
      else if (pick < 0.5) {
        const { rows } = opened.store.takeSnapshot(`s${step}`);
        expect(rows).toBe(model.size);
        snapshots.set(`s${step}`, new Map(model));
      } else if (pick < 0.55 && snapshots.size > 1) {
        const [first] = snapshots.keys();
        opened.store.dropSnapshot(first!);
        snapshots.delete(first!);
      } else if (pick < 0.62 && snapshots.size > 0) {
        const [id, held] = [...snapshots][Math.floor(random() * snapshots.size)]!;
        const rows = opened.store.rewindTo(id);
        opened.reopen();
        opened.store.apply(rows.map((row) => ({ kind: "put", row })));
        model.clear();
        for (const [key, value] of held) model.set(key, value);
      }
      opened.endTurn();
      sweep(opened);
      opened.endTurn();
      if (random() < 0.2) opened.crash();
    }
    expect(live(opened, IDS)).toEqual(
      new Map([...model].sort((a, b) => Number(a[0].slice(1)) - Number(b[0].slice(1)))),
    );
    for (const [id, held] of snapshots) expect(read(opened, id)).toEqual(held);
    expect(snapshots.size).toBeGreaterThan(0);
    // When all are dropped and all is merged, nothing but what the manifest names is on disk.
    for (const id of snapshots.keys()) opened.store.dropSnapshot(id);
    finished(opened.store.seal());
    if (opened.store.sealed.length > 0) finished(opened.store.merge(opened.store.sealed));
    opened.endTurn();
    opened.crash();
    sweep(opened);
    opened.endTurn();
    const named = opened.store.sealed.flatMap(({ directory }) =>
      [...directory.sections.values()].flatMap(({ parts }) => parts),
    );
    const stored = [...opened.sql.exec<{ name: string }>("SELECT DISTINCT name FROM storage_blobs")].map(
      ({ name }) => name,
    );
    expect(stored.sort()).toEqual(named.sort());
    expect([...opened.sql.exec("SELECT * FROM vector_held")]).toEqual([]);
  }
});

it("[VE-240] a restored row keeps its version and times; a damaged part of a snapshot is found", () => {
  const opened = openStore();
  const model: Model = new Map();
  write(opened, model, 1, "a");
  opened.clock.ms += 5;
  write(opened, model, 1, "b");
  const stamp = opened.store.get("k1")!.stamp;
  const { revision } = opened.store.takeSnapshot("s");
  remove(opened, model, 1);
  const rows = opened.store.rewindTo("s");
  opened.reopen();
  opened.store.apply(rows.map((row) => ({ kind: "put", row })));
  const { version, createdMs, updatedMs } = opened.store.get("k1")!.stamp;
  expect({ version, createdMs, updatedMs }).toEqual({
    version: 2,
    createdMs: stamp.createdMs,
    updatedMs: stamp.updatedMs,
  });
  expect(opened.store.revision).toBeGreaterThan(revision);
  opened.sql.database.exec("UPDATE vector_snapshot_parts SET body = x'00'");
  expect(() => opened.store.snapshots.page("s", { part: 0, row: 0 })).toThrow("fails its CRC32C");
});

/** Everything that a check of a snapshot says. */
function checked(opened: OpenStore, id: string) {
  const damaged: DamagedPart[] = [];
  let rows = 0;
  for (let place: SnapshotPlace | null = { part: 0, row: 0 }; place; ) {
    const check: SnapshotCheck = opened.store.snapshots.check(id, place)!;
    if (check.damaged) damaged.push(check.damaged);
    rows += check.rows ?? 0;
    place = check.next;
  }
  return { damaged, rows };
}

it("[VE-324][VE-325] damage of any column of a segment, or of the snapshot's own rows, is found by a check; a restore without those parts has all the others", () => {
  const opened = openStore();
  const model: Model = new Map();
  for (let segment = 0; segment < 3; segment++) {
    for (let n = 0; n < 50; n++) write(opened, model, segment * 50 + n, `s${segment}`);
    finished(opened.store.seal());
  }
  for (let n = 150; n < 160; n++) write(opened, model, n, "fresh");
  remove(opened, model, 3);
  opened.store.takeSnapshot("s");
  opened.endTurn();
  expect(checked(opened, "s")).toEqual({ damaged: [], rows: 159 });
  expect(opened.store.snapshots.check("none", { part: 0, row: 0 })).toBeUndefined();
  // Newest first: part 2 is the first segment, part 3 the fresh rows.
  const { sections } = opened.store.sealed[2]!.directory;
  for (const column of COLUMNS) {
    const [blob] = sections.get(column)!.parts;
    const damage = (hex: string): void => {
      const pieces = `SELECT id * 268435456 FROM storage_blobs WHERE name = '${blob}'`;
      opened.sql.database.exec(`UPDATE storage_pieces SET bytes = CAST(${hex} AS BLOB) WHERE id = (${pieces})`);
    };
    opened.sql.database.exec(`CREATE TEMP TABLE kept AS SELECT * FROM storage_pieces`);
    damage("substr(bytes, 1, length(bytes) - 1) || x'e7'");
    expect(checked(opened, "s"), column).toMatchObject({
      damaged: [{ part: 2, kind: "segment", rows: 49 }],
      rows: 110,
    });
    opened.sql.database.exec(
      "DELETE FROM storage_pieces; INSERT INTO storage_pieces SELECT * FROM kept; DROP TABLE kept",
    );
    expect(checked(opened, "s").damaged).toEqual([]);
  }
  opened.sql.database.exec("UPDATE vector_snapshot_parts SET body = x'00' WHERE part IN (0, 3)");
  expect(checked(opened, "s")).toMatchObject({
    damaged: [
      { part: 0, kind: "segment", rows: null },
      { part: 3, kind: "rows", rows: null },
    ],
    rows: 99,
  });
  expect(() => opened.store.rewindTo("s")).toThrow(/part 0 of the snapshot s fails/);
  for (const row of opened.store.rewindTo("s", [0, 3])) opened.store.apply([{ kind: "put", row }]);
  opened.endTurn();
  opened.reopen();
  const whole = new Map([...model].filter(([, text]) => text === "s0" || text === "s1"));
  expect(live(opened, 200)).toEqual(whole);
  opened.store.dropSnapshot("s");
  sweep(opened);
  expect(live(opened, 200)).toEqual(whole);
});
