// What a request's answer says was written or read, and whether a read agrees with the model.
import { parsedBody } from "./judge.ts";
import type { TenantModel, Write } from "./model.ts";
import type { FuzzRequest } from "./requests.ts";

type Json = Readonly<Record<string, unknown>>;

interface Operation {
  readonly op: string;
  readonly key: string;
  readonly value?: unknown;
  readonly consistency?: unknown;
  readonly hasClock: boolean;
}

function operationOf(op: string, item: unknown, level: unknown): Operation {
  const fields = typeof item === "object" && item !== null ? (item as Json) : {};
  const hasClock = "vectorClock" in fields || "vector_clock" in fields;
  const key = typeof fields["key"] === "string" ? fields["key"] : "";
  return { op, key, value: fields["value"], consistency: fields["consistency"] ?? level, hasClock };
}

function queryFields(target: string): Json {
  const at = target.indexOf("?");
  const fields: Record<string, unknown> = {};
  for (const part of at < 0
    ? []
    : target
        .slice(at + 1)
        .split("#")[0]!
        .split("&")) {
    const [name = "", ...rest] = part.split("=");
    try {
      fields[decodeURIComponent(name.replaceAll("+", " "))] = decodeURIComponent(rest.join("=").replaceAll("+", " "));
    } catch {
      // Not percent-encoded: the server refuses it, so nothing is read from here.
    }
  }
  return fields;
}

/** The key-value operations that a request asks for, in order; empty when it is none. */
export function operationsIn(request: FuzzRequest): readonly Operation[] {
  const { operation, body, target } = request;
  const path = operation?.path;
  if (!path?.startsWith("/v1/key-value")) return [];
  const json = body ? parsedBody(body) : undefined;
  const fields = typeof json === "object" && json !== null ? (json as Json) : {};
  if (path === "/v1/key-value") {
    if (operation!.method === "POST") return [operationOf("put", fields, undefined)];
    if (operation!.method === "GET") return [operationOf("get", queryFields(target), undefined)];
    return [operationOf("delete", { ...queryFields(target), ...fields }, undefined)];
  }
  const list = fields["operations"];
  if (path !== "/v1/key-value/batch" || !Array.isArray(list)) return [];
  return list.map((item: Json) => operationOf(item?.["op"] as string, item, fields["consistency"]));
}

/** A write and what may have come of it: `code` is the error of its own, if any. */
interface Result {
  readonly status: number;
  readonly key?: unknown;
  readonly value?: unknown;
}

function resultsOf(request: FuzzRequest, status: number, body: Uint8Array, count: number): readonly Result[] {
  if (request.method === "HEAD") return Array.from({ length: count }, () => ({ status }));
  const { data } = (parsedBody(body) ?? {}) as { readonly data?: Json };
  if (request.operation!.path === "/v1/key-value/batch" && status === 200) {
    const results = (data?.["results"] ?? []) as readonly Json[];
    return results.map((result) => ({ ...result, status: Number(result["httpStatus"]) }) as Result);
  }
  return Array.from({ length: count }, () => ({ status, ...data }) as Result);
}

/** Feeds the model; gives what is wrong. `status` 0 = no answer. */
export function applyAnswer(
  model: TenantModel,
  request: FuzzRequest,
  { status, body }: { readonly status: number; readonly body: Uint8Array },
): string | undefined {
  const operations = operationsIn(request);
  if (operations.length === 0 || request.transport.startsWith("cut")) return undefined;
  if (status >= 400 && status < 500 && status !== 404) return undefined; // nothing was written: the next read tells
  const results = resultsOf(request, status, body, operations.length);
  if (status === 200 && results.length !== operations.length)
    return `${operations.length} operations, ${results.length} results`;
  let problem: string | undefined;
  for (const [i, operation] of operations.entries()) {
    const result = results[i] ?? { status };
    const isTwice = operations.some((other, j) => j !== i && other.key === operation.key && other.op !== "get");
    const isVague = request.isVague || isTwice || operation.hasClock || operation.consistency === "one";
    if (operation.op === "get") {
      if (isTwice || operation.consistency === "one" || request.method === "HEAD") continue;
      if (result.status !== 200 && result.status !== 404) continue;
      problem ??= model.problemOfRead(operation.key, result.status === 200 ? { value: result.value } : undefined);
      continue;
    }
    const mayBe = result.status === 0 || result.status >= 500;
    if (result.status !== 200 && !mayBe) continue;
    if (result.status === 200 && result.key !== operation.key)
      problem ??= `the answer names another key: ${result.key}`;
    const { key, value } = operation;
    const write: Write = { key, value, isDelete: operation.op === "delete", isVague: isVague || mayBe };
    model.wrote(write);
  }
  return problem;
}
