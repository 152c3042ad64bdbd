// What runs models where that has a process of its own: inference is synchronous, so its thread answers nothing else meanwhile.
// Guarantees: memory is bounded: models by the setting, files on their way by MAX_BRINGING. Must not: store anything, or be asked by anyone but
// embedders; it knows no tenants.
import { WorkerEntrypoint } from "cloudflare:workers";
import { parseSettings } from "../src/cluster/settings.ts";
import type { Item } from "../src/embedding/item.ts";
import { EmbeddingRefusal } from "../src/embedding/refusal.ts";
import type { EmbedderEnv } from "./embedder-env.ts";
import { loadModel, type ModelInput } from "./embedder-families.ts";
import { loadedModels, runnerMetrics } from "./embedder-isolate.ts";
import type { Embedded } from "./embedder-rpc.ts";
import { embeddedOf } from "./embedder-shown.ts";
import type { ModelRunnerRpc, RunnerLoad, RunnerModel } from "./model-runner-rpc.ts";
import { failure, type RpcResult } from "./tenancy-rpc.ts";

const MIB = 1024 * 1024;
/** Models whose files are on their way; the oldest is forgotten for another. */
const MAX_BRINGING = 4;

/** Whoever was cut off while it brought files leaves an entry behind, hence the bound. */
const bringing = new Map<string, ModelInput & { readonly files: Map<string, Uint8Array> }>();

export class ModelRunner extends WorkerEntrypoint<EmbedderEnv> implements ModelRunnerRpc {
  /** A plain request says nothing here: everything goes by RPC. */
  override fetch(): Response {
    return new Response(null, { status: 404 });
  }

  async run(key: string, texts: readonly Item[]): Promise<Embedded | null> {
    const model = loadedModels.get(key);
    if (!model) return null;
    const outcomes = await model.run(texts);
    return embeddedOf({ modelId: key, dimension: model.dimension, outcomes, paths: texts.map(() => "") });
  }

  async begin(load: string, key: string, definition: ModelInput["definition"]): Promise<void> {
    const files = new Map(definition.files.map(({ name, bytes }) => [name, new Uint8Array(bytes)]));
    for (const [oldest] of bringing) {
      if (bringing.size < MAX_BRINGING) break;
      bringing.delete(oldest);
    }
    bringing.set(load, { key, definition, files });
  }

  async bring({ load, file, offset }: RunnerLoad, bytes: Uint8Array): Promise<void> {
    bringing.get(load)?.files.get(file)?.set(bytes, offset);
  }

  async load(load: string): Promise<RpcResult<RunnerModel>> {
    const input = bringing.get(load);
    if (!input) return failure("overloaded", "too many models are being loaded; try again");
    bringing.delete(load);
    try {
      const model = await loadModel(input);
      loadedModels.add(model, parseSettings(this.env.JADE_CONFIG).embedding.memoryMiB * MIB);
      return { ok: true, value: { dimension: model.dimension } };
    } catch (error) {
      if (error instanceof EmbeddingRefusal) return failure(error.code, error.message, error.details);
      throw error;
    }
  }

  async drop(key: string): Promise<void> {
    loadedModels.drop(key);
  }

  async metrics(): Promise<Record<string, number>> {
    return runnerMetrics();
  }
}
