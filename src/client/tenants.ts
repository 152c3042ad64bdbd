// `client.tenants`: tenants and their API keys. Needs the root key, or a tenant's admin key for that tenant.
// Guarantees: creations are repeated safely: their write id is kept over retries.
import type { HttpClient, HttpRequest } from "./http.ts";
import { eachItem } from "./pages.ts";
import type { CallOptions, ConflictPolicy, Consistency, ListOptions, Page, Scope } from "./types.ts";

/** A token bucket. */
export interface RateLimit {
  readonly requestsPerSecond: number;
  /** So many at once; at least a second's. Default: a second's. */
  readonly burst?: number | undefined;
}

/** Most that a tenant may hold; null = no bound, not given = the deployment's default. */
export interface TenantQuotas {
  readonly storedBytes?: number | null | undefined;
  readonly keys?: number | null | undefined;
  readonly apiKeys?: number | null | undefined;
}

export interface TenantUsage {
  /** Of keys and values, one copy. */
  readonly storedBytes: number;
  readonly keys: number;
  /** How much of it is configuration data, over all namespaces. */
  readonly config: { readonly storedBytes: number; readonly keys: number };
  readonly apiKeys: number;
  readonly quotas: Readonly<Record<"storedBytes" | "keys" | "apiKeys", number | null>>;
}

export interface TenantInput {
  readonly tenantId: string;
  readonly replicationFactor?: number | undefined;
  readonly defaultConsistency?: Consistency | undefined;
  readonly conflictPolicy?: ConflictPolicy | undefined;
  readonly displayName?: string | undefined;
  /** Null = the deployment's default. */
  readonly rateLimit?: RateLimit | null | undefined;
  readonly quotas?: TenantQuotas | undefined;
}

export interface TenantChanges extends Omit<TenantInput, "tenantId"> {
  /** ISO 8601: signed tokens issued before are refused. Null = none is. */
  readonly tokensValidAfter?: string | null | undefined;
}

/** A change of the replication factor under way. Setting the factor back to `from` calls it off. */
export interface FactorChangeInfo {
  readonly from: number;
  readonly to: number;
  readonly phase: "starting" | "filling" | "joint" | "ending";
  readonly isCancelled: boolean;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly nodesDone: number;
  readonly nodeCount: number;
  readonly rowsCompared: number;
  readonly rowsRepaired: number;
  readonly recordsTaken: number;
  /** Why it does not get on; empty = it does. */
  readonly waitingFor: string;
}

export interface TenantInfo {
  readonly tenantId: string;
  readonly replicationFactor: number;
  /** Null = none is under way. */
  readonly replicationFactorChange: FactorChangeInfo | null;
  readonly defaultConsistency: Consistency;
  readonly conflictPolicy: ConflictPolicy;
  readonly displayName: string;
  /** ISO 8601. */
  readonly createdAt: string;
  /** Its own; null = the deployment's default. */
  readonly rateLimit: Required<RateLimit> | null;
  readonly quotas: TenantQuotas;
  readonly tokensValidAfter: string | null;
}

export interface CreatedTenant extends TenantInfo {
  readonly keyId: string;
  /** The tenant's first key, of scope admin. Shown once. */
  readonly apiKey: string;
}

export interface KeyInput {
  readonly name?: string | undefined;
  readonly scope?: Scope | undefined;
  /** Seconds until it expires. Default: never. */
  readonly expiresInSeconds?: number | undefined;
  /** Beside the tenant's. */
  readonly rateLimit?: RateLimit | null | undefined;
}

export interface KeyInfo {
  readonly keyId: string;
  readonly name: string;
  readonly scope: Scope;
  readonly createdAt: string;
  readonly expiresAt: string | null;
  readonly revokedAt: string | null;
  readonly rateLimit: Required<RateLimit> | null;
}

export interface CreatedKey extends KeyInfo {
  /** Shown once. */
  readonly apiKey: string;
}

/** A mutation's options: see WriteOptions. */
export interface MutationOptions extends CallOptions {
  readonly writeId?: string | undefined;
}

async function dataOf<T>(http: HttpClient, request: HttpRequest): Promise<T> {
  return (await http.call(request)).data as T;
}

async function pageOf<T>(http: HttpClient, path: string, options: ListOptions): Promise<Page<T>> {
  const { limit, cursor, signal, timeoutMs } = options;
  const data = await dataOf<{ readonly items?: readonly T[]; readonly cursor?: string | null }>(http, {
    method: "GET",
    path,
    query: { limit, cursor },
    signal,
    timeoutMs,
  });
  return { items: data.items ?? [], cursor: data.cursor ?? null };
}

const tenantPath = (tenantId: string) => `/v1/tenants/${encodeURIComponent(tenantId)}`;

/** `client.tenants.keys` */
export class TenantKeys {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  create(tenantId: string, input: KeyInput = {}, options: MutationOptions = {}): Promise<CreatedKey> {
    const path = `${tenantPath(tenantId)}/keys`;
    return dataOf(this.#http, { ...options, method: "POST", path, body: JSON.stringify(input) });
  }

  page(tenantId: string, options: ListOptions = {}): Promise<Page<KeyInfo>> {
    return pageOf(this.#http, `${tenantPath(tenantId)}/keys`, options);
  }

  /** All keys, fetched page by page. */
  list(tenantId: string, options: ListOptions = {}): AsyncGenerator<KeyInfo, void, undefined> {
    return eachItem(options.cursor, (cursor) => this.page(tenantId, { ...options, cursor }));
  }

  async revoke(tenantId: string, keyId: string, options: MutationOptions = {}): Promise<void> {
    await this.#http.call({
      ...options,
      method: "DELETE",
      path: `${tenantPath(tenantId)}/keys/${encodeURIComponent(keyId)}`,
    });
  }
}

/** `client.tenants` */
export class Tenants {
  readonly keys: TenantKeys;
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
    this.keys = new TenantKeys(http);
  }

  create(input: TenantInput, options: MutationOptions = {}): Promise<CreatedTenant> {
    return dataOf(this.#http, { ...options, method: "POST", path: "/v1/tenants", body: JSON.stringify(input) });
  }

  get(tenantId: string, options: CallOptions = {}): Promise<TenantInfo> {
    return dataOf(this.#http, { ...options, method: "GET", path: tenantPath(tenantId) });
  }

  page(options: ListOptions = {}): Promise<Page<TenantInfo>> {
    return pageOf(this.#http, "/v1/tenants", options);
  }

  /** All tenants, fetched page by page. */
  list(options: ListOptions = {}): AsyncGenerator<TenantInfo, void, undefined> {
    return eachItem(options.cursor, (cursor) => this.page({ ...options, cursor }));
  }

  update(tenantId: string, changes: TenantChanges, options: MutationOptions = {}): Promise<TenantInfo> {
    return dataOf(this.#http, {
      ...options,
      method: "PATCH",
      path: tenantPath(tenantId),
      body: JSON.stringify(changes),
    });
  }

  /** How much it holds now. */
  usage(tenantId: string, options: CallOptions = {}): Promise<TenantUsage> {
    return dataOf(this.#http, { ...options, method: "GET", path: `${tenantPath(tenantId)}/usage` });
  }

  /** Deletes the tenant: its keys stop working at once, its data is erased behind the answer. */
  async delete(tenantId: string, options: MutationOptions = {}): Promise<void> {
    await this.#http.call({ ...options, method: "DELETE", path: tenantPath(tenantId) });
  }
}
