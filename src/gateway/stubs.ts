// The way from the gateway to each object. One place, so that a cluster can route differently without the handlers knowing.

import type { TenantDatabasesRpc } from "../../objects/database-rpc.ts";
import type { Env } from "../../objects/env.ts";
import { copyName, keyspaceName, readableKeyspace } from "../../objects/known-namespaces.ts";
import { type Mailbox, mailboxOf } from "../../objects/mailbox.ts";
import type {
  ConfigFollowerRpc,
  ConfigKeyspaceRpc,
  CoordinatorRpc,
  KeyValueReplicaRpc,
  ZoneViewsRpc,
} from "../../objects/rpc.ts";
import type { DirectoryAdminRpc, TenantAdminRpc } from "../../objects/tenancy-rpc.ts";
import type { VectorFollowerRpc, VectorShardRpc } from "../../objects/vector-rpc.ts";
import type { TenantWebhooksRpc, WebhookSenderRpc } from "../../objects/webhook-rpc.ts";
import { zoneHere } from "../cluster/placement.ts";

export class Stubs {
  readonly #env: Env;
  /** The Coordinator of this process, and the zone's copies, are called by it. */
  readonly #zone: string;
  /** The short way to the Coordinator, while it is open. */
  readonly mailbox: Mailbox;
  /** Ids are plain values and may be kept; stubs belong to the request that made them. */
  #coordinatorId: DurableObjectId | undefined;

  constructor(env: Env) {
    this.#env = env;
    this.#zone = zoneHere(env);
    this.mailbox = mailboxOf(this.#zone);
  }

  coordinator(): CoordinatorRpc {
    this.#coordinatorId ??= this.#env.COORDINATOR.idFromName(this.#zone);
    return this.#env.COORDINATOR.get(this.#coordinatorId);
  }

  directory(): DirectoryAdminRpc {
    const namespace = this.#env.DIRECTORY;
    return namespace.get(namespace.idFromName("system")) as DirectoryAdminRpc;
  }

  /** The zone's own copies of views. */
  zoneViews(): ZoneViewsRpc {
    const objects = this.#env.ZONE_VIEWS;
    return objects.get(objects.idFromName(this.#zone));
  }

  tenant(tenant: number): TenantAdminRpc & TenantWebhooksRpc & TenantDatabasesRpc {
    const namespace = this.#env.TENANT;
    return namespace.get(namespace.idFromName(`t${tenant}`)) as TenantAdminRpc & TenantWebhooksRpc & TenantDatabasesRpc;
  }

  /** The zone's copy of a tenant's namespace. */
  configFollower(tenant: number, namespace: string): ConfigFollowerRpc {
    const objects = this.#env.CONFIG_FOLLOWER;
    return objects.get(objects.idFromName(copyName(this.#zone, keyspaceName({ tenant, namespace }))));
  }

  /** The one owner of a tenant's namespace. */
  configKeyspace(tenant: number, namespace: string): ConfigKeyspaceRpc {
    const objects = this.#env.CONFIG_KEYSPACE;
    return objects.get(objects.idFromName(keyspaceName({ tenant, namespace })));
  }

  /** False = it was never written to. */
  async hasNamespace(tenant: number, namespace: string): Promise<boolean> {
    return (await readableKeyspace(this.#env, { tenant, namespace })) === keyspaceName({ tenant, namespace });
  }

  /** As {@link configKeyspace}, for a read: of a namespace that was never written to it is the keyspace in which nothing is. */
  async configKeyspaceToRead(tenant: number, namespace: string): Promise<ConfigKeyspaceRpc> {
    const objects = this.#env.CONFIG_KEYSPACE;
    return objects.get(objects.idFromName(await readableKeyspace(this.#env, { tenant, namespace })));
  }

  webhookSender(tenant: number, id: string): WebhookSenderRpc {
    const objects = this.#env.WEBHOOK_SENDER;
    return objects.get(objects.idFromName(`w${tenant}/${id}`));
  }

  /** `name`: of vector/database/record.ts. */
  vectorShard(name: string): VectorShardRpc {
    const objects = this.#env.VECTOR_SHARD;
    return objects.get(objects.idFromName(name));
  }

  /** `name`: of vector/database/placement.ts. */
  vectorFollower(name: string): VectorFollowerRpc {
    const objects = this.#env.VECTOR_FOLLOWER;
    return objects.get(objects.idFromName(name));
  }

  replica(nodeId: string): KeyValueReplicaRpc {
    const namespace = this.#env.KEY_VALUE_REPLICA;
    return namespace.get(namespace.idFromName(nodeId));
  }
}
