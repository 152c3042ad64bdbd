// What of a path makes a model: a file of word vectors, or a folder as Hugging Face lays one out.
// Guarantees: a folder that is neither is refused with what is missing. Must not: judge what the files hold; the server does.
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { ModelFileInput, NewModel } from "../client/index.ts";
import { UsageError } from "./exit-codes.ts";
import { readBytes, readInput } from "./input.ts";

export interface FoundModel extends Pick<NewModel, "family" | "inputs" | "parameters"> {
  readonly files: readonly ModelFileInput[];
}

/** Where exporters put the graph; the first that is there. */
const GRAPHS = ["model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx"];
const BESIDE = ["tokenizer.json", "config.json", "tokenizer_config.json"];
/** Of models of images. */
const PREPROCESSOR = "preprocessor_config.json";
/** Sentence-transformers' own file. */
const POOLING = "1_Pooling/config.json";

/** What flags say of it. */
export interface Chosen {
  readonly graph?: string | undefined;
  readonly pooling?: "idf" | "mean" | "cls" | undefined;
  /** The graph takes tensors of these. */
  readonly inputs?: NewModel["inputs"];
}

export function modelFiles(path: string, { graph, pooling, inputs }: Chosen): FoundModel {
  if (!existsSync(path)) throw new UsageError(`there is no ${path}`);
  if (!statSync(path).isDirectory()) return { files: [fileAt(path)], family: "words" };
  if (graph !== undefined && !existsSync(join(path, graph))) throw new UsageError(`there is no ${graph} in ${path}`);
  const found = graph ?? GRAPHS.find((name) => existsSync(join(path, name)));
  if (found === undefined) return { files: [onlyFile(path)], family: "words" };
  const graphs = [fileAt(join(path, found)), ...weightsBeside(join(path, found)).map(fileAt)];
  const has = (name: string): boolean => existsSync(join(path, name));
  if (inputs) return { files: graphs, family: "tensor", inputs, parameters: pooling && { pooling } };
  if (!has("tokenizer.json") && has(PREPROCESSOR)) {
    const files = [...graphs, fileAt(join(path, PREPROCESSOR))];
    return { files, family: "image", parameters: pooling && { pooling } };
  }
  if (!has("tokenizer.json"))
    throw new UsageError(`${path} has ${found} but no tokenizer.json (texts) or ${PREPROCESSOR} (images)`);
  const beside = BESIDE.filter(has);
  const files = [...graphs, ...beside.map((name) => fileAt(join(path, name)))];
  return { files, family: "transformer", parameters: pooling ? { pooling } : poolingOf(join(path, POOLING)) };
}

/** `model.onnx_data`, `model.onnx.data` and their like. */
function weightsBeside(graph: string): readonly string[] {
  const names = readdirSync(dirname(graph)).filter((name) => name.startsWith(basename(graph)) && /data/.test(name));
  return names.sort().map((name) => join(dirname(graph), name));
}

function fileAt(path: string): ModelFileInput {
  return { name: basename(path).replace(/[^A-Za-z0-9._-]/g, "_"), bytes: readBytes(path) };
}

function onlyFile(folder: string): ModelFileInput {
  const names = readdirSync(folder).filter((name) => !name.startsWith(".") && !/^(readme|licen[cs]e)/i.test(name));
  if (names.length === 1) return fileAt(join(folder, names[0]!));
  throw new UsageError(`${folder} holds ${names.length} files and no ${GRAPHS[0]}: name the file of word vectors`);
}

/** How the model's makers pooled its tokens. */
function poolingOf(path: string): NewModel["parameters"] {
  if (!existsSync(path)) return {};
  const config = JSON.parse(readInput(path)) as Record<string, unknown>;
  if (config["pooling_mode_cls_token"] === true) return { pooling: "cls" };
  if (config["pooling_mode_mean_tokens"] === true) return { pooling: "mean" };
  throw new UsageError(
    `${path} asks for a pooling that there is not; mean and cls are. Say --pooling to choose one all the same`,
  );
}
