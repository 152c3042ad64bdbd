// How the files of a model become something that runs, by family. Word vectors are always there; what runs graphs where src/embedder.ts brings it.
// Guarantees: a family that this build does not run is refused with what to do.
import type { Item } from "../src/embedding/item.ts";
import type { ModelDefinition, ModelFamily } from "../src/embedding/model.ts";
import type { Outcome, Runnable } from "../src/embedding/queue.ts";
import { EmbeddingRefusal, invalid } from "../src/embedding/refusal.ts";
import { WordEncoder } from "../src/embedding/word-encoder.ts";
import { readWordFile } from "../src/embedding/words/word-file.ts";

export interface LoadedModel extends Runnable {
  readonly dimension: number;
  readonly memoryBytes: number;
  /** Gives memory back that a garbage collector does not know of; what runs ends first. */
  release?(): void;
}

export interface ModelInput {
  readonly key: string;
  readonly definition: ModelDefinition;
  /** By name. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

export type Loader = (input: ModelInput) => Promise<LoadedModel>;

const loaders = new Map<ModelFamily, Loader>();

/** At module load, by an entry. */
export function bringFamily(family: ModelFamily, loader: Loader): void {
  loaders.set(family, loader);
}

/** @throws EmbeddingRefusal where the files are none of the family */
export async function loadModel(input: ModelInput): Promise<LoadedModel> {
  const { family } = input.definition;
  const loader = loaders.get(family);
  if (loader) return loader(input);
  throw new EmbeddingRefusal(
    "conflict",
    `this embedder was built without the family ${family}; deploy src/embedder.ts`,
  );
}

bringFamily("words", async ({ key, definition: { parameters }, files }) => {
  const { pooling, ...others } = parameters;
  const [bytes] = [...files.values()];
  const encoder = new WordEncoder(readWordFile(bytes!), { ...others, pooling: pooling === "mean" ? "mean" : "idf" });
  const run = (items: readonly Item[]): readonly Outcome[] => items.map((item) => outcomeOf(encoder, item));
  return { key, run, dimension: encoder.dimension, memoryBytes: encoder.memoryBytes };
});

function outcomeOf(encoder: WordEncoder, text: Item): Outcome {
  if (typeof text !== "string") return invalid("", "is no text");
  try {
    return encoder.embed(text, "");
  } catch (error) {
    if (error instanceof EmbeddingRefusal) return error;
    throw error;
  }
}
