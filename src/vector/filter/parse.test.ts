import { describe, expect, it } from "vitest";
import { VectorRefusal } from "../failure.ts";
import { MAX_CONDITIONS, MAX_FILTER_DEPTH, MAX_FILTER_VALUES } from "../metadata/limits.ts";
import type { JsonObject } from "../metadata/values.ts";
import { matches } from "./match.ts";
import { parseFilter } from "./parse.ts";

function refusal(filter: unknown): string {
  try {
    parseFilter(filter);
  } catch (error) {
    if (error instanceof VectorRefusal) return error.message;
    throw error;
  }
  throw new Error("was accepted");
}

const holds = (filter: unknown, metadata: JsonObject): boolean => matches(parseFilter(filter), metadata);

describe("filters", () => {
  it("[VE-60] the plain form of the specification's example", () => {
    const filter = {
      "metadata.category": "annual_report",
      "metadata.tags": ["finance"],
      "metadata.score": { $gte: 0.8 },
    };
    const report = { category: "annual_report", tags: ["report", "finance"], score: 0.87 };
    expect(holds(filter, report)).toBe(true);
    expect(holds(filter, { ...report, score: 0.79 })).toBe(false);
    expect(holds(filter, { ...report, tags: ["report"] })).toBe(false);
    expect(holds({}, report)).toBe(true);
  });

  it("[VE-61][VE-63] absent fields, null, negation and types", () => {
    expect(holds({ a: null }, { a: null })).toBe(true);
    expect(holds({ a: null }, {})).toBe(false);
    expect(holds({ a: { $ne: 1 } }, {})).toBe(true);
    expect(holds({ a: { $exists: true } }, { a: [] })).toBe(true);
    expect(holds({ a: { $gt: 1 } }, { a: "2" })).toBe(false);
    expect(holds({ created: { $gte: "2025-01-01", $lt: "2026" } }, { created: "2025-10-08T12:00:00Z" })).toBe(true);
    expect(holds({ $not: { a: 1 } }, { a: [2, 1] })).toBe(false);
  });

  it("[VE-62] lists, nested fields, text and places", () => {
    expect(holds({ custom: { region: "EU", n: { $lt: 3 } } }, { custom: { region: "EU", n: 2 } })).toBe(true);
    expect(holds({ "items.price": { $lt: 5 } }, { items: [{ price: 9 }, { price: 4 }] })).toBe(true);
    expect(holds({ tags: { $containsAll: ["a", "b"] } }, { tags: ["b", "c", "a"] })).toBe(true);
    expect(holds({ title: { $text: "ANNUAL report" } }, { title: "The report, annual edition" })).toBe(true);
    const berlin = { lat: 52.52, lon: 13.405 };
    expect(holds({ at: { $geoRadius: { ...berlin, radiusMeters: 30_000 } } }, { at: { lat: 52.39, lon: 13.06 } })).toBe(
      true,
    );
    expect(holds({ at: { $geoRadius: { ...berlin, radiusMeters: 20_000 } } }, { at: { lat: 52.39, lon: 13.06 } })).toBe(
      false,
    );
  });

  it("[VE-64] what is wrong is named", () => {
    expect(refusal(5)).toBe("filters must be an object");
    expect(refusal({ score: { $gtt: 1 } })).toMatch(/^filters\.score\.\$gtt is no operator here; there are \$eq, /);
    expect(refusal({ $xor: [] })).toMatch(/^filters\.\$xor is no operator here; there are \$and/);
    expect(refusal({ $or: [] })).toBe("filters.$or must be a list of at least one filter");
    expect(refusal({ $or: [{ a: { $in: "x" } }] })).toBe("filters.$or[0].a.$in must be a list");
    expect(refusal({ a: { $gt: 1, $lt: "b" } })).toMatch(/compares with a number and with text/);
    expect(refusal({ a: { $text: "!?" } })).toMatch(/has no word/);
    expect(refusal({ a: { $geoRadius: { lat: 91, lon: 0, radiusMeters: 1 } } })).toMatch(/lat from -90 to 90/);
    expect(refusal({ a: { $geoRadius: { lat: 1, lon: 0, radiusMeters: -1 } } })).toMatch(
      /radiusMeters must be a number/,
    );
    expect(refusal({ a: { $in: Array.from({ length: MAX_FILTER_VALUES + 1 }, () => 1) } })).toMatch(/at most 1024/);
    expect(refusal({ $and: Array.from({ length: MAX_CONDITIONS + 1 }, () => ({ a: 1 })) })).toMatch(/256 of a filter/);
    let deep: unknown = { a: 1 };
    for (let level = 0; level <= MAX_FILTER_DEPTH; level++) deep = { $not: deep };
    expect(refusal(deep)).toMatch(/is nested deeper than 16/);
  });
});
