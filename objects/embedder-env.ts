// The bindings of the embedder's Worker. wrangler.embedder.toml and src/server/workerd-config.ts provide them.
import type { EmbedderRpc } from "./embedder-rpc.ts";
import type { Env, Namespace } from "./env.ts";
import type { ModelRunnerRpc } from "./model-runner-rpc.ts";

export interface EmbedderEnv extends Pick<Env, "BLOBS" | "BLOB_DISK" | "JADE_CONFIG"> {
  readonly EMBEDDERS: Namespace<EmbedderRpc>;
  /** The process that runs models; without it they run in this isolate. */
  readonly MODEL_RUNNER?: ModelRunnerRpc;
}
