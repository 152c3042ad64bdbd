// `client.config.leases`: leases, and handles that keep theirs alive.
// Guarantees: a kept lease is known to be lost at the latest when its time to live has passed since its last answered keep-alive began.
import { encodingOf, keyOfBase64 } from "./config-codec.ts";
import type { ConfigWriteOptions, LeaseDetails, LeaseInfo } from "./config-types.ts";
import { isJadeError, JadeError } from "./errors.ts";
import type { HttpClient } from "./http.ts";
import { eachItem } from "./pages.ts";
import type { CallOptions, ListOptions, Page } from "./types.ts";

const PATH = "/v1/config/leases";
/** Keep-alives go out so often within a time to live, and a failed one is repeated so soon. */
const KEEP_ALIVES_PER_TTL = 3;
const RETRIES_PER_TTL = 10;

/** `config.leases.keep`: alive until `close`, `lost`, or the client's end. */
export class KeptLease {
  readonly leaseId: string;
  readonly ttlSeconds: number;
  readonly #leases: ConfigLeases;
  readonly #http: HttpClient;
  readonly #lost = new AbortController();
  #deadlineMs: number;
  #cancelTimer: () => void = () => undefined;
  #isClosed = false;

  constructor(leases: ConfigLeases, http: HttpClient, lease: LeaseInfo & { readonly grantedAtMs: number }) {
    this.#leases = leases;
    this.#http = http;
    this.leaseId = lease.leaseId;
    this.ttlSeconds = lease.ttlSeconds;
    this.#deadlineMs = lease.grantedAtMs + this.#ttlMs;
    this.#plan(this.#ttlMs / KEEP_ALIVES_PER_TTL);
  }

  /** Aborted, with the reason, when the lease is lost: stop what depends on it. Not by `close`. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  get isLost(): boolean {
    return this.#lost.signal.aborted;
  }

  /** Ends the lease and deletes its keys. */
  async close(options: ConfigWriteOptions = {}): Promise<void> {
    if (this.#isClosed) return;
    this.#end();
    if (this.isLost) return;
    try {
      await this.#leases.revoke(this.leaseId, options);
    } catch (error) {
      if (!isJadeError(error) || error.code !== "leaseNotFound") throw error;
    }
  }

  /** Stops keeping it alive and leaves it to its time. */
  abandon(): void {
    this.#end();
  }

  get #ttlMs(): number {
    return this.ttlSeconds * 1000;
  }

  #end(): void {
    this.#isClosed = true;
    this.#cancelTimer();
  }

  #plan(delayMs: number): void {
    const { runtime } = this.#http.options;
    const leftMs = this.#deadlineMs - runtime.now();
    if (leftMs <= 0)
      return this.#lose(new JadeError("leaseNotFound", `lease ${this.leaseId} was not kept alive in time`));
    this.#cancelTimer = runtime.after(Math.min(delayMs, leftMs), () => void this.#keepAlive());
  }

  async #keepAlive(): Promise<void> {
    const { runtime } = this.#http.options;
    const beganMs = runtime.now();
    const timeoutMs = Math.max(1, this.#deadlineMs - beganMs);
    try {
      await this.#leases.keepAlive(this.leaseId, { timeoutMs });
      this.#deadlineMs = beganMs + this.#ttlMs;
      if (!this.#isClosed) this.#plan(this.#ttlMs / KEEP_ALIVES_PER_TTL);
    } catch (error) {
      if (this.#isClosed) return;
      const isOver = isJadeError(error) && !error.retryable && error.code !== "unknownOutcome";
      if (isOver) this.#lose(error);
      else this.#plan(this.#ttlMs / RETRIES_PER_TTL);
    }
  }

  #lose(reason: unknown): void {
    this.#end();
    this.#lost.abort(reason);
  }
}

export class ConfigLeases {
  readonly #http: HttpClient;
  readonly #namespace: string | undefined;

  constructor(http: HttpClient, namespace: string | undefined) {
    this.#http = http;
    this.#namespace = namespace;
  }

  /** `leaseId`: one of your own; default: the server chooses. */
  async grant(
    ttlSeconds: number,
    options: ConfigWriteOptions & { readonly leaseId?: string | undefined } = {},
  ): Promise<LeaseInfo> {
    const { leaseId, ...call } = options;
    const body = JSON.stringify({ ttlSeconds, leaseId });
    return this.#lease(await this.#call("POST", "", { ...call, body }));
  }

  /** Grants a lease and keeps it alive. */
  async keep(
    ttlSeconds: number,
    options: ConfigWriteOptions & { readonly leaseId?: string | undefined } = {},
  ): Promise<KeptLease> {
    const grantedAtMs = this.#http.options.runtime.now();
    const lease = await this.grant(ttlSeconds, options);
    return new KeptLease(this, this.#http, { ...lease, grantedAtMs });
  }

  /** Begins the time to live anew. Throws `leaseNotFound` when the lease is over. */
  async keepAlive(leaseId: string, options: ConfigWriteOptions = {}): Promise<LeaseInfo> {
    return this.#lease(await this.#call("POST", `${leasePath(leaseId)}/keep-alive`, options));
  }

  /** `keys`: lists the lease's keys too. */
  async get(
    leaseId: string,
    options: CallOptions & { readonly keys?: boolean | undefined } = {},
  ): Promise<LeaseDetails> {
    const { keys, ...call } = options;
    // As base64, since keys may be any bytes.
    const query = keys ? { keys: "true", keyEncoding: encodingOf([new Uint8Array(0)]) } : {};
    const data = (await this.#call("GET", leasePath(leaseId), { ...call, query })) as LeaseDetails;
    const { ttlSeconds, grantedTtlSeconds } = data;
    const details = { leaseId, ttlSeconds, grantedTtlSeconds };
    return keys ? { ...details, keys: (data.keys as readonly string[]).map(keyOfBase64) } : details;
  }

  /** Ends the lease and deletes its keys. */
  async revoke(leaseId: string, options: ConfigWriteOptions = {}): Promise<void> {
    await this.#call("DELETE", leasePath(leaseId), options);
  }

  async page({ limit, cursor, ...call }: ListOptions = {}): Promise<Page<{ readonly leaseId: string }>> {
    return (await this.#call("GET", "", { ...call, query: { limit, cursor } })) as Page<{ readonly leaseId: string }>;
  }

  /** All leases, fetched page by page. */
  list(options: ListOptions = {}): AsyncGenerator<{ readonly leaseId: string }, void, undefined> {
    return eachItem(options.cursor, (cursor) => this.page({ ...options, cursor }));
  }

  async #call(
    method: "GET" | "POST" | "DELETE",
    path: string,
    more: ConfigWriteOptions & {
      readonly body?: string;
      readonly query?: Readonly<Record<string, string | number | undefined>>;
    },
  ): Promise<unknown> {
    const query = { ...more.query, namespace: this.#namespace };
    return (await this.#http.call({ ...more, method, path: PATH + path, query })).data;
  }

  #lease(data: unknown): LeaseInfo {
    const { leaseId, ttlSeconds } = data as LeaseInfo;
    return { leaseId, ttlSeconds };
  }
}

function leasePath(leaseId: string): string {
  if (typeof leaseId !== "string" || leaseId === "") throw new TypeError("a lease's id is a number as text");
  return `/${encodeURIComponent(leaseId)}`;
}
