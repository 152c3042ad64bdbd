// The bindings of the embedder's Worker. wrangler.embedder.toml and src/server/workerd-config.ts provide them.
import type { EmbedderRpc } from "./embedder-rpc.ts";
import type { Env, Namespace } from "./env.ts";
import type { ModelRunnerRpc } from "./model-runner-rpc.ts";

export interface EmbedderEnv extends Pick<Env, "BLOBS" | "BLOB_DISK" | "JADE_CONFIG"> {
  readonly EMBEDDERS: Namespace<EmbedderRpc>;
  /** What requests to endpoints of remote models go through: it refuses private networks. Missing = the platform's own (Cloudflare). */
  readonly EMBEDDING_NETWORK?: Fetcher;
  /** Workers AI. */
  readonly AI?: { run(model: string, input: { readonly text: readonly string[] }): Promise<unknown> };
  /** The process that runs models; without it they run in this isolate. */
  readonly MODEL_RUNNER?: ModelRunnerRpc;
}
