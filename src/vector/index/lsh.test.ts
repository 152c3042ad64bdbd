import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { distantRows, newCore, residentRows } from "../../../test/unit/vector/fixture.ts";
import { METRICS } from "../metric.ts";
import { paddedLength } from "../quantize/rotation.ts";
import { seededNormals } from "../quantize/seeded.ts";
import { referenceCosts, referenceSteps } from "./lsh.reference.ts";
import { LshBuilder } from "./lsh-builder.ts";
import { type Change, changeSets, changesOf, mixStep } from "./lsh-hash.ts";
import { tableAt } from "./lsh-tables.ts";

const cost = (changes: readonly Change[]): number => changes.reduce((sum, change) => sum + change.cost, 0);

describe("LSH", () => {
  it.each(METRICS)("[VE-42] %s: rows are in the buckets of the twin", (metric) => {
    const next = seededNormals(3);
    const vectors = Array.from({ length: 300 }, () => Array.from({ length: 20 }, () => next() + 2));
    const core = newCore();
    const builder = new LshBuilder(core, { rows: residentRows(core, vectors, 20), metric, tables: 3, bits: 5 });
    while (!builder.step({ rows: 1 })) expect(builder.progress).toBeLessThan(1);
    const tables = builder.finish();
    const { header } = tables;
    const bytes = tables.save()[1]!.read(0, tables.save()[1]!.byteLength);
    const words = new Uint32Array(bytes.buffer);
    const length = paddedLength(metric === "dot" ? 21 : 20);
    const mean = new Float32Array(bytes.buffer, 0, length);
    let checked = 0;
    for (const [row, values] of vectors.entries()) {
      const norm = Math.hypot(...values);
      const placed = values.map((value) => (metric === "cosine" ? value / norm : value));
      if (metric === "dot") placed.push(Math.sqrt(Math.max(0, header.radius - norm * norm)));
      const { steps, nearest } = referenceSteps(
        Array.from(mean, (m, i) => (placed[i] ?? 0) - m),
        header,
      );
      if (nearest < 1e-3) continue;
      checked++;
      for (let table = 0; table < 3; table++) {
        const key = steps.slice(table * 5, table * 5 + 5).reduce(mixStep, table);
        const keys = words.subarray(length + table * 600, length + table * 600 + 300);
        const rows = words.subarray(length + table * 600 + 300, length + table * 600 + 600);
        expect(keys[rows.indexOf(row)]).toBe(key);
        expect([...keys]).toEqual([...keys].sort((a, b) => a - b));
      }
    }
    expect(checked).toBeGreaterThan(200);
  });

  it("[VE-43] buckets beside the query's own come cheapest first, each once, and all of them", () => {
    const property = fc.property(
      fc.record({
        projections: fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 8, maxLength: 8 }),
        width: fc.constantFrom(0, 0.7),
      }),
      ({ projections, width }) => {
        const shape = { tables: 2, bits: 4, width, seed: 1 };
        const shifts = Float64Array.from({ length: 8 }, (_, i) => i / 9);
        const tables = [0, 4].map((from) => changesOf(projections, from, shape, shifts));
        const sets = [...changeSets(tables)];
        const expected = referenceCosts(tables);
        expect(sets.length).toBe(expected.length);
        for (const [i, { changes }] of sets.entries()) expect(cost(changes)).toBeCloseTo(expected[i]!, 9);
        const names = sets.map(({ table, changes }) =>
          [table, ...changes.map(({ projection, by }) => `${projection}:${by}`).sort()].join(),
        );
        expect(new Set(names).size).toBe(sets.length);
      },
    );
    fc.assert(property, { numRuns: 60 });
  });

  it("[VE-42] the same rows give the same tables, however the build is cut; all memory comes back", () => {
    const next = seededNormals(8);
    const vectors = Array.from({ length: 400 }, () => Array.from({ length: 70 }, next));
    vectors[9] = Array(70).fill(Number.NaN);
    const built = [1, 7, 500].map((rows) => {
      const core = newCore();
      const before = core.arena.usedBytes;
      const builder = new LshBuilder(core, { rows: distantRows(core, vectors, 70), metric: "euclidean" });
      while (!builder.step({ rows }));
      const tables = builder.finish();
      const { rows: placed } = tableAt(core, tables.header, 0, 0);
      expect(placed.length).toBe(399);
      expect(builder.quarantined).toEqual([9]);
      const bytes = tables.save().map(({ byteLength, read }) => Buffer.from(read(0, byteLength)).toString("base64"));
      tables.release();
      core.workspace.release();
      expect(core.arena.usedBytes).toBe(before);
      return bytes;
    });
    expect(built[1]).toEqual(built[0]);
    expect(built[2]).toEqual(built[0]);
    for (const wrong of [{ tables: 0 }, { tables: 65 }, { bits: 0 }, { bits: 33 }]) {
      const core = newCore();
      expect(() => new LshBuilder(core, { rows: distantRows(core, [], 4), metric: "dot", ...wrong })).toThrow(
        RangeError,
      );
    }
  });
});
