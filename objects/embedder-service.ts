// The way into the embedder's Worker: finds the tenant's embedder. Bound as EMBEDDER by the gateway's Worker.
// Must not: hold anything; methods take the tenant's number, for stubs of objects do not cross processes.
import { WorkerEntrypoint } from "cloudflare:workers";
import type { ModelDefinition } from "../src/embedding/model.ts";
import type { EmbedderEnv } from "./embedder-env.ts";
import { embedderMetrics } from "./embedder-isolate.ts";
import type { EmbedAsk, EmbedderRpc, EmbedderServiceRpc, ModelChanges, ModelPart } from "./embedder-rpc.ts";
import type { Mutation } from "./tenancy-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

/** It answers nothing while it runs a batch. */
const RUNNER_METRICS_MS = 500;

export class EmbedderService extends WorkerEntrypoint<EmbedderEnv> implements EmbedderServiceRpc {
  #of(tenant: number): EmbedderRpc {
    const { EMBEDDERS } = this.env;
    return EMBEDDERS.get(EMBEDDERS.idFromName(`e${tenant}`));
  }

  /** A plain request says nothing here: everything goes by RPC. */
  override fetch(): Response {
    return new Response(null, { status: 404 });
  }

  createModel(tenant: number, definition: ModelDefinition, mutation: Mutation) {
    return this.#of(tenant).createModel(definition, mutation);
  }

  listModels(tenant: number, page: { readonly after: string; readonly limit: number }) {
    return this.#of(tenant).listModels(page);
  }

  findModel(tenant: number, modelId: string) {
    return this.#of(tenant).findModel(modelId);
  }

  putPart(tenant: number, part: ModelPart, bytes: Uint8Array) {
    return this.#of(tenant).putPart(part, bytes);
  }

  changeModel(tenant: number, modelId: string, changes: ModelChanges, mutation: Mutation) {
    return this.#of(tenant).changeModel(modelId, changes, mutation);
  }

  deleteModel(tenant: number, modelId: string, mutation: Mutation) {
    return this.#of(tenant).deleteModel(modelId, mutation);
  }

  embed(tenant: number, ask: EmbedAsk) {
    return this.#of(tenant).embed(ask);
  }

  erase(tenant: number) {
    return this.#of(tenant).erase();
  }

  async metrics(): Promise<Record<string, number>> {
    const { MODEL_RUNNER } = this.env;
    if (!MODEL_RUNNER) return embedderMetrics();
    const late = withDeadline(MODEL_RUNNER.metrics(), RUNNER_METRICS_MS, "the process that runs models");
    // While it is away it has no models in memory.
    const away = { jade_embedding_models_loaded: 0, jade_embedding_model_bytes: 0 };
    return { ...embedderMetrics(), ...(await late.catch(() => away)) };
  }
}
