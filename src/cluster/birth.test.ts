import { describe, expect, it } from "vitest";
import { judgeBirth } from "./birth.ts";

describe("[CL-131] a Directory without history", () => {
  it("begins when every zone has taken its id, and waits for those that did not answer", () => {
    expect(judgeBirth("a", { z1: "a", z2: "a" })).toEqual({ waitsFor: [] });
    expect(judgeBirth("a", { z3: undefined, z1: "a", z2: undefined })).toEqual({ waitsFor: ["z2", "z3"] });
  });

  it("does not begin where one zone knows another deployment, and says what to do", () => {
    const { refusal } = judgeBirth("a", { z1: "a", z2: "b", z3: undefined });
    expect(refusal).toContain("z2 knows b");
    expect(refusal).toContain("Restore the bucket");
    expect(refusal).toContain("--new-deployment");
  });
});
