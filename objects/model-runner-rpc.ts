// The RPC surface of the process that runs models (objects/model-runner.ts). It holds nothing that is not in memory: whoever asks brings the files
// of a model that is not there.
import type { Item } from "../src/embedding/item.ts";
import type { ModelDefinition } from "../src/embedding/model.ts";
import type { Embedded } from "./embedder-rpc.ts";
import type { RpcResult } from "./tenancy-rpc.ts";

export interface RunnerLoad {
  /** Of this loading: two may bring the same model. */
  readonly load: string;
  readonly file: string;
  /** Where in the file the bytes belong. */
  readonly offset: number;
}

export interface RunnerModel {
  readonly dimension: number;
}

export interface ModelRunnerRpc {
  /** Of a model in memory; `null` = it is not there. Refusals carry no path: they begin with a space. */
  run(key: string, texts: readonly Item[]): Promise<Embedded | null>;
  /** A model's files will come: by `bring`, then `load`. */
  begin(load: string, key: string, definition: ModelDefinition): Promise<void>;
  bring(place: RunnerLoad, bytes: Uint8Array): Promise<void>;
  load(load: string): Promise<RpcResult<RunnerModel>>;
  /** It is wanted no more. */
  drop(key: string): Promise<void>;
  metrics(): Promise<Record<string, number>>;
}
