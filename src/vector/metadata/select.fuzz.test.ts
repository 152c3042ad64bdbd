// Indexes against the definition of filters, over random metadata and random filters. A failing run prints its seed:
// set JADE_VECTOR_SEED to run it alone.
import { describe, expect, it } from "vitest";
import { Random } from "../../../test/simulation/random.ts";
import { MalformedBytes } from "../../wire/bytes.ts";
import type { Filter } from "../filter/filter.ts";
import { matches } from "../filter/match.ts";
import { parseFilter } from "../filter/parse.ts";
import { finished } from "../shard/shard-indexes.ts";
import { columnsOf } from "./columns.ts";
import { CompactMetadataIndex } from "./compact-index.ts";
import { writeCompactIndex } from "./compact-writer.ts";
import type { MetadataLookup } from "./field-lookup.ts";
import { MetadataIndexBuilder } from "./index-builder.ts";
import { MAX_INDEXED_PATHS } from "./limits.ts";
import { DROPPED, mergeColumns } from "./merge-index.ts";
import { select } from "./select.ts";
import type { Json, JsonObject } from "./values.ts";

const SEEDS = process.env["JADE_VECTOR_SEED"]
  ? [Number(process.env["JADE_VECTOR_SEED"])]
  : Array.from({ length: 60 }, (_, index) => index + 1);
const NAMES = ["a", "b", "c.d", "place"];
const TEXTS = [
  "",
  "red",
  "Red car",
  "ré",
  "\u{1f600}",
  "\ufffd",
  "\ud800",
  "reddish",
  "red ".repeat(80),
  `${"x".repeat(300)}end`,
];
const NUMBERS = [0, -0, 1, 1.5, -7, 1e300, 2 ** 53];

class Generator extends Random {
  scalar(): Json {
    const kind = this.between(0, 6);
    if (kind < 3) return this.pick(TEXTS);
    if (kind < 5) return this.pick(NUMBERS);
    return kind === 5 ? this.chance(0.5) : null;
  }

  point(): JsonObject {
    return {
      lat: this.between(-90, 90) + this.pick([0, 0.01]),
      lon: this.pick([-180, 180, this.between(-180, 179) + 0.3]),
    };
  }

  value(depth = 0): Json {
    const kind = this.between(0, 9);
    if (kind < 5 || depth > 2) return this.scalar();
    if (kind < 7) return Array.from({ length: this.between(0, 3) }, () => this.value(depth + 1));
    return kind === 7 ? this.point() : this.metadata(depth + 1);
  }

  metadata(depth = 0): JsonObject {
    return Object.fromEntries(NAMES.filter(() => this.chance(0.6)).map((name) => [name, this.value(depth)]));
  }

  path(): string {
    return this.chance(0.6) ? this.pick(NAMES) : `${this.pick(NAMES)}.${this.pick([...NAMES, "lat"])}`;
  }

  operators(): unknown {
    const kind = this.between(0, 12);
    if (kind < 2) return this.scalar();
    if (kind < 3) return [this.scalar(), this.scalar()];
    if (kind < 5) {
      const list: readonly Json[] = this.chance(0.5) ? NUMBERS : TEXTS;
      return {
        [this.pick(["$gt", "$gte"])]: this.pick(list),
        ...(this.chance(0.6) && { [this.pick(["$lt", "$lte"])]: this.pick(list) }),
      };
    }
    const values = (): Json => [this.scalar(), this.scalar()];
    return this.pick<() => unknown>([
      () => ({ $ne: this.scalar() }),
      () => ({ $nin: values() }),
      () => ({ $containsAll: values() }),
      () => ({ $exists: this.chance(0.5) }),
      () => ({ $prefix: this.pick(TEXTS) }),
      () => ({ $text: this.pick(["red", "CAR red", "ré", "xend"]) }),
      () => ({ $geoRadius: { ...this.point(), radiusMeters: this.pick([0, 5000, 500_000, 5_000_000, 20_000_000]) } }),
      () => ({ $not: { $eq: this.scalar() } }),
    ])();
  }

  filter(depth = 0): Record<string, unknown> {
    const kind = depth > 2 ? 9 : this.between(0, 9);
    const several = (): unknown[] => Array.from({ length: this.between(1, 3) }, () => this.filter(depth + 1));
    if (kind === 0) return { $or: several() };
    if (kind === 1) return { $and: several() };
    if (kind === 2) return { $not: this.filter(depth + 1) };
    return Object.fromEntries(Array.from({ length: this.between(1, 2) }, () => [this.path(), this.operators()]));
  }
}

function builderOf(rows: readonly JsonObject[]): MetadataIndexBuilder {
  const builder = new MetadataIndexBuilder();
  for (const row of rows) builder.add(row);
  return builder;
}

function bytesOf(columns: Parameters<typeof writeCompactIndex>[0]): Uint8Array {
  const writing = writeCompactIndex(columns);
  for (;;) {
    const step = writing.next();
    if (step.done) return step.value;
  }
}

const compact = (builder: MetadataIndexBuilder): CompactMetadataIndex =>
  new CompactMetadataIndex(bytesOf(columnsOf(builder)));

/** The selection with its unsure rows judged, as a search does it. */
function selected(filter: Filter, lookup: MetadataLookup, rows: readonly JsonObject[]): readonly number[] {
  const { sure, unsure } = select(filter, lookup);
  const judged = [...(unsure?.rows() ?? [])].filter((row) => matches(filter, rows[row]!));
  for (const row of judged) expect(sure.has(row)).toBe(false);
  return [...sure.rows(), ...judged].sort((a, b) => a - b);
}

const expected = (filter: Filter, rows: readonly JsonObject[]): readonly number[] =>
  [...rows.keys()].filter((row) => matches(filter, rows[row]!));

describe("filters over indexes", () => {
  it.each(SEEDS)(
    "[VE-60][VE-61][VE-62][VE-63][VE-65] growing and sealed indexes select what the definition says, seed %i",
    (seed) => {
      const generator = new Generator(seed);
      const rows = Array.from({ length: generator.pick([0, 1, 31, 33, 120]) }, () => generator.metadata());
      const growing = builderOf(rows);
      const sealed = compact(growing);
      for (let round = 0; round < 60; round++) {
        const filter = parseFilter(generator.filter());
        const wanted = expected(filter, rows);
        expect(selected(filter, growing, rows), JSON.stringify(filter)).toEqual(wanted);
        expect(selected(filter, sealed, rows), JSON.stringify(filter)).toEqual(wanted);
      }
    },
  );

  it.each(SEEDS)("[VE-66] a merged index selects what one built anew does, seed %i", (seed) => {
    const generator = new Generator(seed * 7919);
    const parts = Array.from({ length: 3 }, () =>
      Array.from({ length: generator.between(0, 50) }, () => generator.metadata()),
    );
    const kept = parts.map((rows) => rows.map(() => generator.chance(0.7)));
    const count = kept.flat().filter(Boolean).length;
    const order = Array.from({ length: count }, (_, at) => at);
    for (let at = count - 1; at > 0; at--) {
      const other = generator.between(0, at);
      [order[at], order[other]] = [order[other]!, order[at]!];
    }
    const merged: JsonObject[] = [];
    const inputs = parts.map((rows, part) => {
      const rowOf = Uint32Array.from(rows, (row, at) => {
        if (!kept[part]![at]) return DROPPED;
        const place = order.pop()!;
        merged[place] = row;
        return place;
      });
      return { columns: compact(builderOf(rows)).columns(), rowOf };
    });
    const index = new CompactMetadataIndex(bytesOf(finished(mergeColumns(inputs, count))));
    for (let round = 0; round < 30; round++) {
      const filter = parseFilter(generator.filter());
      expect(selected(filter, index, merged), JSON.stringify(filter)).toEqual(expected(filter, merged));
    }
  });

  it("[VE-65][VE-66] rows with more paths than are indexed are unsure, after a merge too", () => {
    const many = Object.fromEntries(Array.from({ length: MAX_INDEXED_PATHS }, (_, at) => [`p${at}`, at]));
    const first = [many, { p0: 0, late: 1 }, { p1: 1 }];
    const second = [{ late: 1, p2: 2 }, { other: 5 }];
    const filters = [{ late: 1 }, { other: 5 }, { late: { $exists: false } }, { p1: 1 }].map((filter) =>
      parseFilter(filter),
    );
    for (const filter of filters) expect(selected(filter, builderOf(first), first)).toEqual(expected(filter, first));
    const inputs = (): Parameters<typeof mergeColumns>[0] => [
      { columns: compact(builderOf(first)).columns(), rowOf: Uint32Array.of(4, 0, 2) },
      { columns: compact(builderOf(second)).columns(), rowOf: Uint32Array.of(1, 3) },
    ];
    const merged = [first[1]!, second[0]!, first[2]!, second[1]!, first[0]!];
    for (const parts of [inputs(), inputs().toReversed()]) {
      const index = new CompactMetadataIndex(bytesOf(finished(mergeColumns(parts, merged.length))));
      for (const filter of filters) expect(selected(filter, index, merged)).toEqual(expected(filter, merged));
    }
  });

  it("[VE-67] bytes that are cut or changed are refused or read within bounds, never as rows that do not exist", () => {
    const generator = new Generator(5);
    const rows = Array.from({ length: 40 }, () => generator.metadata());
    const whole = bytesOf(columnsOf(builderOf(rows)));
    const filters = Array.from({ length: 10 }, () => parseFilter(generator.filter()));
    let refused = 0;
    for (let round = 0; round < 800; round++) {
      const bytes = whole.slice(0, generator.chance(0.3) ? generator.between(0, whole.length - 1) : whole.length);
      if (bytes.length > 0) bytes[generator.between(0, bytes.length - 1)]! ^= 1 << generator.between(0, 7);
      try {
        const index = new CompactMetadataIndex(bytes);
        if (index.count > 10_000) continue;
        for (const filter of filters)
          for (const row of select(filter, index).sure.rows()) expect(row).toBeLessThan(index.count);
      } catch (error) {
        if (!(error instanceof MalformedBytes)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });
});
