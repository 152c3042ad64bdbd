// What a shard does where rows are placed by metadata or values: the calls about its ids, learning where rows belong (the first shard), and
// moving those that are elsewhere.
// Guarantees: searches leave shards out only when every row is where it belongs; what a crash interrupts goes on by the shard's alarm.
import { shardOf } from "../src/cluster/shard-of.ts";
import { drain } from "../src/storage/drain.ts";
import type { SqlStorage as ObjectSql } from "../src/storage/types.ts";
import type { Logger } from "../src/telemetry/logger.ts";
import { AwayBlocks } from "../src/vector/segment/away.ts";
import { CorruptSegment, type Crc32c } from "../src/vector/segment/directory.ts";
import type { ShardConfig, ShardingConfig } from "../src/vector/shard/shard-config.ts";
import type { ShardDesk } from "../src/vector/shard/shard-desk.ts";
import { mapSampleOf } from "../src/vector/sharding/learn-map.ts";
import { SPREAD_ROWS } from "../src/vector/sharding/limits.ts";
import { Placements } from "../src/vector/sharding/placements.ts";
import { Placer } from "../src/vector/sharding/placer.ts";
import { type HashMap, readShardMap, type ShardMap, writeShardMap } from "../src/vector/sharding/shard-map.ts";
import type { VectorAnswer, VectorCall, VectorFailure, VectorRequest } from "../src/wire/vector.ts";
import { readVectorAnswer } from "../src/wire/vector-answers.ts";
import { writeVectorCall } from "../src/wire/vector-requests.ts";
import type { Env } from "./env.ts";
import type { ReshardState, ShardMapState, VectorShardRpc } from "./vector-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

const CALL_TIMEOUT_MS = 5000;
/** What did not come through is tried again after this. Ms. */
const RETRY_MS = 250;
/** If the object was put to sleep in the middle. Ms. */
const WAKE_MS = 2000;

export interface VectorPlacingOptions {
  readonly env: Env;
  readonly sql: ObjectSql;
  readonly crc32c: Crc32c;
  readonly log: Logger;
  readonly config: ShardConfig & { readonly sharding: ShardingConfig };
  /** As the shard is configured now. */
  readonly desk: () => ShardDesk;
  /** One call of this shard's own rows. */
  readonly runHere: (request: VectorRequest) => Promise<VectorAnswer>;
  readonly wakeAt: (atMs: number) => void;
  /** Values that are away; gives why they cannot be here. */
  readonly fetch: (away: AwayBlocks) => Promise<VectorFailure | undefined>;
}

type Fact = "shardMap" | "shardMapSpread" | "shardMapActive" | "topologySpread";

/** What changes where rows are placed by a hash: see vector/database/resharding.ts. */
interface HashPlacing {
  map: HashMap;
  topology: number;
  /** Rows of this shard's ids are where this topology says. */
  spread: number;
  /** Rows that were looked at for it, since the start. */
  passed: number;
}

export class VectorPlacing {
  readonly #options: VectorPlacingOptions;
  readonly #placer: Placer;
  #map: ShardMap | undefined;
  #hash: HashPlacing | undefined;
  /** Rows of this shard at which it is learned where rows belong. */
  #learnAtRows: number;
  /** All rows of this shard are where they belong; those of all shards are. */
  #isSpread: boolean;
  #isActive: boolean;
  #isLearning = false;
  #isSpreading = false;
  #isDistributing = false;
  #isOver = false;

  constructor(options: VectorPlacingOptions) {
    this.#options = options;
    const { sql, crc32c, desk, config, runHere } = options;
    const { strategy, key, splitPoints, numShards, homes = numShards, learnRows, shard: own } = config.sharding;
    if (strategy === "hash")
      this.#hash = { ...this.#hashOf(config.sharding), spread: this.#topologySpread(), passed: 0 };
    const stored = this.#fact("shardMap");
    if (splitPoints) this.#map = { kind: "range", key: key!, points: splitPoints };
    else if (stored) this.#map = readShardMap(stored);
    this.#learnAtRows = learnRows / numShards;
    const isGiven = splitPoints !== undefined;
    this.#isSpread = isGiven || this.#fact("shardMapSpread") !== undefined;
    this.#isActive = isGiven || this.#fact("shardMapActive") !== undefined;
    this.#placer = new Placer({
      placements: new Placements(sql, crc32c, own),
      own,
      dimension: config.dimension,
      map: () => this.#hash?.map ?? this.#map,
      homeOf: (id) => shardOf(id, homes),
      hashOf: shardOf,
      ask: (shard, request) => (shard === own ? runHere(request) : this.#askOther(shard, request)),
      kept: (identity) => desk().keptAnswer(identity),
      keep: (identity, answer) => desk().keepAnswer(identity, answer),
      place: () => ({ term: desk().store.term, revision: desk().store.revision }),
      now: Date.now,
    });
    this.goOn();
  }

  #stub(shard: number): VectorShardRpc {
    const { env, config } = this.#options;
    return env.VECTOR_SHARD.get(env.VECTOR_SHARD.idFromName(`${config.sharding.base}/${shard}`));
  }

  async #askOther(shard: number, request: VectorRequest): Promise<VectorAnswer> {
    const answer = this.#stub(shard).call(writeVectorCall({ isPlaced: true, request }));
    return readVectorAnswer(await withDeadline(answer, CALL_TIMEOUT_MS, "VectorShard"));
  }

  #fact(name: Fact): Uint8Array | undefined {
    let bytes: Uint8Array | undefined;
    for (const row of this.#options.sql.exec<{ bytes: ArrayBuffer; crc: number }>(
      "SELECT bytes, crc FROM vector_facts WHERE name = ?",
      name,
    )) {
      bytes = new Uint8Array(row.bytes);
      if (this.#options.crc32c(bytes) !== row.crc) throw new CorruptSegment(`the fact ${name} fails its CRC32C`);
    }
    return bytes;
  }

  #setFact(name: Fact, bytes: Uint8Array = new Uint8Array(0)): void {
    const { sql, crc32c } = this.#options;
    drain(
      sql.exec("INSERT OR REPLACE INTO vector_facts (name, crc, bytes) VALUES (?, ?, ?)", name, crc32c(bytes), bytes),
    );
  }

  #hashOf({ numShards, topology = 0 }: ShardingConfig): Pick<HashPlacing, "map" | "topology"> {
    return { map: { kind: "hash", shards: numShards }, topology };
  }

  #topologySpread(): number {
    const bytes = this.#fact("topologySpread");
    return bytes ? Number(new TextDecoder().decode(bytes)) : 0;
  }

  /** Rows go elsewhere from now on; those that are there already are moved. */
  reconfigure(sharding: ShardingConfig): void {
    if (this.#hash) Object.assign(this.#hash, this.#hashOf(sharding));
    this.goOn();
  }

  /** See VectorShardRpc. */
  reshardState(): ReshardState {
    const { topology = 0, spread = 0, passed = 0 } = this.#hash ?? {};
    const isDone = spread >= topology;
    return { topology, isDone, progress: isDone ? 1 : Math.min(0.99, passed / Math.max(1, this.#rowsOfIds())) };
  }

  /** About: rows here may be of other homes. */
  #rowsOfIds(): number {
    const { desk, sql, crc32c, config } = this.#options;
    return desk().store.liveCount + new Placements(sql, crc32c, config.sharding.shard).count;
  }

  /** A call about ids. */
  async run(call: VectorCall): Promise<VectorAnswer> {
    const answer = await this.#placer.run(call);
    this.goOn();
    return answer;
  }

  /** See VectorShardRpc. */
  get mapState(): ShardMapState | null {
    return this.#map ? { map: writeShardMap(this.#map), isActive: this.#isActive } : null;
  }

  /** See VectorShardRpc. */
  adopt(bytes: Uint8Array): boolean {
    if (!this.#map) {
      this.#map = readShardMap(bytes);
      this.#setFact("shardMap", bytes);
    }
    this.goOn();
    return this.#isSpread;
  }

  /** Nothing of this is to go on: the shard is configured anew, or erased. */
  stop(): void {
    this.#isOver = true;
  }

  /** Begins what is due and does not run. */
  goOn(): void {
    const { config, desk, wakeAt } = this.#options;
    const { shard, homes = 0 } = config.sharding;
    const settleAtMs = this.#placer.nextSettleAtMs;
    if (settleAtMs !== undefined) wakeAt(settleAtMs);
    if (this.#hash) {
      // Shards that came later are nobody's home.
      if (shard >= homes) this.#hash.spread = this.#hash.topology;
      else if (this.#hash.spread < this.#hash.topology) void this.#reshard(this.#hash);
      return;
    }
    if (this.#map && !this.#isSpread) void this.#spread();
    if (shard !== 0) return;
    if (!this.#map && desk().store.liveCount >= this.#learnAtRows) void this.#learn();
    if (this.#map && !this.#isActive) void this.#distribute();
  }

  async alarm(): Promise<void> {
    await this.#placer.settle();
    this.goOn();
  }

  async #learn(): Promise<void> {
    if (this.#isLearning) return;
    this.#isLearning = true;
    const { desk, config, log } = this.#options;
    try {
      const learning = mapSampleOf(desk().store, config.sharding, config.metric);
      for (;;) {
        const { done, value } = learning.next();
        if (this.#isOver) return;
        if (done) {
          if (value) this.adopt(writeShardMap(value));
          else this.#learnAtRows = Math.max(1, desk().store.liveCount) * 2;
          return;
        }
        if (value instanceof AwayBlocks && (await this.#options.fetch(value))) throw value;
        await pause(0);
      }
    } catch (error) {
      log.error("where rows belong could not be learned", {}, error);
      this.#learnAtRows = Math.max(1, desk().store.liveCount) * 2;
    } finally {
      this.#isLearning = false;
      this.goOn();
    }
  }

  /** Page after page; one that fails is tried again. False = it must begin anew. */
  async #pages<C>(first: C, page: (cursor: C) => Promise<C | undefined>, isCurrent = () => true): Promise<boolean> {
    let cursor: C | undefined = first;
    while (cursor !== undefined) {
      this.#options.wakeAt(Date.now() + WAKE_MS);
      const next: C | undefined = await page(cursor);
      if (this.#isOver || !isCurrent()) return false;
      if (next === cursor) await pause(RETRY_MS);
      else if (this.#hash) this.#hash.passed += SPREAD_ROWS;
      cursor = next;
    }
    return true;
  }

  /** Brings the rows of this shard's ids to where the topology says. */
  async #reshard(hash: HashPlacing): Promise<void> {
    if (this.#isSpreading) return;
    this.#isSpreading = true;
    const { topology } = hash;
    const isCurrent = (): boolean => hash.topology === topology;
    hash.passed = 0;
    try {
      const own = await this.#pages<Uint8Array>(new Uint8Array(0), (cursor) => this.#placer.spread(cursor), isCurrent);
      const others = own && (await this.#pages("", (after) => this.#placer.spreadPlaced(after), isCurrent));
      // Rows whose moves were cut off were passed over: once more, when these are settled.
      if (!others || this.#placer.nextSettleAtMs !== undefined) return;
      this.#setFact("topologySpread", new TextEncoder().encode(String(topology)));
      hash.spread = topology;
    } catch (error) {
      this.#options.log.warn("rows could not be moved to their shards; tried again", {}, error);
    } finally {
      this.#isSpreading = false;
      if (!this.#isOver) this.#options.wakeAt(Date.now() + RETRY_MS);
    }
  }

  async #spread(): Promise<void> {
    if (this.#isSpreading) return;
    this.#isSpreading = true;
    try {
      if (!(await this.#pages<Uint8Array>(new Uint8Array(0), (cursor) => this.#placer.spread(cursor)))) return;
      // Rows whose moves were cut off were passed over: once more, when these are settled.
      if (this.#placer.nextSettleAtMs === undefined) {
        this.#setFact("shardMapSpread");
        this.#isSpread = true;
      }
    } catch (error) {
      this.#options.log.warn("rows could not be moved to their shards; tried again", {}, error);
    } finally {
      this.#isSpreading = false;
      if (!this.#isOver) this.#options.wakeAt(Date.now() + RETRY_MS);
    }
  }

  /** Tells every shard where rows belong, until all rows are there. */
  async #distribute(): Promise<void> {
    if (this.#isDistributing) return;
    this.#isDistributing = true;
    const { numShards } = this.#options.config.sharding;
    const bytes = writeShardMap(this.#map!);
    try {
      while (!this.#isOver) {
        this.#options.wakeAt(Date.now() + WAKE_MS);
        const others = Array.from({ length: numShards - 1 }, (_, at) =>
          withDeadline(this.#stub(at + 1).adoptShardMap(bytes), CALL_TIMEOUT_MS, "VectorShard").catch(() => false),
        );
        const areDone = await Promise.all(others);
        if (this.#isOver) return;
        if (areDone.every(Boolean) && this.adopt(bytes)) {
          this.#setFact("shardMapActive");
          this.#isActive = true;
          return;
        }
        await pause(RETRY_MS);
      }
    } finally {
      this.#isDistributing = false;
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
