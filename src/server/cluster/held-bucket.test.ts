// When a bucket counts as one that holds a deployment.
import { describe, expect, it } from "vitest";
import type { Seen } from "./bucket-memory.ts";
import { whyHeld } from "./held-bucket.ts";

const seen = (word?: string): Seen => ({ bucket: "s3://jade/p", count: 3, at: "2026-11-22T08:00:00.000Z", word });

describe("[CL-148] a bucket holds a deployment", () => {
  it("where any zone's instance was there that is not of the word's", () => {
    expect(whyHeld("new", { z1: undefined, z2: seen() })).toBe("z2 was there at 2026-11-22T08:00:00.000Z");
    expect(whyHeld("new", { z1: seen("old"), z2: seen("new") })).toContain("z1 was there");
  });

  it("not where nobody was, or only those whose new deployment it is", () => {
    expect(whyHeld("new", { z1: undefined, z2: undefined })).toBeUndefined();
    expect(whyHeld("new", { z1: seen("new"), z2: undefined, z3: seen("new") })).toBeUndefined();
  });
});
