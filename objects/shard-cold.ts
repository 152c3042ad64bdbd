// A shard's blobs in the deployment's blob store: of an archived one all, moved there by the shard's alarm, brought back before it opens, gone with
// it. Blobs of rows that retention archived go there from any shard, and stay; values of an open one as shard-tier.ts says.
// Guarantees: one way at a time. Must not: choose what an open shard reads there.
import { DiskBlobStore } from "../src/storage/disk-blob-store.ts";
import { firstOf } from "../src/storage/drain.ts";
import { R2BlobStore } from "../src/storage/r2-blob-store.ts";
import type { SqliteBlobStore } from "../src/storage/sqlite-blob-store.ts";
import type { BlobStore } from "../src/storage/types.ts";
import type { Crc32c } from "../src/vector/segment/directory.ts";
import { ColdBlobs, DamagedArchive } from "../src/vector/shard/cold-blobs.ts";
import type { TieredBlobs } from "../src/vector/shard/tiered-blobs.ts";
import { configSql } from "./config-sql.ts";
import type { Env } from "./env.ts";
import { migrateVectors } from "./vector-facts.ts";
import type { ArchiveDamage } from "./vector-rpc.ts";

export type ArchiveStore = "none" | "disk" | "r2";

export interface ShardColdOptions {
  readonly env: Pick<Env, "BLOBS" | "BLOB_DISK">;
  readonly archiveStore: ArchiveStore;
  readonly storage: DurableObjectStorage;
  readonly crc32c: Crc32c;
  readonly local: SqliteBlobStore;
  /** Of the open shard. */
  readonly tiered: () => TieredBlobs | undefined;
  readonly isArchived: () => boolean;
}

export class ShardCold {
  readonly #options: ShardColdOptions;
  #cooling: Promise<void> | undefined;
  #mustStop = false;
  /** The last move of an open shard's blob. */
  #moves: Promise<unknown> = Promise.resolve();

  constructor(options: ShardColdOptions) {
    this.#options = options;
  }

  /** Moves what is there to the blob store: of an archived shard all. @throws what the blob store says: to be tried again */
  async cool(): Promise<void> {
    if (this.#options.archiveStore === "none") return;
    this.#cooling ??= this.#coolAll().finally(() => {
      this.#cooling = undefined;
    });
    await this.#cooling;
  }

  async #coolAll(): Promise<void> {
    const { isArchived } = this.#options;
    for (let which = this.#due(); which && !this.#mustStop; which = this.#due(which)) {
      const blobs = this.#blobs();
      if (!blobs || !(which === "all" || blobs.isAny || blobs.hasExpired)) return;
      await blobs.sweep();
      while (!this.#mustStop && isArchived() === (which === "all") && (await blobs.coolNext(which)));
    }
  }

  /** Archived meanwhile, there is more to do; else once is enough. */
  #due(done?: "all" | "expired"): "all" | "expired" | undefined {
    const due = this.#options.isArchived() ? "all" : "expired";
    return due === done || done === "all" ? undefined : due;
  }

  /** The bytes of a blob that is there. @throws CorruptSegment, or what the blob store says */
  async read(name: string): Promise<Uint8Array | undefined> {
    return await this.#blobs()?.read(name);
  }

  /** What is there of a blob is needed no more; deleted when the shard next looks. In a transaction. */
  giveUp(name: string): void {
    this.#blobs()?.giveUp(name);
  }

  /** Moves something of an open shard, in line with other moves. @throws what the blob store says */
  move<T>(work: (blobs: ColdBlobs) => Promise<T>): Promise<T> {
    const moved = this.#moves.then(() => {
      const blobs = this.#mustStop ? undefined : this.#blobs();
      if (!blobs) throw new Error("the shard is closed");
      return work(blobs);
    });
    // Its own caller hears of a failure.
    this.#moves = moved.catch(() => undefined);
    return moved;
  }

  /** A range of a blob that an open shard reads there; undefined = it is not there. @throws what the blob store says */
  async range(name: string, from: number, to: number): Promise<Uint8Array | undefined> {
    return await this.#blobs()?.range(name, from, to);
  }

  /** Something there is needed no more. Of an open shard. */
  get hasDead(): boolean {
    const { sql } = this.#options.storage;
    return sql.exec("SELECT cold FROM vector_cold_dead LIMIT 1").toArray().length > 0;
  }

  /** Everything is here again afterwards, but for what is damaged. @throws what the blob store says */
  async thaw(): Promise<ArchiveDamage | undefined> {
    try {
      await this.#alone((blobs) => blobs.thaw());
      return undefined;
    } catch (error) {
      if (error instanceof DamagedArchive) return { damaged: error.message };
      throw error;
    }
  }

  /** Nothing of the shard is in the blob store afterwards. */
  erase(): Promise<void> {
    return this.#alone((blobs) => blobs.erase());
  }

  async #alone(work: (blobs: ColdBlobs) => Promise<void>): Promise<void> {
    this.#mustStop = true;
    try {
      // Its own caller hears of a failure.
      await this.#cooling?.catch(() => undefined);
      await this.#moves;
      const blobs = this.#blobs();
      if (blobs?.isAny) await work(blobs);
    } finally {
      this.#mustStop = false;
    }
  }

  /** Undefined = the shard has no tables. */
  #blobs(): ColdBlobs | undefined {
    const { storage, crc32c } = this.#options;
    const tables = storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'vector_facts'").toArray();
    if (tables.length === 0) return undefined;
    migrateVectors(storage);
    const sql = configSql(storage);
    return new ColdBlobs({
      ...{ sql, local: this.#options.local, crc32c },
      onMoved: (name, isAway) => {
        const tiered = this.#options.tiered();
        if (isAway) tiered?.left(name);
        else tiered?.returned(name);
      },
      cold: this.#store(firstOf(sql.exec("SELECT cold FROM vector_cold LIMIT 1")) !== undefined),
      random: (count) => crypto.getRandomValues(new Uint8Array(count)),
      durable: () => storage.sync(),
    });
  }

  #store(isNeeded: boolean): BlobStore {
    const { archiveStore, env } = this.#options;
    if (archiveStore === "r2" && env.BLOBS) return new R2BlobStore(env.BLOBS);
    if (archiveStore === "disk" && env.BLOB_DISK) return new DiskBlobStore(env.BLOB_DISK);
    const message = `vectors.archiveStore is "${archiveStore}", and no such blob store is bound`;
    if (isNeeded) throw new Error(`${message}; blobs of this shard are in one`);
    const refuse = (): never => {
      throw new Error(message);
    };
    return { put: refuse, get: refuse, size: refuse, delete: refuse };
  }
}
