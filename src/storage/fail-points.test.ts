import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Fixture, rowKey, writeId } from "../../test/unit/storage/fixture.ts";
import { FAIL_POINTS, type FailPoint } from "./fail-points.ts";

/** Where one point stands for two. */
const JOB = /\$\{job\}/;

/** The names that the shipped code passes to `atFailPoint`. */
function namesInCode(): Set<string> {
  const names = new Set<string>();
  for (const folder of ["src", "objects"]) {
    for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
      if (!file.endsWith(".ts") || file.endsWith(".test.ts")) continue;
      const text = readFileSync(`${folder}/${file}`, "utf8");
      for (const [, name] of text.matchAll(/atFailPoint(?:\?\.)?\(\s*["`]([^"`]+)["`]/gi)) {
        for (const job of JOB.test(name!) ? ["flush", "merge"] : [""]) names.add(name!.replace(JOB, job));
      }
    }
  }
  return names;
}

describe("fail points", () => {
  it("[ST-45] the list names exactly the points that the code has", () => {
    expect([...namesInCode()].sort()).toEqual(Object.keys(FAIL_POINTS).sort());
  });

  it("[ST-45] flush, log, merge and sweep pass their points in order, and none is passed without a harness", async () => {
    const passed: FailPoint[] = [];
    const fixture = new Fixture({ atFailPoint: async (point) => void passed.push(point) });
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 100; i++) {
        fixture.engine.put(rowKey(1, `key-${i}`), new Uint8Array(90).fill(round));
        fixture.engine.addRecord(1, writeId(i), new Uint8Array(10));
      }
      fixture.commit();
      await fixture.settle();
    }
    const first = (point: FailPoint) => passed.indexOf(point);
    const order: FailPoint[] = ["flush.frozen", "flush.blobWritten", "flush.applied", "log.trimmed"];
    for (const [i, point] of order.entries())
      expect(first(point), point).toBeGreaterThan(i === 0 ? -1 : first(order[i - 1]!));
    const merging: FailPoint[] = [
      "merge.begun",
      "merge.blobWritten",
      "merge.partApplied",
      "blobs.swept",
      "merge.applied",
    ];
    for (const [i, point] of merging.entries())
      expect(first(point), point).toBeGreaterThan(i === 0 ? -1 : first(merging[i - 1]!));
    expect(passed).not.toContain("blob.deleted");
  });
});
