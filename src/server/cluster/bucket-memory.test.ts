// Whether an instance knows its bucket again.
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { BucketMemory, type Seen, type SeenPlace } from "./bucket-memory.ts";

function place(): SeenPlace & { seen: Seen | undefined; isAway: boolean } {
  const made = {
    seen: undefined as Seen | undefined,
    isAway: false,
    async read() {
      if (made.isAway) throw new Error("away");
      return made.seen;
    },
    async write(seen: Seen) {
      if (made.isAway) throw new Error("away");
      made.seen = seen;
    },
  };
  return made;
}

function instance(bucket = "s3://jade/p", here = place(), there = place(), word?: string) {
  const told = { process: 1 as number | undefined, rests: 0, lines: [] as string[] };
  const rest = (): void => void told.rests++;
  const memory = new BucketMemory({
    bucket,
    word,
    here,
    there,
    process: () => told.process,
    rest,
    report: (line) => told.lines.push(line),
    now: () => new Date(0),
  });
  return { here, there, told, memory };
}

describe("[CL-130] an instance knows its bucket again", () => {
  it("a new instance takes the bucket that it is given, and one whose bucket went on too", async () => {
    const { memory, here, there, told } = instance("s3://jade/p", place(), place(), "again");
    expect(await memory.look()).toBe(true);
    expect(await memory.look()).toBe(true);
    expect([here.seen?.count, there.seen?.count]).toEqual([2, 2]);
    // What a later `--new-deployment` of another instance goes by (CL-148).
    expect(there.seen?.word).toBe("again");
    // It ended between both writes, or its own disk was brought back.
    there.seen = { ...there.seen!, count: 9 };
    expect(await memory.look()).toBe(true);
    expect([here.seen?.count, told.rests]).toEqual([10, 0]);
  });

  it("its leaders rest where the bucket is empty, older or another, told once; nothing is written there", async () => {
    const { memory, here, there, told } = instance();
    for (let n = 0; n < 3; n++) await memory.look();
    const older = { ...there.seen!, count: 2 };
    for (const found of [undefined, older]) {
      there.seen = found;
      expect([await memory.look(), await memory.look()]).toEqual([false, false]);
      expect(there.seen).toEqual(found);
    }
    expect([told.rests, told.lines.length, here.seen?.count]).toEqual([4, 2, 3]);
    const other = instance("s3://jade/other", here);
    expect(await other.memory.look()).toBe(false);
    expect(other.told.lines.join()).toContain("belongs to s3://jade/p");
  });

  it("asks again as soon as another process of leaders runs", async () => {
    const { memory, here, there, told } = instance();
    const end = new AbortController();
    const running = memory.run(end.signal);
    await vi.waitFor(() => expect(here.seen?.count).toBe(1));
    there.seen = undefined;
    told.process = 2;
    await vi.waitFor(() => expect(told.lines).toHaveLength(1), { timeout: 10_000 });
    expect(told.rests).toBeGreaterThan(0);
    // It rests: there is none to ask.
    told.process = undefined;
    const { rests } = told;
    await pause(600);
    expect(told.rests - rests).toBeLessThanOrEqual(1);
    told.process = 3;
    await vi.waitFor(() => expect(told.rests).toBeGreaterThan(rests + 1), { timeout: 10_000 });
    end.abort();
    await running;
  });

  it("does nothing while the bucket is away", async () => {
    const { memory, there, told } = instance();
    await memory.look();
    there.isAway = true;
    await expect(memory.look()).rejects.toThrow("away");
    expect(told.rests).toBe(0);
  });
});
