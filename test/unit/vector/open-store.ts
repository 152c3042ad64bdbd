// A shard's store on node:sqlite for unit tests: what the object is in workerd, with a clock by hand.
import { VECTOR_MIGRATIONS } from "../../../migrations/vector.ts";
import { referenceKernels } from "../../../src/storage/kernels.reference.ts";
import { SqliteBlobStore } from "../../../src/storage/sqlite-blob-store.ts";
import { Arena } from "../../../src/vector/arena.ts";
import { VectorStore } from "../../../src/vector/shard/vector-store.ts";
import { NodeSql } from "../storage/node-sql.ts";

export interface OpenStore {
  readonly sql: NodeSql;
  readonly clock: { ms: number };
  store: VectorStore;
  arena: Arena;
  /** The turn's commit. */
  endTurn(): void;
  /** Starts anew from what was committed; what was not is lost. */
  crash(): void;
}

export const DIMENSION = 5;

export function openStore(budgetBytes = 64 * 1024 * 1024): OpenStore {
  const sql = new NodeSql();
  for (const statements of VECTOR_MIGRATIONS) sql.database.exec(statements);
  const clock = { ms: 1_000_000 };
  let drawn = 0;
  const arenaOf = (): Arena => new Arena({ memory: new WebAssembly.Memory({ initial: 1 }), base: 64, budgetBytes });
  const open = (arena: Arena): VectorStore =>
    new VectorStore({
      sql,
      blobs: new SqliteBlobStore(sql),
      kernels: referenceKernels,
      arena,
      dimension: DIMENSION,
      name: "v1/default/db~1/0",
      random: (count) => new Uint8Array(count).fill(++drawn % 256),
      now: () => clock.ms,
    });
  const arena = arenaOf();
  const opened: OpenStore = {
    sql,
    clock,
    arena,
    store: open(arena),
    endTurn() {
      opened.store.endTurn();
      sql.endTurn();
    },
    crash() {
      sql.crash();
      opened.arena = arenaOf();
      opened.store = open(opened.arena);
      sql.endTurn();
    },
  };
  sql.endTurn();
  return opened;
}

export function valuesOf(...numbers: readonly number[]): Uint8Array {
  return new Uint8Array(Float32Array.from({ length: DIMENSION }, (_, at) => numbers[at % numbers.length]!).buffer);
}
