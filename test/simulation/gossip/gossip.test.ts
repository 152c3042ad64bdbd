// Membership over networks that lose, delay and part, in virtual time.
import { describe, expect, it } from "vitest";
import { agreedAbsent, MemberTable } from "../../../src/cluster/gossip/member-table.ts";
import { GOSSIP_LIMITS, type Member, type MemberState } from "../../../src/cluster/gossip/types.ts";
import { Random } from "../random.ts";
import { GossipWorld } from "./world.ts";

const MINUTE_MS = 60_000;
const STATES: readonly MemberState[] = ["alive", "suspect", "failed", "left"];

async function settled(options: ConstructorParameters<typeof GossipWorld>[0]): Promise<GossipWorld> {
  const world = new GossipWorld(options);
  expect(await world.until(() => world.agree(world.ids, "alive"), MINUTE_MS)).toBeDefined();
  return world;
}

const kinds = (world: GossipWorld, kind: string, sinceMs = 0) =>
  world.events.filter((event) => event.kind === kind && event.atMs >= sinceMs);

const member = (state: MemberState, incarnation: number, id = "a"): Member => ({
  ...{ id, address: id, zone: "z" },
  state,
  incarnation,
});

describe("what is known of a member", () => {
  it("[CL-60] is the newest of what was said, whatever the order and however often", () => {
    const random = new Random(1);
    for (let round = 0; round < 200; round++) {
      const updates = Array.from({ length: 6 }, () => member(random.pick(STATES), random.between(1, 3)));
      const merged = (order: readonly Member[]) => {
        const table = new MemberTable();
        for (const update of order) table.merge(update);
        return table.get("a");
      };
      const shuffled = [...updates, ...updates].sort(() => random.next() - 0.5);
      expect(merged(shuffled)).toEqual(merged(updates));
    }
  });

  it("[CL-67] absent is who most of the others say is absent: one that is cut off says so of all in vain", () => {
    const ids = ["a", "b", "c", "d", "e"];
    const all = (absent: readonly string[]) => ids.map((id) => member(absent.includes(id) ? "failed" : "alive", 1, id));
    const views = new Map(ids.map((id) => [id, all(id === "e" ? ["a", "b", "c", "d"] : ["e"])]));
    expect([...agreedAbsent(views)]).toEqual(["e"]);
    expect([
      ...agreedAbsent(
        new Map([
          ["a", all(["b"])],
          ["b", all(["a"])],
        ]),
      ),
    ]).toEqual(["b", "a"]);
    expect([...agreedAbsent(new Map(ids.map((id) => [id, all(id < "c" ? ["e"] : [])])))]).toEqual([]);
  });
});

describe("members", () => {
  it("[CL-61] answer over a network that loses one message in twenty without being taken for failed", async () => {
    const world = await settled({ seed: 3, count: 20, loss: 0.05 });
    await world.run(10 * MINUTE_MS);
    expect(kinds(world, "failed")).toEqual([]);
    expect(kinds(world, "suspect").length).toBeGreaterThan(0);
  });

  it("[CL-62] that end are failed for all after their time to object, for a few messages a member and period", async () => {
    for (const count of [3, 10, 100]) {
      const world = await settled({ seed: count, count });
      await world.run(MINUTE_MS);
      const [messages, fromMs] = [world.messages, world.nowMs];
      world.kill("i2");
      const foundMs = await world.until(() => world.agree(["i2"], "failed"), 5 * MINUTE_MS);
      const periods = Math.max(4, 2 * Math.ceil(Math.log2(count + 1)));
      expect(foundMs).toBeLessThan((periods + 12) * GOSSIP_LIMITS.periodMs);
      expect(kinds(world, "failed", fromMs).every((event) => event.member.id === "i2")).toBe(true);
      const each = (world.messages - messages) / count / (foundMs! / GOSSIP_LIMITS.periodMs);
      expect(each).toBeLessThan(4);
    }
  });

  it("[CL-63] that were paused, or that nobody reaches, accuse nobody; the others find them, and take them back", async () => {
    for (const fault of ["pause", "cut"] as const) {
      const world = await settled({ seed: 5, count: 6 });
      const fromMs = world.nowMs;
      if (fault === "pause") world.pause("i4");
      else world.cut(["i4"], 1);
      const others = world.ids.filter((id) => id !== "i4");
      const found = () => others.every((by) => world.view(by, "i4") === "failed");
      expect(await world.until(found, MINUTE_MS)).toBeDefined();
      await world.run(MINUTE_MS);
      if (fault === "pause") world.resume("i4");
      else world.cut(["i4"], 0);
      expect(await world.until(() => world.agree(world.ids, "alive"), 2 * MINUTE_MS)).toBeDefined();
      const accused = [...kinds(world, "failed", fromMs)].filter(({ member: { id } }) => id !== "i4");
      expect(accused).toEqual([]);
    }
  });

  it("[CL-64] of two halves take each other for failed, and find each other again", async () => {
    const world = await settled({ seed: 8, count: 8 });
    const half = ["i0", "i1", "i2", "i3"];
    world.cut(half, 1);
    await world.run(2 * MINUTE_MS);
    expect(world.view("i0", "i7")).toBe("failed");
    expect(world.view("i7", "i0")).toBe("failed");
    world.cut(half, 0);
    expect(await world.until(() => world.agree(world.ids, "alive"), 2 * MINUTE_MS)).toBeDefined();
  });

  it("[CL-65] that keep failing and returning are trusted later each time", async () => {
    const world = await settled({ seed: 9, count: 5 });
    const waits: number[] = [];
    for (let round = 0; round < 4; round++) {
      world.kill("i3");
      await world.until(() => world.agree(["i3"], "failed"), MINUTE_MS);
      world.start("i3");
      await world.until(() => world.view("i0", "i3") === "alive", MINUTE_MS);
      const trusted = () => world.gossip("i0").trusted.some(({ id }) => id === "i3");
      expect(trusted()).toBe(false);
      const waited = await world.until(trusted, 10 * MINUTE_MS);
      waits.push(Math.round(waited! / GOSSIP_LIMITS.probationMs));
    }
    expect(waits).toEqual([1, 2, 4, 8]);
    expect(kinds(world, "alive").filter(({ by, member: { id } }) => by === "i0" && id === "i3")).toHaveLength(5);
  });

  it("[CL-66] that leave are gone at once, suspected by nobody", async () => {
    const world = await settled({ seed: 10, count: 10 });
    world.leave("i5");
    expect(await world.until(() => world.agree(["i5"], "left"), 5000)).toBeDefined();
    await world.run(MINUTE_MS);
    expect(kinds(world, "suspect")).toEqual([]);
  });

  it("[CL-68] agree on who is there when faults stop, over seeded schedules of all of them", async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const world = await settled({ seed, count: 7, loss: 0.02 });
      const { random } = world;
      for (let fault = 0; fault < 12; fault++) {
        const id = random.pick(world.ids);
        const isUp = world.up.includes(id);
        const kind = random.between(0, 3);
        if (kind === 0 && isUp) world.kill(id);
        else if (!isUp) world.start(id);
        else if (kind === 1) {
          world.pause(id);
          await world.run(random.between(100, 40_000));
          world.resume(id);
        } else if (kind === 2) world.cut([id], random.between(0, 1));
        else world.loss = random.next() * 0.3;
        await world.run(random.between(100, 20_000));
      }
      world.loss = 0;
      world.cut(world.ids, 0);
      const down = world.ids.filter((id) => !world.up.includes(id));
      const agreed = () => world.agree(world.up, "alive") && world.agree(down, "failed");
      expect(await world.until(agreed, 5 * MINUTE_MS), `seed ${seed}`).toBeDefined();
    }
  });
});
