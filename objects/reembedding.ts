// A database's rows made anew by another model, beside the old ones, driven by the tenant's alarm in slices.
// A pass compares every shard's rows with the new ones by version and makes what differs; it needs no memory of earlier passes, so a crash costs
// the listing of ids and nothing else. When a pass finds little, writes are held up, what changed since is made, and the rows change places.
// Guarantees: at the switch the new rows are those of the old shards, each of its last version. Must not: know how a database is stored.

import { NO_LIFECYCLE } from "../src/vector/database/lifecycle.ts";
import type { DatabaseName, DatabaseRecord } from "../src/vector/database/record.ts";
import { isOpen, type PagePlan, planOf, type Reembedding, textOf } from "../src/vector/database/reembedding.ts";
import type { VectorInput, VectorShown } from "../src/wire/vector.ts";
import type { NewReembedding } from "./database-rpc.ts";
import { KEEPS_EXPIRED } from "./database-tasks.ts";
import type { Env } from "./env.ts";
import { ShardSide } from "./reembedding-shards.ts";
import { failure, type RpcFailure } from "./tenancy-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

/** Work of one alarm. Ms. */
const SLICE_MS = 5000;
/** Fewer changes in a pass, and writes are held up for the rest. Rows. */
const FEW_CHANGES = 200;
const EMBED_TIMEOUT_MS = 30_000;
/** What goes wrong often enough is told as the job's message meanwhile, and tried again. Characters. */
const MAX_MESSAGE = 300;

export interface ReembeddingHost {
  readonly env: Env;
  /** As it is stored now; undefined = the database is gone. */
  job(): Reembedding | undefined;
  note(changes: Partial<Reembedding>): void;
  /** The old shards have what the job's state asks of them. False = not all have answered. */
  configured(): Promise<boolean>;
  /** The new rows are the database's from here on. */
  change(): void;
  /** The new rows are forgotten. */
  fail(message: string): void;
}

/** Why it cannot begin. */
export function refusedReembedding(
  { lifecycle = NO_LIFECYCLE, sharding, reembedding, reduction, retentionPolicy }: DatabaseRecord,
  { vectorDimension }: NewReembedding,
): RpcFailure | undefined {
  if (retentionPolicy?.archiveOnExpire) return failure("conflict", KEEPS_EXPIRED);
  if (isOpen(reembedding)) return failure("conflict", "the database's vectors are being made anew already");
  if (lifecycle.isArchived) return failure("conflict", "the database is archived; restore it first");
  if (lifecycle.snapshots.length > 0)
    return failure("conflict", "the database has snapshots, which hold vectors of the old model; delete them first");
  if (reduction && reduction.dimensions >= vectorDimension)
    return failure(
      "conflict",
      `the database's reduction has ${reduction.dimensions} values, the model ${vectorDimension}`,
    );
  if (sharding.topology !== undefined)
    return failure("conflict", "the database's number of shards was changed: make its vectors anew in a new one");
  if (sharding.strategy === "hash") return undefined;
  const message = `a database that is sharded by ${sharding.strategy} cannot be made anew in place; this one must be by hash`;
  return failure("conflict", message, { strategy: sharding.strategy });
}

export function newReembedding(asked: NewReembedding, target: number, nowMs: number): Reembedding {
  const begun = { state: "running", rows: 0, embedded: 0, missing: 0, message: "" } as const;
  return { ...asked, ...begun, target, startedAtMs: nowMs, endedAtMs: null };
}

/** What cannot be mended by trying again. */
class Failed extends Error {}

interface Pass {
  shard: number;
  cursor: Uint8Array;
  /** Then, of the new rows, those that are no more. */
  phase: "rows" | "deleted";
  changed: number;
  rows: number;
  readonly revisions: Map<number, number>;
}

const START = new Uint8Array(0);
const newPass = (): Pass => ({
  ...{ shard: 0, cursor: START, phase: "rows", changed: 0, rows: 0 },
  revisions: new Map(),
});

export class ReembeddingRun {
  readonly #host: ReembeddingHost;
  readonly #tenant: number;
  readonly #numShards: number;
  readonly #old: ShardSide;
  readonly #new: ShardSide;
  #pass = newPass();
  /** Of each shard, rows without a vector when it was looked at last. */
  readonly #missing = new Map<number, number>();
  /** Of shards, the revision at which the last whole pass began to look. */
  #seen: ReadonlyMap<number, number> = new Map();

  constructor(host: ReembeddingHost, database: DatabaseName, numShards: number) {
    this.#host = host;
    this.#tenant = database.tenant;
    this.#numShards = numShards;
    this.#old = new ShardSide(host.env, database);
    this.#new = new ShardSide(host.env, { ...database, generation: host.job()!.target });
  }

  /** Works for a while. Never throws. */
  async work(): Promise<void> {
    const untilMs = Date.now() + SLICE_MS;
    try {
      while (Date.now() < untilMs && isOpen(this.#host.job())) await this.#step();
    } catch (error) {
      const message = (error instanceof Error ? error.message : String(error)).slice(0, MAX_MESSAGE);
      if (error instanceof Failed) this.#host.fail(message);
      else this.#host.note({ message });
    }
  }

  async #step(): Promise<void> {
    if (this.#pass.shard < this.#numShards) return this.#page();
    const { changed, rows, revisions } = this.#pass;
    const missing = [...this.#missing.values()].reduce((sum, count) => sum + count, 0);
    this.#host.note({ rows, missing, message: "" });
    this.#seen = revisions;
    this.#pass = newPass();
    const { state } = this.#host.job()!;
    if (state === "switching") return this.#finish();
    if (changed > FEW_CHANGES) return;
    if (await this.#importing()) throw new Error("waits for an import to end");
    this.#host.note({ state: "switching" });
    if (!(await this.#host.configured())) throw new Error("waits for shards to hold writes");
  }

  /** A pass was made while the old shards took no writes. */
  async #finish(): Promise<void> {
    if (!(await this.#host.configured())) throw new Error("waits for shards to hold writes");
    if (await this.#importing()) {
      this.#host.note({ state: "running" });
      await this.#host.configured();
      return;
    }
    for (let shard = 0; shard < this.#numShards; shard++)
      if ((await this.#old.count(shard)).revision !== this.#seen.get(shard)) return;
    this.#host.change();
  }

  async #importing(): Promise<boolean> {
    for (let shard = 0; shard < this.#numShards; shard++) if (await this.#old.imports(shard)) return true;
    return false;
  }

  #nextShard(): void {
    this.#pass.shard++;
    this.#pass.cursor = START;
    this.#pass.phase = "rows";
  }

  async #page(): Promise<void> {
    const { shard, cursor, phase } = this.#pass;
    if (phase === "deleted") return this.#deleted();
    if (cursor.length === 0) {
      const { revision, count } = await this.#old.count(shard);
      this.#pass.revisions.set(shard, revision);
      this.#pass.rows += count;
      // Nothing was written since a whole pass began here.
      if (this.#seen.get(shard) === revision) return this.#nextShard();
      this.#missing.set(shard, 0);
    }
    const page = await this.#old.page(shard, cursor);
    const targets = await this.#new.get(
      shard,
      page.rows.map(({ id }) => id),
    );
    await this.#make(shard, planOf(page.rows, targets));
    this.#pass.cursor = page.cursor;
    if (page.cursor.length > 0) return;
    this.#pass.phase = "deleted";
  }

  async #make(shard: number, { wanted, outdated }: PagePlan): Promise<void> {
    if (wanted.length === 0) return;
    const job = this.#host.job();
    if (!isOpen(job)) return;
    const rows = (await this.#old.get(shard, wanted, { metadata: true })).filter((row) => row !== null);
    const made = await this.#embedded(job, shard, rows);
    await this.#new.remove(shard, outdated);
    await this.#new.put(shard, made);
    this.#pass.changed += made.length;
    this.#host.note({ embedded: (this.#host.job()?.embedded ?? 0) + made.length });
  }

  async #embedded(job: Reembedding, shard: number, rows: readonly VectorShown[]): Promise<readonly VectorInput[]> {
    const { modelId, textField, vectorDimension } = job;
    const texts = rows.map(({ metadata }) => textOf(metadata, textField));
    const places = rows.flatMap((_, at) => (texts[at] === undefined ? [] : [at]));
    const missing = (at: number, why: string): void => {
      if (job.onMissing === "fail") throw new Failed(`the vector ${JSON.stringify(rows[at]!.id)} ${why}`);
      this.#missing.set(shard, (this.#missing.get(shard) ?? 0) + 1);
    };
    for (const at of texts.keys()) if (texts[at] === undefined) missing(at, `has no text in metadata.${textField}`);
    if (places.length === 0) return [];
    const ask = { modelId, texts: places.map((at) => texts[at]!), paths: places.map(() => "its text") };
    const { EMBEDDER } = this.#host.env;
    if (!EMBEDDER) throw new Failed("this deployment runs no embedder");
    const work = EMBEDDER.embed(this.#tenant, { ...ask, budgetMs: EMBED_TIMEOUT_MS });
    const answer = await withDeadline(work, EMBED_TIMEOUT_MS, "embedder");
    if (!answer.ok) {
      if (answer.code === "notFound" || answer.code === "conflict") throw new Failed(answer.message);
      throw new Error(answer.message);
    }
    const { values, failures, dimension } = answer.value;
    if (dimension !== vectorDimension) throw new Failed(`"${modelId}" makes vectors of ${dimension} numbers now`);
    return places.flatMap((at, n) => {
      const failed = failures[n];
      if (failed) {
        missing(at, `cannot be embedded: ${failed.message}`);
        return [];
      }
      const { id, stamp, metadata = START } = rows[at]!;
      const { version, createdMs, updatedMs } = stamp;
      const bytes = values.slice(n * dimension * 4, (n + 1) * dimension * 4);
      return [{ id, values: bytes, metadata, before: { version, createdMs, updatedMs } }];
    });
  }

  /** What was made and is no more. */
  async #deleted(): Promise<void> {
    const { shard, cursor } = this.#pass;
    if (cursor.length === 0) {
      const [old, made] = await Promise.all([this.#old.count(shard), this.#new.count(shard)]);
      if (old.count === made.count && !this.#missing.get(shard)) return this.#nextShard();
    }
    const page = await this.#new.page(shard, cursor);
    const ids = page.rows.map(({ id }) => id);
    const held = await this.#old.get(shard, ids);
    const gone = ids.filter((_, at) => held[at] === null);
    await this.#new.remove(shard, gone);
    this.#pass.changed += gone.length;
    this.#pass.cursor = page.cursor;
    if (page.cursor.length === 0) this.#nextShard();
  }
}
