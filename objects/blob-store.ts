// Chooses where a node's tables are kept, by its settings.
import type { Settings } from "../src/cluster/settings.ts";
import { DiskBlobStore } from "../src/storage/disk-blob-store.ts";
import { R2BlobStore } from "../src/storage/r2-blob-store.ts";
import type { BlobStore, SyncBlobStore } from "../src/storage/types.ts";
import type { Env } from "./env.ts";

export function blobStoreOf(env: Env, settings: Settings, sqlite: () => SyncBlobStore): BlobStore | SyncBlobStore {
  switch (settings.storage.blobStore) {
    case "sqlite":
      return sqlite();
    case "r2":
      if (!env.BLOBS) throw new Error('storage.blobStore is "r2" but there is no R2 bucket bound as BLOBS');
      return new R2BlobStore(env.BLOBS);
    case "disk":
      if (!env.BLOB_DISK)
        throw new Error('storage.blobStore is "disk" but there is no disk service bound as BLOB_DISK');
      return new DiskBlobStore(env.BLOB_DISK);
    default:
      throw new Error(`unknown blob store ${settings.storage.blobStore satisfies never}`);
  }
}
