// What is saved of an index over coded blocks, and what is refused.
import { describe, expect, it } from "vitest";
import { seededWords } from "../../../scripts/lib/seeded.mjs";
import { clusters, finish, newCore, residentRows } from "../../../test/unit/vector/fixture.ts";
import type { VectorCore } from "../kernels.ts";
import { QuerySlot } from "../query.ts";
import { CellBuilder } from "./cell-builder.ts";
import { openCellLoader } from "./cell-loader.ts";
import { MalformedIndex, type Rows, type SegmentIndex } from "./segment-index.ts";

const FORMS = (["FLAT", "IVF"] as const).flatMap((kind) =>
  (["rabitq", "pq"] as const).map((quantizer) => ({ kind, quantizer })),
);
const COUNT = 330;
const DIMENSION = 20;

function world(form: (typeof FORMS)[number]) {
  const core = newCore();
  const vectors = clusters({ count: COUNT, dimension: DIMENSION, centres: 9, spread: 0.6, seed: 4 }).map(
    (c) => c.values,
  );
  vectors[5] = new Float32Array(DIMENSION).fill(Number.NaN);
  const rows = residentRows(core, vectors, DIMENSION);
  const index = finish(new CellBuilder(core, { rows, metric: "dot", ...form }));
  const sections = index.save().map(({ name, byteLength, read }) => {
    const half = byteLength >> 1;
    return { name, bytes: Uint8Array.from([...read(0, half), ...read(half, byteLength)]) };
  });
  return { core, rows, index, sections, query: vectors[1]! };
}

type Sections = readonly { readonly name: string; readonly bytes: Uint8Array }[];

function load(core: VectorCore, rows: Rows, sections: Sections): SegmentIndex {
  const lengths = new Map(sections.map(({ name, bytes }) => [name, bytes.length]));
  const loader = openCellLoader(core, { header: sections[0]!.bytes, lengths }, { rows, metric: "dot" });
  for (const { name, at, byteLength } of loader.targets) {
    const bytes = sections.find((section) => section.name === name)!.bytes;
    core.arena.u8.set(bytes.subarray(0, byteLength), at);
  }
  return loader.finish();
}

describe("a saved index over coded blocks", () => {
  it.each(FORMS)("[VE-40] $kind $quantizer comes back as the same index", (form) => {
    const { core, rows, index, sections, query } = world(form);
    const slot = new QuerySlot(core, "dot", DIMENSION);
    const ask = (of: SegmentIndex) => of.search(slot.prepare(query), { k: 20, effort: { probes: 6 } });
    const [expected, memoryBytes] = [ask(index), index.memoryBytes];
    index.release();
    const loaded = load(core, rows, sections);
    expect(ask(loaded)).toEqual(expected);
    expect(loaded.kind).toBe(form.kind);
    expect(loaded.memoryBytes).toBe(memoryBytes);
    expect(loaded.save().map(({ name, byteLength }) => [name, byteLength])).toEqual(
      sections.map(({ name, bytes }) => [name, bytes.length]),
    );
  });

  it.each(FORMS)("[VE-41] $kind $quantizer: changed bytes are refused or harmless, and no memory is lost", (form) => {
    const { core, rows, index, sections, query } = world(form);
    index.release();
    const slot = new QuerySlot(core, "dot", DIMENSION);
    const words = seededWords(11);
    core.workspace.release();
    const before = core.arena.usedBytes;
    let refused = 0;
    for (let run = 0; run < 600; run++) {
      const part = words() % sections.length;
      if (sections[part]!.bytes.length === 0) continue;
      const changed = sections.map(({ name, bytes }) => ({ name, bytes: bytes.slice() }));
      changed[part]!.bytes[words() % changed[part]!.bytes.length]! ^= 1 << (words() % 8);
      try {
        const loaded = load(core, rows, changed);
        const found = loaded.search(slot.prepare(query), { k: 50, effort: {} });
        for (const row of found.rows) expect(row).toBeLessThan(COUNT);
        expect(new Set(found.rows).size).toBe(found.rows.length);
        loaded.release();
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedIndex);
        refused++;
      }
      core.workspace.release();
      expect(core.arena.usedBytes).toBe(before);
    }
    expect(refused).toBeGreaterThan(50);
  });

  it("[VE-41] one of other rows, another metric or with sections of other lengths is refused", () => {
    const { core, rows, sections } = world({ kind: "IVF", quantizer: "rabitq" });
    expect(() => load(core, { ...rows, count: COUNT - 1 }, sections)).toThrow(MalformedIndex);
    expect(() => load(core, { ...rows, dimension: DIMENSION - 1 }, sections)).toThrow(MalformedIndex);
    const lengths = new Map(sections.map(({ name, bytes }) => [name, bytes.length]));
    const header = sections[0]!.bytes;
    expect(() => openCellLoader(core, { header, lengths }, { rows, metric: "cosine" })).toThrow(/metric/);
    expect(() => openCellLoader(core, { header: header.slice(1), lengths }, { rows, metric: "dot" })).toThrow(/header/);
    lengths.set("cells-codes", 1);
    expect(() => openCellLoader(core, { header, lengths }, { rows, metric: "dot" })).toThrow(/cells-codes/);
  });
});
