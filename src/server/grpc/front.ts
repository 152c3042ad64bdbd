// Native gRPC of etcd's v3 API: services over HTTP/2 in front of the server behind, which judges every token.
// Guarantees: the answers are those of the JSON API, by the same tables. Must not: hold data, or trust itself with anything.
import type { IncomingHttpHeaders } from "node:http2";
import { refusal } from "../../etcd/errors.ts";
import { headerOf, requireNearby } from "../../etcd/identity.ts";
import { jsonOf, messageOfJson } from "../../etcd/json.ts";
import type { MemberListResponse } from "../../etcd/messages-service.ts";
import { WATCH_RPC } from "../../etcd/messages-watch.ts";
import { KEYSPACE_METHODS, type KeyspaceMethod } from "../../etcd/methods.ts";
import { messageOfBytes, ProtobufWriter } from "../../etcd/protobuf.ts";
import type { Message, MessageType } from "../../etcd/schema.ts";
import { SERVICE_METHODS, type ServiceMethod, STREAM_METHODS } from "../../etcd/services.ts";
import {
  FRAME_HEADER_BYTES,
  type GrpcCall,
  type GrpcMethod,
  GrpcServer,
  type GrpcServerOptions,
} from "./grpc-server.ts";
import { KeyspaceLink, refusalIn } from "./keyspace-link.ts";
import { ANSWER_MS, LOCK_ANSWER_MS, MAX_LINKS } from "./limits.ts";
import { StreamCall } from "./stream-call.ts";
import { WatchCall } from "./watch-call.ts";

export interface FrontOptions extends Omit<GrpcServerOptions, "methods"> {
  /** `http://…` of the server behind; asked for at each new connection to it. */
  readonly url: string;
}

export class GrpcFront {
  readonly #url: string;
  readonly #server: GrpcServer;
  /** By token. */
  readonly #links = new Map<string, KeyspaceLink>();
  readonly #writer = new ProtobufWriter(64 * 1024);

  constructor({ url, ...options }: FrontOptions) {
    this.#url = url;
    const methods = new Map<string, GrpcMethod>();
    for (const method of KEYSPACE_METHODS) methods.set(method.rpc, (call) => this.#keyspaceCall(call, method));
    for (const method of SERVICE_METHODS) methods.set(method.rpc, (call) => this.#serviceCall(call, method));
    for (const method of STREAM_METHODS)
      methods.set(method.rpc, (call) => new StreamCall(call, { url, token: tokenIn(call.headers), method }));
    methods.set(WATCH_RPC, (call) => new WatchCall(call, { url, token: tokenIn(call.headers) }));
    this.#server = new GrpcServer({ ...options, methods });
  }

  /** Gives the port. */
  listen(): Promise<number> {
    return this.#server.listen();
  }

  async stop(): Promise<void> {
    await this.#server.stop();
    for (const link of this.#links.values()) link.close();
  }

  #keyspaceCall(call: GrpcCall, method: KeyspaceMethod) {
    const link = this.#linkOf(tokenIn(call.headers));
    let unanswered = 0;
    let hasEnded = false;
    return {
      onMessage: (bytes: Uint8Array): void => {
        const message = messageOfBytes(method.request, bytes);
        unanswered++;
        link.call(method.requestOf(message)).then(
          ({ answer, identity }) => {
            const header = headerOf(identity, answer.header);
            const frame = this.#frameOf(method.response, method.responseOf(answer, header, message));
            unanswered--;
            if (!method.isStream || (hasEnded && unanswered === 0)) call.finish(frame);
            else call.send(frame);
          },
          (error: unknown) => call.end(error),
        );
      },
      onEnd: (): void => {
        hasEnded = true;
        if (unanswered === 0) call.end();
      },
    };
  }

  /** What is asked seldom goes as JSON over HTTP. */
  #serviceCall(call: GrpcCall, method: ServiceMethod) {
    return {
      onMessage: (bytes: Uint8Array): void => {
        this.#post(method, tokenIn(call.headers), jsonOf(method.request, messageOfBytes(method.request, bytes))).then(
          (message) => {
            call.finish(this.#frameOf(method.response, reachedBy(call, method, message)));
          },
          (error: unknown) => call.end(error),
        );
      },
    };
  }

  async #post(method: ServiceMethod, token: string, body: string): Promise<unknown> {
    let response: Response;
    let text: string;
    try {
      const headers = { "content-type": "application/json", ...(token === "" ? {} : { authorization: token }) };
      const signal = AbortSignal.timeout(method.rpc.startsWith("/etcdserverpb.") ? ANSWER_MS : LOCK_ANSWER_MS);
      response = await fetch(`${this.#url}/v3${method.path}`, { method: "POST", body, headers, signal });
      text = await response.text();
    } catch {
      throw refusal("timeout"); // whatever fetch met, the server behind did not answer
    }
    if (!response.ok) throw refusalIn(text);
    return messageOfJson(method.response, text);
  }

  #frameOf(type: MessageType<unknown>, message: unknown): Uint8Array {
    const writer = this.#writer;
    writer.reset(FRAME_HEADER_BYTES);
    writer.message(type, message);
    return writer.take();
  }

  #linkOf(token: string): KeyspaceLink {
    let link = this.#links.get(token);
    if (!link) {
      if (this.#links.size >= MAX_LINKS) this.#dropIdle();
      link = new KeyspaceLink({ url: this.#url, token });
      this.#links.set(token, link);
    }
    return link;
  }

  /** Those without calls; the oldest of all when there is none. */
  #dropIdle(): void {
    for (const [token, link] of this.#links) {
      if (link.inFlight > 0) continue;
      link.close();
      this.#links.delete(token);
    }
    if (this.#links.size >= MAX_LINKS) throw refusal("tooManyRequests");
  }
}

/** A client that asks for the members goes on to their addresses: the one it came by. */
function reachedBy(call: GrpcCall, { rpc }: ServiceMethod, message: unknown): unknown {
  if (rpc !== "/etcdserverpb.Cluster/MemberList") return message;
  const { ":scheme": scheme = "http", ":authority": authority = "" } = call.headers;
  const urls = [`${scheme}://${authority.replace(/^https?:--/, "")}`];
  const { header, members = [] } = message as Message<typeof MemberListResponse>;
  return { header, members: members.map((member) => ({ ...member, clientUrls: urls, peerUrls: urls })) };
}

/** etcd's clients send `token`, others `authorization`. */
function tokenIn(headers: IncomingHttpHeaders): string {
  const token = headers["token"] ?? headers.authorization ?? "";
  const given = Array.isArray(token) ? (token[0] ?? "") : token;
  // The server behind does not see the call's headers.
  if (given === "") requireNearby((name) => headers[name] !== undefined);
  return given;
}
