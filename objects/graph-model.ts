// A model in ONNX while it is in memory: opened or given back, and released when nothing runs in it any more.
import type { GraphFiles } from "../src/embedding/graph/files.ts";
import type { OnnxSession } from "../src/embedding/graph/session.ts";
import type { Item } from "../src/embedding/item.ts";
import type { Outcome } from "../src/embedding/queue.ts";
import { badFile, EmbeddingRefusal } from "../src/embedding/refusal.ts";
import type { LoadedModel } from "./embedder-families.ts";
import { openGraph } from "./onnx-runtime.ts";

/** The weights, and the arenas of a run. */
const MEMORY_FACTOR = 2.5;

export interface GraphRunner {
  readonly dimension: number;
  run(items: readonly Item[]): Promise<readonly Outcome[]>;
  release(): Promise<void>;
}

/** @throws EmbeddingRefusal where the graph cannot be read, or `open` does not take it */
export async function opened<T>(graph: GraphFiles, open: (session: OnnxSession) => Promise<T>): Promise<T> {
  const session = await openGraph(graph);
  try {
    return await open(session);
  } catch (error) {
    await session.release();
    if (error instanceof EmbeddingRefusal) throw error;
    throw badFile(`cannot be run (${error instanceof Error ? error.message.slice(0, 200) : String(error)})`);
  }
}

/** Released when it was asked for and nothing runs any more. */
export function heldModel(key: string, { bytes }: GraphFiles, runner: GraphRunner): LoadedModel {
  let running = 0;
  let isWanted = true;
  const releaseWhenIdle = (): void => {
    if (!isWanted && running === 0) void runner.release();
  };
  return {
    key,
    memoryBytes: bytes * MEMORY_FACTOR,
    dimension: runner.dimension,
    async run(items) {
      if (!isWanted && running === 0)
        throw new EmbeddingRefusal("overloaded", "the model was put out of memory for another; try again");
      running++;
      try {
        return await runner.run(items);
      } finally {
        running--;
        releaseWhenIdle();
      }
    },
    release() {
      isWanted = false;
      releaseWhenIdle();
    },
  };
}
