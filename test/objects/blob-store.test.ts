// The blob store contract on the platform's own stores: R2 (miniflare's) and the SQLite of a real object.

import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { R2BlobStore } from "../../src/storage/r2-blob-store.ts";
import { SqliteBlobStore } from "../../src/storage/sqlite-blob-store.ts";
import type { BlobStore } from "../../src/storage/types.ts";
import { blobStoreContract } from "../unit/storage/blob-store.contract.ts";

blobStoreContract("R2", () => {
  if (!env.BLOBS) throw new Error("wrangler.toml binds no bucket BLOBS");
  return new R2BlobStore(env.BLOBS);
});

/** Runs each call inside a storage node's object, on that object's own database. */
function insideReplica(): BlobStore {
  const namespace = env.KEY_VALUE_REPLICA as unknown as DurableObjectNamespace;
  const stub = namespace.get(namespace.idFromName("n1"));
  const run = <T>(use: (store: BlobStore) => Promise<T>): Promise<T> =>
    runInDurableObject(stub, (_instance, state) => {
      const { sql } = state.storage;
      return use(
        new SqliteBlobStore({
          exec: <Row>(query: string, ...bindings: unknown[]) =>
            sql.exec(query, ...bindings) as unknown as Iterable<Row>,
        }),
      );
    });
  return {
    put: (name, bytes) => run((store) => store.put(name, bytes)),
    get: (name, offset, lengthBytes) => run((store) => store.get(name, offset, lengthBytes)),
    size: (name) => run((store) => store.size(name)),
    delete: (name) => run((store) => store.delete(name)),
  };
}

blobStoreContract("SQLite of an object", insideReplica);
