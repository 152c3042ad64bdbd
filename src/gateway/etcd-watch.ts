// etcd's Watch service: POST /v3/watch, a line of JSON for each message; and GET /v3/watches, a watch connection for the gRPC front.
// Guarantees: a client that does not read holds up its own watches and nobody else's. Must not: remember what was sent.
import { refusal } from "../etcd/errors.ts";
import { jsonOf, messagesOfJson } from "../etcd/json.ts";
import { WatchRequest, WatchResponse } from "../etcd/messages-watch.ts";
import { askWatch, watchResponses } from "../etcd/watch.ts";
import { apiHeaders } from "./answers.ts";
import type { Call } from "./call.ts";
import { type ConfigWatch, openConfigWatch, upgradeConfigWatch } from "./config-watch.ts";
import { type EtcdCaller, etcdCaller } from "./etcd-caller.ts";
import { closedBy, Lines, lineOf } from "./etcd-lines.ts";
import { MAX_ETCD_STREAM_REQUESTS } from "./limits.ts";
import { isUpgrade } from "./upgrade.ts";

/** The front speaks wire/config-watch.ts itself; the header `jade-identity` tells it who answers. */
export async function openWatches(call: Call): Promise<Response> {
  const { principal, keyspace, identity } = await etcdCaller(call);
  if (!isUpgrade(call.request)) {
    const headers = apiHeaders(call, { upgrade: "websocket" }, "text/plain; charset=utf-8");
    return new Response("Upgrade Required\n", { status: 426, headers });
  }
  const { webSocket, headers } = await upgradeConfigWatch(call, principal, keyspace, { encoding: "binary" });
  if (!webSocket) throw refusal("timeout");
  const handed = new Headers(headers);
  handed.set("jade-identity", JSON.stringify(identity));
  return new Response(null, { status: 101, webSocket, headers: handed });
}

export async function streamWatch(call: Call, body: string): Promise<Response> {
  const caller = await etcdCaller(call);
  const requests = messagesOfJson(WatchRequest, body, MAX_ETCD_STREAM_REQUESTS);
  const { readable, writable } = new IdentityTransformStream();
  const lines = new Lines(writable.getWriter());
  const watch = await openFor(call, caller, lines);
  lines.onGone = () => watch.close();
  for (const request of requests) askWatch(watch.stream, request);
  return new Response(readable, { headers: apiHeaders(call) });
}

function openFor(call: Call, { principal, keyspace, identity }: EtcdCaller, lines: Lines): Promise<ConfigWatch> {
  return openConfigWatch(call, principal, keyspace, {
    onMessage: (message) => {
      let text = "";
      for (const response of watchResponses(message, identity)) text += lineOf(jsonOf(WatchResponse, response));
      return lines.write(text);
    },
    onClose: (code) => void lines.fail(closedBy(code)),
  });
}
