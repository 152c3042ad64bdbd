// A BERT of two layers with random weights: as an ONNX file, as a tokenizer's file, and as a plain twin in float64 that knows neither.
import { type Node, onnxFile, tensor } from "../../scripts/lib/onnx-writer.ts";

const WORDS =
  "the cat dog sat on mat a red green bank river money loan water run ##ning ##s un ##able walk tea cup of and".split(
    " ",
  );
export const VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ...WORDS, ",", "."];
const PLACES = 24;
const HIDDEN = 12;
const HEADS = 3;
const INNER = 20;
const LAYERS = 2;
const EPSILON = 1e-6;

type Weights = Readonly<Record<string, Float32Array>>;

/** Numbers that a seed tells: the same in every run. */
function weightsOf(seed: number): {
  readonly of: (name: string, length: number, scale?: number) => Float32Array;
  readonly all: Weights;
} {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  const all: Record<string, Float32Array> = {};
  return { all, of: (name, length, scale = 1) => (all[name] = Float32Array.from({ length }, () => next() * scale)) };
}

export interface TinyBert {
  readonly onnx: Uint8Array;
  readonly tokenizer: string;
  readonly config: string;
  readonly dimension: number;
  /** Of one text, by the plain twin: windows of so many tokens, mean or first token, length 1. */
  embed(
    text: string,
    options?: { readonly pooling?: "mean" | "cls"; readonly windowTokens?: number },
  ): readonly number[];
}

export function tinyBert(seed = 1): TinyBert {
  const { of, all } = weightsOf(seed);
  const shapes = new Map<string, readonly number[]>();
  const make = (name: string, dims: readonly number[], scale?: number): string => {
    of(
      name,
      dims.reduce((product, dim) => product * dim, 1),
      scale,
    );
    shapes.set(name, dims);
    return name;
  };
  for (const [name, rows] of [
    ["word", VOCABULARY.length],
    ["place", PLACES],
    ["type", 2],
  ] as const)
    make(name, [rows, HIDDEN]);
  for (const name of ["norm.gain", "norm.bias"]) make(name, [HIDDEN], 2);
  for (let layer = 0; layer < LAYERS; layer++) {
    for (const part of ["query", "key", "value", "out"]) linearWeights(make, `${layer}.${part}`, [HIDDEN, HIDDEN]);
    linearWeights(make, `${layer}.up`, [HIDDEN, INNER]);
    linearWeights(make, `${layer}.down`, [INNER, HIDDEN]);
    for (const name of ["first.gain", "first.bias", "last.gain", "last.bias"]) make(`${layer}.${name}`, [HIDDEN], 2);
  }
  return {
    onnx: onnxOf(all, shapes),
    tokenizer: JSON.stringify(tokenizerFile()),
    config: JSON.stringify({ model_type: "bert", hidden_size: HIDDEN, max_position_embeddings: PLACES }),
    dimension: HIDDEN,
    embed: (text, options) => plainEmbedding(all, text, options),
  };
}

function linearWeights(
  make: (name: string, dims: readonly number[]) => string,
  name: string,
  [from, to]: readonly [number, number],
): void {
  make(`${name}.weight`, [from, to]);
  make(`${name}.bias`, [to]);
}

function tokenizerFile(): object {
  const special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map((content, id) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  }));
  const token = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const tokens = Object.fromEntries(
    ["[CLS]", "[SEP]"].map((id) => [id, { id, ids: [VOCABULARY.indexOf(id)], tokens: [id] }]),
  );
  return {
    version: "1.0",
    added_tokens: special,
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [token("[CLS]"), { Sequence: { id: "A", type_id: 0 } }, token("[SEP]")],
      pair: [
        token("[CLS]"),
        { Sequence: { id: "A", type_id: 0 } },
        token("[SEP]"),
        { Sequence: { id: "B", type_id: 1 } },
        token("[SEP]"),
      ],
      special_tokens: tokens,
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(VOCABULARY.map((word, id) => [word, id])),
    },
  };
}

/** The graph, as exporters lay it out. */
class GraphMaker {
  readonly nodes: Node[] = [];
  #count = 0;

  add(op: string, inputs: readonly string[], attributes?: Node["attributes"], output = `t${this.#count++}`): string {
    this.nodes.push({ op, inputs, output, ...(attributes && { attributes }) });
    return output;
  }

  linear(input: string, name: string): string {
    return this.add("Add", [this.add("MatMul", [input, `${name}.weight`]), `${name}.bias`]);
  }

  norm(input: string, name: string, output?: string): string {
    return this.add(
      "LayerNormalization",
      [input, `${name}.gain`, `${name}.bias`],
      { axis: -1, epsilon: { float: EPSILON } },
      output,
    );
  }
}

function onnxOf(weights: Weights, shapes: ReadonlyMap<string, readonly number[]>): Uint8Array {
  const graph = new GraphMaker();
  const length = graph.add("Shape", ["input_ids"], { start: 1, end: 2 });
  const places = graph.add("Slice", ["place", "zero", length, "zero"]);
  const words = graph.add("Add", [
    graph.add("Gather", ["word", "input_ids"]),
    graph.add("Gather", ["type", "token_type_ids"]),
  ]);
  let hidden = graph.norm(graph.add("Add", [words, places]), "norm");
  const mask = graph.add("Unsqueeze", [graph.add("Cast", ["attention_mask"], { to: 1 }), "axes"]);
  const bias = graph.add("Mul", [graph.add("Sub", ["one", mask]), "far"]);
  const heads = (input: string, perm: readonly number[]): string =>
    graph.add("Transpose", [graph.add("Reshape", [input, "split"])], { perm });
  for (let layer = 0; layer < LAYERS; layer++) {
    const [query, value] = ["query", "value"].map((part) =>
      heads(graph.linear(hidden, `${layer}.${part}`), [0, 2, 1, 3]),
    ) as [string, string];
    const key = heads(graph.linear(hidden, `${layer}.key`), [0, 2, 3, 1]);
    const scores = graph.add("Add", [graph.add("Mul", [graph.add("MatMul", [query, key]), "scale"]), bias]);
    const seen = graph.add("MatMul", [graph.add("Softmax", [scores], { axis: -1 }), value]);
    const joinedHeads = graph.add("Reshape", [graph.add("Transpose", [seen], { perm: [0, 2, 1, 3] }), "merge"]);
    const first = graph.norm(graph.add("Add", [graph.linear(joinedHeads, `${layer}.out`), hidden]), `${layer}.first`);
    const inner = graph.linear(graph.add("Gelu", [graph.linear(first, `${layer}.up`)]), `${layer}.down`);
    const isLast = layer === LAYERS - 1;
    hidden = graph.norm(graph.add("Add", [inner, first]), `${layer}.last`, isLast ? "last_hidden_state" : undefined);
  }
  const whole = (name: string, ...values: readonly number[]) =>
    tensor(name, [values.length], BigInt64Array.from(values.map(BigInt)));
  const number = (name: string, value: number) => tensor(name, [], Float32Array.of(value));
  return onnxFile({
    nodes: graph.nodes,
    constants: [
      ...[...shapes].map(([name, dims]) => tensor(name, dims, weights[name]!)),
      whole("zero", 0),
      whole("axes", 1, 2),
      whole("split", 0, 0, HEADS, HIDDEN / HEADS),
      whole("merge", 0, 0, HIDDEN),
      number("one", 1),
      number("far", -1e4),
      number("scale", 1 / Math.sqrt(HIDDEN / HEADS)),
    ],
    inputs: ["input_ids", "attention_mask", "token_type_ids"].map((name) => ({
      name,
      type: "int64" as const,
      dims: ["batch", "tokens"],
    })),
    outputs: [{ name: "last_hidden_state", type: "float", dims: ["batch", "tokens", HIDDEN] }],
  });
}

/** Lower case, words and marks apart, longest pieces first. */
export function plainTokens(text: string): readonly number[] {
  const ids: number[] = [];
  for (const [word] of text
    .toLowerCase()
    .normalize("NFD")
    .replace(/\p{Mn}/gu, "")
    .matchAll(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu)) {
    const pieces: number[] = [];
    for (let from = 0; from < word.length; ) {
      let to = word.length;
      while (to > from && !VOCABULARY.includes((from > 0 ? "##" : "") + word.slice(from, to))) to--;
      if (to === from) break;
      pieces.push(VOCABULARY.indexOf((from > 0 ? "##" : "") + word.slice(from, to)));
      from = to;
    }
    const isWhole = pieces.map((id) => VOCABULARY[id]!.replace("##", "")).join("") === word;
    ids.push(...(isWhole ? pieces : [VOCABULARY.indexOf("[UNK]")]));
  }
  return ids;
}

type Rows = readonly (readonly number[])[];

function plainLinear(weights: Weights, rows: Rows, name: string): number[][] {
  const [weight, bias] = [weights[`${name}.weight`]!, weights[`${name}.bias`]!];
  return rows.map((row) =>
    Array.from(bias, (value, to) =>
      row.reduce((sum, number, from) => sum + number * weight[from * bias.length + to]!, value),
    ),
  );
}

function plainNorm(weights: Weights, rows: Rows, name: string): number[][] {
  return rows.map((row) => {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    return row.map(
      (value, at) =>
        ((value - mean) / Math.sqrt(variance + EPSILON)) * weights[`${name}.gain`]![at]! +
        weights[`${name}.bias`]![at]!,
    );
  });
}

/** Abramowitz and Stegun 7.1.26 is too coarse for 1e-5: the series. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let [sum, term] = [x, x];
  for (let n = 1; n < 120; n++) {
    term *= -(x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const plus = (a: Rows, b: Rows): number[][] => a.map((row, at) => row.map((value, n) => value + b[at]![n]!));

function plainHidden(weights: Weights, ids: readonly number[]): Rows {
  const row = (name: string, at: number) => Array.from(weights[name]!.slice(at * HIDDEN, (at + 1) * HIDDEN));
  const size = HIDDEN / HEADS;
  let hidden = plainNorm(
    weights,
    ids.map((id, at) => row("word", id).map((value, n) => value + row("place", at)[n]! + row("type", 0)[n]!)),
    "norm",
  );
  for (let layer = 0; layer < LAYERS; layer++) {
    const [query, key, value] = ["query", "key", "value"].map((part) =>
      plainLinear(weights, hidden, `${layer}.${part}`),
    ) as unknown as readonly [Rows, Rows, Rows];
    const seen = hidden.map((_, at) => {
      const merged: number[] = [];
      for (let head = 0; head < HEADS; head++) {
        const dims = Array.from({ length: size }, (_, n) => head * size + n);
        const scores = key.map(
          (other) => dims.reduce((sum, n) => sum + query[at]![n]! * other[n]!, 0) / Math.sqrt(size),
        );
        const most = Math.max(...scores);
        const shares = scores.map((score) => Math.exp(score - most));
        const all = shares.reduce((sum, share) => sum + share, 0);
        for (const n of dims)
          merged.push(shares.reduce((sum, share, other) => sum + (share / all) * value[other]![n]!, 0));
      }
      return merged;
    });
    const first = plainNorm(weights, plus(plainLinear(weights, seen, `${layer}.out`), hidden), `${layer}.first`);
    const inner = plainLinear(weights, first, `${layer}.up`).map((values) =>
      values.map((x) => 0.5 * x * (1 + erf(x / Math.SQRT2))),
    );
    hidden = plainNorm(weights, plus(plainLinear(weights, inner, `${layer}.down`), first), `${layer}.last`);
  }
  return hidden;
}

function plainEmbedding(
  weights: Weights,
  text: string,
  { pooling = "mean", windowTokens = PLACES }: { pooling?: "mean" | "cls"; windowTokens?: number } = {},
): readonly number[] {
  const ids = plainTokens(text);
  const room = windowTokens - 2;
  const count = Math.ceil(ids.length / room);
  const sum = new Array<number>(HIDDEN).fill(0);
  for (let n = 0; n < count; n++) {
    const part = ids.slice(Math.floor((n * ids.length) / count), Math.floor(((n + 1) * ids.length) / count));
    const hidden = plainHidden(weights, [VOCABULARY.indexOf("[CLS]"), ...part, VOCABULARY.indexOf("[SEP]")]);
    for (let at = 0; at < HIDDEN; at++) {
      const pooled =
        pooling === "cls" ? hidden[0]![at]! : hidden.reduce((all, token) => all + token[at]!, 0) / hidden.length;
      sum[at]! += pooled * part.length;
    }
  }
  const length = Math.sqrt(sum.reduce((all, value) => all + value * value, 0));
  return sum.map((value) => value / length);
}
