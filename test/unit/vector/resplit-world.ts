// Shards of a database, their placing as it is shipped, on node:sqlite with rows in maps; a gateway's plans; calls that are slow, and whose caller
// or target dies. Test only.

import { VECTOR_MIGRATIONS } from "../../../migrations/vector.ts";
import type { CopiedShard } from "../../../objects/database-copies.ts";
import { type EachShard, lifecycleAfter } from "../../../objects/database-phases.ts";
import type { DatabaseTask } from "../../../objects/database-rpc.ts";
import { afterTask } from "../../../objects/database-tasks.ts";
import { refusedNow } from "../../../objects/shard-refusals.ts";
import { VectorPlacing } from "../../../objects/vector-placing.ts";
import type { RelocationAsk, ReshardState, ShardMapState, VectorShardRpc } from "../../../objects/vector-rpc.ts";
import { shardOf } from "../../../src/cluster/shard-of.ts";
import type { Call } from "../../../src/gateway/call.ts";
import type { KnownDatabase } from "../../../src/gateway/vector-databases.ts";
import { asOften, planOf } from "../../../src/gateway/vector-routing.ts";
import type { SqlStorage } from "../../../src/storage/types.ts";
import { createLogger } from "../../../src/telemetry/logger.ts";
import type { Lifecycle } from "../../../src/vector/database/lifecycle.ts";
import { type DatabaseRecord, shardConfigOf, shardName } from "../../../src/vector/database/record.ts";
import {
  askedShardsOf,
  begunReshard,
  homesOf,
  nextPhase,
  shardCountOf,
  surplusOf,
  topologyOf,
} from "../../../src/vector/database/resharding.ts";
import type { ShardConfig } from "../../../src/vector/shard/shard-config.ts";
import type { ShardDesk } from "../../../src/vector/shard/shard-desk.ts";
import { Placements } from "../../../src/vector/sharding/placements.ts";
import { isById } from "../../../src/vector/sharding/placer.ts";
import {
  NO_SUCH_SHARD,
  type VectorAnswer,
  type VectorCall,
  type VectorHit,
  type VectorInput,
  type VectorRequest,
  type VectorStamp,
} from "../../../src/wire/vector.ts";
import { readVectorAnswer, writeVectorAnswer } from "../../../src/wire/vector-answers.ts";
import { readVectorCall, writeVectorCall } from "../../../src/wire/vector-requests.ts";
import { NodeSql } from "../storage/node-sql.ts";
import { nOf, valuesOf } from "./resplit-rows.ts";

const NAME = { tenant: 1, namespace: "default", databaseId: "db", generation: 1 };
const PLACE = { term: 1, revision: 1 };
const NOTHING = new Uint8Array(0);
const crc32c = (bytes: Uint8Array): number => bytes.reduce((sum, byte) => (sum * 31 + byte) >>> 0, 7);

export class Died extends Error {}

interface Held extends VectorInput {
  readonly stamp: VectorStamp;
}

class Shard {
  readonly sql = new NodeSql();
  readonly rows = new Map<string, Held>();
  config: ShardConfig | undefined;
  placing: VectorPlacing | undefined;
  alarmAtMs = Number.POSITIVE_INFINITY;
  /** Counts starts: what an earlier one does reaches nothing. */
  life = 0;
  readonly kept = new Map<string, VectorAnswer>();
  readonly snapshots = new Map<string, readonly (readonly [string, Held])[]>();
  restored: string | undefined;
  readonly #keptLater = new Map<string, VectorAnswer>();

  constructor() {
    for (const statements of VECTOR_MIGRATIONS) this.sql.database.exec(statements);
  }

  endTurn(): void {
    this.sql.endTurn();
    for (const [id, answer] of this.#keptLater) this.kept.set(id, answer);
    this.#keptLater.clear();
  }

  keep(id: string, answer: VectorAnswer): void {
    this.#keptLater.set(id, answer);
  }

  stop(): void {
    this.life++;
    this.placing?.stop();
    this.placing = undefined;
    this.#keptLater.clear();
    this.sql.crash();
  }

  apply(request: VectorRequest): VectorAnswer {
    const { rows } = this;
    const shown = (row: Held | undefined) => row ?? null;
    switch (request.kind) {
      case "get":
        return { kind: "rows", ...PLACE, cursor: NOTHING, rows: request.ids.map((id) => shown(rows.get(id))) };
      case "list":
        return { kind: "rows", ...PLACE, cursor: NOTHING, rows: [...rows.values()].slice(0, request.limit) };
      case "count":
        return { kind: "count", ...PLACE, count: rows.size };
      case "delete":
        return { kind: "written", ...PLACE, results: request.ids.map((id) => this.#deleted(id)) };
      case "upsert":
        return { kind: "written", ...PLACE, results: request.rows.map((row) => this.#stored(row)) };
      case "search": {
        const { n } = JSON.parse(request.filter!) as { n: number };
        const hits = [...rows.values()].filter((row) => nOf(row) === n).map((row) => ({ ...row, score: 0 }));
        return { kind: "found", ...PLACE, results: [hits], scanned: rows.size, cached: 0, explain: "" };
      }
      default:
        throw new Error(request.kind);
    }
  }

  #deleted(id: string): VectorStamp | null {
    const held = this.rows.get(id);
    this.rows.delete(id);
    return held?.stamp ?? null;
  }

  #stored(row: VectorInput): VectorStamp {
    const before = this.rows.get(row.id)?.stamp ?? row.before;
    const isMoved = (row.before?.updatedMs ?? 0) > 0;
    const version = isMoved ? row.before!.version : (before?.version ?? 0) + 1;
    const stamp = { revision: 1, version, createdMs: before?.createdMs ?? Date.now(), updatedMs: 9 };
    // Bytes that came are views.
    const { id, values, metadata } = row;
    this.rows.set(id, { id, values: values.slice(), metadata: metadata.slice(), stamp });
    return stamp;
  }
}

export interface WorldOptions {
  readonly random: () => number;
  readonly sharding: DatabaseRecord["sharding"];
  /** Calls at which somebody dies. */
  readonly crashAt: ReadonlySet<number>;
}

export class World {
  readonly #options: WorldOptions;
  readonly shards = Array.from({ length: 8 }, () => new Shard());
  record: DatabaseRecord;
  calls = 0;
  deaths = 0;
  #known: KnownDatabase | undefined;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.record = {
      ...{ databaseId: "db", vectorDimension: 2, metric: "euclidean", sharding: options.sharding, durability: "sync" },
      ...{ indexType: "FLAT", indexParameters: { quantizer: "none" }, replication: { factor: 1 } },
    } as unknown as DatabaseRecord;
  }

  chance(share: number): boolean {
    return this.#options.random() < share;
  }

  /** From 1 ms; now and then long. */
  pause(): Promise<void> {
    const ms = 1 + Math.floor(this.#options.random() * (this.chance(0.02) ? 400 : 6));
    return new Promise((resolve) => void setTimeout(resolve, ms));
  }

  #open(at: number): void {
    const shard = this.shards[at]!;
    const { config, sql, life } = shard;
    if (!config?.sharding) return;
    const alive = (): void => {
      if (shard.life !== life) throw new Died();
    };
    const living: SqlStorage = {
      exec: (query, ...bindings) => {
        alive();
        return sql.exec(query, ...bindings);
      },
      transactionSync: (run) => sql.transactionSync(run),
    };
    const desk = {
      store: {
        ...PLACE,
        get liveCount() {
          return shard.rows.size;
        },
      },
      keptAnswer: ({ writeId }: { writeId: Uint8Array }) => shard.kept.get(String(writeId)),
      keepAnswer: ({ writeId }: { writeId: Uint8Array }, answer: VectorAnswer) => {
        alive();
        shard.keep(String(writeId), answer);
      },
    };
    shard.placing = new VectorPlacing({
      env: {
        VECTOR_SHARD: { idFromName: (name: string) => name, get: (name: string) => this.stub(name, at) },
      } as never,
      sql: living,
      crc32c,
      log: createLogger({ level: "fatal" as never, now: Date.now, write: () => undefined, fields: {} }),
      config: { ...config, sharding: config.sharding },
      skewBound: 0,
      desk: () => desk as unknown as ShardDesk,
      runHere: async (request) => {
        alive();
        return shard.apply(request);
      },
      wakeAt: (atMs) => this.#wakeAt(at, atMs),
    });
    shard.endTurn();
  }

  /** An alarm is kept over starts; of two the earlier. */
  #wakeAt(at: number, atMs: number): void {
    const shard = this.shards[at]!;
    if (shard.alarmAtMs <= atMs) return;
    shard.alarmAtMs = atMs;
    const alarm = async (): Promise<void> => {
      if (shard.alarmAtMs !== atMs) return;
      shard.alarmAtMs = Number.POSITIVE_INFINITY;
      await shard.placing?.alarm().catch(() => undefined);
    };
    setTimeout(() => void alarm(), Math.max(0, atMs - Date.now()));
  }

  /** It starts anew at once, from what was durable. */
  crash(at: number): void {
    this.deaths++;
    const shard = this.shards[at]!;
    shard.stop();
    this.#open(at);
  }

  /** A call of a shard, or of a client. */
  async #called<T>(from: number | undefined, to: number, run: () => Promise<T> | T): Promise<T> {
    const sender = from === undefined ? undefined : this.shards[from]!;
    const life = sender?.life;
    const alive = (): void => {
      if (sender && sender.life !== life) throw new Died();
    };
    // The output gate: what was written is durable before a call leaves.
    sender?.endTurn();
    const isFatal = this.#options.crashAt.has(this.calls++);
    const victim = isFatal ? (from !== undefined && this.chance(0.5) ? from : to) : undefined;
    const isEarly = this.chance(0.5);
    await this.pause();
    if (victim !== undefined && isEarly) this.crash(victim);
    // A call of a shard that died arrives all the same, now and then.
    if (sender?.life !== life && this.chance(0.5)) throw new Died();
    const target = this.shards[to]!;
    const targetLife = target.life;
    if (victim === to && isEarly) throw new Error("lost");
    const result = await run();
    if (target.life !== targetLife) throw new Error("lost");
    target.endTurn();
    if (victim !== undefined && !isEarly) this.crash(victim);
    await this.pause();
    alive();
    if (victim === to && !isEarly) throw new Error("lost");
    return result;
  }

  stub(name: string, from?: number) {
    const at = Number(name.slice(name.lastIndexOf("/") + 1));
    const shard = this.shards[at]!;
    return {
      call: (bytes: Uint8Array): Promise<Uint8Array> =>
        this.#called(from, at, async () => writeVectorAnswer(await this.#ran(shard, readVectorCall(bytes)))),
      shardMap: (): Promise<ShardMapState | null> => this.#called(from, at, () => shard.placing?.mapState ?? null),
      adoptShardMap: (map: Uint8Array, topology: number): Promise<boolean> =>
        this.#called(from, at, () => shard.placing?.adopt(map, topology) ?? false),
      reshardState: (allHave?: number): Promise<ReshardState | null> =>
        this.#called(from, at, () => shard.placing?.reshardState(allHave) ?? null),
      relocation: (ask: RelocationAsk): Promise<boolean> =>
        this.#called(from, at, () => shard.placing?.relocation(ask) ?? false),
    };
  }

  async #ran(shard: Shard, call: VectorCall): Promise<VectorAnswer> {
    if (!shard.config) return NO_SUCH_SHARD;
    const refused = refusedNow(call, shard.config);
    if (refused) return refused;
    const { placing } = shard;
    return placing && !call.isPlaced && isById(call.request) ? placing.run(call) : shard.apply(call.request);
  }

  #configured(at: number): Promise<void> {
    return this.#called(undefined, at, async () => {
      // One shard hears of it long after another: what moves too early is missed there.
      for (let wait = this.chance(0.5) ? 40 : 0; wait > 0; wait--) await this.pause();
      const shard = this.shards[at]!;
      shard.config = shardConfigOf(this.record, NAME, at);
      const { config, placing } = shard;
      if (placing && config.sharding) placing.reconfigure({ ...config, sharding: config.sharding });
      else this.#open(at);
      this.#kept(at);
      shard.endTurn();
      await shard.placing?.held();
    });
  }

  /** As a shard does it with its configuration. */
  #kept(at: number): void {
    const shard = this.shards[at]!;
    const { snapshots = [], restore, isUnsettled } = shard.config?.lifecycle ?? {};
    for (const id of snapshots) if (!shard.snapshots.has(id)) shard.snapshots.set(id, [...shard.rows]);
    if (!restore || shard.restored === restore.token) return;
    shard.restored = restore.token;
    shard.rows.clear();
    for (const [id, row] of shard.snapshots.get(restore.snapshotId)!) shard.rows.set(id, row);
    new Placements(shard.sql, crc32c, at).forget();
    const facts = "DELETE FROM vector_facts WHERE name IN ('topologySpread', 'shardMapSpread', 'shardMapActive')";
    if (isUnsettled) shard.sql.exec(facts);
    shard.placing?.stop();
    this.#open(at);
  }

  /** A snapshot, or the way back to one, as the tenant's object does it. */
  async keep(task: DatabaseTask): Promise<void> {
    const begun = afterTask(this.record, task, Date.now());
    if (!begun.ok) throw new Error(begun.message);
    const each: EachShard = async (run) => {
      const asked = Array.from({ length: shardCountOf(this.record.sharding) }, (_, shard) =>
        run(this.stub(shardName(NAME, shard)) as unknown as VectorShardRpc, { shard } as CopiedShard),
      );
      return (await Promise.allSettled(asked)).every(({ status }) => status === "fulfilled");
    };
    for (let next: Lifecycle | undefined = begun.value; next; ) {
      this.record = { ...this.record, lifecycle: next };
      await this.configure();
      do next = await lifecycleAfter(this.record, each);
      while (!next && this.record.lifecycle?.underWay);
    }
  }

  /** Every shard, each until it answers as it should. */
  async #each(run: (at: number) => Promise<boolean>): Promise<void> {
    const until = async (at: number): Promise<void> => {
      while (!(await run(at).catch(() => false))) await this.pause();
    };
    await Promise.all(Array.from({ length: shardCountOf(this.record.sharding) }, (_, at) => until(at)));
  }

  configure(): Promise<void> {
    return this.#each(async (at) => {
      await this.#configured(at);
      return true;
    });
  }

  /** As the tenant's object does it. */
  async reshard(shards: number, isGivenUp = (): boolean => false): Promise<void> {
    let isCancelled = isGivenUp;
    const to = (sharding: DatabaseRecord["sharding"]): void => {
      this.record = { ...this.record, sharding };
    };
    const { numShards } = this.record.sharding;
    to(begunReshard(this.record.sharding, shards));
    for (let phase = this.record.sharding.reshard?.phase; phase; phase = this.record.sharding.reshard?.phase) {
      await this.configure();
      const topology = this.record.sharding.topology!;
      if (phase === "moving") {
        const haveMoved = async (at: number): Promise<boolean> => {
          const state = await this.stub(shardName(NAME, at)).reshardState(topology);
          return isCancelled() || (state?.isDone === true && state.topology === topology);
        };
        await this.#each(haveMoved);
        if (isCancelled()) {
          to(begunReshard(this.record.sharding, numShards, true));
          isCancelled = () => false;
          continue;
        }
      }
      if (phase === "ending")
        for (const at of surplusOf(this.record.sharding)) {
          if (this.shards[at]!.rows.size > 0) throw new Error(`shard ${at} is erased with rows in it`);
          this.shards[at]!.stop();
          this.shards[at]!.config = undefined;
        }
      to(nextPhase(this.record.sharding));
    }
  }

  #database(): KnownDatabase {
    const { sharding } = this.record;
    const shards = { numShards: askedShardsOf(sharding), homes: homesOf(sharding), topology: topologyOf(sharding) };
    this.#known ??= { ...NAME, dimension: 2, metric: "euclidean", ...shards, sharding };
    return this.#known;
  }

  readonly #call = {
    services: { stubs: { vectorShard: (name: string) => this.stub(name) }, now: Date.now },
  } as unknown as Call;

  /** Rows with this number, as a gateway finds them; undefined = it was told to ask again, or a shard was away. */
  async search(n: number): Promise<{ hits: readonly VectorHit[]; isPruned: boolean } | undefined> {
    const database = this.#database();
    try {
      const plan = await planOf(this.#call, database, { queries: [valuesOf(n)], filters: { n }, shardProbes: 1 });
      const request = {
        kind: "search",
        queries: [valuesOf(n)],
        k: 99,
        filter: JSON.stringify({ n }),
        index: "",
        shown: {},
      } as const;
      const bytes = writeVectorCall({ topology: database.topology, request });
      const shards = [...plan.queriesOf.keys()];
      const ask = () =>
        Promise.all(
          shards.map(async (at) => {
            const answer = readVectorAnswer(await this.stub(shardName(NAME, at)).call(bytes));
            if (answer.kind === "found") return answer.results[0]!;
            if (answer === NO_SUCH_SHARD || answer.kind === "error") this.#known = undefined;
            throw new Error("ask again");
          }),
        );
      const rounds = await asOften(this.#call, database, { isSettled: plan.isSettled, ask });
      return { hits: rounds.flat(2), isPruned: shards.length < database.numShards };
    } catch {
      return undefined;
    }
  }

  /** Until it is known that it was applied. */
  async write(request: VectorRequest & { kind: "upsert" | "delete" }, writeId: Uint8Array): Promise<void> {
    const id = request.kind === "upsert" ? request.rows[0]!.id : request.ids[0]!;
    const name = shardName(NAME, shardOf(id, homesOf(this.record.sharding)));
    for (;;) {
      const bytes = writeVectorCall({ writeId, bodyHash: new Uint8Array(8), request });
      const answer = await this.stub(name)
        .call(bytes)
        .then(readVectorAnswer)
        .catch(() => undefined);
      const isDone = answer?.kind === "written" && answer.results.every((result) => !result || "version" in result);
      if (isDone) return;
      await this.pause();
    }
  }
}
