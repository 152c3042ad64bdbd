import { expect, it } from "vitest";
import { apart } from "./converged.ts";

it("[CL-113] names the instances that show something else than all agree on", () => {
  expect(apart(["1"], { z1: ["1"], z2: ["1"] })).toEqual([]);
  expect(apart(["1"], { z1: ["1"], z2: ["0"] })).toEqual([expect.stringContaining("z2 shows")]);
  expect(apart(["1"], { z1: ["1", "2"], z2: ["1"] })).toEqual([expect.stringContaining("z1 shows")]);
  expect(apart(["1"], { z1: ["unreadable"], z2: [] })).toHaveLength(2);
});
