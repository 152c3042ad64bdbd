// Vectors over the SDK's session, in the Coordinator: the calls of wire/vector-session.ts, done as those of /v1/databases are.
// Guarantees: the same limits, errors, charges and results as over HTTP; values stay float32 bytes all the way; calls and their bytes under way
// are bounded. Must not: decide who may connect (the session did).
import type { SessionVectorCall, SessionVectors, SessionVectorsHost } from "../../objects/session-vectors.ts";
import { MalformedBytes } from "../wire/bytes.ts";
import { ERROR_CODES, type ErrorCode, PublicError } from "../wire/error-codes.ts";
import {
  isWritingOperation,
  readVectorSessionCall,
  type VectorSessionCall,
  writeVectorSessionAnswer,
} from "../wire/vector-session.ts";
import type { Call } from "./call.ts";
import { namespaceName } from "./config-schemas.ts";
import { GatheredShards } from "./gathered-shards.ts";
import { invalidRequest } from "./issues.ts";
import { MAX_SEARCH_BODY_BYTES, MAX_VECTOR_BODY_BYTES } from "./limits.ts";
import { createServices, type Services } from "./services.ts";
import { type Done, type Operation, RUN } from "./session-vector-operations.ts";

/** Of /metrics and logs. */
const ROUTE = "session vector";

export class GatewaySessionVectors implements SessionVectors {
  readonly #host: SessionVectorsHost;
  readonly #services: Services;
  readonly #request = new Request("http://session/");

  constructor(host: SessionVectorsHost) {
    this.#host = host;
    const { env, rates, report, schedule } = host;
    this.#services = createServices(env, { rates, report, stubs: new GatheredShards(env, schedule) });
  }

  submit({ caller, request, rate, done }: SessionVectorCall): void {
    const { id } = request;
    const bytes = request.value ?? new Uint8Array(0);
    const call = this.#begin();
    const startedMs = call.startedMs;
    this.#run(call, { caller, rate, namespace: request.key, bytes }).then(
      ({ head, answer }) => {
        const token = call.reading?.token;
        this.#end(call, startedMs, undefined);
        done({
          id,
          kind: "vector",
          body: writeVectorSessionAnswer(token === undefined ? head : { ...head, token }, answer),
        });
      },
      (error: unknown) => {
        const { code, message, details } = this.#publicError(call, error);
        this.#end(call, startedMs, code);
        done({ id, kind: "error", code, message, details });
      },
    );
  }

  #begin(): Call {
    const services = this.#services;
    return {
      services,
      request: this.#request,
      url: { protocol: "http:", pathname: "/v1/session", search: "" },
      isHostMalformed: false,
      path: "/v1/session",
      startedMs: services.now(),
      ...{ requestId: "session", traceId: "", traceparent: "", route: ROUTE },
      waitUntil: this.#host.waitUntil,
      held: { sinceMs: 0, bytes: 0 },
      ...{ principal: undefined, errorCode: undefined, writeId: undefined, reading: undefined },
    };
  }

  async #run(call: Call, { caller, rate, namespace, bytes }: Operation & { bytes: Uint8Array }): Promise<Done> {
    const { load } = call.services;
    call.held = load.enter(call.path);
    load.hold(call.held, bytes.length);
    const { success } = namespaceName.safeParse(namespace);
    if (!success)
      throw invalidRequest([
        { path: "namespace", message: "is no name of a namespace", value: namespace.slice(0, 100) },
      ]);
    const asked = readCall(bytes);
    if (isWritingOperation(asked.operation)) {
      if (!caller.canWrite) throw new PublicError("forbidden", "the API key is read-only; this needs read-write");
      if (!asked.writeId) throw invalidRequest([{ path: "writeId", message: "is required for a write" }]);
      call.writeId = asked.writeId;
    }
    return RUN[asked.operation](call, asked, { caller, rate, namespace });
  }

  #publicError(call: Call, error: unknown): PublicError {
    if (error instanceof PublicError) return error;
    call.services.log.error("a vector call of a session failed", {}, error);
    return new PublicError("internal", "an unexpected error");
  }

  #end(call: Call, startedMs: number, code: ErrorCode | undefined): void {
    const { services } = call;
    services.load.leave(call.held);
    const seconds = Math.max(0, services.now() - startedMs) / 1000;
    const status = code === undefined ? 200 : ERROR_CODES[code].status;
    services.meter.record({ route: ROUTE, method: "OTHER", status, code, seconds });
    services.background.wake(call.waitUntil);
  }
}

function readCall(bytes: Uint8Array): VectorSessionCall {
  let asked: VectorSessionCall;
  try {
    asked = readVectorSessionCall(bytes);
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error;
    throw new PublicError("invalidRequest", `malformed call: ${error.message}`);
  }
  const limit = asked.operation.startsWith("search") ? MAX_SEARCH_BODY_BYTES : MAX_VECTOR_BODY_BYTES;
  if (bytes.length <= limit) return asked;
  throw new PublicError("payloadTooLarge", `the call has ${bytes.length} bytes; at most ${limit}`, {
    size: bytes.length,
    limit,
  });
}
