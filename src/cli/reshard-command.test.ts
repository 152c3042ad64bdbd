import { afterEach, expect, it, vi } from "vitest";
import type { DatabaseReshard } from "../client/index.ts";
import { type ReshardFlags, reshard } from "./reshard-command.ts";

afterEach(() => void vi.restoreAllMocks());

/** A server on which a change ends after so many looks. */
function server(looks: number) {
  let left = looks;
  const asked: string[] = [];
  const shown = (state: DatabaseReshard["state"], progress: number) =>
    ({ databaseId: "d", state, numShards: 8, from: 4, to: 8, progress }) as const;
  const databases = {
    reshard: async (id: string, shards?: number) => {
      asked.push(`${id} to ${shards}`);
      return shown("preparing", 0);
    },
    resharding: async () => {
      asked.push("look");
      return left-- > 0 ? shown("moving", 0.5) : shown("done", 1);
    },
    cancelReshard: async () => {
      asked.push("cancel");
      return shown("moving", 0.25);
    },
  };
  const run = (flags: ReshardFlags) => reshard(databases, "d", flags, 0);
  return { asked, run };
}

it("a change of the number of shards is begun, and with --wait told until it is done", async () => {
  const told = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const one = server(2);
  expect(await one.run({ shards: 8 })).toMatchObject({ state: "preparing" });
  expect([one.asked, told.mock.calls]).toEqual([["d to 8"], []]);
  const two = server(2);
  expect(await two.run({ shards: 8, wait: true })).toMatchObject({ state: "done" });
  expect(two.asked).toEqual(["d to 8", "look", "look", "look"]);
  expect(told.mock.calls.flat()).toEqual([
    "preparing: from 4 to 8 shards, 0 %",
    ...["moving: from 4 to 8 shards, 50 %", "moving: from 4 to 8 shards, 50 %"],
  ]);
});

it("it is looked at, and cancelled, only when that is asked for; nothing or two things asked for are refused", async () => {
  const { asked, run } = server(0);
  expect(await run({ status: true })).toMatchObject({ state: "done" });
  expect(await run({ cancel: true })).toMatchObject({ state: "moving" });
  for (const flags of [{}, { shards: 2, cancel: true }, { status: true, cancel: true }])
    await expect(run(flags)).rejects.toThrow("give one of --shards, --anew, --status and --cancel");
  expect(asked).toEqual(["look", "cancel"]);
  expect(await run({ anew: true })).toMatchObject({ state: "preparing" });
  expect(asked).toEqual(["look", "cancel", "d to undefined"]);
});
