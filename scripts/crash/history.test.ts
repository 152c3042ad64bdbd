import { describe, expect, it } from "vitest";
import { KeyHistory, shownBy, type WriteOp } from "./history.ts";

const put = (id: string): WriteOp => ({ id, value: `value ${id}` });
const remove = (id: string): WriteOp => ({ id, value: undefined });

function history(...steps: readonly ["ok" | "unknown", WriteOp][]): KeyHistory {
  const made = new KeyHistory("k");
  for (const [outcome, op] of steps) {
    if (outcome === "ok") made.succeeded(op);
    else made.abandoned(op);
  }
  return made;
}

describe("checker of the crash runs", () => {
  it("accepts what was acknowledged, and nothing where nothing was", () => {
    expect(history().problem([undefined])).toBeUndefined();
    expect(history(["ok", put("1")]).problem(["value 1"])).toBeUndefined();
    expect(history(["ok", put("1")], ["ok", remove("2")]).problem([undefined])).toBeUndefined();
    expect(history(["ok", put("1")], ["ok", remove("2")], ["ok", put("3")]).problem(["value 3"])).toBeUndefined();
  });

  it("accepts both outcomes of an unknown write, alone or beside an acknowledged one", () => {
    const later = history(["ok", put("1")], ["unknown", put("2")]);
    for (const shown of [["value 1"], ["value 2"], ["value 1", "value 2"]])
      expect(later.problem(shown)).toBeUndefined();
    expect(history(["ok", put("1")]).problem(["value 2"], put("2"))).toBeUndefined();
    expect(history(["ok", put("1")]).problem([undefined], put("2"))).toMatch(/^lost/);
    const stray = history(["unknown", put("1")], ["ok", put("2")]);
    for (const shown of [["value 2"], ["value 2", "value 1"]]) expect(stray.problem(shown)).toBeUndefined();
    const gone = history(["ok", put("1")], ["unknown", remove("2")]);
    for (const shown of [["value 1"], [undefined]]) expect(gone.problem(shown)).toBeUndefined();
    const beside = history(["unknown", put("1")], ["ok", remove("2")]);
    for (const shown of [[undefined], ["value 1"]]) expect(beside.problem(shown)).toBeUndefined();
  });

  it("accepts what an acknowledged write's clock does not cover beside it, until a later write's does", () => {
    const restamped = new KeyHistory("k");
    restamped.succeeded(put("1"), { "n1.1": 1 });
    restamped.succeeded(put("2"), { "n2.1": 1 });
    for (const shown of [["value 2"], ["value 1", "value 2"]]) expect(restamped.problem(shown)).toBeUndefined();
    expect(restamped.problem(["value 1"])).toMatch(/^lost/);
    restamped.succeeded(put("3"), { "n1.1": 2, "n2.1": 1 });
    expect(restamped.problem(["value 3"])).toBeUndefined();
    for (const old of ["value 1", "value 2"]) expect(restamped.problem(["value 3", old])).toMatch(/^back/);
  });

  it("finds a lost write, whatever shows in its place", () => {
    expect(history(["ok", put("1")]).problem([undefined])).toMatch(/^lost/);
    expect(history(["unknown", put("1")], ["ok", put("2")]).problem(["value 1"])).toMatch(/^lost/);
    expect(history(["ok", put("1")], ["ok", put("2")], ["unknown", put("3")]).problem([undefined])).toMatch(/^lost/);
  });

  it("finds a superseded or deleted value that is back, a doubled write, and a value nobody wrote", () => {
    expect(history(["ok", put("1")], ["ok", put("2")]).problem(["value 1"])).toMatch(/^back/);
    expect(history(["ok", put("1")], ["ok", remove("2")]).problem(["value 1"])).toMatch(/^back/);
    expect(history(["ok", put("1")], ["ok", put("2")]).problem(["value 2", "value 1"])).toMatch(/^back/);
    expect(history(["ok", put("1")]).problem(["value 1", "value 1"])).toMatch(/^doubled/);
    expect(history(["ok", put("1")]).problem(["value X"])).toMatch(/^wrong/);
  });

  it("reads siblings, deletes among them", () => {
    const none = { found: false, conflict: false, value: undefined, siblings: [] };
    expect(shownBy(none)).toEqual([undefined]);
    expect(shownBy({ ...none, found: true, value: "a" })).toEqual(["a"]);
    const siblings = [{ value: "a" }, { value: undefined }];
    expect(shownBy({ found: true, conflict: true, value: "a", siblings })).toEqual(["a", undefined]);
  });
});
