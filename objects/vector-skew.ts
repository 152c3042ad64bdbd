// The first shard of a database that is sharded by ranges or centroids watches over the sizes of all, and asks the database's owner to place
// rows anew when one holds too many.
// Guarantees: the bound was passed twice in a row, and not right after the last time. Must not: move anything.
import type { Logger } from "../src/telemetry/logger.ts";
import { databaseNamed } from "../src/vector/database/record.ts";
import type { ShardingConfig } from "../src/vector/shard/shard-config.ts";
import { type AskedResplit, isDueAgain, rowCounts, skewOf, sumOf } from "../src/vector/sharding/skew.ts";
import type { VectorAnswer, VectorRequest } from "../src/wire/vector.ts";
import type { TenantDatabasesRpc } from "./database-rpc.ts";
import type { Env } from "./env.ts";
import { withDeadline } from "./with-deadline.ts";

const ASK_TIMEOUT_MS = 10_000;

export interface VectorSkewOptions {
  readonly env: Env;
  readonly log: Logger;
  readonly bound: number;
  readonly ask: (shard: number, request: VectorRequest) => Promise<VectorAnswer>;
  /** What was noted last, durably. */
  readonly last: () => string | undefined;
  readonly setLast: (text: string) => void;
}

export class VectorSkew {
  readonly #options: VectorSkewOptions;
  #isAbove = false;

  constructor(options: VectorSkewOptions) {
    this.#options = options;
  }

  /** True: to be looked at again, though nothing is written. `isLearned`: rows are placed by what was learned of them. Never throws. */
  async look(sharding: ShardingConfig, isLearned: boolean): Promise<boolean> {
    try {
      return await this.#look(sharding, isLearned);
    } catch (error) {
      this.#options.log.warn("sizes of shards could not be compared; tried again", {}, error);
      return true;
    }
  }

  async #look({ base, numShards, learnRows }: ShardingConfig, isLearned: boolean): Promise<boolean> {
    const { ask, bound, last, setLast, log } = this.#options;
    const counts = await rowCounts(ask, numShards);
    const rows = sumOf(counts);
    const skew = skewOf(counts, numShards);
    const isAbove = rows >= learnRows && (skew > bound || !isLearned);
    const isTwice = isAbove && this.#isAbove;
    this.#isAbove = isAbove;
    if (!isTwice) return isAbove;
    const asked = last();
    if (!isDueAgain(asked === undefined ? undefined : (JSON.parse(asked) as AskedResplit), rows, Date.now()))
      return false;
    const answer = await this.#resplit(base);
    setLast(JSON.stringify({ rows, atMs: Date.now() } satisfies AskedResplit));
    log.info("rows are placed anew: a shard holds too many", { base, rows, skew, answer });
    return false;
  }

  /** What came of it: `begun`, or why not. */
  async #resplit(base: string): Promise<string> {
    const { env } = this.#options;
    const name = databaseNamed(base);
    if (!name) return "no name of a database";
    const tenant = env.TENANT.get(env.TENANT.idFromName(`t${name.tenant}`)) as unknown as TenantDatabasesRpc;
    const mutation = { writeId: crypto.getRandomValues(new Uint8Array(16)), bodyHash: "" };
    const begun = await withDeadline(tenant.reshardDatabase(name, "anew", mutation), ASK_TIMEOUT_MS, "Tenant");
    return begun.ok ? "begun" : begun.message;
  }
}
