// When a hub has its turns.
import { expect, it } from "vitest";
import { World } from "../../test/unit/config/watch-world.ts";
import { WatchRunner } from "./watch-runner.ts";

const put = (key: string) => ({ kind: "put", key, value: new Uint8Array(1) }) as const;

it("[CF-179] progress is told a minute after changes that were not a watch's, and without changes no timer runs", () => {
  const world = new World();
  const timers: { readonly delayMs: number; readonly run: () => void }[] = [];
  const runner = new WatchRunner(world.hub, (delayMs, run) => timers.push({ delayMs, run }));
  const client = world.client();
  client.watch(0, { key: "mine", rangeEnd: "", progressNotify: true });
  const watch = client.watches.get(0)!;
  const notices = (): readonly number[] => {
    client.read();
    return watch.messages.flatMap(({ kind, header }) => (kind === "progress" ? [header.revision] : []));
  };
  runner.schedule();
  expect(timers).toEqual([]);
  for (let count = 0; count < 3; count++) {
    world.turn(put("other"));
    runner.flush();
  }
  expect(timers.map(({ delayMs }) => delayMs)).toEqual([60_000]);
  timers.pop()!.run();
  expect(notices()).toEqual([4]);
  expect(timers).toEqual([]);
  world.turn(put("mine"));
  runner.flush();
  timers.pop()!.run();
  expect(notices()).toEqual([4]);
  expect(timers).toEqual([]);
});
