// One call of gRPC that is asked once and answers with a stream: the JSON API's lines, as messages.
// Guarantees: a client that does not read holds up its own stream; a client that leaves ends the request behind. Must not: know what the
// messages mean, or hold more than a line.
import { EtcdError, type GrpcCode } from "../../etcd/errors.ts";
import { jsonOf, messageOfJson } from "../../etcd/json.ts";
import { messageOfBytes, ProtobufWriter } from "../../etcd/protobuf.ts";
import type { ServiceMethod } from "../../etcd/services.ts";
import { FRAME_HEADER_BYTES, type GrpcCall, type GrpcListener } from "./grpc-server.ts";
import { refusalIn, unreachable } from "./keyspace-link.ts";

const RESULT = '{"result":';
const writer = new ProtobufWriter(64 * 1024);

interface StreamOptions {
  readonly url: string;
  readonly token: string;
  readonly method: ServiceMethod;
}

export class StreamCall implements GrpcListener {
  readonly #call: GrpcCall;
  readonly #options: StreamOptions;
  readonly #abort = new AbortController();
  #hasBegun = false;
  #drained: (() => void) | undefined;

  constructor(call: GrpcCall, options: StreamOptions) {
    this.#call = call;
    this.#options = options;
  }

  onMessage(bytes: Uint8Array): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    const { request } = this.#options.method;
    this.#run(jsonOf(request, messageOfBytes(request, bytes))).then(
      () => this.#call.end(),
      (error: unknown) => this.#call.end(error instanceof EtcdError ? error : unreachable()),
    );
  }

  onOver(): void {
    this.onDrain();
    this.#abort.abort();
  }

  onDrain(): void {
    this.#drained?.();
    this.#drained = undefined;
  }

  async #run(body: string): Promise<void> {
    const { url, token, method } = this.#options;
    const headers = { "content-type": "application/json", ...(token === "" ? {} : { authorization: token }) };
    const { signal } = this.#abort;
    const response = await fetch(`${url}/v3${method.path}`, { method: "POST", body, headers, signal });
    if (!response.ok) throw refusalIn(await response.text());
    for await (const line of linesOf(response.body!)) await this.#tell(line);
  }

  async #tell(line: string): Promise<void> {
    if (!line.startsWith(RESULT)) {
      const { error } = JSON.parse(line) as {
        readonly error: { readonly grpc_code: GrpcCode; readonly message: string };
      };
      throw new EtcdError(error.grpc_code, error.message);
    }
    const { response } = this.#options.method;
    writer.reset(FRAME_HEADER_BYTES);
    writer.message(response, messageOfJson(response, line.slice(RESULT.length, -1)));
    if (this.#call.send(writer.take()) || this.#call.isOver) return;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
    });
  }
}

/** Whole ones only. */
async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let held: string[] = [];
  for await (const chunk of body) {
    const parts = decoder.decode(chunk, { stream: true }).split("\n");
    const rest = parts.pop()!;
    for (const part of parts) {
      held.push(part);
      yield held.join("");
      held = [];
    }
    held.push(rest);
  }
  if (held.some((part) => part !== "")) throw unreachable();
}
