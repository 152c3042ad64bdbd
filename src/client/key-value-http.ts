// Key-value calls as HTTP requests (DESIGN 7).
// Guarantees: raw values are taken from the answer's text, never through JSON.parse and back.
import { JadeError } from "./errors.ts";
import type { HttpAnswer, HttpClient } from "./http.ts";
import type { KeyValueTransport, PlainOperation, ReadCall, WriteCall } from "./key-value.ts";
import { itemTexts, memberText } from "./raw-json.ts";
import type {
  BatchOptions,
  BatchResult,
  ClockMap,
  Consistency,
  GetResult,
  SiblingValue,
  WriteResult,
} from "./types.ts";

const PATH = "/v1/key-value";

interface ValueData {
  readonly value?: unknown;
  readonly vectorClock?: ClockMap;
  readonly conflict?: boolean;
  readonly siblings?: readonly {
    readonly value?: unknown;
    readonly deleted?: boolean;
    readonly vectorClock: ClockMap;
  }[];
}

interface BatchItem extends ValueData {
  readonly status?: string;
  readonly code?: string;
  readonly message?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The JSON text of an operation; `json` is put in as it is. */
function operationText(operation: PlainOperation, consistency: Consistency | undefined, withOp: boolean): string {
  let text = withOp
    ? `{"op":"${operation.op}","key":${JSON.stringify(operation.key)}`
    : `{"key":${JSON.stringify(operation.key)}`;
  if (operation.json !== undefined) text += `,"value":${operation.json}`;
  if (consistency) text += `,"consistency":"${consistency}"`;
  if (operation.clock) text += `,"vectorClock":${JSON.stringify(operation.clock)}`;
  return `${text}}`;
}

function missing(key: string, details: Readonly<Record<string, unknown>>): GetResult<never> {
  const vectorClock = (details.vectorClock ?? {}) as ClockMap;
  return { found: false, key, value: undefined, vectorClock, conflict: false, siblings: [] };
}

/** `text` is the JSON text that `data` was parsed from; only read when raw values are wanted. */
function found(key: string, data: ValueData, text: string | undefined): GetResult<unknown> {
  const siblingTexts = text !== undefined && data.siblings ? itemTexts(memberText(text, "siblings") ?? "[]") : [];
  const siblings = (data.siblings ?? []).map((sibling, index): SiblingValue<unknown> => {
    const raw = siblingTexts[index];
    const value = raw === undefined ? sibling.value : memberText(raw, "value");
    return { value: sibling.deleted ? undefined : value, vectorClock: sibling.vectorClock };
  });
  const value = text === undefined ? data.value : memberText(text, "value");
  return { found: true, key, value, vectorClock: data.vectorClock ?? {}, conflict: data.conflict === true, siblings };
}

function batchResult(operation: PlainOperation, item: BatchItem | undefined): BatchResult {
  const { op, key } = operation;
  if (item?.code === "notFound" && op === "get") return { ok: true, op, result: missing(key, item.details ?? {}) };
  if (!item || item.code !== undefined) {
    const error = new JadeError(
      item?.code ?? "badAnswer",
      item?.message ?? "the answer has no result for this operation",
      {
        details: item?.details,
      },
    );
    return { ok: false, op, key, error };
  }
  if (op === "get") return { ok: true, op, result: found(key, item, undefined) };
  return { ok: true, op, result: { key, vectorClock: item.vectorClock ?? {} } };
}

export class HttpKeyValue implements KeyValueTransport {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async write(call: WriteCall): Promise<WriteResult> {
    const consistency = call.consistency ?? this.#http.options.consistency;
    const { signal, timeoutMs, writeId, mayHaveBeenSent } = call;
    const options = { signal, timeoutMs, writeId, mayHaveBeenSent };
    const answer =
      call.op === "put"
        ? await this.#http.call({
            ...options,
            method: "POST",
            path: PATH,
            body: operationText(call, consistency, false),
          })
        : await this.#http.call({
            ...options,
            method: "DELETE",
            path: PATH,
            query: { key: call.key, consistency, vectorClock: call.clock && JSON.stringify(call.clock) },
          });
    return { key: call.key, vectorClock: (answer.data as ValueData).vectorClock ?? {} };
  }

  async read(call: ReadCall): Promise<GetResult<unknown>> {
    const { signal, timeoutMs, key } = call;
    const consistency = call.consistency ?? this.#http.options.consistency;
    const query = { key, consistency };
    const answer = await this.#http.call({ method: "GET", path: PATH, query, signal, timeoutMs, accept: ["notFound"] });
    if (answer.code === "notFound") return missing(key, answer.details);
    return found(key, answer.data as ValueData, call.isRaw ? memberText(answer.text, "data") : undefined);
  }

  async batch(operations: readonly PlainOperation[], options: BatchOptions): Promise<BatchResult[]> {
    const { signal, timeoutMs, writeId, mayHaveBeenSent } = options;
    const fallback = options.consistency ?? this.#http.options.consistency;
    const items = operations.map((operation) => operationText(operation, operation.consistency ?? fallback, true));
    const answer = await this.#http.call({
      method: "POST",
      path: `${PATH}/batch`,
      body: `{"operations":[${items.join(",")}]}`,
      signal,
      timeoutMs,
      writeId,
      mayHaveBeenSent,
    });
    const results = batchItems(answer);
    return operations.map((operation, index) => batchResult(operation, results[index]));
  }
}

function batchItems(answer: HttpAnswer): readonly BatchItem[] {
  const data = answer.data as { readonly results?: unknown } | undefined;
  if (!Array.isArray(data?.results))
    throw new JadeError("badAnswer", "the answer to a batch has no results", { status: answer.status });
  return data.results as BatchItem[];
}
