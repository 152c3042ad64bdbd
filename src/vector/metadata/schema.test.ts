import { describe, expect, it } from "vitest";
import { checkMetadata, parseSchema } from "./schema.ts";

/** The specification's example of a database configuration. */
const schema = parseSchema({
  owner: "string",
  tags: "array<string>",
  category: "string",
  score: "float",
  status: "enum:active|archived|deleted",
  custom: "object",
  "custom.at": "geo",
  born: "datetime",
  count: "int",
});

describe("metadata schema", () => {
  it("[VE-68] rows that fit, fields it does not name, and absence", () => {
    checkMetadata(
      { owner: "u", tags: ["a"], score: 0.5, status: "active", custom: { at: { lat: 1, lon: 2 } } },
      schema,
    );
    checkMetadata({ born: "2025-10-08T12:00:00Z", count: 3, extra: [1, "x"] }, schema);
    checkMetadata({ owner: null, tags: [] }, schema);
    checkMetadata({}, schema);
  });

  it.each([
    [{ owner: 5 }, "metadata.owner must be string"],
    [{ tags: "a" }, "metadata.tags must be array<string>"],
    [{ tags: ["a", 1] }, "metadata.tags must be array<string>"],
    [{ status: "gone" }, "metadata.status must be one of active, archived, deleted"],
    [{ custom: [] }, "metadata.custom must be object"],
    [{ custom: { at: { lat: 100, lon: 0 } } }, "metadata.custom.at must be geo"],
    [{ born: "yesterday" }, "metadata.born must be datetime"],
    [{ count: 1.5 }, "metadata.count must be int"],
  ])("[VE-68] %j is refused", (metadata, message) => {
    expect(() => checkMetadata(metadata as never, schema)).toThrow(message);
  });

  it("[VE-68] depth is bounded, with or without a schema; unknown types are named", () => {
    let deep: unknown = 1;
    for (let level = 0; level < 20; level++) deep = [deep];
    expect(() => checkMetadata({ deep } as never, undefined)).toThrow("metadata is nested deeper than 16");
    expect(() => parseSchema({ a: "text" })).toThrow('metadataSchema.a is "text"; types are string');
    expect(() => parseSchema({ a: "enum:" })).toThrow("must name its values");
  });
});
