// A watching client inside workerd: a connection of our protocol to a keyspace, through the gateway, with what it was told.
import { createExecutionContext } from "cloudflare:test";
import { exports } from "cloudflare:workers";
import { expect } from "vitest";
import type { Gateway } from "../../src/gateway/gateway.ts";
import type { ConfigEvent } from "../../src/wire/config.ts";
import { WATCH_SUBPROTOCOL } from "../../src/wire/config-watch.ts";
import { type TakenMessage, WatchStream } from "../../src/wire/config-watch-stream.ts";
import { type KeyspaceStub, keyspace } from "./config-support.ts";
import { directory } from "./gateway-support.ts";

export interface Watcher {
  readonly socket: WebSocket;
  readonly stream: WatchStream;
  readonly messages: TakenMessage[];
  readonly closed: Promise<CloseEvent>;
  /** `revision key` of all events so far. */
  events(watchId?: number): readonly string[];
}

export function shownEvent({ type, kv }: ConfigEvent): string {
  return `${kv.modRevision} ${type} ${kv.key}`;
}

/** Through the deployment's gateway, or one of the test's own. */
export async function watcher(key: string, gateway?: Gateway): Promise<Watcher> {
  const headers = { upgrade: "websocket", authorization: `Bearer ${key}`, "sec-websocket-protocol": WATCH_SUBPROTOCOL };
  const request = new Request("http://jade.test/v1/config/watch", { headers });
  const response = await (gateway ? gateway.handle(request, createExecutionContext()) : exports.default.fetch(request));
  expect(response.status).toBe(101);
  const socket = response.webSocket!;
  socket.binaryType = "arraybuffer";
  socket.accept();
  const messages: TakenMessage[] = [];
  const stream = new WatchStream({
    send: (frame) => socket.send(frame),
    onMessage: (message) => void messages.push(message),
  });
  socket.addEventListener("message", ({ data }) => stream.receive(new Uint8Array(data as ArrayBuffer)));
  const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener("close", resolve));
  const events = (watchId = 0): readonly string[] =>
    messages.flatMap((message) =>
      message.kind === "events" && message.watchIds.includes(watchId) ? message.events.map(shownEvent) : [],
    );
  return { socket, stream, messages, closed, events };
}

export async function keyspaceOf(tenantId: string): Promise<KeyspaceStub> {
  const tenant = await directory().lookupTenant(tenantId);
  return keyspace(`c${tenant}/default`);
}
