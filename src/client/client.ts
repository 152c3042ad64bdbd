// JadeClient: one object for one server and one API key.
// Guarantees: nothing is connected before the first call; `close()` ends every call and connection.
import type { ClusterEvent, ClusterStatus } from "./cluster.ts";
import { ClusterNodes } from "./cluster-nodes.ts";
import { Config } from "./config.ts";
import { ConfigSession } from "./config-session.ts";
import { WatchLinks } from "./config-watch-links.ts";
import { Databases } from "./databases.ts";
import { isAccessDenied, isJadeError, type JadeError } from "./errors.ts";
import { HttpClient } from "./http.ts";
import { KeyValue } from "./key-value.ts";
import { HttpKeyValue } from "./key-value-http.ts";
import { SessionKeyValue } from "./key-value-session.ts";
import { Models } from "./models.ts";
import { type ClientOptions, type ResolvedOptions, resolveOptions } from "./options.ts";
import { Repairs } from "./repairs.ts";
import { Session } from "./session.ts";
import { Tenants } from "./tenants.ts";
import type { CallOptions } from "./types.ts";
import { VectorTokens } from "./vector-tokens.ts";
import type { VectorsOptions } from "./vector-types.ts";
import { Vectors } from "./vectors.ts";

/** The time one request may take that finds out why a session does not open. */
const DIAGNOSE_TIMEOUT_MS = 2000;

/**
 * A JadeDB client.
 * @example
 * const client = new JadeClient({ url: "http://127.0.0.1:8787", apiKey, transport: "session" });
 * await client.kv.put("user/1", { name: "Ada" });
 * const { value, vectorClock } = await client.kv.get("user/1");
 */
export class JadeClient {
  /** Keys and JSON values. */
  readonly kv: KeyValue;
  /** Tenants and their API keys (always over HTTP). */
  readonly tenants: Tenants;
  /** Configuration and coordination (over HTTP; watches over a WebSocket of their own). */
  readonly config: Config;
  /** Vector databases (over HTTP). */
  readonly databases: Databases;
  /** Embedding models, and vectors of texts (over HTTP). */
  readonly models: Models;
  /** Full repairs of the deployment (always over HTTP). */
  readonly repairs: Repairs;
  /** Changes of the storage nodes (always over HTTP). */
  readonly clusterNodes: ClusterNodes;
  readonly #http: HttpClient;
  readonly #resolved: ResolvedOptions;
  readonly #vectorTokens = new VectorTokens();
  readonly #session: Session | undefined;
  readonly #watches: WatchLinks;

  /** @throws TypeError that names the wrong option. */
  constructor(options: ClientOptions) {
    const resolved = resolveOptions(options);
    const http = new HttpClient(resolved);
    this.#http = http;
    this.#resolved = resolved;
    this.tenants = new Tenants(http);
    this.repairs = new Repairs(http);
    this.clusterNodes = new ClusterNodes(http);
    this.databases = new Databases(http);
    this.models = new Models(http);
    this.#watches = new WatchLinks(resolved, () => whySessionFails(http));
    if (resolved.transport === "session") {
      this.#session = new Session(resolved, () => whySessionFails(http));
      this.kv = new KeyValue(new SessionKeyValue(resolved, this.#session), http);
      this.config = new Config(http, this.#watches, { session: new ConfigSession(resolved, this.#session) });
    } else {
      this.config = new Config(http, this.#watches);
      this.kv = new KeyValue(new HttpKeyValue(http), http);
    }
  }

  /** The vectors of a database (over the session, if it is the transport; texts and imports over HTTP). */
  vectors(databaseId: string, options: VectorsOptions = {}): Vectors {
    const way = { tokens: this.#vectorTokens, session: this.#session, resolved: this.#resolved };
    return new Vectors(this.#http, databaseId, { ...options, ...way });
  }

  /** True when the server's process answers. */
  async health(options: CallOptions = {}): Promise<boolean> {
    await this.#http.call({ ...options, method: "GET", path: "/v1/health" });
    return true;
  }

  /** Whether the server can serve; `details` names what fails. Throws only when it cannot be asked. */
  async ready(options: CallOptions = {}): Promise<{ ready: boolean; details: unknown }> {
    try {
      const answer = await this.#http.call({ ...options, method: "GET", path: "/v1/ready", attempts: 1 });
      return { ready: true, details: answer.data };
    } catch (error) {
      if (isJadeError(error) && error.status === 503)
        return { ready: false, details: { message: error.message, ...error.details } };
      throw error;
    }
  }

  /** Version, nodes, storage: what the server says about itself. */
  async status(options: CallOptions = {}): Promise<unknown> {
    return (await this.#http.call({ ...options, method: "GET", path: "/v1/status" })).data;
  }

  /** What happened to the instances of a cluster, newest first, at most a thousand. With the root key. */
  async clusterEvents(options: CallOptions = {}): Promise<readonly ClusterEvent[]> {
    const answer = await this.#http.call({ ...options, method: "GET", path: "/v1/cluster/events?limit=1000" });
    return (answer.data as { readonly items: readonly ClusterEvent[] }).items;
  }

  /** The instances of a cluster, and which of their processes answer. With the root key. */
  async cluster(options: CallOptions = {}): Promise<ClusterStatus> {
    return (await this.#http.call({ ...options, method: "GET", path: "/v1/cluster" })).data as ClusterStatus;
  }

  /** Ends every call with `clientClosed`. The client cannot be used again. */
  close(): void {
    this.#session?.close();
    this.#watches.close();
    this.#http.close();
  }
}

/**
 * A WebSocket does not show the status it was refused with. A read without a key does: the API key is judged first, so that
 * anything but a refusal of it says nothing about the session.
 */
async function whySessionFails(http: HttpClient): Promise<JadeError | undefined> {
  try {
    await http.call({ method: "GET", path: "/v1/key-value", attempts: 1, timeoutMs: DIAGNOSE_TIMEOUT_MS });
  } catch (error) {
    if (isAccessDenied(error)) return error;
  }
  return undefined;
}
