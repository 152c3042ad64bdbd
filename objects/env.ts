// The bindings every object and the gateway see. wrangler.toml and src/server/workerd-config.ts provide them.

import type { EmbedderServiceRpc } from "./embedder-rpc.ts";
import type {
  ConfigFollowerRpc,
  ConfigKeyspaceRpc,
  CoordinatorRpc,
  DirectoryRpc,
  KeyValueReplicaRpc,
  TenantRpc,
  ZoneViewsRpc,
} from "./rpc.ts";
import type { VectorFollowerRpc, VectorShardRpc } from "./vector-rpc.ts";
import type { WebhookSenderRpc } from "./webhook-rpc.ts";

/** A stub offers the methods of its class; typed here by the surface, so that callers never import the class. */
export interface Namespace<Rpc> {
  idFromName(name: string): DurableObjectId;
  get(id: DurableObjectId, options?: DurableObjectNamespaceGetDurableObjectOptions): Rpc;
}

export interface Env {
  readonly DIRECTORY: Namespace<DirectoryRpc>;
  readonly TENANT: Namespace<TenantRpc>;
  readonly COORDINATOR: Namespace<CoordinatorRpc>;
  readonly CONFIG_KEYSPACE: Namespace<ConfigKeyspaceRpc>;
  readonly CONFIG_FOLLOWER: Namespace<ConfigFollowerRpc>;
  readonly WEBHOOK_SENDER: Namespace<WebhookSenderRpc>;
  readonly VECTOR_SHARD: Namespace<VectorShardRpc>;
  readonly VECTOR_FOLLOWER: Namespace<VectorFollowerRpc>;
  readonly ZONE_VIEWS: Namespace<ZoneViewsRpc>;
  readonly KEY_VALUE_REPLICA: Namespace<KeyValueReplicaRpc>;
  /** The embedder's Worker. Without it texts are not embedded; all else works. */
  readonly EMBEDDER?: EmbedderServiceRpc;
  /** Present when the blob store is R2. */
  readonly BLOBS?: R2Bucket;
  /** Present when the blob store is a directory served by workerd. */
  readonly BLOB_DISK?: Fetcher;
  /** The way to webhooks' receivers on one's own servers: reaches what the operator allows. On Cloudflare the Worker's own fetch. */
  readonly WEBHOOK_NETWORK?: Fetcher;
  /** Of a zone's process in a cluster: its supervisor, which answers what it knows of all instances (src/cluster/told.ts). */
  readonly SUPERVISOR?: Fetcher;
  /** The crash tests' harness (docs/fail-points.md). Nothing else binds it. */
  readonly FAIL_POINTS?: Fetcher;
  /** Hex SHA-256 of the root key; or the key itself under wrangler. */
  readonly JADE_ROOT_KEY_HASH?: string;
  readonly JADE_ROOT_KEY?: string;
  /** JSON of src/cluster/settings.ts. */
  readonly JADE_CONFIG?: string;
  readonly JADE_MODE?: string;
  /** JSON of src/cluster/placement.ts: which process of a cluster this is. */
  readonly JADE_CLUSTER?: string;
}
