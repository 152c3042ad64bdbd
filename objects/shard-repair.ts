// What is damaged of a shard, put right from its followers.
// Guarantees: what followers give is taken only when it fits the checksum of what was written; each find and each repair is counted.
// Must not: change anything that is whole.
import { SqliteBlobStore } from "../src/storage/sqlite-blob-store.ts";
import { CorruptLog } from "../src/storage/types.ts";
import type { Logger } from "../src/telemetry/logger.ts";
import { askFor, repairBlock } from "../src/vector/replica/blob-checks.ts";
import { readBlobs } from "../src/vector/replica/frames.ts";
import { fillGap, firstGap } from "../src/vector/replica/log-repair.ts";
import { CorruptSegment, type Crc32c, type DamagedBlock } from "../src/vector/segment/directory.ts";
import { configSql } from "./config-sql.ts";
import type { VectorFollowerRpc } from "./vector-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

const CALL_DEADLINE_MS = 5000;

export interface ShardRepairOptions {
  readonly storage: DurableObjectStorage;
  readonly crc32c: Crc32c;
  readonly log: Logger;
  readonly follower: (zone: string) => VectorFollowerRpc;
  readonly zones: () => readonly string[];
}

export class ShardRepair {
  readonly #options: ShardRepairOptions;
  damagedTotal = 0;
  repairedTotal = 0;

  constructor(options: ShardRepairOptions) {
    this.#options = options;
  }

  /** What an open shard met, or one that could not be opened. True = it is right again. */
  async heal(error: unknown): Promise<boolean> {
    if (error instanceof CorruptSegment && error.block) return this.block(error.block);
    return error instanceof CorruptLog ? this.#logRow() : false;
  }

  async block(damaged: DamagedBlock): Promise<boolean> {
    const { storage, crc32c } = this.#options;
    const isHealed = await this.#fromFollowers(async (follower) => {
      const given = await withDeadline(follower.blobs([askFor(damaged)]), CALL_DEADLINE_MS, "VectorFollower");
      const [blob] = readBlobs(given);
      const blobs = new SqliteBlobStore(configSql(storage));
      return blob !== undefined && repairBlock({ blobs, crc32c }, damaged, blob);
    });
    this.#told(isHealed, { blob: damaged.blob, block: damaged.number });
    return isHealed;
  }

  async #logRow(): Promise<boolean> {
    const { storage, crc32c } = this.#options;
    const sql = configSql(storage);
    const gap = firstGap(sql, crc32c);
    const isHealed =
      gap !== undefined &&
      (await this.#fromFollowers(async (follower) => {
        const commits = await withDeadline(follower.commits(gap.after, gap.bytes), CALL_DEADLINE_MS, "VectorFollower");
        return commits !== null && fillGap(sql, crc32c, { gap, commits });
      }));
    this.#told(isHealed, { logRow: gap?.group.seq });
    return isHealed;
  }

  async #fromFollowers(take: (follower: VectorFollowerRpc) => Promise<boolean>): Promise<boolean> {
    for (const zone of this.#options.zones()) {
      try {
        if (await take(this.#options.follower(zone))) return true;
      } catch {
        // Away, or damaged too: another one may have it.
      }
    }
    return false;
  }

  #told(isHealed: boolean, what: Readonly<Record<string, string | number | undefined>>): void {
    this.damagedTotal++;
    if (isHealed) this.repairedTotal++;
    this.#options.log.error("a vector shard is damaged", { ...what, isHealed });
  }
}
