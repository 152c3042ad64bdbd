// The RPC surface of the embedder's Worker: models of tenants, and texts to vectors. Methods take the tenant's number, so that the Worker may be
// another process. An error that the client must see travels as a value.
import type { Item } from "../src/embedding/item.ts";
import type { ModelDefinition, ModelStatus } from "../src/embedding/model.ts";
import type { Mutation, RpcFailure, RpcResult } from "./tenancy-rpc.ts";

export interface ModelInfo {
  readonly definition: ModelDefinition;
  readonly status: ModelStatus;
  /** It came with the server: every tenant has it. */
  readonly isShipped: boolean;
  /** Of its files, those that are stored. */
  readonly storedBytes: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export type ModelChanges = Partial<
  Pick<ModelDefinition, "name" | "description" | "parameters" | "licence" | "source">
> & {
  readonly status?: "active" | "disabled" | undefined;
};

export interface ModelPart {
  readonly modelId: string;
  readonly file: string;
  /** From 0. */
  readonly part: number;
}

export interface StoredPart extends ModelPart {
  readonly bytes: number;
  readonly storedBytes: number;
  readonly isWhole: boolean;
}

export interface EmbedAsk {
  readonly modelId: string;
  /** Texts, images or tensors, all as the model takes them. */
  readonly texts: readonly Item[];
  /** Of each, for what is told about it. */
  readonly paths: readonly string[];
  /** What waits longer is refused. Ms. */
  readonly budgetMs: number;
}

export interface Embedded {
  readonly modelId: string;
  readonly dimension: number;
  /** float32, text after text; zeros where it failed. */
  readonly values: Uint8Array;
  readonly tokens: readonly number[];
  readonly unknownTokens: readonly number[];
  /** By the text's place; null = none failed. */
  readonly failures: readonly (Omit<RpcFailure, "ok"> | null)[];
}

/** One tenant's. */
export interface EmbedderRpc {
  createModel(definition: ModelDefinition, mutation: Mutation): Promise<RpcResult<ModelInfo>>;
  /** After the id `after`, by id. */
  listModels(page: { readonly after: string; readonly limit: number }): Promise<readonly ModelInfo[]>;
  /** Null = there is none. */
  findModel(modelId: string): Promise<ModelInfo | null>;
  putPart(part: ModelPart, bytes: Uint8Array): Promise<RpcResult<StoredPart>>;
  changeModel(modelId: string, changes: ModelChanges, mutation: Mutation): Promise<RpcResult<ModelInfo>>;
  deleteModel(modelId: string, mutation: Mutation): Promise<RpcResult<{ readonly modelId: string }>>;
  embed(ask: EmbedAsk): Promise<RpcResult<Embedded>>;
  erase(): Promise<void>;
}

type OfTenant<Rpc> = {
  [Name in keyof Rpc]: Rpc[Name] extends (...input: infer Input) => infer Output
    ? (tenant: number, ...input: Input) => Output
    : never;
};

/** What the gateway and the tenants' objects are bound to. */
export interface EmbedderServiceRpc extends OfTenant<EmbedderRpc> {
  metrics(): Promise<Record<string, number>>;
}
