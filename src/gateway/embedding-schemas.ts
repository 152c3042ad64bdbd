// The zod schemas of /v1/embedding-models and /v1/embeddings.
import { z } from "@hono/zod-openapi";
import { DEFAULT_PAGE_ITEMS, MAX_PAGE_ITEMS } from "../access/limits.ts";
import { ELEMENT_TYPES } from "../embedding/graph/session.ts";
import { INPUT_TYPES } from "../embedding/item.ts";
import {
  MAX_CALL_TEXTS,
  MAX_MODEL_BYTES,
  MAX_MODEL_FILES,
  MAX_OUTPUT_DIMENSION,
  MAX_TENSOR_VALUES,
  MAX_TEXT_BYTES,
  PART_BYTES,
} from "../embedding/limits.ts";
import { MODEL_FAMILIES } from "../embedding/model.ts";
import { DEFAULT_PROVIDER_BATCH, DEFAULT_PROVIDER_TIMEOUT_MS, SECRET_NAME } from "../embedding/provider/limits.ts";
import { PROVIDERS } from "../embedding/provider/provider.ts";
import { pageOfShape } from "./config-schemas.ts";
import { pageQuery } from "./cursor.ts";
import { imageField, tensorField } from "./embed-items.ts";

const whole = (least: number, most: number) => z.int("must be a whole number").min(least).max(most);
const text = (most: number) => z.string().max(most);

export const modelId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "must be A-Z, a-z, 0-9, ., _ and -, beginning with a letter or digit")
  .max(100)
  .openapi({ example: "glove-twitter-25d" });
const fileName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "must be A-Z, a-z, 0-9, ., _ and -, beginning with a letter or digit")
  .max(100)
  .openapi({ example: "vectors.txt" });

export const modelParams = z.strictObject({ id: modelId });
export const fileParams = z.strictObject({ id: modelId, file: fileName });
export const partQuery = z.strictObject({
  part: whole(0, MAX_MODEL_BYTES / PART_BYTES)
    .default(0)
    .openapi({ description: `From 0. A part has ${PART_BYTES} bytes; the last one what is left.` }),
});
export const noQuery = z.strictObject({});
export const modelsQuery = z.strictObject({
  limit: whole(1, MAX_PAGE_ITEMS).default(DEFAULT_PAGE_ITEMS).openapi({ description: "Items a page." }),
  cursor: pageQuery.shape.cursor,
});

const parameters = z.strictObject({
  maxTokens: whole(1, 100_000).optional().openapi({ description: "Words of a text; one of more is refused." }),
  normalize: z.boolean().optional().openapi({ description: "Vectors get length 1. Default: true." }),
  pooling: z.enum(["idf", "mean", "cls"]).optional().openapi({
    description:
      "words: a word weighs by its inverse document frequency (idf, default), or all alike (mean). transformer: the mean of the tokens' vectors (default), or that of the first (cls). image, tensor: of a graph that gives several vectors, likewise; image: cls is the default.",
  }),
  inflections: z.enum(["english"]).optional().openapi({
    description:
      "words: an unknown word takes the vector of the word that it is a form of by its ending, such as kittens that of kitten. It still counts among unknownTokens. Default: none.",
  }),
  windowTokens: whole(8, 8192).optional().openapi({
    description:
      "transformer: tokens seen at once; longer texts are windows of so many. Default: 256, or what the model has places for.",
  }),
});

const tensorInput = z.strictObject({
  name: text(200).min(1),
  type: z.enum(ELEMENT_TYPES),
  shape: z
    .array(whole(1, MAX_TENSOR_VALUES).nullable())
    .max(8)
    .openapi({ description: "null: any number.", example: [1, null] }),
});

const remote = z.strictObject({
  provider: z.enum(PROVIDERS).openapi({
    description: "openai: an endpoint that speaks OpenAI's /v1/embeddings. workers-ai: Workers AI, on Cloudflare.",
  }),
  model: text(200).min(1).openapi({ description: "By the provider's name for it.", example: "text-embedding-3-small" }),
  url: text(2000).optional().openapi({
    description: "openai: the whole address. Private and local ones need the operator's embedding.allowedNetworks.",
    example: "https://api.openai.com/v1/embeddings",
  }),
  secret: z.string().regex(SECRET_NAME, "must be A-Z, 0-9 and _, beginning with a letter").optional().openapi({
    description: "openai: the name of the operator's secret that holds the key (embedding.secrets).",
    example: "OPENAI_KEY",
  }),
  timeoutMs: whole(100, 10_000)
    .optional()
    .openapi({ description: `One try. Default: ${DEFAULT_PROVIDER_TIMEOUT_MS}.` }),
  batchTexts: whole(1, DEFAULT_PROVIDER_BATCH)
    .optional()
    .openapi({ description: `Texts of one call. Default: ${DEFAULT_PROVIDER_BATCH}.` }),
  dimensions: whole(1, MAX_OUTPUT_DIMENSION)
    .optional()
    .openapi({ description: "openai: asked of models that can give shorter vectors." }),
});

const file = z.strictObject({
  name: fileName,
  bytes: whole(1, MAX_MODEL_BYTES),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "must be 64 hex digits in lower case")
    .openapi({ description: "Of the whole file." }),
});

const changeable = {
  name: text(200).min(1).optional().openapi({ description: "Default: the id.", example: "GloVe" }),
  description: text(2000).optional(),
  parameters: parameters.optional().openapi({ description: "Fixed once the model is active." }),
  licence: text(200).optional().openapi({ description: "Under which the files were given.", example: "PDDL-1.0" }),
  source: text(1000).optional().openapi({ description: "Where they came from." }),
};

export const newModelBody = z.strictObject({
  modelId: modelId.optional().openapi({ description: "Default: one is made." }),
  version: text(200).default(""),
  provider: text(200).default(""),
  family: z.enum(MODEL_FAMILIES).default("words").openapi({
    description:
      "words: a file of word vectors, in GloVe's or word2vec's text form, word2vec's binary form, fastText's .bin, or the compact form. transformer: model.onnx, tokenizer.json, config.json, and tokenizer_config.json if there is one. image: model.onnx and preprocessor_config.json. tensor: model.onnx, with `inputs`. remote: no file, but `remote`. Weights outside of a graph are files by the names that it has for them.",
  }),
  inputType: z.enum(INPUT_TYPES).optional().openapi({ description: "What the family takes, if it is given." }),
  inputs: z
    .array(tensorInput)
    .optional()
    .openapi({ description: "Family tensor: what the graph takes, with the first dimension." }),
  outputDimension: whole(1, MAX_OUTPUT_DIMENSION).optional().openapi({ description: "Default: what the files say." }),
  files: z
    .array(file)
    .max(MAX_MODEL_FILES)
    .default([])
    .openapi({ description: "What will be uploaded. Remote models have none." }),
  remote: remote.optional().openapi({ description: "Family remote: where the model is." }),
  ...changeable,
  status: z.string().max(20).optional().openapi({ description: "The server's to say." }),
});

export const modelChangesBody = z.strictObject({
  ...changeable,
  status: z.enum(["active", "disabled"]).optional().openapi({
    description: "active: after the upload, when all bytes are there, match their sha256 and can be read as a model.",
  }),
});

const input = z.union([z.string(), z.strictObject({ image: imageField.optional(), tensor: tensorField.optional() })]);

export const embeddingsBody = z.strictObject({
  input: z.union([input, z.array(input).min(1).max(MAX_CALL_TEXTS)]).openapi({
    description: `A text of at most ${MAX_TEXT_BYTES} bytes, an image or tensors as the model takes them, or up to ${MAX_CALL_TEXTS} of them.`,
    example: ["a cup of tea"],
  }),
  model: modelId,
});

const number = z.number();
export const modelShape = z.object({
  modelId: z.string(),
  name: z.string(),
  version: z.string(),
  provider: z.string(),
  family: z.enum(MODEL_FAMILIES),
  inputType: z.enum(INPUT_TYPES),
  inputs: z.array(tensorInput).optional(),
  remote: remote.optional(),
  outputDimension: number.nullable().openapi({ description: "null: not known before the files are there." }),
  parameters,
  status: z.enum(["uploading", "active", "disabled"]),
  description: z.string(),
  licence: z.string(),
  source: z.string(),
  isShipped: z.boolean().openapi({ description: "It came with the server: every tenant has it." }),
  files: z.array(file),
  storedBytes: number,
  partBytes: number,
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
});
export const modelsShape = pageOfShape(modelShape);
export const partShape = z.object({
  modelId: z.string(),
  file: z.string(),
  part: number,
  bytes: number,
  storedBytes: number,
  isWhole: z.boolean().openapi({ description: "All parts of all files are there." }),
});
export const deletedModelShape = z.object({ modelId: z.string() });
export const embeddingsShape = z.object({
  model: z.string(),
  dimension: number,
  embeddings: z.array(z.object({ values: z.array(number), tokens: number, unknownTokens: number })),
});
