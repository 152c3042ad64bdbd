import { describe, expect, it } from "vitest";
import { changedIndexes, type IndexChange, indexSpecsOf } from "./indexes.ts";
import { MAX_INDEXES } from "./limits.ts";
import { type DatabaseRecord, defaultParameters } from "./record.ts";

const RECORD = {
  indexType: "HNSW",
  indexParameters: defaultParameters("HNSW", "cosine"),
} as unknown as DatabaseRecord;

function changed(record: DatabaseRecord, change: IndexChange): DatabaseRecord {
  const fields = changedIndexes(record, change, 1);
  if ("refused" in fields) throw new Error(`${fields.refused}: ${fields.message}`);
  return { ...record, ...fields };
}

const create = (indexId: string): IndexChange => ({
  kind: "create",
  indexId,
  indexType: "IVF",
  indexParameters: defaultParameters("IVF", "cosine"),
});
const builds = (record: DatabaseRecord) => indexSpecsOf(record).map(({ name, build = 0 }) => [name, build]);

describe("the indexes of a database", () => {
  it("[VE-215] what decides how an index is built makes a new build, what decides how it is searched does not", () => {
    const two = changed(RECORD, create("b"));
    const tuned = changed(two, {
      kind: "update",
      indexId: "b",
      indexParameters: { ...defaultParameters("IVF", "cosine"), probes: 9 },
      rebuild: false,
    });
    expect(builds(tuned)).toEqual(builds(two));
    expect(indexSpecsOf(tuned)[1]!.effort).toEqual({ probes: 9 });
    const finer = { ...RECORD.indexParameters, M: 48 };
    const wider = changed(tuned, { kind: "update", indexId: "default", indexParameters: finer, rebuild: false });
    expect(builds(wider)).toEqual([
      ["default", 2],
      ["b", 1],
    ]);
    expect(builds(changed(wider, { kind: "update", indexId: "b", rebuild: true }))).toEqual([
      ["default", 2],
      ["b", 3],
    ]);
  });

  it("[VE-215] a build number is never given twice, also when an index is made again under its name", () => {
    let record = RECORD;
    for (let round = 1; round <= 3; round++) {
      record = changed(record, create("b"));
      expect(builds(record)[1]).toEqual(["b", round]);
      record = changed(record, { kind: "delete", indexId: "b" });
    }
  });

  it("[VE-216] the first one stays, names are had once, and their number is bounded", () => {
    const refusal = (record: DatabaseRecord, change: IndexChange) => changedIndexes(record, change, 1);
    expect(refusal(RECORD, { kind: "delete", indexId: "default" })).toMatchObject({ refused: "conflict" });
    expect(refusal(RECORD, { kind: "delete", indexId: "b" })).toMatchObject({ refused: "notFound" });
    expect(refusal(RECORD, create("default"))).toMatchObject({ refused: "alreadyExists" });
    let record = RECORD;
    for (let at = 1; at < MAX_INDEXES; at++) record = changed(record, create(`i${at}`));
    expect(refusal(record, create("more"))).toMatchObject({ refused: "conflict" });
  });
});
