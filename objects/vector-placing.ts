// What a shard does where rows are placed by metadata or values, or by a hash among another number of shards than at creation: the calls about
// its ids, learning where rows belong (the first shard), and moving those that are elsewhere.
// Guarantees: searches leave shards out only when every row is where it belongs; rows of a later topology move when all shards refuse calls of the
// one before; what a crash interrupts goes on by the shard's alarm.
import { shardOf } from "../src/cluster/shard-of.ts";
import { drain } from "../src/storage/drain.ts";
import type { SqlStorage as ObjectSql } from "../src/storage/types.ts";
import type { Logger } from "../src/telemetry/logger.ts";
import { CorruptSegment, type Crc32c } from "../src/vector/segment/directory.ts";
import type { ShardConfig, ShardingConfig } from "../src/vector/shard/shard-config.ts";
import type { ShardDesk } from "../src/vector/shard/shard-desk.ts";
import { SKEW_LOOK_MS, SPREAD_ROWS } from "../src/vector/sharding/limits.ts";
import { Placements } from "../src/vector/sharding/placements.ts";
import { Placer } from "../src/vector/sharding/placer.ts";
import { learning } from "../src/vector/sharding/sample.ts";
import { readShardMap, type ShardMap, shardCountIn, writeShardMap } from "../src/vector/sharding/shard-map.ts";
import { isVectorWrite, type VectorAnswer, type VectorCall, type VectorRequest } from "../src/wire/vector.ts";
import { readVectorAnswer } from "../src/wire/vector-answers.ts";
import { writeVectorCall } from "../src/wire/vector-requests.ts";
import type { Env } from "./env.ts";
import { VectorRelocating } from "./vector-relocating.ts";
import type { RelocationAsk, ReshardState, ShardMapState, VectorShardRpc } from "./vector-rpc.ts";
import { VectorSkew } from "./vector-skew.ts";
import { withDeadline } from "./with-deadline.ts";

const CALL_TIMEOUT_MS = 5000;
/** What did not come through is tried again after this. Ms. */
const RETRY_MS = 250;
/** Where rows belong is learned again after this, when that failed. Ms. */
const LEARN_AGAIN_MS = 2000;
/** If the object was put to sleep in the middle. Ms. */
const WAKE_MS = 2000;

type PlacedConfig = ShardConfig & { readonly sharding: ShardingConfig };

export interface VectorPlacingOptions {
  readonly env: Env;
  readonly sql: ObjectSql;
  readonly crc32c: Crc32c;
  readonly log: Logger;
  readonly config: PlacedConfig;
  /** Skew above which rows are placed anew unasked; 0 = never. */
  readonly skewBound: number;
  /** As the shard is configured now. */
  readonly desk: () => ShardDesk;
  /** One call of this shard's own rows. */
  readonly runHere: (request: VectorRequest) => Promise<VectorAnswer>;
  readonly wakeAt: (atMs: number) => void;
}

/** Those of the first topology have no number of their own: `shardMapSpread`, and an empty `shardMapActive`. */
type Fact =
  | "shardMap"
  | "shardMapTopology"
  | "shardMapSpread"
  | "shardMapActive"
  | "topologySpread"
  | "resplitAsked"
  | "placesTold";

/** By which rows are placed, and of which topology it is: of one before until the new one is learned. */
interface KnownMap {
  readonly map: ShardMap;
  readonly topology: number;
}

export class VectorPlacing {
  readonly #options: VectorPlacingOptions;
  readonly #placer: Placer;
  readonly #relocating: VectorRelocating;
  #config: PlacedConfig;
  /** Of restores: calls of one before are refused by shards that know of it. */
  #era: number;
  #known: KnownMap | undefined;
  /** Rows of this shard's ids are where this topology's map says; the first shard: those of all are. -1 = of none. */
  #spreadTo: number;
  #activeAt: number;
  /** Rows that were looked at for it, since the start. */
  #passed = 0;
  /** All shards refuse calls of topologies before it. */
  #allHave = 0;
  /** Rows of this shard at which it is learned where rows belong. */
  #learnAtRows: number;
  #learnAfterMs = 0;
  readonly #skew: VectorSkew;
  /** Something was written since the sizes of shards were compared; the alarm is set for the next time. */
  #isLookDue = false;
  #isLookSet = false;
  #isLearning = false;
  #isSpreading = false;
  #isDistributing = false;
  #isOver = false;

  constructor(options: VectorPlacingOptions) {
    this.#options = options;
    const { sql, crc32c, desk, config, skewBound } = options;
    const { numShards, homes = numShards, learnRows, shard: own } = config.sharding;
    this.#config = config;
    this.#era = config.lifecycle?.era ?? 0;
    this.#known = this.#stored ?? this.#given;
    this.#learnAtRows = learnRows / numShards;
    // By a hash, or by points that were given, nothing moves in the first topology.
    const first = this.#given?.topology === 0 ? 0 : -1;
    this.#spreadTo =
      this.#number("topologySpread") ?? this.#number("shardMapSpread") ?? Math.max(first, this.#hashed(0));
    this.#activeAt =
      this.#number("shardMapActive") ?? Math.max(first, this.#stored ? -1 : this.#hashed(this.#spreadTo));
    const ask = this.#ask.bind(this);
    const placements = new Placements(sql, crc32c, own);
    const homeOf = (id: string): number => shardOf(id, homes);
    this.#placer = new Placer({
      ...{ placements, own, ask, homeOf, dimension: config.dimension },
      map: () => this.#known?.map,
      hashOf: shardOf,
      kept: (identity) => desk().keptAnswer(identity),
      keep: (identity, answer) => desk().keepAnswer(identity, answer),
      place: () => ({ term: desk().store.term, revision: desk().store.revision }),
      now: Date.now,
      holds: () => this.#config.lifecycle?.holds,
    });
    this.#relocating = new VectorRelocating({
      ...{ placements, own, ask, homeOf, log: options.log, wakeAt: options.wakeAt },
      stub: (shard) => this.#stub(shard),
      token: () => (this.#isOver ? undefined : this.#config.lifecycle?.places),
      told: () => this.#text("placesTold"),
      setTold: (token) => this.#setFact("placesTold", token),
      lagMs: () => this.#config.replication?.maxLagMs ?? 0,
    });
    this.#skew = new VectorSkew({
      ...{ env: options.env, log: options.log, bound: skewBound, ask },
      last: () => this.#text("resplitAsked"),
      setLast: (text) => this.#setFact("resplitAsked", text),
    });
    this.goOn();
  }

  get #sharding(): ShardingConfig {
    return this.#config.sharding;
  }

  get #topology(): number {
    return this.#sharding.topology ?? 0;
  }

  get #homes(): number {
    return this.#sharding.homes ?? this.#sharding.numShards;
  }

  get #stored(): KnownMap | undefined {
    const bytes = this.#fact("shardMap");
    return bytes && { map: readShardMap(bytes), topology: this.#number("shardMapTopology") ?? 0 };
  }

  /** What needs no learning. */
  get #given(): KnownMap | undefined {
    const { strategy, key, splitPoints, numShards } = this.#sharding;
    const topology = this.#topology;
    if (strategy === "hash") return { map: { kind: "hash", shards: numShards }, topology };
    return splitPoints && { map: { kind: "range", key: key!, points: splitPoints }, topology };
  }

  /** Maps of hashes were not stored, and not told to be active, before where rows belong could be learned again. */
  #hashed(topology: number): number {
    return this.#sharding.strategy === "hash" ? topology : -1;
  }

  #stub(shard: number): VectorShardRpc {
    const { env } = this.#options;
    return env.VECTOR_SHARD.get(env.VECTOR_SHARD.idFromName(`${this.#sharding.base}/${shard}`));
  }

  async #ask(shard: number, request: VectorRequest): Promise<VectorAnswer> {
    const { config, runHere } = this.#options;
    if (shard === config.sharding.shard) return runHere(request);
    const topology = this.#era || undefined;
    const answer = this.#stub(shard).call(writeVectorCall({ isPlaced: true, topology, request }));
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

  #text(name: Fact): string | undefined {
    const bytes = this.#fact(name);
    return bytes && new TextDecoder().decode(bytes);
  }

  /** An empty one is of the first topology. */
  #number(name: Fact): number | undefined {
    const text = this.#text(name);
    return text === undefined ? undefined : Number(text);
  }

  #setFact(name: Fact, value: Uint8Array | string): void {
    const { sql, crc32c } = this.#options;
    const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
    drain(
      sql.exec("INSERT OR REPLACE INTO vector_facts (name, crc, bytes) VALUES (?, ?, ?)", name, crc32c(bytes), bytes),
    );
  }

  /** Rows go elsewhere from when it is known where; those that are there already are moved. */
  reconfigure(config: PlacedConfig): void {
    // What follows from the configuration of before does not follow from the new one.
    if (this.#known && !this.#stored) this.#store(this.#known);
    this.#config = config;
    this.goOn();
  }

  #store({ map, topology }: KnownMap): void {
    this.#setFact("shardMap", writeShardMap(map));
    this.#setFact("shardMapTopology", String(topology));
  }

  /** See VectorShardRpc. */
  reshardState(allHave = 0): ReshardState {
    if (allHave > this.#allHave) {
      this.#allHave = allHave;
      this.goOn();
    }
    const topology = this.#topology;
    const { shard } = this.#sharding;
    const isSpread = this.#spreadTo >= topology;
    const isDone = shard >= this.#homes || (shard === 0 ? this.#activeAt >= topology : isSpread);
    const isBegun = this.#isKnown;
    const passed = isSpread ? 1 : isBegun ? Math.min(0.99, this.#passed / Math.max(1, this.#rowsOfIds())) : 0;
    return { topology, isDone, progress: isDone ? 1 : passed };
  }

  /** About: rows here may be of other homes. */
  #rowsOfIds(): number {
    const { desk, sql, crc32c, config } = this.#options;
    return desk().store.liveCount + new Placements(sql, crc32c, config.sharding.shard).count;
  }

  /** What was begun before the configuration that holds something up is over; what comes is of its era. */
  async held(): Promise<undefined> {
    const { era = 0, holds } = this.#config.lifecycle ?? {};
    if (holds || era > this.#era) await this.#placer.quiet();
    this.#era = Math.max(this.#era, era);
  }

  /** See VectorShardRpc. */
  async relocation(ask: RelocationAsk): Promise<boolean> {
    if (ask.kind === "rows") return await this.#relocating.take(ask);
    if (this.#config.lifecycle?.places !== undefined) return this.#text("placesTold") === ask.token;
    // The first shard's map is in force when all homes have moved their rows.
    return this.#sharding.shard !== 0 || !this.#isKnown || this.#activeAt >= this.#topology;
  }

  get #isKnown(): boolean {
    return this.#known?.topology === this.#topology;
  }

  /** A call about ids. */
  async run(call: VectorCall): Promise<VectorAnswer> {
    const answer = await this.#placer.run(call);
    this.#isLookDue ||= isVectorWrite(call.request);
    this.goOn();
    return answer;
  }

  /** See VectorShardRpc. */
  get mapState(): ShardMapState | null {
    const topology = this.#topology;
    if (this.#known?.topology !== topology) return null;
    return { map: writeShardMap(this.#known.map), isActive: this.#activeAt >= topology, topology };
  }

  /** See VectorShardRpc. */
  adopt(bytes: Uint8Array, topology: number): boolean {
    if (topology !== this.#topology) return false;
    if (this.#known?.topology !== topology) {
      this.#known = { map: readShardMap(bytes), topology };
      this.#store(this.#known);
    }
    this.goOn();
    return this.#spreadTo >= topology;
  }

  /** Nothing of this is to go on: the shard is configured anew, or erased. */
  stop(): void {
    this.#isOver = true;
  }

  /** Begins what is due and does not run. */
  goOn(): void {
    const { shard } = this.#sharding;
    const topology = this.#topology;
    const { holds } = this.#config.lifecycle ?? {};
    void this.#relocating.tell();
    if (holds === "moves" || holds === "all") return;
    const settleAtMs = this.#placer.nextSettleAtMs;
    if (settleAtMs !== undefined) this.#options.wakeAt(settleAtMs);
    const isKnown = this.#isKnown;
    if (isKnown && this.#spreadTo < topology && shard < this.#homes) void this.#spread(topology);
    if (shard !== 0) return;
    if (this.#activeAt >= topology) this.#lookLater();
    else if (this.#allHave < topology) return;
    else if (isKnown) void this.#distribute(this.#known!);
    else if (!holds && this.#isLearnable) void this.#learn(topology);
  }

  get #isLearnable(): boolean {
    if (Date.now() < this.#learnAfterMs) return false;
    return this.#topology > 0 || this.#options.desk().store.liveCount >= this.#learnAtRows;
  }

  /** Only where something was written: databases that rest are let be. */
  #lookLater(): void {
    const { skewBound, wakeAt } = this.#options;
    if (skewBound === 0 || this.#sharding.strategy === "hash" || !this.#isLookDue || this.#isLookSet) return;
    this.#isLookSet = true;
    wakeAt(Date.now() + SKEW_LOOK_MS);
  }

  async alarm(): Promise<void> {
    await this.#placer.settle();
    if (this.#isLookSet) {
      this.#isLookSet = false;
      this.#isLookDue = await this.#skew.look(this.#sharding, this.#known?.map.kind !== "hash");
    }
    this.goOn();
  }

  async #learn(topology: number): Promise<void> {
    if (this.#isLearning) return;
    this.#isLearning = true;
    const { desk, log, wakeAt } = this.#options;
    try {
      const map = await this.#learned(topology);
      if (this.#isOver || this.#topology !== topology) return;
      if (map) this.adopt(writeShardMap(map), topology);
      else this.#learnAtRows = Math.max(1, desk().store.liveCount) * 2;
    } catch (error) {
      if (this.#isOver) return;
      log.warn("where rows belong could not be learned; tried again", {}, error);
      this.#learnAfterMs = Date.now() + LEARN_AGAIN_MS;
      wakeAt(this.#learnAfterMs);
    } finally {
      this.#isLearning = false;
      this.goOn();
    }
  }

  /** Undefined = there are not rows enough. */
  async #learned(topology: number): Promise<ShardMap | undefined> {
    const { dimension, metric } = this.#config;
    const sharding = this.#sharding;
    const { strategy, numShards, span = numShards } = sharding;
    if (strategy === "hash") return { kind: "hash", shards: numShards };
    const ask = this.#ask.bind(this);
    const steps = await learning({ ask, sharding, shards: span, dimension, metric, before: this.#known?.map });
    for (let step = steps.next(); ; step = steps.next()) {
      if (this.#isOver || this.#topology !== topology) return undefined;
      if (step.done && topology === 0)
        return step.value && shardCountIn(step.value) === numShards ? step.value : undefined;
      // Where there is nothing to learn from, nothing is left out.
      if (step.done) return step.value ?? { kind: "hash", shards: Math.min(this.#homes, numShards) };
      await pause(0);
    }
  }

  /** Page after page; one that fails is tried again. False = it must begin anew. */
  async #pages<C>(first: C, page: (cursor: C) => Promise<C | undefined>, topology: number): Promise<boolean> {
    let cursor: C | undefined = first;
    while (cursor !== undefined) {
      this.#options.wakeAt(Date.now() + WAKE_MS);
      const next: C | undefined = await page(cursor);
      if (this.#isOver || this.#topology !== topology) return false;
      if (next === cursor) await pause(RETRY_MS);
      else this.#passed += SPREAD_ROWS;
      cursor = next;
    }
    return true;
  }

  /** Brings the rows of this shard's ids to where the topology's map says. */
  async #spread(topology: number): Promise<void> {
    if (this.#isSpreading) return;
    this.#isSpreading = true;
    this.#passed = 0;
    try {
      // In the first topology rows that are elsewhere were placed by the map. Else they go before: what leaves this shard is not looked at again.
      const others = topology === 0 || (await this.#pages("", (after) => this.#placer.spreadPlaced(after), topology));
      const page = (cursor: Uint8Array): Promise<Uint8Array | undefined> => this.#placer.spread(cursor);
      const own = others && (await this.#pages<Uint8Array>(new Uint8Array(0), page, topology));
      // Rows whose moves were cut off were passed over: once more, when these are settled.
      if (!own || this.#placer.nextSettleAtMs !== undefined) return;
      this.#setFact("topologySpread", String(topology));
      this.#spreadTo = topology;
    } catch (error) {
      this.#options.log.warn("rows could not be moved to their shards; tried again", {}, error);
    } finally {
      this.#isSpreading = false;
      if (!this.#isOver) this.#options.wakeAt(Date.now() + RETRY_MS);
    }
  }

  /** Tells every home where rows belong, until all rows are there. */
  async #distribute({ map, topology }: KnownMap): Promise<void> {
    if (this.#isDistributing) return;
    this.#isDistributing = true;
    const bytes = writeShardMap(map);
    try {
      while (!this.#isOver && this.#topology === topology) {
        this.#options.wakeAt(Date.now() + WAKE_MS);
        const others = Array.from({ length: this.#homes - 1 }, (_, at) =>
          withDeadline(this.#stub(at + 1).adoptShardMap(bytes, topology), CALL_TIMEOUT_MS, "VectorShard").catch(
            () => false,
          ),
        );
        const areDone = await Promise.all(others);
        if (this.#isOver) return;
        if (areDone.every(Boolean) && this.adopt(bytes, topology) && (await this.#haveCopiesMoved(topology))) {
          this.#setFact("shardMapActive", String(topology));
          this.#activeAt = topology;
          return;
        }
        await pause(RETRY_MS);
      }
    } finally {
      this.#isDistributing = false;
    }
  }

  /** Copies that may be asked then have heard of all moves. */
  async #haveCopiesMoved(topology: number): Promise<boolean> {
    const untilMs = Date.now() + (this.#config.replication?.maxLagMs ?? 0);
    while (Date.now() < untilMs) {
      this.#options.wakeAt(Date.now() + WAKE_MS);
      await pause(Math.min(RETRY_MS, untilMs - Date.now()));
      if (this.#isOver || this.#topology !== topology) return false;
    }
    return true;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
