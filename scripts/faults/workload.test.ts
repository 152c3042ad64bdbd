import { expect, it } from "vitest";
import { vectorProblems } from "./workload.ts";

it("a vector that was acknowledged and is not there is a problem, one that is not", async () => {
  const get = (id: string) => (id === "a" ? Promise.resolve({}) : Promise.reject(new Error("notFound")));
  expect(await vectorProblems(["a"], get)).toEqual([]);
  expect(await vectorProblems(["a", "b"], get)).toEqual([expect.stringContaining("the vector b was acknowledged")]);
});
