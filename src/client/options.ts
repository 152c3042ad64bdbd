// What a client is made with, its defaults and its bounds.
// Guarantees: `resolveOptions` gives fully resolved options or throws a TypeError that names the field and its value.
import { CONSISTENCIES, type Consistency } from "../wire/session.ts";
import type { RetryPolicy } from "./retry.ts";
import { type ClientRuntime, defaultRuntime } from "./runtime.ts";

export type Transport = "http" | "session";

/** The part of the WebSocket interface that a session needs: browsers, Workers, Node ≥ 22 and the package `ws` have it. */
export interface WebSocketLike {
  binaryType: string;
  send(data: Uint8Array): void;
  close(code?: number, reason?: string): void;
  addEventListener(
    type: string,
    listener: (event: { readonly data?: unknown; readonly code?: number; readonly reason?: string }) => void,
  ): void;
}
export type WebSocketConstructor = new (url: string, protocols?: never) => WebSocketLike;
export type FetchLike = (url: string, init: RequestInit) => Promise<Response>;

export interface SessionOptions {
  /** Calls sent and not yet answered; more wait. Default 1024. */
  readonly maxInFlight?: number | undefined;
  /** Bytes of keys and values sent and not yet answered; more wait. Default 16 MiB. */
  readonly maxInFlightBytes?: number | undefined;
  /** Calls that may wait; more are refused with `tooManyWaiting`. Default 65 536. */
  readonly maxWaiting?: number | undefined;
  /** After this silence a ping is sent; without an answer in the same time again the connection is replaced. Default 15 s. */
  readonly pingIntervalMs?: number | undefined;
}

export interface ClientOptions {
  /** Of the server, for example `http://127.0.0.1:8787`. */
  readonly url: string;
  /** A tenant's key; the root key for `tenants`. */
  readonly apiKey?: string | undefined;
  /** `http` (the default): one request a call. `session`: key-value, configuration and vector calls share one WebSocket, many times faster. */
  readonly transport?: Transport | undefined;
  /** For calls that do not say. Default: the tenant's. */
  readonly consistency?: Consistency | undefined;
  /** Longest time of a call with its retries. Default 30 s. */
  readonly timeoutMs?: number | undefined;
  /** Longest time of one attempt over HTTP, and of opening a session. Default 10 s. */
  readonly attemptTimeoutMs?: number | undefined;
  /** Default: 6 attempts in all, full jitter between 0 and 100 ms × 2^n, at most 5 s. */
  readonly retries?: Partial<RetryPolicy> | undefined;
  readonly session?: SessionOptions | undefined;
  readonly fetch?: FetchLike | undefined;
  /** Needed on Node 20 for sessions: the class of the package `ws`. */
  readonly WebSocket?: unknown;
  /** Time and randomness; for tests. */
  readonly runtime?: ClientRuntime | undefined;
}

export interface ResolvedOptions {
  /** Without a slash at the end. */
  readonly url: string;
  readonly apiKey: string | undefined;
  readonly transport: Transport;
  readonly consistency: Consistency | undefined;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  readonly retries: RetryPolicy;
  readonly session: {
    readonly maxInFlight: number;
    readonly maxInFlightBytes: number;
    readonly maxWaiting: number;
    readonly pingIntervalMs: number;
  };
  readonly fetch: FetchLike;
  readonly WebSocket: WebSocketConstructor | undefined;
  readonly runtime: ClientRuntime;
}

function positive(name: string, value: number | undefined, fallback: number): number {
  const result = value ?? fallback;
  if (!Number.isFinite(result) || result <= 0)
    throw new TypeError(`${name} must be a number above 0, got ${String(result)}`);
  return result;
}

function checkedUrl(url: string): string {
  if (typeof url !== "string" || !/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw new TypeError(`url must start with http:// or https://, got ${JSON.stringify(url)}`);
  }
  return url.replace(/\/+$/, "");
}

export function checkedConsistency(value: Consistency | undefined): Consistency | undefined {
  if (value === undefined || CONSISTENCIES.includes(value)) return value;
  throw new TypeError(`consistency must be one of ${CONSISTENCIES.join(", ")}, got ${JSON.stringify(value)}`);
}

export function resolveOptions(options: ClientOptions): ResolvedOptions {
  const transport = options.transport ?? "http";
  if (transport !== "http" && transport !== "session") {
    throw new TypeError(`transport must be "http" or "session", got ${JSON.stringify(transport)}`);
  }
  const retries = options.retries ?? {};
  const session = options.session ?? {};
  const WebSocket = (options.WebSocket ?? (globalThis as { WebSocket?: unknown }).WebSocket) as
    | WebSocketConstructor
    | undefined;
  if (transport === "session" && !WebSocket) {
    throw new TypeError(
      "this runtime has no WebSocket: pass one (`npm i ws`, then `WebSocket: ws.WebSocket`) or use Node 22 or newer",
    );
  }
  return {
    url: checkedUrl(options.url),
    apiKey: options.apiKey,
    transport,
    consistency: checkedConsistency(options.consistency),
    timeoutMs: positive("timeoutMs", options.timeoutMs, 30_000),
    attemptTimeoutMs: positive("attemptTimeoutMs", options.attemptTimeoutMs, 10_000),
    retries: {
      attempts: positive("retries.attempts", retries.attempts, 6),
      baseMs: positive("retries.baseMs", retries.baseMs, 100),
      maxMs: positive("retries.maxMs", retries.maxMs, 5000),
    },
    session: {
      maxInFlight: positive("session.maxInFlight", session.maxInFlight, 1024),
      maxInFlightBytes: positive("session.maxInFlightBytes", session.maxInFlightBytes, 16 * 1024 * 1024),
      maxWaiting: positive("session.maxWaiting", session.maxWaiting, 65_536),
      pingIntervalMs: positive("session.pingIntervalMs", session.pingIntervalMs, 15_000),
    },
    fetch: options.fetch ?? ((url, init) => fetch(url, init)),
    WebSocket,
    runtime: options.runtime ?? defaultRuntime,
  };
}
