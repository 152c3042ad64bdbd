// `client.config`: the configuration store of one namespace, over HTTP or a session.
// Guarantees: arguments are checked here, before anything is sent; a write is applied once over all of its retries.

import { ConfigCache } from "./config-cached.ts";
import {
  ASKED,
  checkedKey,
  encodingOf,
  entryOf,
  jsonText,
  keyOfBase64,
  keyText,
  metaOf,
  rangeKeys,
  rangeText,
  valueBase64,
} from "./config-codec.ts";
import { requireKnown } from "./config-known.ts";
import { ConfigLeases } from "./config-leases.ts";
import {
  ConfigLocks,
  type ElectOptions,
  type HeldLock,
  type Leader,
  type Leadership,
  type LockOptions,
} from "./config-locks.ts";
import { observed } from "./config-observe.ts";
import type { ConfigPlace, ConfigSession } from "./config-session.ts";
import {
  type ConfigRestoreOptions,
  type ConfigRestoreResult,
  type ConfigSnapshotInfo,
  SNAPSHOT_TYPE,
  streamOf,
  takeSnapshot,
} from "./config-snapshot.ts";
import {
  type ConfigExportOptions,
  type ConfigExportPage,
  type ConfigImportOptions,
  type ConfigImportResult,
  exportQuery,
  NDJSON_TYPE,
  readExportPage,
} from "./config-transfer.ts";
import { ConfigTxn, type ConfigTxnResult, type TxnParts, txnBody, txnEncoding, txnResponses } from "./config-txn.ts";
import type {
  ConfigDeleteOptions,
  ConfigDeleteResult,
  ConfigEntry,
  ConfigGetResult,
  ConfigKey,
  ConfigPage,
  ConfigPutOptions,
  ConfigPutResult,
  ConfigRange,
  ConfigRangeOptions,
  ConfigReadOptions,
  ConfigStatus,
  ConfigWriteOptions,
  NamespaceInfo,
} from "./config-types.ts";
import type { ConfigWatch, ConfigWatchOptions } from "./config-watch.ts";
import type { ConfigWatchRange } from "./config-watch-events.ts";
import type { WatchLinks } from "./config-watch-links.ts";
import { ConfigWebhooks } from "./config-webhooks.ts";
import { JadeError } from "./errors.ts";
import { type HttpClient, type HttpRequest, readEnvelope } from "./http.ts";
import { eachItem } from "./pages.ts";
import type { CallOptions, ListOptions, Page } from "./types.ts";

const PATH = "/v1/config";
/** Keys that an iteration fetches at once. */
const PAGE_KEYS = 500;

/** A zone's copy may answer: those are reached over HTTP. */
function isServedByCopies({ consistency, maxStalenessMs }: ConfigReadOptions): boolean {
  return consistency === "serializable" || maxStalenessMs !== undefined;
}

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export class Config {
  readonly leases: ConfigLeases;
  readonly webhooks: ConfigWebhooks;
  readonly #http: HttpClient;
  readonly #namespace: string | undefined;
  readonly #watches: WatchLinks;
  readonly #locks: ConfigLocks;
  readonly #session: ConfigSession | undefined;

  /** `session`: keys, ranges, transactions and leases go over it, the rest over HTTP. */
  constructor(http: HttpClient, watches: WatchLinks, { namespace, session }: ConfigPlace = {}) {
    this.#http = http;
    this.#watches = watches;
    this.#namespace = namespace;
    this.#session = session;
    this.leases = new ConfigLeases(http, { namespace, session });
    const { leases } = this;
    this.#locks = new ConfigLocks({ http, namespace, leases, deleteKey: (key) => this.delete(key) });
    this.webhooks = new ConfigWebhooks(http, namespace);
  }

  /** The keyspace of another namespace. */
  namespace(name: string): Config {
    if (typeof name !== "string" || name === "") throw new TypeError("a namespace must have a name");
    return new Config(this.#http, this.#watches, { namespace: name, session: this.#session?.namespace(name) });
  }

  /** Stores JSON, or bytes. Throws `preconditionFailed` (see {@link isPreconditionFailed}) when a condition does not hold. */
  async put(key: ConfigKey, value: unknown, options: ConfigPutOptions = {}): Promise<ConfigPutResult> {
    if (this.#session) return this.#session.put(key, value, options);
    const { signal, timeoutMs, writeId, as = "json", ifValue, ...fields } = options;
    const keyEncoding = encodingOf([checkedKey(key)]);
    const isBytes = value instanceof Uint8Array || ifValue instanceof Uint8Array || as !== "json";
    const text = (given: unknown) => (isBytes ? JSON.stringify(valueBase64(given)) : jsonText(given));
    const parts = [`"value":${text(value)}`];
    if (ifValue !== undefined) parts.push(`"ifValue":${text(ifValue)}`);
    const rest = JSON.stringify(fields).slice(1, -1);
    if (rest !== "") parts.push(rest);
    const data = await this.#call("PUT", "/keys", {
      ...{ signal, timeoutMs, writeId, body: `{${parts.join(",")}}` },
      query: { key: keyText(key, keyEncoding), keyEncoding, valueEncoding: isBytes ? "base64" : "json" },
    });
    const { revision, prevKv } = data as { revision: number; prevKv?: unknown };
    return { revision, ...metaOf(data), ...(prevKv ? { prevKv: entryOf(prevKv, as) } : {}) };
  }

  async get<T = unknown>(key: ConfigKey, options: ConfigReadOptions = {}): Promise<ConfigGetResult<T>> {
    if (this.#session && !isServedByCopies(options)) return this.#session.get<T>(key, options);
    const { signal, timeoutMs, as = "json", ...fields } = options;
    const keyEncoding = encodingOf([checkedKey(key)]);
    const answer = await this.#http.call({
      ...{ signal, timeoutMs, method: "GET", path: `${PATH}/keys`, accept: ["notFound"] },
      query: this.#query({ ...fields, key: keyText(key, keyEncoding), keyEncoding, valueEncoding: ASKED[as] }),
    });
    if (answer.code !== undefined)
      return { found: false, revision: answer.details["revision"] as number, key, value: undefined };
    const { revision } = answer.data as { revision: number };
    return { found: true, revision, ...(entryOf(answer.data, as) as ConfigEntry<T>) };
  }

  /** `deleted` is 0 when there was no such key. */
  async delete(key: ConfigKey, options: ConfigDeleteOptions = {}): Promise<ConfigDeleteResult> {
    if (this.#session) return this.#session.delete(key, options);
    const { signal, timeoutMs, writeId, as = "json", ifValue, ...fields } = options;
    const keyEncoding = encodingOf([checkedKey(key)]);
    const isBytes = ifValue instanceof Uint8Array || as !== "json";
    const given = ifValue === undefined ? undefined : isBytes ? valueBase64(ifValue) : jsonText(ifValue);
    const encodings = { keyEncoding, valueEncoding: isBytes ? "base64" : "json" };
    const answer = await this.#http.call({
      ...{ signal, timeoutMs, writeId, method: "DELETE", path: `${PATH}/keys`, accept: ["notFound"] },
      query: this.#query({ ...fields, ...encodings, ifValue: given, key: keyText(key, keyEncoding) }),
    });
    if (answer.code !== undefined) return { deleted: 0, revision: answer.details["revision"] as number };
    const { deleted, revision, prevKv } = answer.data as { deleted: number; revision: number; prevKv?: unknown };
    return { deleted, revision, ...(prevKv ? { prevKv: entryOf(prevKv, as) } : {}) };
  }

  /** The keys of a range, fetched page by page, all as of one revision. With a sort other than by key: one page. */
  range<T = unknown>(range: ConfigRangeOptions = {}): AsyncGenerator<ConfigEntry<T>, void, undefined> {
    const limit = range.limit ?? (range.sort === undefined || range.sort === "key" ? PAGE_KEYS : undefined);
    return eachItem(range.cursor, (cursor) => this.rangePage<T>({ ...range, limit, cursor }));
  }

  /** One page; `limit` keys at most. */
  async rangePage<T = unknown>(range: ConfigRangeOptions = {}): Promise<ConfigPage<T>> {
    if (this.#session && !isServedByCopies(range)) return this.#session.rangePage<T>(range);
    const { signal, timeoutMs, as = "json", prefix, start, end, delimiter, ...fields } = range;
    const keyEncoding = encodingOf([...rangeKeys(range), delimiter]);
    const data = (await this.#call("GET", "/range", {
      ...{ signal, timeoutMs },
      query: {
        ...{ ...fields, keyEncoding, valueEncoding: ASKED[as] },
        ...rangeText({ prefix, start, end }, keyEncoding),
        delimiter: delimiter === undefined ? undefined : keyText(delimiter, keyEncoding),
      },
    })) as ConfigPage & { readonly commonPrefixes?: readonly string[] };
    const { commonPrefixes } = data;
    const shown = keyEncoding === "base64" ? commonPrefixes?.map(keyOfBase64) : commonPrefixes;
    const page = { ...data, items: data.items.map((item) => entryOf(item, as) as ConfigEntry<T>) };
    return shown ? { ...page, commonPrefixes: shown } : page;
  }

  /** How many keys there are in a range. */
  async count(range: ConfigRange & CallOptions = {}): Promise<number> {
    return (await this.rangePage({ ...range, countOnly: true })).count ?? 0;
  }

  /** Deletes all keys of a range in one revision. `{ prefix: "" }` means all keys. */
  async deleteRange(range: ConfigRange, options: ConfigWriteOptions = {}): Promise<ConfigDeleteResult> {
    // What is deleted must not be more than the fields say: one that nobody reads is refused before anything is sent.
    requireKnown(range, "place");
    if (this.#session) return this.#session.deleteRange(range, options);
    const keyEncoding = encodingOf(rangeKeys(range));
    const query = { keyEncoding, ...rangeText(range, keyEncoding) };
    return (await this.#call("DELETE", "/range", { ...options, query })) as ConfigDeleteResult;
  }

  /**
   * Changes as they happen: `for await (const { revision, events } of config.watch({ prefix: "flags/" }))`. Goes on over lost connections
   * without a gap or a repetition. Throws `compacted` when what comes next is gone. Several iterators share one connection.
   */
  watch<T = unknown>(range: ConfigWatchRange, options: ConfigWatchOptions = {}): ConfigWatch<T> {
    return this.#watches.of(this.#namespace).watch<T>(range, options);
  }

  /** A range held in memory and kept fresh by a watch. Resolves when it was read. */
  cached<T = unknown>(range: ConfigRange, { as }: Pick<ConfigReadOptions, "as"> = {}): Promise<ConfigCache<T>> {
    const cache = new ConfigCache<T>({
      page: (cursor) => this.rangePage<T>({ ...range, as, cursor, limit: PAGE_KEYS }),
      watch: (startRevision) => this.watch<T>(range, { as, startRevision }),
    });
    return cache.begin();
  }

  /**
   * Takes a lock, first come first served, under a lease that is kept alive: `await using lock = await config.lock("orders")`.
   * Throws `lockNotAcquired` when the time is over; then, and after an abort, it has left the line.
   */
  lock(name: string, options: LockOptions = {}): Promise<HeldLock> {
    return this.#locks.lock(name, options);
  }

  /** Stands for an election, and resolves when it leads. As `lock` in all else. */
  elect(name: string, options: ElectOptions = {}): Promise<Leadership> {
    return this.#locks.elect(name, options);
  }

  /** Who leads now; undefined: nobody. */
  leader<T = unknown>(name: string, options: CallOptions = {}): Promise<Leader<T> | undefined> {
    return this.#locks.leader<T>(name, options);
  }

  /** Who leads, from now on and as it changes; undefined while nobody does. */
  observe<T = unknown>(
    name: string,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<Leader<T> | undefined, void, undefined> {
    return observed<T>(name, {
      page: (range) => this.rangePage<T>({ ...range, limit: PAGE_KEYS, signal }),
      watch: (range, startRevision) => this.watch<T>(range, { startRevision, signal }),
    });
  }

  /** A transaction to be filled and committed. */
  txn(): ConfigTxn {
    return new ConfigTxn((parts, options) => this.runTxn(parts, options));
  }

  async runTxn(parts: TxnParts, options: ConfigWriteOptions = {}): Promise<ConfigTxnResult> {
    if (this.#session) return this.#session.runTxn(parts, options);
    const query = txnEncoding(parts);
    const body = JSON.stringify(txnBody(parts, query));
    const data = (await this.#call("POST", "/txn", { ...options, body, query: { ...query } })) as ConfigTxnResult;
    return { succeeded: data.succeeded, revision: data.revision, responses: txnResponses(data.responses) };
  }

  /** A transaction as the HTTP API takes it, in its JSON text: values pass as they are written. Gives the answer's `data`. */
  async runTxnText(body: string, options: ConfigWriteOptions = {}): Promise<unknown> {
    return this.#call("POST", "/txn", { ...options, body });
  }

  /** All keys at one revision, page by page, in the text that {@link Config.importPage} takes. */
  async *exportPages(options: ConfigExportOptions = {}): AsyncGenerator<ConfigExportPage, void, undefined> {
    for (let { cursor } = options; ; ) {
      const page = await this.exportPage({ ...options, cursor });
      yield page;
      if (page.cursor === null) return;
      if (page.cursor === cursor) throw new JadeError("badAnswer", "the export repeats its cursor");
      cursor = page.cursor;
    }
  }

  async exportPage({ signal, timeoutMs, ...options }: ConfigExportOptions = {}): Promise<ConfigExportPage> {
    const query = this.#query(exportQuery(options));
    return readExportPage(
      await this.#http.callText({ ...{ signal, timeoutMs, query }, method: "GET", path: `${PATH}/export` }),
    );
  }

  /** Writes lines of an export: 10 000 and 8 MiB at most. A bad line is refused with its number, and nothing is written. */
  async importPage(lines: string, options: ConfigImportOptions = {}): Promise<ConfigImportResult> {
    const { onExisting, ...call } = options;
    const more = { ...call, body: lines, contentType: NDJSON_TYPE, query: { onExisting } };
    return (await this.#call("POST", "/import", more)) as ConfigImportResult;
  }

  /**
   * The whole namespace at one revision, as bytes: `onPiece` gets each piece, already checked, and is waited for. Throws `badAnswer` where
   * the snapshot is cut off or damaged; what was given until then is worth nothing.
   */
  snapshot(
    onPiece: (piece: Uint8Array) => void | Promise<void>,
    { signal }: Pick<CallOptions, "signal"> = {},
  ): Promise<ConfigSnapshotInfo> {
    const request = { signal, method: "GET", path: `${PATH}/snapshot`, query: this.#query({}) } as const;
    return this.#http.stream(request, (response) => takeSnapshot(response, onPiece));
  }

  /**
   * Replaces the namespace by a snapshot, in one step. Not repeated by itself: the pieces are gone. With the same `writeId` and snapshot it
   * may be called again.
   */
  restore(
    snapshot: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    { signal, writeId, aboveRevision }: ConfigRestoreOptions = {},
  ): Promise<ConfigRestoreResult> {
    const request = {
      ...({ signal, writeId, method: "PUT", path: `${PATH}/snapshot`, query: this.#query({ aboveRevision }) } as const),
      ...{ contentType: SNAPSHOT_TYPE, bytes: streamOf(snapshot) },
    };
    return this.#http.stream(request, async (response) => {
      return readEnvelope(response, await response.text()).data as ConfigRestoreResult;
    });
  }

  /** Forgets what was before a revision. */
  async compact(
    revision: number,
    options: ConfigWriteOptions = {},
  ): Promise<{ readonly compactedRevision: number; readonly revision: number }> {
    const body = JSON.stringify({ revision });
    return (await this.#call("POST", "/compact", { ...options, body })) as {
      compactedRevision: number;
      revision: number;
    };
  }

  async status(options: CallOptions = {}): Promise<ConfigStatus> {
    return (await this.#call("GET", "/status", options)) as ConfigStatus;
  }

  async namespacePage({ limit, cursor, ...call }: ListOptions = {}): Promise<Page<NamespaceInfo>> {
    const path = `${PATH}/namespaces`;
    return (await this.#http.call({ ...call, method: "GET", path, query: { limit, cursor } }))
      .data as Page<NamespaceInfo>;
  }

  /** All namespaces of the tenant, fetched page by page. */
  namespaces(options: ListOptions = {}): AsyncGenerator<NamespaceInfo, void, undefined> {
    return eachItem(options.cursor, (cursor) => this.namespacePage({ ...options, cursor }));
  }

  /** Deletes a namespace with everything in it. Needs a key of scope admin. */
  async deleteNamespace(
    namespace: string,
    options: ConfigWriteOptions = {},
  ): Promise<{ readonly erasure: "running" | "done" }> {
    const request = { ...options, method: "DELETE", path: `${PATH}/namespaces`, query: { namespace } } as const;
    return (await this.#http.call(request)).data as { erasure: "running" | "done" };
  }

  async #call(
    method: HttpRequest["method"],
    path: string,
    more: Omit<HttpRequest, "method" | "path" | "query"> & { readonly query?: Query },
  ): Promise<unknown> {
    return (await this.#http.call({ ...more, method, path: PATH + path, query: this.#query(more.query ?? {}) })).data;
  }

  #query(fields: Query): Record<string, string | number | undefined> {
    const query: Record<string, string | number | undefined> = { namespace: this.#namespace };
    for (const [name, value] of Object.entries(fields))
      query[name] = typeof value === "boolean" ? String(value) : value;
    return query;
  }
}
