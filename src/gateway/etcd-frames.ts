// GET /v3/frames: many calls to one keyspace over one WebSocket, for the gRPC front. Messages are frames of wire/config-requests.ts one
// way and of wire/config-answers.ts the other; the first message is the keyspace's identity as JSON.
// Guarantees: each frame is judged like a request of its own: credentials, scope, rate limits; every call in it is answered. Must not:
// trust the front.
import { scopeAllows } from "../access/scope.ts";
import { EtcdError, GRPC, refusal } from "../etcd/errors.ts";
import { ByteWriter } from "../wire/bytes.ts";
import type { ConfigFailure } from "../wire/config.ts";
import { writeConfigAnswer } from "../wire/config-answers.ts";
import { type ConfigCall, isWriting, readConfigCalls, writeConfigCall } from "../wire/config-requests.ts";
import { PublicError } from "../wire/error-codes.ts";
import { admitMore } from "./access.ts";
import { apiHeaders, joinPieces } from "./answers.ts";
import type { Call } from "./call.ts";
import { callKeyspace } from "./config-call.ts";
import { publicErrorOf } from "./errors.ts";
import { type EtcdCaller, etcdCaller } from "./etcd-caller.ts";
import { MAX_FRAME_BYTES, MAX_FRAMES_IN_FLIGHT } from "./limits.ts";

/** WebSocket close codes. */
const PROTOCOL_ERROR = 1002;
const TOO_MUCH = 1013;

/** Throws what refuses the caller, before the upgrade. */
export async function openFrames(call: Call): Promise<Response> {
  const caller = await etcdCaller(call);
  if (call.request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    const headers = apiHeaders(call, { upgrade: "websocket" }, "text/plain; charset=utf-8");
    return new Response("Upgrade Required\n", { status: 426, headers });
  }
  const { 0: theirs, 1: ours } = new WebSocketPair();
  ours.binaryType = "arraybuffer";
  ours.accept();
  ours.send(JSON.stringify(caller.identity));
  new FrameSocket(call, ours);
  return new Response(null, { status: 101, webSocket: theirs });
}

class FrameSocket {
  readonly #call: Call;
  readonly #socket: WebSocket;
  #inFlight = 0;

  constructor(call: Call, socket: WebSocket) {
    this.#call = call;
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      if (data instanceof ArrayBuffer && data.byteLength <= MAX_FRAME_BYTES) void this.#answer(new Uint8Array(data));
      else socket.close(PROTOCOL_ERROR, "not a frame");
    });
  }

  async #answer(frame: Uint8Array): Promise<void> {
    let calls: readonly ConfigCall[];
    try {
      calls = readConfigCalls(frame);
    } catch {
      this.#socket.close(PROTOCOL_ERROR, "not a frame"); // readConfigCalls throws MalformedBytes alone
      return;
    }
    if (this.#inFlight >= MAX_FRAMES_IN_FLIGHT) {
      this.#socket.close(TOO_MUCH, "too many frames");
      return;
    }
    this.#inFlight++;
    const answers = await this.#run(calls, frame).catch((error) => refusedFrame(calls, failureOf(error)));
    this.#inFlight--;
    try {
      this.#socket.send(answers);
    } catch {
      // The front is gone; its calls end there as unknown.
    }
  }

  async #run(calls: readonly ConfigCall[], frame: Uint8Array): Promise<Uint8Array> {
    const caller = await etcdCaller(this.#call);
    const waiting = admitMore(this.#call, caller.principal, calls.length - 1);
    if (waiting) await waiting;
    const isWrite = calls.some(({ request }) => isWriting(request));
    if (!isWrite || scopeAllows(caller.principal.scope, "read-write")) return this.#ask(caller, frame, isWrite);
    return this.#askReads(caller, calls);
  }

  /** Of a caller that may not write: its writes are refused one by one, its reads in the same frame are answered. */
  async #askReads(caller: EtcdCaller, calls: readonly ConfigCall[]): Promise<Uint8Array> {
    const writes = calls.filter(({ request }) => isWriting(request));
    const reads = new ByteWriter(256);
    for (const read of calls) if (!isWriting(read.request)) writeConfigCall(reads, read);
    const refused = refusedFrame(writes, failureOf(refusal("permissionDenied")));
    if (writes.length === calls.length) return refused;
    const answers = await this.#ask(caller, reads.view(), false);
    return joinPieces([refused, answers]);
  }

  async #ask({ keyspace }: EtcdCaller, frame: Uint8Array, isWrite: boolean): Promise<Uint8Array> {
    const { services, requestId, traceId, route } = this.#call;
    try {
      return await callKeyspace(services.stubs, { ...keyspace, isWrite }, frame);
    } catch (error) {
      services.log.warn("keyspace call failed", { requestId, traceId, route }, error);
      throw new PublicError(isWrite ? "unknownOutcome" : "unavailable", "the keyspace did not answer");
    }
  }
}

function failureOf(error: unknown): ConfigFailure {
  if (error instanceof EtcdError) {
    const isScope = error.code === GRPC.permissionDenied;
    return { kind: "error", code: isScope ? "forbidden" : "unauthenticated", message: error.message };
  }
  const { code, message } = publicErrorOf(error);
  return { kind: "error", code, message };
}

function refusedFrame(calls: readonly ConfigCall[], failure: ConfigFailure): Uint8Array {
  const body = new ByteWriter(256);
  writeConfigAnswer(body, failure);
  const frame = new ByteWriter(256);
  for (const { id } of calls) {
    frame.u32(id);
    frame.bytes(body.view());
  }
  return frame.take();
}
