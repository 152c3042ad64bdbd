import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { prepareDataDir } from "../data-dir.ts";
import { beginNewDeployment, deploymentWord, isNewWord, setBucketAside } from "./new-deployment.ts";

const made: string[] = [];
afterEach(() => {
  for (const path of made.splice(0)) rmSync(path, { recursive: true, force: true });
});

function dirWithData() {
  const path = mkdtempSync(join(tmpdir(), "jade-new-"));
  made.push(path);
  const dir = prepareDataDir(path);
  mkdirSync(dir.leaders);
  writeFileSync(join(dir.objects, "old"), "rows");
  writeFileSync(join(path, "bucket-seen.json"), "{}");
  writeFileSync(join(path, "incarnation"), "7");
  return dir;
}

describe("[CL-132] --new-deployment", () => {
  it("sets what the instance held aside, once for a word, and leaves its incarnation", () => {
    const dir = dirWithData();
    const aside = beginNewDeployment(dir, "again")!;
    expect(readFileSync(join(aside, "objects/old"), "utf8")).toBe("rows");
    expect(existsSync(join(aside, "bucket-seen.json"))).toBe(true);
    expect([existsSync(join(dir.objects, "old")), existsSync(dir.leaders)]).toEqual([false, false]);
    expect(readFileSync(join(dir.path, "incarnation"), "utf8")).toBe("7");
    writeFileSync(join(dir.objects, "new"), "rows");
    // The flag stayed in the unit file.
    expect([deploymentWord(dir.path), isNewWord(dir.path, "again"), isNewWord(dir.path, "third")]).toEqual([
      "again",
      false,
      true,
    ]);
    expect(beginNewDeployment(dir, "again")).toBeUndefined();
    expect(existsSync(join(dir.objects, "new"))).toBe(true);
    expect(beginNewDeployment(dir, "third")).toContain("before-third");
    expect(() => beginNewDeployment(dir, "again")).toThrow("choose another word");
  });

  it("goes on after a crash in between", () => {
    const dir = dirWithData();
    writeFileSync(join(dir.path, "new-deployment"), "again begun");
    mkdirSync(join(dir.path, "before-again/objects"), { recursive: true });
    writeFileSync(join(dir.path, "before-again/objects/old"), "rows");
    rmSync(join(dir.objects, "old"));
    // Its bucket was judged before the crash.
    expect([deploymentWord(dir.path), isNewWord(dir.path, "again")]).toEqual(["again", false]);
    const aside = beginNewDeployment(dir, "again")!;
    expect(readFileSync(join(aside, "objects/old"), "utf8")).toBe("rows");
    expect(existsSync(join(aside, "leaders"))).toBe(true);
    expect(existsSync(join(dir.path, "bucket-seen.json"))).toBe(false);
  });

  it("refuses what is no word", () => {
    expect(() => beginNewDeployment(dirWithData(), "../x")).toThrow("1 to 32 letters");
  });
});

describe("[CL-150] --new-deployment of a whole cluster on one machine", () => {
  it("sets its bucket aside once for a word, whether there was one or not", () => {
    const { path } = dirWithData();
    const bucket = join(path, "bucket");
    const filled = (with_: string) => {
      mkdirSync(bucket);
      writeFileSync(join(bucket, "object"), with_);
    };
    expect(setBucketAside(path, "first")).toContain("bucket-before-first");
    filled("first's");
    expect(setBucketAside(path, "first")).toBeUndefined();
    expect(readFileSync(join(bucket, "object"), "utf8")).toBe("first's");
    const aside = setBucketAside(path, "second")!;
    expect([existsSync(bucket), readFileSync(join(aside, "object"), "utf8")]).toEqual([false, "first's"]);
    filled("second's");
    expect([setBucketAside(path, "second"), setBucketAside(path, "first")]).toEqual([undefined, undefined]);
    expect(() => setBucketAside(path, "../x")).toThrow("1 to 32 letters");
  });
});
