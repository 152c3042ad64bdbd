// `client.kv`: the key-value calls, the same over HTTP and over a session.
// Guarantees: arguments are checked here, before anything is sent; values are serialized once.
import type { HttpClient } from "./http.ts";
import {
  type ExportAllOptions,
  type ExportedEntry,
  type ExportOptions,
  type ExportPage,
  exportPage,
} from "./key-value-export.ts";
import { checkedConsistency } from "./options.ts";
import { eachItem } from "./pages.ts";
import type {
  BatchOperation,
  BatchOptions,
  BatchResult,
  ClockMap,
  Consistency,
  GetResult,
  ReadOptions,
  WriteOptions,
  WriteResult,
} from "./types.ts";
import { checkedWriteId } from "./write-id.ts";

export interface WriteCall extends WriteOptions {
  readonly op: "put" | "delete";
  readonly key: string;
  /** put: the value's JSON text. */
  readonly json?: string | undefined;
}

export interface ReadCall extends ReadOptions {
  readonly key: string;
  /** Give values as their exact JSON text. */
  readonly isRaw: boolean;
}

/** An operation of a batch with its value serialized. */
export type PlainOperation = {
  readonly op: "put" | "get" | "delete";
  readonly key: string;
  readonly json?: string | undefined;
  readonly clock?: ClockMap | undefined;
  readonly consistency?: Consistency | undefined;
};

/** What a transport does for {@link KeyValue}. */
export interface KeyValueTransport {
  write(call: WriteCall): Promise<WriteResult>;
  read(call: ReadCall): Promise<GetResult<unknown>>;
  batch(operations: readonly PlainOperation[], options: BatchOptions): Promise<BatchResult[]>;
}

function toJson(value: unknown): string {
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) throw new TypeError(`a value must be JSON, got ${typeof value}`);
  return json;
}

function checkedKey(key: string): string {
  if (typeof key !== "string" || key === "") throw new TypeError("a key must be a string of at least one character");
  return key;
}

function plainOperation(operation: BatchOperation): PlainOperation {
  const { key, consistency } = operation;
  checkedKey(key);
  checkedConsistency(consistency);
  switch (operation.op) {
    case "put":
      return { op: "put", key, consistency, clock: operation.clock, json: toJson(operation.value) };
    case "putRaw":
      return { op: "put", key, consistency, clock: operation.clock, json: operation.json };
    case "delete":
      return { op: "delete", key, consistency, clock: operation.clock };
    case "get":
      return { op: "get", key, consistency };
    default:
      throw new TypeError(
        `op must be put, putRaw, get or delete, got ${JSON.stringify((operation as { op: unknown }).op)}`,
      );
  }
}

/**
 * Keys and JSON values of the tenant that the API key belongs to.
 * Every call rejects with JadeError, with `signal.reason` after an abort, or with TypeError for wrong arguments.
 */
export class KeyValue {
  readonly #transport: KeyValueTransport;
  readonly #http: HttpClient;

  constructor(transport: KeyValueTransport, http: HttpClient) {
    this.#transport = transport;
    this.#http = http;
  }

  /** Stores any JSON value. Without `clock` it supersedes the newest version. */
  put(key: string, value: unknown, options?: WriteOptions): Promise<WriteResult> {
    try {
      return this.#write({ ...options, op: "put", key, json: toJson(value) });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Stores a JSON text as it is: it comes back byte-identical. */
  putRaw(key: string, json: string, options?: WriteOptions): Promise<WriteResult> {
    try {
      return this.#write({ ...options, op: "put", key, json });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** A missing key gives `{found: false, value: undefined, vectorClock}`, no error. */
  get<T = unknown>(key: string, options?: ReadOptions): Promise<GetResult<T>> {
    return this.#read(key, false, options) as Promise<GetResult<T>>;
  }

  /** Like {@link get}; `value` is the exact JSON text that was stored. */
  getRaw(key: string, options?: ReadOptions): Promise<GetResult<string>> {
    return this.#read(key, true, options) as Promise<GetResult<string>>;
  }

  /** Deletes; the returned clock is the context to create the key again with. */
  delete(key: string, options?: WriteOptions): Promise<WriteResult> {
    try {
      return this.#write({ ...options, op: "delete", key });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Many operations in one request. Each succeeds or fails on its own; the batch is not atomic. */
  async batch(operations: readonly BatchOperation[], options: BatchOptions = {}): Promise<BatchResult[]> {
    if (operations.length === 0) return [];
    checkedConsistency(options.consistency);
    if (options.writeId !== undefined) checkedWriteId(options.writeId);
    return this.#transport.batch(operations.map(plainOperation), options);
  }

  /** One page of all keys and values, in no order that means anything. Always over HTTP. */
  exportPage(options: ExportOptions = {}): Promise<ExportPage> {
    return exportPage(this.#http, options);
  }

  /** All keys and values, fetched page by page. With `onSkipped` it goes on past what is unreadable, and tells of it. */
  export(options: ExportAllOptions = {}): AsyncGenerator<ExportedEntry, void, undefined> {
    const { onSkipped } = options;
    return eachItem(options.cursor, async (cursor) => {
      const page = await this.exportPage({ ...options, cursor, onCorrupt: onSkipped ? "skip" : "fail" });
      if (page.skipped) onSkipped?.(page.skipped);
      return page;
    });
  }

  #write(call: WriteCall): Promise<WriteResult> {
    checkedKey(call.key);
    if (call.op === "put" && typeof call.json !== "string") throw new TypeError("a raw value must be a JSON text");
    checkedConsistency(call.consistency);
    if (call.writeId !== undefined) checkedWriteId(call.writeId);
    return this.#transport.write(call);
  }

  #read(key: string, isRaw: boolean, options: ReadOptions | undefined): Promise<GetResult<unknown>> {
    try {
      checkedKey(key);
      checkedConsistency(options?.consistency);
      return this.#transport.read({ ...options, key, isRaw });
    } catch (error) {
      return Promise.reject(error);
    }
  }
}
