// `client.config.leases`: leases, and handles that keep theirs alive.
// Guarantees: a kept lease is known to be lost at the latest when its time to live has passed since its last answered keep-alive began.
import { encodingOf, keyOfBase64 } from "./config-codec.ts";
import type { ConfigPlace, ConfigSession } from "./config-session.ts";
import type { ConfigWriteOptions, LeaseDetails, LeaseInfo } from "./config-types.ts";
import { isJadeError, JadeError } from "./errors.ts";
import type { HttpClient } from "./http.ts";
import { eachItem } from "./pages.ts";
import type { CallOptions, ListOptions, Page } from "./types.ts";

const PATH = "/v1/config/leases";
/** Keep-alives go out so often within a time to live, and a failed one is repeated so soon. */
const KEEP_ALIVES_PER_TTL = 3;
const RETRIES_PER_TTL = 10;

export interface KeepAliveOptions extends ConfigWriteOptions {
  /** It ends as soon as this client is closed; when its connection is cut, by its time. Needs the transport `session`. */
  readonly ownedBySession?: boolean | undefined;
}

export interface LeaseOptions extends KeepAliveOptions {
  readonly leaseId?: string | undefined;
}

/** `config.leases.keep`: alive until `close`, `lost`, or the client's end. */
export class KeptLease {
  readonly leaseId: string;
  readonly ttlSeconds: number;
  readonly #leases: ConfigLeases;
  readonly #http: HttpClient;
  readonly #lost = new AbortController();
  readonly #ownedBySession: boolean | undefined;
  #deadlineMs: number;
  #cancelTimer: () => void = () => undefined;
  #isClosed = false;

  constructor(
    leases: ConfigLeases,
    http: HttpClient,
    lease: LeaseInfo & Pick<KeepAliveOptions, "ownedBySession"> & { readonly grantedAtMs: number },
  ) {
    this.#ownedBySession = lease.ownedBySession;
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
      await this.#leases.keepAlive(this.leaseId, { timeoutMs, ownedBySession: this.#ownedBySession });
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
  readonly #session: ConfigSession | undefined;

  constructor(http: HttpClient, { namespace, session }: ConfigPlace) {
    this.#http = http;
    this.#namespace = namespace;
    this.#session = session;
  }

  /** `leaseId`: one of your own; default: the server chooses. */
  async grant(ttlSeconds: number, options: LeaseOptions = {}): Promise<LeaseInfo> {
    const { leaseId, ownedBySession, ...call } = options;
    const session = this.#sessionFor(ownedBySession);
    if (session) return session.grant(ttlSeconds, { ...call, leaseId, isOwned: ownedBySession });
    const body = JSON.stringify({ ttlSeconds, leaseId });
    return this.#lease(await this.#call("POST", "", { ...call, body }));
  }

  /** Grants a lease and keeps it alive. */
  async keep(ttlSeconds: number, options: LeaseOptions = {}): Promise<KeptLease> {
    const grantedAtMs = this.#http.options.runtime.now();
    const lease = await this.grant(ttlSeconds, options);
    return new KeptLease(this, this.#http, { ...lease, grantedAtMs, ownedBySession: options.ownedBySession });
  }

  /** Begins the time to live anew. Throws `leaseNotFound` when the lease is over. */
  async keepAlive(leaseId: string, options: KeepAliveOptions = {}): Promise<LeaseInfo> {
    const { ownedBySession, ...call } = options;
    const session = this.#sessionFor(ownedBySession);
    if (session) return session.keepAlive(checkedLeaseId(leaseId), { ...call, isOwned: ownedBySession });
    return this.#lease(await this.#call("POST", `${leasePath(leaseId)}/keep-alive`, call));
  }

  /** `keys`: lists the lease's keys too. */
  async get(
    leaseId: string,
    options: CallOptions & { readonly keys?: boolean | undefined } = {},
  ): Promise<LeaseDetails> {
    const { keys, ...call } = options;
    if (this.#session) return this.#session.timeToLive(checkedLeaseId(leaseId), keys === true, call);
    // As base64, since keys may be any bytes.
    const query = keys ? { keys: "true", keyEncoding: encodingOf([new Uint8Array(0)]) } : {};
    const data = (await this.#call("GET", leasePath(leaseId), { ...call, query })) as LeaseDetails;
    const { ttlSeconds, grantedTtlSeconds } = data;
    const details = { leaseId, ttlSeconds, grantedTtlSeconds };
    return keys ? { ...details, keys: (data.keys as readonly string[]).map(keyOfBase64) } : details;
  }

  /** Ends the lease and deletes its keys. */
  async revoke(leaseId: string, options: ConfigWriteOptions = {}): Promise<void> {
    if (this.#session) return this.#session.revoke(checkedLeaseId(leaseId), options);
    await this.#call("DELETE", leasePath(leaseId), options);
  }

  async page({ limit, cursor, ...call }: ListOptions = {}): Promise<Page<{ readonly leaseId: string }>> {
    return (await this.#call("GET", "", { ...call, query: { limit, cursor } })) as Page<{ readonly leaseId: string }>;
  }

  /** All leases, fetched page by page. */
  list(options: ListOptions = {}): AsyncGenerator<{ readonly leaseId: string }, void, undefined> {
    return eachItem(options.cursor, (cursor) => this.page({ ...options, cursor }));
  }

  #sessionFor(ownedBySession: boolean | undefined): ConfigSession | undefined {
    if (ownedBySession && !this.#session)
      throw new TypeError('ownedBySession needs a session: new JadeClient({ …, transport: "session" })');
    return this.#session;
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

function checkedLeaseId(leaseId: string): string {
  if (typeof leaseId !== "string" || leaseId === "") throw new TypeError("a lease's id is a number as text");
  return leaseId;
}

function leasePath(leaseId: string): string {
  return `/${encodeURIComponent(checkedLeaseId(leaseId))}`;
}
