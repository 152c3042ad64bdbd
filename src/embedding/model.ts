// What a model is to those who use it: the specification's record (3, "Embedding Model Definition") with its files, licence and source.
// Must not: hold numbers of a model.
import { requireGraph } from "./graph/files.ts";
import { requireDeclared, type TensorInput } from "./graph/tensors.ts";
import { PREPROCESSOR_FILE } from "./image/preprocessor.ts";
import type { InputType } from "./item.ts";
import { MAX_MODEL_BYTES, PART_BYTES } from "./limits.ts";
import { type RemoteModel, requireRemote } from "./provider/provider.ts";
import { invalid } from "./refusal.ts";
import { requireTransformerFiles } from "./transformer/files.ts";

export const MODEL_FAMILIES = ["words", "transformer", "image", "tensor", "remote"] as const;
export type ModelFamily = (typeof MODEL_FAMILIES)[number];
/** What models of a family take. */
export const FAMILY_INPUT: Readonly<Record<ModelFamily, InputType>> = {
  words: "text",
  transformer: "text",
  image: "image",
  tensor: "tensor",
  remote: "text",
};
/** Uploading: not all bytes are there and looked at. */
export type ModelStatus = "uploading" | "active" | "disabled";

export interface ModelFile {
  readonly name: string;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

export interface ModelParameters {
  readonly maxTokens?: number | undefined;
  readonly normalize?: boolean | undefined;
  /** Words: idf or mean. Others: mean or cls. */
  readonly pooling?: "idf" | "mean" | "cls" | undefined;
  /** Words: an unknown word takes the vector of the word that it is a form of. */
  readonly inflections?: "english" | undefined;
  /** Transformers: tokens seen at once. */
  readonly windowTokens?: number | undefined;
}

export interface ModelDefinition {
  readonly modelId: string;
  readonly name: string;
  readonly version: string;
  readonly provider: string;
  readonly family: ModelFamily;
  readonly inputType: InputType;
  /** Null = told by the files. */
  readonly outputDimension: number | null;
  readonly parameters: ModelParameters;
  /** Family tensor: what its graph takes. */
  readonly inputs?: readonly TensorInput[] | undefined;
  /** Family remote: where it is. */
  readonly remote?: RemoteModel | undefined;
  readonly description: string;
  readonly licence: string;
  /** Where it came from. */
  readonly source: string;
  readonly files: readonly ModelFile[];
}

/** A file travels in parts of this length; the last is what is left. */
export function partCount({ bytes }: Pick<ModelFile, "bytes">): number {
  return Math.ceil(bytes / PART_BYTES);
}

/** @throws EmbeddingRefusal where there is no such part */
export function partLength(file: ModelFile, part: number): number {
  const count = partCount(file);
  if (part >= count)
    throw invalid("part", `is ${part}; ${file.name} has ${count} parts, from 0`, { value: part, limit: count - 1 });
  return Math.min(PART_BYTES, file.bytes - part * PART_BYTES);
}

/** @throws EmbeddingRefusal */
export function requireFiles(files: readonly ModelFile[]): void {
  const names = new Set(files.map(({ name }) => name));
  if (names.size < files.length) throw invalid("files", "name one file twice");
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes > MAX_MODEL_BYTES)
    throw invalid("files", `have ${bytes} bytes together; the limit is ${MAX_MODEL_BYTES}`, {
      value: bytes,
      limit: MAX_MODEL_BYTES,
    });
}

/** What a family needs. @throws EmbeddingRefusal */
export function requireFamily({
  family,
  inputType,
  files,
  inputs,
  remote,
  parameters,
}: Pick<ModelDefinition, "family" | "inputType" | "files" | "inputs" | "remote" | "parameters">): void {
  const { pooling, windowTokens, inflections } = parameters;
  if (inputType !== FAMILY_INPUT[family])
    throw invalid("inputType", `is ${inputType}; models of the family ${family} take ${FAMILY_INPUT[family]}`);
  if (inputs !== undefined && family !== "tensor") throw invalid("inputs", `mean nothing to the family ${family}`);
  if (remote !== undefined && family !== "remote") throw invalid("remote", `means nothing to the family ${family}`);
  if (windowTokens !== undefined && family !== "transformer")
    throw invalid("parameters.windowTokens", `means nothing to the family ${family}`);
  if (inflections !== undefined && family !== "words")
    throw invalid("parameters.inflections", `means nothing to the family ${family}`);
  if (pooling === (family === "words" ? "cls" : "idf"))
    throw invalid("parameters.pooling", `${pooling} means nothing to the family ${family}`, { value: pooling });
  switch (family) {
    case "words":
      if (files.length !== 1)
        throw invalid("files", `are ${files.length}; a model of word vectors has one`, {
          value: files.length,
          limit: 1,
        });
      return;
    case "transformer":
      return requireTransformerFiles(files);
    case "image":
      if (!requireGraph(files, family).includes(PREPROCESSOR_FILE))
        throw invalid("files", `do not name ${PREPROCESSOR_FILE}`);
      return;
    case "tensor":
      requireGraph(files, family);
      requireDeclared(inputs);
      return;
    case "remote":
      if (files.length > 0) throw invalid("files", "are none of a remote model's", { value: files.length, limit: 0 });
      if (pooling !== undefined) throw invalid("parameters.pooling", "is the provider's to choose");
      requireRemote(remote);
      return;
    default:
      family satisfies never;
  }
}
