// The Worker's entry: the gateway, every object class, and what the processes of a cluster call. Nothing else.
import { ConfigFollower as ConfigFollowerClass } from "../objects/config-follower.ts";
import { ConfigKeyspace as ConfigKeyspaceClass } from "../objects/config-keyspace.ts";
import { Coordinator as CoordinatorClass } from "../objects/coordinator.ts";
import { Directory as DirectoryClass } from "../objects/directory.ts";
import { KeyValueReplica as KeyValueReplicaClass } from "../objects/key-value-replica.ts";
import { placed } from "../objects/reach.ts";
import { provideSessionVectors } from "../objects/session-vectors.ts";
import { Tenant as TenantClass } from "../objects/tenant.ts";
import { VectorFollower as VectorFollowerClass } from "../objects/vector-follower.ts";
import { VectorShard as VectorShardClass } from "../objects/vector-shard.ts";
import { WebhookSender as WebhookSenderClass } from "../objects/webhook-sender.ts";
import { ZoneViews as ZoneViewsClass } from "../objects/zone-views.ts";
import { GatewaySessionVectors } from "./gateway/session-vectors.ts";

provideSessionVectors((host) => new GatewaySessionVectors(host));

export { Bulletin } from "../objects/bulletin.ts";
export { Relay } from "../objects/relay.ts";
export { default } from "./gateway/entry.ts";

export class ConfigFollower extends placed(ConfigFollowerClass) {}
export class ConfigKeyspace extends placed(ConfigKeyspaceClass) {}
export class Coordinator extends placed(CoordinatorClass) {}
export class Directory extends placed(DirectoryClass) {}
export class KeyValueReplica extends placed(KeyValueReplicaClass) {}
export class Tenant extends placed(TenantClass) {}
export class VectorFollower extends placed(VectorFollowerClass) {}
export class VectorShard extends placed(VectorShardClass) {}
export class WebhookSender extends placed(WebhookSenderClass) {}
export class ZoneViews extends placed(ZoneViewsClass) {}
