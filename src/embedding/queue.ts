// Texts (and images, and tensors: items) that wait for their model: those of many requests run together, in batches, one batch a turn.
// Guarantees: bounded in texts and bytes, refusing beyond; requests are served in the order in which they came, and each text once; what
// has waited past its deadline is not run. One text that is refused stops no other. Must not: know what a model is, nor do I/O.
import { bytesOfItem, type Item } from "./item.ts";
import { EmbeddingRefusal } from "./refusal.ts";
import type { TextCache } from "./text-cache.ts";
import type { Embedding } from "./word-encoder.ts";

export type Outcome = Embedding | EmbeddingRefusal;

/** A model that is loaded. */
export interface Runnable {
  /** Tells its numbers from any other's, for ever. */
  readonly key: string;
  /** An outcome for each text, in order. */
  run(texts: readonly Item[]): readonly Outcome[] | Promise<readonly Outcome[]>;
}

export interface QueueLimits {
  readonly maxTexts: number;
  readonly maxBytes: number;
  readonly batchTexts: number;
}

export interface QueueCounts {
  texts: number;
  batches: number;
  /** Texts found in the cache. */
  cached: number;
  /** Requests refused because the queue was full. */
  full: number;
  /** Requests refused at their deadline. */
  late: number;
}

export interface QueueOptions {
  /** Where it counts; default: its own. */
  readonly counts?: QueueCounts;
  readonly limits: QueueLimits;
  readonly cache: TextCache;
  readonly now: () => number;
  /** Runs `work` in a later turn. */
  readonly later: (work: () => void) => void;
}

interface Job {
  readonly model: Runnable;
  readonly texts: readonly Item[];
  readonly outcomes: Outcome[];
  readonly dueMs: number;
  readonly done: (outcomes: readonly Outcome[]) => void;
  readonly fail: (error: unknown) => void;
  /** Texts that were not in the cache. */
  readonly asked: number;
  /** Texts that have not been given to a batch, by place. */
  todo: number[];
  /** Texts without an outcome. */
  open: number;
}

interface Place {
  readonly job: Job;
  readonly at: number;
}

export class EmbedQueue {
  readonly #options: QueueOptions;
  #jobs: Job[] = [];
  #isRunning = false;
  #texts = 0;
  #bytes = 0;
  readonly counts: QueueCounts;

  constructor(options: QueueOptions) {
    this.#options = options;
    this.counts = options.counts ?? { texts: 0, batches: 0, cached: 0, full: 0, late: 0 };
  }

  /** Texts that wait or run. */
  get waiting(): number {
    return this.#texts;
  }

  /** @throws EmbeddingRefusal `overloaded`: nothing was run */
  embed(model: Runnable, texts: readonly Item[], dueMs: number): Promise<readonly Outcome[]> {
    const { cache, limits, later } = this.#options;
    const outcomes: Outcome[] = [];
    const todo: number[] = [];
    for (const [at, text] of texts.entries()) {
      const held = typeof text === "string" ? cache.get(model.key, text) : undefined;
      if (held) outcomes[at] = held;
      else todo.push(at);
    }
    this.counts.texts += texts.length;
    this.counts.cached += texts.length - todo.length;
    if (todo.length === 0) return Promise.resolve(outcomes);
    const bytes = bytesOf(texts);
    if (this.#texts + todo.length > limits.maxTexts || this.#bytes + bytes > limits.maxBytes) {
      this.counts.full++;
      const message = `${this.#texts} texts wait for the embedder, whose limit is ${limits.maxTexts}; nothing was done`;
      return Promise.reject(
        new EmbeddingRefusal("overloaded", message, { waiting: this.#texts, limit: limits.maxTexts }),
      );
    }
    this.#texts += todo.length;
    this.#bytes += bytes;
    const { promise, resolve, reject } = Promise.withResolvers<readonly Outcome[]>();
    this.#jobs.push({
      model,
      texts,
      outcomes,
      dueMs,
      done: resolve,
      fail: reject,
      todo,
      asked: todo.length,
      open: todo.length,
    });
    if (!this.#isRunning) {
      this.#isRunning = true;
      later(() => void this.#turn());
    }
    return promise;
  }

  async #turn(): Promise<void> {
    this.#dropLate();
    const batch = this.#nextBatch();
    if (batch.length > 0) await this.#run(batch);
    if (this.#jobs.length === 0) this.#isRunning = false;
    else this.#options.later(() => void this.#turn());
  }

  #dropLate(): void {
    const now = this.#options.now();
    for (const job of this.#jobs.filter(({ dueMs }) => dueMs <= now)) {
      this.counts.late++;
      this.#end(job);
      job.fail(
        new EmbeddingRefusal("overloaded", "the texts waited for the embedder until their deadline; nothing was done"),
      );
    }
  }

  /** The oldest request's model, and whoever waits for the same. */
  #nextBatch(): readonly Place[] {
    const key = this.#jobs[0]?.model.key;
    const places: Place[] = [];
    for (const job of this.#jobs) {
      if (job.model.key !== key) continue;
      const taken = job.todo.splice(0, this.#options.limits.batchTexts - places.length);
      for (const at of taken) places.push({ job, at });
      if (places.length === this.#options.limits.batchTexts) break;
    }
    return places;
  }

  async #run(batch: readonly Place[]): Promise<void> {
    const { model } = batch[0]!.job;
    this.counts.batches++;
    const texts = batch.map(({ job, at }) => job.texts[at]!);
    try {
      const outcomes = await model.run(texts);
      for (const [n, { job, at }] of batch.entries()) this.#settle(job, at, outcomes[n]!);
    } catch (error) {
      for (const job of new Set(batch.map(({ job }) => job))) {
        this.#end(job);
        job.fail(error);
      }
    }
  }

  #settle(job: Job, at: number, outcome: Outcome): void {
    const text = job.texts[at]!;
    // An image hardly comes twice.
    if (typeof text === "string" && !(outcome instanceof EmbeddingRefusal))
      this.#options.cache.set(job.model.key, text, outcome);
    job.outcomes[at] = outcome;
    job.open--;
    if (job.open > 0) return;
    this.#end(job);
    job.done(job.outcomes);
  }

  #end(job: Job): void {
    if (!this.#jobs.includes(job)) return;
    this.#jobs = this.#jobs.filter((other) => other !== job);
    this.#texts -= job.asked;
    this.#bytes -= bytesOf(job.texts);
  }
}

function bytesOf(texts: readonly Item[]): number {
  return texts.reduce((sum, text) => sum + bytesOfItem(text), 0);
}
