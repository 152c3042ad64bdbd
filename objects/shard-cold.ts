// An archived shard's blobs in the deployment's blob store: moved there by the shard's alarm, brought back before it opens, gone with it.
// Guarantees: one way at a time. Must not: touch a shard that is open.
import { DiskBlobStore } from "../src/storage/disk-blob-store.ts";
import { firstOf } from "../src/storage/drain.ts";
import { R2BlobStore } from "../src/storage/r2-blob-store.ts";
import { SqliteBlobStore } from "../src/storage/sqlite-blob-store.ts";
import type { BlobStore } from "../src/storage/types.ts";
import type { Crc32c } from "../src/vector/segment/directory.ts";
import { ColdBlobs } from "../src/vector/shard/cold-blobs.ts";
import { configSql } from "./config-sql.ts";
import type { Env } from "./env.ts";
import { migrateVectors } from "./vector-facts.ts";

export type ArchiveStore = "none" | "disk" | "r2";

export interface ShardColdOptions {
  readonly env: Pick<Env, "BLOBS" | "BLOB_DISK">;
  readonly archiveStore: ArchiveStore;
  readonly storage: DurableObjectStorage;
  readonly crc32c: Crc32c;
  readonly isArchived: () => boolean;
}

export class ShardCold {
  readonly #options: ShardColdOptions;
  #cooling: Promise<void> | undefined;
  #mustStop = false;

  constructor(options: ShardColdOptions) {
    this.#options = options;
  }

  /** Moves what is there to the blob store, while the shard is archived. @throws what the blob store says: to be tried again */
  async cool(): Promise<void> {
    const { archiveStore, isArchived } = this.#options;
    if (archiveStore === "none" || !isArchived()) return;
    this.#cooling ??= this.#coolAll().finally(() => {
      this.#cooling = undefined;
    });
    await this.#cooling;
  }

  async #coolAll(): Promise<void> {
    const blobs = this.#blobs();
    if (!blobs) return;
    await blobs.sweep();
    while (!this.#mustStop && this.#options.isArchived() && (await blobs.coolNext()));
  }

  /** Everything is here again afterwards. @throws CorruptSegment, or what the blob store says */
  thaw(): Promise<void> {
    return this.#alone((blobs) => blobs.thaw());
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
      ...{ sql, local: new SqliteBlobStore(sql), crc32c },
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
