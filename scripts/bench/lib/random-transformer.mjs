// A BERT-like model of random weights in ONNX, quantized to int8 as exporters do it, with a tokenizer's file: for measuring, not for meaning.
// Guarantees: the same size gives the same bytes. MiniLM's size is the default: 6 layers of 384, 12 heads, 30 522 words.

import { onnxFile, TYPES, tensor } from "../../lib/onnx-writer.ts";

/** Nodes and constants of a graph that is being made. */
class Graph {
  nodes = [];
  constants = [];
  #count = 0;
  #state = 42;

  #random() {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state / 2 ** 32 - 0.5;
  }

  constant(dims, data) {
    const name = `c${this.#count++}`;
    this.constants.push(tensor(name, dims, data));
    return name;
  }

  floats(dims, scale = 0.05) {
    const length = dims.reduce((product, dim) => product * dim, 1);
    return this.constant(
      dims,
      Float32Array.from({ length }, () => this.#random() * scale),
    );
  }

  codes(dims) {
    const length = dims.reduce((product, dim) => product * dim, 1);
    return this.constant(
      dims,
      Int8Array.from({ length }, () => Math.round(this.#random() * 254)),
    );
  }

  add(op, inputs, attributes = {}, outputs = 1) {
    const names = Array.from({ length: outputs }, () => `t${this.#count++}`);
    this.nodes.push({ op, inputs, output: names, attributes });
    return outputs === 1 ? names[0] : names;
  }

  /** Weights are int8; the input is quantized while it runs. */
  linear(input, from, to) {
    const zero = this.constant([], Int8Array.of(0));
    const scale = this.constant([], Float32Array.of(0.05 / 254));
    const [codes, inputScale, inputZero] = this.add("DynamicQuantizeLinear", [input], {}, 3);
    const product = this.add("MatMulInteger", [codes, this.codes([from, to]), inputZero, zero]);
    const floats = this.add("Cast", [product], { to: TYPES.float });
    const scaled = this.add("Mul", [floats, this.add("Mul", [inputScale, scale])]);
    return this.add("Add", [scaled, this.floats([to])]);
  }

  norm(input, size) {
    const gain = this.constant([size], new Float32Array(size).fill(1));
    return this.add("LayerNormalization", [input, gain, this.floats([size])], { axis: -1, epsilon: { float: 1e-12 } });
  }
}

const whole64 = (...values) => BigInt64Array.from(values.map(BigInt));

function embedded(graph, { vocabulary, hidden, places }) {
  const scale = graph.constant([], Float32Array.of(0.001));
  const zero = graph.constant([], Int8Array.of(0));
  const rows = graph.add("Gather", [graph.codes([vocabulary, hidden]), "input_ids"]);
  const words = graph.add("DequantizeLinear", [rows, scale, zero]);
  const [from, axis] = [0, 0].map((at) => graph.constant([1], whole64(at)));
  const length = graph.add("Shape", ["input_ids"], { start: 1, end: 2 });
  const where = graph.add("Slice", [graph.floats([places, hidden]), from, length, axis]);
  return graph.norm(graph.add("Add", [words, where]), hidden);
}

function attended(graph, input, { hidden, heads }, maskBias) {
  const split = graph.constant([4], whole64(0, 0, heads, hidden / heads));
  const merge = graph.constant([3], whole64(0, 0, hidden));
  const scale = graph.constant([], Float32Array.of(1 / Math.sqrt(hidden / heads)));
  const part = (perm) =>
    graph.add("Transpose", [graph.add("Reshape", [graph.linear(input, hidden, hidden), split])], { perm });
  const [query, key, value] = [part([0, 2, 1, 3]), part([0, 2, 3, 1]), part([0, 2, 1, 3])];
  const scores = graph.add("Mul", [graph.add("MatMul", [query, key]), scale]);
  const weights = graph.add("Softmax", [graph.add("Add", [scores, maskBias])], { axis: -1 });
  const mixed = graph.add("Transpose", [graph.add("MatMul", [weights, value])], { perm: [0, 2, 1, 3] });
  return graph.linear(graph.add("Reshape", [mixed, merge]), hidden, hidden);
}

export const MINI_LM = { layers: 6, hidden: 384, heads: 12, vocabulary: 30_522, places: 512 };

/** The files that `client.models.add` takes. */
export function randomTransformer(size = MINI_LM) {
  const { layers, hidden, places } = size;
  const graph = new Graph();
  let rows = embedded(graph, size);
  const axes = graph.constant([2], whole64(1, 2));
  const mask = graph.add("Unsqueeze", [graph.add("Cast", ["attention_mask"], { to: TYPES.float }), axes]);
  const one = graph.constant([], Float32Array.of(1));
  const far = graph.constant([], Float32Array.of(-1e4));
  const maskBias = graph.add("Mul", [graph.add("Sub", [one, mask]), far]);
  for (let layer = 0; layer < layers; layer++) {
    const seen = graph.norm(graph.add("Add", [attended(graph, rows, size, maskBias), rows]), hidden);
    const inner = graph.add("Gelu", [graph.linear(seen, hidden, 4 * hidden)]);
    rows = graph.norm(graph.add("Add", [graph.linear(inner, 4 * hidden, hidden), seen]), hidden);
  }
  const output = graph.add("Identity", [rows]);
  const onnx = onnxFile({
    nodes: graph.nodes,
    constants: graph.constants,
    inputs: ["input_ids", "attention_mask"].map((name) => ({ name, type: "int64", dims: ["b", "s"] })),
    outputs: [{ name: output, type: "float", dims: ["b", "s", hidden] }],
  });
  const encoder = new TextEncoder();
  const json = (value) => encoder.encode(JSON.stringify(value));
  return [
    { name: "model.onnx", bytes: onnx },
    { name: "tokenizer.json", bytes: json(tokenizer(size.vocabulary)) },
    { name: "config.json", bytes: json({ model_type: "bert", max_position_embeddings: places }) },
  ];
}

/** Words are w0, w1, …: each is a token. */
function tokenizer(vocabulary) {
  const special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
  const words = [...special, ...Array.from({ length: vocabulary - special.length }, (_, at) => `w${at}`)];
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const token = (id) => ({ SpecialToken: { id, type_id: 0 } });
  const tokens = Object.fromEntries(
    ["[CLS]", "[SEP]"].map((id) => [id, { id, ids: [words.indexOf(id)], tokens: [id] }]),
  );
  return {
    version: "1.0",
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [token("[CLS]"), { Sequence: { id: "A", type_id: 0 } }, token("[SEP]")],
      pair: [token("[CLS]"), { Sequence: { id: "A", type_id: 0 } }, token("[SEP]")],
      special_tokens: tokens,
    },
    decoder: null,
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
    },
  };
}
