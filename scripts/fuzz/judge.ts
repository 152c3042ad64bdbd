// What an answer must be, whatever was asked: documented, an envelope, no 5xx, nothing for strangers.
import { problemOfEtcd } from "./etcd-aim.ts";
import type { Outcome } from "./http.ts";
import { type FuzzRequest, isConnect, isRouted, routedPath } from "./requests.ts";

interface ErrorAnswer {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly requestId?: unknown;
  readonly details?: { readonly issues?: readonly { readonly path?: unknown; readonly message?: unknown }[] };
}

/** Answers of the platform's HTTP parser: what never was a request reaches no gateway. */
const PLATFORM_STATUSES: ReadonlySet<number> = new Set([400, 404, 408, 413, 414, 426, 431, 501]);

export function parsedBody(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
}

function problemOfError(status: number, json: ErrorAnswer, headers: ReadonlyMap<string, string>): string | undefined {
  if (typeof json?.code !== "string" || typeof json.message !== "string") return "the error is no envelope";
  if (json.requestId !== headers.get("x-request-id")) return "body and header name different request ids";
  if (json.code === "invalidRequest") {
    const issues = json.details?.issues;
    const isNamed =
      (issues?.length ?? 0) > 0 && issues!.every((issue) => typeof issue.path === "string" && issue.message);
    if (!isNamed) return "invalidRequest names no field";
  }
  if (status === 429 && !headers.has("retry-after")) return "429 without Retry-After";
  if (status === 405 && !headers.has("allow")) return "405 without Allow";
  return undefined;
}

const headersOf = ({ headers }: FuzzRequest): ReadonlySet<string> =>
  new Set(headers.map(([name]) => name.toLowerCase()));

/** Undefined = as it must be. */
export function problemOf(request: FuzzRequest, outcome: Outcome): string | undefined {
  const { operation, method, transport, isKnownCaller } = request;
  if (outcome.kind === "hang") return "no answer in time";
  const isIncomplete = transport !== "plain" && transport !== "chunked";
  if (outcome.kind !== "answer") return isIncomplete ? undefined : "the connection ended without an answer";
  const { status, headers, body } = outcome.answer;
  const ofGateway = headers.has("x-request-id");
  if (!ofGateway) {
    if (status === 101 || PLATFORM_STATUSES.has(status)) return undefined;
    // workerd answers CONNECT with 500 before any Worker sees it (docs/fuzzing.md).
    if (status === 500 && isConnect(request)) return undefined;
    return `status ${status} from outside the gateway: ${body.toString("latin1", 0, 200)}`;
  }
  if (/^\/v3(beta)?\//.test(routedPath(request) ?? "")) {
    const isStranger = headersOf(request).has("authorization") && request.credential.scope === "none";
    const text = method === "HEAD" ? "" : body.toString("utf8");
    return problemOfEtcd({ status, text, mayPass: operation?.isOpen === true || !isStranger });
  }
  if (status >= 500) return `status ${status}: ${body.toString("utf8", 0, 500)}`;
  // Bodies of other methods are read by nobody.
  const isBodyRead = ["POST", "PATCH", "PUT"].includes(method) && request.body !== undefined;
  if (status < 300 && isBodyRead && transport.startsWith("cut")) return "a request that was cut off succeeded";
  if (method === "HEAD" || status === 204) return undefined;
  const json = parsedBody(body);
  if (status >= 400) {
    const problem = problemOfError(status, json as ErrorAnswer, headers);
    if (problem) return `${problem}: ${body.toString("utf8", 0, 300)}`;
  }
  if (!operation || transport === "broken") return undefined;
  if (!isRouted(request)) return undefined;
  if (status < 300 && !operation.isOpen && !isKnownCaller) return `status ${status} for a caller that is unknown`;
  const documented = operation.answers.get(status);
  const code = String((json as ErrorAnswer)?.code);
  const isOfPath = operation.path.includes("{") && (status === 404 || status === 405); // odd ids lead elsewhere
  if (!documented) return isOfPath ? undefined : `status ${status} is not documented for ${method} ${operation.path}`;
  if (status >= 400 && !documented.codes.has(code) && !isOfPath)
    return `${code} ${status} is not documented for ${method} ${operation.path}`;
  const problem = documented.problem(json);
  return problem && `the answer breaks its schema: ${problem.slice(0, 400)}; ${body.toString("utf8", 0, 300)}`;
}
