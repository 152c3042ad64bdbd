// The RPC surface of webhooks, as gateway and Tenant see it.
import type { DeadLetter, WebhookProgress, WebhookSubscription, WebhookTarget } from "../src/config/webhook-types.ts";
import type { Mutation, RpcResult } from "./tenancy-rpc.ts";

/** What a tenant asks for. */
export interface NewWebhook {
  readonly subscription: Omit<WebhookSubscription, "id">;
  readonly startRevision: number;
  /** Null = one is made. */
  readonly secret: string | null;
}

export interface CreatedWebhook {
  readonly id: string;
  /** Where it was made. */
  readonly secret?: string;
}

/** What the Tenant hands to a sender; the same again after a crash in between. */
export interface WebhookStart {
  readonly subscription: WebhookSubscription;
  readonly startRevision: number;
  readonly secret: string;
  readonly createdAtMs: number;
}

export interface WebhookRow {
  readonly id: string;
  readonly namespace: string;
  readonly createdAtMs: number;
}

export interface WebhookInfo {
  readonly subscription: WebhookSubscription;
  readonly progress: WebhookProgress;
  readonly createdAtMs: number;
  readonly deadLetterCount: number;
  /** Null = there is one secret. */
  readonly oldSecretUntilMs: number | null;
  /** Where one was made. */
  readonly secret?: string;
}

export interface WebhookChanges {
  readonly target: Partial<WebhookTarget>;
  readonly state?: "active" | "paused" | undefined;
  /** Goes on behind the dead letter that it stands at. */
  readonly skipDeadLetter?: boolean | undefined;
  /** A new one; null = one is made. The old one signs for a day more. */
  readonly secret?: string | null | undefined;
}

export interface NumberedDeadLetter extends DeadLetter {
  readonly number: number;
}

/** What a `Tenant` does for webhooks. */
export interface TenantWebhooksRpc {
  createWebhook(input: NewWebhook, mutation: Mutation): Promise<RpcResult<CreatedWebhook>>;
  deleteWebhook(id: string, mutation: Mutation): Promise<RpcResult<{ readonly id: string }>>;
  /** After the id `after`, by id. */
  listWebhooks(page: { readonly after: string; readonly limit: number }): Promise<readonly WebhookRow[]>;
}

/** `WebhookSender`: one per subscription. Name: `w<tenant>/<id>`. */
export interface WebhookSenderRpc {
  /** Idempotent. */
  start(start: WebhookStart): Promise<void>;
  /** Null = there is no such subscription. */
  describe(): Promise<RpcResult<WebhookInfo | null>>;
  change(changes: WebhookChanges, mutation: Mutation): Promise<RpcResult<WebhookInfo>>;
  replay(fromRevision: number, mutation: Mutation): Promise<RpcResult<WebhookInfo>>;
  /** The newest first, below the number `before`. */
  deadLetters(page: {
    readonly before: number;
    readonly limit: number;
  }): Promise<RpcResult<readonly NumberedDeadLetter[]>>;
  /** Where there was something the object restarts and the call fails: ask again until it does not. */
  erase(): Promise<void>;
}
