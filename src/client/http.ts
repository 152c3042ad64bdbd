// One HTTP call with its retries: request in, checked envelope out.
// Guarantees: mutations carry an Idempotency-Key kept over retries and Jade-Attempt; every failure is a JadeError or the abort's reason.
// Must not: know what the routes mean.
import { JadeError } from "./errors.ts";
import type { ResolvedOptions } from "./options.ts";
import { withRetries } from "./retry.ts";
import type { CallOptions } from "./types.ts";
import { checkedWriteId, WriteIdSource } from "./write-id.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface HttpRequest extends CallOptions {
  readonly method: Method;
  /** From `/v1` on, percent-encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>> | undefined;
  /** JSON text, or the bytes of `contentType`. */
  readonly body?: string | Uint8Array | undefined;
  readonly contentType?: string | undefined;
  /** The user's own write id. Mutations without one get a random one. */
  readonly writeId?: string | undefined;
  /** See WriteOptions. */
  readonly mayHaveBeenSent?: boolean | undefined;
  /** Attempts in all. Default: the client's retry policy. */
  readonly attempts?: number | undefined;
  /** Answers with these codes are given, not thrown. */
  readonly accept?: readonly string[] | undefined;
  /** More headers. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Told of the headers of each answer that is no error. */
  readonly onHeaders?: ((headers: Headers) => void) | undefined;
}

/** A parsed envelope, with the text it was parsed from. */
export interface HttpAnswer {
  readonly status: number;
  /** Undefined for a success. */
  readonly code: string | undefined;
  readonly data: unknown;
  readonly details: Readonly<Record<string, unknown>>;
  readonly text: string;
}

interface Envelope {
  readonly status?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
  readonly data?: unknown;
  readonly details?: unknown;
  readonly requestId?: unknown;
}

const MAX_QUOTED_CHARACTERS = 120;

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function retryAfterMs(response: Response): number | undefined {
  const header = response.headers.get("retry-after");
  if (!header) return undefined;
  const seconds = Number(header);
  const delayMs = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(delayMs) && delayMs > 0 ? delayMs : undefined;
}

/** Throws what the answer says, unless it is a success or one of `accept`. */
export function readEnvelope(response: Response, text: string, accept: readonly string[] = []): HttpAnswer {
  let body: Envelope | undefined;
  try {
    body = asRecord(JSON.parse(text)) as Envelope;
  } catch {
    body = undefined; // not JSON: handled with every other answer that is not an envelope
  }
  const common = {
    status: response.status,
    requestId:
      typeof body?.requestId === "string" ? body.requestId : (response.headers.get("x-request-id") ?? undefined),
    retryAfterMs: retryAfterMs(response),
  };
  if (body?.status === "success" && response.ok) {
    return { status: response.status, code: undefined, data: body.data, details: {}, text };
  }
  if (body?.status === "error" && typeof body.code === "string") {
    const details = asRecord(body.details);
    if (accept.includes(body.code)) return { status: response.status, code: body.code, data: undefined, details, text };
    throw new JadeError(body.code, String(body.message ?? body.code), { ...common, details });
  }
  const start = text.slice(0, MAX_QUOTED_CHARACTERS);
  throw new JadeError(
    "badAnswer",
    `HTTP ${response.status} is not an answer of JadeDB: ${JSON.stringify(start)}`,
    common,
  );
}

export class HttpClient {
  readonly options: ResolvedOptions;
  readonly #writeIds: WriteIdSource;
  /** Of the attempts under way. Not one signal for all: Node warns of a leak from the eleventh listener on. */
  readonly #attempts = new Set<AbortController>();
  #closed: JadeError | undefined;

  constructor(options: ResolvedOptions) {
    this.options = options;
    this.#writeIds = new WriteIdSource(options.runtime);
  }

  /** Ends every call; later ones are refused. */
  close(): void {
    this.#closed ??= new JadeError("clientClosed", "the client was closed");
    for (const attempt of this.#attempts) attempt.abort(this.#closed);
  }

  call(request: HttpRequest): Promise<HttpAnswer> {
    return this.#run(request, async (response) => {
      const answer = readEnvelope(response, await response.text(), request.accept);
      request.onHeaders?.(response.headers);
      return answer;
    });
  }

  /** For answers that are no envelopes (exports): the body's text as it is. */
  callText(request: HttpRequest): Promise<string> {
    return this.#run(request, async (response) => {
      const text = await response.text();
      if (!response.ok) readEnvelope(response, text);
      return text;
    });
  }

  /**
   * One attempt whose bodies may be of any length, and take as long as they move: only the caller's signal and close() end it. `read` gets
   * the answer once it begins. Throws what it says where it is an error.
   */
  async stream<T>(
    { bytes, ...request }: HttpRequest & { readonly bytes?: ReadableStream<Uint8Array> | undefined },
    read: (response: Response) => Promise<T>,
  ): Promise<T> {
    if (this.#closed) throw this.#closed;
    const { signal, writeId } = request;
    const headers = this.#headers(request);
    if (request.method !== "GET") {
      headers["idempotency-key"] = writeId === undefined ? this.#writeIds.nextHex() : checkedWriteId(writeId);
      if (request.contentType !== undefined) headers["content-type"] = request.contentType;
    }
    const controller = new AbortController();
    const onAbort = () => controller.abort(signal?.reason);
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#attempts.add(controller);
    const init: RequestInit = { method: request.method, headers, signal: controller.signal };
    // What is sent piece by piece is sent before the answer comes.
    if (bytes) Object.assign(init, { body: bytes, duplex: "half" });
    try {
      const response = await this.options.fetch(this.#url(request), init);
      if (!response.ok) readEnvelope(response, await response.text());
      return await read(response);
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason;
      if (error instanceof JadeError) throw error;
      const text = `${request.method} ${this.options.url} failed: ${causeOf(error)}`;
      throw new JadeError("networkFailure", text, { cause: error });
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#attempts.delete(controller);
    }
  }

  #run<T>(request: HttpRequest, read: (response: Response) => Promise<T>): Promise<T> {
    const { runtime, retries, timeoutMs } = this.options;
    const isWrite = request.method !== "GET";
    const ownId = request.writeId === undefined ? undefined : checkedWriteId(request.writeId);
    const writeId = isWrite ? (ownId ?? this.#writeIds.nextHex()) : undefined;
    // A user's id that may have been used before goes without an attempt number: the server then asks a majority.
    const isFresh = ownId === undefined || request.mayHaveBeenSent === false;
    const deadlineMs = runtime.now() + (request.timeoutMs ?? timeoutMs);
    const url = this.#url(request);
    return withRetries({
      runtime,
      policy: request.attempts === undefined ? retries : { ...retries, attempts: request.attempts },
      deadlineMs,
      signal: request.signal,
      writeId,
      attempt: (number) => {
        const headers = this.#headers(request);
        if (writeId !== undefined) headers["idempotency-key"] = writeId;
        if (writeId !== undefined && isFresh) headers["jade-attempt"] = String(number);
        const init: RequestInit = { method: request.method, headers };
        if (request.body !== undefined) init.body = request.body as string | Uint8Array<ArrayBuffer>;
        return this.#attempt({ url, init, read, deadlineMs, signal: request.signal });
      },
    });
  }

  #url(request: HttpRequest): string {
    let query = "";
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value === undefined) continue;
      query += `${query ? "&" : "?"}${name}=${encodeURIComponent(String(value))}`;
    }
    return this.options.url + request.path + query;
  }

  #headers(request: HttpRequest): Record<string, string> {
    const headers: Record<string, string> = { accept: "application/json", ...request.headers };
    if (this.options.apiKey !== undefined) headers.authorization = `Bearer ${this.options.apiKey}`;
    if (request.body !== undefined) headers["content-type"] = request.contentType ?? "application/json";
    return headers;
  }

  /** One fetch under the attempt's time limit, the caller's signal and close(). */
  async #attempt<T>(input: {
    url: string;
    init: RequestInit;
    read: (response: Response) => Promise<T>;
    deadlineMs: number;
    signal: AbortSignal | undefined;
  }): Promise<T> {
    const { runtime, attemptTimeoutMs } = this.options;
    if (this.#closed) throw this.#closed;
    const limitMs = Math.max(1, Math.min(attemptTimeoutMs, input.deadlineMs - runtime.now()));
    const controller = new AbortController();
    const timedOut = new JadeError("timedOut", `no answer within ${Math.round(limitMs)} ms`);
    const cancelTimer = runtime.after(limitMs, () => controller.abort(timedOut));
    const onAbort = () => controller.abort(input.signal?.reason);
    input.signal?.addEventListener("abort", onAbort, { once: true });
    this.#attempts.add(controller);
    try {
      return await input.read(await this.options.fetch(input.url, { ...input.init, signal: controller.signal }));
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason;
      if (error instanceof JadeError) throw error;
      throw new JadeError("networkFailure", `${input.init.method} ${this.options.url} failed: ${causeOf(error)}`, {
        cause: error,
      });
    } finally {
      cancelTimer();
      input.signal?.removeEventListener("abort", onAbort);
      this.#attempts.delete(controller);
    }
  }
}

/** Node's fetch hides "connect ECONNREFUSED" one level down. */
function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const inner =
    error.cause instanceof Error ? error.cause.message || (error.cause as { code?: string }).code : undefined;
  return inner ? `${error.message} (${inner})` : error.message;
}
