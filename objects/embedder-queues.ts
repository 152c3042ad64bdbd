// The queues of one embedder: of models that run here, and of those that somebody else runs, for whom nobody else waits.
import {
  MAX_BATCH_TEXTS,
  MAX_CACHED_CHARACTERS,
  MAX_WAITING_BYTES,
  TEXT_CACHE_BYTES,
} from "../src/embedding/limits.ts";
import type { ModelFamily } from "../src/embedding/model.ts";
import { EmbedQueue } from "../src/embedding/queue.ts";
import { TextCache } from "../src/embedding/text-cache.ts";
import { embedderCounts } from "./embedder-isolate.ts";

export class EmbedderQueues {
  readonly #own: EmbedQueue;
  readonly #remote: EmbedQueue;

  constructor(maxTexts: number) {
    const options = {
      limits: { maxTexts, maxBytes: MAX_WAITING_BYTES, batchTexts: MAX_BATCH_TEXTS },
      cache: new TextCache({ limitBytes: TEXT_CACHE_BYTES, maxCharacters: MAX_CACHED_CHARACTERS }),
      now: Date.now,
      later: (work: () => void) => setTimeout(work, 0),
      counts: embedderCounts,
    };
    this.#own = new EmbedQueue(options);
    this.#remote = new EmbedQueue(options);
  }

  of(family: ModelFamily): EmbedQueue {
    return family === "remote" ? this.#remote : this.#own;
  }

  /** Texts that wait or run. */
  get waiting(): number {
    return this.#own.waiting + this.#remote.waiting;
  }
}
