// A BERT-like model of random weights in ONNX, quantized to int8 as exporters do it, with a tokenizer's file: for measuring, not for meaning.
// Guarantees: the same size gives the same bytes. MiniLM's size is the default: 6 layers of 384, 12 heads, 30 522 words.

const encoder = new TextEncoder();
const TYPES = { float: 1, int8: 3, int64: 7 };

function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function varint(value) {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes = [];
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return Uint8Array.from([...bytes, Number(rest)]);
}

const whole = (field, value) => joined([varint(field << 3), varint(value)]);
const block = (field, bytes) => joined([varint((field << 3) | 2), varint(bytes.length), bytes]);
const text = (field, value) => block(field, encoder.encode(value));
const float = (field, value) => joined([varint((field << 3) | 5), new Uint8Array(Float32Array.of(value).buffer)]);

function tensor(name, type, dims, data) {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return joined([...dims.map((dim) => whole(1, dim)), whole(2, TYPES[type]), text(8, name), block(9, raw)]);
}

function attribute(name, value) {
  if (Array.isArray(value)) return joined([text(1, name), ...value.map((item) => whole(8, item)), whole(20, 7)]);
  if (typeof value === "number") return joined([text(1, name), whole(3, value), whole(20, 2)]);
  return joined([text(1, name), float(2, value.float), whole(20, 1)]);
}

function valueInfo(name, type, dims) {
  const shape = joined(dims.map((dim) => block(1, typeof dim === "string" ? text(2, dim) : whole(1, dim))));
  return joined([text(1, name), block(2, block(1, joined([whole(1, TYPES[type]), block(2, shape)])))]);
}

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

  constant(type, dims, data) {
    const name = `c${this.#count++}`;
    this.constants.push(tensor(name, type, dims, data));
    return name;
  }

  floats(dims, scale = 0.05) {
    const length = dims.reduce((product, dim) => product * dim, 1);
    return this.constant(
      "float",
      dims,
      Float32Array.from({ length }, () => this.#random() * scale),
    );
  }

  codes(dims) {
    const length = dims.reduce((product, dim) => product * dim, 1);
    return this.constant(
      "int8",
      dims,
      Int8Array.from({ length }, () => Math.round(this.#random() * 254)),
    );
  }

  add(op, inputs, attributes = {}, outputs = 1) {
    const names = Array.from({ length: outputs }, () => `t${this.#count++}`);
    const given = Object.entries(attributes).map(([name, value]) => block(5, attribute(name, value)));
    this.nodes.push(
      joined([...inputs.map((name) => text(1, name)), ...names.map((name) => text(2, name)), text(4, op), ...given]),
    );
    return outputs === 1 ? names[0] : names;
  }

  /** Weights are int8; the input is quantized while it runs. */
  linear(input, from, to) {
    const zero = this.constant("int8", [], Int8Array.of(0));
    const scale = this.constant("float", [], Float32Array.of(0.05 / 254));
    const [codes, inputScale, inputZero] = this.add("DynamicQuantizeLinear", [input], {}, 3);
    const product = this.add("MatMulInteger", [codes, this.codes([from, to]), inputZero, zero]);
    const floats = this.add("Cast", [product], { to: TYPES.float });
    const scaled = this.add("Mul", [floats, this.add("Mul", [inputScale, scale])]);
    return this.add("Add", [scaled, this.floats([to])]);
  }

  norm(input, size) {
    const gain = this.constant("float", [size], new Float32Array(size).fill(1));
    return this.add("LayerNormalization", [input, gain, this.floats([size])], { axis: -1, epsilon: { float: 1e-12 } });
  }
}

const whole64 = (...values) => BigInt64Array.from(values.map(BigInt));

function embedded(graph, { vocabulary, hidden, places }) {
  const scale = graph.constant("float", [], Float32Array.of(0.001));
  const zero = graph.constant("int8", [], Int8Array.of(0));
  const rows = graph.add("Gather", [graph.codes([vocabulary, hidden]), "input_ids"]);
  const words = graph.add("DequantizeLinear", [rows, scale, zero]);
  const [from, axis] = [0, 0].map((at) => graph.constant("int64", [1], whole64(at)));
  const length = graph.add("Shape", ["input_ids"], { start: 1, end: 2 });
  const where = graph.add("Slice", [graph.floats([places, hidden]), from, length, axis]);
  return graph.norm(graph.add("Add", [words, where]), hidden);
}

function attended(graph, input, { hidden, heads }, maskBias) {
  const split = graph.constant("int64", [4], whole64(0, 0, heads, hidden / heads));
  const merge = graph.constant("int64", [3], whole64(0, 0, hidden));
  const scale = graph.constant("float", [], Float32Array.of(1 / Math.sqrt(hidden / heads)));
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
  const axes = graph.constant("int64", [2], whole64(1, 2));
  const mask = graph.add("Unsqueeze", [graph.add("Cast", ["attention_mask"], { to: TYPES.float }), axes]);
  const one = graph.constant("float", [], Float32Array.of(1));
  const far = graph.constant("float", [], Float32Array.of(-1e4));
  const maskBias = graph.add("Mul", [graph.add("Sub", [one, mask]), far]);
  for (let layer = 0; layer < layers; layer++) {
    const seen = graph.norm(graph.add("Add", [attended(graph, rows, size, maskBias), rows]), hidden);
    const inner = graph.add("Gelu", [graph.linear(seen, hidden, 4 * hidden)]);
    rows = graph.norm(graph.add("Add", [graph.linear(inner, 4 * hidden, hidden), seen]), hidden);
  }
  const output = graph.add("Identity", [rows]);
  const inputs = ["input_ids", "attention_mask"].map((name) => block(11, valueInfo(name, "int64", ["b", "s"])));
  const body = joined([
    ...graph.nodes.map((node) => block(1, node)),
    text(2, "graph"),
    ...graph.constants.map((item) => block(5, item)),
    ...inputs,
    block(12, valueInfo(output, "float", ["b", "s", hidden])),
  ]);
  const opset = block(8, joined([text(1, ""), whole(2, 20)]));
  const onnx = joined([whole(1, 9), text(2, "jade-db bench"), opset, block(7, body)]);
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
