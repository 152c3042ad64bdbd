// What all embedders of an isolate share: models in memory, those that come with the server, counters.
// Guarantees: models in memory are bounded in bytes, those used last stay. Must not: hold promises of one object's I/O.
import glove from "../models/glove-twitter-25d.jwv";
import type { ModelDefinition } from "../src/embedding/model.ts";
import type { LoadedModel } from "./embedder-families.ts";

/** Models that every tenant has. */
export const SHIPPED: ReadonlyMap<string, { readonly definition: ModelDefinition; readonly bytes: () => Uint8Array }> =
  new Map([
    [
      "glove-twitter-25d",
      {
        bytes: () => new Uint8Array(glove),
        definition: {
          modelId: "glove-twitter-25d",
          name: "GloVe",
          version: "twitter-27B-25d-12k",
          provider: "jade-db",
          family: "words",
          inputType: "text",
          outputDimension: 25,
          parameters: { pooling: "idf", normalize: true, inflections: "english" },
          description: "Everyday English words; small, and with one vector for all senses of a word.",
          licence: "PDDL-1.0",
          source: "https://nlp.stanford.edu/projects/glove/",
          files: [
            {
              name: "glove-twitter-25d.jwv",
              bytes: 735_030,
              sha256: "5f27007114dbb4d02375ab0edae467cab1ab308d7c094786fa0835b6fe47fc97",
            },
          ],
        },
      },
    ],
  ]);

export class LoadedModels {
  readonly #held = new Map<string, LoadedModel>();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#held.size;
  }

  get(key: string): LoadedModel | undefined {
    const found = this.#held.get(key);
    if (!found) return undefined;
    this.#held.delete(key);
    this.#held.set(key, found);
    return found;
  }

  /** The newest stays, however large. */
  add(model: LoadedModel, limitBytes: number): void {
    this.drop(model.key);
    this.#held.set(model.key, model);
    this.#bytes += model.memoryBytes;
    for (const key of this.#held.keys()) {
      if (this.#bytes <= limitBytes || key === model.key) break;
      this.drop(key);
    }
  }

  drop(key: string): void {
    this.#held.get(key)?.release?.();
    this.forget(key);
  }

  /** Without a word to what runs it. */
  forget(key: string): void {
    this.#bytes -= this.#held.get(key)?.memoryBytes ?? 0;
    this.#held.delete(key);
  }
}

export const loadedModels = new LoadedModels();

export type EmbedderCounts = Record<
  "calls" | "texts" | "cached" | "batches" | "full" | "late" | "refused" | "loads",
  number
>;
export const embedderCounts: EmbedderCounts = {
  calls: 0,
  texts: 0,
  cached: 0,
  batches: 0,
  full: 0,
  late: 0,
  refused: 0,
  loads: 0,
};
/** Texts that wait, of all embedders. */
export const waitingTexts = new Map<string, number>();

/** Of the isolate that runs the models. */
export function runnerMetrics(): Record<string, number> {
  return { jade_embedding_models_loaded: loadedModels.size, jade_embedding_model_bytes: loadedModels.bytes };
}

export function embedderMetrics(): Record<string, number> {
  const { calls, texts, cached, batches, full, late, refused, loads } = embedderCounts;
  return {
    jade_embedding_calls_total: calls,
    jade_embedding_texts_total: texts,
    jade_embedding_cache_hits_total: cached,
    jade_embedding_batches_total: batches,
    'jade_embedding_refused_total{reason="full"}': full,
    'jade_embedding_refused_total{reason="late"}': late,
    'jade_embedding_refused_total{reason="text"}': refused,
    jade_embedding_loads_total: loads,
    ...runnerMetrics(),
    jade_embedding_waiting_texts: [...waitingTexts.values()].reduce((sum, count) => sum + count, 0),
  };
}
