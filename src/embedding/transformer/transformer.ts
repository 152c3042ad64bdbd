// Texts to vectors by a transformer in ONNX: tokens, windows, batches, pooling, length 1.
// Guarantees: a text's vector does not depend on the texts beside it, as far as the graph's own arithmetic goes (int8 with dynamic scales is off by
// some 1e-4); what a graph gives is judged before it is used. Must not: do I/O or know a runtime.
import type { Feed, Numbers, OnnxSession, Tokenizer } from "../graph/session.ts";
import type { Item } from "../item.ts";
import { DEFAULT_MAX_TOKENS, DEFAULT_WINDOW_TOKENS, MAX_OUTPUT_DIMENSION, WINDOW_BATCH_TOKENS } from "../limits.ts";
import type { Outcome } from "../queue.ts";
import { badFile, EmbeddingRefusal, invalid } from "../refusal.ts";
import { requireText } from "../word-encoder.ts";
import { type Frame, frameOf, type Window, windowsOf } from "./windows.ts";

export interface TransformerOptions {
  /** Of the tokens' vectors: their mean (default), or that of the first. */
  readonly pooling?: "mean" | "cls" | undefined;
  readonly normalize?: boolean | undefined;
  readonly maxTokens?: number | undefined;
  /** Tokens that the model sees at once. */
  readonly windowTokens?: number | undefined;
}

const IDS = "input_ids";
const MASK = "attention_mask";
const TYPES = "token_type_ids";
/** Graphs that pool by themselves say so by this name. */
const POOLED = "sentence_embedding";
const KNOWN_INPUTS = new Set([IDS, MASK, TYPES]);

interface Cut {
  readonly windows: readonly Window[];
  readonly tokens: number;
  readonly unknownTokens: number;
}

export class Transformer {
  readonly dimension: number;
  readonly #session: OnnxSession;
  readonly #tokenizer: Tokenizer;
  readonly #options: TransformerOptions;
  readonly #frame: Frame;

  private constructor(session: OnnxSession, tokenizer: Tokenizer, options: TransformerOptions & { dimension: number }) {
    this.#session = session;
    this.#tokenizer = tokenizer;
    this.#options = options;
    this.dimension = options.dimension;
    this.#frame = frameOf(tokenizer.encode("a", false), tokenizer.encode("a", true));
  }

  /** Runs a text through it, which tells the dimension and makes the first request fast. @throws EmbeddingRefusal */
  static async open(session: OnnxSession, tokenizer: Tokenizer, options: TransformerOptions): Promise<Transformer> {
    const unknown = session.inputNames.filter((name) => !KNOWN_INPUTS.has(name));
    if (unknown.length > 0 || !session.inputNames.includes(IDS))
      throw badFile(
        `is a graph of the inputs ${session.inputNames.join(", ")}; ${[...KNOWN_INPUTS].join(", ")} are known`,
      );
    const probe = new Transformer(session, tokenizer, { ...options, dimension: 0 });
    const pooled = await probe.#runWindows([{ ids: tokenizer.encode("a", true), tokens: 1 }]);
    return new Transformer(session, tokenizer, { ...options, dimension: pooled[0]!.length });
  }

  release(): Promise<void> {
    return this.#session.release();
  }

  /** An outcome for each text, in order. */
  async run(items: readonly Item[]): Promise<readonly Outcome[]> {
    const cuts = items.map((item) => (typeof item === "string" ? this.#cut(item) : invalid("", "is no text")));
    const windows = cuts.flatMap((cut) => (cut instanceof EmbeddingRefusal ? [] : cut.windows));
    const vectors = await this.#runAll(windows);
    let next = 0;
    return cuts.map((cut) => {
      if (cut instanceof EmbeddingRefusal) return cut;
      const own = vectors.slice(next, next + cut.windows.length);
      next += cut.windows.length;
      return { values: this.#joined(own, cut.windows), tokens: cut.tokens, unknownTokens: cut.unknownTokens };
    });
  }

  #cut(text: string): Cut | EmbeddingRefusal {
    const { maxTokens = DEFAULT_MAX_TOKENS, windowTokens = DEFAULT_WINDOW_TOKENS } = this.#options;
    try {
      requireText(text, "");
    } catch (error) {
      if (error instanceof EmbeddingRefusal) return error;
      throw error;
    }
    const ids = this.#tokenizer.encode(text, false);
    if (ids.length === 0) return invalid("", "has no token");
    if (ids.length > maxTokens)
      return invalid("", `has ${ids.length} tokens; the limit is ${maxTokens}`, {
        value: ids.length,
        limit: maxTokens,
      });
    const unknownTokens = ids.filter((id) => id === this.#tokenizer.unknownId).length;
    return { windows: windowsOf(ids, this.#frame, windowTokens), tokens: ids.length, unknownTokens };
  }

  /** Windows of like length together, so that little is padded. */
  async #runAll(windows: readonly Window[]): Promise<readonly Float32Array[]> {
    const order = windows.map((_, at) => at).sort((a, b) => windows[a]!.ids.length - windows[b]!.ids.length);
    const vectors: Float32Array[] = [];
    for (let from = 0; from < order.length; ) {
      let to = from + 1;
      while (to < order.length && (to - from + 1) * windows[order[to]!]!.ids.length <= WINDOW_BATCH_TOKENS) to++;
      const batch = order.slice(from, to);
      const pooled = await this.#runWindows(batch.map((at) => windows[at]!));
      for (const [n, at] of batch.entries()) vectors[at] = pooled[n]!;
      from = to;
    }
    return vectors;
  }

  /** A vector for each, not yet of length 1. */
  async #runWindows(windows: readonly Window[]): Promise<readonly Float32Array[]> {
    const length = Math.max(...windows.map(({ ids }) => ids.length));
    const dims = [windows.length, length];
    const ids = new BigInt64Array(windows.length * length);
    const mask = new BigInt64Array(ids.length);
    for (const [row, window] of windows.entries()) {
      for (const [at, id] of window.ids.entries()) ids[row * length + at] = BigInt(id);
      mask.fill(1n, row * length, row * length + window.ids.length);
    }
    const given: Record<string, Feed> = {
      [IDS]: { data: ids, dims },
      [MASK]: { data: mask, dims },
      [TYPES]: { data: new BigInt64Array(ids.length), dims },
    };
    const inputs = Object.fromEntries(this.#session.inputNames.map((name) => [name, given[name]!]));
    const outputs = await this.#session.run(inputs);
    return this.#pooled(outputs[this.#outputName()], windows, length);
  }

  #outputName(): string {
    const { outputNames } = this.#session;
    return outputNames.find((name) => name === POOLED) ?? outputNames[0]!;
  }

  #pooled(output: Numbers | undefined, windows: readonly Window[], length: number): readonly Float32Array[] {
    const dims = output?.dims ?? [];
    const width = dims.at(-1) ?? 0;
    const count = windows.length;
    const isFlat = dims.length === 2 && dims[0] === count;
    const isDeep = dims.length === 3 && dims[0] === count && dims[1] === length;
    if (!output || !(isFlat || isDeep) || width < 1 || width > MAX_OUTPUT_DIMENSION)
      throw badFile(`gives an output of [${dims.join(", ")}] for ${count} texts of ${length} tokens`);
    return windows.map(({ ids }, row) => {
      if (isFlat) return finite(output.data.slice(row * width, (row + 1) * width));
      const first = row * length * width;
      if (this.#options.pooling === "cls") return finite(output.data.slice(first, first + width));
      const mean = new Float64Array(width);
      for (let token = 0; token < ids.length; token++)
        for (let at = 0; at < width; at++) mean[at]! += output.data[first + token * width + at]! / ids.length;
      return finite(Float32Array.from(mean));
    });
  }

  /** The windows' mean, each by its tokens. */
  #joined(vectors: readonly Float32Array[], windows: readonly Window[]): Float32Array {
    const sum = new Float64Array(this.dimension);
    let tokens = 0;
    for (const [n, vector] of vectors.entries()) {
      const weight = windows[n]!.tokens;
      tokens += weight;
      for (const [at, value] of vector.entries()) sum[at]! += weight * value;
    }
    const length = this.#options.normalize === false ? tokens : Math.hypot(...sum) || 1;
    return Float32Array.from(sum, (value) => value / length);
  }
}

function finite(values: Float32Array): Float32Array {
  if (values.every(Number.isFinite)) return values;
  throw badFile("gives numbers that are not finite");
}
