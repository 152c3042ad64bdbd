import { expect, it } from "vitest";
import type { JadeClient } from "../../src/client/index.ts";
import { apart, convergenceProblems } from "./converged.ts";

it("[CL-113] names the instances that show something else than all agree on", () => {
  expect(apart(["1"], { z1: ["1"], z2: ["1"] })).toEqual([]);
  expect(apart(["1"], { z1: ["1"], z2: ["0"] })).toEqual([expect.stringContaining("z2 shows")]);
  expect(apart(["1"], { z1: ["1", "2"], z2: ["1"] })).toEqual([expect.stringContaining("z1 shows")]);
  expect(apart(["1"], { z1: ["unreadable"], z2: [] })).toHaveLength(2);
});

it("[CL-113] a replica that lacks a write, or shows a sibling more, is a problem until it agrees", async () => {
  const read = (...values: string[]) => ({
    ...{ found: values.length > 0, conflict: values.length > 1, value: values[0] },
    siblings: values.length > 1 ? values.map((value) => ({ value })) : [],
  });
  /** Answers so at `one`, and "new" at `quorum`. */
  const client = (...one: string[][]): JadeClient => {
    const batch = async (_: unknown, { consistency }: { consistency: string }) => {
      const shown = consistency === "quorum" ? ["new"] : one.length > 1 ? one.shift()! : one[0]!;
      return [{ ok: true, op: "get", result: read(...shown) }];
    };
    return { kv: { batch } } as unknown as JadeClient;
  };
  expect(await convergenceProblems({ z1: client(["new"]), z2: client(["new"]) }, ["k"], 0)).toEqual([]);
  for (const wrong of [["old"], [], ["new", "old"]])
    expect(await convergenceProblems({ z1: client(["new"]), z2: client(wrong) }, ["k"], 0)).toHaveLength(1);
  expect(await convergenceProblems({ z1: client(["old"], ["new"]) }, ["k"], 5000)).toEqual([]);
});
