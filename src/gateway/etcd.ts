// etcd's JSON gateway: POST /v3/… (and /v3beta/…). Straight functions as for key-values; no envelope, etcd's errors.
// Guarantees: what etcd 3.4 answers for the same request, but for what docs/etcd.md lists. Must not: throw; every failure is an answer.
import { EtcdError, errorJson, etcdErrorOf, httpStatusOf } from "../etcd/errors.ts";
import { ETCD_VERSION, headerOf } from "../etcd/identity.ts";
import { jsonOf, messageOfJson, messagesOfJson } from "../etcd/json.ts";
import { WATCH_PATH } from "../etcd/messages-watch.ts";
import { KEYSPACE_METHODS, type KeyspaceMethod } from "../etcd/methods.ts";
import { OBSERVE_PATH, SNAPSHOT_PATH } from "../etcd/services.ts";
import { isWriting } from "../wire/config-requests.ts";
import { apiHeaders } from "./answers.ts";
import { readBytes } from "./body.ts";
import { type Call, UNMATCHED } from "./call.ts";
import { callConfig } from "./config-call.ts";
import { publicErrorOf } from "./errors.ts";
import { type EtcdCaller, etcdCaller, requireEtcdScope } from "./etcd-caller.ts";
import { openFrames } from "./etcd-frames.ts";
import { streamLeaders } from "./etcd-observe.ts";
import { SERVICE_HANDLERS } from "./etcd-services.ts";
import { streamSnapshot } from "./etcd-snapshot.ts";
import { openWatches, streamWatch } from "./etcd-watch.ts";
import { MAX_ETCD_BODY_BYTES, MAX_ETCD_STREAM_REQUESTS } from "./limits.ts";

/** What answers by a stream, by path below `/v3`. */
const streams: ReadonlyMap<string, (call: Call, body: string) => Promise<Response>> = new Map([
  [WATCH_PATH, streamWatch],
  [SNAPSHOT_PATH, streamSnapshot],
  [OBSERVE_PATH, streamLeaders],
]);

/** Gives a whole answer's text. */
type Handler = (call: Call, body: string) => Promise<string>;

const PREFIXES = ["/v3/", "/v3beta/"] as const;
const decoder = new TextDecoder();

const handlers = new Map<string, Handler>(SERVICE_HANDLERS);
for (const method of KEYSPACE_METHODS) {
  const handler: Handler = (call, body) =>
    method.isStream ? runStream(call, method, body) : runOne(call, method, body);
  for (const path of method.paths) handlers.set(path, handler);
}

/** True for paths that answer as etcd does. */
export function isEtcdPath(path: string): boolean {
  return PREFIXES.some((prefix) => path.startsWith(prefix)) || path === "/version" || path === "/health";
}

export async function answerEtcd(call: Call): Promise<Response> {
  const { path, request } = call;
  if (path === "/version" || path === "/health") return probe(call);
  if (path === "/v3/frames") {
    call.route = path;
    return openFrames(call);
  }
  if (path === "/v3/watches") {
    call.route = path;
    return openWatches(call);
  }
  const prefix = PREFIXES.find((candidate) => path.startsWith(candidate))!;
  const name = path.slice(prefix.length - 1);
  const handler = handlers.get(name);
  const stream = streams.get(name);
  if (!handler && !stream) return plain(call, 404, "Not Found\n");
  call.route = `/v3/${path.slice(prefix.length)}`;
  if (request.method !== "POST") return plain(call, 405, "Method Not Allowed\n");
  const body = decoder.decode(await readBytes(call, MAX_ETCD_BODY_BYTES));
  if (stream) return stream(call, body);
  return new Response(await handler!(call, body), { headers: apiHeaders(call) });
}

/** For monitors that were written for etcd. */
function probe(call: Call): Response {
  call.route = call.path;
  if (call.request.method !== "GET" && call.request.method !== "HEAD") return plain(call, 405, "Method Not Allowed\n");
  const version = { etcdserver: ETCD_VERSION, etcdcluster: "3.4.0" };
  const body = call.path === "/version" ? version : { health: "true" };
  return new Response(JSON.stringify(body), { headers: apiHeaders(call) });
}

function plain(call: Call, status: number, text: string): Response {
  if (status === 404) call.route = UNMATCHED;
  return new Response(text, { status, headers: apiHeaders(call, undefined, "text/plain; charset=utf-8") });
}

async function runOne(call: Call, method: KeyspaceMethod, body: string): Promise<string> {
  const caller = await etcdCaller(call);
  return jsonOf(
    method.response,
    await answerOf(call, { caller, method, message: messageOfJson(method.request, body) }),
  );
}

/** Requests one after the other; a line for each answer. */
async function runStream(call: Call, method: KeyspaceMethod, body: string): Promise<string> {
  const caller = await etcdCaller(call);
  let lines = "";
  for (const message of messagesOfJson(method.request, body, MAX_ETCD_STREAM_REQUESTS))
    lines += `{"result":${jsonOf(method.response, await answerOf(call, { caller, method, message }))}}\n`;
  return lines;
}

interface Asked {
  readonly caller: EtcdCaller;
  readonly method: KeyspaceMethod;
  readonly message: unknown;
}

async function answerOf(call: Call, { caller, method, message }: Asked): Promise<unknown> {
  const request = method.requestOf(message);
  if (isWriting(request)) requireEtcdScope(caller, "read-write");
  const answer = await callConfig(call, caller.keyspace, request);
  return method.responseOf(answer, headerOf(caller.identity, answer.header), message);
}

/** What etcd would say; called for whatever was thrown on the way. */
export function etcdErrorAnswer(call: Call, thrown: unknown): Response {
  let error: EtcdError;
  if (thrown instanceof EtcdError) {
    error = thrown;
    call.errorCode = `grpc${error.code}`;
  } else {
    const known = publicErrorOf(thrown);
    if (known.code === "internal") {
      const { route, requestId, traceId } = call;
      call.services.log.error("internal error", { route, method: call.request.method, requestId, traceId }, thrown);
    }
    call.errorCode = known.code;
    error = etcdErrorOf(known);
  }
  return new Response(errorJson(error), { status: httpStatusOf(error.code), headers: apiHeaders(call) });
}
