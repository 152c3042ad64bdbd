// Records of damaged blocks over real engines and replicas; only the wires are made by hand.
import { describe, expect, it } from "vitest";
import { Fixture } from "../../test/unit/storage/fixture.ts";
import type { StorageNode, TenantRoute } from "../access/types.ts";
import { Ring } from "../cluster/ring.ts";
import { tokenOf } from "../cluster/token.ts";
import { decodeState } from "../kv/key-state.ts";
import { firstOf } from "../storage/drain.ts";
import { SqliteBlobStore } from "../storage/sqlite-blob-store.ts";
import type { RowKey } from "../storage/types.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import { type ReplicaOp, type ReplicaResult, readResult, writeOp } from "./frames.ts";
import { Healer } from "./healer.ts";
import { RangeDigests } from "./range-digests.ts";
import { RecordHealer } from "./record-healer.ts";
import { Replica, readAnswerHeader } from "./replica.ts";
import { answerPage } from "./sync-source.ts";

const NODES: readonly StorageNode[] = ["n1", "n2", "n3"].map((id, i) => ({
  id,
  number: i + 1,
  incarnation: 1,
  zone: `z${i + 1}`,
  weight: 1,
  state: "active",
}));
const HEAL_AFTER_MS = 1000;
const WRITES = 120;
const rowOf = (key: string, tenant = 1): RowKey => ({ tenant, key, token: tokenOf(tenant, key) });
function idOf(n: number): Uint8Array {
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(8, n);
  return id;
}
const never = async (): Promise<never> => Promise.reject(new Error("not asked here"));

class Node {
  readonly fixture = new Fixture();
  isRebuilding = false;
  readonly actor: number;
  replica: Replica;

  constructor(actor: number) {
    this.actor = actor;
    this.replica = this.boot();
  }

  boot(): Replica {
    const { fixture, actor } = this;
    this.replica = new Replica({
      engine: fixture.engine,
      facts: {
        reservedCounter: () => 0,
        reserveCounter: () => undefined,
        isErased: () => false,
        routeRevision: () => 0,
        isRebuilding: () => this.isRebuilding,
        isFilling: () => false,
        isFilled: () => false,
        stampFloor: () => 0,
        purgeHorizon: () => 0,
      },
      hints: { add: () => true },
      actor,
      now: () => fixture.nowMs,
      timeOriginMs: 0,
      counterBlock: 1000,
    });
    return this.replica;
  }

  ask(op: ReplicaOp): ReplicaResult {
    const writer = new ByteWriter(256);
    writeOp(writer, op);
    const reader = new ByteReader(this.replica.handle(writer.take()) as Uint8Array);
    this.fixture.sql.endTurn();
    readAnswerHeader(reader);
    return readResult(reader);
  }

  page(request: Uint8Array): Promise<Uint8Array> {
    const facts = {
      isRebuilding: () => this.isRebuilding,
      isFilled: () => false,
      purgeHorizon: () => 0,
      routeRevision: () => 0,
    };
    const { engine } = this.fixture;
    const held = { engine, actor: this.actor, digests: new RangeDigests(engine), facts };
    return answerPage({ ...held, recordRoute: () => undefined, routes: () => [] }, request);
  }

  recall(n: number, tenant = 1): string {
    const result = this.ask({ kind: "recall", row: rowOf(`k${n}`, tenant), writeId: idOf(n) });
    if (result.kind === "recalled") return result.answer ? "known" : "unknown";
    return result.kind === "refused" ? result.code : result.kind;
  }

  async flush(): Promise<void> {
    this.fixture.engine.put(rowOf("filler", 9), new Uint8Array(9000));
    this.fixture.commit();
    await this.fixture.settle();
  }
}

class Bench {
  readonly nodes = new Map(NODES.map(({ id }, i) => [id, new Node((i + 1) * 4096 + 1)]));
  readonly away = new Set<string>();
  readonly routes = new Map<number, TenantRoute>([[1, { replicationFactor: 3 }]]);
  readonly healer: Healer;

  constructor() {
    const reach = (id: string): Node => {
      if (this.away.has(id)) throw new Error(`${id} is away`);
      return this.nodes.get(id)!;
    };
    const records = new RecordHealer({
      environment: {
        self: "n1",
        routeOf: async (tenant) => this.routes.get(tenant),
        page: async (id, request) => reach(id).page(request),
        call: async (id, frame) => {
          const answer = reach(id).replica.handle(frame);
          reach(id).fixture.sql.endTurn();
          return answer;
        },
        horizon: () => 0,
      },
      mayHeal: () => true,
      now: () => this.n1.fixture.nowMs,
      healAfterMs: HEAL_AFTER_MS,
      unreadable: (keys) => this.n1.replica.unreadableRecords(keys),
      healRows: async (frame) => {
        const answer = await this.n1.replica.handleHealing(frame);
        this.n1.fixture.sql.endTurn();
        return answer;
      },
      restore: (heard) => this.n1.replica.restoreRecords(heard),
    });
    const { fixture } = this.n1;
    const engine = new Proxy(fixture.engine, {
      get: (_, name) => {
        const value = Reflect.get(fixture.engine, name);
        return typeof value === "function" ? value.bind(fixture.engine) : value;
      },
    });
    this.healer = new Healer({
      nodeId: "n1",
      engine,
      network: {
        view: async () => ({ revision: 1, nodes: NODES }),
        scanKeys: never,
        read: never,
        route: async (tenant) => this.routes.get(tenant),
        tenants: async () => [...this.routes.keys()],
      },
      records,
    });
  }

  get n1(): Node {
    return this.nodes.get("n1")!;
  }

  /** Stamped by n1, and brought to the others. */
  write(n: number, others: readonly string[] = ["n2", "n3"], tenant = 1): void {
    const row = rowOf(`k${n}`, tenant);
    const value = new TextEncoder().encode(`v${n}`);
    const stamp = { kind: "stamp", row, writeId: idOf(n), value, clock: undefined, restamp: false } as const;
    expect(this.n1.ask({ ...stamp, supersedeAll: false }).kind).toBe("stamped");
    const held = this.n1.ask({ kind: "get", row });
    if (held.kind !== "state") throw new Error(held.kind);
    for (const id of others) this.nodes.get(id)!.ask({ kind: "merge", row, state: held.state! });
  }

  async fill(): Promise<void> {
    for (let n = 0; n < WRITES; n++) this.write(n);
    await this.n1.flush();
  }

  /** A byte of n1's oldest table of records, in its first block or in its index. */
  damage(where: "block" | "index"): void {
    const { sql } = this.n1.fixture;
    sql.endTurn();
    const { name, metaOffset, sizeBytes } = firstOf(
      sql.exec<{ name: string; metaOffset: number; sizeBytes: number }>(
        "SELECT name, metaOffset, sizeBytes FROM storage_tables WHERE kind = 'record' ORDER BY runOrder, position LIMIT 1",
      ),
    )!;
    const offset = where === "block" ? 40 : metaOffset + 20;
    const blobs = new SqliteBlobStore(sql);
    const bytes = blobs.getSync(name, 0, sizeBytes)!;
    const changed = bytes.slice();
    changed[offset]! ^= 0x10;
    blobs.deleteSync(name);
    blobs.putSync(name, changed);
    sql.endTurn();
    this.n1.fixture.restart();
    this.n1.boot();
  }

  recalls(): Record<string, number[]> {
    const of: Record<string, number[]> = {};
    for (let n = 0; n < WRITES; n++) {
      const found = this.n1.recall(n);
      of[found] = [...(of[found] ?? []), n];
    }
    return of;
  }

  /** True when nothing is damaged any more. */
  run(): Promise<boolean> {
    this.n1.fixture.nowMs += HEAL_AFTER_MS + 1;
    return this.healer.run();
  }
}

describe("unreadable records", () => {
  it.each(["block", "index"] as const)(
    "[RP-101] of a damaged %s are counted, refused and never 'not remembered'; then restored from the other replicas",
    async (where) => {
      const bench = new Bench();
      await bench.fill();
      expect(bench.recalls()).toEqual({ known: expect.objectContaining({ length: WRITES }) });
      bench.damage(where);
      const damaged = bench.recalls();
      expect(damaged["corrupt"]?.length).toBeGreaterThan(5);
      expect(damaged["unknown"]).toBeUndefined();
      expect(bench.n1.fixture.engine.stats().corruptBlocksTotal).toBeGreaterThan(0);
      expect(bench.n1.fixture.engine.stats().corruptRanges).toBeGreaterThan(0);
      expect(await bench.run()).toBe(true);
      expect(bench.recalls()).toEqual({ known: expect.objectContaining({ length: WRITES }) });
      expect(bench.n1.replica.counts.healedRecords).toBeGreaterThanOrEqual(damaged["corrupt"]!.length);
      await bench.n1.fixture.settle();
      bench.n1.fixture.restart();
      bench.n1.boot();
      expect(bench.recalls()).toEqual({ known: expect.objectContaining({ length: WRITES }) });
      expect(bench.n1.fixture.engine.corruptRanges()).toEqual([]);
    },
  );

  it("[RP-101] stay refused while another node is away, is being rebuilt, or while their block is young", async () => {
    const bench = new Bench();
    await bench.fill();
    bench.damage("block");
    const { corrupt } = bench.recalls();
    expect(await bench.healer.run()).toBe(false);
    bench.away.add("n3");
    await expect(bench.run()).rejects.toThrow("n3 is away");
    bench.away.clear();
    bench.nodes.get("n2")!.isRebuilding = true;
    await expect(bench.run()).rejects.toThrow("n2 is being rebuilt");
    expect(bench.recalls()["corrupt"]).toEqual(corrupt);
    bench.nodes.get("n2")!.isRebuilding = false;
    expect(await bench.run()).toBe(true);
  });

  it("[RP-101] whose rows are behind here come with these rows: a write told of is not taken for superseded", async () => {
    const bench = new Bench();
    await bench.fill();
    bench.damage("index");
    bench.recalls();
    // n1 misses a write whose id lies in the damaged table's range, and hears of the record first.
    const row = rowOf("k7");
    const writeId = idOf(7).map((byte, i) => (i === 15 ? byte + 1 : byte));
    const value = new TextEncoder().encode("missed");
    const stamp = {
      kind: "stamp",
      row,
      writeId,
      value,
      clock: undefined,
      restamp: false,
      supersedeAll: false,
    } as const;
    expect(bench.nodes.get("n2")!.ask(stamp).kind).toBe("stamped");
    expect(await bench.run()).toBe(true);
    for (const id of ["n1", "n2", "n3"]) {
      const state = bench.nodes.get(id)!.ask({ kind: "get", row });
      const values = state.kind === "state" ? decodeState(state.state!).versions.map((each) => each.value) : [];
      expect(
        values.map((each) => new TextDecoder().decode(each)),
        id,
      ).toContain("missed");
    }
  });

  it("[RP-101] of a tenant with one replica are never given up: a retry is refused, not applied again", async () => {
    const bench = new Bench();
    const lone = 2;
    bench.routes.set(lone, { replicationFactor: 1 });
    const ring = new Ring(NODES);
    const here = Array.from({ length: 400 }, (_, n) => n + 1000).filter((n) =>
      ring.replicas(tokenOf(lone, `k${n}`), 1).write.includes("n1"),
    );
    for (const n of here) {
      bench.write(n, [], lone);
      if (n % 50 === 0) await bench.n1.fixture.settle();
    }
    await bench.fill();
    bench.damage("block");
    const refused = here.filter((n) => bench.n1.recall(n, lone) === "corrupt");
    expect(refused.length).toBeGreaterThan(0);
    expect(await bench.run()).toBe(false);
    expect(here.filter((n) => bench.n1.recall(n, lone) === "corrupt")).toEqual(refused);
    expect(bench.recalls()["corrupt"]).toBeUndefined();
  });

  it("[RP-101] [RP-33] [RP-50] of which two replicas tell differently: the later answer, and no body of two votes", async () => {
    const bench = new Bench();
    const row = rowOf("k3");
    const vote = (id: string, byte: number): ReplicaResult =>
      bench.nodes.get(id)!.ask({ kind: "vote", row, writeId: idOf(500), bodyHash: new Uint8Array(8).fill(byte) });
    for (const [id, byte] of [
      ["n1", 1],
      ["n2", 1],
      ["n3", 2],
    ] as const)
      vote(id, byte);
    await bench.fill();
    bench.damage("index");
    bench.recalls();
    expect(await bench.run()).toBe(true);
    const after = vote("n1", 1);
    expect(after).toMatchObject({ kind: "voted", isFirst: false, bodyHash: new Uint8Array(8) });
  });
});
