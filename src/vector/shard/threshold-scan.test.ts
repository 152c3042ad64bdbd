import { describe, expect, it } from "vitest";
import { Random } from "../../../test/simulation/random.ts";
import { openStore } from "../../../test/unit/vector/open-store.ts";
import { referenceDistance } from "../distances.reference.ts";
import { parseFilter } from "../filter/parse.ts";
import { METRICS, type Metric, scoreOf } from "../metric.ts";
import { finished } from "./shard-indexes.ts";
import { type Match, type ThresholdAsk, ThresholdScan } from "./threshold-scan.ts";

const DIMENSION = 9;
const encoder = new TextEncoder();
const FLAT = { name: "default", kind: "FLAT", quantizer: "rabitq", effort: {} } as const;

function world(metric: Metric, seed: number) {
  const opened = openStore({ dimension: DIMENSION, metric, specs: [FLAT] });
  const random = new Random(seed);
  const rows = new Map<string, { readonly values: Float32Array; readonly n: number }>();
  const scan = new ThresholdScan({ core: opened.core, store: opened.store, metric, dimension: DIMENSION });
  const values = () => Float32Array.from({ length: DIMENSION }, () => random.between(-1000, 1000) / 331 + 0.001);
  const put = (id: string, at = values()): void => {
    const n = random.between(0, 9);
    const metadata = encoder.encode(JSON.stringify({ n }));
    opened.store.apply([{ kind: "put", row: { id, values: new Uint8Array(at.buffer), metadata } }]);
    rows.set(id, { values: at, n });
  };
  const remove = (id: string): void => {
    opened.store.apply([{ kind: "delete", id }]);
    rows.delete(id);
  };
  /** A thousand rows in three segments and the fresh one, some replaced, some deleted. */
  const fill = (): void => {
    for (let at = 0; at < 1000; at++) {
      put(`r${random.between(0, 800)}`);
      if (at % 9 === 0) remove(`r${random.between(0, 800)}`);
      if (at % 300 === 299) finished(opened.store.seal());
    }
    opened.endTurn();
  };
  const expected = (query: Float32Array, filter: (n: number) => boolean = () => true) =>
    [...rows]
      .filter(([, { n }]) => filter(n))
      .map(([id, row]) => ({ id, score: scoreOf(metric, referenceDistance(metric, query, row.values)) }))
      .sort((a, b) => (metric === "euclidean" ? a.score - b.score : b.score - a.score));
  const page = (ask: ThresholdAsk) => {
    const release = opened.store.pin();
    try {
      return finished(scan.run(ask));
    } finally {
      release();
    }
  };
  const all = (ask: Omit<ThresholdAsk, "after">): readonly Match[] => {
    const found: Match[] = [];
    for (;;) {
      const last = found.at(-1);
      const { rows: some, more, total } = page({ ...ask, after: last && { score: last.score, id: last.id } });
      found.push(...some);
      if (!more) {
        expect(found).toHaveLength(total);
        return found;
      }
      expect(some).toHaveLength(ask.limit);
    }
  };
  return { opened, random, rows, scan, put, remove, fill, values, expected, page, all };
}

describe("a threshold", () => {
  it.each(METRICS)("[VE-217] every row that meets it is given once and counted, none that does not: %s", (metric) => {
    const { fill, values, expected, all } = world(metric, 3);
    fill();
    for (let round = 0; round < 6; round++) {
      const query = values();
      const isFiltered = round % 2 === 1;
      const wanted = expected(query, isFiltered ? (n) => n < 4 : undefined);
      const at = [1, 10, 99, 150, 200, wanted.length - 1][round]!;
      // Between two rows, so that rounding decides nothing.
      const threshold = (wanted[at - 1]!.score + wanted[at]!.score) / 2;
      const filter = isFiltered ? parseFilter({ n: { $lt: 4 } }) : undefined;
      const limit = [1, 7, 1000, 20, 199, 64][round]!;
      const found = all({ values: query, threshold, filter, limit });
      expect(found.map(({ id }) => id).sort()).toEqual(
        wanted
          .slice(0, at)
          .map(({ id }) => id)
          .sort(),
      );
      for (const [place, { score }] of found.entries()) expect(score).toBeCloseTo(wanted[place]!.score, 3);
    }
  });

  it("[VE-217] equal scores stand by id, and pages end among them", () => {
    const { put, all, opened } = world("cosine", 4);
    const same = Float32Array.from({ length: DIMENSION }, (_, at) => at + 1);
    for (let at = 0; at < 40; at++) put(`r${at}`, same.slice());
    finished(opened.store.seal());
    for (let at = 40; at < 60; at++) put(`r${at}`, same.slice());
    const found = all({ values: same, threshold: 0.99, limit: 7 });
    expect(found.map(({ id }) => id)).toEqual(Array.from({ length: 60 }, (_, at) => `r${at}`).sort());
  });

  it("[VE-217] a scan in slices gives the rows of its beginning, whatever is written, sealed and merged between", () => {
    const { opened, fill, values, expected, scan, put, remove, rows } = world("dot", 5);
    fill();
    const query = values();
    const wanted = expected(query).map(({ id }) => id);
    const { store } = opened;
    const release = store.pin();
    const work = scan.run({ values: query, threshold: -1e9, limit: 10_000 });
    let step = work.next();
    expect(step.done).toBe(false);
    // What it has not come to yet moves to where it has been; its segments go, and their blobs are asked for.
    for (const id of [...rows.keys()].slice(0, 300)) put(id);
    for (const id of [...rows.keys()].slice(300, 400)) remove(id);
    finished(store.seal());
    finished(store.merge(store.sealed));
    opened.endTurn();
    const blobs = () => [...opened.sql.exec("SELECT name FROM storage_blobs")].length;
    const before = blobs();
    expect(store.sweep()).toBe(false);
    expect(blobs()).toBe(before);
    while (!step.done) step = work.next();
    expect(step.value.rows.map(({ id }) => id).sort()).toEqual(wanted.toSorted());
    for (const { segment, row, id } of step.value.rows) expect(segment.idOf(row).id).toBe(id);
    release();
    expect(store.sweepDue).toBe(true);
  });
});
