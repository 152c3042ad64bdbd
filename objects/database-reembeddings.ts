// The re-embeddings of a tenant's databases: which are under way, and what each stores of itself.
// Guarantees: the new rows take the old ones' place in one transaction. Must not: read or write vectors (reembedding.ts).

import type { DatabaseRecord } from "../src/vector/database/record.ts";
import { isOpen, modelsAfter, type Reembedding } from "../src/vector/database/reembedding.ts";
import type { CheckedTable } from "./checked-rows.ts";
import { type DatabaseRow, recordOf } from "./database-rows.ts";
import type { NamedDatabase } from "./database-rpc.ts";
import type { Env } from "./env.ts";
import { type ReembeddingHost, ReembeddingRun } from "./reembedding.ts";

export interface ReembeddingsOptions {
  readonly env: Env;
  readonly rows: CheckedTable<DatabaseRow>;
  /** The shards are brought to it behind this. */
  readonly store: (generation: number, record: DatabaseRecord, nowMs: number) => void;
  /** True = the shards have what the row says. */
  readonly configure: (tenant: number, generation: number) => Promise<boolean>;
  readonly end: (name: NamedDatabase, message: string) => void;
}

export class DatabaseReembeddings {
  readonly #options: ReembeddingsOptions;
  /** By the generation of the old rows. */
  readonly #runs = new Map<number, ReembeddingRun>();

  constructor(options: ReembeddingsOptions) {
    this.#options = options;
  }

  async work(tenant: number, rows: readonly DatabaseRow[]): Promise<void> {
    // One whose row is damaged meanwhile, or whose shards are away, stops no other; it is looked at again.
    await Promise.allSettled(rows.map((row) => this.#workOn(tenant, row)));
  }

  #row(generation: number): DatabaseRow | undefined {
    return this.#options.rows.select("WHERE generation = ?", generation)[0];
  }

  #job(generation: number): Reembedding | undefined {
    const row = this.#row(generation);
    return row?.state === "ready" ? recordOf(row).reembedding : undefined;
  }

  async #workOn(tenant: number, row: DatabaseRow): Promise<void> {
    const { generation, namespace } = row;
    const { databaseId, sharding, reembedding } = recordOf(row);
    // Both sides as their records say, first.
    for (const side of [generation, reembedding!.target]) if (!(await this.#options.configure(tenant, side))) return;
    if (!isOpen(this.#job(generation))) return;
    const database = { tenant, namespace, databaseId, generation };
    const run =
      this.#runs.get(generation) ?? new ReembeddingRun(this.#hostOf(tenant, row), database, sharding.numShards);
    this.#runs.set(generation, run);
    await run.work();
    if (isOpen(this.#job(generation))) return;
    this.#runs.delete(generation);
    // The new shards have what changed of the database meanwhile; the old ones say that they are gone.
    for (const side of [reembedding!.target, generation]) await this.#options.configure(tenant, side);
  }

  #hostOf(tenant: number, { generation, namespace, database_id: databaseId }: DatabaseRow): ReembeddingHost {
    const { env, configure, end } = this.#options;
    return {
      env,
      job: () => this.#job(generation),
      note: (changes) => this.#note(generation, changes),
      configured: () => configure(tenant, generation),
      change: () => this.#exchange(generation),
      fail: (message) => end({ namespace, databaseId }, message),
    };
  }

  #note(generation: number, changes: Partial<Reembedding>): void {
    const row = this.#row(generation);
    const job = this.#job(generation);
    if (!row || !isOpen(job)) return;
    const record = { ...recordOf(row), reembedding: { ...job, ...changes } };
    // Shards need to know of a change of state, not of how far it is.
    if (changes.state) this.#options.store(generation, record, Date.now());
    else this.#options.rows.update({ set: "record = ?", to: [JSON.stringify(record)], ...only(generation) });
  }

  /** The new rows take the name, the old ones are to be erased. */
  #exchange(generation: number): void {
    const { rows, store } = this.#options;
    const row = this.#row(generation)!;
    const record = recordOf(row);
    const job = record.reembedding!;
    const { modelId, vectorDimension, target } = job;
    const nowMs = Date.now();
    const { database_id: id, created_at_ms: createdAtMs } = row;
    rows.update({ set: "state = 'deleting', database_id = ?", to: [`${id}~${generation}`], ...only(generation) });
    rows.update({ set: "database_id = ?, created_at_ms = ?", to: [id, createdAtMs], ...only(target) });
    const reembedding = { ...job, state: "done", message: "", endedAtMs: nowMs } as const;
    const embeddingModels = modelsAfter(record.embeddingModels, modelId);
    // Its copies stand where they were made.
    const { placement } = recordOf(this.#row(target)!);
    store(target, { ...record, placement, vectorDimension, embeddingModels, reembedding }, nowMs);
  }
}

function only(generation: number) {
  return { where: "generation = ?", of: [generation] };
}
