// A zone's copy of a shard of vectors: a thin shell of SQLite, timers and RPC around src/vector/replica/copy.ts.
// Guarantees: it tells its leader of a place only when that is durable; a read shows what was asked for or is left to the leader; what is
// damaged here is restored from the leader, or copied anew. Must not: take writes.
import { DurableObject } from "cloudflare:workers";
import vectorModule from "../dist/wasm/vector.wasm";
import { parseSettings, type Settings } from "../src/cluster/settings.ts";
import { SqliteBlobStore } from "../src/storage/sqlite-blob-store.ts";
import { CorruptLog } from "../src/storage/types.ts";
import { createLogger, type Logger } from "../src/telemetry/logger.ts";
import { createVectorCore } from "../src/vector/kernels.ts";
import { forgetLog } from "../src/vector/replica/adopted.ts";
import { askFor, type BlobAsk, blobsOf, repairBlock } from "../src/vector/replica/blob-checks.ts";
import { VectorCopy } from "../src/vector/replica/copy.ts";
import {
  readBlobs,
  readCopyShipment,
  readShippedManifest,
  type ShippedManifest,
  writeBlobs,
} from "../src/vector/replica/frames.ts";
import { COPIED_BYTES_A_CALL, MAX_SHIPPED_BYTES } from "../src/vector/replica/limits.ts";
import { paceOf } from "../src/vector/replica/pace.ts";
import { CorruptSegment, type DamagedBlock, readDirectory } from "../src/vector/segment/directory.ts";
import { refusedCall } from "../src/vector/shard/access.ts";
import type { ShardConfig } from "../src/vector/shard/shard-config.ts";
import { ShardDesk } from "../src/vector/shard/shard-desk.ts";
import { ByteWriter } from "../src/wire/bytes.ts";
import { isVectorWrite, type ShardPlace } from "../src/wire/vector.ts";
import { writeVectorAnswer } from "../src/wire/vector-answers.ts";
import { readVectorCall } from "../src/wire/vector-requests.ts";
import { configSql } from "./config-sql.ts";
import { crc32c } from "./crc32c.ts";
import type { Env } from "./env.ts";
import { unpacked } from "./page-compression.ts";
import { isDamage, isOutdated } from "./shard-refusals.ts";
import { hasSameRows, migrateVectors, VectorFacts } from "./vector-facts.ts";
import { VectorMeter } from "./vector-metrics.ts";
import type { CopyFilling, CopyRead, VectorFollowerRpc, VectorShardRpc } from "./vector-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

const MIB = 1024 * 1024;
/** How long the leader holds a request for what is not there yet. Ms. */
const PULL_WAIT_MS = 10_000;
/** Beyond it the leader is away. Ms. */
const CALL_DEADLINE_MS = 5000;
/** A follower that nobody asks or wakes for this long stops following. Ms. */
const IDLE_MS = 120_000;
/** Pause after the leader did not answer, or answered what is of no use. Ms. */
const RETRY_MS = 300;
/** Commits read at once for a leader's damaged log. */
const COMMITS_AT_ONCE = 100;
/** Damaged blocks that are restored for one call. */
const MOST_REPAIRS = 64;

export class VectorFollower extends DurableObject<Env> implements VectorFollowerRpc {
  damagedTotal = 0;
  repairedTotal = 0;
  readonly #settings: Settings;
  readonly #log: Logger;
  readonly #zone: string;
  readonly #facts: VectorFacts;
  readonly #meter: VectorMeter;
  /** The leader's last commit, when it last told. */
  #headRevision = 0;
  readonly #shardName: string;
  #config: ShardConfig | undefined;
  #copy: VectorCopy | undefined;
  #adopting: ShippedManifest | undefined;
  #adoption: Promise<void> | undefined;
  /** The version of the list that is being copied, or waits to be taken over. */
  #copying: number | undefined;
  #isPulling = false;
  #askedMs = 0;
  /** The leader had nothing at this time that is not here. Ms. */
  #freshMs = Number.NEGATIVE_INFINITY;
  /** Called when something was applied or became known. */
  readonly #waiting = new Set<() => void>();
  /** Of the leader's segments, when they were copied last: all, and what was missing. Bytes. */
  #segmentBytes = { all: 0, missing: 0 };
  #head: Promise<ShardPlace | null> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#settings = parseSettings(env.JADE_CONFIG);
    const write = (_: string, line: string): void => console.log(line);
    this.#log = createLogger({
      level: this.#settings.log.level,
      now: Date.now,
      write,
      fields: { part: "vector-copies" },
    });
    const name = ctx.id.name ?? "";
    this.#zone = name.slice(0, name.indexOf("/"));
    this.#shardName = name.slice(name.indexOf("/") + 1);
    this.#meter = new VectorMeter({
      ...{ env, ctx, isCopy: true, repair: () => this },
      desk: () => this.#copy?.desk,
      lagRevisions: () => Math.max(0, this.#headRevision - (this.#copy?.revision ?? 0)),
    });
    this.#facts = new VectorFacts(ctx.storage, crc32c);
    this.#config = this.#facts.config;
    if (this.#config && !this.#config.lifecycle?.isArchived) this.#openOrMend(this.#config);
  }

  #openOrMend(config: ShardConfig): void {
    try {
      this.#open(config);
    } catch (error) {
      this.ctx.blockConcurrencyWhile(() => this.#mend(config, error));
    }
  }

  /** What is whole is kept, a leader may need it; the rest is given by the leader again. */
  async #mend(config: ShardConfig, first: unknown): Promise<void> {
    let error = first;
    for (let repairs = 0; repairs < MOST_REPAIRS; repairs++) {
      this.#log.error("a copy of a vector shard is damaged", { zone: this.#zone }, error);
      const block = error instanceof CorruptSegment ? error.block : undefined;
      if (error instanceof CorruptLog) {
        this.damagedTotal++;
        forgetLog(configSql(this.ctx.storage), crc32c);
      } else if (!block || !(await this.#heal(block))) break;
      try {
        return this.#open(config);
      } catch (again) {
        error = again;
      }
    }
    await this.#beginAnew(config);
  }

  async #beginAnew(config: ShardConfig): Promise<void> {
    this.#copy = undefined;
    await this.ctx.storage.deleteAll();
    this.#facts.config = config;
    this.#open(config);
  }

  #open(config: ShardConfig): void {
    const { storage, id } = this.ctx;
    migrateVectors(storage);
    const sql = configSql(storage);
    const blobs = new SqliteBlobStore(sql);
    const core = createVectorCore(vectorModule, { budgetBytes: this.#settings.vectors.memoryMiB * MIB });
    this.#config = config;
    this.#adopting = undefined;
    this.#copying = undefined;
    this.#freshMs = Number.NEGATIVE_INFINITY;
    const open = (indexes: ShardDesk["indexes"] | undefined): ShardDesk =>
      new ShardDesk({
        ...{ sql, blobs, crc32c, core, config, indexes, isCopy: true, name: id.name ?? id.toString(), now: Date.now },
        random: (count) => crypto.getRandomValues(new Uint8Array(count)),
        onMissing: (what) => this.#log.warn("a segment's copy has to do without an index", what),
      });
    this.#copy = new VectorCopy({ sql, blobs, crc32c, open });
  }

  async configure(config: ShardConfig): Promise<void> {
    const old = this.#config;
    if (JSON.stringify(old) !== JSON.stringify(config)) this.#facts.config = config;
    if (config.lifecycle?.isArchived) return this.#archive(config);
    if (!old || !this.#copy || !hasSameRows(old, config)) this.#openOrMend(config);
    this.#config = config;
    this.#startPulling();
  }

  /** Nothing of it stays in memory; reads are the leader's to refuse. */
  #archive(config: ShardConfig): void {
    this.#config = config;
    this.#copy = undefined;
    this.#adopting = undefined;
    this.#wakeReads();
  }

  async wake(): Promise<void> {
    this.#startPulling();
  }

  async filling(): Promise<CopyFilling> {
    this.#startPulling();
    const { all, missing } = this.#segmentBytes;
    const isFilled = this.#copy?.isWhole === true && this.#freshMs > Number.NEGATIVE_INFINITY;
    return { isFilled, copiedBytes: all - missing, bytes: all };
  }

  async read(bytes: Uint8Array, ask: CopyRead): Promise<Uint8Array | null> {
    const call = readVectorCall(bytes);
    if (isVectorWrite(call.request) || !this.#copy) return null;
    // Its leader may know better: a copy that has not heard of a change yet must not refuse by itself.
    if (refusedCall(call, this.#config?.access) || isOutdated(call, this.#config)) return null;
    this.#startPulling();
    if (!(await this.#isReady(ask))) return null;
    for (let repairs = 0; repairs <= MOST_REPAIRS && this.#copy?.isWhole; repairs++) {
      const { answer, damaged } = this.#copy.desk.run(call);
      if (!damaged) {
        this.#meter.answered(call, answer);
        return writeVectorAnswer(answer);
      }
      if (!(await this.#heal(damaged))) return null;
    }
    return null;
  }

  /** Waits until what is shown is as new as was asked for; false = it did not come to that in time. */
  async #isReady({ atLeast, isRecent, waitMs }: CopyRead): Promise<boolean> {
    const untilMs = Date.now() + waitMs;
    const maxLagMs = this.#config?.replication?.maxLagMs ?? 0;
    // Younger than allowed is what the leader has now.
    const isOld = isRecent && Date.now() - this.#freshMs > maxLagMs;
    const head = isOld ? await this.#leaderHead(waitMs) : undefined;
    if (head === null) return false;
    for (;;) {
      const copy = this.#copy;
      if (!copy) return false;
      const isAhead = head !== undefined && copy.revision > head.revision && copy.term < head.term;
      const hasAll = (!atLeast || copy.hasReached(atLeast)) && (!head || copy.hasReached(head));
      if (copy.isWhole && hasAll && !isAhead) return true;
      const leftMs = untilMs - Date.now();
      if (leftMs <= 0) return false;
      await this.#nextApplied(leftMs);
    }
  }

  /** What the leader has, asked for after now; null = it does not answer. */
  async #leaderHead(waitMs: number): Promise<ShardPlace | null> {
    // A call under way began before: what was written since may not be in it.
    await this.#head?.catch(() => null);
    this.#head ??= withDeadline(this.#leader().head(), waitMs, "VectorShard").finally(() => {
      this.#head = undefined;
    });
    return await this.#head.catch(() => null);
  }

  #nextApplied(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#waiting.add(done);
    });
  }

  #startPulling(): void {
    this.#askedMs = Date.now();
    if (this.#isPulling) return;
    this.#isPulling = true;
    void this.#pullWhileAsked();
  }

  async #pullWhileAsked(): Promise<void> {
    try {
      while (this.#copy && Date.now() - this.#askedMs < IDLE_MS) {
        const isUseful = await this.#pullOnce(this.#copy).catch((error: unknown) => this.#failed(error));
        if (!isUseful) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    } finally {
      this.#isPulling = false;
    }
  }

  async #failed(error: unknown): Promise<boolean> {
    this.#log.warn("a vector shard is not followed", { zone: this.#zone }, error);
    if (!isDamage(error) || !this.#config || !this.#copy) return false;
    // What was applied in memory is ahead of what is stored now: it is opened anew.
    const config = this.#config;
    this.#copy = undefined;
    await this.ctx.blockConcurrencyWhile(() => this.#mend(config, error));
    return true;
  }

  /** False: there is no use in asking again at once. */
  async #pullOnce(copy: VectorCopy): Promise<boolean> {
    // Of a list that is on its way nothing has to be told again.
    const place = { ...copy.place, manifestVersion: this.#copying ?? copy.place.manifestVersion };
    await this.ctx.storage.sync();
    const sentMs = Date.now();
    const waiting = this.#leader().pull(this.#zone, place, PULL_WAIT_MS);
    const page = await withDeadline(waiting, PULL_WAIT_MS + CALL_DEADLINE_MS, "VectorShard");
    if (copy !== this.#copy || page === null) return false;
    const shipment = readCopyShipment(await unpacked(page, 2 * MAX_SHIPPED_BYTES));
    if (copy !== this.#copy) return false;
    const taken = this.#guarded(() => copy.take(shipment));
    this.#headRevision = shipment.shipment.head.revision;
    this.#meter.touch();
    if (taken === "stale") return false;
    if (taken !== "taken" && this.#copying !== shipment.manifestVersion) this.#adopt(copy, shipment.manifestVersion);
    if (taken === "startOver") await this.#adoption;
    else if (copy.isWhole && copy.revision >= shipment.shipment.head.revision) this.#freshMs = sentMs;
    this.#takeOver(copy);
    this.#wakeReads();
    return true;
  }

  #wakeReads(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Copies what the leader's segments consist of, behind pulls and reads. */
  #adopt(copy: VectorCopy, version: number): void {
    if (this.#adoption) return;
    this.#copying = version;
    this.#adoption = this.#copySegments(copy)
      .catch(async (error: unknown) => {
        await this.#failed(error);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      })
      .finally(() => {
        this.#adoption = undefined;
        this.#copying = this.#adopting?.version;
        this.#wakeReads();
      });
  }

  async #copySegments(copy: VectorCopy): Promise<void> {
    const frame = await withDeadline(this.#leader().manifest(), CALL_DEADLINE_MS, "VectorShard");
    if (!frame || copy !== this.#copy) return;
    const manifest = readShippedManifest(frame);
    this.#copying = manifest.version;
    const isFilling = this.#config?.replication?.filling?.includes(this.#zone) === true;
    const paced = paceOf({
      bytesPerSecond: isFilling ? this.#settings.vectors.copyMiBPerSecond * MIB : 0,
      ...{ now: Date.now, sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) },
    });
    const all = bytesOf(manifest.segments.flatMap((each) => blobsOf(readDirectory(each.directory, crc32c))));
    for (;;) {
      const missing = copy.missing(manifest);
      this.#segmentBytes = { all, missing: bytesOf(missing) };
      if (missing.length === 0) break;
      const asks = firstOf(missing, COPIED_BYTES_A_CALL);
      const wanted = asks.map((blob): BlobAsk => ({ name: blob.name, bytes: blob.bytes }));
      const given = await withDeadline(this.#leader().blobs(wanted), CALL_DEADLINE_MS, "VectorShard");
      if (!given || copy !== this.#copy) return;
      for (const [at, blob] of readBlobs(given).entries()) {
        // Merged away meanwhile: the next pull tells of the new list.
        if (!blob) return;
        if (!this.#guarded(() => copy.takeBlob(asks[at]!, blob)))
          throw new Error(`blob ${asks[at]!.name} arrived damaged`);
      }
      await paced(bytesOf(asks));
      if (copy !== this.#copy) return;
    }
    this.#adopting = manifest;
    this.#takeOver(copy);
  }

  #takeOver(copy: VectorCopy): void {
    const manifest = this.#adopting;
    if (!manifest || copy !== this.#copy) return;
    const result = this.#guarded(() => copy.adopt(manifest));
    if (result === "later") return;
    this.#adopting = undefined;
    this.#copying = undefined;
    this.#sweep(copy);
  }

  #sweep(copy: VectorCopy): void {
    if (copy !== this.#copy || !this.#guarded(() => copy.sweep())) return;
    setTimeout(() => this.#sweep(copy), 0);
  }

  /** From the leader's blob; counted. False: it has none that fits. */
  async #heal(damaged: DamagedBlock): Promise<boolean> {
    const given = await withDeadline(this.#leader().blobs([askFor(damaged)]), CALL_DEADLINE_MS, "VectorShard").catch(
      () => null,
    );
    const blob = given && readBlobs(given)[0];
    const blobs = new SqliteBlobStore(configSql(this.ctx.storage));
    const isHealed = blob !== null && blob !== undefined && repairBlock({ blobs, crc32c }, damaged, blob);
    this.damagedTotal++;
    if (isHealed) this.repairedTotal++;
    this.#log.error("a block of a vector shard's copy is damaged", { blob: damaged.blob, isHealed });
    return isHealed;
  }

  async blobs(asks: readonly BlobAsk[]): Promise<Uint8Array> {
    const blobs = new SqliteBlobStore(configSql(this.ctx.storage));
    return writeBlobs(asks.map(({ name, bytes }) => blobs.getSync(name, 0, bytes)));
  }

  async commits(after: number, bytes: number): Promise<Uint8Array | null> {
    const log = this.#copy?.desk.store.log;
    if (!log) return null;
    const given = new ByteWriter(bytes);
    for (let next = after + 1; given.length < bytes; ) {
      const records = log.recordsFrom(next, COMMITS_AT_ONCE);
      if (records.length === 0) return null;
      for (const record of records) if (given.length < bytes) given.raw(record.bytes);
      next = records.at(-1)!.revision + 1;
    }
    return given.length === bytes ? given.take() : null;
  }

  async erase(): Promise<void> {
    const told = this.#copy && this.#meter.end();
    this.#copy = undefined;
    this.#config = undefined;
    this.#wakeReads();
    await this.ctx.storage.deleteAll();
    await told;
  }

  #leader(): VectorShardRpc {
    const objects = this.env.VECTOR_SHARD;
    return objects.get(objects.idFromName(this.#shardName));
  }

  /** After an exception memory may be ahead of storage: the object starts anew from what is durable, or heals what it met. */
  #guarded<T>(run: () => T): T {
    try {
      return this.ctx.storage.transactionSync(run);
    } catch (error) {
      if (isDamage(error)) throw error;
      this.#log.error("a vector shard's follower restarts", {}, error);
      this.ctx.abort(String(error));
      throw error;
    }
  }
}

function bytesOf(blobs: readonly BlobAsk[]): number {
  return blobs.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** As many as fit, one at least. */
function firstOf<T extends BlobAsk>(blobs: readonly T[], mostBytes: number): readonly T[] {
  let bytes = 0;
  const end = blobs.findIndex((blob, at) => {
    bytes += blob.bytes;
    return at > 0 && bytes > mostBytes;
  });
  return end < 0 ? blobs : blobs.slice(0, end);
}
