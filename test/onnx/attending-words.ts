// A contextual model made of word vectors, without training: one layer of attention in which each word takes up what the words beside it are about,
// those most that are near it. As an ONNX graph with its tokenizer's file, to be run as any transformer.
import { onnxFile, tensor } from "../../scripts/lib/onnx-writer.ts";
import { idfOf } from "../../src/embedding/word-encoder.ts";
import type { WordTable } from "../../src/embedding/words/word-table.ts";

/** How much nearer words count for more: weights are the softmax of so many cosines. */
const SHARPNESS = 8;
const SPECIAL = ["[PAD]", "[UNK]"];

export interface AttendingWords {
  readonly onnx: Uint8Array;
  readonly tokenizer: string;
}

/** Words weigh by their IDF, as in the static model. */
export function attendingWords(table: WordTable): AttendingWords {
  const words = [...table.words()];
  const vocabulary = [...SPECIAL, ...words.filter((word) => !SPECIAL.includes(word))];
  const { dimension } = table;
  const [weighed, units] = [0, 1].map(() => new Float32Array(vocabulary.length * dimension)) as [
    Float32Array,
    Float32Array,
  ];
  for (const [id, word] of vocabulary.entries()) {
    if (id < SPECIAL.length) continue;
    const row = new Float64Array(dimension);
    table.addTo(row, word, 1);
    const length = Math.hypot(...row);
    const weight = idfOf(table.frequencyOf(word));
    for (const [at, value] of row.entries()) {
      weighed[id * dimension + at] = value * weight;
      units[id * dimension + at] = value / length;
    }
  }
  return { onnx: graphOf(weighed, units, [vocabulary.length, dimension]), tokenizer: tokenizerOf(vocabulary) };
}

function graphOf(weighed: Float32Array, units: Float32Array, dims: readonly [number, number]): Uint8Array {
  return onnxFile({
    nodes: [
      { op: "Gather", inputs: ["weighed", "input_ids"], output: "rows" },
      { op: "Gather", inputs: ["units", "input_ids"], output: "keys" },
      { op: "Transpose", inputs: ["keys"], output: "turned", attributes: { perm: [0, 2, 1] } },
      { op: "MatMul", inputs: ["keys", "turned"], output: "cosines" },
      { op: "Mul", inputs: ["cosines", "sharpness"], output: "sharp" },
      { op: "Cast", inputs: ["attention_mask"], output: "given", attributes: { to: 1 } },
      { op: "Sub", inputs: ["given", "one"], output: "missing" },
      { op: "Mul", inputs: ["missing", "far"], output: "away" },
      { op: "Unsqueeze", inputs: ["away", "axis"], output: "bias" },
      { op: "Add", inputs: ["sharp", "bias"], output: "scores" },
      { op: "Softmax", inputs: ["scores"], output: "weights", attributes: { axis: -1 } },
      { op: "MatMul", inputs: ["weights", "rows"], output: "context" },
      { op: "Add", inputs: ["rows", "context"], output: "last_hidden_state" },
    ],
    constants: [
      tensor("weighed", dims, weighed),
      tensor("units", dims, units),
      tensor("sharpness", [], Float32Array.of(SHARPNESS)),
      tensor("one", [], Float32Array.of(1)),
      tensor("far", [], Float32Array.of(1e4)),
      tensor("axis", [1], BigInt64Array.of(1n)),
    ],
    inputs: ["input_ids", "attention_mask"].map((name) => ({
      name,
      type: "int64" as const,
      dims: ["batch", "tokens"],
    })),
    outputs: [{ name: "last_hidden_state", type: "float", dims: ["batch", "tokens", dims[1]] }],
  });
}

function tokenizerOf(vocabulary: readonly string[]): string {
  const flags = { special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };
  return JSON.stringify({
    version: "1.0",
    added_tokens: SPECIAL.map((content, id) => ({ id, content, ...flags })),
    normalizer: {
      ...{ type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: null,
    decoder: null,
    model: {
      ...{ type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100 },
      vocab: Object.fromEntries(vocabulary.map((word, id) => [word, id])),
    },
  });
}
