// What a model is to those who use it: the specification's record (3, "Embedding Model Definition") with its files, licence and source.
// Must not: hold numbers of a model.
import { MAX_MODEL_BYTES, PART_BYTES } from "./limits.ts";
import { invalid } from "./refusal.ts";
import { requireTransformerFiles } from "./transformer/files.ts";

export type ModelFamily = "words" | "transformer";
export type ModelInput = "text";
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
  /** Words: idf or mean. Transformers: mean or cls. */
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
  readonly inputType: ModelInput;
  /** Null = told by the files. */
  readonly outputDimension: number | null;
  readonly parameters: ModelParameters;
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
  files,
  parameters,
}: Pick<ModelDefinition, "family" | "files" | "parameters">): void {
  const { pooling, windowTokens, inflections } = parameters;
  switch (family) {
    case "words":
      if (files.length !== 1)
        throw invalid("files", `are ${files.length}; a model of word vectors has one`, {
          value: files.length,
          limit: 1,
        });
      if (pooling === "cls")
        throw invalid("parameters.pooling", "cls means nothing to word vectors; there are idf, mean", {
          value: pooling,
        });
      if (windowTokens !== undefined) throw invalid("parameters.windowTokens", "means nothing to word vectors");
      return;
    case "transformer":
      requireTransformerFiles(files);
      if (inflections !== undefined) throw invalid("parameters.inflections", "means nothing to transformers");
      if (pooling === "idf")
        throw invalid("parameters.pooling", "idf means nothing to transformers; there are mean, cls", {
          value: pooling,
        });
      return;
    default:
      family satisfies never;
  }
}
