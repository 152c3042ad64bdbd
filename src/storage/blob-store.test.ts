import { describe } from "vitest";
import { blobStoreContract } from "../../test/unit/storage/blob-store.contract.ts";
import { FailingBlobStore } from "../../test/unit/storage/failing-blob-store.ts";
import { NodeSql } from "../../test/unit/storage/node-sql.ts";
import { DiskBlobStore } from "./disk-blob-store.ts";
import { MemoryBlobStore } from "./memory-blob-store.ts";
import { R2BlobStore } from "./r2-blob-store.ts";
import { SqliteBlobStore } from "./sqlite-blob-store.ts";

describe("[ST-30][ST-31][ST-32][ST-33] every blob store passes the contract", () => {
  blobStoreContract("memory", () => new MemoryBlobStore());
  blobStoreContract("asynchronous over memory", () => new FailingBlobStore(new MemoryBlobStore()));

  blobStoreContract("SQLite", () => {
    return new SqliteBlobStore(new NodeSql());
  });

  // Stand-ins for the two remote stores: the real ones run the same suite in test/objects and test/e2e.
  blobStoreContract("R2 (stand-in bucket)", () => {
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    return new R2BlobStore({
      put: async (key, value) => files.set(key, value.slice() as Uint8Array<ArrayBuffer>),
      get: async (key, { range: { offset, length } }) => {
        const file = files.get(key);
        if (file === undefined) return null;
        if (offset >= file.length) throw new Error("get: The requested range is not satisfiable (10039)");
        const part = file.slice(offset, offset + length);
        return { size: file.length, arrayBuffer: async () => part.buffer };
      },
      head: async (key) => {
        const file = files.get(key);
        return file === undefined ? null : { size: file.length };
      },
      delete: async (key) => void files.delete(key),
    });
  });

  blobStoreContract("disk (stand-in service)", () => {
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    return new DiskBlobStore({
      fetch: async (url, init = {}) => {
        const file = files.get(url);
        if (init.method === "PUT") {
          files.set(url, init.body!.slice() as Uint8Array<ArrayBuffer>);
          return new Response(null, { status: 204 });
        }
        if (file === undefined) return new Response("missing", { status: 404 });
        if (init.method === "DELETE") {
          files.delete(url);
          return new Response(null, { status: 204 });
        }
        if (init.method === "HEAD") return new Response(null, { headers: { "content-length": String(file.length) } });
        const [, from, to] = /bytes=(\d+)-(\d+)/.exec(init.headers?.range ?? "")!;
        if (Number(from) >= file.length) return new Response(null, { status: 416 });
        return new Response(file.slice(Number(from), Number(to) + 1), { status: 206 });
      },
    });
  });
});
