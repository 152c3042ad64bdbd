// `client.models`: embedding models, and vectors of texts (over HTTP). Registering, changing and deleting need a key of scope admin.
// Guarantees: a change is made once over all of its retries; a model that was added is active or the call throws.
import { base64Of } from "./config-codec.ts";
import { pathPart } from "./database-path.ts";
import type { HttpClient, HttpRequest } from "./http.ts";
import type {
  EmbeddingInput,
  EmbeddingModel,
  ModelAddOptions,
  ModelChanges,
  ModelFileInput,
  ModelWriteOptions,
  NewModel,
  TextEmbedding,
} from "./model-types.ts";
import { eachItem } from "./pages.ts";
import type { CallOptions, ListOptions, Page } from "./types.ts";
import { BINARY_TYPE } from "./vector-batch.ts";
import { tensorFields } from "./vector-inputs.ts";

const PATH = "/v1/embedding-models";

async function sha256Hex(bytes: Uint8Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Models {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  get(modelId: string, options: CallOptions = {}): Promise<EmbeddingModel> {
    return this.#data({ ...options, method: "GET", path: pathOf(modelId) });
  }

  page({ limit, cursor, ...options }: ListOptions = {}): Promise<Page<EmbeddingModel>> {
    return this.#data({ ...options, method: "GET", path: PATH, query: { limit, cursor } });
  }

  /** All that the tenant has, also those that come with the server. */
  list(options: ListOptions = {}): AsyncGenerator<EmbeddingModel, void, undefined> {
    return eachItem(options.cursor, (cursor) => this.page({ ...options, cursor }));
  }

  /** Registers a model, uploads its files in parts and makes it active. What was begun and failed is deleted again. */
  async add(model: NewModel, files: readonly ModelFileInput[], options: ModelAddOptions = {}): Promise<EmbeddingModel> {
    const { onProgress, ...call } = options;
    const described = await Promise.all(
      files.map(async ({ name, bytes }) => ({ name, bytes: bytes.length, sha256: await sha256Hex(bytes) })),
    );
    const body = JSON.stringify({ ...model, files: described });
    const { modelId, partBytes } = await this.#data<EmbeddingModel>({ ...call, method: "POST", path: PATH, body });
    try {
      let stored = 0;
      for (const { name, bytes } of files) {
        for (let part = 0; part * partBytes < bytes.length; part++) {
          const slice = bytes.subarray(part * partBytes, (part + 1) * partBytes);
          const path = `${pathOf(modelId)}/files/${pathPart(name)}`;
          const sent = { method: "PUT", path, query: { part }, body: slice, contentType: BINARY_TYPE } as const;
          await this.#data({ ...call, ...sent });
          stored += slice.length;
          onProgress?.(stored);
        }
      }
      return await this.update(modelId, { status: "active" }, call);
    } catch (error) {
      // What is told is why it failed.
      await this.delete(modelId).catch(() => undefined);
      throw error;
    }
  }

  update(modelId: string, changes: ModelChanges, options: ModelWriteOptions = {}): Promise<EmbeddingModel> {
    return this.#data({ ...options, method: "PATCH", path: pathOf(modelId), body: JSON.stringify(changes) });
  }

  enable(modelId: string, options: ModelWriteOptions = {}): Promise<EmbeddingModel> {
    return this.update(modelId, { status: "active" }, options);
  }

  disable(modelId: string, options: ModelWriteOptions = {}): Promise<EmbeddingModel> {
    return this.update(modelId, { status: "disabled" }, options);
  }

  async delete(modelId: string, options: ModelWriteOptions = {}): Promise<void> {
    await this.#data({ ...options, method: "DELETE", path: pathOf(modelId) });
  }

  /** Vectors of up to 512 texts, images or tensors, without storing anything. */
  async embed(
    inputs: readonly EmbeddingInput[],
    model: string,
    options: CallOptions = {},
  ): Promise<readonly TextEmbedding[]> {
    const body = JSON.stringify({ input: inputs.map(inputField), model });
    const { embeddings } = await this.#data<{
      embeddings: readonly (Omit<TextEmbedding, "values"> & { readonly values: readonly number[] })[];
    }>({ ...options, method: "POST", path: "/v1/embeddings", body });
    return embeddings.map((one) => ({ ...one, values: Float32Array.from(one.values) }));
  }

  async #data<T>(request: HttpRequest): Promise<T> {
    return (await this.#http.call(request)).data as T;
  }
}

function inputField(input: EmbeddingInput): unknown {
  if (typeof input === "string") return input;
  return "image" in input ? { image: base64Of(input.image) } : { tensor: tensorFields(input.tensor) };
}

function pathOf(modelId: string): string {
  return `${PATH}/${pathPart(modelId)}`;
}
