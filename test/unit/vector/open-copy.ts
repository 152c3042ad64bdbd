// A copy of a shard on node:sqlite, and its leader's side, as the objects have them in workerd.
import { readFileSync } from "node:fs";
import { VECTOR_MIGRATIONS } from "../../../migrations/vector.ts";
import { createKernels } from "../../../src/storage/kernels.ts";
import { SqliteBlobStore } from "../../../src/storage/sqlite-blob-store.ts";
import { createVectorCore } from "../../../src/vector/kernels.ts";
import { VectorCopy } from "../../../src/vector/replica/copy.ts";
import { CopyLeader } from "../../../src/vector/replica/leader.ts";
import type { IndexSpec } from "../../../src/vector/shard/index-kinds.ts";
import { ShardDesk } from "../../../src/vector/shard/shard-desk.ts";
import type { ShardIndexes } from "../../../src/vector/shard/shard-indexes.ts";
import { NodeSql } from "../storage/node-sql.ts";
import { DIMENSION, type OpenStore } from "./open-store.ts";

const kernels = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
const vectorModule = new WebAssembly.Module(readFileSync("dist/wasm/vector.wasm"));
export const crc32c = (bytes: Uint8Array, seed?: number): number => kernels.crc32c(bytes, seed);

let starts = 0;

export function leaderOf({ sql, store }: Pick<OpenStore, "sql" | "store">): CopyLeader {
  return new CopyLeader({ store, blobs: new SqliteBlobStore(sql), crc32c, start: ++starts });
}

export interface OpenCopy {
  readonly sql: NodeSql;
  copy: VectorCopy;
  readonly usedBytes: () => number;
  crash(): void;
}

export interface OpenCopyOptions {
  readonly budgetBytes?: number;
  readonly indexes?: readonly IndexSpec[];
}

export function openCopy({ budgetBytes = 64 * 1024 * 1024, indexes: specs = [] }: OpenCopyOptions = {}): OpenCopy {
  const sql = new NodeSql();
  for (const statements of VECTOR_MIGRATIONS) sql.database.exec(statements);
  let used = (): number => 0;
  const open = (): VectorCopy => {
    const core = createVectorCore(vectorModule, { budgetBytes });
    used = () => core.arena.usedBytes;
    const blobs = new SqliteBlobStore(sql);
    const desk = (indexes: ShardIndexes | undefined): ShardDesk =>
      new ShardDesk({
        ...{ sql, blobs, crc32c, core, indexes, isCopy: true, name: "copy", now: () => 0, onMissing: () => undefined },
        config: { dimension: DIMENSION, metric: "euclidean", durability: "sync", indexes: specs },
        random: (count) => new Uint8Array(count),
      });
    return new VectorCopy({ sql, blobs, crc32c, open: desk });
  };
  const opened: OpenCopy = {
    sql,
    copy: open(),
    usedBytes: () => used(),
    crash() {
      sql.crash();
      opened.copy = open();
      sql.endTurn();
    },
  };
  sql.endTurn();
  return opened;
}
