// The Durable Object classes of the Worker, as the self-hosted server binds them.
// Guarantees: `uniqueKey` names a class's directory on disk and never changes. A test keeps wrangler.toml equal to this table.

import { isLeaderBinding } from "../cluster/placement.ts";

export interface ObjectClass {
  readonly className: string;
  /** The name in the Worker's `env`. */
  readonly binding: string;
  /** Directory of its SQLite files under <data>/objects. Changing it would orphan stored data. */
  readonly uniqueKey: string;
  /** True = stays in memory for ever. Only for classes with few objects: a sleeping tenant must not cost 300 KB. */
  readonly resident: boolean;
}

/** Of the embedder's Worker, whose configuration is wrangler.embedder.toml. */
export const embedderClass: ObjectClass = {
  className: "Embedder",
  binding: "EMBEDDERS",
  uniqueKey: "jade-embedder",
  resident: false,
};
/** Who runs them in a cluster: the leaders' process, or a zone's (cluster/placement.ts). */
export function classesOf(role: "zone" | "leaders" | undefined): readonly ObjectClass[] {
  if (role === undefined) return objectClasses;
  return objectClasses.filter(({ binding }) => isLeaderBinding(binding) === (role === "leaders"));
}

export const objectClasses: readonly ObjectClass[] = [
  { className: "Directory", binding: "DIRECTORY", uniqueKey: "jade-directory", resident: true },
  { className: "Tenant", binding: "TENANT", uniqueKey: "jade-tenant", resident: false },
  { className: "Coordinator", binding: "COORDINATOR", uniqueKey: "jade-coordinator", resident: true },
  { className: "KeyValueReplica", binding: "KEY_VALUE_REPLICA", uniqueKey: "jade-key-value-replica", resident: true },
  { className: "ConfigKeyspace", binding: "CONFIG_KEYSPACE", uniqueKey: "jade-config-keyspace", resident: false },
  { className: "ConfigFollower", binding: "CONFIG_FOLLOWER", uniqueKey: "jade-config-follower", resident: false },
  { className: "WebhookSender", binding: "WEBHOOK_SENDER", uniqueKey: "jade-webhook-sender", resident: false },
  { className: "VectorShard", binding: "VECTOR_SHARD", uniqueKey: "jade-vector-shard", resident: false },
  { className: "VectorFollower", binding: "VECTOR_FOLLOWER", uniqueKey: "jade-vector-follower", resident: false },
  { className: "ZoneViews", binding: "ZONE_VIEWS", uniqueKey: "jade-zone-views", resident: false },
];
