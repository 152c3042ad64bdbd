// The bindings of the embedder's Worker. wrangler.embedder.toml and src/server/workerd-config.ts provide them.
import type { EmbedderRpc } from "./embedder-rpc.ts";
import type { Env, Namespace } from "./env.ts";

export interface EmbedderEnv extends Pick<Env, "BLOBS" | "BLOB_DISK" | "JADE_CONFIG"> {
  readonly EMBEDDERS: Namespace<EmbedderRpc>;
}
