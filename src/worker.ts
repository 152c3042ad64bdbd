// The Worker's entry: the gateway and every object class. Nothing else.
export { ConfigFollower } from "../objects/config-follower.ts";
export { ConfigKeyspace } from "../objects/config-keyspace.ts";
export { Coordinator } from "../objects/coordinator.ts";
export { Directory } from "../objects/directory.ts";
export { KeyValueReplica } from "../objects/key-value-replica.ts";
export { Tenant } from "../objects/tenant.ts";
export { VectorFollower } from "../objects/vector-follower.ts";
export { VectorShard } from "../objects/vector-shard.ts";
export { WebhookSender } from "../objects/webhook-sender.ts";
export { default } from "./gateway/entry.ts";
