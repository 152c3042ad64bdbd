// `client.config.webhooks`: changes of a namespace sent to a URL. Needs a key of scope admin.
// Guarantees: a change is made once over all of its retries; a secret is only in the answer of the call that made it.
import type { ConfigWriteOptions } from "./config-types.ts";
import type { HttpClient, HttpRequest } from "./http.ts";
import { eachItem } from "./pages.ts";
import type { CallOptions, ListOptions, Page } from "./types.ts";

/** How requests are sent; each has a default. */
export interface WebhookBounds {
  readonly maxAttempts?: number | undefined;
  readonly maxAgeSeconds?: number | undefined;
  readonly onDeadLetter?: "pause" | "skip" | undefined;
  readonly batchEvents?: number | undefined;
  readonly timeoutMs?: number | undefined;
  readonly retryBaseMs?: number | undefined;
}

/** One of `key`, `prefix`, and `start` with `end`. */
export interface NewWebhook extends WebhookBounds {
  readonly url: string;
  readonly key?: string | undefined;
  readonly prefix?: string | undefined;
  readonly start?: string | undefined;
  readonly end?: string | undefined;
  readonly events?: readonly ("put" | "delete")[] | undefined;
  /** Default: what changes from now on. */
  readonly startRevision?: number | undefined;
  /** `whsec_…`; default: one is made. */
  readonly secret?: string | undefined;
}

export interface WebhookChanges extends WebhookBounds {
  readonly url?: string | undefined;
  readonly state?: "active" | "paused" | undefined;
  readonly skipDeadLetter?: true | undefined;
  readonly rotateSecret?: true | undefined;
  readonly secret?: string | undefined;
}

export interface Webhook extends Required<WebhookBounds> {
  readonly id: string;
  readonly namespace: string;
  readonly url: string;
  readonly key?: string;
  readonly prefix?: string;
  readonly start?: string;
  readonly end?: string;
  readonly events: readonly ("put" | "delete")[];
  readonly state: "active" | "paused";
  readonly pauseReason?: "asked" | "deadLetter" | "gone" | "compacted";
  /** Everything before it was acknowledged, or is a dead letter. */
  readonly nextRevision: number;
  readonly attempts: number;
  readonly lastError?: string;
  readonly deadLetters: number;
  readonly createdAt: string;
  /** Where it was made by this call. */
  readonly secret?: string;
}

export interface WebhookDeadLetter {
  readonly id: string;
  readonly fromRevision: number;
  readonly toRevision: number;
  readonly eventCount: number;
  readonly events: readonly { readonly id: string; readonly type: "put" | "delete"; readonly key: string }[];
  readonly attempts: number;
  readonly error: string;
  readonly firstAttemptAt: string;
  readonly at: string;
}

const PATH = "/v1/webhooks";

export class ConfigWebhooks {
  readonly #http: HttpClient;
  readonly #namespace: string | undefined;

  constructor(http: HttpClient, namespace?: string) {
    this.#http = http;
    this.#namespace = namespace;
  }

  create(webhook: NewWebhook, options: ConfigWriteOptions = {}): Promise<Webhook> {
    return this.#write("POST", "", { ...webhook, namespace: this.#namespace }, options) as Promise<Webhook>;
  }

  /** Of all namespaces of the tenant, fetched page by page. */
  list(options: ListOptions = {}): AsyncGenerator<Webhook, void, undefined> {
    return eachItem(options.cursor, (cursor) => this.#page<Webhook>("", { ...options, cursor }));
  }

  async get(id: string, options: CallOptions = {}): Promise<Webhook> {
    return (await this.#http.call({ ...options, method: "GET", path: `${PATH}/${encodeURIComponent(id)}` }))
      .data as Webhook;
  }

  change(id: string, changes: WebhookChanges, options: ConfigWriteOptions = {}): Promise<Webhook> {
    return this.#write("PATCH", id, changes, options) as Promise<Webhook>;
  }

  pause(id: string, options?: ConfigWriteOptions): Promise<Webhook> {
    return this.change(id, { state: "paused" }, options);
  }

  /** What failed last is sent again, or passed over with `skipDeadLetter`. */
  resume(id: string, { skipDeadLetter, ...options }: ConfigWriteOptions & { skipDeadLetter?: true } = {}) {
    return this.change(id, { state: "active", skipDeadLetter }, options);
  }

  replay(id: string, fromRevision: number, options: ConfigWriteOptions = {}): Promise<Webhook> {
    return this.#write("POST", `${id}/replay`, { fromRevision }, options) as Promise<Webhook>;
  }

  async delete(id: string, options: ConfigWriteOptions = {}): Promise<void> {
    await this.#http.call({ ...options, method: "DELETE", path: `${PATH}/${encodeURIComponent(id)}` });
  }

  /** The newest first, fetched page by page. */
  deadLetters(id: string, options: ListOptions = {}): AsyncGenerator<WebhookDeadLetter, void, undefined> {
    const path = `/${encodeURIComponent(id)}/dead-letters`;
    return eachItem(options.cursor, (cursor) => this.#page<WebhookDeadLetter>(path, { ...options, cursor }));
  }

  async #page<T>(path: string, { limit, cursor, ...call }: ListOptions): Promise<Page<T>> {
    const request = { ...call, method: "GET", path: PATH + path, query: { limit, cursor } } as const;
    return (await this.#http.call(request)).data as Page<T>;
  }

  async #write(
    method: HttpRequest["method"],
    path: string,
    fields: object,
    options: ConfigWriteOptions,
  ): Promise<unknown> {
    const parts = path === "" ? "" : `/${path.split("/").map(encodeURIComponent).join("/")}`;
    const request = { ...options, method, path: PATH + parts, body: JSON.stringify(fields) };
    return (await this.#http.call(request)).data;
  }
}
