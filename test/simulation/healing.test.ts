// Named schedules with a copy that fails its checksum, on the shipped modules in the simulated world.
import { describe, expect, it } from "vitest";
import type { Caller } from "../../src/access/types.ts";
import { tokenOf } from "../../src/cluster/token.ts";
import { decodeState, encodeState } from "../../src/kv/key-state.ts";
import { CorruptBlock, type RowKey } from "../../src/storage/types.ts";
import type { Consistency, SessionAnswer } from "../../src/wire/session.ts";
import { World } from "./world.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const shown = (answer: SessionAnswer): string => {
  if (answer.kind === "error") return answer.code;
  return answer.kind === "value" ? new TextDecoder().decode(answer.value) : answer.kind;
};
const KEY = "k";

class Bench {
  readonly world: World;
  readonly caller: Caller;
  readonly row: RowKey;
  readonly coordinator;
  #writes = 0;

  constructor(replicationFactor: number, conflictPolicy: Caller["conflictPolicy"] = "siblings") {
    this.world = new World(1, Math.max(3, replicationFactor));
    this.caller = { tenant: 7, canWrite: true, replicationFactor, defaultConsistency: "quorum", conflictPolicy };
    this.row = { tenant: 7, key: KEY, token: tokenOf(7, KEY) };
    this.coordinator = this.world.coordinator();
  }

  put(value: string, more: { consistency?: Consistency; isRetry?: boolean } = {}): Promise<SessionAnswer> {
    const writeId = new Uint8Array(16).fill(++this.#writes);
    return this.world.ask(this.coordinator, this.caller, { op: "put", key: KEY, writeId, value: text(value), ...more });
  }

  async get(consistency: Consistency = "quorum"): Promise<string> {
    const answer = await this.world.ask(this.coordinator, this.caller, { op: "get", key: KEY, consistency });
    await this.world.run(50); // what goes on behind the answer
    return shown(answer);
  }

  /** The replicas of the key, as this coordinator prefers them. */
  replicas(): string[] {
    const all = [...this.world.nodes.keys()];
    return all.filter((id) =>
      this.engine(id)
        .rows()
        .some(({ key }) => key === KEY),
    );
  }

  engine(id: string) {
    return this.world.node(id).engine;
  }

  damage(id: string): void {
    this.engine(id).damage(this.row);
  }

  isReadable(id: string): boolean {
    return this.engine(id).isReadable(this.row);
  }

  held(id: string): string {
    return Buffer.from(this.engine(id).get(this.row) ?? []).toString("hex");
  }
}

describe("reads that meet a copy which fails its checksum", () => {
  it("[RP-23] [RP-60] answer from the others and put their state in its place", async () => {
    const bench = new Bench(3);
    await bench.put("1");
    await bench.put("2");
    await bench.world.run(100);
    for (const id of bench.replicas()) {
      bench.damage(id);
      expect(await bench.get("all")).toBe("2");
      expect(bench.isReadable(id)).toBe(true);
      const others = bench.replicas().filter((other) => other !== id);
      expect(bench.held(id)).toBe(bench.held(others[0]!));
    }
    expect(await bench.get("all")).toBe("2");
  });

  it("[RP-60] at quorum too, behind the answer; with one intact replica in two, before it", async () => {
    const three = new Bench(3);
    await three.put("1");
    await three.world.run(100);
    three.damage(three.replicas()[0]!);
    three.damage(three.replicas()[0]!);
    for (let i = 0; i < 2; i++) expect(await three.get()).toBe("1");
    expect(three.replicas().every((id) => three.isReadable(id))).toBe(true);
    const two = new Bench(2);
    await two.put("1");
    await two.world.run(100);
    const [first] = two.replicas();
    two.damage(first!);
    expect(await two.get()).toBe("1");
    expect(two.isReadable(first!)).toBe(true);
  });

  it("[RP-60] never from too few: a stale replica alone does not take the place of an acknowledged write", async () => {
    const bench = new Bench(3);
    await bench.put("old");
    await bench.world.run(100);
    const [a, b, c] = bench.replicas() as [string, string, string];
    bench.world.cut.add(c);
    expect((await bench.put("new")).kind).toBe("written");
    bench.world.cut.delete(c);
    // The keeper of the hint for c is away before it can deliver: c stays stale.
    const stamper = bench.held(a) === bench.held(b) ? a : undefined;
    expect(stamper).toBeDefined();
    bench.world.node(b).crash();
    bench.damage(a);
    bench.world.node(a).delivery = { run: async () => undefined } as never;
    expect(["dataCorrupt", "quorumUnavailable"]).toContain(await bench.get());
    expect(bench.isReadable(a)).toBe(false);
    bench.world.node(b).start();
    await bench.world.run(3000);
    expect(await bench.get()).toBe("new");
    expect(await bench.get("all")).toBe("new");
    expect(bench.isReadable(a)).toBe(true);
    expect(bench.held(a)).toBe(bench.held(b));
  });

  it("[RP-60] a read at one answers from an intact replica and heals nothing", async () => {
    const bench = new Bench(3);
    await bench.put("1");
    await bench.world.run(100);
    const damaged = bench.replicas();
    for (const id of damaged.slice(0, 2)) bench.damage(id);
    expect(await bench.get("one")).toBe("1");
    expect(damaged.filter((id) => bench.isReadable(id)).length).toBe(1);
  });

  it.each([1, 2, 3])(
    "[RP-23] no intact replica of %i: the answer is dataCorrupt, never a value and never notFound",
    async (factor) => {
      const bench = new Bench(factor);
      await bench.put("1");
      await bench.world.run(100);
      const held = bench.replicas();
      expect(held.length).toBe(factor);
      for (const id of held) bench.damage(id);
      for (const level of ["one", "quorum", "all"] as const) expect(await bench.get(level)).toBe("dataCorrupt");
      expect(held.some((id) => bench.isReadable(id))).toBe(false);
      const refused = await bench.put("2");
      expect(shown(refused)).toBe("dataCorrupt");
      expect(await bench.get()).toBe("dataCorrupt");
    },
  );

  it("[RP-23] a write is stamped by an intact replica, hinted to the damaged one, and reaches it once it is healed", async () => {
    const bench = new Bench(3);
    await bench.put("1");
    await bench.world.run(100);
    const held = bench.replicas();
    bench.damage(held[0]!);
    expect((await bench.put("2")).kind).toBe("written");
    expect(bench.isReadable(held[0]!)).toBe(false);
    expect(await bench.get("all")).toBe("2");
    await bench.world.run(5000);
    expect(new Set(held.map((id) => bench.held(id))).size).toBe(1);
  });

  it("[RP-60] a key that nobody holds is healed with nothing: it is not found, here and later", async () => {
    const bench = new Bench(3);
    const [a] = [...bench.world.nodes.keys()];
    bench.damage(a!);
    expect(await bench.get("all")).toBe("notFound");
    expect(bench.isReadable(a!)).toBe(true);
    expect(bench.held(a!)).toBe(
      Buffer.from(encodeState({ clock: { vector: [], dots: [], time: 0 }, unsettled: [], versions: [] })).toString(
        "hex",
      ),
    );
    for (const level of ["one", "quorum", "all"] as const) expect(await bench.get(level)).toBe("notFound");
    expect((await bench.put("1")).kind).toBe("written");
    expect(await bench.get("all")).toBe("1");
  });

  it("[RP-62] what was written just before is not healed over: it may still be on its way to the others", async () => {
    const bench = new Bench(3);
    bench.world.healAfterMs = 500;
    for (const node of bench.world.nodes.values()) node.crash();
    for (const node of bench.world.nodes.values()) node.start();
    await bench.put("1");
    await bench.world.run(100);
    const [a] = bench.replicas() as [string];
    bench.damage(a);
    bench.engine(a).newestMs = bench.world.nowMs;
    expect(await bench.get()).toBe("1");
    await bench.get("all");
    expect(bench.isReadable(a)).toBe(false);
    await bench.world.run(600);
    expect(await bench.get("all")).toBe("1");
    expect(bench.isReadable(a)).toBe(true);
  });

  it("[RP-23] a state whose writes cannot be looked up is refused whole: no row without its records", async () => {
    const bench = new Bench(3);
    // A write that only its stamper knows, superseded there: it travels with the next state as unsettled (KV-9).
    const [stamper, other] = ["n1", "n2", "n3"] as const;
    for (const id of ["n2", "n3"]) bench.world.cut.add(id);
    await bench.put("1");
    await bench.put("2");
    const state = bench.engine(stamper).get(bench.row) ?? bench.engine(other).get(bench.row);
    const { versions, unsettled } = decodeState(state!);
    expect(unsettled.length).toBe(1);
    const target = bench.engine("n3");
    const found = target.findRecord.bind(target);
    target.findRecord = (tenant, writeId) => {
      if (Buffer.compare(writeId, unsettled[0]!.writeId) === 0) throw new CorruptBlock("a record's block", 0);
      return found(tenant, writeId);
    };
    bench.world.deliver("n3", [{ kind: "merge", row: bench.row, state: state! }]);
    expect(target.get(bench.row)).toBeUndefined();
    expect(found(7, versions[0]!.writeId)).toBeUndefined();
    target.findRecord = found;
    bench.world.deliver("n3", [{ kind: "merge", row: bench.row, state: state! }]);
    expect(Buffer.compare(target.get(bench.row)!, state!)).toBe(0);
    for (const { writeId } of [...versions, ...unsettled]) expect(found(7, writeId)).toBeDefined();
  });

  it("[RP-6] a retry of a write is recognised although the stamper's copy is unreadable", async () => {
    const bench = new Bench(3);
    const writeId = new Uint8Array(16).fill(200);
    const request = { op: "put" as const, key: KEY, writeId, value: text("1") };
    const first = await bench.world.ask(bench.coordinator, bench.caller, request);
    await bench.world.run(100);
    bench.damage(bench.replicas()[0]!);
    const again = await bench.world.ask(bench.coordinator, bench.caller, { ...request, isRetry: true });
    expect(again.kind).toBe("written");
    if (first.kind === "written" && again.kind === "written") expect(again.clock).toEqual(first.clock);
    expect(await bench.get("all")).toBe("1");
  });
});
