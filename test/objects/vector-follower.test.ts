// Copies of shards as objects: they follow over RPC, through seals, restarts and a change of their number; writes that wait for them.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { Env } from "../../objects/env.ts";
import type { CopyRead } from "../../objects/vector-rpc.ts";
import { copyName } from "../../src/vector/database/placement.ts";
import type { ShardConfig } from "../../src/vector/shard/shard-config.ts";
import type { ShardStatus } from "../../src/vector/shard/shard-status.ts";
import type { VectorAnswer, VectorInput, VectorRequest } from "../../src/wire/vector.ts";
import { readVectorAnswer } from "../../src/wire/vector-answers.ts";
import { writeVectorCall } from "../../src/wire/vector-requests.ts";
import type { VectorFollower, VectorShard } from "../../src/worker.ts";

const WAIT = { timeout: 20_000, interval: 50 };
const CONFIG: ShardConfig = {
  dimension: 8,
  metric: "euclidean",
  durability: "sync",
  replication: { zones: ["z2", "z3"], sync: false, maxLagMs: 0 },
  indexes: [{ name: "default", kind: "HNSW", quantizer: "int8", effort: { ef: 64 } }],
};
const objects = env as unknown as Env;
let names = 0;

interface Shard {
  readonly leader: DurableObjectStub<VectorShard>;
  readonly follower: (zone?: string) => DurableObjectStub<VectorFollower>;
}

async function newShard(config = CONFIG): Promise<Shard> {
  const name = `v7/default/db~${++names}/0`;
  const { VECTOR_SHARD, VECTOR_FOLLOWER } = objects;
  // A stub of an object that died stays broken.
  const leader = () => VECTOR_SHARD.get(VECTOR_SHARD.idFromName(name)) as unknown as DurableObjectStub<VectorShard>;
  const follower = (zone = "z2") =>
    VECTOR_FOLLOWER.get(
      VECTOR_FOLLOWER.idFromName(copyName(zone, name)),
    ) as unknown as DurableObjectStub<VectorFollower>;
  await leader().configure(config);
  for (const zone of config.replication?.zones ?? []) await follower(zone).configure(config);
  return {
    get leader() {
      return leader();
    },
    follower,
  };
}

function row(at: number): VectorInput {
  const values = Float32Array.from({ length: 8 }, (_, place) => (place === 0 ? at : (at * 7 + place) % 5));
  const metadata = new TextEncoder().encode(JSON.stringify({ n: at }));
  return { id: `id-${at}`, values: new Uint8Array(values.buffer), metadata };
}

async function ask({ leader }: Shard, request: VectorRequest): Promise<VectorAnswer> {
  return readVectorAnswer(await leader.call(writeVectorCall({ request })));
}

async function upsert(shard: Shard, from: number, count: number): Promise<VectorAnswer> {
  return await ask(shard, { kind: "upsert", rows: Array.from({ length: count }, (_, at) => row(from + at)) });
}

/** Null: it could not show it in time. */
async function read(
  stub: DurableObjectStub<VectorFollower>,
  how: Partial<CopyRead>,
  request: VectorRequest = { kind: "count" },
): Promise<VectorAnswer | null> {
  const bytes = await stub.read(writeVectorCall({ request }), { waitMs: 10_000, ...how });
  return bytes && readVectorAnswer(bytes);
}

async function statusOf(shard: Shard): Promise<ShardStatus> {
  const answer = await ask(shard, { kind: "status" });
  if (answer.kind !== "status") throw new Error("refused");
  return JSON.parse(answer.status) as ShardStatus;
}

/** As kill -9 of its process: an eviction would wait for the long poll that is under way. */
async function crash(stub: DurableObjectStub): Promise<void> {
  await runInDurableObject(stub, (_, state) => state.abort("injected: crash")).catch(() => undefined);
}

describe("a copy of a shard", () => {
  it("[VE-193] a recent read shows every write that was answered before it, with maxLagMs 0", async () => {
    const shard = await newShard();
    for (let i = 0; i < 20; i++) {
      await upsert(shard, i, 1);
      expect(await read(shard.follower(), { isRecent: true })).toMatchObject({ count: i + 1 });
    }
    const found = await read(
      shard.follower("z3"),
      { isRecent: true },
      {
        kind: "search",
        queries: [row(7).values],
        k: 1,
        index: "",
        shown: { metadata: true },
      },
    );
    expect(found).toMatchObject({ results: [[{ id: "id-7", score: 0 }]] });
    expect(await read(shard.follower(), {}, { kind: "delete", ids: ["id-1"] })).toBeNull();
  });

  it("[VE-192] it goes on after it started anew, and after its leader did; it follows seals by its leader's segments", async () => {
    const shard = await newShard();
    await upsert(shard, 0, 100);
    await read(shard.follower(), { isRecent: true });
    await crash(shard.follower());
    for (let batch = 0; batch < 10; batch++) await upsert(shard, 100 + batch * 1000, 1000);
    await crash(shard.leader);
    await vi.waitFor(async () => expect(await statusOf(shard)).toMatchObject({ segments: 1 }), WAIT);
    const last = await upsert(shard, 50_000, 1);
    if (last.kind !== "written") throw new Error("refused");
    await vi.waitFor(async () => {
      expect(await read(shard.follower(), { atLeast: last })).toMatchObject({ count: 10_101, term: 2 });
      const held = await runInDurableObject(shard.follower(), (_, { storage }) =>
        Number(storage.sql.exec("SELECT count(*) AS n FROM vector_segments").one()["n"]),
      );
      expect(held).toBe(1);
    }, WAIT);
    const search = { kind: "search", queries: [row(4321).values], k: 1, index: "", shown: {} } as const;
    expect(await read(shard.follower(), {}, search)).toMatchObject({ results: [[{ id: "id-4321" }]] });
    // One that was never there before copies the segments, and follows.
    expect(await read(shard.follower("z3"), { isRecent: true })).toMatchObject({ count: 10_101 });
  });

  it("[VE-194] a write is answered when the copies have it durably, or says that one did not", async () => {
    const shard = await newShard({ ...CONFIG, replication: { ...CONFIG.replication!, sync: true } });
    for (let i = 0; i < 5; i++) {
      expect(await upsert(shard, i, 1)).toMatchObject({ kind: "written" });
      for (const zone of ["z2", "z3"]) {
        const rows = await runInDurableObject(shard.follower(zone), (_, { storage }) =>
          Number(storage.sql.exec("SELECT count(*) AS n FROM storage_log").one()["n"]),
        );
        expect(rows).toBe(i + 1);
      }
    }
    await shard.follower("z3").erase();
    const unconfirmed = await upsert(shard, 99, 1);
    expect(unconfirmed).toMatchObject({ kind: "error", code: "unknownOutcome", details: { zones: ["z3"] } });
    expect(await ask(shard, { kind: "count" })).toMatchObject({ count: 6 });
    await shard.follower("z3").configure(CONFIG);
    expect(await upsert(shard, 99, 1)).toMatchObject({ kind: "written" });
    const { replicas } = await statusOf(shard);
    expect(replicas).toMatchObject([
      { zone: "z2", lagRevisions: 0 },
      { zone: "z3", lagRevisions: 0 },
    ]);
  });
});

it("[VE-317] while a copy moves, a write is answered when as many copies as asked for have it: the one that leaves, or the one that comes", async () => {
  const moving = { zones: ["z2", "z3", "z4"], filling: ["z4"], confirmations: 2, sync: true, maxLagMs: 0 };
  const config = { ...CONFIG, replication: moving };
  const shard = await newShard(config);
  await shard.follower("z3").erase();
  expect(await upsert(shard, 1, 1)).toMatchObject({ kind: "written" });
  await vi.waitFor(async () => expect(await shard.follower("z4").filling()).toMatchObject({ isFilled: true }), WAIT);
  const { replicas } = await statusOf(shard);
  expect(replicas).toMatchObject([
    { zone: "z2", state: "serving", lagRevisions: 0 },
    { zone: "z3", state: "serving", revision: 0 },
    { zone: "z4", state: "filling" },
  ]);
}, 60_000);

/** Changes a byte of a row's BLOB, and starts the object anew: what it holds in memory is whole. */
async function flip(stub: DurableObjectStub<VectorShard | VectorFollower>, table: string, key: string): Promise<void> {
  await runInDurableObject(stub, async (_, { storage }) => {
    const column = table === "storage_log" ? "seq" : "id";
    const [row] = storage.sql
      .exec(`SELECT ${column} AS at, bytes FROM ${table} ORDER BY ${key} DESC LIMIT 1`)
      .toArray();
    const bytes = new Uint8Array(row!["bytes"] as ArrayBuffer);
    bytes[bytes.length >> 1]! ^= 16;
    storage.sql.exec(`UPDATE ${table} SET bytes = ? WHERE ${column} = ?`, bytes, row!["at"] as number);
    await storage.sync();
  });
  await crash(stub as DurableObjectStub);
}

describe("damage", () => {
  // A piece of the ids' hashes, which every start reads, and one of the values.
  const PIECE = ["storage_pieces", "length(bytes)"] as const;
  const VALUES = ["storage_pieces", "-id"] as const;
  const LOG = ["storage_log", "seq"] as const;

  it("[VE-200] a changed byte of a block or of the log is put right from the other copy, either way; with none left a read is an error", async () => {
    const shard = await newShard({ ...CONFIG, replication: { ...CONFIG.replication!, zones: ["z2"] } });
    for (let batch = 0; batch < 9; batch++) await upsert(shard, batch * 1000, 1000);
    const hasSegment = (): Promise<number> =>
      runInDurableObject(shard.follower(), (_, { storage }) =>
        Number(storage.sql.exec("SELECT count(*) AS n FROM vector_segments").one()["n"]),
      );
    await vi.waitFor(async () => expect(await hasSegment()).toBe(1), WAIT);
    await upsert(shard, 20_000, 3);
    const search = { kind: "search", queries: [row(4321).values], k: 1, index: "", shown: { values: true } } as const;
    const found = { results: [[{ id: "id-4321", score: 0 }]] };
    const whole = { count: 9003 };
    expect(await read(shard.follower(), { isRecent: true })).toMatchObject(whole);

    await flip(shard.leader, ...PIECE);
    expect(await ask(shard, search)).toMatchObject(found);
    await flip(shard.leader, ...VALUES);
    expect(await ask(shard, search)).toMatchObject(found);
    await flip(shard.follower(), ...VALUES);
    expect(await read(shard.follower(), { isRecent: true }, search)).toMatchObject(found);
    await flip(shard.follower(), ...PIECE);
    expect(await read(shard.follower(), { isRecent: true }, search)).toMatchObject(found);
    await flip(shard.leader, ...LOG);
    expect(await ask(shard, { kind: "count" })).toMatchObject(whole);
    await read(shard.follower(), { isRecent: true });
    await flip(shard.follower(), ...LOG);
    expect(await read(shard.follower(), { isRecent: true })).toMatchObject(whole);
    // Nothing of it is left damaged: both start and read on their own disks.
    await crash(shard.leader);
    expect(await ask(shard, search)).toMatchObject(found);

    await read(shard.follower(), { isRecent: true });
    await shard.follower().erase();
    await flip(shard.leader, ...PIECE);
    expect(await ask(shard, search)).toMatchObject({ kind: "error", code: "dataCorrupt" });
  });
});
