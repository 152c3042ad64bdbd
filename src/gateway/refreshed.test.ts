import { describe, expect, it } from "vitest";
import { PublicError } from "../wire/error-codes.ts";
import { Refreshed } from "./refreshed.ts";

const FRESH_MS = 5000;

function setUp() {
  let nowMs = 0;
  const refreshed = new Refreshed<number>({ now: () => nowMs, freshMs: FRESH_MS, capacity: 10 });
  const pass = (): void => {
    nowMs += FRESH_MS + 1;
  };
  return { refreshed, pass };
}
const away = () => Promise.reject(new PublicError("unavailable", "the Tenant cannot be reached"));
const never = () => new Promise<never>(() => undefined);

describe("what is asked of an owner now and then", () => {
  it("[CL-110] goes on being used while the owner refuses, or says nothing", async () => {
    const { refreshed, pass } = setUp();
    await expect(refreshed.get("a", away)).rejects.toThrow("cannot be reached");
    expect(await refreshed.get("a", async () => 1)).toBe(1);
    expect(await refreshed.get("a", away)).toBe(1);
    pass();
    expect(await refreshed.get("a", away)).toBe(1);
    pass();
    expect(await refreshed.get("a", never)).toBe(1);
    pass();
    expect(await refreshed.get("a", async () => 2)).toBe(2);
  });

  it("gives way to what the owner says, an error too; one asks at a time", async () => {
    const { refreshed, pass } = setUp();
    await refreshed.get("a", async () => 1);
    pass();
    let asked = 0;
    const ask = async (): Promise<number> => ++asked + 1;
    const [, second] = await Promise.all([refreshed.get("a", ask), refreshed.get("a", ask)]);
    expect([asked, second]).toEqual([1, 1]);
    pass();
    const gone = new PublicError("notFound", "there is no such database");
    await expect(refreshed.get("a", () => Promise.reject(gone))).rejects.toBe(gone);
    await expect(refreshed.get("a", away)).rejects.toThrow("cannot be reached");
  });
});
