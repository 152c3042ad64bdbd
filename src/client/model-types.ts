// The types of `client.models`. Pure types.
import type { CallOptions } from "./types.ts";
import type { Tensors } from "./vector-types.ts";

export interface ModelParameters {
  readonly maxTokens?: number | undefined;
  readonly normalize?: boolean | undefined;
  /** Words: what a word weighs (default: `idf`). Transformers: `mean` (default) or `cls`. */
  readonly pooling?: "idf" | "mean" | "cls" | undefined;
  /** Words: an unknown word takes the vector of the word that it is a form of ("kittens": "kitten"). */
  readonly inflections?: "english" | undefined;
  /** Transformers: tokens seen at once. */
  readonly windowTokens?: number | undefined;
}

export interface ModelChanges {
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  /** Fixed once the model is active. */
  readonly parameters?: ModelParameters | undefined;
  readonly licence?: string | undefined;
  readonly source?: string | undefined;
  readonly status?: "active" | "disabled" | undefined;
}

export interface NewModel extends Omit<ModelChanges, "status"> {
  /** Default: one is made. */
  readonly modelId?: string | undefined;
  readonly version?: string | undefined;
  readonly provider?: string | undefined;
  /** Default: `words`. */
  readonly family?: "words" | "transformer" | "image" | "tensor" | "remote" | undefined;
  /** Family remote: where the model is. It has no files. */
  readonly remote?: RemoteModel | undefined;
  /** Family tensor: what the graph takes, with the first dimension. */
  readonly inputs?: readonly ModelInput[] | undefined;
  /** Default: what the files say. */
  readonly outputDimension?: number | undefined;
}

export interface EmbeddingModel {
  readonly modelId: string;
  readonly name: string;
  readonly version: string;
  readonly provider: string;
  readonly family: string;
  readonly inputType: string;
  readonly inputs?: readonly ModelInput[];
  readonly remote?: RemoteModel;
  /** Null: not known before the files are there. */
  readonly outputDimension: number | null;
  readonly parameters: ModelParameters;
  readonly status: "uploading" | "active" | "disabled";
  readonly description: string;
  readonly licence: string;
  readonly source: string;
  /** It came with the server. */
  readonly isShipped: boolean;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
  readonly storedBytes: number;
  readonly partBytes: number;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** A model that somebody else runs. */
export interface RemoteModel {
  /** `openai`: an endpoint that speaks OpenAI's `/v1/embeddings`. */
  readonly provider: "openai" | "workers-ai";
  /** By the provider's name for it. */
  readonly model: string;
  /** openai: the whole address. */
  readonly url?: string | undefined;
  /** openai: the name of the operator's secret that holds the key. */
  readonly secret?: string | undefined;
  /** One try. */
  readonly timeoutMs?: number | undefined;
  readonly batchTexts?: number | undefined;
  readonly dimensions?: number | undefined;
}

export interface ModelInput {
  readonly name: string;
  readonly type: "float32" | "float64" | "int8" | "uint8" | "int32" | "int64" | "bool";
  /** Null: any number. */
  readonly shape: readonly (number | null)[];
}

/** A text, a PNG or JPEG, or what a model of the family `tensor` takes. */
export type EmbeddingInput = string | { readonly image: Uint8Array } | { readonly tensor: Tensors };

export interface ModelFileInput {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface ModelWriteOptions extends CallOptions {
  /** 32 hex digits: the same change sent again is made once. Default: random, kept over this call's retries. */
  readonly writeId?: string | undefined;
}

export interface ModelAddOptions extends CallOptions {
  /** After each part. */
  readonly onProgress?: ((storedBytes: number) => void) | undefined;
}

export interface TextEmbedding {
  readonly values: Float32Array;
  /** Words of the text. */
  readonly tokens: number;
  /** Of them, those that the model does not know. */
  readonly unknownTokens: number;
}
