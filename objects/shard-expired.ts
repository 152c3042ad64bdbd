// The rows that a shard's retention archived: kept, told, read and deleted. They are there whether the shard's database is archived or not.
// Must not: know which rows expire (vector/shard/retention.ts).
import { SqliteBlobStore } from "../src/storage/sqlite-blob-store.ts";
import { CorruptSegment, type Crc32c } from "../src/vector/segment/directory.ts";
import type { VectorRow } from "../src/vector/segment/row.ts";
import { ExpiredRows } from "../src/vector/shard/expired-rows.ts";
import { configSql } from "./config-sql.ts";
import type { ShardCold } from "./shard-cold.ts";
import { migrateVectors } from "./vector-facts.ts";
import type { ExpiredState, ShardExpiredPage } from "./vector-rpc.ts";

export interface ShardExpiredOptions {
  readonly storage: DurableObjectStorage;
  readonly crc32c: Crc32c;
  readonly name: string;
  readonly cold: ShardCold;
  /** There is a shard. */
  readonly isThere: () => boolean;
}

export class ShardExpired {
  readonly #options: ShardExpiredOptions;

  constructor(options: ShardExpiredOptions) {
    this.#options = options;
  }

  #rows(): ExpiredRows {
    const { storage, crc32c, name } = this.#options;
    migrateVectors(storage);
    const sql = configSql(storage);
    const random = (count: number): Uint8Array => crypto.getRandomValues(new Uint8Array(count));
    return new ExpiredRows({ sql, local: new SqliteBlobStore(sql), crc32c, prefix: name, random });
  }

  /** In the turn in which they leave the shard. */
  keep(rows: Iterable<VectorRow>): void {
    this.#rows().keep(rows);
  }

  info(through?: number): ExpiredState | null {
    return this.#options.isThere() ? this.#rows().info(through) : null;
  }

  async page(after: number): Promise<ShardExpiredPage | null> {
    if (!this.#options.isThere()) return null;
    try {
      const page = await this.#rows().page(after, (name) => this.#options.cold.read(name));
      return page && { kind: "page", ...page };
    } catch (error) {
      if (error instanceof CorruptSegment) return { kind: "damaged", message: error.message };
      throw error;
    }
  }

  /** What of it is in the blob store goes behind the answer. */
  drop(through: number): void {
    if (this.#options.isThere()) this.#rows().drop(through, (name) => this.#options.cold.giveUp(name));
  }
}
